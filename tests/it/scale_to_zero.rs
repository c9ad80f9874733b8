//! Databases that nobody probes: an idle one gets nothing, and readiness follows the calls.

use std::fs;
use std::time::{Duration, Instant};

use rowgate::value::proto::QueryOptions;
use tonic::Code;

use crate::failover::url;
use crate::harness::client::{Client, request_with};
use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::unit::batch;
use crate::harness::wait::{eventually_async, idle_for};
use crate::harness::{Backend, Service, http};

/// Nothing by itself, and connections that end soon.
const SETTINGS: &str = "pool.min = 0\npool.idle_timeout = \"200ms\"\nlisten.idle_timeout = \"100ms\"\n\
    listen.check_interval = \"50ms\"\npool.validate_after_idle = \"50ms\"\n[health]\ninterval = \"0s\"\n";

const SOON: Duration = Duration::from_secs(20);

async fn is_ready(service: &Service) -> bool {
    http::get(service.server.ops(), "/readyz").await.status == 200
}

/// Logs every statement and every connection.
fn watched() -> Postgres {
    Postgres::with(&["log_statement=all", "log_connections=on", "log_disconnections=on"])
}

/// Calls of several kinds, and a listener that leaves again.
async fn calls(service: &Service) {
    for _ in 0..50 {
        service.client.must("select 1", &[]).await;
    }
    service.client.batch(batch(&["select 2", "select 3"])).await.expect("it runs");
    let tagged = QueryOptions { tag: "night".to_owned(), ..QueryOptions::default() };
    service
        .client
        .run(request_with("create table if not exists t (a int)", tagged))
        .await
        .expect("it runs");
    let request = rowgate::value::proto::ListenRequest {
        channels: vec!["a".to_owned()],
        ..Default::default()
    };
    let mut listener =
        service.client.raw().listen(request).await.expect("it is let in").into_inner();
    listener.message().await.expect("it listens");
}

/// Waits until every connection of the gateway has ended.
async fn until_asleep(postgres: &Postgres) {
    eventually_async("all connections have ended", SOON, async || {
        let log = postgres.log();
        let opened = log.matches("connection authorized: ").count();
        let ended = log.matches("disconnection: ").count();
        (opened > 0 && opened == ended).then_some(())
    })
    .await;
}

/// Runs calls, lets the database fall asleep, and returns what it logs in a time afterwards.
async fn logged_while_idle(idle: Duration) -> String {
    let service = Service::on(watched(), SETTINGS).await;
    let postgres = service.postgres();
    assert!(is_ready(&service).await, "nothing is known against it");
    idle_for(Duration::from_millis(500)).await;
    assert!(!postgres.log().contains("connection authorized"), "{}", postgres.log());
    calls(&service).await;
    until_asleep(postgres).await;
    let before = postgres.log().len();
    idle_for(idle).await;
    let log = postgres.log()[before..].to_owned();
    assert!(is_ready(&service).await, "the last call has succeeded");
    calls(&service).await;
    log
}

#[tokio::test]
async fn an_idle_postgres_gets_nothing() {
    let log = logged_while_idle(Duration::from_secs(3)).await;
    assert!(log.is_empty(), "{log}");
}

#[tokio::test]
#[ignore = "takes ten minutes"]
async fn a_postgres_that_is_idle_for_ten_minutes_gets_nothing() {
    let log = logged_while_idle(Duration::from_secs(600)).await;
    assert!(log.is_empty(), "{log}");
}

