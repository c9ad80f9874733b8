//! KILL QUERY names a connection and not a statement: one that comes late must not hit the next caller's, and one that
//! comes as its statement ends must not make callers believe what is not so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rowgate::value::proto::{QueryOptions, QueryRequest, Value};
use tonic::Code;

use crate::harness::client::{Client, request};
use crate::harness::random::Random;
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

/// Callers whose statements end about when they are killed, the half of them writers, and callers beside them who wait
/// for nothing but their answers.
const RACERS: u64 = 4;
const VICTIMS: u64 = 2;

/// The result of a run of races.
#[derive(Debug, Default)]
struct Tally {
    /// Kills that the server has executed.
    kills: u64,
    /// Racers' statements that ended by themselves, and those that were killed.
    completed: u64,
    killed: u64,
    /// Victims' statements that were served.
    served: u64,
    /// Victims that a kill made fail, which none may.
    hit: Vec<String>,
    /// Writes of which their callers were told what is not so.
    false_outcomes: Vec<String>,
}

/// The state that the callers of a run share.
#[derive(Default)]
struct Shared {
    over: AtomicBool,
    completed: AtomicU64,
    killed: AtomicU64,
    served: AtomicU64,
    /// The microseconds that racers' limits exceed their statements' own time by.
    room: AtomicU32,
    /// The rows whose insert was acknowledged, and those that are said not to be there.
    applied: Mutex<BTreeSet<i64>>,
    not_applied: Mutex<BTreeSet<i64>>,
}

impl Shared {
    /// Counts a statement, and lets the next have more time or less: about half of them shall be killed,
    /// however slow the machine is.
    fn count(&self, completed: bool) {
        const STEP: u32 = 50;
        const MOST: u32 = 200_000;
        let (counter, room): (_, fn(u32) -> u32) = if completed {
            (&self.completed, |room| room.saturating_sub(STEP))
        } else {
            (&self.killed, |room| (room + STEP).min(MOST))
        };
        counter.fetch_add(1, Relaxed);
        self.room.store(room(self.room.load(Relaxed)), Relaxed);
    }
}

fn kills(service: &Service) -> u64 {
    let line = service.mariadb().sql("show global status like 'Com_kill'");
    line.split('\t').nth(1).and_then(|count| count.parse().ok()).expect("it is a number")
}

/// Races until so many kills were executed, on a pool of 3.
async fn race(goal: u64, within: Duration, environment: &[(&str, &str)]) -> Tally {
    let settings = "[databases.main.pool]\nmin = 3\nmax = 3\n[health]\ninterval = \"1h\"";
    let service = Service::with_environment(Backend::Mariadb, settings, environment).await;
    service.mariadb().sql("create table raced (id bigint primary key, slept double)");
    service.client.must("select sleep($1)", &[Value::float64(0.0)]).await;
    let shared = Arc::new(Shared::default());
    let racers = (0..RACERS)
        .map(|seed| tokio::spawn(run_racer(service.client.clone(), seed, Arc::clone(&shared))));
    let racers: Vec<_> = racers.collect();
    let victims = (0..VICTIMS).map(|number| {
        tokio::spawn(run_victim(service.client.clone(), number, Arc::clone(&shared)))
    });
    let victims: Vec<_> = victims.collect();
    let start = Instant::now();
    eventually_async("the races are run", within + Duration::from_secs(1), async || {
        let hit = victims.iter().any(tokio::task::JoinHandle::is_finished);
        (kills(&service) >= goal || hit || start.elapsed() > within).then_some(())
    })
    .await;
    shared.over.store(true, Relaxed);
    let mut tally = Tally::default();
    for racer in racers {
        racer.await.expect("no racer panics");
    }
    for victim in victims {
        tally.hit.extend(victim.await.expect("no victim panics").err());
    }
    // What was given up has ended, so that no write is still under way.
    service.until_pool("all connections are back", |pool| pool.in_use == 0).await;
    tally.kills = kills(&service);
    tally.completed = shared.completed.load(Relaxed);
    tally.killed = shared.killed.load(Relaxed);
    tally.served = shared.served.load(Relaxed);
    tally.false_outcomes = false_outcomes(&service, &shared);
    eprintln!(
        "{} kills in {:?}: {} statements killed, {} completed; {} others served, {} of them hit; {} false outcomes",
        tally.kills,
        start.elapsed(),
        tally.killed,
        tally.completed,
        tally.served,
        tally.hit.len(),
        tally.false_outcomes.len(),
    );
    tally
}

