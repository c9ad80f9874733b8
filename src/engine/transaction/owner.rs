//! The task that owns a transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, timeout_at};

use super::begin::Limits;
use super::{Incoming, Reply, ReplyBody};
use crate::backend::{SavepointCommand, Transaction};
use crate::config::Planted;
use crate::engine::{Caller, Database, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Borrower;
use crate::value::proto::transact_request::Command;
use crate::value::proto::{Begin, TransactRequest};

/// How long the caller may take to close its side once the transaction is over.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest name of a savepoint, in bytes (PostgreSQL, NAMEDATALEN).
const MAX_NAME: usize = 63;

/// The owner of one transaction.
pub(super) struct Owner {
    pub(super) engine: Arc<Engine>,
    incoming: Receiver<Incoming>,
    pub(super) replies: Sender<Reply>,
    caller: Caller,
    sequence: u32,
}

/// What a transaction that is open goes by.
pub(super) struct Open<'a> {
    pub(super) database: &'a Database,
    pub(super) transaction: Box<dyn Transaction>,
    pub(super) limits: Limits,
    /// Whether a statement failed: nothing but a rollback is possible.
    pub(super) aborted: bool,
    pub(super) borrower: Arc<Borrower>,
    _share: OwnedSemaphorePermit,
}

/// How a command leaves its transaction.
enum Next {
    /// Open.
    Open,
    /// Over, as it was told.
    Over,
}

impl Owner {
    pub(super) fn new(
        engine: Arc<Engine>,
        incoming: Receiver<Incoming>,
        replies: Sender<Reply>,
        caller: Caller,
    ) -> Self {
        Self { engine, incoming, replies, caller, sequence: 0 }
    }

    /// Serves the transaction until it is over.
    pub(super) async fn serve(mut self) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let replies = self.replies.clone();
        let opening = async {
            let begin = self.first().await?;
            let open = self.open(&engine, &begin).await?;
            self.reply(ReplyBody::Begun, open.limits).await?;
            Ok::<_, Error>(open)
        };
        let mut open = tokio::select! {
            opened = opening => opened?,
            () = replies.closed() => return Err(gone()),
        };
        loop {
            // What was sent before the server began to drain is still done.
            let request = tokio::select! {
                biased;
                request = self.next(open.limits.idle_timeout, open.limits) => request?,
                () = replies.closed() => return Err(gone()),
                () = engine.drained() => return Err(draining()),
                () = open.borrower.terminated() => return Err(open.borrower.stopped()),
            };
            open = match self.command(request, open).await? {
                (Next::Open, Some(open)) => open,
                (Next::Open | Next::Over, _) => return self.farewell().await,
            };
        }
    }

    /// The first command, which opens the transaction.
    async fn first(&mut self) -> Result<Begin> {
        let wait = self.engine.stall_timeout;
        let limits = Limits {
            idle_timeout: wait,
            end: std::time::Instant::now() + wait,
            end_is_the_callers: false,
        };
        match self.next(wait, limits).await?.command {
            Some(Command::Begin(begin)) => Ok(begin),
            Some(_) | None => Err(out_of_place("the first command must be begin")),
        }
    }

    async fn open<'a>(&mut self, engine: &'a Engine, begin: &Begin) -> Result<Open<'a>> {
        let database = engine.database(&begin.database)?;
        let (request, limits) = database.admit_begin(begin, &self.caller)?;
        let share = database.transaction_share(request.deadline).await?;
        let borrower = Arc::clone(&request.borrower);
        let begun = database.backend.begin(request).await;
        let transaction = begun.map_err(|error| borrower.explain(error))?;
        Ok(Open { database, transaction, limits, aborted: false, borrower, _share: share })
    }

    /// The next command; an error when there is none, or not in time.
    async fn next(&mut self, idle_timeout: Duration, limits: Limits) -> Result<TransactRequest> {
        let idle = Instant::now() + idle_timeout;
        let end = Instant::from_std(limits.end);
        let Ok(incoming) = timeout_at(idle.min(end), self.incoming.recv()).await else {
            return Err(if end <= idle { overdue(limits) } else { silent(idle_timeout) });
        };
        let request = match incoming {
            Some(Incoming::Command(request)) => request,
            Some(Incoming::HalfClosed) => return Err(not_committed()),
            Some(Incoming::Gone) | None => return Err(gone()),
        };
        if request.sequence <= self.sequence {
            let description = "a sequence must be greater than the one before, from 1";
            return Err(Error::field(ErrorKind::InvalidCommand, "sequence", description));
        }
        self.sequence = request.sequence;
        Ok(request)
    }

    async fn command<'a>(
        &mut self,
        request: TransactRequest,
        mut open: Open<'a>,
    ) -> Result<(Next, Option<Open<'a>>)> {
        let (replies, borrower) = (self.replies.clone(), Arc::clone(&open.borrower));
        match request.command {
            Some(Command::Commit(_)) => {
                return self.commit(open).await.map(|()| (Next::Over, None));
            }
            Some(Command::Rollback(_)) => {
                let limits = open.limits;
                open.transaction.rollback().await;
                self.reply(ReplyBody::RolledBack, limits).await?;
                return Ok((Next::Over, None));
            }
            Some(Command::Begin(_)) => return Err(out_of_place("begin must be the first command")),
            None => return Err(out_of_place("no command is set")),
            Some(
                Command::Query(_)
                | Command::Savepoint(_)
                | Command::RollbackTo(_)
                | Command::Release(_),
            ) => {}
        }
        let done = tokio::select! {
            done = self.work(request, &mut open) => done,
            () = replies.closed() => return Err(gone()),
            // Dropped, the statement is cancelled and the transaction rolled back.
            () = borrower.terminated() => return Err(borrower.stopped()),
        };
        match done {
            Ok(()) => {}
            Err(Broken::Command(error)) if open.transaction.is_open() => {
                open.aborted = true;
                self.reply(ReplyBody::Failed(error), open.limits).await?;
            }
            Err(Broken::Command(error) | Broken::Stream(error)) => return Err(error),
        }
        Ok((Next::Open, Some(open)))
    }

    /// Does what leaves the transaction open.
    async fn work(&mut self, request: TransactRequest, open: &mut Open<'_>) -> Result<(), Broken> {
        let (command, name) = match request.command {
            Some(Command::Query(query)) => {
                if open.aborted {
                    return Err(Broken::Command(aborted()));
                }
                return self.query(query, open).await;
            }
            Some(Command::Savepoint(savepoint)) => (SavepointCommand::Set, savepoint.name),
            Some(Command::RollbackTo(to)) => (SavepointCommand::RollbackTo, to.name),
            Some(Command::Release(release)) => (SavepointCommand::Release, release.name),
            Some(Command::Begin(_) | Command::Commit(_) | Command::Rollback(_)) | None => {
                return Err(Broken::Command(out_of_place("this is no command for here")));
            }
        };
        check_name(&name).map_err(Broken::Command)?;
        if open.aborted && command != SavepointCommand::RollbackTo {
            return Err(Broken::Command(aborted()));
        }
        let deadline = open.database.command_deadline(None, open.limits);
        let done = open.transaction.savepoint(command, &name, deadline).await;
        done.map_err(Broken::Command)?;
        open.aborted = false;
        self.reply(ReplyBody::Done, open.limits).await.map_err(Broken::Stream)
    }

    /// Commits; nothing that happens to the caller ends this early.
    async fn commit(&mut self, open: Open<'_>) -> Result<()> {
        let Open { database, transaction, limits, aborted: failed, .. } = open;
        if failed && !Planted::IgnoredTag.is_there() {
            transaction.rollback().await;
            return Err(aborted());
        }
        transaction.commit(database.command_deadline(None, limits)).await?;
        self.reply(ReplyBody::Committed, limits).await
    }

    /// Waits a moment for the caller to close its side: a commit that it has heard of is no error.
    async fn farewell(&mut self) -> Result<()> {
        let until = Instant::now() + FAREWELL;
        let Ok(incoming) = timeout_at(until, self.incoming.recv()).await else { return Ok(()) };
        match incoming {
            Some(Incoming::Command(_)) => Err(out_of_place("the transaction is over")),
            Some(Incoming::HalfClosed | Incoming::Gone) | None => Ok(()),
        }
    }

    /// Sends a reply, while the caller takes some.
    pub(super) async fn reply(&self, body: ReplyBody, limits: Limits) -> Result<()> {
        let reply = Reply { sequence: self.sequence, body };
        let stall = self.engine.stall_timeout;
        let until = (Instant::now() + stall).min(Instant::from_std(limits.end));
        match timeout_at(until, self.replies.send(reply)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(gone()),
            Err(_elapsed) if std::time::Instant::now() >= limits.end => Err(overdue(limits)),
            Err(_elapsed) => {
                let limit = humantime::format_duration(stall);
                let message = format!("the caller took no reply for {limit}");
                Err(Error::new(ErrorKind::StreamStalled, message))
            }
        }
    }
}

