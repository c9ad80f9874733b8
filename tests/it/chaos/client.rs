//! Clients: those who write and remember what they were told, and those who read while they do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rowgate::value::proto::{AccessMode, Begin, IsolationLevel, TransactionOptions, Value};
use tokio::sync::watch;
use tonic::Code;

use super::dialect::Dialect;
use super::unit::{ACCOUNTS, BALANCE, Done, How, Unit, at, open};
use crate::harness::client::{Client, Failure, read_only, request_with};
use crate::harness::wait::idle_for;

/// The longest pause of a client that was told when to come again.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest time that a keyed unit may stay without an answer when nothing goes wrong any more.
const ANSWER: Duration = Duration::from_secs(20);

/// The begin of each violation of a call that is never answered.
pub(super) const UNANSWERED: &str = "never answered";

/// Waits for an answer, no longer than any call may take: `None` is a violation.
async fn answered<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(ANSWER, answer).await.ok()
}

/// The answer to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is applied.
    Applied,
    /// It is not, and never will be.
    NotApplied,
    /// It is not known; perhaps a token can be asked for.
    Unknown(String),
}

/// The answers to one client, or to all of them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The units, by token.
    pub(super) units: BTreeMap<i64, (How, Fate)>,
    /// Answers by way and what they said: `applied`, or outcome and reason.
    pub(super) answers: BTreeMap<(How, String), u64>,
    /// Units that took the server several attempts.
    pub(super) repeated: u64,
    /// Answers that were stored ones.
    pub(super) replayed: u64,
    /// Sums that were read.
    pub(super) snapshots: u64,
    /// The longest unit, and by which way.
    pub(super) longest: (Duration, Option<How>),
    /// The violations.
    pub(super) violations: Vec<String>,
}

impl Seen {
    /// Takes up what another saw.
    pub(super) fn add(&mut self, other: Self) {
        self.units.extend(other.units);
        for (what, count) in other.answers {
            *self.answers.entry(what).or_default() += count;
        }
        self.repeated += other.repeated;
        self.replayed += other.replayed;
        self.snapshots += other.snapshots;
        self.longest = self.longest.max(other.longest);
        self.violations.extend(other.violations);
    }

    fn answer(&mut self, how: How, what: String) {
        *self.answers.entry((how, what)).or_default() += 1;
    }
}

/// The state that clients share.
#[derive(Clone)]
pub(super) struct Together {
    /// Units that were applied.
    pub(super) applied: Arc<AtomicU64>,
    /// Turns true when the run is over.
    pub(super) stop: watch::Receiver<bool>,
    /// The end of the last fault.
    pub(super) last_fault: watch::Receiver<Instant>,
    /// The words of the database.
    pub(super) dialect: Dialect,
    /// The load of each client.
    pub(super) load: Load,
}

/// The load of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// One unit after the other.
    Full,
    /// They rest as long as they have waited for answers: about half of that.
    Half,
}

impl Load {
    async fn pause(self, since: Instant) {
        if self == Self::Half {
            idle_for(since.elapsed()).await;
        }
    }
}

/// Writes until it is over.
pub(super) async fn write(client: Client, number: u64, seed: u64, together: Together) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed ^ (number << 32));
    let mut token = i64::try_from(number).expect("there are few") * 100_000_000;
    let mut seen = Seen::default();
    while !*together.stop.borrow() {
        token += 1;
        let unit = Unit::new(token, together.dialect, &mut random);
        let start = Instant::now();
        let fate = settle(&client, &unit, &together, &mut seen).await;
        if fate == Fate::Applied {
            together.applied.fetch_add(1, Relaxed);
        }
        seen.units.insert(token, (unit.how, fate));
        together.load.pause(start).await;
    }
    seen
}

/// Does a unit, with a key until it is answered.
async fn settle(client: &Client, unit: &Unit, together: &Together, seen: &mut Seen) -> Fate {
    let first = Instant::now();
    loop {
        let start = Instant::now();
        let answer = answered(unit.run(client)).await;
        seen.longest = seen.longest.max((start.elapsed(), Some(unit.how)));
        let failure = match answer {
            Some(Ok(done)) => return applied(unit, done, seen),
            Some(Err(failure)) => failure,
            None => {
                seen.violations.push(format!("{UNANSWERED}: {unit:?}"));
                return Fate::Unknown(String::new());
            }
        };
        seen.answer(unit.how, format!("{} {}", failure.outcome, failure.reason));
        if let Some(wrong) = wrong(unit, &failure) {
            seen.violations.push(format!("{} {:?}: {wrong}: {failure:?}", unit.token, unit.how));
        }
        if unit.how.has_key() && is_passing(&failure) {
            if first.max(*together.last_fault.borrow()).elapsed() > ANSWER {
                seen.violations.push(format!("{unit:?}: no answer in {ANSWER:?}: {failure:?}"));
                return Fate::Unknown(String::new());
            }
            idle_for(failure.retry_after.unwrap_or(PAUSE).min(PAUSE)).await;
            continue;
        }
        if let Some(delay) = failure.retry_after {
            idle_for(delay.min(PAUSE)).await;
        }
        return match failure.outcome.as_str() {
            "APPLIED" => Fate::Applied,
            "NOT_APPLIED" => Fate::NotApplied,
            _ => Fate::Unknown(failure.report.transaction_token),
        };
    }
}

