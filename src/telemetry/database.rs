//! The telemetry of one database.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_semantic_conventions::attribute;
use tracing::Span;

use super::metrics::{DatabaseInstruments, Instruments};
use super::top_statements::DatabaseStatements;
use super::traces;

/// Records the operations and connections of one database.
#[derive(Debug)]
pub struct DatabaseTelemetry {
    name: Arc<str>,
    system: &'static str,
    pub(crate) metrics: DatabaseInstruments,
    /// An operation that takes this long is slow; `None`: none is.
    pub(crate) slow: Option<Duration>,
    pub(crate) statements: Arc<DatabaseStatements>,
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
        let metrics = DatabaseInstruments::new(instruments, system, &name);
        let slow = Some(slow).filter(|slow| !slow.is_zero());
        Arc::new(Self { name, system, metrics, slow, statements })
    }

    /// The database's logical name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records a connection that was returned to the pool after it was `used` for so long.
    pub fn connection_returned(&self, used: Duration) {
        self.metrics.record_use(used);
    }

    /// Sets the attributes of a span that name the database.
    pub(crate) fn describe(&self, span: &Span) {
        if !span.is_none() {
            traces::set(span, attribute::DB_SYSTEM_NAME, self.system.into());
            traces::set(span, attribute::DB_NAMESPACE, Arc::clone(&self.name).into());
        }
    }
}
