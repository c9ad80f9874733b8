//! Connections: opened, and acquired by calls.

use std::time::{Duration, Instant};

use tracing::Span;

use super::database_telemetry::DatabaseTelemetry;
use super::rpc_call::RpcCall;
use super::traces;
use crate::error::Error;

/// An attempt to open a connection.
#[derive(Debug)]
pub(crate) struct Connecting(pub(crate) Span);

impl Connecting {
    /// Begins it, for the call that waits for it if one does.
    pub(crate) fn begin(database: &DatabaseTelemetry) -> Self {
        let span = traces::connecting();
        database.describe(&span);
        Self(span)
    }

    pub(crate) fn opened(self, database: &DatabaseTelemetry, took: Duration) {
        database.instruments.create_time.record(took.as_secs_f64(), &database.pool);
    }

    pub(crate) fn failed(&self, error: &Error) {
        traces::record_error(&self.0, error);
    }
}

/// A call's wait for a connection.
#[derive(Debug)]
pub(crate) struct Acquiring {
    /// The parent of the spans of connections that are opened for it.
    pub(crate) span: Span,
    began: Instant,
}

impl Acquiring {
    pub(crate) fn begin(database: &DatabaseTelemetry, call: &RpcCall, now: Instant) -> Self {
        let span = call.trace().acquire();
        database.describe(&span);
        Self { span, began: now }
    }

    pub(crate) fn acquired(self, database: &DatabaseTelemetry, call: &RpcCall, now: Instant) {
        let waited = now.saturating_duration_since(self.began);
        database.instruments.wait_time.record(waited.as_secs_f64(), &database.pool);
        drop(self.span);
        call.connection_acquired(waited, now);
    }

    pub(crate) fn failed(self, error: &Error) {
        traces::record_error(&self.span, error);
    }
}
