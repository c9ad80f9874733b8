//! An interactive transaction, as the call sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::row_stream::{PendingJob, SqliteRowStream};
use super::transaction_thread::{Command, TransactionThread, transaction_job};
use crate::backend::sqlite::connection::{ConnectionCheckout, submit};
use crate::backend::sqlite::row_channel::{RowReceiver, RowSender, connection_lost, row_channel};
use crate::backend::{BeginRequest, RowStream, SavepointCommand, Statement, Transaction};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// The commands that may wait for the thread: one that is overdue, and the next.
const QUEUE: usize = 2;

/// The time that a rollback is waited for; it goes on by itself.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// A transaction with a connection of its own.
pub(crate) struct SqliteTransaction {
    commands: SyncSender<Command>,
    open: Arc<AtomicBool>,
    /// True while a command runs, and for good once one was dropped: its progress is unknown.
    interrupted: bool,
    statement_timeout: Duration,
    statements: Arc<AtomicU64>,
}

impl SqliteTransaction {
    /// Begins a transaction on a connection.
    pub(crate) async fn begin(
        checkout: ConnectionCheckout,
        request: BeginRequest,
        statement_timeout: Duration,
        statements: Arc<AtomicU64>,
    ) -> Result<Self> {
        let BeginRequest { key, deadline, .. } = request;
        let (commands, queue) = sync_channel(QUEUE);
        let open = Arc::new(AtomicBool::new(false));
        let (opened, receiver) = row_channel(deadline.instant());
        let thread = TransactionThread { commands: queue, open: Arc::clone(&open) };
        submit(checkout, transaction_job(thread, key, opened))?;
        PendingJob::new(receiver, deadline).end().await?;
        Ok(Self { commands, open, interrupted: false, statement_timeout, statements })
    }

    fn send<T>(
        &self,
        command: impl FnOnce(RowSender<T>) -> Command,
        deadline: Deadline,
    ) -> Result<RowReceiver<T>> {
        let (sender, receiver) = row_channel(deadline.instant());
        self.commands.try_send(command(sender)).map_err(|_error| {
            // The thread has ended, or is late with several commands.
            self.open.store(false, Ordering::Release);
            connection_lost()
        })?;
        Ok(receiver)
    }

    async fn start(&self, statement: Arc<Statement>) -> Result<SqliteRowStream<'static>> {
        let deadline = statement.deadline.within(Instant::now(), self.statement_timeout);
        self.statements.fetch_add(1, Ordering::Relaxed);
        let receiver = self.send(|sender| Command::Run(statement, sender), deadline)?;
        let job = PendingJob::new(receiver, deadline);
        let started = SqliteRowStream::start(job, Outcome::NotApplied).await?;
        started.ok_or_else(connection_lost)
    }

    fn check_uninterrupted(&self) -> Result<()> {
        if !self.interrupted {
            return Ok(());
        }
        let message = "an earlier command was interrupted: the transaction can only be rolled back";
        Err(Error::new(ErrorKind::TransactionAborted, message))
    }
}

impl Transaction for SqliteTransaction {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        Box::pin(async move {
            self.check_uninterrupted()?;
            self.interrupted = true;
            let started = self.start(statement).await;
            self.interrupted = false;
            Ok(Box::new(started?.within(&mut self.interrupted)) as Box<dyn RowStream + 'a>)
        })
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.check_uninterrupted()?;
            self.interrupted = true;
            let name = name.to_owned();
            let command = |sender| Command::Savepoint(command, name, sender);
            let done = match self.send(command, deadline) {
                Ok(receiver) => PendingJob::new(receiver, deadline).end().await,
                Err(error) => Err(error),
            };
            self.interrupted = false;
            done
        })
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            if let Err(error) = self.check_uninterrupted() {
                self.rollback().await;
                return Err(error);
            }
            let receiver = self.send(Command::Commit, deadline)?.let_finish();
            PendingJob::new(receiver, deadline).end().await
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let deadline = Deadline::at(Instant::now() + ROLLBACK_TIMEOUT);
            // When it cannot be sent, the thread rolls back at the end of `commands`.
            if let Ok(receiver) = self.send(Command::Rollback, deadline) {
                drop(PendingJob::new(receiver, deadline).end().await);
            }
        })
    }
}
