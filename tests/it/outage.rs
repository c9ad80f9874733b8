//! A database that goes away and comes back.

use std::time::{Duration, Instant};

use rowgate::value::proto::{ListPoolStatsRequest, Value};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::client::{Client, Failure, PATIENCE, read_only, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::unit::Transaction;
use crate::harness::wait::{Stopwatch, Stutter, eventually_async};
use crate::harness::{Backend, Service, http};

/// A failed call while the database is away.
const MILLISECONDS: Duration = Duration::from_millis(100);

/// From the database's return to the first success.
const RECOVERY: Duration = Duration::from_secs(1);

const PROBING: &str = "[health]\ninterval = \"200ms\"\ntimeout = \"1s\"\n";

async fn is_serving(service: &Service, name: &str) -> bool {
    let request = HealthCheckRequest { service: name.to_owned() };
    let answer = HealthClient::new(service.client.channel()).check(request).await;
    answer.expect("health always answers").get_ref().status() == ServingStatus::Serving
}

/// Waits until health and `/readyz` both say so.
async fn until_ready(service: &Service, wanted: bool, within: Duration) {
    eventually_async(&format!("ready: {wanted}"), within, async || {
        let serving = is_serving(service, "").await
            && is_serving(service, "readiness").await
            && is_serving(service, "database.main").await;
        let ready = http::get(service.server.ops(), "/readyz").await.status == 200;
        (serving == wanted && ready == wanted).then_some(())
    })
    .await;
    assert!(is_serving(service, "liveness").await, "the process itself responds");
    assert_eq!(http::get(service.server.ops(), "/livez").await.status, 200);
}

#[tokio::test]
async fn calls_fail_in_milliseconds_and_the_service_recovers_by_itself() {
    let mut service = Service::with(Backend::Postgres, PROBING).await;
    until_ready(&service, true, Duration::from_secs(5)).await;
    service.client.must("create table t (id integer primary key)", &[]).await;

    service.postgres_mut().stop();
    let (mut slow, stutter) = (Vec::new(), Stutter::watch());
    for _ in 0..50 {
        let start = Instant::now();
        let failure = service.client.must_fail("select 1", &[]).await;
        let took = start.elapsed();
        assert_eq!(failure.code, Code::Unavailable, "{failure:?}");
        let known = ["DATABASE_UNAVAILABLE", "CONNECTION_LOST"].contains(&&*failure.reason);
        assert!(known && failure.retry_after.is_some(), "{failure:?}");
        slow.extend(Some(took).filter(|took| *took > MILLISECONDS + stutter.allowance()));
    }
    // A busy machine delays a call now and then.
    assert!(slow.len() <= 2, "calls took {slow:?}");
    until_ready(&service, false, Duration::from_secs(2)).await;

    service.postgres_mut().resume();
    let back = Stopwatch::start();
    eventually_async("a call succeeds", PATIENCE, async || {
        service.client.query("insert into t values (1)", &[]).await.ok()
    })
    .await;
    eprintln!("the first success came {:?} after the return", back.elapsed());
    back.assert_within(RECOVERY, "the first success");
    until_ready(&service, true, Duration::from_secs(2)).await;
    let result = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(result.rows[0].values, [Value::int64(1)]);
}

/// The answers to 8 callers that wrote without pause.
#[derive(Debug, Default)]
struct Seen {
    written: Vec<i64>,
    refused: Vec<i64>,
    unknown: Vec<i64>,
    slowest: Duration,
    /// The time by which the machine was late.
    late: Duration,
}

/// Writes numbers from `first` on, until told to stop.
async fn write(client: Client, first: i64, stop: tokio::sync::watch::Receiver<bool>) -> Seen {
    let mut seen = Seen::default();
    let mut number = first;
    while !*stop.borrow() {
        let start = Instant::now();
        let answer = client.query("insert into t values ($1)", &[Value::int64(number)]).await;
        seen.slowest = seen.slowest.max(start.elapsed());
        match answer {
            Ok(_) => seen.written.push(number),
            Err(failure) => seen.count(number, &failure),
        }
        number += 1;
        tokio::task::yield_now().await;
    }
    seen
}

impl Seen {
    fn count(&mut self, number: i64, failure: &Failure) {
        match failure.outcome.as_str() {
            "UNKNOWN" => {
                assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
                self.unknown.push(number);
            }
            "NOT_APPLIED" => {
                assert_eq!(failure.code, Code::Unavailable, "{failure:?}");
                self.refused.push(number);
            }
            other => panic!("a failed insert is not {other}: {failure:?}"),
        }
    }
}

#[tokio::test]
async fn what_callers_were_told_is_true_whatever_happened_to_the_database() {
    let mut service = Service::with(Backend::Postgres, PROBING).await;
    service.client.must("create table t (id bigint primary key)", &[]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let stutter = Stutter::watch();
    let callers: Vec<_> = (1..=8)
        .map(|n| tokio::spawn(write(service.client.clone(), n * 10_000_000, stopped.clone())))
        .collect();
    let count = async |service: &Service| {
        let result = service.client.query("select count(*) from t", &[]).await.ok()?;
        result.rows[0].values[0].kind.clone()
    };
    for round in 0..4 {
        let before = count(&service).await;
        eventually_async("writes go on", Duration::from_secs(5), async || {
            let now = count(&service).await;
            (now.is_some() && now != before).then_some(())
        })
        .await;
        if round % 2 == 0 {
            service.postgres_mut().crash();
        } else {
            service.postgres().terminate_backends();
            service.postgres_mut().stop();
        }
        service.client.must_fail("select 1", &[]).await;
        service.postgres_mut().resume();
    }
    stop.send(true).expect("they listen");
    let mut all = Seen { late: stutter.allowance(), ..Seen::default() };
    for caller in callers {
        let seen = caller.await.expect("no caller panics");
        all.written.extend(seen.written);
        all.refused.extend(seen.refused);
        all.unknown.extend(seen.unknown);
        all.slowest = all.slowest.max(seen.slowest);
    }
    check_truth(&service, &all);
}

fn check_truth(service: &Service, all: &Seen) {
    let rows = service.postgres().psql("select id from t order by id");
    let rows: std::collections::HashSet<i64> =
        rows.lines().map(|line| line.parse().expect("a number")).collect();
    let (written, refused, unknown) = (all.written.len(), all.refused.len(), all.unknown.len());
    eprintln!("{written} written, {refused} refused, {unknown} unknown, slowest {:?}", all.slowest);
    let lost: Vec<_> = all.written.iter().filter(|id| !rows.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let there: Vec<_> = all.refused.iter().filter(|id| rows.contains(id)).collect();
    assert!(there.is_empty(), "NOT_APPLIED and there: {there:?}");
    assert!(written > 0 && refused > 0, "the test saw no fault");
    assert!(all.slowest < Duration::from_secs(2) + all.late, "a call hung for {:?}", all.slowest);
}

#[tokio::test]
async fn it_starts_without_its_database_and_serves_when_it_comes() {
    let mut postgres = Postgres::start();
    postgres.stop();
    let mut service = Service::on(postgres, PROBING).await;
    until_ready(&service, false, Duration::from_secs(2)).await;
    let start = Stopwatch::start();
    let failure = service.client.must_fail("select 1", &[]).await;
    assert_eq!(failure.what(), (Code::Unavailable, "DATABASE_UNAVAILABLE"), "{failure:?}");
    start.assert_within(MILLISECONDS, "the call");
    service.postgres_mut().resume();
    until_ready(&service, true, Duration::from_secs(3)).await;
    service.client.must("select 1", &[]).await;
}

#[tokio::test]
async fn idle_connections_that_were_terminated_are_replaced_unseen() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must("create table t (id integer)", &[]).await;
    for round in 1..=10 {
        assert!(service.postgres().terminate_backends() > 0, "round {round}");
        service.client.must("insert into t values (1)", &[]).await;
        let result = service.client.must("select count(*) from t", &[]).await;
        assert_eq!(result.rows[0].values, [Value::int64(round)]);
    }
}

#[tokio::test]
async fn wrong_credentials_are_a_misconfiguration_and_never_unauthenticated() {
    let postgres = Postgres::start();
    let url = postgres.url_as("postgres", "s3cret-7f3a");
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{PROBING}"));
    let client = Client::connect(server.grpc()).await;
    let failure = client.must_fail("select 1", &[]).await;
    assert_eq!(failure.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"), "{failure:?}");
    assert!(!format!("{failure:?}{}", server.log()).contains("s3cret"), "the password is shown");
    assert_eq!(http::get(server.ops(), "/readyz").await.status, 503);
}

/// A service whose only connection is in use by the transaction, and where one call may wait for it.
async fn full(acquire_timeout: &str) -> (Service, Transaction) {
    let settings = format!(
        "[databases.main.pool]\nwarm_up = false\nmin = 1\nmax = 1\n\
         acquire_timeout = \"{acquire_timeout}\"\nmax_waiting = 1"
    );
    let service = Service::with(Backend::Postgres, &settings).await;
    let mut holder = service.client.begin().await;
    holder.query("select 1", &[]).await.expect("it is free");
    (service, holder)
}

#[tokio::test]
async fn a_full_pool_refuses_at_its_limit() {
    let (service, holder) = full("200ms").await;
    let (limit, tolerance) = (Duration::from_millis(200), Duration::from_millis(50));
    let mut late = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let failure = service.client.must_fail("select 1", &[]).await;
        let took = start.elapsed();
        assert_eq!(failure.what(), (Code::ResourceExhausted, "POOL_EXHAUSTED"), "{failure:?}");
        assert!(failure.retry_after.is_some(), "{failure:?}");
        assert!(took >= limit, "it gave up after {took:?}");
        late = late.min(took - limit);
    }
    assert!(late < tolerance, "it gave up {late:?} late, three times");
    holder.commit().await.expect("it was never disturbed");
}

#[tokio::test]
async fn whoever_comes_when_as_many_wait_as_may_is_refused_at_once() {
    let (service, holder) = full("60s").await;
    let client = service.client.clone();
    let waiting = tokio::spawn(async move { client.query("select 1", &[]).await });
    eventually_async("one waits", PATIENCE, async || {
        let answer = service.client.pools().list_pool_stats(ListPoolStatsRequest::default()).await;
        (answer.expect("it runs").into_inner().pools[0].waiting == 1).then_some(())
    })
    .await;
    let start = Stopwatch::start();
    let failure = service.client.must_fail("select 1", &[]).await;
    assert_eq!(failure.what(), (Code::ResourceExhausted, "POOL_EXHAUSTED"), "{failure:?}");
    start.assert_within(Duration::from_millis(50), "the refusal");
    holder.commit().await.expect("it was never disturbed");
    waiting.await.expect("no panic").expect("it is its turn");
}

#[tokio::test]
async fn a_server_that_became_a_standby_is_told_from_a_caller_that_may_not_write() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must("create table t (id int)", &[]).await;
    service.postgres().psql("alter system set default_transaction_read_only = on");
    service.postgres().psql("select pg_reload_conf()");
    eventually_async("the sessions have heard of it", PATIENCE, async || {
        let shown = service.client.must("show default_transaction_read_only", &[]).await;
        (shown.rows[0].values == [Value::text("on")]).then_some(())
    })
    .await;
    let write = "insert into t values (1)";
    let failure = service.client.must_fail(write, &[]).await;
    assert_eq!(failure.what(), (Code::Unavailable, "NOT_PRIMARY"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    let failure = service.client.run(request_with(write, read_only())).await.expect_err("no write");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "READ_ONLY"), "{failure:?}");
}

#[tokio::test]
async fn a_server_without_room_is_an_exhausted_pool_while_some_of_it_is_ours() {
    let postgres = Postgres::with(&["max_connections=8"]);
    let settings = "[databases.main.pool]\nmin = 0\nwarm_up = false\nacquire_timeout = \"250ms\"";
    let service = Service::on(postgres, settings).await;
    service.client.must("select 1", &[]).await;
    let callers: Vec<_> = (0..12)
        .map(|_| {
            let client = service.client.clone();
            tokio::spawn(async move { client.query("select pg_sleep(0.5)", &[]).await })
        })
        .collect();
    let (mut served, mut refused) = (0, 0);
    for caller in callers {
        match caller.await.expect("no caller panics") {
            Ok(_) => served += 1,
            Err(failure) => {
                assert_eq!(
                    failure.what(),
                    (Code::ResourceExhausted, "POOL_EXHAUSTED"),
                    "{failure:?}"
                );
                assert!(failure.retry_after.is_some(), "{failure:?}");
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
}
