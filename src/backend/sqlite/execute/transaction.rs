//! An interactive transaction, as the call sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::row_stream::{Call, Running};
use super::statement_run::Ran;
use super::transaction_thread::{Task, TransactionThread};
use crate::backend::sqlite::connection::{ConnectionCheckout, Work, submit};
use crate::backend::sqlite::row_channel::{First, RowSender, lost, pipe};
use crate::backend::{
    BeginRequest, Completion, Fill, RowSink, RowStream, SavepointCommand, Statement, Transaction,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::Column;

/// Commands that may wait for the thread: one that is overdue, and the next.
const QUEUE: usize = 2;

/// How long a rollback is waited for; it goes on by itself.
const ROLLBACK_TIME: Duration = Duration::from_secs(5);

/// A transaction that holds its connection.
pub(crate) struct Open {
    tasks: SyncSender<Task>,
    open: Arc<AtomicBool>,
    /// Whether a command was dropped half-way: nobody knows how far it came.
    torn: bool,
    statement_timeout: Duration,
    statements: Arc<AtomicU64>,
}

impl Open {
    /// Opens a transaction on a connection.
    pub(crate) async fn begin(
        loan: ConnectionCheckout,
        request: BeginRequest,
        statement_timeout: Duration,
        statements: Arc<AtomicU64>,
    ) -> Result<Self> {
        let BeginRequest { key, deadline, .. } = request;
        let (tasks, queue) = sync_channel(QUEUE);
        let open = Arc::new(AtomicBool::new(false));
        let (opened, inlet) = pipe(deadline.instant());
        let hold = TransactionThread { key, tasks: queue, open: Arc::clone(&open), opened };
        submit(loan, Work::TransactionThread(hold))?;
        Call::new(inlet, deadline).end().await?;
        Ok(Self { tasks, open, torn: false, statement_timeout, statements })
    }

    fn submit(&self, task: Task) -> Result<()> {
        self.tasks.try_send(task).map_err(|_refused| {
            // The thread is gone, or has not come back from several commands.
            self.open.store(false, Ordering::Release);
            lost()
        })
    }

    async fn start(&self, statement: &Arc<Statement>) -> Result<Running> {
        let deadline = statement.deadline.within(Instant::now(), self.statement_timeout);
        self.statements.fetch_add(1, Ordering::Relaxed);
        let (outlet, inlet) = pipe(deadline.instant());
        self.submit(Task::Run(Arc::clone(statement), outlet))?;
        let mut call = Call::new(inlet, deadline);
        Ok(match call.first().await? {
            First::Rows(header) => Running::Rows { header, call },
            First::End(end) => match end? {
                Ran::Done(completion) => Running::Over { completion, writes: false },
                Ran::Writes(_) => return Err(lost()),
            },
        })
    }

    async fn command(
        &self,
        task: impl FnOnce(RowSender<()>) -> Task,
        deadline: Deadline,
    ) -> Result<()> {
        let (outlet, inlet) = pipe(deadline.instant());
        self.submit(task(outlet))?;
        Call::new(inlet, deadline).end().await
    }

    fn check_whole(&self) -> Result<()> {
        if !self.torn {
            return Ok(());
        }
        let message =
            "an earlier command was given up half-way: the transaction can only be rolled back";
        Err(Error::new(ErrorKind::TransactionAborted, message))
    }
}

impl Transaction for Open {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        Box::pin(async move {
            self.check_whole()?;
            self.torn = true;
            let started = self.start(&statement).await;
            // Until the stream is told to have ended it stays so.
            self.torn = matches!(&started, Ok(Running::Rows { .. }));
            let running = Box::new(started?);
            Ok(Box::new(Within { running, torn: &mut self.torn }) as Box<dyn RowStream + 'a>)
        })
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.check_whole()?;
            self.torn = true;
            let name = name.to_owned();
            let done =
                self.command(|outlet| Task::Savepoint(command, name, outlet), deadline).await;
            self.torn = false;
            done
        })
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            if let Err(error) = self.check_whole() {
                self.rollback().await;
                return Err(error);
            }
            let (outlet, inlet) = pipe(deadline.instant());
            self.submit(Task::Commit(outlet))?;
            Call::new(inlet.let_finish(), deadline).end().await
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let deadline = Deadline::at(Instant::now() + ROLLBACK_TIME);
            // When it cannot be told, the end of `tasks` tells the thread.
            drop(self.command(Task::Rollback, deadline).await);
        })
    }
}

/// A statement that runs in a transaction.
struct Within<'a> {
    running: Box<Running>,
    torn: &'a mut bool,
}

impl RowStream for Within<'_> {
    fn columns(&self) -> Option<&[Column]> {
        self.running.columns()
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        let polled = self.running.poll_rows(cx, sink);
        if let Poll::Ready(Err(_)) = &polled {
            *self.torn = false;
        }
        polled
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let Self { running, torn } = *self;
            let end = running.finish().await;
            *torn = false;
            end
        })
    }

    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let Self { running, torn } = *self;
            // A write is run to its end: SQLite rolls the transaction back when one is interrupted.
            running.abandon().await;
            *torn = false;
            Outcome::NotApplied
        })
    }
}
