//! Ways to MariaDB and MySQL: TLS in all its modes, passwords, credentials that change, and what is said of a login that
//! is refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowgate::value::proto::{ReconnectPoolRequest, Value};
use tonic::Code;

use crate::harness::certificates::Certificates;
use crate::harness::client::{Client, Failure, PATIENCE};
use crate::harness::mariadb::{Mariadb, PASSWORD};
use crate::harness::server::{Server, checked};
use crate::harness::wait::eventually_async;

/// A server that speaks TLS with the certificate of `localhost`.
fn with_tls(certificates: &Certificates) -> Mariadb {
    let mut mariadb = Mariadb::start();
    let mut settings = Vec::new();
    for (option, name) in
        [("ssl-cert", "server.crt"), ("ssl-key", "server.key"), ("ssl-ca", "ca.crt")]
    {
        let content = fs::read(certificates.path(name)).expect("it was made");
        settings.push(format!("{option}={}", mariadb.put(name, &content).display()));
    }
    mariadb.restart_with(&settings);
    mariadb
}

/// Tells whether the service's own connection is encrypted, or why there is none.
async fn is_encrypted(url: &str, tls: &str) -> Result<bool, Failure> {
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{tls}\n"));
    let client = Client::connect(server.grpc()).await;
    let result = client.query("show session status like 'Ssl_cipher'", &[]).await?;
    Ok(result.rows[0].values[1] != Value::text(""))
}

#[track_caller]
fn assert_encrypted(answer: Result<bool, Failure>, expected: bool) {
    assert_eq!(answer.expect("it connects"), expected);
}

#[track_caller]
fn assert_refused(answer: Result<bool, Failure>, why: &str) {
    let failure = answer.expect_err(why);
    let code = failure.code;
    assert!([Code::Unavailable, Code::FailedPrecondition].contains(&code), "{why}: {failure:?}");
}

/// A section of `tls` that checks no certificate.
const REQUIRED: &str = "[databases.main.tls]\nmode = \"require\"";

/// A section of `tls` in this mode, with this authority.
fn tls(mode: &str, authority: &Certificates) -> String {
    format!("[databases.main.tls]\nmode = \"{mode}\"\nca = \"{}\"", authority.path("ca.crt"))
}

#[tokio::test]
async fn each_mode_of_tls_does_what_it_says() {
    let ours = Certificates::make();
    let others = Certificates::make();
    let mariadb = with_tls(&ours);
    let by_address = mariadb.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let with = |parameter: &str| format!("{by_address}?ssl-mode={parameter}");
    assert_encrypted(is_encrypted(&by_address, "").await, false);
    assert_encrypted(is_encrypted(&with("DISABLED"), "").await, false);
    assert_encrypted(is_encrypted(&with("REQUIRED"), "").await, true);
    assert_encrypted(is_encrypted(&by_address, REQUIRED).await, true);
    assert_encrypted(is_encrypted(&by_address, &tls("verify-ca", &ours)).await, true);
    assert_encrypted(is_encrypted(&by_name, &tls("verify-full", &ours)).await, true);
    let authority = format!("{by_name}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", ours.path("ca.crt"));
    assert_encrypted(is_encrypted(&authority, "").await, true);

    let wrong_name = is_encrypted(&by_address, &tls("verify-full", &ours)).await;
    assert_refused(wrong_name, "the certificate is for `localhost`");
    let unknown = is_encrypted(&by_name, &tls("verify-ca", &others)).await;
    assert_refused(unknown, "another authority");
    let unknown = is_encrypted(&by_name, &tls("verify-full", &others)).await;
    assert_refused(unknown, "another authority");
}

