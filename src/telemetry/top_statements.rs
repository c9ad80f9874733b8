//! The statements that took the most time of late, and the errors that were answered, for operators.
//!
//! Kept by the minute for [`WINDOW`]. The memory is bounded whatever callers send: the distinct statements of a database
//! are limited, and errors are counted by names of finite sets.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::latencies::Latencies;
use crate::error::Error;

/// The time for which records are kept, and up to a minute more.
pub(crate) const WINDOW: Duration = Duration::from_secs(5 * 60);
const MINUTE: Duration = Duration::from_secs(60);
/// Five full minutes, and the present one.
const MINUTES: usize = 6;

/// The distinct statements of one database within a minute.
const MAX_STATEMENTS: usize = 256;
/// The statements that are shown for their total time, and as many for their longest run.
const SHOWN: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Statement {
    pub(crate) operation: &'static str,
    /// The summary without literals, of a batch that of its first statement; may be empty.
    pub(crate) text: Arc<str>,
}

/// The totals of several runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    pub(crate) failed: u64,
    /// The time of all in the database.
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

impl Runs {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }
}

/// The operations of one database within [`WINDOW`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecentOperations {
    pub(crate) all: Runs,
    /// The statements with the most time in total, then those of the others with the longest runs.
    pub(crate) slowest: Vec<(Statement, Runs)>,
}

/// The totals of one database since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// The durations of operations in the database.
    pub(crate) latencies: Latencies,
    /// The errors that callers were answered with.
    pub(crate) errors: u64,
}

/// The errors of one kind that were answered within [`WINDOW`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) kind: FailureKind,
    pub(crate) count: u64,
    /// The time since the last one.
    pub(crate) last: Duration,
}

/// A value for each of the last minutes.
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

    fn current(&mut self, now: Instant) -> &mut T {
        self.advance(now);
        &mut self.each[self.current]
    }

    fn all(&mut self, now: Instant) -> impl Iterator<Item = &T> {
        self.advance(now);
        self.each.iter()
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / MINUTE.as_secs();
        for _ in 0..passed.min(MINUTES as u64) {
            self.current = (self.current + 1) % MINUTES;
            self.each[self.current] = T::default();
        }
        self.since += Duration::from_secs(passed * MINUTE.as_secs());
    }
}

/// The operations of one database within a minute.
#[derive(Debug, Default)]
struct Minute {
    all: Runs,
    statements: HashMap<Statement, Runs>,
}

impl Minute {
    fn add(&mut self, statement: &Statement, run: &Runs) {
        self.all.add(run);
        if let Some(runs) = self.statements.get_mut(statement) {
            return runs.add(run);
        }
        if self.statements.len() >= MAX_STATEMENTS {
            self.evict();
        }
        self.statements.insert(statement.clone(), *run);
    }

    /// Keeps the half with the most time in total, so that slow statements stay whatever else runs.
    fn evict(&mut self) {
        let mut totals: Vec<_> = self.statements.values().map(|runs| runs.total).collect();
        let (_, median, _) = totals.select_nth_unstable(MAX_STATEMENTS / 2);
        self.statements.retain(|_, runs| runs.total > *median);
    }
}

#[derive(Debug)]
pub(crate) struct DatabaseStatements {
    minutes: Mutex<Minutes<Minute>>,
    totals: Mutex<Totals>,
}

impl DatabaseStatements {
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { minutes: Mutex::new(Minutes::new(now)), totals: Mutex::default() })
    }

    pub(crate) fn record(
        &self,
        statement: &Statement,
        took: Duration,
        error: Option<&Error>,
        now: Instant,
    ) {
        let failed = error.is_some().into();
        let run = Runs { count: 1, failed, total: took, longest: took };
        self.minutes.lock().current(now).add(statement, &run);
        self.totals.lock().latencies.add(took);
    }

    fn read(&self, now: Instant) -> RecentOperations {
        let mut all = Runs::default();
        let mut by_statement = HashMap::<Statement, Runs>::new();
        for minute in self.minutes.lock().all(now) {
            all.add(&minute.all);
            for (statement, runs) in &minute.statements {
                by_statement.entry(statement.clone()).or_default().add(runs);
            }
        }
        let mut slowest: Vec<_> = by_statement.into_iter().collect();
        slowest.sort_unstable_by_key(|(_, runs)| Reverse(runs.total));
        let mut others = slowest.split_off(slowest.len().min(SHOWN));
        others.sort_unstable_by_key(|(_, runs)| Reverse(runs.longest));
        others.truncate(SHOWN);
        slowest.append(&mut others);
        RecentOperations { all, slowest }
    }
}