#[tokio::test]
async fn an_idle_mariadb_gets_nothing() {
    let mariadb = Mariadb::with(&["general-log=1", "general-log-file=general.log"]);
    let file = mariadb.socket().with_file_name("data").join("general.log");
    let log = || String::from_utf8_lossy(&fs::read(&file).expect("it logs")).into_owned();
    let settings = SETTINGS.lines().filter(|line| !line.starts_with("listen"));
    let settings = settings.collect::<Vec<_>>().join("\n");
    let before = log().len();
    let service = Service::on_mariadb(mariadb, &settings, &[]).await;
    assert!(is_ready(&service).await);
    idle_for(Duration::from_millis(500)).await;
    assert_eq!(log().len(), before, "nobody has called: {}", log());
    service.client.must("select 1", &[]).await;
    service.client.must("select 2", &[]).await;
    assert!(log().len() > before);
    let start = Instant::now();
    let mut last = (log().len(), Instant::now());
    while last.1.elapsed() < Duration::from_secs(3) {
        idle_for(Duration::from_millis(50)).await;
        if log().len() != last.0 {
            last = (log().len(), Instant::now());
        }
        assert!(start.elapsed() < SOON, "it does not fall asleep: {}", log());
    }
    assert_eq!(service.pool().await.open, 0);
    assert!(is_ready(&service).await);
}

#[tokio::test]
async fn an_idle_sqlite_is_not_even_opened() {
    let settings = "pool.min = 0\npool.idle_timeout = \"200ms\"\n[health]\ninterval = \"0s\"\n";
    let service = Service::with(Backend::Sqlite, settings).await;
    let file = service.server.directory().join("test.db");
    assert!(is_ready(&service).await);
    idle_for(Duration::from_millis(500)).await;
    assert!(!file.exists(), "nobody has called");
    service.client.must("create table t (a int)", &[]).await;
    assert!(file.exists());
    service.until_pool("its connections are closed", |pool| pool.open == 0).await;
    assert!(is_ready(&service).await);
}

#[tokio::test]
async fn readiness_follows_the_last_call() {
    let mut service = Service::on(watched(), SETTINGS).await;
    service.client.must("select 1", &[]).await;
    service.postgres_mut().stop();
    assert!(is_ready(&service).await, "nobody has called since");
    let failure = service.client.must_fail("select 1", &[]).await;
    assert_eq!(failure.code, Code::Unavailable, "{failure:?}");
    eventually_async("it is not ready", SOON, async || (!is_ready(&service).await).then_some(()))
        .await;
    service.postgres_mut().resume();
    let before = service.postgres().log().len();
    idle_for(Duration::from_secs(2)).await;
    assert!(!is_ready(&service).await, "nobody has called since");
    assert_eq!(service.postgres().log().len(), before, "nobody tries by itself");
    // The breaker may be open: calls try again, one at a time.
    eventually_async("a call succeeds", SOON, async || {
        service.client.query("select 1", &[]).await.ok()
    })
    .await;
    eventually_async("it is ready", SOON, async || is_ready(&service).await.then_some(())).await;
}

#[tokio::test]
async fn what_is_due_at_the_start_is_done_behind_the_first_call() {
    let settings =
        "pool.min = 0\n[health]\ninterval = \"0s\"\n[idempotency]\ncreate_table = true\n";
    let service = Service::on(watched(), settings).await;
    let tables = "select count(*) from pg_tables where tablename = 'rowgate_idempotency'";
    idle_for(Duration::from_millis(500)).await;
    assert_eq!(service.postgres().psql(tables), "0");
    service.client.must("select 1", &[]).await;
    eventually_async("the table is made", SOON, async || {
        (service.postgres().psql(tables) == "1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn calls_find_the_next_primary_without_probes() {
    let mut first = Postgres::start();
    first.admit_standbys();
    let second = Postgres::standby_of(&first);
    let url = url(&[&first, &second]) + "?target_session_attrs=read-write";
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{SETTINGS}"));
    let client = Client::connect(server.grpc()).await;
    client.must("create table t (a int)", &[]).await;
    first.stop();
    let insert = "insert into t values (1)";
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.must(insert, &[]).await })
        })
        .collect();
    eventually_async("the breaker is open", SOON, async || {
        server.log().contains("database unreachable").then_some(())
    })
    .await;
    second.promote();
    for one in waiting {
        one.await.expect("each call waits for the next primary, and tries in its turn");
    }
    assert_eq!(second.psql("select count(*) from t"), "8");
}
