//! Ways to the database: sockets, TLS in all its modes, passwords, and the variables that name it.

use std::fs;
use std::time::Duration;

use rowgate::value::proto::{ReconnectPoolRequest, Value};
use tonic::Code;

use crate::harness::Service;
use crate::harness::certificates::Certificates;
use crate::harness::client::{Client, PATIENCE};
use crate::harness::postgres::{PASSWORD, Postgres};
use crate::harness::server::{Server, replace_file};
use crate::harness::wait::eventually_async;

/// A server that speaks TLS; `hba` says who may come, and how.
fn postgres(certificates: &Certificates, hba: &str) -> Postgres {
    let postgres = Postgres::start();
    for name in ["server.crt", "server.key", "ca.crt"] {
        postgres.put(name, &fs::read(certificates.path(name)).expect("it was made"));
    }
    postgres.put("pg_hba.conf", format!("local all all trust\n{hba}\n").as_bytes());
    postgres.psql("alter system set ssl_ca_file = 'ca.crt'");
    postgres.psql("alter system set ssl = on");
    postgres.psql("select pg_reload_conf()");
    postgres
}

/// Tells whether the service's own connection is encrypted; the code of the failure if there is none.
async fn is_encrypted(url: &str, tls: &str) -> Result<bool, Code> {
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{tls}\n"));
    let client = Client::connect(server.grpc()).await;
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let result = client.query(sql, &[]).await.map_err(|failure| failure.code)?;
    Ok(result.rows[0].values == [Value::bool(true)])
}

fn assert_refused(answer: Result<bool, Code>, why: &str) {
    let code = answer.expect_err(why);
    assert!([Code::Unavailable, Code::FailedPrecondition].contains(&code), "{why}: {code}");
}

const SCRAM: &str = "host all all 127.0.0.1/32 scram-sha-256";

#[tokio::test]
async fn each_mode_of_tls_does_what_it_says() {
    let (ours, others) = (Certificates::make(), Certificates::make());
    let postgres = postgres(&ours, SCRAM);
    let by_address = postgres.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let with = |mode: &str, authority: &Certificates| {
        format!("[databases.main.tls]\nmode = \"{mode}\"\nca = \"{}\"", authority.path("ca.crt"))
    };
    assert_eq!(is_encrypted(&by_address, "").await, Ok(false), "loopback needs none");
    assert_eq!(is_encrypted(&format!("{by_address}?sslmode=disable"), "").await, Ok(false));
    assert_eq!(is_encrypted(&format!("{by_address}?sslmode=require"), "").await, Ok(true));
    assert_eq!(is_encrypted(&by_address, &with("verify-ca", &ours)).await, Ok(true));
    assert_eq!(is_encrypted(&by_name, &with("verify-full", &ours)).await, Ok(true));
    let authority = format!("{by_name}?sslmode=verify-full&sslrootcert={}", ours.path("ca.crt"));
    assert_eq!(is_encrypted(&authority, "").await, Ok(true));

    let wrong_name = is_encrypted(&by_address, &with("verify-full", &ours)).await;
    assert_refused(wrong_name, "the certificate is for `localhost`");
    let unknown = is_encrypted(&by_name, &with("verify-ca", &others)).await;
    assert_refused(unknown, "another authority");
    let unknown = is_encrypted(&by_name, &with("verify-full", &others)).await;
    assert_refused(unknown, "another authority");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let postgres = Postgres::start();
    let answer = is_encrypted(&format!("{}?sslmode=require", postgres.url()), "").await;
    assert_refused(answer, "the server has no TLS");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let certificates = Certificates::make();
    let hba = "hostssl all all 127.0.0.1/32 cert";
    let postgres = postgres(&certificates, hba);
    let tls = format!(
        "[databases.main.tls]\nmode = \"verify-ca\"\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"",
        certificates.path("ca.crt"),
        certificates.path("client.crt"),
        certificates.path("client.key"),
    );
    assert_eq!(is_encrypted(&postgres.url(), &tls).await, Ok(true));
    let without = tls.lines().take(3).collect::<Vec<_>>().join("\n");
    assert_refused(is_encrypted(&postgres.url(), &without).await, "no certificate");
}

