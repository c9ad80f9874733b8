//! A backend whose work telemetry sees: every statement, batch, transaction and commit, from when it has its connection
//! to its end.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{
    Backend, Batch, BatchResult, BeginRequest, Completion, DescribeRequest, Description, Fill,
    Gate, Installed, RowSink, RowStream, SavepointCommand, Statement, Transaction, UnitHandle,
    UnitState,
};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::pool::{Borrower, Control, PoolSnapshot};
use crate::telemetry::{Database, Operation};
use crate::value::Column;

/// A backend, and what records for its database.
pub struct Observed {
    backend: Arc<dyn Backend>,
    telemetry: Arc<Database>,
}

impl Observed {
    /// The same backend, seen by telemetry.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, telemetry: Arc<Database>) -> Self {
        Self { backend, telemetry }
    }
}

/// Something that runs, and for whom.
struct Work {
    operation: Operation,
    borrower: Arc<Borrower>,
    text: Arc<str>,
}

impl Work {
    /// Hands on how it ended.
    fn ended<T>(self, result: Result<T>) -> Result<T> {
        let Self { operation, borrower, text } = self;
        let database = operation.database();
        let stopped = borrower.is_terminated();
        if let Some(took) = operation.end(result.as_ref().err(), stopped)
            && let Some(unsaid) = borrower.call().may_tell("slow")
        {
            let holder = borrower.holder();
            let ids = borrower.call().ids().unwrap_or_default();
            tracing::warn!(
                database = database.name(),
                statement = &*text,
                rpc = holder.rpc,
                caller = holder.caller,
                tag = holder.tag,
                wait_ms = milliseconds(took.waited),
                run_ms = milliseconds(took.ran),
                reason = result.as_ref().err().map(Error::reason),
                trace_id = ids.trace_id,
                span_id = ids.span_id,
                unsaid,
                "slow statement"
            );
        }
        result
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Backend for Observed {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        let Statement { analysis, borrower, .. } = &*statement;
        let (borrower, text) = (Arc::clone(borrower), Arc::clone(&analysis.summary));
        let operation = self.telemetry.statement(borrower.call(), analysis.command, &text);
        let work = Work { operation, borrower, text };
        Box::pin(async move {
            match self.backend.execute(statement).await {
                Ok(rows) => Ok(Box::new(Rows { rows, work: Some(work) }) as Box<dyn RowStream>),
                Err(error) => work.ended(Err(error)),
            }
        })
    }

    fn execute_batch(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
        let text = batch.statements.first().map(|first| Arc::clone(&first.analysis.summary));
        let (borrower, text) = (Arc::clone(&batch.borrower), text.unwrap_or_else(|| "".into()));
        let operation = self.telemetry.batch(borrower.call(), batch.statements.len(), &text);
        let work = Work { operation, borrower, text };
        Box::pin(async move { work.ended(self.backend.execute_batch(batch).await) })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        let (borrower, text): (_, Arc<str>) = (Arc::clone(&request.borrower), "".into());
        let operation = self.telemetry.statement(borrower.call(), "BEGIN", &text);
        let work = Work { operation, borrower: Arc::clone(&borrower), text };
        Box::pin(async move {
            let open = work.ended(self.backend.begin(request).await)?;
            let telemetry = Arc::clone(&self.telemetry);
            Ok(Box::new(Open { open, telemetry, borrower }) as Box<dyn Transaction>)
        })
    }

    fn outcome(
        &self,
        handle: UnitHandle,
        deadline: Deadline,
        borrower: Arc<Borrower>,
    ) -> BoxFuture<'_, Result<UnitState>> {
        self.backend.outcome(handle, deadline, borrower)
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

    fn gate(&self) -> &Arc<Gate> {
        self.backend.gate()
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

    fn control(&self) -> &dyn Control {
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
                work.operation.abandoned();
            }
            outcome
        })
    }
}

/// A transaction that is seen.
struct Open {
    open: Box<dyn Transaction>,
    telemetry: Arc<Database>,
    borrower: Arc<Borrower>,
}

impl Open {
    fn work(&self, command: &'static str, text: &Arc<str>) -> Work {
        let operation = self.telemetry.command(self.borrower.call(), command, text);
        Work { operation, borrower: Arc::clone(&self.borrower), text: Arc::clone(text) }
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
