//! The instruments that calls and operations record into.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry_semantic_conventions::{attribute, metric};

/// The bucket boundaries of histograms of times, in seconds: most of the times here are below the first boundaries
/// that the conventions advise.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A metric, as OTLP and docs/METRICS.md describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Its name in OTLP.
    pub name: &'static str,
    /// Its unit, in UCUM.
    pub unit: &'static str,
    /// Its description for people.
    pub help: &'static str,
}

impl Description {
    pub(crate) const fn new(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, help: "" }
    }

    pub(crate) const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }
}

/// The metrics that calls record themselves: times, then counts.
pub const RECORDED: [Description; 9] = [
    Description::new(metric::RPC_SERVER_CALL_DURATION, "s")
        .help("The time of calls, from their headers to the end of their answers"),
    Description::new(metric::DB_CLIENT_OPERATION_DURATION, "s").help(
        "The time of statements, batches and commits in the database, without the wait for a connection",
    ),
    Description::new(metric::DB_CLIENT_CONNECTION_CREATE_TIME, "s")
        .help("The time to open a connection"),
    Description::new(metric::DB_CLIENT_CONNECTION_WAIT_TIME, "s")
        .help("The time to get a connection from the pool"),
    Description::new(metric::DB_CLIENT_CONNECTION_USE_TIME, "s")
        .help("The time that calls held connections, including the reset afterwards"),
    Description::new("rowgate.failures", "{error}")
        .help("Errors that were answered, by reason and outcome"),
    Description::new("rowgate.access.refused", "{call}")
        .help("Errors of callers that are not known, lack a right, or are over a limit of their own"),
    Description::new("rowgate.cancellations", "{statement}")
        .help("Statements that were stopped in the database before their end, by cause"),
    Description::new("rowgate.slow_statements", "{statement}")
        .help("Statements that ran for telemetry.slow_query or longer"),
];

#[derive(Debug, Clone)]
pub(crate) struct Instruments {
    rpc_duration: Histogram<f64>,
    pub(crate) operation_duration: Histogram<f64>,
    pub(crate) create_time: Histogram<f64>,
    pub(crate) wait_time: Histogram<f64>,
    pub(crate) use_time: Histogram<f64>,
    failures: Counter<u64>,
    refused: Counter<u64>,
    pub(crate) cancellations: Counter<u64>,
    pub(crate) slow: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |Description { name, unit, help }| {
            let histogram = meter.f64_histogram(name).with_description(help).with_unit(unit);
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        let count = |Description { name, unit, help }| {
            meter.u64_counter(name).with_description(help).with_unit(unit).build()
        };
        let [times @ .., failures, refused, cancellations, slow] = RECORDED;
        let [rpc_duration, operation_duration, create_time, wait_time, use_time] =
            times.map(seconds);
        Self {
            rpc_duration,
            operation_duration,
            create_time,
            wait_time,
            use_time,
            failures: count(failures),
            refused: count(refused),
            cancellations: count(cancellations),
            slow: count(slow),
        }
    }

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

    pub(crate) fn record_failure(
        &self,
        method: &'static str,
        database: Option<&Arc<str>>,
        reason: &'static str,
        outcome: &'static str,
    ) {
        let labels = [
            KeyValue::new(attribute::RPC_METHOD, method),
            KeyValue::new(attribute::DB_NAMESPACE, database.cloned().unwrap_or_default()),
            KeyValue::new("rowgate.reason", reason),
            KeyValue::new("rowgate.outcome", outcome),
        ];
        self.failures.add(1, &labels);
    }

    /// Counts an error of a caller, by its section; empty for one that is not known.
    pub(crate) fn record_refusal(&self, method: &'static str, caller: &str, reason: &'static str) {
        let labels = [
            KeyValue::new(attribute::RPC_METHOD, method),
            KeyValue::new("rowgate.caller", caller.to_owned()),
            KeyValue::new("rowgate.reason", reason),
        ];
        self.refused.add(1, &labels);
    }
}

/// Returns true if a status is a failure of the server (semantic conventions for gRPC, spans of servers).
pub(crate) fn is_server_error(code: &str) -> bool {
    let failures =
        ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
    failures.contains(&code)
}