/// How a command failed.
pub(super) enum Broken {
    /// By itself: the caller gets a reply, and the stream stays open while the transaction does.
    Command(Error),
    /// With the stream.
    Stream(Error),
}

fn check_name(name: &str) -> Result<()> {
    if (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0') {
        return Ok(());
    }
    let description = "a savepoint's name has 1 to 63 bytes, and no NUL";
    Err(Error::field(ErrorKind::InvalidParameter, "name", description))
}

fn out_of_place(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidCommand, message)
        .with_hint("A transaction is begin, any commands, then commit or rollback.")
}

fn aborted() -> Error {
    let message = "the transaction is aborted: an earlier command failed";
    Error::new(ErrorKind::TransactionAborted, message)
        .with_hint("Send rollback, or rollback_to with a savepoint set before.")
}

fn not_committed() -> Error {
    let message = "the stream was closed without commit or rollback, and was rolled back";
    Error::new(ErrorKind::NotCommitted, message).with_hint(
        "Send commit before you close your side; some clients close it when their iterator ends.",
    )
}

fn gone() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller has gone, and its transaction was rolled back")
}

fn draining() -> Error {
    Error::new(
        ErrorKind::ShuttingDown,
        "the server is shutting down; the transaction was rolled back",
    )
    .with_retry_after(Duration::from_millis(100))
}

fn silent(limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    Error::new(ErrorKind::IdleInTransactionTimeout, format!("no command came for {limit}"))
        .with_retry_after(Duration::from_millis(100))
}

fn overdue(limits: Limits) -> Error {
    if limits.end_is_the_callers {
        return Error::new(ErrorKind::DeadlineExceeded, "the deadline passed in the transaction");
    }
    Error::new(ErrorKind::TransactionTimeout, "the transaction took longer than its max_duration")
}
