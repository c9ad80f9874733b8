//! A backend with telemetry: every statement, batch, transaction and commit is recorded from when it has its
//! connection to its end.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::arrow::Decimal;
use super::connect_breaker::ConnectBreaker;
use super::copy::{CopyData, CopyIn, CopyText, CopyWriter};
use super::interface::{Backend, EngineInfo, Installed, ServerWait};
use super::maintenance_state::MaintenanceState;
use super::notification_queue::{ListenCounts, Subscription};
use super::row_stream::{Completion, Fill, RowSink, RowStream};
use super::statement::{
    Batch, BatchResult, BatchStatement, BatchStrategy, DescribeRequest, Description,
    IdempotencyKey, Statement,
};
use super::transaction::{
    BeginRequest, SavepointCommand, Transaction, TransactionHandle, TransactionOutcome,
};
use crate::clock::milliseconds;
use crate::config::ClaimsSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};
use crate::telemetry::{DatabaseTelemetry, Operation, OperationTiming};
use crate::value::Column;
use crate::value::proto::ResultSet;

/// The longest text of a batch, in bytes.
const MAX_BATCH_TEXT: usize = 500;

/// A backend whose operations are recorded.
pub(crate) struct Instrumented {
    backend: Arc<dyn Backend>,
    telemetry: Arc<DatabaseTelemetry>,
}

impl Instrumented {
    pub(crate) fn new(backend: Arc<dyn Backend>, telemetry: Arc<DatabaseTelemetry>) -> Self {
        Self { backend, telemetry }
    }
}

/// An operation in progress. Dropped before its end, its caller has disconnected.
struct Recording {
    /// `None` once it has ended.
    operation: Option<Operation>,
    context: Arc<CallContext>,
    text: Arc<str>,
}

impl Recording {
    fn new(operation: Operation, context: &Arc<CallContext>, text: &Arc<str>) -> Self {
        let operation = Some(operation);
        Self { operation, context: Arc::clone(context), text: Arc::clone(text) }
    }

    /// Records the result and returns it.
    fn end<T>(&mut self, result: Result<T>) -> Result<T> {
        let error = result.as_ref().err();
        let stopped = self.context.is_terminated();
        self.finish(error.map(Error::reason), |operation| operation.end(error, stopped));
        result
    }

    /// Passes on the rows of a statement that has started, and records their end.
    fn rows<'r>(
        mut self,
        started: Result<Box<dyn RowStream + 'r>>,
    ) -> Result<Box<dyn RowStream + 'r>> {
        match started {
            Ok(rows) => Ok(Box::new(InstrumentedRows { rows, recording: self })),
            Err(error) => self.end(Err(error)),
        }
    }

    /// Ends the operation, and logs it if it was slow.
    fn finish(
        &mut self,
        reason: Option<&str>,
        end: impl FnOnce(Operation) -> Option<OperationTiming>,
    ) {
        let Some(operation) = self.operation.take() else { return };
        let database = operation.database();
        let Some(took) = end(operation) else { return };
        let call = self.context.telemetry();
        let Some(suppressed) = call.admit_log_line("slow") else { return };
        let holder = self.context.holder();
        let ids = call.trace().ids();
        tracing::warn!(
            database = database.name(),
            statement = &*self.text,
            rpc = holder.rpc,
            caller = &*holder.caller,
            tag = &*holder.tag,
            wait_ms = milliseconds(took.waited),
            run_ms = milliseconds(took.ran),
            reason,
            trace_id = ids.as_ref().map(|ids| ids.trace_id.as_str()),
            span_id = ids.as_ref().map(|ids| ids.span_id.as_str()),
            suppressed = Some(suppressed).filter(|suppressed| *suppressed > 0),
            "slow statement"
        );
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.finish(Some(ErrorKind::Cancelled.reason()), Operation::cancelled);
    }
}

