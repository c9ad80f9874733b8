//! An interactive transaction: as the call sees it, and on its connection's thread, which takes one command
//! after the other until the transaction ends, or its caller drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::row_stream::{PendingJob, SqliteRowStream};
use super::statement_run::{Access, run_in_transaction};
use crate::backend::batch_in_transaction::one_by_one;
use crate::backend::copy::{CopyIn, CopyWriter};
use crate::backend::idempotency::applied_before;
use crate::backend::inserts::InsertWriter;
use crate::backend::sqlite::connection::{
    CheckoutSlot, ConnectionCheckout, GiveUp, ThreadWatch, Work, answer, finish, release,
    run_armed, submit,
};
use crate::backend::sqlite::idempotency::{claim, store};
use crate::backend::sqlite::row_channel::{RowReceiver, RowSender, connection_lost, row_channel};
use crate::backend::sqlite::session::{Role, Session};
use crate::backend::{
    Batch, BeginRequest, Completion, IdempotencyKey, RowStream, SavepointCommand, Statement,
    Transaction,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::CloseReason;
use crate::value::proto::ResultSet;

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
    key: Option<IdempotencyKey>,
    /// The results to store under the key; empty for none.
    stored: Vec<ResultSet>,
    _watch: Option<ThreadWatch>,
}

/// The parts of a database that its transactions use.
pub(crate) struct TransactionSettings {
    pub(crate) role: Role,
    pub(crate) statement_timeout: Duration,
    pub(crate) give_up: GiveUp,
}

