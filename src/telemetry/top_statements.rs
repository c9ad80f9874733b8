//! What operators look at first: which statements took the most time of late, and which errors were answered.
//!
//! Kept by the minute for [`WINDOW`] and read by whoever shows it; it is not sent anywhere. What it holds has a bound,
//! whatever callers send: statements of a database are told apart up to a number, and errors by names of finite sets.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How far back it goes; up to a minute more is kept.
pub const WINDOW: Duration = Duration::from_secs(5 * 60);
const MINUTE: Duration = Duration::from_secs(60);
/// Five whole minutes, and the one that runs.
const MINUTES: usize = 6;

/// Statements of one database that are told apart within a minute.
const TOLD_APART: usize = 256;
/// Statements that are shown because of all their time, and as many because of their longest run.
const SHOWN: usize = 20;

/// A statement, for people: its operation, as in `SELECT`, and its summary without literals, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Statement {
    /// What it does, as in `SELECT`, `BATCH` or `COMMIT`.
    pub operation: &'static str,
    /// Its first words; of a batch, those of its first statement.
    pub text: Arc<str>,
}

/// Runs, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many have ended.
    pub count: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// The time of all in the database.
    pub total: Duration,
    /// The time of the longest.
    pub longest: Duration,
}

impl Runs {
    fn and(&mut self, other: &Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }
}

/// What ran in one database within [`WINDOW`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    /// All of it.
    pub all: Runs,
    /// Those that took the most time in all, and then those of the others with the longest runs.
    pub slowest: Vec<(Statement, Runs)>,
}

/// Errors that were answered within [`WINDOW`], of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// The method, as in `rowgate.v1.DatabaseService/Query`.
    pub method: &'static str,
    /// The reason, as metrics have it.
    pub reason: &'static str,
    /// What became of the calls.
    pub outcome: &'static str,
    /// How many.
    pub count: u64,
    /// How long ago the last one was.
    pub last: Duration,
}

/// Something for each of the last minutes.
#[derive(Debug)]
struct Minutes<T> {
    each: [T; MINUTES],
    current: usize,
    since: Instant,
}

impl<T: Default> Minutes<T> {
    fn new(now: Instant) -> Self {
        Self { each: std::array::from_fn(|_| T::default()), current: 0, since: now }
    }

    /// That of now.
    fn current(&mut self, now: Instant) -> &mut T {
        self.turn(now);
        &mut self.each[self.current]
    }

    /// All that are kept.
    fn all(&mut self, now: Instant) -> impl Iterator<Item = &T> {
        self.turn(now);
        self.each.iter()
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / MINUTE.as_secs();
        if passed == 0 {
            return;
        }
        for _ in 0..passed.min(MINUTES as u64) {
            self.current = (self.current + 1) % MINUTES;
            self.each[self.current] = T::default();
        }
        self.since += Duration::from_secs(passed * MINUTE.as_secs());
    }
}

/// What ran in one database within a minute.
#[derive(Debug, Default)]
struct Minute {
    all: Runs,
    statements: HashMap<Statement, Runs>,
}

impl Minute {
    fn add(&mut self, statement: &Statement, run: &Runs) {
        self.all.and(run);
        if let Some(runs) = self.statements.get_mut(statement) {
            return runs.and(run);
        }
        if self.statements.len() >= TOLD_APART {
            self.forget();
        }
        self.statements.insert(statement.clone(), *run);
    }

    /// Keeps the half that took the most time, so that what matters stays whatever else comes.
    fn forget(&mut self) {
        let mut totals: Vec<_> = self.statements.values().map(|runs| runs.total).collect();
        let (_, median, _) = totals.select_nth_unstable(TOLD_APART / 2);
        self.statements.retain(|_, runs| runs.total > *median);
    }
}

/// The statements of one database.
#[derive(Debug)]
pub(crate) struct Statements(Mutex<Minutes<Minute>>);

