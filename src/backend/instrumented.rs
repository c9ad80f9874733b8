//! A backend whose work telemetry sees: every statement, batch, transaction and commit, from when it has its connection
//! to its end.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{
    Backend, Batch, BatchResult, BatchStatement, BeginRequest, Completion, ConnectBreaker,
    DescribeRequest, Description, Fill, Installed, RowSink, RowStream, SavepointCommand, Statement,
    Transaction, TransactionHandle, TransactionOutcome,
};
use crate::clock::milliseconds;
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};
use crate::telemetry::{DatabaseTelemetry, Operation, OperationTiming};
use crate::value::Column;

/// How long the text of a batch gets, in bytes, before it is cut.
const LONGEST_BATCH: usize = 500;

/// A backend, and what records for its database.
pub struct Instrumented {
    backend: Arc<dyn Backend>,
    telemetry: Arc<DatabaseTelemetry>,
}

impl Instrumented {
    /// The same backend, seen by telemetry.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, telemetry: Arc<DatabaseTelemetry>) -> Self {
        Self { backend, telemetry }
    }
}

/// Something that runs, and for whom. Dropped, its caller has gone.
struct Work {
    /// Until it has ended.
    operation: Option<Operation>,
    context: Arc<CallContext>,
    text: Arc<str>,
}

impl Work {
    fn new(operation: Operation, context: &Arc<CallContext>, text: &Arc<str>) -> Self {
        let operation = Some(operation);
        Self { operation, context: Arc::clone(context), text: Arc::clone(text) }
    }

    /// Hands on how it ended.
    fn ended<T>(mut self, result: Result<T>) -> Result<T> {
        let (error, stopped) = (result.as_ref().err(), self.context.is_terminated());
        let reason = error.map(Error::reason);
        self.finish(reason, |operation| operation.end(error, stopped));
        result
    }

    fn abandoned(mut self) {
        self.finish(Some(GIVEN_UP), Operation::abandoned);
    }

    fn finish(
        &mut self,
        reason: Option<&str>,
        end: impl FnOnce(Operation) -> Option<OperationTiming>,
    ) {
        let Some(operation) = self.operation.take() else { return };
        let database = operation.database();
        if let Some(took) = end(operation) {
            self.tell(database.name(), reason, took);
        }
    }

    /// Logs that it was slow.
    fn tell(&self, database: &str, reason: Option<&str>, took: OperationTiming) {
        let call = self.context.telemetry();
        let Some(unsaid) = call.admit_log_line("slow") else { return };
        let (holder, ids) = (self.context.holder(), call.ids());
        tracing::warn!(
            database,
            statement = &*self.text,
            rpc = holder.rpc,
            caller = holder.caller,
            tag = holder.tag,
            wait_ms = milliseconds(took.waited),
            run_ms = milliseconds(took.ran),
            reason,
            trace_id = ids.as_ref().map(|ids| ids.trace_id.as_str()),
            span_id = ids.as_ref().map(|ids| ids.span_id.as_str()),
            unsaid = Some(unsaid).filter(|unsaid| *unsaid > 0),
            "slow statement"
        );
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.finish(Some(GIVEN_UP), Operation::cancelled);
    }
}

/// The reason of what is ended for the sake of nobody.
const GIVEN_UP: &str = "CANCELLED";

/// The statements of a batch in short, as far as they fit.
fn text_of(statements: &[BatchStatement]) -> Arc<str> {
    let [first, others @ ..] = statements else { return "".into() };
    if others.is_empty() {
        return Arc::clone(&first.analysis.summary);
    }
    let mut text = first.analysis.summary.to_string();
    for BatchStatement { analysis, .. } in others {
        text.push_str("; ");
        if text.len() + analysis.summary.len() > LONGEST_BATCH {
            text.push('…');
            break;
        }
        text.push_str(&analysis.summary);
    }
    text.into()
}

