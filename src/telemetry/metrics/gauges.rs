//! The metrics that are observed whenever they are collected: the state and the counters of databases.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use opentelemetry_semantic_conventions::{attribute, metric};

use super::instruments::Description;

/// The state and counters of one database.
#[derive(Debug, Clone, Default)]
pub(crate) struct DatabaseGauges {
    pub(crate) database: String,
    pub(crate) available: bool,
    pub(crate) idle: u64,
    pub(crate) used: u64,
    pub(crate) max: u64,
    pub(crate) idle_max: u64,
    pub(crate) min: u64,
    /// Callers that wait for a connection.
    pub(crate) pending: u64,
    pub(crate) timeouts: u64,
    pub(crate) rejected: u64,
    pub(crate) opened: u64,
    pub(crate) connect_failures: u64,
    /// Connections that were closed, by reason.
    pub(crate) closed: Vec<(&'static str, u64)>,
    pub(crate) paused: bool,
    pub(crate) breaker_open: bool,
    pub(crate) breaker_opened: u64,
    pub(crate) retries: u64,
    pub(crate) retries_refused: u64,
    pub(crate) statements: u64,
    pub(crate) transactions: u64,
    pub(crate) resets: u64,
    /// Open lanes, and the statements that ran on them.
    pub(crate) lanes: u64,
    pub(crate) lane_statements: u64,
    /// Statements that were kept off the lanes, by reason.
    pub(crate) lane_demotions: Vec<(&'static str, u64)>,
    pub(crate) leaks: u64,
    pub(crate) listeners: u64,
    /// Notifications that were received, gaps that were told, and listeners that were too slow.
    pub(crate) notifications: u64,
    pub(crate) listen_gaps: u64,
    pub(crate) listeners_too_slow: u64,
    /// Runs of maintenance, by outcome.
    pub(crate) maintenance_runs: Vec<(&'static str, u64)>,
    pub(crate) pages_freed: u64,
    pub(crate) tables_analyzed: u64,
}

struct Observed {
    description: Description,
    kind: Kind,
    /// The attribute that names the pool or the database; empty for the process.
    subject: &'static str,
    values: Values,
}

enum Values {
    One(fn(&DatabaseGauges) -> u64),
    /// One for each value of a label.
    By(&'static str, fn(&DatabaseGauges) -> Vec<(&'static str, u64)>),
}

/// The kinds of instruments: OpenTelemetry tells apart values that add up over replicas from those that do not.
enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
}

/// A metric of a pool. A unit of `1` would make Prometheus call a value of 0 or 1 a ratio.
const fn pool(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    value: fn(&DatabaseGauges) -> u64,
) -> Observed {
    let subject = attribute::DB_CLIENT_CONNECTION_POOL_NAME;
    Observed {
        description: Description::new(name, unit),
        kind,
        subject,
        values: Values::One(value),
    }
}

/// The same of a database.
const fn database(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    value: fn(&DatabaseGauges) -> u64,
) -> Observed {
    Observed { subject: attribute::DB_NAMESPACE, ..pool(kind, name, unit, value) }
}

impl Observed {
    /// The same metric with a value for each value of `label`.
    const fn by(
        self,
        label: &'static str,
        values: fn(&DatabaseGauges) -> Vec<(&'static str, u64)>,
    ) -> Self {
        Self { values: Values::By(label, values), ..self }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { description: self.description.help(help), ..self }
    }

    /// Returns the values of one database with their labels.
    fn read(&self, gauges: &DatabaseGauges) -> Vec<(u64, Vec<KeyValue>)> {
        let named = !self.subject.is_empty();
        let subject = named.then(|| KeyValue::new(self.subject, gauges.database.clone()));
        match &self.values {
            Values::One(value) => vec![(value(gauges), subject.into_iter().collect())],
            Values::By(label, values) => values(gauges)
                .into_iter()
                .map(|(of, value)| {
                    let label = KeyValue::new(*label, of);
                    (value, subject.clone().into_iter().chain([label]).collect())
                })
                .collect(),
        }
    }
}

use Kind::{Counter, Gauge, UpDownCounter};

static OBSERVED: [Observed; 31] = [
    pool(UpDownCounter, metric::DB_CLIENT_CONNECTION_COUNT, "{connection}", |all| all.used)
        .by(attribute::DB_CLIENT_CONNECTION_STATE, |all| {
            vec![("idle", all.idle), ("used", all.used)]
        })
        .help("Connections by state: used by a call (or being reset after it), or idle"),
    pool(UpDownCounter, metric::DB_CLIENT_CONNECTION_MAX, "{connection}", |all| all.max)
        .help("The most connections: pool.max and pool.overflow"),
    pool(UpDownCounter, metric::DB_CLIENT_CONNECTION_IDLE_MAX, "{connection}", |all| all.idle_max)
        .help("The most idle connections: pool.max"),
    pool(UpDownCounter, metric::DB_CLIENT_CONNECTION_IDLE_MIN, "{connection}", |all| all.min)
        .help("Connections that are kept open: pool.min"),
    pool(UpDownCounter, metric::DB_CLIENT_CONNECTION_PENDING_REQUESTS, "{request}", |all| {
        all.pending
    })
    .help("Callers that wait for a connection"),
    pool(Counter, metric::DB_CLIENT_CONNECTION_TIMEOUTS, "{timeout}", |all| all.timeouts)
        .help("Waits for a connection that timed out"),
    pool(Counter, "rowgate.pool.rejected", "{request}", |all| all.rejected).help(
        "Callers that were rejected at once: too many waited, or their deadlines were too near",
    ),
    pool(Counter, "rowgate.pool.opened", "{connection}", |all| all.opened)
        .help("Connections opened"),
    pool(Counter, "rowgate.pool.connect_failures", "{attempt}", |all| all.connect_failures)
        .help("Attempts to open a connection that failed"),
    pool(Counter, "rowgate.pool.closed", "{connection}", |_| 0)
        .by("rowgate.reason", |all| all.closed.clone())
        .help("Connections closed, by reason"),
    pool(Gauge, "rowgate.pool.paused", "{pool}", |all| all.paused.into())
        .help("1 while the pool is paused"),
    pool(Counter, "rowgate.pool.leaks", "{connection}", |all| all.leaks)
        .help("Checkouts that lasted longer than pool.leak_threshold"),
    pool(Counter, "rowgate.pool.resets", "{connection}", |all| all.resets)
        .help("Sessions that were reset, as a statement may have changed their state"),
    pool(UpDownCounter, "rowgate.pool.lanes", "{connection}", |all| all.lanes)
        .help("Connections beside the pool's that short reads share"),
    pool(Counter, "rowgate.pool.lane_statements", "{statement}", |all| all.lane_statements)
        .help("Statements that ran on a lane to their end"),
    pool(Counter, "rowgate.pool.lane_demotions", "{statement}", |_| 0)
        .by("rowgate.reason", |all| all.lane_demotions.clone())
        .help("Statements that were kept off the lanes for a while, by reason"),
    database(Gauge, "rowgate.database.available", "{database}", |all| all.available.into())
        .help("1 while the database is reachable"),
    database(Gauge, "rowgate.breaker.state", "{breaker}", |all| all.breaker_open.into())
        .by("rowgate.state", |all| {
            vec![("closed", (!all.breaker_open).into()), ("open", all.breaker_open.into())]
        })
        .help("1 for the breaker's present state, 0 for the other"),
    database(Counter, "rowgate.breaker.transitions", "{transition}", |all| all.breaker_opened)
        .by("rowgate.state", |all| {
            let closed = all.breaker_opened.saturating_sub(all.breaker_open.into());
            vec![("open", all.breaker_opened), ("closed", closed)]
        })
        .help("The number of times that the breaker was opened and closed"),
    database(Counter, "rowgate.retries", "{attempt}", |all| all.retries)
        .help("Retries after a failure"),
    database(Counter, "rowgate.retries.refused", "{attempt}", |all| all.retries_refused)
        .help("Retries that were not made, as the retry budget was exhausted"),
    database(Counter, "rowgate.statements", "{statement}", |all| all.statements)
        .help("Callers' statements that were sent to the database"),
    database(Counter, "rowgate.transactions", "{transaction}", |all| all.transactions)
        .help("Batches, and interactive transactions that were begun"),
    database(UpDownCounter, "rowgate.listeners", "{listener}", |all| all.listeners)
        .help("Calls of Listen"),
    database(Counter, "rowgate.listen.notifications", "{notification}", |all| all.notifications)
        .help("Notifications that were received, each once however many listeners have got it"),
    database(Counter, "rowgate.listen.gaps", "{gap}", |all| all.listen_gaps)
        .help("Gaps that listeners were told of"),
    database(Counter, "rowgate.listen.too_slow", "{listener}", |all| all.listeners_too_slow)
        .help("Listeners that were ended, as more waited for them than listen.queue allows"),
    database(Counter, "rowgate.maintenance.runs", "{run}", |_| 0)
        .by("rowgate.result", |all| all.maintenance_runs.clone())
        .help("Runs of SQLite's maintenance; skipped, as nothing had been written since the last"),
    database(Counter, "rowgate.maintenance.pages_freed", "{page}", |all| all.pages_freed)
        .help("Pages that maintenance has given back to the file system"),
    database(Counter, "rowgate.maintenance.tables_analyzed", "{table}", |all| all.tables_analyzed)
        .help("Tables whose statistics maintenance has made anew"),
    Observed { subject: "", ..pool(Gauge, "rowgate.build_info", "{build}", |_| 1) }
        .by("version", |_| vec![(env!("CARGO_PKG_VERSION"), 1)])
        .help("1, and the version as a label"),
];

/// Describes the observed metrics.
pub fn described() -> impl Iterator<Item = Description> {
    OBSERVED.iter().map(|observed| observed.description)
}

/// Registers callbacks that observe `source`, the state of all databases, at each collection.
pub(crate) fn observe(
    meter: &Meter,
    source: &Arc<impl Fn() -> Vec<DatabaseGauges> + Send + Sync + 'static>,
) {
    for observed in &OBSERVED {
        let source = Arc::clone(source);
        let read = move || {
            if observed.subject.is_empty() {
                return observed.read(&DatabaseGauges::default());
            }
            source().iter().flat_map(|gauges| observed.read(gauges)).collect()
        };
        let Description { name, unit, help } = observed.description;
        macro_rules! register {
            ($instrument:ident, $number:expr) => {{
                let callback = move |observer: &dyn AsyncInstrument<_>| {
                    for (value, labels) in read() {
                        observer.observe($number(value), &labels);
                    }
                };
                let builder = meter.$instrument(name).with_description(help).with_unit(unit);
                let _instrument = builder.with_callback(callback).build();
            }};
        }
        match observed.kind {
            Counter => register!(u64_observable_counter, u64::from),
            UpDownCounter => register!(i64_observable_up_down_counter, signed),
            Gauge => register!(u64_observable_gauge, u64::from),
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
