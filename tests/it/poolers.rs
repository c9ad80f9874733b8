//! Databases behind PgBouncer, as Debian ships it: in transaction mode, and without any word about us in its
//! configuration.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rowgate::value::Kind;
use rowgate::value::proto::server_service_client::ServerServiceClient;
use rowgate::value::proto::{ExecuteBatchRequest, GetServerInfoRequest, QueryOptions, Value};
use tonic::Code;

use crate::harness::behind::KEYS;
use crate::harness::client::{Client, PATIENCE, read_only, request, request_with};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::Postgres;
use crate::harness::rewriting::Rewriting;
use crate::harness::server::Server;
use crate::harness::unit::{keyed, statement};
use crate::harness::wait::eventually_async;

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

#[tokio::test]
async fn a_setting_that_no_session_behind_a_pooler_keeps_is_a_misconfiguration() {
    let postgres = Postgres::start();
    postgres.psql("alter database postgres set intervalstyle = 'iso_8601'");
    let Some(pooler) = PgBouncer::start(&postgres, TRANSACTIONS) else { return };
    let (_server, client) = service(&pooler.url("postgres"), "").await;
    let failed = client.query("select 1", &[]).await.expect_err("intervals would read otherwise");
    assert_eq!(failed.reason, "BACKEND_MISCONFIGURED", "{failed:?}");
    assert!(format!("{failed:?}").contains("IntervalStyle"), "{failed:?}");
}

#[tokio::test]
async fn a_pooler_that_pools_statements_is_a_misconfiguration() {
    let postgres = Postgres::start();
    let Some(pooler) = PgBouncer::start(&postgres, "pool_mode = statement") else { return };
    let (_server, client) = service(&pooler.url("postgres"), "").await;
    let failed = client.query("select 1", &[]).await.expect_err("it has no transactions");
    assert_eq!(failed.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"), "{failed:?}");
    assert!(format!("{failed:?}").contains("pool transactions or sessions"), "{failed:?}");
}

/// Options are dropped here, so that a Rowgate that always sends them is tried, too.
fn dropping() -> String {
    format!("{TRANSACTIONS}\nignore_startup_parameters = options")
}

#[tokio::test]
async fn two_replicas_behind_a_pooler_get_the_answers_to_their_own_statements() {
    let postgres = Postgres::start();
    let Some(pooler) = PgBouncer::start(&postgres, &dropping()) else { return };
    let mut replicas = Vec::new();
    for _ in 0..2 {
        replicas.push(service(&pooler.url("postgres"), "").await);
    }
    let callers = (0..8_i64).map(|caller| {
        let (_, client) = &replicas[usize::try_from(caller % 2).expect("it is small")];
        let client = client.clone();
        async move {
            for call in 0..60 {
                // Of each caller a statement of its own, and all of one shape.
                let number = caller * 1000 + call % 5;
                let sql = format!("select {number}::int8 + $1::int8");
                let result = client.must(&sql, &[Value::int64(call)]).await;
                assert_eq!(result.rows[0].values, [Value::int64(number + call)], "{sql}");
            }
        }
    });
    futures_util::future::join_all(callers).await;
}

#[tokio::test]
async fn the_names_of_statements_are_those_of_one_process_and_text() {
    let postgres = Postgres::start();
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let (_server, client) = service(&postgres.url(), "pool.max = 1").await;
        for _ in 0..3 {
            client.must("select $1::int8", &[Value::int64(1)]).await;
        }
        let sql = "select string_agg(name, ' ') from pg_prepared_statements";
        let names = text(&client, sql).await;
        let names: Vec<_> = names.split(' ').map(str::to_owned).collect();
        assert!(names.iter().all(|name| name.starts_with("rg_") && name.len() <= 63), "{names:?}");
        for name in names {
            assert!(seen.insert(name.clone()), "{name} is of both processes");
        }
    }
}

