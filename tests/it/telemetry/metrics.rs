//! Metrics that move while all is well, and their labels.

use std::collections::BTreeSet;

use rowgate::value::proto::{PausePoolRequest, ResumePoolRequest};

use super::Watched;
use super::scrape::Scrape;
use crate::harness::client::{PATIENCE, request};
use crate::harness::http::get;
use crate::harness::mariadb;
use crate::harness::unit::batch;
use crate::harness::{Backend, Service};

pub(super) const RPC: &str = "rpc_server_call_duration_seconds_count";
pub(super) const OPERATION: &str = "db_client_operation_duration_seconds_count";
const CONNECTIONS: &str = "db_client_connections";

/// A label of calls.
pub(super) fn method(name: &str) -> (&str, &str) {
    ("rpc_method", name)
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_a_help_for_each() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("select 1", &[]).await;
    let response = get(service.server.ops(), "/metrics").await;
    assert_eq!(response.status, 200);
    let head = response.head.to_lowercase();
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let scrape = Scrape::of(&service).await;
    let typed: BTreeSet<String> = scrape.types.keys().cloned().collect();
    assert_eq!(typed, scrape.helped);
    assert!(typed.len() > 20, "{typed:?}");
    assert!(scrape.sum("rowgate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]) > 0.0);
}

/// Counts the calls that have ended, by method and status.
fn calls(scrape: &Scrape) -> [f64; 4] {
    let kinds =
        [("Query", "OK"), ("Query", "ALREADY_EXISTS"), ("ExecuteBatch", "OK"), ("Transact", "OK")];
    kinds.map(|(name, code)| {
        let name = format!("rowgate.v1.DatabaseService/{name}");
        scrape.sum(RPC, &[method(&name), ("rpc_response_status_code", code)])
    })
}

#[tokio::test]
async fn calls_move_the_metrics_of_calls_operations_and_waits() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let client = &service.client;
        client.must("create table t (id integer primary key)", &[]).await;
        client.must("insert into t values (1)", &[]).await;
        let failure = client.must_fail("insert into t values (1)", &[]).await;
        for _ in 0..3 {
            client.must("select * from t", &[]).await;
        }
        client.batch(batch(&["insert into t values (2)", "select 1"])).await.expect("it runs");
        let mut transaction = client.begin().await;
        transaction.query("select 1", &[]).await.expect("it runs");
        transaction.rollback().await.expect("it rolls back");
        // What is cleaned afterwards is held for so long.
        let came_back =
            |scrape: &Scrape| scrape.sum("db_client_connection_use_time_seconds_count", &[]) >= 8.0;
        // A call is counted as it ends, which is a moment after its answer.
        let ended = |scrape: &Scrape| came_back(scrape) && calls(scrape).iter().sum::<f64>() >= 8.0;
        let scrape = Scrape::until(&service, "all is back and counted", ended).await;
        assert_eq!(calls(&scrape), [5.0, 1.0, 1.0, 1.0]);
        let main = ("db_namespace", "main");
        let system =
            ("db_system_name", service.pick("sqlite", "postgresql", mariadb::system_name()));
        for (command, count) in [
            ("CREATE", 1),
            ("INSERT", 2),
            ("SELECT", 4),
            ("BATCH", 1),
            ("BEGIN", 1),
            ("ROLLBACK", 1),
        ] {
            let ran = scrape.sum(OPERATION, &[main, system, ("db_operation_name", command)]);
            assert_eq!(ran, f64::from(count), "{command}");
        }
        let reason = failure.reason.as_str();
        assert_eq!(scrape.sum(OPERATION, &[main, ("error_type", reason)]), 1.0, "{reason}");
        let labels = [
            method("rowgate.v1.DatabaseService/Query"),
            ("rowgate_reason", reason),
            ("rowgate_outcome", "NOT_APPLIED"),
        ];
        assert_eq!(scrape.sum("rowgate_failures_total", &labels), 1.0);
        assert_eq!(scrape.sum("rowgate_failures_total", &[]), 1.0);
        let pool = [("db_client_connection_pool_name", "main")];
        assert!(scrape.sum("db_client_connection_wait_time_seconds_count", &pool) >= 8.0);
        assert!(scrape.sum("db_client_connection_create_time_seconds_count", &pool) >= 1.0);
        assert!(scrape.sum("rowgate_pool_opened_total", &pool) >= 1.0);
        let statements = scrape.sum("rowgate_statements_total", &[main]);
        assert!(statements >= 8.0, "{backend:?}: {statements}");
        assert_eq!(scrape.sum("rowgate_transactions_total", &[main]), 2.0);
        assert_eq!(scrape.sum("rowgate_database_available", &[main]), 1.0);
    }
}

