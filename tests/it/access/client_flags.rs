//! The flags of commands that call a server: its token, and TLS; and the rights that commands need.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};

use super::Guarded;
use crate::harness::Backend;
use crate::harness::certificates::Certificates;
use crate::harness::server::{rowgate, run};

/// The tokens that a server was sent, `-` for none.
type Seen = Arc<Mutex<Vec<String>>>;

/// Variables of a command.
type Environment = &'static [(&'static str, &'static str)];

/// The encryption of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    None,
    Tls,
    ClientsToo,
}

/// A server of health alone.
async fn health_server(certificates: &Certificates, encryption: Encryption) -> (SocketAddr, Seen) {
    let read = |name: &str| fs::read(certificates.path(name)).expect("it was made");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let seen = Seen::default();
    let shown = Arc::clone(&seen);
    let (_, health) = tonic_health::server::health_reporter();
    let health = InterceptedService::new(health, move |request: Request<()>| {
        let token = request.metadata().get("authorization").map_or("-", |it| it.to_str().unwrap());
        shown.lock().push(token.to_owned());
        Ok::<_, Status>(request)
    });
    let identity = Identity::from_pem(read("server.crt"), read("server.key"));
    let tls = ServerTlsConfig::new().identity(identity);
    let mut server = Server::builder();
    server = match encryption {
        Encryption::None => server,
        Encryption::Tls => server.tls_config(tls).expect("it is complete"),
        Encryption::ClientsToo => {
            let tls = tls.client_ca_root(Certificate::from_pem(read("ca.crt")));
            server.tls_config(tls).expect("it is complete")
        }
    };
    let served = server.add_service(health).serve_with_incoming(TcpIncoming::from(listener));
    drop(tokio::spawn(served));
    (address, seen)
}

