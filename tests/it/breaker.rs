//! How calls fail while a database is away, who tries it meanwhile, and how soon all is back.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::behind::Behind;
use crate::harness::client::Client;
use crate::harness::http;
use crate::harness::postgres::{PASSWORD, Postgres};
use crate::harness::wait::{eventually_async, idle_for};

/// From the moment at which the database accepts connections to the first success.
const RECOVERY: Duration = Duration::from_secs(1);

/// From that moment until the pool is as large as it shall be.
const REFILLED: Duration = Duration::from_secs(3);

/// The default of `pool.min`.
const MIN: u64 = 5;

/// Between two calls of one client: faster than RetryInfo asks for.
const PAUSE: Duration = Duration::from_millis(100);

/// What `/status` says of the database.
async fn status(service: &Behind) -> Json {
    let mut status = http::get(service.server.ops(), "/status").await.json();
    status["databases"][0].take()
}

async fn is_ready(service: &Behind) -> bool {
    http::get(service.server.ops(), "/readyz").await.status == 200
}

async fn until_breaker_is(service: &Behind, state: &str, within: Duration) {
    eventually_async(&format!("the breaker is {state}"), within, async || {
        (status(service).await["breaker"]["state"] == state).then_some(())
    })
    .await;
}

async fn until_filled(service: &Behind, within: Duration) {
    eventually_async("the pool is at its min", within, async || {
        (status(service).await["pool"]["open"].as_u64() >= Some(MIN)).then_some(())
    })
    .await;
}

fn connections(service: &Behind) -> u64 {
    service.proxy.counts().connections
}

/// What one client saw: how long each failed call took, how long calls took that need no database, and when
/// the first one succeeded after the return.
#[derive(Default)]
struct Seen {
    failures: Vec<Duration>,
    baseline: Vec<Duration>,
    first: Option<Instant>,
}

/// Calls again and again until told to stop; counts successes once the database is back.
async fn call(client: Client, away: Arc<AtomicBool>, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(SeqCst) {
        let was_away = away.load(SeqCst);
        let start = Instant::now();
        let refused = client.query(" ", &[]).await.expect_err("it is empty");
        assert_eq!(refused.code, Code::InvalidArgument);
        let middle = Instant::now();
        let answer = client.query("select 1", &[]).await;
        let end = Instant::now();
        match answer {
            Ok(_) if !was_away => seen.first = seen.first.or(Some(end)),
            Ok(_) => {}
            Err(failure) => {
                assert_eq!(failure.code, Code::Unavailable, "{failure:?}");
                assert!(failure.retry_after.is_some(), "{failure:?}");
                seen.baseline.push(middle - start);
                seen.failures.push(end - middle);
            }
        }
        idle_for(PAUSE).await;
    }
    seen
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100]
}

/// What an outage was like.
#[derive(Debug)]
struct Outage {
    calls: usize,
    p99: Duration,
    baseline: Duration,
    attempts: u64,
    first_success: Duration,
    filled: Duration,
}