/// The summaries of a batch's statements, as far as they fit.
fn batch_text(statements: &[BatchStatement]) -> Arc<str> {
    let [first, others @ ..] = statements else { return "".into() };
    if others.is_empty() {
        return Arc::clone(&first.analysis.summary);
    }
    let mut text = first.analysis.summary.to_string();
    for BatchStatement { analysis, .. } in others {
        text.push_str("; ");
        if text.len() + analysis.summary.len() > MAX_BATCH_TEXT {
            text.push('…');
            break;
        }
        text.push_str(&analysis.summary);
    }
    text.into()
}

/// Methods of [`Backend`] that are not recorded.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $method(&self, $($argument: $type),*) -> $result {
            self.backend.$method($($argument),*)
        })*
    };
}

impl Backend for Instrumented {
    forward! {
        name() -> &'static str;
        outcome(handle: TransactionHandle, deadline: Deadline, context: Arc<CallContext>)
            -> BoxFuture<'_, Result<TransactionOutcome>>;
        stored_results(key: IdempotencyKey, deadline: Deadline, context: Arc<CallContext>)
            -> BoxFuture<'_, Result<Option<BatchResult>>>;
        copy_statement(query: &str, text: &CopyText) -> Option<String>;
        delete_expired_keys(deadline: Deadline) -> BoxFuture<'_, Result<u64>>;
        key_table_sql() -> Option<String>;
        install_keys(deadline: Deadline) -> BoxFuture<'_, Result<Installed>>;
        install_claims(settings: ClaimsSettings, deadline: Deadline) -> BoxFuture<'_, Result<usize>>;
        maintain() -> BoxFuture<'_, Result<()>>;
        maintenance() -> Option<MaintenanceState>;
        describe(request: DescribeRequest) -> BoxFuture<'_, Result<Description>>;
        await_server(deadline: Deadline, context: Arc<CallContext>)
            -> BoxFuture<'_, Result<ServerWait>>;
        listen(channels: Vec<Arc<str>>) -> Result<Subscription>;
        listeners() -> ListenCounts;
        breaker() -> &Arc<ConnectBreaker>;
        probe(limit: Duration) -> BoxFuture<'_, Result<()>>;
        warm_up(connections: usize) -> BoxFuture<'_, Result<()>>;
        engine() -> EngineInfo;
        pool() -> PoolSnapshot;
        control() -> &dyn PoolAdmin;
        close() -> ();
        closed() -> BoxFuture<'_, ()>;
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        let Statement { analysis, context, .. } = &*statement;
        let text = &analysis.summary;
        let operation = self.telemetry.statement(context.telemetry(), analysis.command, text);
        let recording = Recording::new(operation, context, text);
        Box::pin(async move { recording.rows(self.backend.execute(statement).await) })
    }

    fn execute_batch(
        &self,
        batch: Arc<Batch>,
        strategy: BatchStrategy,
    ) -> BoxFuture<'_, Result<BatchResult>> {
        let context = &batch.context;
        let text = batch_text(&batch.statements);
        let operation = match &*batch.statements {
            [one] => self.telemetry.statement(context.telemetry(), one.analysis.command, &text),
            several => self.telemetry.batch(context.telemetry(), several.len(), &text),
        };
        let mut recording = Recording::new(operation, context, &text);
        Box::pin(async move { recording.end(self.backend.execute_batch(batch, strategy).await) })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        let context = Arc::clone(&request.context);
        let text = "".into();
        let operation = self.telemetry.statement(context.telemetry(), "BEGIN", &text);
        let mut recording = Recording::new(operation, &context, &text);
        Box::pin(async move {
            let transaction = recording.end(self.backend.begin(request).await)?;
            let telemetry = Arc::clone(&self.telemetry);
            Ok(Box::new(InstrumentedTransaction { transaction, telemetry, context }) as _)
        })
    }
}

/// The rows of a statement that is recorded.
struct InstrumentedRows<'r> {
    rows: Box<dyn RowStream + 'r>,
    recording: Recording,
}

impl RowStream for InstrumentedRows<'_> {
    fn columns(&self) -> Option<&[Column]> {
        self.rows.columns()
    }

    fn decimal(&self, column: usize) -> Option<Decimal> {
        self.rows.decimal(column)
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        let filled = std::task::ready!(self.rows.poll_rows(cx, sink));
        Poll::Ready(filled.or_else(|error| self.recording.end(Err(error))))
    }

    fn finish<'a>(mut self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async move { self.recording.end(self.rows.finish().await) })
    }

    fn abandon<'a>(mut self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let outcome = self.rows.abandon().await;
            self.recording.finish(Some(ErrorKind::Cancelled.reason()), Operation::abandoned);
            outcome
        })
    }
}

