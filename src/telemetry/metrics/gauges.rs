//! What is not recorded but read, whenever somebody asks for metrics: the state and the counters of databases.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry_semantic_conventions::{attribute, metric};

use super::Described;

/// One database, as it was read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Its logical name.
    pub database: String,
    /// Whether calls can be served.
    pub available: bool,
    /// Its connections.
    pub connections: Connections,
    /// Its breaker.
    pub breaker: Breaker,
    /// Its retries.
    pub retries: Retries,
    /// Statements run.
    pub statements: u64,
    /// Batches, and interactive transactions that were begun.
    pub transactions: u64,
    /// Sessions that were reset after a statement that may have left a trace.
    pub resets: u64,
    /// Checkouts that were held for longer than `pool.leak_threshold`.
    pub leaks: u64,
}

/// The connections of a pool.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// Idle now.
    pub idle: u64,
    /// Held by calls now.
    pub used: u64,
    /// At most.
    pub max: u64,
    /// Idle at most.
    pub idle_max: u64,
    /// Kept open.
    pub min: u64,
    /// Callers that wait now.
    pub pending: u64,
    /// Waits that timed out.
    pub timeouts: u64,
    /// Callers that were turned away.
    pub rejected: u64,
    /// Opened.
    pub opened: u64,
    /// Could not be opened.
    pub failed: u64,
    /// Closed, by reason.
    pub closed: Vec<(&'static str, u64)>,
    /// Whether no caller is let in.
    pub paused: bool,
}

/// A breaker.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    /// Whether the database is given up for now.
    pub open: bool,
    /// How often it was opened.
    pub opened: u64,
}

/// The retries of a database.
#[derive(Debug, Clone, Default)]
pub struct Retries {
    /// Made.
    pub made: u64,
    /// Not made, for lack of budget.
    pub refused: u64,
}

/// Takes the values of one metric: each with what it is told apart by.
type Take<'a> = &'a mut dyn FnMut(u64, Option<KeyValue>);

/// One metric (a unit of `1` would have Prometheus call what is 0 or 1 a ratio), and its values in a reading.
struct Read {
    described: Described,
    kind: Kind,
    /// What its values are of: a pool, or a database.
    of: &'static str,
    values: fn(&Reading, Take<'_>),
}

/// What its values are: OpenTelemetry tells apart what adds up over replicas, and what does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only grows.
    Counter,
    /// A number of things there are.
    UpDownCounter,
    /// A state.
    Gauge,
}

const POOL: &str = attribute::DB_CLIENT_CONNECTION_POOL_NAME;
const DATABASE: &str = attribute::DB_NAMESPACE;

const fn gauge(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    (of, values): (&'static str, fn(&Reading, Take<'_>)),
) -> Read {
    Read { described: Described { name, help, unit }, kind: Kind::Gauge, of, values }
}

const fn level(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    (of, values): (&'static str, fn(&Reading, Take<'_>)),
) -> Read {
    Read { described: Described { name, help, unit }, kind: Kind::UpDownCounter, of, values }
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    (of, values): (&'static str, fn(&Reading, Take<'_>)),
) -> Read {
    Read { described: Described { name, help, unit }, kind: Kind::Counter, of, values }
}