#[test]
fn a_check_says_why_tls_fails() {
    let ours = Certificates::make();
    let others = Certificates::make();
    let without = Mariadb::start();
    let mariadb = with_tls(&ours);
    for (url, tls, expected) in [
        (without.url(), REQUIRED.to_owned(), "the server has no TLS; set tls.mode"),
        (mariadb.url(), tls("verify-full", &ours), "not valid for name"),
        (mariadb.url(), tls("verify-ca", &others), "invalid peer certificate"),
    ] {
        let text = checked(&format!("[databases.main]\nurl = \"{url}\"\n{tls}\n"), 1);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let certificates = Certificates::make();
    let mariadb = with_tls(&certificates);
    mariadb.sql("create user shown@'%' identified by 'p' require x509");
    mariadb.sql("grant all on test.* to shown@'%'");
    let url = mariadb.url_as("shown", "p");
    let shown = format!(
        "{}\ncert = \"{}\"\nkey = \"{}\"",
        tls("verify-ca", &certificates),
        certificates.path("client.crt"),
        certificates.path("client.key"),
    );
    assert_encrypted(is_encrypted(&url, &shown).await, true);
    let hidden = is_encrypted(&url, &tls("verify-ca", &certificates)).await;
    assert_refused(hidden, "no certificate");
}

#[tokio::test]
async fn a_server_that_takes_no_plain_text_is_reached_over_tls() {
    let certificates = Certificates::make();
    let mut mariadb = with_tls(&certificates);
    mariadb.restart_with(&["require-secure-transport=ON".to_owned()]);
    let encrypted = is_encrypted(&mariadb.url(), &tls("verify-ca", &certificates)).await;
    assert_encrypted(encrypted, true);
    assert_refused(is_encrypted(&mariadb.url(), "").await, "it is in plain text");
}

/// The statements that make a user `app` whose password, `PASSWORD`, is proved in this way.
fn user_with(mariadb: &Mariadb, plugin: &str) {
    let proof = if mariadb.is_mysql() {
        format!("identified with {plugin} by '{PASSWORD}'")
    } else {
        format!("identified via {plugin} using password('{PASSWORD}')")
    };
    mariadb.sql("drop user if exists app@'%'");
    mariadb.sql(&format!("create user app@'%' {proof}"));
    mariadb.sql("grant all on test.* to app@'%'");
}

#[tokio::test]
async fn every_way_to_prove_a_password_is_understood() {
    let certificates = Certificates::make();
    let mariadb = with_tls(&certificates);
    let mut plugins = if mariadb.is_mysql() {
        vec!["caching_sha2_password", "sha256_password"]
    } else {
        vec!["mysql_native_password"]
    };
    // A library that only the whole package of the server has.
    let library = Path::new(&mariadb.sql("select @@plugin_dir")).join("auth_ed25519.so");
    if !mariadb.is_mysql() && library.exists() {
        mariadb.sql("install soname 'auth_ed25519'");
        plugins.push("ed25519");
    }
    let url = mariadb.url_as("app", PASSWORD);
    for plugin in plugins {
        user_with(&mariadb, plugin);
        // The second login of `caching_sha2_password` is by what the server has cached of the first.
        for _ in 0..2 {
            assert_encrypted(is_encrypted(&url, "").await, false);
            let encrypted = is_encrypted(&url, &tls("verify-ca", &certificates)).await;
            assert_encrypted(encrypted, true);
        }
        assert_refused(is_encrypted(&mariadb.url_as("app", "wrong"), "").await, plugin);
    }
    mariadb.sql("create user nobody@'%'; grant all on test.* to nobody@'%'");
    let url = mariadb.url_as("nobody", "").replace("nobody:@", "nobody@");
    assert_encrypted(is_encrypted(&url, "").await, false);
}

#[tokio::test]
async fn credentials_of_a_command_are_renewed_after_a_refused_login() {
    let mariadb = Mariadb::start();
    mariadb.sql("create user app@'%' identified by 'one'; grant all on test.* to app@'%'");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let printed = directory.path().join("printed");
    let print = |password: &str| {
        let credentials = format!("{{\"user\": \"app\", \"password\": \"{password}\"}}");
        fs::write(&printed, credentials).expect("there is room");
    };
    print("one");
    let server = Server::start(&format!(
        "[databases.main]\nurl = \"mysql://nobody@127.0.0.1:{}/test\"\n\
         pool = {{ min = 0, max_lifetime = \"1ms\" }}\n\
         [databases.main.credentials]\ncommand = [\"cat\", \"{}\"]\n",
        mariadb.port(),
        printed.display()
    ));
    let client = Client::connect(server.grpc()).await;
    let who = async || client.query("select current_user()", &[]).await.ok();
    let app = who().await.expect("the command names the user");
    assert_eq!(app.rows[0].values, [Value::text("app@%")]);
    mariadb.sql("alter user app@'%' identified by 'two'");
    print("two");
    let again = eventually_async("the new password is used", PATIENCE, who).await;
    assert_eq!(again.rows[0].values, [Value::text("app@%")]);
    assert!(server.log().contains("credentials taken from the command"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_rotated_under_load_and_no_call_fails() {
    let mariadb = Mariadb::start();
    mariadb.sql("create user app@'%' identified by 'one'; grant all on test.* to app@'%'");
    mariadb.sql("create table t (id integer primary key auto_increment)");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("password");
    fs::write(&file, "one").expect("there is room");
    let url = format!("mysql://app:${{file:{}}}@127.0.0.1:{}/test", file.display(), mariadb.port());
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    let rows = || mariadb.sql("select count(*) from t").parse::<u32>().expect("a number");
    let goes_on = async || {
        let enough = rows() + 50;
        eventually_async("calls go on", PATIENCE, async || (rows() > enough).then_some(())).await;
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            let over = Arc::clone(&is_over);
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    client.query("insert into t values ()", &[]).await.expect("none fails");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let ids = || mariadb.sql("select id from information_schema.processlist where user = 'app'");
    for password in ["two", "three"] {
        goes_on().await;
        let before = ids();
        let is_old = |id: &&str| before.lines().any(|one| one == *id);
        mariadb.sql(&format!("alter user app@'%' identified by '{password}'"));
        fs::write(&file, password).expect("there is room");
        let request = ReconnectPoolRequest { pool: "main".to_owned() };
        client.pools().reconnect_pool(request).await.expect("it is there");
        // The connection of the probe is not the pool's.
        eventually_async("it connects anew", PATIENCE, async || {
            (ids().lines().filter(is_old).count() <= 1).then_some(())
        })
        .await;
    }
    goes_on().await;
    is_over.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for one in load {
        calls += one.await.expect("no call fails");
    }
    assert_eq!(rows(), calls, "each was applied once");
}

#[test]
fn a_refused_login_is_explained_to_the_operator() {
    let mariadb = Mariadb::with(&["max-connections=10"]);
    mariadb.sql("create user elsewhere@'10.1.2.3' identified by 'p'");
    mariadb.sql("create user full@'%' identified by 'p' with max_user_connections 1");
    mariadb.sql("grant all on test.* to full@'%'");
    for (url, expected) in [
        (mariadb.url_as("rowgate", "wrong"), "rejects the login: Access denied for user 'rowgate'"),
        (mariadb.url_as("elsewhere", "p"), "rejects the login: Access denied for user 'elsewhere'"),
        (mariadb.url().replace("/test", "/none"), "has no such database for this user"),
    ] {
        let text = checked(&format!("[databases.main]\nurl = \"{url}\"\n"), 1);
        assert!(text.contains(expected) && !text.contains(PASSWORD), "{expected}: {text}");
        assert!(text.contains("databases.main.url"), "what to look at: {text}");
    }
}

#[tokio::test]
async fn callers_of_a_misconfigured_database_are_told_no_names() {
    let mariadb = Mariadb::start();
    for url in [mariadb.url_as("rowgate", "wrong"), mariadb.url().replace("/test", "/none")] {
        let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
        let client = Client::connect(server.grpc()).await;
        let failure = client.must_fail("select 1", &[]).await;
        assert_eq!(failure.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"));
        assert_eq!(failure.outcome, "NOT_APPLIED");
        let told = format!("{failure:?}");
        for name in ["rowgate'", "none'", "127.0.0.1"] {
            assert!(!told.contains(name), "{name}: {told}");
        }
    }
}

#[tokio::test]
async fn a_server_at_its_limit_of_connections_costs_waiting_and_no_call() {
    let mariadb = Mariadb::start();
    mariadb.sql("create user few@'%' identified by 'p' with max_user_connections 3");
    mariadb.sql("grant all on test.* to few@'%'");
    let url = mariadb.url_as("few", "p");
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\npool.max = 10\n"));
    let client = Client::connect(server.grpc()).await;
    // With a connection of its own the pool knows that waiting helps.
    client.must("select 1", &[]).await;
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.query("select sleep(0.05)", &[]).await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("it waits for one of the few connections");
    }
}

#[tokio::test]
async fn the_environment_names_the_database() {
    let mariadb = Mariadb::start();
    mariadb.sql("create database shop; create user keeper@'%' identified by 'pass%word'");
    mariadb.sql("grant all on shop.* to keeper@'%'");
    let url = format!("mysql://keeper:pass%25word@127.0.0.1:{}/shop", mariadb.port());
    let server = Server::start_with("", &[("DATABASE_URL", &url)]);
    let client = Client::connect(server.grpc()).await;
    let answer = client.must("select current_user(), database()", &[]).await;
    assert_eq!(answer.rows[0].values, [Value::text("keeper@%"), Value::text("shop")]);
}

#[tokio::test]
async fn the_user_at_the_other_end_of_the_socket_needs_no_password() {
    let mariadb = Mariadb::start();
    if mariadb.is_mysql() {
        // Its plugin, `auth_socket`, is a library that not every package has.
        return;
    }
    let own = std::process::Command::new("id").arg("-un").output().expect("id runs").stdout;
    let own = String::from_utf8(own).expect("it is a name");
    let own = own.trim();
    // It may be `root`, who keeps its rights.
    mariadb.sql(&format!("create user if not exists '{own}'@localhost"));
    mariadb.sql(&format!("alter user '{own}'@localhost identified via unix_socket"));
    mariadb.sql(&format!("grant all on test.* to '{own}'@localhost"));
    let socket = mariadb.socket();
    let url = format!("mysql://{own}@localhost/test?socket={}", socket.display());
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    let answer = client.must("select current_user()", &[]).await;
    assert_eq!(answer.rows[0].values, [Value::text(format!("{own}@localhost"))]);
}
