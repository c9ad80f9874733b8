//! Clients that write to all nodes, in every way, and to the same rows; and what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rowgate::value::proto::{ExecuteBatchRequest, QueryRequest, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::client::{Client, Failure, request, with_deadline};
use crate::harness::unit::{keyed, statement};
use crate::harness::wait::{eventually_async, idle_for};

/// The number of rows that all want.
pub(super) const COUNTERS: i64 = 4;

/// The longest time that a call may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The pause of a client that was told when to come again, at most.
const PAUSE: Duration = Duration::from_millis(50);

const INSERT: &str = "insert into units values ($1, $2)";
const COUNT: &str = "update counters set n = n + 1 where shard = $1";
const HOT: &str = "update hot set n = n + 1 where id = $1";

/// The ways to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Batch,
    KeyedBatch,
    Transact,
    /// A statement that commits by itself, on a row that all want.
    Autocommit,
}

const WAYS: [Way; 4] = [Way::Batch, Way::KeyedBatch, Way::Transact, Way::Autocommit];

/// The answers to one client, or to all.
#[derive(Debug, Default)]
pub(super) struct Seen {
    applied: BTreeSet<i64>,
    refused: BTreeSet<i64>,
    unknown: BTreeSet<i64>,
    /// Increments of the rows of [`Way::Autocommit`].
    pub(super) increments: u64,
    pub(super) increments_in_doubt: u64,
    /// Units that took the server several attempts.
    pub(super) repeated: u64,
    failures: BTreeMap<(Way, String), u64>,
    /// The longest time in which no client's unit was applied.
    pub(super) longest_gap: Duration,
    longest_call: Duration,
}

impl Seen {
    /// Takes up what others saw.
    pub(super) fn add(&mut self, other: Self) {
        self.applied.extend(other.applied);
        self.refused.extend(other.refused);
        self.unknown.extend(other.unknown);
        self.increments += other.increments;
        self.increments_in_doubt += other.increments_in_doubt;
        self.repeated += other.repeated;
        for (what, count) in other.failures {
            *self.failures.entry(what).or_default() += count;
        }
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.longest_call = self.longest_call.max(other.longest_call);
    }

    /// Conflicts that callers of ExecuteBatch were told of.
    pub(super) fn conflicts_of_batches(&self) -> u64 {
        let is_conflict = |(way, what): &(Way, String)| {
            matches!(way, Way::Batch | Way::KeyedBatch)
                && (what.contains("DEADLOCK") || what.contains("SERIALIZATION"))
        };
        self.failures.iter().filter(|(what, _)| is_conflict(what)).map(|(_, count)| count).sum()
    }

    /// Fails the test when the rows say otherwise.
    pub(super) fn must_agree_with(&self, rows: &BTreeSet<i64>) {
        let lost: Vec<_> = self.applied.difference(rows).collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
        let wrong: Vec<_> = self.refused.intersection(rows).collect();
        assert!(wrong.is_empty(), "not applied and there: {wrong:?}");
        let known = self.applied.union(&self.unknown).copied().collect();
        let nowhere: Vec<_> = rows.difference(&known).collect();
        assert!(nowhere.is_empty(), "from nowhere: {nowhere:?}");
    }

    /// Prints it.
    pub(super) fn print(&self, title: &str) {
        eprintln!(
            "== {title}: {} units applied, {} not, {} unknown; {} increments, {} in doubt; {} repeated; \
             longest gap {:.2?}, longest call {:.2?}",
            self.applied.len(),
            self.refused.len(),
            self.unknown.len(),
            self.increments,
            self.increments_in_doubt,
            self.repeated,
            self.longest_gap,
            self.longest_call,
        );
        for ((way, what), count) in &self.failures {
            eprintln!("   {way:?}: {what}: {count}");
        }
    }

    fn note(&mut self, way: Way, number: i64, answer: Result<u32, &Failure>) {
        let outcome = match answer {
            Ok(attempts) => {
                self.repeated += u64::from(attempts > 1);
                "APPLIED"
            }
            Err(failure) => {
                let what = format!("{} {}", failure.outcome, failure.reason);
                *self.failures.entry((way, what)).or_default() += 1;
                &failure.outcome
            }
        };
        match (way, outcome) {
            (Way::Autocommit, "APPLIED") => self.increments += 1,
            (Way::Autocommit, "UNKNOWN") => self.increments_in_doubt += 1,
            (Way::Autocommit, _) => {}
            (_, "APPLIED") => drop(self.applied.insert(number)),
            (_, "UNKNOWN") => drop(self.unknown.insert(number)),
            (_, _) => drop(self.refused.insert(number)),
        }
    }
}