#[tokio::test]
async fn every_kind_of_call_works_behind_a_pooler() {
    let postgres = Postgres::start();
    postgres.psql("create table t (id int8 primary key, body text)");
    let Some(pooler) = PgBouncer::start(&postgres, TRANSACTIONS) else { return };
    let (_server, client) = service(&pooler.url("postgres"), "").await;
    postgres.psql(KEYS);
    for round in 0..3_i64 {
        let long = "x".repeat(300_000);
        let id = |offset: i64| Value::int64(10 * round + offset);
        let insert = "insert into t values ($1, $2) returning length(body)";
        let inserted = client.must(insert, &[id(1), Value::text(long.clone())]).await;
        assert_eq!(inserted.rows[0].values.len(), 1);
        let both = ExecuteBatchRequest {
            statements: vec![
                statement("insert into t values ($1, $2)", &[id(2), Value::text("batch")]),
                statement("select count(*) from t", &[]),
            ],
            ..ExecuteBatchRequest::default()
        };
        client.batch(both).await.expect("a batch works");
        let mut transaction = client.begin().await;
        let insert = "insert into t values ($1, $2)";
        transaction.query(insert, &[id(3), Value::text("t")]).await.expect("it is open");
        transaction.query("select body from t where id = $1", &[id(3)]).await.expect("it is open");
        transaction.commit().await.expect("it commits");
        let read =
            request_with("select length(body), point(1, 2), '::1'::inet from t", read_only());
        let rows = client.run(read).await.expect("a read works").rows.len();
        assert_eq!(i64::try_from(rows), Ok(3 * (round + 1)));
        client.stream(request("select id, body from t", &[])).await.expect("a stream works");
        let failed = client.query("select 1 / (id - id) from t", &[]).await.expect_err("it fails");
        assert_eq!(failed.reason, "DIVISION_BY_ZERO");
    }
    for _ in 0..2 {
        let once = request_with("insert into t values (1000, 'once')", keyed("one"));
        client.run(once).await.expect("the second is a replay");
    }
    postgres.psql("alter table t alter body type bytea using convert_to(body, 'UTF8')");
    let result = client.must("select body from t where id = 1000", &[]).await;
    assert_eq!(result.rows[0].values, [Value::bytes("once")]);
}

#[tokio::test]
async fn a_pooler_is_told_of_or_refused() {
    let postgres = Postgres::start();
    let Some(pooler) = PgBouncer::start(&postgres, TRANSACTIONS) else { return };
    for (url, expected) in [(pooler.url("postgres"), true), (postgres.url(), false)] {
        let (server, client) = service(&url, "").await;
        client.must("select 1", &[]).await;
        let mut services = ServerServiceClient::new(client.channel());
        let info = services.get_server_info(GetServerInfoRequest {}).await.expect("it answers");
        assert_eq!(info.get_ref().databases[0].behind_pooler, expected, "{url}");
        let told = server.log().matches("a pooler is between").count();
        assert_eq!(told, usize::from(expected), "{}", server.log());
    }
    let (_server, client) = service(&pooler.url("postgres"), "pooler = \"refuse\"").await;
    let failed = client.query("select 1", &[]).await.expect_err("it is refused");
    assert_eq!(failed.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"), "{failed:?}");
    assert!(failed.message.contains("pooler"), "{failed:?}");
}

#[tokio::test]
async fn a_login_that_the_end_of_the_server_cuts_off_is_no_sign_of_a_pooler() {
    let postgres = Postgres::start();
    let ended = Arc::new(AtomicBool::new(false));
    let is_ended = Arc::clone(&ended);
    // As a shutdown does it: 57P01, while the connection is asked what it leads to.
    let end_once = move |sql: &str| {
        let is_first = sql.contains("pg_prepared_statements") && !is_ended.swap(true, Relaxed);
        is_first.then(|| "select pg_terminate_backend(pg_backend_pid())".to_owned())
    };
    let proxy = Rewriting::start(&postgres, Arc::new(end_once)).await;
    let (server, client) = service(&proxy.url(&postgres), "pooler = \"refuse\"").await;
    let answered = async || client.query("select 1", &[]).await.ok();
    eventually_async("the next login is whole", PATIENCE, answered).await;
    assert!(ended.load(Relaxed), "no login was cut off");
    let mut services = ServerServiceClient::new(client.channel());
    let info = services.get_server_info(GetServerInfoRequest {}).await.expect("it answers");
    assert!(!info.get_ref().databases[0].behind_pooler, "{}", server.log());
}

#[tokio::test]
async fn a_deadline_behind_a_pooler_cancels_nobody() {
    let postgres = Postgres::start();
    let one = "pool_mode = transaction\ndefault_pool_size = 1";
    let Some(pooler) = PgBouncer::start(&postgres, one) else { return };
    let (_server, client) = service(&pooler.url("postgres"), "").await;
    let (_server, other) = service(&pooler.url("postgres"), "").await;
    let timeout = prost_types::Duration { seconds: 0, nanos: 200_000_000 };
    let timely = QueryOptions { timeout: Some(timeout), ..QueryOptions::default() };
    for _ in 0..3 {
        let late = request_with("select 1 from pg_sleep(0.4)", timely.clone());
        let failed = client.run(late).await.expect_err("the deadline is too short");
        assert_eq!(failed.reason, "DEADLINE", "{failed:?}");
        let own = request("select 1 from pg_sleep(0.1)", &[]);
        other.run(own).await.expect("another caller's statement is not cancelled");
    }
    assert!(!postgres.log().contains("due to user request"), "{}", postgres.log());
}
