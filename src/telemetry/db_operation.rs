//! Operations in a database: statements, batches, commits.

use std::sync::Arc;

use super::database_telemetry::DatabaseTelemetry;
use super::rpc_call::{OperationDescription, OperationTiming, RpcCall};
use super::top_statements::Statement;
use super::traces;
use crate::error::{Error, ErrorKind};

/// An operation that has begun and not ended. Dropped, it ends as cancelled by its caller.
#[must_use]
#[derive(Debug)]
pub(crate) struct Operation {
    description: OperationDescription,
    call: Arc<RpcCall>,
    has_ended: bool,
}

impl DatabaseTelemetry {
    /// Begins a statement of a call, on the connection that the call acquires next.
    pub(crate) fn statement(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        name: &'static str,
        text: &Arc<str>,
    ) -> Operation {
        Operation::begin(call, self.operation(name, text))
    }

    /// Begins a statement on the connection that the call has.
    pub(crate) fn command(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        name: &'static str,
        text: &Arc<str>,
    ) -> Operation {
        Operation::begin_now(call, self.operation(name, text))
    }

    /// Begins a batch of two statements or more, on the connection that the call has.
    pub(crate) fn batch_command(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        statements: usize,
        text: &Arc<str>,
    ) -> Operation {
        Operation::begin_now(call, self.batch_operation(statements, text))
    }

    /// Begins a batch of two statements or more, on the connection that the call acquires next.
    pub(crate) fn batch(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        statements: usize,
        text: &Arc<str>,
    ) -> Operation {
        Operation::begin(call, self.batch_operation(statements, text))
    }

    fn operation(
        self: &Arc<Self>,
        operation: &'static str,
        text: &Arc<str>,
    ) -> OperationDescription {
        let statement = Statement { operation, text: Arc::clone(text) };
        OperationDescription { database: Arc::clone(self), statement, batch: None }
    }

    fn batch_operation(self: &Arc<Self>, size: usize, text: &Arc<str>) -> OperationDescription {
        OperationDescription { batch: Some(size), ..self.operation("BATCH", text) }
    }
}

impl Operation {
    /// Begins it with the next connection of its call.
    fn begin(call: &Arc<RpcCall>, description: OperationDescription) -> Self {
        call.begin(description.clone());
        Self { description, call: Arc::clone(call), has_ended: false }
    }

    /// Begins it on the connection that its call has.
    fn begin_now(call: &Arc<RpcCall>, description: OperationDescription) -> Self {
        call.begin_now(&description);
        Self { description, call: Arc::clone(call), has_ended: false }
    }

    pub(crate) fn database(&self) -> Arc<DatabaseTelemetry> {
        Arc::clone(&self.description.database)
    }

    /// Ends it with its result; `terminated` tells whether an operator terminated its call. Returns its timing if it
    /// was slow and is to be logged.
    pub(crate) fn end(
        mut self,
        error: Option<&Error>,
        terminated: bool,
    ) -> Option<OperationTiming> {
        let cause = error.and_then(|error| cancellation_cause(error.kind()));
        let cause = cause.map(|cause| if terminated { "operator" } else { cause });
        self.finish(error, cause)
    }

    /// Ends it because its result is not read: it exceeds a limit, or its reader has stalled.
    pub(crate) fn abandoned(mut self) -> Option<OperationTiming> {
        self.cancel("abandoned")
    }

    /// Ends it because its caller has disconnected.
    pub(crate) fn cancelled(mut self) -> Option<OperationTiming> {
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
        let OperationDescription { database, statement, .. } = &self.description;
        let is_slow = database.operation_ended(statement, timing.ran, error);
        if let Some(error) = error {
            traces::record_error(&span, error);
        }
        if let Some(cause) = cause {
            database.operation_cancelled(cause);
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
    causes.into_iter().find_map(|(error, cause)| (error == kind).then_some(cause))
}