impl Backend for Instrumented {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        let Statement { analysis, context, .. } = &*statement;
        let (context, text) = (Arc::clone(context), Arc::clone(&analysis.summary));
        let operation = self.telemetry.statement(context.telemetry(), analysis.command, &text);
        let work = Work::new(operation, &context, &text);
        Box::pin(async move {
            match self.backend.execute(statement).await {
                Ok(rows) => Ok(Box::new(Rows { rows, work: Some(work) }) as Box<dyn RowStream>),
                Err(error) => work.ended(Err(error)),
            }
        })
    }

    fn execute_batch(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
        let (context, text) = (Arc::clone(&batch.context), text_of(&batch.statements));
        let operation = match &*batch.statements {
            [one] => self.telemetry.statement(context.telemetry(), one.analysis.command, &text),
            several => self.telemetry.batch(context.telemetry(), several.len(), &text),
        };
        let work = Work::new(operation, &context, &text);
        Box::pin(async move { work.ended(self.backend.execute_batch(batch).await) })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        let (context, text): (_, Arc<str>) = (Arc::clone(&request.context), "".into());
        let operation = self.telemetry.statement(context.telemetry(), "BEGIN", &text);
        let work = Work::new(operation, &context, &text);
        Box::pin(async move {
            let open = work.ended(self.backend.begin(request).await)?;
            let telemetry = Arc::clone(&self.telemetry);
            Ok(Box::new(Open { open, telemetry, context }) as Box<dyn Transaction>)
        })
    }

    fn outcome(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>> {
        self.backend.outcome(handle, deadline, context)
    }

    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        self.backend.delete_expired_keys(deadline)
    }

    fn key_table_sql(&self) -> Option<String> {
        self.backend.key_table_sql()
    }

    fn install_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<Installed>> {
        self.backend.install_keys(deadline)
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        self.backend.describe(request)
    }

    fn breaker(&self) -> &Arc<ConnectBreaker> {
        self.backend.breaker()
    }

    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>> {
        self.backend.probe(limit)
    }

    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>> {
        self.backend.warm_up(connections)
    }

    fn pool(&self) -> PoolSnapshot {
        self.backend.pool()
    }

    fn control(&self) -> &dyn PoolAdmin {
        self.backend.control()
    }

    fn close(&self) {
        self.backend.close();
    }

    fn closed(&self) -> BoxFuture<'_, ()> {
        self.backend.closed()
    }
}

/// The rows of a statement that is seen.
struct Rows<'r> {
    rows: Box<dyn RowStream + 'r>,
    /// Until it has ended.
    work: Option<Work>,
}

impl RowStream for Rows<'_> {
    fn columns(&self) -> Option<&[Column]> {
        self.rows.columns()
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        let filled = std::task::ready!(self.rows.poll_rows(cx, sink));
        Poll::Ready(match (filled, &mut self.work) {
            (Err(error), work) => match work.take() {
                Some(work) => work.ended(Err(error)),
                None => Err(error),
            },
            (filled, _) => filled,
        })
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let ended = self.rows.finish().await;
            match self.work {
                Some(work) => work.ended(ended),
                None => ended,
            }
        })
    }

    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let outcome = self.rows.abandon().await;
            if let Some(work) = self.work {
                work.abandoned();
            }
            outcome
        })
    }
}

/// A transaction that is seen.
struct Open {
    open: Box<dyn Transaction>,
    telemetry: Arc<DatabaseTelemetry>,
    context: Arc<CallContext>,
}

impl Open {
    fn work(&self, command: &'static str, text: &Arc<str>) -> Work {
        let operation = self.telemetry.command(self.context.telemetry(), command, text);
        Work::new(operation, &self.context, text)
    }
}

impl Transaction for Open {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        let work = self.work(statement.analysis.command, &statement.analysis.summary);
        Box::pin(async move {
            match self.open.query(statement).await {
                Ok(rows) => {
                    Ok(Box::new(Rows { rows, work: Some(work) }) as Box<dyn RowStream + 'a>)
                }
                Err(error) => work.ended(Err(error)),
            }
        })
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        let work = self.work("SAVEPOINT", &"".into());
        Box::pin(async move { work.ended(self.open.savepoint(command, name, deadline).await) })
    }

    fn is_open(&self) -> bool {
        self.open.is_open()
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let work = self.work("COMMIT", &"".into());
        Box::pin(async move { work.ended(self.open.commit(deadline).await) })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        let work = self.work("ROLLBACK", &"".into());
        Box::pin(async move {
            self.open.rollback().await;
            work.ended(Ok(())).unwrap_or_default();
        })
    }
}
