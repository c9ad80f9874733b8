//! The instruments that calls and operations record into.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry_semantic_conventions::{attribute, metric};

use super::description::Description;

/// The bucket boundaries of histograms of times, in seconds: most of the times here are below the first boundaries
/// that the conventions advise.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const RPC_DURATION: Description = Description::new(
    metric::RPC_SERVER_CALL_DURATION,
    "s",
    "The time of calls, from their headers to the end of their answers",
);
const OPERATION_DURATION: Description = Description::new(
    metric::DB_CLIENT_OPERATION_DURATION,
    "s",
    "The time of statements, batches and commits in the database, without the wait for a connection",
);
const CREATE_TIME: Description = Description::new(
    metric::DB_CLIENT_CONNECTION_CREATE_TIME,
    "s",
    "The time to open a connection",
);
const WAIT_TIME: Description = Description::new(
    metric::DB_CLIENT_CONNECTION_WAIT_TIME,
    "s",
    "The time to get a connection from the pool",
);
const USE_TIME: Description = Description::new(
    metric::DB_CLIENT_CONNECTION_USE_TIME,
    "s",
    "The time that calls held connections, including the reset afterwards",
);
const FAILURES: Description = Description::new(
    "rowgate.failures",
    "{error}",
    "Errors that were answered, by reason and outcome",
);
const CANCELLATIONS: Description = Description::new(
    "rowgate.cancellations",
    "{statement}",
    "Statements that were stopped in the database before their end, by cause",
);
const SLOW: Description = Description::new(
    "rowgate.slow_statements",
    "{statement}",
    "Statements that ran for telemetry.slow_query or longer",
);

/// The metrics that calls record themselves.
pub const RECORDED: [Description; 8] = [
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
    pub(crate) operation_duration: Histogram<f64>,
    pub(crate) create_time: Histogram<f64>,
    pub(crate) wait_time: Histogram<f64>,
    pub(crate) use_time: Histogram<f64>,
    pub(crate) cancellations: Counter<u64>,
    pub(crate) slow: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |description: Description| {
            let histogram =
                meter.f64_histogram(description.name).with_description(description.help);
            histogram.with_unit(description.unit).with_boundaries(SECONDS.to_vec()).build()
        };
        let count = |description: Description| {
            let counter = meter.u64_counter(description.name).with_description(description.help);
            counter.with_unit(description.unit).build()
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

    /// Records a call that has ended.
    pub(crate) fn record_call(&self, method: &'static str, code: &'static str, took: Duration) {
        let labels = [
            KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(attribute::RPC_METHOD, method),
            KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, code),
            KeyValue::new(attribute::ERROR_TYPE, code),
        ];
        let [without_failure @ .., _] = &labels;
        let labels = if is_server_error(code) { &labels[..] } else { without_failure };
        self.rpc_duration.record(took.as_secs_f64(), labels);
    }

    /// Records an error that was answered.
    pub(crate) fn record_failure(
        &self,
        method: &'static str,
        database: Option<&Arc<str>>,
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

/// Returns true if a status is a failure of the server (semantic conventions for gRPC, spans of servers).
pub(crate) fn is_server_error(code: &str) -> bool {
    let failures =
        ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
    failures.contains(&code)
}