#[tokio::test]
async fn certificates_are_replaced_without_a_restart() {
    let (first, second) = (Certificates::make(), Certificates::make());
    let postgres = postgres(&first, "hostssl all all 127.0.0.1/32 cert");
    let ours = tempfile::tempdir().expect("a directory can be made");
    let path = |name: &str| ours.path().join(name).display().to_string();
    let take = |from: &Certificates| {
        for name in ["ca.crt", "client.crt", "client.key"] {
            fs::copy(from.path(name), path(name)).expect("both are ours");
        }
    };
    take(&first);
    let server = Server::start(&format!(
        "[databases.main]\nurl = \"{}\"\n[databases.main.tls]\nmode = \"verify-ca\"\n\
         ca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
        postgres.url(),
        path("ca.crt"),
        path("client.crt"),
        path("client.key")
    ));
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;
    for name in ["server.crt", "server.key", "ca.crt"] {
        postgres.put(name, &fs::read(second.path(name)).expect("it was made"));
    }
    postgres.psql("select pg_reload_conf()");
    // What is no certificate changes nothing, and is told of.
    replace_file(path("ca.crt"), "-----BEGIN CERTIFICATE-----\n");
    let count = || server.log().matches("cannot reload credentials").count();
    eventually_async("a bad file is noticed", Duration::from_secs(5), async || {
        postgres.terminate_backends();
        drop(client.query("select 2", &[]).await);
        (count() > 0).then_some(())
    })
    .await;
    drop(client.query("select 2", &[]).await);
    assert_eq!(count(), 1, "{}", server.log());
    // While the three are copied they do not fit each other.
    take(&second);
    eventually_async("the new ones are used", Duration::from_secs(5), async || {
        client.query("select 3", &[]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_password_is_understood() {
    let postgres = Postgres::start();
    for (method, encryption) in
        [("scram-sha-256", "scram-sha-256"), ("md5", "md5"), ("password", "md5")]
    {
        postgres.psql(&format!(
            "set password_encryption = '{encryption}'; alter role postgres password '{PASSWORD}'"
        ));
        let hba = format!("local all all trust\nhost all all 127.0.0.1/32 {method}\n");
        postgres.put("pg_hba.conf", hba.as_bytes());
        postgres.psql("select pg_reload_conf()");
        assert_eq!(is_encrypted(&postgres.url(), "").await, Ok(false), "{method}");
        // In another way the password is not given.
        let others =
            ["scram-sha-256", "md5", "password", "none"].map(|other| format!("\"{other}\""));
        let others = others.into_iter().filter(|other| !other.contains(method));
        let others = others.collect::<Vec<_>>().join(", ");
        let others = format!("require_auth = [{others}]");
        assert_eq!(is_encrypted(&postgres.url(), &others).await, Err(Code::FailedPrecondition));
        let this = format!("require_auth = \"{method}\"");
        assert_eq!(is_encrypted(&postgres.url(), &this).await, Ok(false), "{method}");
    }
}

#[tokio::test]
async fn a_password_that_is_bound_to_the_connection_is_given_in_no_other_way() {
    let certificates = Certificates::make();
    let scram = format!("local all all trust\n{SCRAM}\n");
    let postgres = postgres(&certificates, &scram);
    let tls = "[databases.main.tls]\nmode = \"require\"";
    let url = format!("{}?channel_binding=require", postgres.url());
    assert_eq!(is_encrypted(&url, tls).await, Ok(true));
    postgres.psql(&format!(
        "set password_encryption = 'md5'; alter role postgres password '{PASSWORD}'"
    ));
    postgres.put("pg_hba.conf", scram.replace("scram-sha-256", "md5").as_bytes());
    postgres.psql("select pg_reload_conf()");
    let allowed = format!("require_auth = \"md5\"\n{tls}");
    assert_eq!(is_encrypted(&postgres.url(), &allowed).await, Ok(true));
    assert_refused(is_encrypted(&url, &allowed).await, "nothing is bound");
}

#[tokio::test]
async fn credentials_of_a_command_are_renewed_after_a_refused_login() {
    let postgres = Postgres::start();
    postgres.psql("create role app login password 'one'");
    let printed = postgres.directory().join("printed");
    let print = |password: &str| {
        let credentials = format!("{{\"user\": \"app\", \"password\": \"{password}\"}}");
        std::fs::write(&printed, credentials).expect("there is room");
    };
    print("one");
    let url = format!("postgres://nobody@127.0.0.1:{}/postgres", postgres.port());
    let command = format!("command = [\"cat\", \"{}\"]", printed.display());
    let server = Server::start(&format!(
        "[databases.main]\nurl = \"{url}\"\npool = {{ min = 0, lanes = 0, max_lifetime = \"1ms\" }}\n\
         [databases.main.credentials]\n{command}\n"
    ));
    let client = Client::connect(server.grpc()).await;
    let who = async || client.query("select current_user", &[]).await.ok();
    let app = who().await.expect("the command names the role");
    assert_eq!(app.rows[0].values, [Value::text("app")]);
    postgres.psql("alter role app password 'two'");
    print("two");
    let again = eventually_async("the new password is used", PATIENCE, who).await;
    assert_eq!(again.rows[0].values, [Value::text("app")]);
    assert!(server.log().contains("credentials taken from the command"), "{}", server.log());
}

#[tokio::test]
async fn a_unix_socket_is_a_way_too() {
    let postgres = Postgres::start();
    let (directory, port) = (postgres.directory().display(), postgres.port());
    let escaped = postgres.directory().display().to_string().replace('/', "%2F");
    for url in [
        format!("postgres://postgres@{escaped}:{port}/postgres"),
        format!("postgres:///postgres?host={directory}&port={port}&user=postgres"),
    ] {
        assert_eq!(is_encrypted(&url, "").await, Ok(false), "{url}");
    }
}

/// Starts a server that knows its database from the environment alone.
async fn one_from(environment: &[(&str, &str)]) -> Value {
    let server = Server::start_with("", environment);
    let client = Client::connect(server.grpc()).await;
    let sql = "select current_user || '@' || current_database() || ' ' || \
               current_setting('application_name')";
    client.must(sql, &[]).await.rows.remove(0).values.remove(0)
}

#[tokio::test]
async fn the_environment_names_the_database() {
    let postgres = Postgres::start();
    postgres.psql("create database shop; create role keeper login password 'pass%word'");
    let url = format!(
        "postgres://keeper:pass%25word@127.0.0.1:{}/shop?application_name=till",
        postgres.port()
    );
    assert_eq!(one_from(&[("DATABASE_URL", &url)]).await, Value::text("keeper@shop till"));
    let port = postgres.port().to_string();
    let libpq = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port.as_str()),
        ("PGUSER", "keeper"),
        ("PGPASSWORD", "pass%word"),
        ("PGDATABASE", "shop"),
        ("PGAPPNAME", "till"),
    ];
    assert_eq!(one_from(&libpq).await, Value::text("keeper@shop till"));
}

#[tokio::test]
async fn the_pool_is_warm_before_the_first_call_and_stays_within_its_bounds() {
    let postgres = Postgres::start();
    let settings = "[databases.main.pool]\nmin = 3\nmax = 6";
    let server =
        Server::start(&format!("[databases.main]\nurl = \"{}\"\n{settings}\n", postgres.url()));
    // The session of the last look may still be ending.
    let count = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
                 and application_name <> 'psql'";
    let count = || postgres.psql(count).parse::<u32>().expect("a number");
    eventually_async("three connections are open", Duration::from_secs(5), async || {
        (count() >= 3).then_some(())
    })
    .await;
    let client = Client::connect(server.grpc()).await;
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.query("select pg_sleep(0.05)", &[]).await })
        })
        .collect();
    eventually_async("six work", Duration::from_secs(5), async || (count() >= 6).then_some(()))
        .await;
    assert!(count() <= 7, "six and one probe");
    for call in calls {
        call.await.expect("no panic").expect("it waits its turn");
    }
}

