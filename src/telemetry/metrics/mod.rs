//! One set of instruments, read by Prometheus at `/metrics` and sent by OTLP.
//!
//! Names, units and labels are those of OpenTelemetry's semantic conventions where there are any, else start with
//! `rowgate.`. Labels come from enums and from the configuration only, so that their number has a bound.

mod gauges;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry_semantic_conventions::{attribute, metric};

pub use gauges::{Breaker, Connections, Reading, Retries, described};
pub(crate) use gauges::{Source, observe};

use super::rpc_call::is_the_servers;

/// The limits of histograms of times, in seconds: most of what is timed here takes less than the first limits that the
/// conventions advise.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A metric for people: what docs/METRICS.md has a row of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Its name in OTLP.
    pub name: &'static str,
    /// What it is a count or a time of.
    pub help: &'static str,
    /// Its unit, in UCUM.
    pub unit: &'static str,
}

const RPC_DURATION: Described = Described {
    name: metric::RPC_SERVER_CALL_DURATION,
    help: "How long calls took, from their headers to the end of their answer",
    unit: "s",
};
const OPERATION_DURATION: Described = Described {
    name: metric::DB_CLIENT_OPERATION_DURATION,
    help: "How long statements, batches and commits took in the database, without the wait for a connection",
    unit: "s",
};
const CREATE_TIME: Described = Described {
    name: metric::DB_CLIENT_CONNECTION_CREATE_TIME,
    help: "How long it took to open a connection",
    unit: "s",
};
const WAIT_TIME: Described = Described {
    name: metric::DB_CLIENT_CONNECTION_WAIT_TIME,
    help: "How long it took to get a connection from the pool",
    unit: "s",
};
const USE_TIME: Described = Described {
    name: metric::DB_CLIENT_CONNECTION_USE_TIME,
    help: "How long connections were held by calls, until they were clean again",
    unit: "s",
};
const FAILURES: Described = Described {
    name: "rowgate.failures",
    help: "Errors that were answered, by reason and by what became of the call",
    unit: "{error}",
};
const CANCELLATIONS: Described = Described {
    name: "rowgate.cancellations",
    help: "Statements that were stopped in the database before their end, by cause",
    unit: "{statement}",
};
const SLOW: Described = Described {
    name: "rowgate.slow_statements",
    help: "Statements that ran for telemetry.slow_query or longer",
    unit: "{statement}",
};

/// The metrics that calls record themselves.
pub const RECORDED: [Described; 8] = [
    RPC_DURATION,
    OPERATION_DURATION,
    CREATE_TIME,
    WAIT_TIME,
    USE_TIME,
    FAILURES,
    CANCELLATIONS,
    SLOW,
];

/// The instruments of a process.
#[derive(Debug, Clone)]
pub(crate) struct Instruments {
    rpc_duration: Histogram<f64>,
    failures: Counter<u64>,
    operation_duration: Histogram<f64>,
    create_time: Histogram<f64>,
    wait_time: Histogram<f64>,
    use_time: Histogram<f64>,
    cancellations: Counter<u64>,
    slow: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |described: Described| {
            let histogram = meter.f64_histogram(described.name).with_description(described.help);
            histogram.with_unit(described.unit).with_boundaries(SECONDS.to_vec()).build()
        };
        let count = |described: Described| {
            let counter = meter.u64_counter(described.name).with_description(described.help);
            counter.with_unit(described.unit).build()
        };
        Self {
            rpc_duration: seconds(RPC_DURATION),
            failures: count(FAILURES),
            operation_duration: seconds(OPERATION_DURATION),
            create_time: seconds(CREATE_TIME),
            wait_time: seconds(WAIT_TIME),
            use_time: seconds(USE_TIME),
            cancellations: count(CANCELLATIONS),
            slow: count(SLOW),
        }
    }

    /// A call has ended.
    pub(crate) fn called(&self, method: &'static str, code: &'static str, took: Duration) {
        let labels = [
            KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(attribute::RPC_METHOD, method),
            KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, code),
            KeyValue::new(attribute::ERROR_TYPE, code),
        ];
        let [without_failure @ .., _] = &labels;
        let labels = if is_the_servers(code) { &labels[..] } else { without_failure };
        self.rpc_duration.record(took.as_secs_f64(), labels);
    }

    /// An error was answered.
    pub(crate) fn failed(
        &self,
        (method, database): (&'static str, Option<&Arc<str>>),
        reason: &'static str,
        outcome: &'static str,
    ) {
        let database = database.cloned().unwrap_or_else(|| "".into());
        let labels = [
            KeyValue::new(attribute::RPC_METHOD, method),
            KeyValue::new(attribute::DB_NAMESPACE, database),
            KeyValue::new("rowgate.reason", reason),
            KeyValue::new("rowgate.outcome", outcome),
        ];
        self.failures.add(1, &labels);
    }
}