/// The kind of an error; its fields are in the order in which kinds are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FailureKind {
    pub(crate) reason: &'static str,
    /// The method, as in `rowgate.v1.DatabaseService/Query`.
    pub(crate) method: &'static str,
    pub(crate) outcome: &'static str,
    /// The database; `None` if the call was refused before it was known.
    pub(crate) database: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
struct FailureCount {
    count: u64,
    last: Instant,
}

type FailureCounts = HashMap<FailureKind, FailureCount>;

/// The recent operations and errors of a process.
#[derive(Debug)]
pub(crate) struct TopStatements {
    databases: Mutex<HashMap<Box<str>, Arc<DatabaseStatements>>>,
    failures: Mutex<Minutes<FailureCounts>>,
}

impl TopStatements {
    pub(crate) fn new(now: Instant) -> Self {
        Self { databases: Mutex::default(), failures: Mutex::new(Minutes::new(now)) }
    }

    /// Adds a database; returns its record.
    pub(crate) fn add_database(&self, name: &str, now: Instant) -> Arc<DatabaseStatements> {
        let statements = DatabaseStatements::new(now);
        self.databases.lock().insert(name.into(), Arc::clone(&statements));
        statements
    }

    pub(crate) fn record_failure(&self, kind: FailureKind, now: Instant) {
        let database = kind.database.as_deref();
        let known = database.and_then(|name| self.databases.lock().get(name).cloned());
        if let Some(database) = known {
            database.totals.lock().errors += 1;
        }
        let failure = FailureCount { count: 1, last: now };
        add_failures(self.failures.lock().current(now), kind, failure);
    }

    pub(crate) fn operations(&self, database: &str, now: Instant) -> RecentOperations {
        let statements = self.databases.lock().get(database).cloned();
        statements.map_or_else(RecentOperations::default, |statements| statements.read(now))
    }

    pub(crate) fn totals(&self, database: &str) -> Totals {
        let statements = self.databases.lock().get(database).cloned();
        statements.map_or_else(Totals::default, |statements| statements.totals.lock().clone())
    }

    /// The errors that were answered, the most frequent first.
    pub(crate) fn failures(&self, now: Instant) -> Vec<Failures> {
        let mut all = FailureCounts::new();
        for minute in self.failures.lock().all(now) {
            for (kind, failures) in minute {
                add_failures(&mut all, kind.clone(), *failures);
            }
        }
        let each = all.into_iter().map(|(kind, FailureCount { count, last })| Failures {
            kind,
            count,
            last: now.saturating_duration_since(last),
        });
        let mut failures: Vec<_> = each.collect();
        failures.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
        failures
    }
}

