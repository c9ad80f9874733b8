//! A cancel names a connection and not a statement: one that comes late must not hit the next caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rowgate::value::proto::{QueryOptions, QueryRequest, Value};
use tonic::Code;

use crate::harness::behind::Behind;
use crate::harness::client::{Client, request};
use crate::harness::postgres::Postgres;
use crate::harness::random::Random;
use crate::harness::wait::eventually_async;

/// Callers whose statements end about when they are cancelled, and callers beside them who wait for
/// nothing but their answers.
const RACERS: u64 = 2;
const VICTIMS: u64 = 2;

/// The result of a run of races.
#[derive(Debug, Default)]
struct Tally {
    /// Cancels that were sent.
    cancels: u64,
    /// Racers' statements that ended by themselves, and those that were cancelled.
    completed: u64,
    cancelled: u64,
    /// Victims' statements that were served.
    served: u64,
    /// Victims that a cancel made fail, which none may.
    hit: Vec<String>,
}

/// The state that the callers of a run share.
#[derive(Default)]
struct Shared {
    over: AtomicBool,
    completed: AtomicU64,
    cancelled: AtomicU64,
    served: AtomicU64,
    /// The microseconds that racers' limits exceed their statements' own time by.
    room: AtomicU32,
}

impl Shared {
    /// Counts a statement, and lets the next have more time or less: about half of them shall be cancelled,
    /// however slow the machine is.
    fn count(&self, completed: bool) {
        const STEP: u32 = 50;
        const MOST: u32 = 200_000;
        let (counter, room): (_, fn(u32) -> u32) = if completed {
            (&self.completed, |room| room.saturating_sub(STEP))
        } else {
            (&self.cancelled, |room| (room + STEP).min(MOST))
        };
        counter.fetch_add(1, Relaxed);
        self.room.store(room(self.room.load(Relaxed)), Relaxed);
    }
}

/// Races until so many cancels were sent, on a pool of 2.
async fn race(goal: u64, within: Duration, environment: &[(&str, &str)]) -> Tally {
    let settings = "[databases.main.pool]\nmin = 2\nmax = 2\n[health]\ninterval = \"1h\"";
    let behind = Behind::start(Postgres::start(), settings, environment).await;
    behind.client.query("select pg_sleep($1)", &[Value::float64(0.0)]).await.expect("it runs");
    let opened = behind.proxy.counts().connections;
    let shared = Arc::new(Shared::default());
    let racers = (0..RACERS).map(|seed| {
        tokio::spawn(run_racer(behind.client.clone(), Random(seed), Arc::clone(&shared)))
    });
    let racers: Vec<_> = racers.collect();
    let victims = (0..VICTIMS)
        .map(|number| tokio::spawn(run_victim(behind.client.clone(), number, Arc::clone(&shared))));
    let victims: Vec<_> = victims.collect();
    let start = Instant::now();
    let cancels = || behind.proxy.counts().connections - opened;
    eventually_async("the races are run", within + Duration::from_secs(1), async || {
        let hit = victims.iter().any(tokio::task::JoinHandle::is_finished);
        (cancels() >= goal || hit || start.elapsed() > within).then_some(())
    })
    .await;
    shared.over.store(true, Relaxed);
    let mut tally = Tally { cancels: cancels(), ..Tally::default() };
    for racer in racers {
        racer.await.expect("no racer panics");
    }
    for victim in victims {
        tally.hit.extend(victim.await.expect("no victim panics").err());
    }
    tally.completed = shared.completed.load(Relaxed);
    tally.cancelled = shared.cancelled.load(Relaxed);
    tally.served = shared.served.load(Relaxed);
    // The server's own word, of statements whose callers did not wait for it.
    let log = behind.postgres.log();
    let hit = log.lines().filter(|line| line.contains("STATEMENT:") && line.contains("victim"));
    tally.hit.extend(hit.map(str::to_owned));
    eprintln!(
        "{} cancels in {:?}: {} statements cancelled, {} completed; {} others served, {} of them hit",
        tally.cancels,
        start.elapsed(),
        tally.cancelled,
        tally.completed,
        tally.served,
        tally.hit.len()
    );
    tally
}

/// Sends statements that take about as long as they may; now and then goes away instead.
async fn run_racer(client: Client, mut random: Random, shared: Arc<Shared>) {
    while !shared.over.load(Relaxed) {
        let mut micros = || u32::try_from(2000 + random.below(4000)).expect("it is small");
        let (sleep, limit) = (Value::float64(f64::from(micros()) / 1e6), micros());
        let limit = limit + shared.room.load(Relaxed);
        let timeout = prost_types::Duration { seconds: 0, nanos: (limit * 1000).cast_signed() };
        let hangs_up = random.below(4) == 0;
        let options =
            QueryOptions { timeout: (!hangs_up).then_some(timeout), ..QueryOptions::default() };
        let race =
            QueryRequest { options: Some(options), ..request("select pg_sleep($1)", &[sleep]) };
        let call = client.run(race);
        let patience = if hangs_up { Duration::from_micros(limit.into()) } else { Duration::MAX };
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(_)) => shared.count(true),
            Ok(Err(failure)) => {
                assert_eq!(failure.code, Code::DeadlineExceeded, "{failure:?}");
                shared.count(false);
            }
            Err(_gone) => shared.count(false),
        }
    }
}

async fn run_victim(client: Client, number: u64, shared: Arc<Shared>) -> Result<(), String> {
    // Long enough to be hit, one of them.
    let sql = ["select $1::int8, 'victim'", "select $1::int8, 'victim', pg_sleep(0.0015)"]
        [usize::from(number % 2 == 1)];
    let mut next = 0;
    while !shared.over.load(Relaxed) {
        let answer = client.query(sql, &[Value::int64(next)]).await;
        let answer = answer.map_err(|failure| format!("{failure:?}"))?;
        if answer.rows[0].values[0] != Value::int64(next) {
            return Err(format!("{next} was answered {answer:?}"));
        }
        shared.served.fetch_add(1, Relaxed);
        next += 1;
    }
    Ok(())
}

fn must_be_clean(tally: &Tally, goal: u64) {
    assert!(tally.hit.is_empty(), "{:#?}", tally.hit);
    assert!(tally.cancels >= goal, "too few races: {tally:?}");
    // Where one side always wins there is no race.
    let least = tally.cancels / 10;
    assert!(tally.completed > least && tally.cancelled > least, "no race: {tally:?}");
}

#[tokio::test]
async fn no_cancel_hits_another_callers_statement() {
    let tally = race(300, Duration::from_secs(60), &[]).await;
    must_be_clean(&tally, 300);
}

#[tokio::test]
#[ignore = "takes minutes: scripts/measure runs it"]
async fn ten_thousand_cancels_hit_no_other_callers_statement() {
    let tally = race(10_000, Duration::from_secs(600), &[]).await;
    must_be_clean(&tally, 10_000);
}

/// A checker that finds nothing where something is wrong is none.
#[tokio::test]
#[cfg(debug_assertions)]
async fn a_cancel_that_is_not_waited_for_is_found() {
    let planted = [("ROWGATE_PLANTED_BUG", "unawaited-cancel")];
    let tally = race(10_000, Duration::from_secs(60), &planted).await;
    assert!(!tally.hit.is_empty(), "nothing was found: {tally:?}");
}