/// A copy into a table that is recorded.
struct InstrumentedCopy<'c> {
    writer: Box<dyn CopyWriter + 'c>,
    recording: Recording,
}

impl CopyWriter for InstrumentedCopy<'_> {
    fn write<'w>(&'w mut self, data: CopyData) -> BoxFuture<'w, Result<bool>> {
        Box::pin(async move {
            let written = self.writer.write(data).await;
            written.or_else(|error| self.recording.end(Err(error)))
        })
    }

    fn finish<'w>(mut self: Box<Self>) -> BoxFuture<'w, Result<u64>>
    where
        Self: 'w,
    {
        Box::pin(async move { self.recording.end(self.writer.finish().await) })
    }
}

/// A transaction whose commands are recorded.
struct InstrumentedTransaction {
    transaction: Box<dyn Transaction>,
    telemetry: Arc<DatabaseTelemetry>,
    context: Arc<CallContext>,
}

impl InstrumentedTransaction {
    fn record(&self, command: &'static str, text: &Arc<str>) -> Recording {
        let operation = self.telemetry.command(self.context.telemetry(), command, text);
        Recording::new(operation, &self.context, text)
    }
}

impl Transaction for InstrumentedTransaction {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        let recording = self.record(statement.analysis.command, &statement.analysis.summary);
        Box::pin(async move { recording.rows(self.transaction.query(statement).await) })
    }

    fn batch<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<ResultSet>>> {
        let text = batch_text(&batch.statements);
        let mut recording = match &*batch.statements {
            [one] => self.record(one.analysis.command, &text),
            several => {
                let call = self.context.telemetry();
                let operation = self.telemetry.batch_command(call, several.len(), &text);
                Recording::new(operation, &self.context, &text)
            }
        };
        Box::pin(async move { recording.end(self.transaction.batch(batch).await) })
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        let mut recording = self.record("SAVEPOINT", &"".into());
        Box::pin(
            async move { recording.end(self.transaction.savepoint(command, name, deadline).await) },
        )
    }

    fn copy_in<'a>(
        &'a mut self,
        copy: Arc<CopyIn>,
    ) -> BoxFuture<'a, Result<Box<dyn CopyWriter + 'a>>> {
        let mut recording = self.record("COPY", &copy.analysis.summary);
        Box::pin(async move {
            match self.transaction.copy_in(copy).await {
                Ok(writer) => Ok(Box::new(InstrumentedCopy { writer, recording }) as _),
                Err(error) => recording.end(Err(error)),
            }
        })
    }

    fn keep_zeros(&mut self, deadline: Deadline) -> BoxFuture<'_, Result<()>> {
        self.transaction.keep_zeros(deadline)
    }

    fn store(&mut self, results: Vec<ResultSet>) {
        self.transaction.store(results);
    }

    fn is_open(&self) -> bool {
        self.transaction.is_open()
    }

    fn rolled_back_outcome(&self) -> Outcome {
        self.transaction.rolled_back_outcome()
    }

    fn outcome_behind_failure(&mut self) -> BoxFuture<'_, Outcome> {
        self.transaction.outcome_behind_failure()
    }

    fn lost(&self) -> BoxFuture<'static, Error> {
        self.transaction.lost()
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let mut recording = self.record("COMMIT", &"".into());
        Box::pin(async move { recording.end(self.transaction.commit(deadline).await) })
    }

    fn undo(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Outcome> {
        let mut recording = self.record("ROLLBACK", &"".into());
        Box::pin(async move {
            let outcome = self.transaction.undo(deadline).await;
            recording.end(Ok(())).unwrap_or_default();
            outcome
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        let mut recording = self.record("ROLLBACK", &"".into());
        Box::pin(async move {
            self.transaction.rollback().await;
            recording.end(Ok(())).unwrap_or_default();
        })
    }
}
