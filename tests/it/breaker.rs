//! How calls fail while a database is away, who tries it meanwhile, and how soon all is back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::behind::Behind;
use crate::harness::client::Client;
use crate::harness::http;
use crate::harness::postgres::{PASSWORD, Postgres};
use crate::harness::server::{Server, run};
use crate::harness::wait::{eventually, eventually_async, idle_for};

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

/// How far an outage has come, told to who calls through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The database may be there or not.
    Unsure,
    /// The breaker is open, and the database will not come back while this is so.
    Open,
    /// The database was started, and may be back at any moment.
    Returning,
}

/// What one client saw: how long each failed call took while the breaker was open, how long calls took that
/// need no database, and when calls succeeded after the return.
#[derive(Default)]
struct Seen {
    refusals: Vec<Duration>,
    baseline: Vec<Duration>,
    successes: Vec<Instant>,
}

/// Calls again and again until the sender is gone.
async fn call(client: Client, stages: watch::Receiver<Stage>) -> Seen {
    let mut seen = Seen::default();
    while stages.has_changed().is_ok() {
        let stage = *stages.borrow();
        let start = Instant::now();
        let refused = client.query(" ", &[]).await.expect_err("it is empty");
        assert_eq!(refused.code, Code::InvalidArgument);
        let middle = Instant::now();
        let answer = client.query("select 1", &[]).await;
        let end = Instant::now();
        if let Err(failure) = &answer {
            assert_eq!(failure.code, Code::Unavailable, "{failure:?}");
            assert!(failure.retry_after.is_some(), "{failure:?}");
        }
        match (stage, answer) {
            (Stage::Open, answer) => {
                answer.expect_err("nothing is there");
                seen.baseline.push(middle - start);
                seen.refusals.push(end - middle);
            }
            (Stage::Returning, Ok(_)) => seen.successes.push(end),
            (Stage::Unsure, _) | (Stage::Returning, Err(_)) => {}
        }
        idle_for(PAUSE).await;
    }
    seen
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * 99 / 100]
}

/// A startup message: protocol 3.0, user `postgres`.
const STARTUP: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";

/// When the server lets somebody in, found by connecting again and again, beside the proxy: the first that is
/// asked for a password. Before that it refuses the connection, or the session with 57P03.
fn accepting(port: u16) -> Instant {
    let knock = || {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
        socket.set_read_timeout(Some(RECOVERY)).ok()?;
        socket.write_all(STARTUP).ok()?;
        let mut answer = [0];
        socket.read_exact(&mut answer).ok()?;
        (answer == *b"R").then(Instant::now)
    };
    eventually("the server lets somebody in", Duration::from_secs(30), knock)
}

/// What an outage was like.
#[derive(Debug)]
struct Outage {
    refusals: usize,
    p99: Duration,
    baseline: Duration,
    opened_after: Duration,
    /// From the end of the database until the pool was filled again.
    attempts: u64,
    first_success: Duration,
    filled: Duration,
}

impl Outage {
    fn check(&self, attempts: u64) {
        // Neighbours on this machine slow down what needs no database as well.
        let limit = Duration::from_millis(5).max(self.baseline * 2);
        assert!(self.p99 <= limit, "{self:?}");
        assert!(self.opened_after <= RECOVERY && self.attempts <= attempts, "{self:?}");
        assert!(self.first_success <= RECOVERY && self.filled <= REFILLED, "{self:?}");
    }
}