const READ: [Read; 21] = [
    level(
        metric::DB_CLIENT_CONNECTION_COUNT,
        "{connection}",
        "Connections by state: used by a call (or being cleaned after it), or idle",
        (POOL, |reading, take| {
            let state = |state| Some(KeyValue::new(attribute::DB_CLIENT_CONNECTION_STATE, state));
            take(reading.connections.idle, state("idle"));
            take(reading.connections.used, state("used"));
        }),
    ),
    level(
        metric::DB_CLIENT_CONNECTION_MAX,
        "{connection}",
        "Connections at most: pool.max and pool.overflow",
        (POOL, |reading, take| take(reading.connections.max, None)),
    ),
    level(
        metric::DB_CLIENT_CONNECTION_IDLE_MAX,
        "{connection}",
        "Idle connections at most: pool.max",
        (POOL, |reading, take| take(reading.connections.idle_max, None)),
    ),
    level(
        metric::DB_CLIENT_CONNECTION_IDLE_MIN,
        "{connection}",
        "Connections that are kept open: pool.min",
        (POOL, |reading, take| take(reading.connections.min, None)),
    ),
    level(
        metric::DB_CLIENT_CONNECTION_PENDING_REQUESTS,
        "{request}",
        "Callers that wait for a connection",
        (POOL, |reading, take| take(reading.connections.pending, None)),
    ),
    counter(
        metric::DB_CLIENT_CONNECTION_TIMEOUTS,
        "{timeout}",
        "Waits for a connection that timed out",
        (POOL, |reading, take| take(reading.connections.timeouts, None)),
    ),
    counter(
        "rowgate.pool.rejected",
        "{request}",
        "Callers that were turned away at once, as too many waited or their time would not do",
        (POOL, |reading, take| take(reading.connections.rejected, None)),
    ),
    counter(
        "rowgate.pool.opened",
        "{connection}",
        "Connections that were opened",
        (POOL, |reading, take| take(reading.connections.opened, None)),
    ),
    counter(
        "rowgate.pool.connect_failures",
        "{attempt}",
        "Attempts to open a connection that failed",
        (POOL, |reading, take| take(reading.connections.failed, None)),
    ),
    counter(
        "rowgate.pool.closed",
        "{connection}",
        "Connections that were closed, by reason",
        (POOL, |reading, take| {
            for (reason, count) in &reading.connections.closed {
                take(*count, Some(KeyValue::new("rowgate.reason", *reason)));
            }
        }),
    ),
    gauge(
        "rowgate.pool.paused",
        "{pool}",
        "1 while an operator lets no caller in",
        (POOL, |reading, take| take(reading.connections.paused.into(), None)),
    ),
    counter(
        "rowgate.pool.leaks",
        "{connection}",
        "Connections that a call held for longer than pool.leak_threshold",
        (POOL, |reading, take| take(reading.leaks, None)),
    ),
    counter(
        "rowgate.pool.resets",
        "{connection}",
        "Sessions that were reset, as a statement may have left a trace in them",
        (POOL, |reading, take| take(reading.resets, None)),
    ),
    gauge(
        "rowgate.database.available",
        "{database}",
        "1 while the database is reached",
        (DATABASE, |reading, take| take(reading.available.into(), None)),
    ),
    gauge(
        "rowgate.breaker.state",
        "{breaker}",
        "1 for the state in which the breaker is, 0 for the other",
        (DATABASE, |reading, take| {
            let state = |state| Some(KeyValue::new("rowgate.state", state));
            take((!reading.breaker.open).into(), state("closed"));
            take(reading.breaker.open.into(), state("open"));
        }),
    ),
    counter(
        "rowgate.breaker.transitions",
        "{transition}",
        "How often the breaker was opened and closed",
        (DATABASE, |reading, take| {
            let Breaker { open, opened } = reading.breaker;
            let state = |state| Some(KeyValue::new("rowgate.state", state));
            take(opened, state("open"));
            take(opened.saturating_sub(open.into()), state("closed"));
        }),
    ),
    counter(
        "rowgate.retries",
        "{attempt}",
        "Attempts that were made again after a failure",
        (DATABASE, |reading, take| take(reading.retries.made, None)),
    ),
    counter(
        "rowgate.retries.refused",
        "{attempt}",
        "Attempts that were not made again, as the retry budget was spent",
        (DATABASE, |reading, take| take(reading.retries.refused, None)),
    ),
    counter(
        "rowgate.statements",
        "{statement}",
        "Statements that were run",
        (DATABASE, |reading, take| take(reading.statements, None)),
    ),
    counter(
        "rowgate.transactions",
        "{transaction}",
        "Batches, and interactive transactions that were begun",
        (DATABASE, |reading, take| take(reading.transactions, None)),
    ),
    gauge(
        "rowgate.build_info",
        "{build}",
        "1, and the version as a label",
        ("", |_, take| take(1, Some(KeyValue::new("version", env!("CARGO_PKG_VERSION"))))),
    ),
];

/// The metrics that are read.
pub fn described() -> impl Iterator<Item = Described> {
    READ.iter().map(|read| read.described)
}

/// Where readings come from: all databases.
pub(crate) type Source = Arc<dyn Fn() -> Vec<Reading> + Send + Sync>;

/// Has all of them read from `source` from now on.
pub(crate) fn observe(meter: &Meter, source: &Source) {
    for Read { described: Described { name, help, unit }, kind, of, values } in READ {
        let source = Arc::clone(source);
        let read = move |take: &dyn Fn(u64, &[KeyValue])| {
            if of.is_empty() {
                values(&Reading::default(), &mut |value, label| take(value, label.as_slice()));
                return;
            }
            for reading in source() {
                let own = KeyValue::new(of, reading.database.clone());
                values(&reading, &mut |value, label| {
                    let labels: Vec<KeyValue> = [own.clone()].into_iter().chain(label).collect();
                    take(value, &labels);
                });
            }
        };
        match kind {
            Kind::Counter => drop(
                meter
                    .u64_observable_counter(name)
                    .with_description(help)
                    .with_unit(unit)
                    .with_callback(move |to| read(&|value, labels| to.observe(value, labels)))
                    .build(),
            ),
            Kind::UpDownCounter => drop(
                meter
                    .i64_observable_up_down_counter(name)
                    .with_description(help)
                    .with_unit(unit)
                    .with_callback(move |to| {
                        read(&|value, labels| to.observe(signed(value), labels));
                    })
                    .build(),
            ),
            Kind::Gauge => drop(
                meter
                    .u64_observable_gauge(name)
                    .with_description(help)
                    .with_unit(unit)
                    .with_callback(move |to| read(&|value, labels| to.observe(value, labels)))
                    .build(),
            ),
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