/// The progress of all clients.
struct Progress {
    began: Instant,
    applied: AtomicU64,
    /// Milliseconds since the begin: of the last unit, and the longest pause before one.
    last: AtomicU64,
    gap: AtomicU64,
}

impl Progress {
    fn applied(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.last.fetch_max(now, Relaxed);
        self.gap.fetch_max(now.saturating_sub(last), Relaxed);
        self.applied.fetch_add(1, Relaxed);
    }
}

/// Clients that write until they are told to stop.
pub(super) struct Load {
    clients: Vec<JoinHandle<Seen>>,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Of the clients' numbers, no two rounds have one in common.
    pub(super) fn start(client: &Client, clients: i64, round: i64) -> Self {
        let stop = watch::Sender::new(false);
        let progress = Arc::new(Progress {
            began: Instant::now(),
            applied: AtomicU64::new(0),
            last: AtomicU64::new(0),
            gap: AtomicU64::new(0),
        });
        let writing = |number| {
            let first = (round * clients + number + 1) * 10_000_000;
            tokio::spawn(write(client.clone(), first, Arc::clone(&progress), stop.subscribe()))
        };
        Self { clients: (0..clients).map(writing).collect(), progress, stop }
    }

    /// Waits until more units are applied.
    pub(super) async fn until_more(&self, what: &str, more: u64) {
        let before = self.progress.applied.load(Relaxed);
        eventually_async(what, Duration::from_secs(60), async || {
            (self.progress.applied.load(Relaxed) >= before + more).then_some(())
        })
        .await;
    }

    /// Lets them write for a while.
    pub(super) async fn run_for(&self, time: Duration) {
        idle_for(time).await;
    }

    pub(super) async fn end(self) -> Seen {
        self.stop.send(true).expect("they listen");
        let mut all = Seen::default();
        for client in self.clients {
            all.add(client.await.expect("no client panics"));
        }
        all.longest_gap = Duration::from_millis(self.progress.gap.load(Relaxed));
        all
    }
}

async fn write(
    client: Client,
    first: i64,
    progress: Arc<Progress>,
    stop: watch::Receiver<bool>,
) -> Seen {
    let mut seen = Seen::default();
    let ways = WAYS.into_iter().cycle();
    for (number, way) in (first..).zip(ways) {
        if *stop.borrow() {
            break;
        }
        let start = Instant::now();
        let answer = run(&client, way, number).await;
        seen.longest_call = seen.longest_call.max(start.elapsed());
        seen.note(way, number, answer.as_ref().copied());
        match answer {
            Ok(_) => progress.applied(),
            Err(failure) => {
                let is_known = ["NOT_APPLIED", "UNKNOWN"].contains(&&*failure.outcome);
                assert!(is_known && failure.code != tonic::Code::Internal, "{way:?}: {failure:?}");
                idle_for(failure.retry_after.unwrap_or_default().min(PAUSE)).await;
            }
        }
    }
    seen
}

/// Runs one unit; returns how many attempts the server made.
async fn run(client: &Client, way: Way, number: i64) -> Result<u32, Failure> {
    let shard = Value::int64(number / 4 % COUNTERS);
    let unit = [
        statement(INSERT, &[Value::int64(number), shard.clone()]),
        statement(COUNT, std::slice::from_ref(&shard)),
    ];
    match way {
        Way::Batch | Way::KeyedBatch => {
            let options = (way == Way::KeyedBatch).then(|| keyed(&format!("unit-{number}")));
            let request =
                ExecuteBatchRequest { statements: unit.into(), options, ..Default::default() };
            let answer = client.raw().execute_batch(with_deadline(request, DEADLINE)).await?;
            Ok(answer.into_inner().attempts)
        }
        Way::Transact => {
            let mut transaction = client.transact_within(DEADLINE).await.try_begun().await?;
            for statement in unit {
                transaction.query(&statement.sql, &statement.parameters).await?;
            }
            transaction.commit().await?;
            Ok(1)
        }
        Way::Autocommit => {
            let request: QueryRequest = request(HOT, &[shard]);
            Ok(client.call(request, DEADLINE).await?.attempts)
        }
    }
}
