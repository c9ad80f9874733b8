//! Databases behind PgBouncer, as Debian ships it: in transaction mode, and without any word about us in its
//! configuration.

use rowgate::value::Kind;
use tonic::Code;

use crate::harness::client::Client;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;

const TRANSACTIONS: &str = "pool_mode = transaction\ndefault_pool_size = 4";

async fn service(url: &str, settings: &str) -> (Server, Client) {
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{settings}\n"));
    let client = Client::connect(server.grpc()).await;
    (server, client)
}

/// The first value of a result, as text.
async fn text(client: &Client, sql: &str) -> String {
    let result = client.must(sql, &[]).await;
    match &result.rows[0].values[0].kind {
        Some(Kind::TextValue(text)) => text.clone(),
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn a_pooler_that_refuses_options_is_used_without_them() {
    let postgres = Postgres::start();
    let Some(pooler) = PgBouncer::start(&postgres, TRANSACTIONS) else { return };
    let (server, client) = service(&pooler.url("postgres"), "").await;
    assert_eq!(text(&client, "select 'it works'").await, "it works");
    assert_eq!(server.log().matches("options refused at login").count(), 1, "{}", server.log());
}

#[tokio::test]
async fn a_pooler_that_cannot_be_used_is_a_misconfiguration() {
    let postgres = Postgres::start();
    let Some(pooler) = PgBouncer::start(&postgres, TRANSACTIONS) else { return };
    let (_server, client) = service(&pooler.url("unknown"), "").await;
    let failed = client.query("select 1", &[]).await.expect_err("it cannot be used");
    assert_eq!(failed.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"), "{failed:?}");
    assert!(format!("{failed:?}").contains("Add the database to the pooler's"), "{failed:?}");
}

#[tokio::test]
async fn values_are_canonical_where_options_are_dropped() {
    let postgres = Postgres::start();
    postgres.psql("alter database postgres set datestyle = 'SQL, DMY'");
    postgres.psql("alter database postgres set timezone = 'Asia/Tokyo'");
    let dropping = format!("{TRANSACTIONS}\nignore_startup_parameters = options");
    let Some(pooler) = PgBouncer::start(&postgres, &dropping) else { return };
    let (_server, client) = service(&pooler.url("postgres"), "").await;
    for _ in 0..40 {
        let shown = text(&client, "select date '2026-02-01' || ' ' || timestamptz 'epoch'").await;
        assert_eq!(shown, "2026-02-01 1970-01-01 00:00:00+00");
    }
}
