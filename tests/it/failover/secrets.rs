//! Secrets that change while the server runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use super::configuration;
use crate::harness::client::Client;
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;

/// Puts a secret into place as Kubernetes does: a directory of its own, and a symlink that is replaced.
fn swap(directory: &Path, version: &str, secret: Option<&str>) {
    let own = directory.join(version);
    fs::create_dir(&own).expect("it is ours");
    if let Some(secret) = secret {
        fs::write(own.join("password"), secret).expect("it is ours");
    }
    symlink(&own, directory.join("next")).expect("it is ours");
    fs::rename(directory.join("next"), directory.join("current")).expect("it is ours");
}

#[tokio::test]
async fn a_password_is_replaced_without_a_restart() {
    let postgres = Postgres::start();
    postgres.psql("create role app login password 'first secret'");
    let secrets = tempfile::tempdir().expect("a directory can be made");
    swap(secrets.path(), "1", Some("first secret\n"));
    let file = secrets.path().join("current/password");
    let url = format!(
        "postgres://app:${{file:{}}}@127.0.0.1:{}/postgres",
        file.display(),
        postgres.port()
    );
    let server = Server::start(&configuration(&url, ""));
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;

    // The file first: whoever is connected stays, and new connections prove themselves anew.
    swap(secrets.path(), "2", Some("p@ss/word 2\n"));
    postgres.psql("alter role app password 'p@ss/word 2'");
    assert!(postgres.terminate_backends() > 0);
    client.must("select 2", &[]).await;

    // A file that is not there changes nothing.
    swap(secrets.path(), "3", None);
    eventually_async("it is noticed", Duration::from_secs(5), async || {
        postgres.terminate_backends();
        client.must("select 3", &[]).await;
        server.log().contains("cannot reload credentials").then_some(())
    })
    .await;

    // The role first: what is refused is read again at once.
    swap(secrets.path(), "4", Some("third secret"));
    postgres.psql("alter role app password 'third secret'");
    postgres.terminate_backends();
    client.must("select 4", &[]).await;
    let log = server.log();
    assert!(log.contains("credentials reloaded"), "{log}");
    for secret in ["first secret", "p@ss", "third secret"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
