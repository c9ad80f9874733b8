//! Operations in a database: statements, batches, commits.

use std::sync::Arc;

use super::database_telemetry::DatabaseTelemetry;
use super::rpc_call::{ConnectionUse, OperationDescription, OperationTiming, RpcCall};
use super::top_statements::Statement;
use super::traces;
use crate::error::{Error, ErrorKind};

/// An operation that has begun and not ended. Dropped, it ends as cancelled by its caller.
#[derive(Debug)]
pub struct Operation {
    database: Arc<DatabaseTelemetry>,
    call: Arc<RpcCall>,
    statement: Statement,
    has_ended: bool,
}

impl DatabaseTelemetry {
    /// Begins a statement of a call, on the connection that the call acquires next.
    #[must_use]
    pub fn statement(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        name: &'static str,
        text: &Arc<str>,
    ) -> Operation {
        self.begin(call, self.description(name, text), ConnectionUse::Next)
    }

    /// Begins a statement on the connection that the call has.
    #[must_use]
    pub fn command(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        name: &'static str,
        text: &Arc<str>,
    ) -> Operation {
        self.begin(call, self.description(name, text), ConnectionUse::Current)
    }

    /// Begins a batch of two statements or more, on the connection that the call acquires next.
    #[must_use]
    pub fn batch(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        statements: usize,
        text: &Arc<str>,
    ) -> Operation {
        let batch = Some(statements);
        let description = OperationDescription { batch, ..self.description("BATCH", text) };
        self.begin(call, description, ConnectionUse::Next)
    }

    fn description(self: &Arc<Self>, name: &'static str, text: &Arc<str>) -> OperationDescription {
        let database = Arc::clone(self);
        OperationDescription { database, name, text: Arc::clone(text), batch: None }
    }

    fn begin(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        description: OperationDescription,
        connection: ConnectionUse,
    ) -> Operation {
        let text = Arc::clone(&description.text);
        let statement = Statement { operation: description.name, text };
        call.begin(description, connection);
        Operation {
            database: Arc::clone(self),
            call: Arc::clone(call),
            statement,
            has_ended: false,
        }
    }
}

impl Operation {
    /// The database in which it runs.
    pub fn database(&self) -> Arc<DatabaseTelemetry> {
        Arc::clone(&self.database)
    }

    /// Ends it with its result; `terminated` tells whether an operator terminated its call. Returns its timing if it
    /// was slow and is to be logged.
    pub fn end(mut self, error: Option<&Error>, terminated: bool) -> Option<OperationTiming> {
        let cause = error.and_then(|error| cancellation_cause(error.kind()));
        let cause = cause.map(|cause| if terminated { "operator" } else { cause });
        self.finish(error, cause)
    }

    /// Ends it because its result is not read: it exceeds a limit, or its reader has stalled.
    pub fn abandoned(mut self) -> Option<OperationTiming> {
        self.cancel("abandoned")
    }

    /// Ends it because its caller has disconnected.
    pub fn cancelled(mut self) -> Option<OperationTiming> {
        self.cancel("caller")
    }

    fn cancel(&mut self, cause: &'static str) -> Option<OperationTiming> {
        self.finish(Some(&Error::new(ErrorKind::Cancelled, "operation cancelled")), Some(cause))
    }

    fn finish(
        &mut self,
        error: Option<&Error>,
        cause: Option<&'static str>,
    ) -> Option<OperationTiming> {
        self.has_ended = true;
        let (timing, span) = self.call.end_operation()?;
        let is_slow = self.database.operation_ended(&self.statement, timing.ran, error);
        if let Some(error) = error {
            traces::record_error(&span, error);
        }
        if let Some(cause) = cause {
            self.database.operation_cancelled(cause);
        }
        is_slow.then_some(timing)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.has_ended {
            self.cancel("caller");
        }
    }
}

/// Returns the cause for which a statement was stopped, if its error says that it was.
fn cancellation_cause(kind: ErrorKind) -> Option<&'static str> {
    let causes = [
        (ErrorKind::DeadlineExceeded, "deadline"),
        (ErrorKind::Cancelled, "caller"),
        (ErrorKind::ShuttingDown, "shutdown"),
    ];
    causes.into_iter().find(|(error, _)| *error == kind).map(|(_, cause)| cause)
}