/// Changes of all later sessions of a role, for which it needs no privilege.
const LATER_SESSIONS: [&str; 5] = [
    "alter role current_user set search_path = evil, public",
    "alter role current_user set default_transaction_read_only = on",
    "alter role current_user set default_transaction_isolation = 'serializable'",
    "alter role current_user set row_security = off",
    "alter role current_user in database postgres set synchronous_commit = off",
];

#[tokio::test]
async fn a_reconnect_takes_the_settings_that_a_role_begins_with_by_now() {
    let service = Service::on(Postgres::start(), "").await;
    let path = "select current_setting('search_path')";
    let first = service.client.must(path, &[]).await.rows;
    service.postgres().psql("alter role postgres set search_path = later");
    service.postgres().terminate_backends();
    assert_eq!(service.client.must(path, &[]).await.rows, first);
    let request = ReconnectPoolRequest { pool: "main".to_owned() };
    service.pools().reconnect_pool(request).await.expect("it is there");
    assert_eq!(service.client.must(path, &[]).await.rows[0].values, [Value::text("later")]);
}

#[tokio::test]
async fn later_sessions_begin_as_the_first_one_did() {
    let postgres = Postgres::start();
    postgres.psql("create schema evil; create table t (id int); create role app login");
    postgres.psql("grant all on t to app; alter role app set search_path = public");
    let url = postgres.socket_url().replace("postgres://postgres@", "postgres://app@");
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    let state = "select concat_ws(' ', current_setting('search_path'), \
        current_setting('default_transaction_read_only'), \
        current_setting('default_transaction_isolation'), current_setting('row_security'), \
        current_setting('synchronous_commit'))";
    let first = client.must(state, &[]).await.rows;
    for sql in LATER_SESSIONS {
        client.must(sql, &[]).await;
    }
    postgres.terminate_backends();
    for _ in 0..3 {
        assert_eq!(client.must(state, &[]).await.rows, first);
        client.must("insert into t values (1)", &[]).await;
        // It resets the session, which RESET ALL alone would bring to what the role begins with.
        client.must("do 'begin end'", &[]).await;
    }
    let warning = "role or database settings changed since the start";
    assert!(server.log().contains(warning), "{}", server.log());
}
