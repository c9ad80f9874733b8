//! Callers that cannot listen are told why.

use tonic::Code;

use super::{Listener, notify, service, sessions};
use crate::access::Guarded;
use crate::harness::client::Client;
use crate::harness::mariadb::is_mysql;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::{Backend, Service};

#[tokio::test]
async fn sqlite_and_mariadb_have_no_notifications() {
    for (backend, kind) in [(Backend::Sqlite, "sqlite"), (Backend::Mariadb, "mysql")] {
        let service = Service::with(backend, "").await;
        let refused = Listener::refused(&service.client, &["a"]).await;
        assert_eq!(refused.what(), (Code::Unimplemented, "FEATURE_NOT_SUPPORTED"), "{refused:?}");
        assert!(refused.message.contains(kind), "{refused:?} ({})", is_mysql());
        assert!(refused.report.hint.contains("from a table"), "{refused:?}");
        let wrong = Listener::refused(&service.client, &[]).await;
        assert_eq!(wrong.what(), (Code::InvalidArgument, "INVALID_OPTION"), "{wrong:?}");
    }
}

#[tokio::test]
async fn nobody_listens_through_a_pooler() {
    let postgres = Postgres::start();
    let pooling = "pool_mode = transaction\ndefault_pool_size = 4";
    let Some(pooler) = PgBouncer::start(&postgres, pooling) else { return };
    let url = pooler.url("postgres");
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    let refused = Listener::refused(&client, &["a"]).await;
    assert_eq!(refused.what(), (Code::Unimplemented, "FEATURE_NOT_SUPPORTED"), "{refused:?}");
    assert!(refused.message.contains("pooler"), "{refused:?}");
    assert_eq!(sessions(&postgres), 0);
}

#[tokio::test]
async fn a_caller_needs_the_right_to_listen_and_to_the_database() {
    let callers = [
        ("listener", "databases = ['main']\nrpcs = ['Listen']"),
        ("reader", "databases = ['main']\nrpcs = ['Query']"),
    ];
    let guarded = Guarded::with(Backend::Postgres, "", &callers).await;
    let refused = Listener::refused(&guarded.client("reader"), &["a"]).await;
    assert_eq!(refused.what(), (Code::PermissionDenied, "ACCESS_DENIED"), "{refused:?}");
    let client = guarded.client("listener");
    let refused = Listener::refused_on(&client, "other", &["a"]).await;
    assert_eq!(refused.what(), (Code::NotFound, "DATABASE_NOT_FOUND"), "{refused:?}");
    let mut listener = Listener::start(&client, &["a"]).await;
    notify(guarded.service.postgres(), "a", "allowed");
    assert_eq!(listener.notification().await.1, "allowed");
}

#[tokio::test]
async fn a_channel_that_the_database_cannot_name_ends_its_listener_alone() {
    let postgres = Postgres::start();
    postgres.psql("create database latin encoding latin1 locale 'C' template template0");
    let url = postgres.url().trim_end_matches("postgres").to_owned() + "latin";
    let settings = format!("[databases.latin]\nurl = \"{url}\"\n");
    let service = Service::on(postgres, &settings).await;
    let client = &service.client;
    let mut other = Listener::open_on(client, "latin", &["a"]).await.expect("it is let in");
    let refused = Listener::refused_on(client, "latin", &["a", "日本"]).await;
    assert_eq!(refused.code, Code::InvalidArgument, "{refused:?}");
    other.next().await.expect("it listens");
}

#[tokio::test]
async fn the_statement_names_the_method() {
    let service = service("").await;
    let refused = service.client.must_fail("listen a", &[]).await;
    assert_eq!(refused.reason, "SESSION_STATE", "{refused:?}");
    assert!(refused.report.hint.contains("RPC Listen"), "{refused:?}");
}