fn applied(unit: &Unit, done: Done, seen: &mut Seen) -> Fate {
    seen.repeated += u64::from(done.attempts > 1);
    seen.replayed += u64::from(done.replayed);
    if unit.how == How::TransactAbandoned {
        seen.answer(unit.how, "left".to_owned());
        return Fate::NotApplied;
    }
    if unit.how == How::TransactCareless {
        seen.violations.push(format!("committed after a failure: {}", unit.token));
    }
    seen.answer(unit.how, if done.replayed { "applied before" } else { "applied" }.to_owned());
    Fate::Applied
}

/// Returns what is wrong with a failure, if anything is.
fn wrong(unit: &Unit, failure: &Failure) -> Option<&'static str> {
    let unknown = failure.outcome == "UNKNOWN";
    if unknown != (failure.what() == (Code::Unknown, "OUTCOME_UNKNOWN")) {
        return Some("outcome and code do not agree");
    }
    let never_commits = matches!(
        unit.how,
        How::TransactCareless | How::TransactAbandoned | How::TransactHalfClosed
    );
    if never_commits && failure.outcome != "NOT_APPLIED" {
        return Some("it cannot have been applied");
    }
    if failure.code == Code::Internal {
        return Some("an internal error");
    }
    None
}

/// Tells whether another call with the same key may succeed.
fn is_passing(failure: &Failure) -> bool {
    failure.outcome == "UNKNOWN"
        || matches!(
            failure.code,
            Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded
        )
}

/// Reads until it is over: money is never made or lost, not even for a moment.
pub(super) async fn read(client: Client, together: Together) -> Seen {
    let mut seen = Seen::default();
    let dialect = together.dialect;
    let mut in_transaction = false;
    while !*together.stop.borrow() {
        in_transaction = !in_transaction;
        let start = Instant::now();
        let sums = answered(async {
            if in_transaction { sum_twice(&client).await } else { sum(&client, dialect).await }
        });
        match sums.await {
            None => seen
                .violations
                .push(format!("{UNANSWERED}: a read, in a transaction: {in_transaction}")),
            Some(Ok(sums)) => {
                seen.snapshots += 1;
                if sums.iter().any(|sum| *sum != Value::int64(ACCOUNTS * BALANCE)) {
                    seen.violations.push(format!("the accounts hold {sums:?}"));
                }
            }
            Some(Err(failure)) => {
                if failure.outcome != "NOT_APPLIED" {
                    seen.violations.push(format!("a read is never in doubt: {failure:?}"));
                }
                idle_for(failure.retry_after.unwrap_or_default().min(PAUSE)).await;
            }
        }
        together.load.pause(start).await;
    }
    seen
}

async fn sum(client: &Client, dialect: Dialect) -> Result<Vec<Value>, Failure> {
    let mut result = client.run(request_with(dialect.sum(), read_only())).await?;
    Ok(result.rows.remove(0).values)
}

/// Two sums in one transaction, each over a half of the accounts: a snapshot holds for both.
async fn sum_twice(client: &Client) -> Result<Vec<Value>, Failure> {
    let transaction = TransactionOptions {
        access_mode: AccessMode::ReadOnly.into(),
        ..at(IsolationLevel::RepeatableRead)
    };
    let begin = Begin { transaction: Some(transaction), ..Begin::default() };
    let mut transaction = open(client, begin).await?;
    let mut total = 0;
    for half in ["id <= $1", "id > $1"] {
        let sql = format!("select id, balance from accounts where {half}");
        let result = transaction.query(&sql, &[Value::int64(ACCOUNTS / 2)]).await?;
        total += result.rows.iter().map(|row| integer(&row.values[1])).sum::<i64>();
    }
    transaction.commit().await?;
    Ok(vec![Value::int64(total)])
}

fn integer(value: &Value) -> i64 {
    match value.kind {
        Some(rowgate::value::Kind::Int64Value(integer)) => integer,
        _ => panic!("{value:?} is no integer"),
    }
}