#[tokio::test]
async fn the_pool_is_seen_as_it_is() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let settings = "pool.min = 1\npool.max = 3\n";
        let service = Service::with(backend, settings).await;
        let scrape = Scrape::of(&service).await;
        for (name, value) in [
            ("db_client_connection_max", service.pool().await.max + service.pool().await.overflow),
            ("db_client_connection_idle_max", service.pool().await.max),
            ("db_client_connection_idle_min", service.pool().await.min),
            ("db_client_connection_pending_requests", 0),
            ("rowgate_pool_paused", 0),
        ] {
            let pool = [("db_client_connection_pool_name", "main")];
            assert_eq!(scrape.sum(name, &pool), f64::from(value), "{name}");
        }
        let held = service.client.begin().await;
        let used = [("db_client_connection_state", "used")];
        Scrape::until(&service, "one is used", |seen| seen.sum(CONNECTIONS, &used) == 1.0).await;
        held.rollback().await.expect("it rolls back");
        Scrape::until(&service, "none is used", |seen| seen.sum(CONNECTIONS, &used) == 0.0).await;

        let pause = PausePoolRequest { pool: "main".to_owned(), timeout: None };
        service.pools().pause_pool(pause).await.expect("it pauses");
        let client = service.client.clone();
        let waiting = tokio::spawn(async move { client.query("select 1", &[]).await });
        let pending = "db_client_connection_pending_requests";
        let scrape =
            Scrape::until(&service, "it waits", |seen| seen.sum(pending, &[]) == 1.0).await;
        assert_eq!(scrape.sum("rowgate_pool_paused", &[]), 1.0);
        let resume = ResumePoolRequest { pool: "main".to_owned() };
        service.pools().resume_pool(resume).await.expect("it resumes");
        waiting.await.expect("no panic").expect("it is let in");
        Scrape::until(&service, "none waits", |seen| seen.sum(pending, &[]) == 0.0).await;
    }
}

/// The name of a metric at `/metrics`, of its name, unit and kind in OTLP.
fn prometheus_name(name: &str, unit: &str, monotonic: bool) -> String {
    if name == "db.client.connection.count" {
        return CONNECTIONS.to_owned();
    }
    let seconds = if unit == "s" { "_seconds" } else { "" };
    let total = if monotonic { "_total" } else { "" };
    format!("{}{seconds}{total}", name.replace('.', "_"))
}

#[tokio::test]
async fn the_same_metrics_come_by_otlp() {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    let Watched { service, collector } = Watched::start(Backend::Sqlite).await;
    service.client.must("select 1", &[]).await;
    service.client.call(request("selec 1", &[]), PATIENCE).await.expect_err("it is no SQL");
    let scraped: BTreeSet<String> = Scrape::of(&service).await.types.into_keys().collect();
    let scraped: BTreeSet<_> = scraped.into_iter().filter(|name| name != "target_info").collect();
    let came = collector.metrics("all have come", |metrics| {
        let name = |metric: &opentelemetry_proto::tonic::metrics::v1::Metric| {
            assert!(!metric.description.is_empty(), "{metric:?}");
            let monotonic = matches!(&metric.data, Some(Data::Sum(sum)) if sum.is_monotonic);
            prometheus_name(&metric.name, &metric.unit, monotonic)
        };
        let came: BTreeSet<String> = metrics.values().map(name).collect();
        (came.len() >= scraped.len()).then_some(came)
    });
    assert_eq!(came, scraped);
}
