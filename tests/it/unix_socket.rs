//! A server on a Unix socket: its file, and callers by their users.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use tonic::Code;

use crate::harness::client::{Client, request};
use crate::harness::server::{LISTEN, Server, run};
use crate::harness::wait::eventually;

const SOON: Duration = Duration::from_secs(10);

fn start(path: &Path, configuration: &str) -> Server {
    let listen = format!("unix:{}", path.display());
    Server::start_with(configuration, &[(LISTEN, &listen)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_served_replaced_when_dead_and_removed_at_the_end() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("rowgate.sock");
    let mut server = start(&path, "");
    let found = fs::metadata(&path).expect("it is there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    let client = Client::connect_socket(&path).await.expect("it accepts");
    client.must("select 1", &[]).await;
    let address = format!("unix:{}", path.display());
    let asked = run(directory.path(), &["query", "--address", &address, "select 7 as it"], &[]);
    assert!(asked.status.success(), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stdout).contains('7'), "{asked:?}");

    let listen = [(LISTEN, address.as_str()), ("ROWGATE__OPS__LISTEN", "127.0.0.1:0")];
    let second = run(directory.path(), &["serve"], &listen);
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("another server listens there"), "{text}");
    client.must("select 2", &[]).await;

    server.signal("KILL");
    server.wait_for_exit(SOON);
    assert!(path.exists(), "nobody removed it");
    let mut server = start(&path, "");
    let client = Client::connect_socket(&path).await.expect("it accepts");
    client.must("select 3", &[]).await;
    drop(client);
    server.signal("TERM");
    eventually("its socket is removed", SOON, || (!path.exists()).then_some(()));
    server.wait_for_exit(SOON);
}

#[tokio::test]
async fn the_user_at_the_other_end_is_a_caller() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let own = fs::metadata(directory.path()).expect("it is ours").uid();
    for (uid, expected) in [(own, None), (own + 1, Some(Code::Unauthenticated))] {
        let path = directory.path().join("rowgate.sock");
        let caller = format!(
            "[callers.shop]\nuids = [{uid}]\ndatabases = [\"main\"]\nrpcs = [\"Query\"]\n\
             read_only = false\n"
        );
        let server = start(&path, &caller);
        let client = Client::connect_socket(&path).await.expect("it accepts");
        let answer = client.raw().query(request("select 1", &[])).await;
        assert_eq!(answer.err().map(|status| status.code()), expected, "{uid}");
        drop(server);
    }
}

#[test]
fn a_socket_has_no_tls() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in ["cert", "key"] {
        fs::write(directory.path().join(name), "-----BEGIN X-----\n").expect("it is ours");
    }
    let variables = [
        (LISTEN, "unix:/run/rowgate.sock"),
        ("ROWGATE__GRPC__TLS__CERT", "cert"),
        ("ROWGATE__GRPC__TLS__KEY", "key"),
    ];
    let checked = run(directory.path(), &["config", "check", "--no-connect"], &variables);
    let text = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(78), "{text}");
    assert!(text.contains("grpc.listen is a Unix socket"), "{text}");
}