impl Statements {
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Minutes::new(now))))
    }

    /// A run has ended.
    pub(crate) fn ran(&self, statement: &Statement, took: Duration, failed: bool, now: Instant) {
        let run = Runs { count: 1, failed: failed.into(), total: took, longest: took };
        self.0.lock().current(now).add(statement, &run);
    }

    fn read(&self, now: Instant) -> Ran {
        let (mut all, mut by_statement) = (Runs::default(), HashMap::<Statement, Runs>::new());
        for minute in self.0.lock().all(now) {
            all.and(&minute.all);
            for (statement, runs) in &minute.statements {
                match by_statement.get_mut(statement) {
                    Some(sum) => sum.and(runs),
                    None => drop(by_statement.insert(statement.clone(), *runs)),
                }
            }
        }
        let mut slowest: Vec<_> = by_statement.into_iter().collect();
        slowest.sort_unstable_by_key(|(_, runs)| Reverse(runs.total));
        let mut others = slowest.split_off(slowest.len().min(SHOWN));
        others.sort_unstable_by_key(|(_, runs)| Reverse(runs.longest));
        others.truncate(SHOWN);
        slowest.append(&mut others);
        Ran { all, slowest }
    }
}

/// The name of an error: method, reason and outcome.
type Kind = (&'static str, &'static str, &'static str);

/// How many there were, and when the last one was.
type Seen = (u64, Instant);

/// What was recorded of late in a process.
#[derive(Debug)]
pub(crate) struct TopStatements {
    databases: Mutex<HashMap<Box<str>, Arc<Statements>>>,
    failures: Mutex<Minutes<HashMap<Kind, Seen>>>,
}

impl TopStatements {
    pub(crate) fn new(now: Instant) -> Self {
        Self { databases: Mutex::default(), failures: Mutex::new(Minutes::new(now)) }
    }

    /// What records the statements of one database.
    pub(crate) fn database(&self, name: &str, now: Instant) -> Arc<Statements> {
        let statements = Statements::new(now);
        self.databases.lock().insert(name.into(), Arc::clone(&statements));
        statements
    }

    /// An error was answered.
    pub(crate) fn failed(
        &self,
        method: &'static str,
        reason: &'static str,
        outcome: &'static str,
        now: Instant,
    ) {
        count(self.failures.lock().current(now), (method, reason, outcome), (1, now));
    }

    /// What ran in a database.
    pub(crate) fn ran(&self, database: &str, now: Instant) -> Ran {
        let statements = self.databases.lock().get(database).cloned();
        statements.map_or_else(Ran::default, |statements| statements.read(now))
    }

    /// The errors that were answered, the most frequent first.
    pub(crate) fn failures(&self, now: Instant) -> Vec<Failures> {
        let mut kinds = HashMap::new();
        for minute in self.failures.lock().all(now) {
            for (kind, seen) in minute {
                count(&mut kinds, *kind, *seen);
            }
        }
        let mut failures: Vec<_> = kinds
            .into_iter()
            .map(|((method, reason, outcome), (count, last))| {
                let last = now.saturating_duration_since(last);
                Failures { method, reason, outcome, count, last }
            })
            .collect();
        failures.sort_unstable_by_key(|each| {
            (Reverse(each.count), each.reason, each.method, each.outcome)
        });
        failures
    }
}

fn count(kinds: &mut HashMap<Kind, Seen>, kind: Kind, seen: Seen) {
    match kinds.entry(kind) {
        Entry::Occupied(mut known) => {
            let (count, last) = known.get_mut();
            (*count, *last) = (*count + seen.0, seen.1.max(*last));
        }
        Entry::Vacant(new) => drop(new.insert(seen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn statement(text: &str) -> Statement {
        Statement { operation: "SELECT", text: text.into() }
    }

    fn texts(ran: &Ran) -> Vec<&str> {
        ran.slowest.iter().map(|(statement, _)| &*statement.text).collect()
    }

    #[test]
    fn runs_of_one_statement_are_one_line_whoever_wrote_its_text() {
        let start = Instant::now();
        let statements = Statements::new(start);
        for (text, took, failed) in [("a", 5, false), ("b", 7, false), ("a", 3, true)] {
            statements.ran(&statement(text), took * MS, failed, start);
        }
        let commit = Statement { operation: "COMMIT", text: "a".into() };
        statements.ran(&commit, MS, false, start);
        let ran = statements.read(start);
        assert_eq!(texts(&ran), ["a", "b", "a"]);
        let a = Runs { count: 2, failed: 1, total: 8 * MS, longest: 5 * MS };
        assert_eq!(ran.slowest[0], (statement("a"), a));
        assert_eq!(ran.all, Runs { count: 4, failed: 1, total: 16 * MS, longest: 7 * MS });
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Instant::now();
        let statements = Statements::new(start);
        statements.ran(&statement("early"), 9 * MS, false, start);
        statements.ran(&statement("later"), MS, false, start + 2 * MINUTE);
        assert_eq!(texts(&statements.read(start + WINDOW)), ["early", "later"]);
        assert_eq!(texts(&statements.read(start + WINDOW + MINUTE)), ["later"]);
        let much_later = start + 1000 * WINDOW;
        assert_eq!(statements.read(much_later), Ran::default());
        statements.ran(&statement("new"), MS, false, much_later);
        assert_eq!(texts(&statements.read(much_later + WINDOW - MS)), ["new"]);
        // Another thread may have read the clock before.
        statements.ran(&statement("new"), MS, false, start);
        assert_eq!(statements.read(start).all.count, 2);
    }

    #[test]
    fn statements_without_end_take_bounded_room_and_hide_none_that_is_slow() {
        let start = Instant::now();
        let statements = Statements::new(start);
        statements.ran(&statement("slow"), 1000 * MS, false, start);
        for number in 0..10 * TOLD_APART {
            statements.ran(&statement(&format!("quick {number}")), MS, false, start);
            statements.ran(&statement("frequent"), MS, false, start);
        }
        let kept = statements.0.lock().current(start).statements.len();
        assert!(kept <= TOLD_APART, "{kept} are kept");
        let ran = statements.read(start);
        assert_eq!(texts(&ran)[..2], ["frequent", "slow"]);
        assert!(ran.slowest.len() <= 2 * SHOWN, "{} are shown", ran.slowest.len());
        assert_eq!(ran.all.count, 20 * TOLD_APART as u64 + 1, "all are counted");
    }

    #[test]
    fn a_rare_long_run_is_shown_beside_all_that_take_more_time_together() {
        let start = Instant::now();
        let statements = Statements::new(start);
        for number in 0..2 * SHOWN {
            for _ in 0..100 {
                statements.ran(&statement(&format!("frequent {number}")), MS, false, start);
            }
        }
        statements.ran(&statement("rare"), 50 * MS, false, start);
        assert_eq!(texts(&statements.read(start))[SHOWN], "rare");
    }

    #[test]
    fn errors_are_counted_by_method_reason_and_outcome() {
        let start = Instant::now();
        let recent = TopStatements::new(start);
        let fail = |reason, after| recent.failed("Query", reason, "NOT_APPLIED", start + after);
        fail("DEADLINE", Duration::ZERO);
        fail("POOL_EXHAUSTED", MINUTE);
        fail("POOL_EXHAUSTED", 2 * MINUTE);
        let failures = |after| {
            let failures = recent.failures(start + after).into_iter();
            failures.map(|each| (each.reason, each.count, each.last)).collect::<Vec<_>>()
        };
        let (deadline, pool) =
            (("DEADLINE", 1, WINDOW), ("POOL_EXHAUSTED", 2, WINDOW - 2 * MINUTE));
        assert_eq!(failures(WINDOW), [pool, deadline]);
        assert_eq!(failures(WINDOW + MINUTE), [("POOL_EXHAUSTED", 2, WINDOW - MINUTE)]);
        assert_eq!(failures(2 * WINDOW), []);
    }

    #[test]
    fn a_database_is_found_by_its_name() {
        let start = Instant::now();
        let recent = TopStatements::new(start);
        let main = recent.database("main", start);
        main.ran(&statement("a"), MS, false, start);
        assert_eq!(recent.ran("main", start).all.count, 1);
        assert_eq!(recent.ran("other", start), Ran::default());
    }
}