/// Ends the database under clients as a crash does, and starts it again after a while.
async fn outage(clients: usize, length: Duration) -> Outage {
    let mut service = Behind::start(Postgres::start(), "", &[]).await;
    until_filled(&service, Duration::from_secs(10)).await;
    let (stage, stages) = watch::channel(Stage::Unsure);
    let mut callers = JoinSet::new();
    for _ in 0..clients {
        let client = Client::connect(service.server.grpc()).await;
        callers.spawn(call(client, stages.clone()));
    }
    idle_for(PAUSE * 2).await;
    let before = connections(&service);
    service.postgres.crash();
    let end = Instant::now();
    until_breaker_is(&service, "open", Duration::from_secs(2)).await;
    let opened_after = end.elapsed();
    assert!(!is_ready(&service).await, "calls fail, and it says that it is ready");
    stage.send_replace(Stage::Open);
    idle_for(length).await;
    stage.send_replace(Stage::Returning);
    let port = service.postgres.port();
    let accepting = tokio::task::spawn_blocking(move || accepting(port));
    // Starting it waits; the callers and whoever knocks go on meanwhile.
    tokio::task::block_in_place(|| service.postgres.resume());
    until_filled(&service, Duration::from_secs(30)).await;
    let filled = Instant::now();
    let attempts = connections(&service) - before;
    let back = accepting.await.expect("no panic");
    idle_for(PAUSE * 2).await;
    drop(stage);
    let seen = callers.join_all().await;
    assert!(is_ready(&service).await);
    let log = service.server.log();
    for told in ["database not reached", "database reached again"] {
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
    let all = |times: fn(&Seen) -> &Vec<Duration>| -> Vec<Duration> {
        seen.iter().flat_map(times).copied().collect()
    };
    let (mut refusals, mut baseline) = (all(|seen| &seen.refusals), all(|seen| &seen.baseline));
    let first = seen.iter().flat_map(|seen| &seen.successes).min().expect("a call succeeded");
    Outage {
        refusals: refusals.len(),
        p99: p99(&mut refusals),
        baseline: p99(&mut baseline),
        opened_after,
        attempts,
        first_success: first.saturating_duration_since(back),
        filled: filled.saturating_duration_since(back),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_calls_fail_at_once_and_all_is_back_with_it() {
    let outage = outage(16, Duration::from_secs(2)).await;
    eprintln!("{outage:?}");
    assert!(outage.refusals > 50, "{outage:?}");
    // A burst until it opens, four in a second, and the pool: two more seconds for a slow start.
    outage.check(16 + 4 * 4 + 10);
}

/// Takes its time: for `scripts/chaos`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute"]
async fn thirty_seconds_without_the_database_under_64_clients() {
    let outage = outage(64, Duration::from_secs(30)).await;
    eprintln!("{outage:?}");
    assert!(outage.refusals > 10_000, "{outage:?}");
    outage.check(150);
}

/// What `rowgate pool stats main --format json` says.
fn figures(service: &Behind) -> Json {
    let address = format!("http://{}", service.server.grpc());
    let output = run(
        service.server.directory(),
        &["pool", "stats", "main", "--format", "json"],
        &[("ROWGATE_ADDRESS", &address)],
    );
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("one object")
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_breaker_since_when_and_how_often_and_what_was_not_retried() {
    let settings = "[databases.main.breaker]\nfailures = 20\n[databases.main.retry]\nbudget = 0\n";
    let mut service = Behind::start(Postgres::start(), settings, &[]).await;
    until_filled(&service, Duration::from_secs(10)).await;
    let now = figures(&service);
    assert_eq!((&now["breaker"], &now["breaker_opened"]), (&"closed".into(), &0.into()), "{now}");
    assert_eq!((&now["retries"], &now["retries_refused"]), (&0.into(), &0.into()), "{now}");

    service.postgres.crash();
    let end = Instant::now();
    eventually_async("the breaker is open", Duration::from_secs(5), async || {
        service.client.query("select 1", &[]).await.expect_err("nothing is there");
        (status(&service).await["breaker"]["state"] == "open").then_some(())
    })
    .await;
    let now = figures(&service);
    assert_eq!((&now["breaker"], &now["breaker_opened"]), (&"open".into(), &1.into()), "{now}");
    assert!(since(&now) <= end.elapsed(), "{now}");
    assert_eq!(now["retries"], 0, "{now}");
    let refused = now["retries_refused"].as_u64().expect("a number");
    assert!((15..=20).contains(&refused), "each call that failed before: {now}");

    service.postgres.resume();
    let back = Instant::now();
    until_breaker_is(&service, "closed", RECOVERY).await;
    let now = figures(&service);
    assert_eq!((&now["breaker"], &now["breaker_opened"]), (&"closed".into(), &1.into()), "{now}");
    assert!(since(&now) <= back.elapsed() + RECOVERY, "{now}");
}

/// How long the breaker has been as it is.
fn since(figures: &Json) -> Duration {
    Duration::from_millis(figures["breaker_since_ms"].as_u64().expect("a number"))
}

/// Nobody is there, and whoever comes is told so.
fn nobody() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_one_that_is_away_opens_nothing_and_all_that_are_away_do() {
    let mut postgres = Postgres::start();
    let there = format!("127.0.0.1:{}", postgres.port());
    let url = postgres.url().replace(&there, &format!("127.0.0.1:{},{there}", nobody()));
    let configuration =
        format!("[databases.main]\nurl = \"{url}\"\n[databases.main.pool]\nmin = 1\n");
    let server = Server::start(&configuration);
    let client = Client::connect(server.grpc()).await;
    let breaker =
        async || http::get(server.ops(), "/status").await.json()["databases"][0]["breaker"].take();
    for _ in 0..10 {
        client.must("select 1", &[]).await;
        postgres.terminate_backends();
    }
    client.must("select 1", &[]).await;
    assert_eq!(breaker().await["opened"], 0, "{}", server.log());
    postgres.crash();
    eventually_async("the breaker is open", Duration::from_secs(5), async || {
        client.query("select 1", &[]).await.expect_err("nothing is there");
        (breaker().await["state"] == "open").then_some(())
    })
    .await;
    postgres.resume();
    eventually_async("the breaker is closed", RECOVERY, async || {
        (breaker().await["state"] == "closed").then_some(())
    })
    .await;
    client.must("select 1", &[]).await;
}

/// The process that accepts connections; those that it has accepted have processes of their own.
struct Postmaster(String);

impl Postmaster {
    fn of(postgres: &Postgres) -> Self {
        let file = postgres.directory().join("data/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("it runs");
        Self(text.lines().next().expect("it starts with its number").to_owned())
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0]).status();
        assert!(status.expect("kill runs").success(), "{} has ended", self.0);
    }
}

/// One that is stopped, until this is dropped.
struct Stopped(Postmaster);

impl Stopped {
    fn new(postmaster: Postmaster) -> Self {
        postmaster.signal("STOP");
        Self(postmaster)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.signal("CONT");
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
    let stopped = Stopped::new(Postmaster::of(&service.postgres));
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_connected_serves_while_the_database_waits_for_its_end() {
    let service = Behind::start(Postgres::start(), "[databases.main.pool]\nmin = 2\n", &[]).await;
    eventually_async("two connections are open", Duration::from_secs(10), async || {
        (status(&service).await["pool"]["idle"] == 2).then_some(())
    })
    .await;
    let before = connections(&service);
    // A smart shutdown: whoever comes is refused with 57P03, and nobody is sent away.
    Postmaster::of(&service.postgres).signal("TERM");
    let holders: Vec<_> = (0..2)
        .map(|_| {
            let client = service.client.clone();
            tokio::spawn(async move { client.query("select pg_sleep(1)", &[]).await })
        })
        .collect();
    eventually_async("both are in use", Duration::from_secs(1), async || {
        (status(&service).await["pool"]["in_use"] == 2).then_some(())
    })
    .await;
    eventually_async("the breaker is open", Duration::from_secs(1), async || {
        let failure = service.client.must_fail("select 1", &[]).await;
        assert_eq!(failure.what(), (Code::Unavailable, "DATABASE_UNAVAILABLE"), "{failure:?}");
        (status(&service).await["breaker"]["state"] == "open").then_some(())
    })
    .await;
    for holder in holders {
        holder.await.expect("no panic").expect("it was never disturbed");
    }
    service.client.must("select 1", &[]).await;
    assert_eq!(status(&service).await["breaker"]["state"], "open");
    let attempts = connections(&service) - before;
    assert!(attempts <= 3 * 5 + 10, "{attempts} attempts");
}

const SLOW_TO_KNOCK: &str = "[databases.main.retry]\nmax_backoff = \"1s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_tried_rarely_and_works_again_when_it_is_mended() {
    let service = Behind::start(Postgres::start(), SLOW_TO_KNOCK, &[]).await;
    until_filled(&service, Duration::from_secs(10)).await;
    service.postgres.psql("alter role postgres password 'another'");
    service.client.must("select 1", &[]).await;
    service.postgres.terminate_backends();
    eventually_async("so many logins are refused", Duration::from_secs(5), async || {
        service.client.query("select 1", &[]).await.expect_err("it is not let in");
        (status(&service).await["breaker"]["state"] == "open").then_some(())
    })
    .await;
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