fn add_failures(counts: &mut FailureCounts, kind: FailureKind, other: FailureCount) {
    let counted = counts.entry(kind).or_insert(FailureCount { count: 0, last: other.last });
    counted.count += other.count;
    counted.last = counted.last.max(other.last);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const MS: Duration = Duration::from_millis(1);

    fn statement(text: &str) -> Statement {
        Statement { operation: "SELECT", text: text.into() }
    }

    fn texts(recent: &RecentOperations) -> Vec<&str> {
        recent.slowest.iter().map(|(statement, _)| &*statement.text).collect()
    }

    #[test]
    fn runs_of_one_statement_are_added_up() {
        let start = Instant::now();
        let statements = DatabaseStatements::new(start);
        let error = Error::new(ErrorKind::ConnectionLost, "lost");
        for (text, took, error) in [("a", 5, None), ("b", 7, None), ("a", 3, Some(&error))] {
            statements.record(&statement(text), took * MS, error, start);
        }
        let commit = Statement { operation: "COMMIT", text: "a".into() };
        statements.record(&commit, MS, None, start);
        let recent = statements.read(start);
        assert_eq!(texts(&recent), ["a", "b", "a"]);
        let a = Runs { count: 2, failed: 1, total: 8 * MS, longest: 5 * MS };
        assert_eq!(recent.slowest[0], (statement("a"), a));
        assert_eq!(recent.all, Runs { count: 4, failed: 1, total: 16 * MS, longest: 7 * MS });
    }

    #[test]
    fn statements_older_than_the_window_are_dropped() {
        let start = Instant::now();
        let statements = DatabaseStatements::new(start);
        statements.record(&statement("early"), 9 * MS, None, start);
        statements.record(&statement("later"), MS, None, start + 2 * MINUTE);
        assert_eq!(texts(&statements.read(start + WINDOW)), ["early", "later"]);
        assert_eq!(texts(&statements.read(start + WINDOW + MINUTE)), ["later"]);
        let much_later = start + 1000 * WINDOW;
        assert_eq!(statements.read(much_later), RecentOperations::default());
        statements.record(&statement("new"), MS, None, much_later);
        assert_eq!(texts(&statements.read(much_later + WINDOW - MS)), ["new"]);
        // Another thread may have read the clock before.
        statements.record(&statement("new"), MS, None, start);
        assert_eq!(statements.read(start).all.count, 2);
    }

    #[test]
    fn any_number_of_statements_takes_bounded_memory_and_hides_no_slow_one() {
        let start = Instant::now();
        let statements = DatabaseStatements::new(start);
        statements.record(&statement("slow"), 1000 * MS, None, start);
        for number in 0..10 * MAX_STATEMENTS {
            statements.record(&statement(&format!("quick {number}")), MS, None, start);
            statements.record(&statement("frequent"), MS, None, start);
        }
        let kept = statements.minutes.lock().current(start).statements.len();
        assert!(kept <= MAX_STATEMENTS, "{kept} are kept");
        let recent = statements.read(start);
        assert_eq!(texts(&recent)[..2], ["frequent", "slow"]);
        assert!(recent.slowest.len() <= 2 * SHOWN, "{} are shown", recent.slowest.len());
        assert_eq!(recent.all.count, 20 * MAX_STATEMENTS as u64 + 1, "all are counted");
    }

    #[test]
    fn a_rare_long_run_is_shown_beside_statements_with_more_total_time() {
        let start = Instant::now();
        let statements = DatabaseStatements::new(start);
        for number in 0..2 * SHOWN {
            for _ in 0..100 {
                statements.record(&statement(&format!("frequent {number}")), MS, None, start);
            }
        }
        statements.record(&statement("rare"), 50 * MS, None, start);
        assert_eq!(texts(&statements.read(start))[SHOWN], "rare");
    }

    #[test]
    fn errors_are_counted_by_method_reason_and_outcome() {
        let start = Instant::now();
        let recent = TopStatements::new(start);
        let fail = |reason, after| {
            let kind =
                FailureKind { method: "Query", reason, outcome: "NOT_APPLIED", database: None };
            recent.record_failure(kind, start + after);
        };
        fail("DEADLINE", Duration::ZERO);
        fail("POOL_EXHAUSTED", MINUTE);
        fail("POOL_EXHAUSTED", 2 * MINUTE);
        let failures = |after| {
            let failures = recent.failures(start + after).into_iter();
            failures.map(|each| (each.kind.reason, each.count, each.last)).collect::<Vec<_>>()
        };
        let deadline = ("DEADLINE", 1, WINDOW);
        let pool = ("POOL_EXHAUSTED", 2, WINDOW - 2 * MINUTE);
        assert_eq!(failures(WINDOW), [pool, deadline]);
        assert_eq!(failures(WINDOW + MINUTE), [("POOL_EXHAUSTED", 2, WINDOW - MINUTE)]);
        assert_eq!(failures(2 * WINDOW), []);
    }

    #[test]
    fn a_database_is_found_by_its_name() {
        let start = Instant::now();
        let recent = TopStatements::new(start);
        let main = recent.add_database("main", start);
        main.record(&statement("a"), MS, None, start);
        assert_eq!(recent.operations("main", start).all.count, 1);
        assert_eq!(recent.operations("other", start), RecentOperations::default());
    }
}
