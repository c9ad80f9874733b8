//! The telemetry of one database.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::metrics::Instruments;
use super::top_statements::{DatabaseStatements, Statement};
use crate::error::Error;

/// Records the operations and connections of one database.
#[derive(Debug)]
pub(crate) struct DatabaseTelemetry {
    name: Arc<str>,
    /// The system that its URL names.
    system: &'static str,
    /// The system that its first server said it is, which a URL may leave open.
    told_system: OnceLock<&'static str>,
    pub(super) instruments: Instruments,
    /// The labels of the metrics of its pool.
    pub(super) pool: [KeyValue; 1],
    /// The time from which an operation is slow; zero for never.
    slow: Duration,
    statements: Arc<DatabaseStatements>,
}

impl DatabaseTelemetry {
    pub(crate) fn new(
        name: &str,
        system: &'static str,
        instruments: Instruments,
        slow: Duration,
        statements: Arc<DatabaseStatements>,
    ) -> Arc<Self> {
        let name: Arc<str> = name.into();
        let pool = [KeyValue::new(attribute::DB_CLIENT_CONNECTION_POOL_NAME, Arc::clone(&name))];
        let told_system = OnceLock::new();
        Arc::new(Self { name, system, told_system, instruments, pool, slow, statements })
    }

    /// Names the system that a server says it is, as OpenTelemetry's `db.system.name`; the first one counts.
    pub(crate) fn server_says(&self, system: &'static str) {
        self.told_system.get_or_init(|| system);
    }

    /// OpenTelemetry's `db.system.name`.
    fn system(&self) -> &'static str {
        self.told_system.get().copied().unwrap_or(self.system)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Records a connection that was returned to the pool after it was `used` for so long.
    pub(crate) fn connection_returned(&self, used: Duration) {
        self.instruments.use_time.record(used.as_secs_f64(), &self.pool);
    }

    /// Records an operation that has ended; returns true if it was slow.
    pub(crate) fn operation_ended(
        &self,
        statement: &Statement,
        ran: Duration,
        error: Option<&Error>,
    ) -> bool {
        let labels = [
            KeyValue::new(attribute::DB_SYSTEM_NAME, self.system()),
            self.namespace(),
            KeyValue::new(attribute::DB_OPERATION_NAME, statement.operation),
            KeyValue::new(attribute::ERROR_TYPE, error.map(Error::label).unwrap_or_default()),
        ];
        let [without_error @ .., _] = &labels;
        let labels = if error.is_some() { &labels[..] } else { without_error };
        self.instruments.operation_duration.record(ran.as_secs_f64(), labels);
        self.statements.record(statement, ran, error, Instant::now());
        let is_slow = !self.slow.is_zero() && ran >= self.slow;
        if is_slow {
            self.instruments.slow.add(1, &[self.namespace()]);
        }
        is_slow
    }

    pub(crate) fn operation_cancelled(&self, cause: &'static str) {
        let labels = [self.namespace(), KeyValue::new("rowgate.cause", cause)];
        self.instruments.cancellations.add(1, &labels);
    }

    /// Sets the attributes of a span that name the database.
    pub(crate) fn describe(&self, span: &Span) {
        if !span.is_none() {
            span.set_attribute(attribute::DB_SYSTEM_NAME, self.system());
            span.set_attribute(attribute::DB_NAMESPACE, Arc::clone(&self.name));
        }
    }

    fn namespace(&self) -> KeyValue {
        KeyValue::new(attribute::DB_NAMESPACE, Arc::clone(&self.name))
    }
}