/// Stops the database under clients for a while.
async fn outage(clients: usize, length: Duration) -> Outage {
    let mut service = Behind::start(Postgres::start(), "", &[]).await;
    until_filled(&service, Duration::from_secs(10)).await;
    let (away, stop) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for _ in 0..clients {
        let client = Client::connect(service.server.grpc()).await;
        callers.spawn(call(client, Arc::clone(&away), Arc::clone(&stop)));
    }
    idle_for(PAUSE * 2).await;
    service.postgres.stop();
    let before = connections(&service);
    until_breaker_is(&service, "open", Duration::from_secs(2)).await;
    assert!(!is_ready(&service).await, "calls fail, and it says that it is ready");
    idle_for(length).await;
    let attempts = connections(&service) - before;
    service.postgres.resume();
    let back = Instant::now();
    away.store(false, SeqCst);
    until_filled(&service, Duration::from_secs(30)).await;
    let filled = back.elapsed();
    idle_for(PAUSE * 2).await;
    stop.store(true, SeqCst);
    let (mut failures, mut baseline, mut first) = (Vec::new(), Vec::new(), None);
    for seen in callers.join_all().await {
        failures.extend(seen.failures);
        baseline.extend(seen.baseline);
        first = [first, seen.first].into_iter().flatten().min();
    }
    assert!(is_ready(&service).await);
    let log = service.server.log();
    for told in ["database not reached", "database reached again"] {
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
    Outage {
        calls: failures.len(),
        p99: p99(&mut failures),
        baseline: p99(&mut baseline),
        attempts,
        first_success: first.expect("a call succeeded").saturating_duration_since(back),
        filled,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_calls_fail_at_once_and_all_is_back_with_it() {
    let length = Duration::from_secs(2);
    let outage = outage(16, length).await;
    eprintln!("{outage:?}");
    // Neighbours on this machine slow down what needs no database as well.
    let limit = Duration::from_millis(5).max(outage.baseline * 3);
    assert!(outage.calls > 50 && outage.p99 <= limit, "{outage:?}");
    assert!(outage.attempts <= 16 + 5 + 4 * 4, "{outage:?}");
    assert!(outage.first_success <= RECOVERY && outage.filled <= REFILLED, "{outage:?}");
}

/// Takes its time: for `scripts/chaos`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute"]
async fn thirty_seconds_without_the_database_under_64_clients() {
    let outage = outage(64, Duration::from_secs(30)).await;
    eprintln!("{outage:?}");
    let limit = Duration::from_millis(5).max(outage.baseline * 3 / 2);
    assert!(outage.calls > 10_000 && outage.p99 <= limit, "{outage:?}");
    assert!(outage.attempts <= 150, "{outage:?}");
    assert!(outage.first_success <= RECOVERY && outage.filled <= REFILLED, "{outage:?}");
}

/// A process that is stopped, until this is dropped.
struct Stopped(String);

impl Stopped {
    /// Stops the process that accepts connections; those that it has accepted have processes of their own.
    fn postmaster(directory: &Path) -> Self {
        let file = directory.join("data/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("it runs");
        let stopped = Self(text.lines().next().expect("it starts with its number").to_owned());
        stopped.signal("STOP");
        stopped
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0]).status();
        assert!(status.expect("kill runs").success(), "{} has ended", self.0);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

const HUNG: &str = "[databases.main.pool]\nmin = 2\nmax = 8\nconnect_timeout = \"600ms\"\n\
                    validate_after_idle = \"1h\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_connected_serves_while_nobody_else_can_connect() {
    let service = Behind::start(Postgres::start(), HUNG, &[]).await;
    eventually_async("two connections are open", Duration::from_secs(10), async || {
        (status(&service).await["pool"]["idle"] == 2).then_some(())
    })
    .await;
    let stopped = Stopped::postmaster(service.postgres.directory());
    let before = connections(&service);
    let holders: Vec<_> = (0..2)
        .map(|_| {
            let client = service.client.clone();
            tokio::spawn(async move { client.query("select pg_sleep(1.5)", &[]).await })
        })
        .collect();
    eventually_async("both are in use", Duration::from_secs(1), async || {
        (status(&service).await["pool"]["in_use"] == 2).then_some(())
    })
    .await;
    // Whoever needs a new connection is told within its budget, and soon at once.
    let mut newcomers = JoinSet::new();
    for _ in 0..5 {
        let client = service.client.clone();
        newcomers.spawn(async move {
            let start = Instant::now();
            (client.must_fail("select 1", &[]).await, start.elapsed())
        });
    }
    for (failure, took) in newcomers.join_all().await {
        assert_eq!(failure.what(), (Code::Unavailable, "DATABASE_UNAVAILABLE"), "{failure:?}");
        assert!(took < Duration::from_millis(1_000), "told after {took:?}");
    }
    until_breaker_is(&service, "open", Duration::from_secs(1)).await;
    let start = Instant::now();
    service.client.must_fail("select 1", &[]).await;
    assert!(start.elapsed() < Duration::from_millis(100), "told after {:?}", start.elapsed());
    for holder in holders {
        holder.await.expect("no panic").expect("it was never disturbed");
    }
    for _ in 0..50 {
        service.client.must("select 1", &[]).await;
    }
    assert_eq!(status(&service).await["breaker"]["state"], "open");
    let attempts = connections(&service) - before;
    assert!(attempts <= 5 + 1 + 10, "{attempts} attempts");
    drop(stopped);
    until_breaker_is(&service, "closed", RECOVERY).await;
    eventually_async("it is ready", RECOVERY, async || is_ready(&service).await.then_some(()))
        .await;
}

const SLOW_TO_KNOCK: &str = "[databases.main.retry]\nmax_backoff = \"1s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_tried_rarely_and_works_again_when_it_is_mended() {
    let service = Behind::start(Postgres::start(), SLOW_TO_KNOCK, &[]).await;
    until_filled(&service, Duration::from_secs(10)).await;
    service.postgres.psql("alter role postgres password 'another'");
    service.client.must("select 1", &[]).await;
    service.postgres.terminate_backends();
    until_breaker_is(&service, "open", Duration::from_secs(5)).await;
    let before = connections(&service);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_500) {
        let failure = service.client.must_fail("select 1", &[]).await;
        assert_eq!(failure.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"));
        idle_for(PAUSE).await;
    }
    let attempts = connections(&service) - before;
    assert!(attempts <= 2, "{attempts} attempts in {:?}", start.elapsed());
    assert!(!is_ready(&service).await);
    service.postgres.psql(&format!("alter role postgres password '{PASSWORD}'"));
    eventually_async("a call succeeds", Duration::from_secs(2), async || {
        service.client.query("select 1", &[]).await.ok()
    })
    .await;
    until_filled(&service, REFILLED).await;
}
