//! Connections: opened, and acquired by calls.

use std::time::{Duration, Instant};

use tracing::Span;

use super::database_telemetry::DatabaseTelemetry;
use super::rpc_call::RpcCall;
use super::traces;
use crate::error::Error;

/// An attempt to open a connection.
#[derive(Debug)]
pub struct Connecting(Span);

impl Connecting {
    /// Begins it, for the call that waits for it if one does.
    #[must_use]
    pub fn begin(database: &DatabaseTelemetry) -> Self {
        let span = traces::connecting();
        database.describe(&span);
        Self(span)
    }

    /// The span of the attempt.
    pub fn span(&self) -> &Span {
        &self.0
    }

    /// Records a connection that is open.
    pub fn opened(self, database: &DatabaseTelemetry, took: Duration) {
        database.connection_opened(took);
    }

    /// Records a failure.
    pub fn failed(&self, error: &Error) {
        traces::record_error(&self.0, error);
    }
}

/// A call's wait for a connection.
#[derive(Debug)]
pub struct Acquiring {
    span: Span,
    began: Instant,
}

impl Acquiring {
    /// Begins it.
    #[must_use]
    pub fn begin(database: &DatabaseTelemetry, call: &RpcCall, now: Instant) -> Self {
        let span = call.trace().acquire();
        database.describe(&span);
        Self { span, began: now }
    }

    /// The span of the wait, parent of the spans of connections that are opened for it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Records that the call has acquired a connection.
    pub fn acquired(self, database: &DatabaseTelemetry, call: &RpcCall, now: Instant) {
        let waited = now.saturating_duration_since(self.began);
        database.connection_acquired(waited);
        drop(self.span);
        call.connection_acquired(waited, now);
    }

    /// Records that the call has acquired none.
    pub fn failed(self, error: &Error) {
        traces::record_error(&self.span, error);
    }
}