/// The instruments as one database has them: with its labels.
#[derive(Debug)]
pub(crate) struct DatabaseInstruments {
    instruments: Instruments,
    system: KeyValue,
    name: KeyValue,
    pool: [KeyValue; 1],
}

impl DatabaseInstruments {
    pub(crate) fn new(instruments: Instruments, system: &'static str, name: &Arc<str>) -> Self {
        Self {
            instruments,
            system: KeyValue::new(attribute::DB_SYSTEM_NAME, system),
            name: KeyValue::new(attribute::DB_NAMESPACE, Arc::clone(name)),
            pool: [KeyValue::new(attribute::DB_CLIENT_CONNECTION_POOL_NAME, Arc::clone(name))],
        }
    }

    /// The operation `name` has ended, well or because of `failure`.
    pub(crate) fn ended(&self, name: &'static str, took: Duration, failure: Option<&'static str>) {
        let histogram = &self.instruments.operation_duration;
        let operation = KeyValue::new(attribute::DB_OPERATION_NAME, name);
        let (system, database) = (self.system.clone(), self.name.clone());
        match failure {
            None => histogram.record(took.as_secs_f64(), &[system, database, operation]),
            Some(failure) => {
                let failure = KeyValue::new(attribute::ERROR_TYPE, failure);
                histogram.record(took.as_secs_f64(), &[system, database, operation, failure]);
            }
        }
    }

    pub(crate) fn opened(&self, took: Duration) {
        self.instruments.create_time.record(took.as_secs_f64(), &self.pool);
    }

    pub(crate) fn lent(&self, waited: Duration) {
        self.instruments.wait_time.record(waited.as_secs_f64(), &self.pool);
    }

    pub(crate) fn came_back(&self, held: Duration) {
        self.instruments.use_time.record(held.as_secs_f64(), &self.pool);
    }

    pub(crate) fn cancelled(&self, cause: &'static str) {
        let labels = [self.name.clone(), KeyValue::new("rowgate.cause", cause)];
        self.instruments.cancellations.add(1, &labels);
    }

    pub(crate) fn was_slow(&self) {
        self.instruments.slow.add(1, std::slice::from_ref(&self.name));
    }
}

/// What `db.client.connection.count` is called in Prometheus' text, where `_count` is the end of a histogram's
/// name and of no other's (Prometheus, Metric and label naming; `promtool check metrics`).
const COUNT: (&str, &str) = ("db_client_connection_count", "db_client_connections");

/// Prometheus' text of all that a registry has.
pub(crate) fn text_of(registry: &prometheus::Registry) -> Result<String, Cow<'static, str>> {
    let mut families = registry.gather();
    for family in families.iter_mut().filter(|family| family.name() == COUNT.0) {
        family.set_name(COUNT.1.to_owned());
    }
    let encoder = prometheus::TextEncoder::new();
    encoder.encode_to_string(&families).map_err(|error| Cow::Owned(error.to_string()))
}