impl SqliteTransaction {
    /// Begins a transaction on a connection.
    pub(crate) async fn begin(
        checkout: ConnectionCheckout,
        request: BeginRequest,
        settings: TransactionSettings,
    ) -> Result<Self> {
        let BeginRequest { key, deadline, .. } = request;
        let (commands, queue) = sync_channel(QUEUE);
        let open = Arc::new(AtomicBool::new(false));
        let (opened, receiver) = row_channel(deadline.instant());
        let thread = TransactionThread { commands: queue, open: Arc::clone(&open) };
        let slot = submit(checkout, transaction_job(thread, key.clone(), opened))?;
        let TransactionSettings { role, statement_timeout, give_up } = settings;
        let _watch = ThreadWatch::new(slot, role, &give_up);
        PendingJob::new(receiver, deadline).end().await?;
        let stored = Vec::new();
        Ok(Self { commands, open, interrupted: false, statement_timeout, key, stored, _watch })
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

    fn batch<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<ResultSet>>> {
        Box::pin(one_by_one(self, batch))
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

    fn copy_in<'a>(
        &'a mut self,
        copy: Arc<CopyIn>,
    ) -> BoxFuture<'a, Result<Box<dyn CopyWriter + 'a>>> {
        Box::pin(async move { Ok(Box::new(InsertWriter::start(self, copy).await?) as _) })
    }

    fn store(&mut self, results: Vec<ResultSet>) {
        self.stored = results;
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    fn lost(&self) -> BoxFuture<'static, Error> {
        Box::pin(std::future::pending())
    }

    fn commit(mut self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            if let Err(error) = self.check_uninterrupted() {
                self.rollback().await;
                return Err(error);
            }
            let results = std::mem::take(&mut self.stored);
            let stored = self.key.take().filter(|_| !results.is_empty());
            let stored = stored.map(|key| StoredResults { key, results });
            let commit = |sender| Command::Commit(stored, sender);
            let receiver = self.send(commit, deadline)?.let_finish();
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

/// A command to the thread of a transaction, and the sender of its result.
enum Command {
    /// Runs a statement.
    Run(Arc<Statement>, RowSender<Option<Completion>>),
    /// Sets, rolls back to or releases a savepoint.
    Savepoint(SavepointCommand, String, RowSender<()>),
    /// Stores results, if there are any, then commits and ends the transaction.
    Commit(Option<StoredResults>, RowSender<()>),
    /// Rolls back and ends the transaction.
    Rollback(RowSender<()>),
}

/// Results that are stored under the key of a transaction.
struct StoredResults {
    key: IdempotencyKey,
    results: Vec<ResultSet>,
}

/// The thread's side of a transaction.
struct TransactionThread {
    commands: Receiver<Command>,
    /// True while the transaction is open; set before any answer.
    open: Arc<AtomicBool>,
}

/// A job that begins a transaction under a key, if there is one, and serves it.
fn transaction_job(
    thread: TransactionThread,
    key: Option<IdempotencyKey>,
    opened: RowSender<()>,
) -> Work {
    Box::new(move |session, checkout| {
        match run_armed(session, &opened, |session| begin(session, key.as_ref())) {
            Ok(Ok(())) => {
                thread.open.store(true, Ordering::Release);
                opened.end(Ok(()));
                thread.serve(session, &checkout)
            }
            failed => finish(session, &checkout, &opened, failed),
        }
    })
}

impl TransactionThread {
    /// Serves the transaction. Returns true if the connection is still usable.
    fn serve(self, session: &mut Session, checkout: &CheckoutSlot) -> bool {
        // When the caller drops the transaction, the reset rolls it back.
        while let Ok(command) = self.commands.recv() {
            let usable = match command {
                Command::Run(sent, sender) => self.run(session, &sender, |session| {
                    let access = Access::of(sent.read_only);
                    let rows = &mut &sender;
                    run_in_transaction(session, &sent.sql, &sent.parameters, access, rows).map(Some)
                }),
                Command::Savepoint(command, name, sender) => {
                    self.run(session, &sender, |session| savepoint(session, command, &name))
                }
                Command::Commit(stored, sender) => {
                    self.open.store(false, Ordering::Release);
                    let committed = run_armed(session, &sender, |session| {
                        if let Some(StoredResults { key, results }) = stored {
                            store(session, &key, &results)?;
                        }
                        session.commit(&sender)
                    });
                    return finish(session, checkout, &sender, committed);
                }
                Command::Rollback(sender) => {
                    self.open.store(false, Ordering::Release);
                    return finish(session, checkout, &sender, Ok(Ok(())));
                }
            };
            if !usable {
                return release(checkout, Some(CloseReason::Broken));
            }
        }
        release(checkout, session.reset(None))
    }

    /// Runs and answers a command after which the transaction may go on; returns true if it may.
    fn run<T: Send + 'static>(
        &self,
        session: &mut Session,
        sender: &RowSender<T>,
        work: impl FnOnce(&mut Session) -> Result<T>,
    ) -> bool {
        let result = run_armed(session, sender, work);
        let usable = result.is_ok();
        self.open.store(usable && !session.connection.is_autocommit(), Ordering::Release);
        sender.end(answer(result));
        usable
    }
}

/// Begins a transaction under a key, if there is one.
fn begin(session: &Session, key: Option<&IdempotencyKey>) -> Result<()> {
    session.begin()?;
    if let Some(key) = key
        && let Some(claimed) = claim(session, key)?
    {
        claimed.check(key)?;
        return Err(applied_before());
    }
    Ok(())
}

fn savepoint(session: &Session, command: SavepointCommand, name: &str) -> Result<()> {
    // SAVEPOINT would begin a transaction.
    session.check_open()?;
    let verb = match command {
        SavepointCommand::Set => "SAVEPOINT",
        SavepointCommand::RollbackTo => "ROLLBACK TO",
        SavepointCommand::Release => "RELEASE",
    };
    session.control(&format!("{verb} {}", identifier(name))).map_err(|error| {
        if error.kind() != ErrorKind::InvalidStatement {
            return error;
        }
        // Nothing else can be wrong with it; the condition has PostgreSQL's name.
        let message = format!("there is no savepoint \"{name}\"");
        Error::new(ErrorKind::InvalidStatement, message)
            .with_condition("INVALID_SAVEPOINT_SPECIFICATION")
            .with_cause(error)
    })
}

/// A savepoint's name as SQL, in hexadecimal: SQLite takes `A` for `a`, even between quotes.
fn identifier(name: &str) -> String {
    use std::fmt::Write as _;
    let mut identifier = String::with_capacity(2 + 2 * name.len());
    identifier.push('s');
    for byte in name.bytes() {
        write!(identifier, "{byte:02x}").expect("a string takes everything");
    }
    identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_are_different_savepoints() {
        assert_eq!(identifier("A\"; b"), "s41223b2062");
        assert_ne!(identifier("a").to_ascii_lowercase(), identifier("A").to_ascii_lowercase());
    }
}
