//! A database that crashes under clients, and comes back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;

use super::{PAUSE, RECOVERY, REFILLED, connections, is_ready, until_breaker_is, until_filled};
use crate::harness::behind::Behind;
use crate::harness::client::Client;
use crate::harness::postgres::Postgres;
use crate::harness::wait::{Stutter, eventually, idle_for};

/// The default of `pool.max`.
const MAX: u64 = 20;

/// The stage of an outage, known to those who call through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The database may be there or not.
    Unsure,
    /// The breaker is open, and the database will not come back while this is so.
    Open,
    /// The database was started, and may be back at any moment.
    Returning,
}

/// The observations of one client: the duration of each failed call while the breaker was open, of calls that
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

/// Returns the moment when the server first asks for a password, found by connecting again and again, beside
/// the proxy. Before that it refuses the connection, or the session with 57P03.
fn accepting(port: u16) -> Instant {
    let attempt = || {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
        socket.set_read_timeout(Some(RECOVERY)).ok()?;
        socket.write_all(STARTUP).ok()?;
        let mut answer = [0];
        socket.read_exact(&mut answer).ok()?;
        (answer == *b"R").then(Instant::now)
    };
    eventually("the server lets somebody in", Duration::from_secs(30), attempt)
}

/// The figures of an outage.
#[derive(Debug)]
struct Outage {
    refusals: usize,
    p99: Duration,
    baseline: Duration,
    opened_after: Duration,
    /// While it was away: until it was started again.
    attempts: u64,
    /// From then until the pool was filled again, all that callers needed included.
    returning: u64,
    /// The time that the database took to start.
    starting: Duration,
    first_success: Duration,
    filled: Duration,
}

impl Outage {
    /// `late`: what the machine itself may be late by.
    fn check(&self, attempts: u64, late: Duration) {
        // Neighbours on this machine slow down what needs no database as well.
        let limit = Duration::from_millis(5).max(self.baseline * 2) + late;
        assert!(self.p99 <= limit, "{self:?}");
        assert!(self.opened_after <= RECOVERY + late && self.attempts <= attempts, "{self:?}");
        // Probes while it starts, and then what a pool has room for: no storm.
        let room = MAX + u64::try_from(self.starting.as_millis() / 250).expect("it is short") + 3;
        assert!(self.returning <= room, "{self:?}");
        let (success, filled) = (RECOVERY + late, REFILLED + late);
        assert!(self.first_success <= success && self.filled <= filled, "{self:?}");
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
    let attempts = connections(&service) - before;
    let (port, started) = (service.postgres.port(), Instant::now());
    let accepting = tokio::task::spawn_blocking(move || accepting(port));
    // Starting it waits; the callers and whoever knocks go on meanwhile.
    tokio::task::block_in_place(|| service.postgres.resume());
    until_filled(&service, Duration::from_secs(30)).await;
    let filled = Instant::now();
    let returning = connections(&service) - before - attempts;
    let back = accepting.await.expect("no panic");
    idle_for(PAUSE * 2).await;
    drop(stage);
    let seen = callers.join_all().await;
    assert!(is_ready(&service).await);
    let log = service.server.log();
    for reported in ["database unreachable", "database reachable again"] {
        assert_eq!(log.matches(reported).count(), 1, "{reported}: {log}");
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
        returning,
        starting: back - started,
        first_success: first.saturating_duration_since(back),
        filled: filled.saturating_duration_since(back),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_calls_fail_at_once_and_all_is_back_with_it() {
    let stutter = Stutter::watch();
    let outage = outage(16, Duration::from_secs(2)).await;
    eprintln!("{outage:?}");
    assert!(outage.refusals > 50, "{outage:?}");
    // A burst until it opens, and four in a second.
    outage.check(16 + 4 * 2 + 2, stutter.allowance());
}

/// Takes its time: for `scripts/chaos`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute: scripts/measure runs it"]
async fn thirty_seconds_without_the_database_under_64_clients() {
    let outage = outage(64, Duration::from_secs(30)).await;
    eprintln!("{outage:?}");
    assert!(outage.refusals > 10_000, "{outage:?}");
    outage.check(150, Duration::ZERO);
}