fn false_outcomes(service: &Service, shared: &Shared) -> Vec<String> {
    let rows = service.mariadb().sql("select id from raced");
    let rows: BTreeSet<i64> = rows.lines().map(|row| row.parse().expect("a number")).collect();
    let applied = shared.applied.lock().expect("no panic");
    let not_applied = shared.not_applied.lock().expect("no panic");
    let lost = applied.difference(&rows).map(|id| format!("{id} was acknowledged and is lost"));
    let there = not_applied.intersection(&rows);
    let there = there.map(|id| format!("{id} is there and was said not to be applied"));
    lost.chain(there).collect()
}

/// Sends statements that take about as long as they may; now and then goes away instead.
async fn run_racer(client: Client, seed: u64, shared: Arc<Shared>) {
    let mut random = Random(seed);
    let writes = seed % 2 == 1;
    let mut id = i64::try_from(seed).expect("it is small") << 32;
    while !shared.over.load(Relaxed) {
        id += 1;
        let mut micros = || u32::try_from(2000 + random.below(4000)).expect("it is small");
        let (sleep, limit) = (Value::float64(f64::from(micros()) / 1e6), micros());
        let limit = limit + shared.room.load(Relaxed);
        let timeout = prost_types::Duration { seconds: 0, nanos: (limit * 1000).cast_signed() };
        let hangs_up = random.below(4) == 0;
        let options =
            QueryOptions { timeout: (!hangs_up).then_some(timeout), ..QueryOptions::default() };
        let race = if writes {
            request("insert into raced values ($1, sleep($2))", &[Value::int64(id), sleep])
        } else {
            request("select sleep($1)", &[sleep])
        };
        let call = client.run(QueryRequest { options: Some(options), ..race });
        let patience = if hangs_up { Duration::from_micros(limit.into()) } else { Duration::MAX };
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(_)) => {
                shared.count(true);
                if writes {
                    shared.applied.lock().expect("no panic").insert(id);
                }
            }
            Ok(Err(failure)) => {
                let expected = [Code::DeadlineExceeded, Code::Unknown];
                assert!(expected.contains(&failure.code), "{failure:?}");
                if failure.outcome == "NOT_APPLIED" {
                    shared.not_applied.lock().expect("no panic").insert(id);
                }
                shared.count(false);
            }
            Err(_gone) => shared.count(false),
        }
    }
}

async fn run_victim(client: Client, number: u64, shared: Arc<Shared>) -> Result<(), String> {
    // Long enough to be hit, one of them.
    let sql = [
        "select cast($1 as signed), 'victim'",
        "select cast($1 as signed), 'victim', sleep(0.0015)",
    ][usize::from(number % 2 == 1)];
    let mut next = 0;
    while !shared.over.load(Relaxed) {
        let answer = client.query(sql, &[Value::int64(next)]).await;
        let answer = answer.map_err(|failure| format!("{failure:?}"))?;
        // MySQL's SLEEP returns 1 when it is killed, and no error.
        let values = &answer.rows[0].values;
        let is_own = values[0] == Value::int64(next);
        if !is_own || values.get(2).is_some_and(|slept| *slept != Value::int64(0)) {
            return Err(format!("{next} was answered {answer:?}"));
        }
        shared.served.fetch_add(1, Relaxed);
        next += 1;
    }
    Ok(())
}

fn must_be_clean(tally: &Tally, goal: u64) {
    assert!(tally.hit.is_empty(), "{:#?}", tally.hit);
    assert!(tally.false_outcomes.is_empty(), "{:#?}", tally.false_outcomes);
    assert!(tally.kills >= goal, "too few races: {tally:?}");
    // Where one side always wins there is no race.
    let least = tally.kills / 10;
    assert!(tally.completed > least && tally.killed > least, "no race: {tally:?}");
}

#[tokio::test]
async fn no_kill_hits_another_callers_statement() {
    let tally = race(300, Duration::from_secs(60), &[]).await;
    must_be_clean(&tally, 300);
}

#[tokio::test]
#[ignore = "takes minutes: scripts/measure runs it"]
async fn ten_thousand_kills_hit_no_other_callers_statement() {
    let tally = race(10_000, Duration::from_secs(600), &[]).await;
    must_be_clean(&tally, 10_000);
}

/// A checker that finds nothing where something is wrong is none.
#[tokio::test]
#[cfg(debug_assertions)]
async fn a_kill_that_is_not_waited_for_is_found() {
    let planted = [("ROWGATE_PLANTED_BUG", "unawaited-cancel")];
    let tally = race(10_000, Duration::from_secs(60), &planted).await;
    assert!(!tally.hit.is_empty(), "nothing was found: {tally:?}");
}