/// Runs `rowgate health` in a directory: status and standard error.
async fn health(
    directory: &Path,
    arguments: &[String],
    environment: Environment,
) -> (Option<i32>, String) {
    let directory = directory.to_owned();
    let arguments = arguments.to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> =
            ["health"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        run(&directory, &arguments, environment)
    });
    let Output { status, stderr, .. } = ended.await.expect("it does not panic");
    (status.code(), String::from_utf8(stderr).expect("text"))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_called_over_tls_if_its_certificate_is_good() {
    let certificates = Certificates::make();
    let others = Certificates::make();
    let (plain, _) = health_server(&certificates, Encryption::None).await;
    let (tls, _) = health_server(&certificates, Encryption::Tls).await;
    let (both, _) = health_server(&certificates, Encryption::ClientsToo).await;
    let directory = tempfile::tempdir().expect("a directory can be made");
    fs::write(directory.path().join("no.pem"), "no PEM").expect("it is ours");
    let path = |name: &str| certificates.path(name);
    let (ca, other_ca) = (path("ca.crt"), others.path("ca.crt"));
    let shown = format!("--cert {} --cert-key {}", path("client.crt"), path("client.key"));
    let (plain, tls, both) = (plain.port(), tls.port(), both.port());
    let cases = [
        (format!("--address https://localhost:{tls} --ca {ca}"), 0, ""),
        (format!("--address localhost:{tls} --ca {ca}"), 0, ""),
        (format!("--address http://localhost:{tls} --ca {ca}"), 0, ""),
        (format!("--address https://localhost:{both} --ca {ca} {shown}"), 0, ""),
        (format!("--address http://localhost:{tls}"), 1, "a server that expects TLS"),
        (format!("--address https://localhost:{tls}"), 1, "--ca"),
        (
            format!("--address https://localhost:{tls} --ca {other_ca}"),
            1,
            "invalid peer certificate",
        ),
        (format!("--address https://127.0.0.1:{tls} --ca {ca}"), 1, "not valid for name"),
        (format!("--address https://localhost:{both} --ca {ca}"), 1, "--cert-key"),
        (format!("--address https://localhost:{plain} --ca {ca}"), 1, "does not speak TLS"),
        (format!("--address http://localhost:{plain} {shown}"), 2, "--cert needs TLS"),
        (format!("--address https://localhost:{tls} --ca no.pem"), 1, "no certificate in PEM"),
        (format!("--address https://localhost:{tls} --ca none.pem"), 1, "none.pem cannot be used"),
        (
            format!("--address https://localhost:{both} --ca {ca} --cert {ca} --cert-key no.pem"),
            1,
            "no private key in PEM",
        ),
    ];
    for (arguments, status, told) in cases {
        let (ended, err) = health(directory.path(), &words(&arguments), &[]).await;
        assert_eq!(ended, Some(status), "{arguments}: {err}");
        assert!(err.contains(told), "{arguments}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorities_may_be_named_by_a_variable_and_the_flag_goes_first() {
    let certificates = Certificates::make();
    let others = Certificates::make();
    let (tls, _) = health_server(&certificates, Encryption::Tls).await;
    let directory = tempfile::tempdir().expect("a directory can be made");
    for (name, of) in [("ca.pem", &certificates), ("other.pem", &others)] {
        fs::copy(of.path("ca.crt"), directory.path().join(name)).expect("there is room");
    }
    let cases: [(&str, Environment, i32); 5] = [
        ("", &[("ROWGATE_CA", "ca.pem")], 0),
        ("--ca ca.pem", &[("ROWGATE_CA", "other.pem")], 0),
        ("--ca other.pem", &[("ROWGATE_CA", "ca.pem")], 1),
        ("", &[("ROWGATE_CA", "other.pem")], 1),
        ("", &[("ROWGATE_CA", "")], 1),
    ];
    for (arguments, environment, status) in cases {
        let arguments = words(&format!("--address http://localhost:{} {arguments}", tls.port()));
        let (ended, err) = health(directory.path(), &arguments, environment).await;
        assert_eq!(ended, Some(status), "{arguments:?} {environment:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_from_a_file_or_from_a_variable_and_is_never_shown() {
    let certificates = Certificates::make();
    let (server, seen) = health_server(&certificates, Encryption::None).await;
    let directory = tempfile::tempdir().expect("a directory can be made");
    let address = format!("--address {server}");
    for (name, text) in [("good", "rg_id_secret\n"), ("two", "rg_id_secret rg_b"), ("empty", "\n")]
    {
        fs::write(directory.path().join(name), text).expect("it is ours");
    }
    const VARIABLE: Environment = &[("ROWGATE_TOKEN", "rg_var_secret")];
    let cases: [(&str, Environment, Result<&str, &str>); 8] = [
        ("", &[], Ok("-")),
        ("--token-file good", &[], Ok("Bearer rg_id_secret")),
        ("", VARIABLE, Ok("Bearer rg_var_secret")),
        ("--token-file good", VARIABLE, Ok("Bearer rg_id_secret")),
        ("", &[("ROWGATE_TOKEN", "")], Ok("-")),
        ("", &[("ROWGATE_TOKEN", "my secret")], Err("ROWGATE_TOKEN cannot be used")),
        ("--token-file two", &[], Err("two cannot be used: it is no token")),
        ("--token-file empty", VARIABLE, Err("empty cannot be used: it is no token")),
    ];
    for (arguments, environment, expected) in cases {
        seen.lock().clear();
        let arguments = words(&format!("{address} {arguments}"));
        let (status, err) = health(directory.path(), &arguments, environment).await;
        assert!(!err.contains("secret"), "{arguments:?}: {err}");
        let sent = seen.lock().clone();
        match expected {
            Ok(token) => assert_eq!((status, sent), (Some(0), vec![token.to_owned()]), "{err}"),
            Err(told) => {
                assert!(status == Some(1) && sent.is_empty(), "{arguments:?}: {sent:?}");
                assert!(err.contains(told), "{arguments:?}: {err}");
            }
        }
    }
}

/// Runs `rowgate query` on a server, with a token if there is one: status, standard output and standard error.
fn query(guarded: &Guarded, token: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let address = format!("http://{}", guarded.service.server.grpc());
    let arguments = [&["query", "--address", &*address], arguments].concat();
    let environment = [("ROWGATE_TOKEN", token)];
    let output = run(guarded.service.server.directory(), &arguments, &environment);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_needs_one_right_unless_databases_differ_in_where_its_statements_end() {
    let rights = "databases = ['main']\nread_only = false\nrpcs = ['ExecuteBatch']";
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let guarded = Guarded::start(backend, &[("batches", rights)]).await;
        let file = guarded.service.server.directory().join("file.sql");
        let batch = ["--batch", "file.sql"];
        let text = "create table t (n int);\ninsert into t values (7);\nselect n from t;\n";
        fs::write(&file, text).expect("it is ours");
        let (status, out, err) = query(&guarded, guarded.token("batches"), &batch);
        assert_eq!(status, Some(0), "{backend:?}: {err}");
        assert!(out.contains('7') && out.contains("3 statements, committed"), "{out}");
        fs::write(&file, "select $$ a; b $$;\n").expect("it is ours");
        let (status, _, err) = query(&guarded, guarded.token("batches"), &batch);
        assert_eq!(status, Some(1), "{backend:?}: {err}");
        assert!(err.contains("GetServerInfo"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_is_told_the_flag_that_it_lacks() {
    let rights = "databases = ['main']\nrpcs = ['StreamQuery', 'ExecuteBatch']";
    let guarded = Guarded::start(Backend::Sqlite, &[("reader", rights)]).await;
    fs::write(guarded.service.server.directory().join("file.sql"), "select 1").expect("ours");
    let token = guarded.token("reader");
    for arguments in [&["select 1"][..], &["--batch", "file.sql"]] {
        for (token, flag) in [("", "--token-file"), (token, "--read-only")] {
            let (status, _, err) = query(&guarded, token, arguments);
            assert!(status == Some(1) && err.contains(flag), "{arguments:?}: {err}");
        }
        let (status, _, err) = query(&guarded, "rg_id_secret", arguments);
        assert!(status == Some(1) && !err.contains("--token-file"), "{arguments:?}: {err}");
        let (status, _, err) = query(&guarded, token, &[arguments, &["--read-only"]].concat());
        assert_eq!(status, Some(0), "{arguments:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_finds_out_its_database_without_the_right_to_ask_the_server() {
    let rights = "databases = ['main']\nrpcs = ['StreamQuery']";
    for (backend, engine) in [
        (Backend::Sqlite, "SQLite"),
        (Backend::Postgres, "PostgreSQL"),
        // Its version alone.
        (Backend::Mariadb, "."),
    ] {
        let guarded = Guarded::start(backend, &[("reader", rights)]).await;
        let address = format!("http://{}", guarded.service.server.grpc());
        let mut command = rowgate(guarded.service.server.directory());
        command.args(["sql", "--read-only", "--address", &address]);
        command.env("ROWGATE_TOKEN", guarded.token("reader"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary was built");
        let script = b"\\c\n\\dt\nselect 'a' as \"A b\";\nselect 40 + 2;\n\\l\nselect 47114711;\n";
        child.stdin.take().expect("it is piped").write_all(script).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("the default one: ") && told.contains(engine), "{told}");
        assert!(told.contains("there are no tables\n"), "{told}");
        assert!(told.contains("42") && !told.contains("47114711"), "{told}");
        assert!(failed.contains("this caller may not ask for the databases"), "{failed}");
        assert_eq!(output.status.code(), Some(1));
    }
}
