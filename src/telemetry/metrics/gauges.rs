//! The metrics that are observed whenever they are collected: the state and the counters of databases.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use opentelemetry_semantic_conventions::{attribute, metric};

use super::description::Description;

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
    /// The number of times that the breaker was opened.
    pub(crate) breaker_opened: u64,
    pub(crate) retries: u64,
    pub(crate) retries_refused: u64,
    pub(crate) statements: u64,
    pub(crate) transactions: u64,
    pub(crate) resets: u64,
    pub(crate) leaks: u64,
}

/// One observed metric.
struct Observed {
    description: Description,
    kind: Kind,
    /// The attribute that names the pool or the database; empty for the process.
    subject: &'static str,
    values: Values,
}

/// The values of a metric.
enum Values {
    One(fn(&DatabaseGauges) -> u64),
    /// One for each value of a label.
    By(&'static str, fn(&DatabaseGauges) -> Vec<(&'static str, u64)>),
}

/// The kinds of instruments: OpenTelemetry tells apart values that add up over replicas from those that do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
}

const POOL: &str = attribute::DB_CLIENT_CONNECTION_POOL_NAME;
const DATABASE: &str = attribute::DB_NAMESPACE;

/// A metric of a pool. A unit of `1` would make Prometheus call a value of 0 or 1 a ratio.
const fn pool(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    value: fn(&DatabaseGauges) -> u64,
) -> Observed {
    let description = Description::new(name, unit, help);
    Observed { description, kind, subject: POOL, values: Values::One(value) }
}

/// The same of a database.
const fn database(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    value: fn(&DatabaseGauges) -> u64,
) -> Observed {
    Observed { subject: DATABASE, ..pool(kind, name, unit, help, value) }
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

static OBSERVED: [Observed; 21] = [
    pool(
        UpDownCounter,
        metric::DB_CLIENT_CONNECTION_COUNT,
        "{connection}",
        "Connections by state: used by a call (or being reset after it), or idle",
        |gauges| gauges.used,
    )
    .by(attribute::DB_CLIENT_CONNECTION_STATE, |gauges| {
        vec![("idle", gauges.idle), ("used", gauges.used)]
    }),
    pool(
        UpDownCounter,
        metric::DB_CLIENT_CONNECTION_MAX,
        "{connection}",
        "The most connections: pool.max and pool.overflow",
        |gauges| gauges.max,
    ),
    pool(
        UpDownCounter,
        metric::DB_CLIENT_CONNECTION_IDLE_MAX,
        "{connection}",
        "The most idle connections: pool.max",
        |gauges| gauges.idle_max,
    ),
    pool(
        UpDownCounter,
        metric::DB_CLIENT_CONNECTION_IDLE_MIN,
        "{connection}",
        "Connections that are kept open: pool.min",
        |gauges| gauges.min,
    ),
    pool(
        UpDownCounter,
        metric::DB_CLIENT_CONNECTION_PENDING_REQUESTS,
        "{request}",
        "Callers that wait for a connection",
        |gauges| gauges.pending,
    ),
    pool(
        Counter,
        metric::DB_CLIENT_CONNECTION_TIMEOUTS,
        "{timeout}",
        "Waits for a connection that timed out",
        |gauges| gauges.timeouts,
    ),
    pool(
        Counter,
        "rowgate.pool.rejected",
        "{request}",
        "Callers that were rejected at once: too many waited, or their deadlines were too near",
        |gauges| gauges.rejected,
    ),
    pool(Counter, "rowgate.pool.opened", "{connection}", "Connections opened", |all| all.opened),
    pool(
        Counter,
        "rowgate.pool.connect_failures",
        "{attempt}",
        "Attempts to open a connection that failed",
        |gauges| gauges.connect_failures,
    ),
    pool(Counter, "rowgate.pool.closed", "{connection}", "Connections closed, by reason", |_| 0)
        .by("rowgate.reason", |gauges| gauges.closed.clone()),
    pool(Gauge, "rowgate.pool.paused", "{pool}", "1 while the pool is paused", |gauges| {
        gauges.paused.into()
    }),
    pool(
        Counter,
        "rowgate.pool.leaks",
        "{connection}",
        "Checkouts that lasted longer than pool.leak_threshold",
        |gauges| gauges.leaks,
    ),
    pool(
        Counter,
        "rowgate.pool.resets",
        "{connection}",
        "Sessions that were reset, as a statement may have changed their state",
        |gauges| gauges.resets,
    ),
    database(
        Gauge,
        "rowgate.database.available",
        "{database}",
        "1 while the database is reachable",
        |gauges| gauges.available.into(),
    ),
    database(
        Gauge,
        "rowgate.breaker.state",
        "{breaker}",
        "1 for the breaker's present state, 0 for the other",
        |gauges| gauges.breaker_open.into(),
    )
    .by("rowgate.state", |gauges| {
        vec![("closed", (!gauges.breaker_open).into()), ("open", gauges.breaker_open.into())]
    }),
    database(
        Counter,
        "rowgate.breaker.transitions",
        "{transition}",
        "The number of times that the breaker was opened and closed",
        |gauges| gauges.breaker_opened,
    )
    .by("rowgate.state", |gauges| {
        let closed = gauges.breaker_opened.saturating_sub(gauges.breaker_open.into());
        vec![("open", gauges.breaker_opened), ("closed", closed)]
    }),
    database(Counter, "rowgate.retries", "{attempt}", "Retries after a failure", |all| all.retries),
    database(
        Counter,
        "rowgate.retries.refused",
        "{attempt}",
        "Retries that were not made, as the retry budget was exhausted",
        |gauges| gauges.retries_refused,
    ),
    database(Counter, "rowgate.statements", "{statement}", "Statements run", |all| all.statements),
    database(
        Counter,
        "rowgate.transactions",
        "{transaction}",
        "Batches, and interactive transactions that were begun",
        |gauges| gauges.transactions,
    ),
    Observed {
        subject: "",
        ..pool(Gauge, "rowgate.build_info", "{build}", "1, and the version as a label", |_| 1)
            .by("version", |_| vec![(env!("CARGO_PKG_VERSION"), 1)])
    },
];

/// Describes the observed metrics.
pub fn described() -> impl Iterator<Item = Description> {
    OBSERVED.iter().map(|observed| observed.description)
}

/// The source of gauges: the state of all databases.
pub(crate) type Source = Arc<dyn Fn() -> Vec<DatabaseGauges> + Send + Sync>;

/// Registers callbacks that observe `source` at each collection.
pub(crate) fn observe(meter: &Meter, source: &Source) {
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
