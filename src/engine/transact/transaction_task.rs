//! The task that owns a transaction.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc::Sender;
use tokio::time::timeout_at;

use super::begin::{OpenTransaction, begin};
use super::errors::{
    CommandError, aborted, check_name, disconnected, draining, idle, invalid_command,
    not_committed, stalled,
};
use super::limits::TransactionLimits;
use super::replies::{CallerEvent, CallerEvents, Replies, ReplyBody, TransactReply};
use super::{run_batch, run_statement};
use crate::access::{Identity, revoked_error};
use crate::backend::SavepointCommand::{self, Release, RollbackTo, Set};
use crate::backend::rolled_back;
use crate::clock::now;
use crate::engine::database::Caller;
use crate::engine::databases::Engine;
use crate::engine::task_stream::SendFailure;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::CallContext;
use crate::value::proto::transact_request::Command;
use crate::value::proto::{
    Begun, Committed, Done, RolledBack, TransactBatch, TransactBatchResult, TransactQuery,
};

pub(super) struct TransactionTask {
    pub(super) engine: Arc<Engine>,
    pub(super) replies: Replies,
    pub(super) caller: Caller,
    /// The limits of the stream before `begin`.
    pub(super) stream_limits: TransactionLimits,
}

/// A command that leaves the transaction open, unless it fails.
enum InnerCommand {
    Query(TransactQuery),
    Batch(TransactBatch),
    Savepoint(SavepointCommand, String),
}

/// The events that end a stream at any time, except during a COMMIT.
struct Interrupts {
    engine: Arc<Engine>,
    replies: Sender<TransactReply>,
    /// The context by which an operator can end the transaction; `None` before it is open.
    context: Option<Arc<CallContext>>,
    identity: Arc<Identity>,
}

impl Interrupts {
    /// Does some work unless the caller disconnects, the drain ends, or an operator ends the transaction: the
    /// work is then dropped at once, even if it could go on.
    async fn race<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.replies.closed() => Err(disconnected()),
            () = self.engine.drain_ended() => Err(draining()),
            terminated = self.terminated() => Err(terminated),
            done = work => done,
        }
    }

    /// The same, reading ahead meanwhile.
    async fn race_reading<T>(
        &self,
        events: &mut dyn CallerEvents,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let reading = poll_fn(|cx| {
            events.read_ahead(cx);
            Poll::<Infallible>::Pending
        });
        self.race(async {
            tokio::select! {
                biased;
                done = work => done,
                never = reading => match never {},
            }
        })
        .await
    }

    /// Returns the error of a transaction that an operator ends, or whose caller is revoked.
    async fn terminated(&self) -> Error {
        let by_operator = async {
            let Some(context) = &self.context else { return std::future::pending().await };
            context.terminated().await;
            context.terminated_error()
        };
        tokio::select! {
            terminated = by_operator => terminated,
            () = self.identity.revocation.revoked() => revoked_error(),
        }
    }

    /// Waits for the caller. A draining server does not wait for idle callers, which may have locks, but
    /// still does the commands that it has received.
    async fn race_drain<T>(&self, next: impl Future<Output = Result<T>>) -> Result<T> {
        self.race(async {
            tokio::select! {
                biased;
                next = next => next,
                _end = self.engine.drain_started() => Err(draining()),
            }
        })
        .await
    }
}

impl TransactionTask {
    /// Serves the transaction until its end. Every early return drops it, which rolls back.
    pub(super) async fn run(mut self, mut events: Box<dyn CallerEvents>) -> Result<()> {
        let events = &mut *events;
        let engine = Arc::clone(&self.engine);
        let replies = self.replies.sender.channel.clone();
        let mut interrupts = Interrupts {
            engine,
            replies,
            context: None,
            identity: Arc::clone(&self.caller.identity),
        };
        let first = interrupts.race_drain(self.next(events, self.stream_limits)).await?;
        let mut open = interrupts.race_reading(events, self.open(first)).await?;
        interrupts.context = Some(Arc::clone(&open.context));
        let mut lost = open.transaction.lost();
        loop {
            // A caller that does nothing holds no more locks then, and must know it.
            let next = async {
                tokio::select! {
                    biased;
                    next = self.next(events, open.limits) => next,
                    error = &mut lost => Err(error),
                }
            };
            let next = match interrupts.race_drain(next).await {
                Ok(next) => next,
                Err(error) => return Err(ended(error, open).await),
            };
            let command = match next {
                Some(Command::Commit(_)) => return discarding(events, self.commit(open)).await,
                Some(Command::Rollback(_)) => {
                    return discarding(events, self.roll_back(open)).await;
                }
                Some(Command::Begin(_)) => {
                    return Err(invalid_command("begin must be the first command"));
                }
                None => return Err(invalid_command("no command is set")),
                Some(Command::Query(query)) => InnerCommand::Query(query),
                Some(Command::Batch(batch)) => InnerCommand::Batch(batch),
                Some(Command::Savepoint(it)) => InnerCommand::Savepoint(Set, it.name),
                Some(Command::RollbackTo(it)) => InnerCommand::Savepoint(RollbackTo, it.name),
                Some(Command::Release(it)) => InnerCommand::Savepoint(Release, it.name),
            };
            let done = {
                let command = Box::pin(self.command(command, &mut open));
                interrupts.race_reading(events, command).await
            };
            if let Err(error) = done {
                return Err(ended(error, open).await);
            }
        }
    }

    /// Opens the transaction with the first command.
    async fn open(&mut self, first: Option<Command>) -> Result<OpenTransaction> {
        let Some(Command::Begin(first)) = first else {
            return Err(invalid_command("the first command must be begin"));
        };
        let database = self.engine.database_of(&self.caller, &first.database)?;
        let open = begin(database, &first, &self.caller, self.stream_limits).await?;
        self.replies.send(Ok(ReplyBody::Begun(Begun {})), open.limits).await?;
        Ok(open)
    }

    /// Returns the next command, or an error when there is none in time.
    async fn next(
        &mut self,
        events: &mut dyn CallerEvents,
        limits: TransactionLimits,
    ) -> Result<Option<Command>> {
        let idle_end = now() + limits.idle_timeout;
        let until = limits.end().map_or(idle_end, |end| end.min(idle_end));
        let event = timeout_at(until.into(), poll_fn(|cx| events.poll_next(cx))).await;
        // A command that comes too late is not started, even if it was received.
        if let Some(overdue) = limits.overdue(now()) {
            return Err(overdue);
        }
        let request = match event {
            Ok(CallerEvent::Command(request)) => request,
            Ok(CallerEvent::Invalid(error)) => return Err(error),
            Ok(CallerEvent::HalfClosed) => return Err(not_committed()),
            Ok(CallerEvent::Disconnected) => return Err(disconnected()),
            Err(_elapsed) => return Err(idle(limits.idle_timeout)),
        };
        let last = self.replies.sequence;
        if let Some(last) = last.filter(|last| request.sequence <= *last) {
            let sequence = request.sequence;
            let description = format!("a sequence must be greater than {last}, not {sequence}");
            return Err(Error::field(ErrorKind::InvalidCommand, "sequence", description));
        }
        self.replies.sequence = Some(request.sequence);
        Ok(request.command)
    }

    /// Runs a command that leaves the transaction open; an error ends the stream.
    async fn command(&mut self, command: InnerCommand, open: &mut OpenTransaction) -> Result<()> {
        let error = match self.try_command(command, open).await {
            Ok(()) => return Ok(()),
            Err(CommandError::Stream(error)) => return Err(error),
            Err(CommandError::Refused(error)) => {
                return self.replies.send(Err(error), open.limits).await;
            }
            Err(CommandError::Command(error)) => error,
        };
        if !open.transaction.is_open() && error.outcome() != Outcome::NotApplied {
            return Err(error);
        }
        // A command that the end of the transaction has stopped did not fail alone.
        if let Some(overdue) = open.limits.overdue(now()) {
            return Err(overdue);
        }
        if !open.transaction.is_open() {
            return Err(error);
        }
        open.is_aborted = true;
        // The caller goes by it, and rolls back without asking again.
        let left = open.transaction.outcome_behind_failure().await;
        let error = rolled_back(error, left, open.has_key);
        self.replies.send(Err(error), open.limits).await
    }

    async fn try_command(
        &mut self,
        command: InnerCommand,
        open: &mut OpenTransaction,
    ) -> Result<(), CommandError> {
        if open.is_aborted && !matches!(command, InnerCommand::Savepoint(RollbackTo, _)) {
            return Err(aborted().into());
        }
        let (command, name) = match command {
            InnerCommand::Query(query) => {
                return run_statement::run(&self.engine, query, open, &self.replies).await;
            }
            InnerCommand::Batch(batch) => {
                let results = run_batch::run(&self.engine, batch, open, &self.caller).await?;
                let body = ReplyBody::BatchResult(TransactBatchResult { results });
                let sent = self.replies.send(Ok(body), open.limits).await;
                return sent.map_err(CommandError::Stream);
            }
            InnerCommand::Savepoint(command, name) => (command, name),
        };
        check_name(&name)?;
        let deadline = open.limits.command_deadline(&open.database, None);
        open.transaction.savepoint(command, &name, deadline).await?;
        open.is_aborted = false;
        let sent = self.replies.send(Ok(ReplyBody::Done(Done {})), open.limits).await;
        sent.map_err(CommandError::Stream)
    }

    /// Commits; nothing that happens to the caller ends this early.
    async fn commit(&mut self, open: OpenTransaction) -> Result<()> {
        let deadline = open.limits.commit_deadline(&open.database);
        if open.is_aborted && !PlantedBug::IgnoredTag.is_planted() {
            let outcome = open.transaction.undo(deadline).await;
            return Err(rolled_back(aborted(), outcome, open.has_key));
        }
        open.transaction.commit(deadline).await?;
        self.end(ReplyBody::Committed(Committed {}), Outcome::Applied).await
    }

    async fn roll_back(&mut self, open: OpenTransaction) -> Result<()> {
        open.transaction.rollback().await;
        self.end(ReplyBody::RolledBack(RolledBack {}), Outcome::NotApplied).await
    }

    /// Sends the last reply; with it the stream ends at once, and commands behind it are not run. Failures have
    /// the outcome of the transaction.
    async fn end(&mut self, last: ReplyBody, outcome: Outcome) -> Result<()> {
        let sent = self.replies.try_send(Ok(last), None).await;
        let failed = sent.map_err(|failure| match failure {
            SendFailure::Disconnected => disconnected(),
            SendFailure::Stalled | SendFailure::Late => stalled(self.engine.stall_timeout),
        });
        failed.map_err(|error| error.with_outcome(outcome))
    }
}

/// The error of a stream whose transaction ends with it, by a rollback: where that may leave something, it is waited for.
async fn ended(error: Error, open: OpenTransaction) -> Error {
    let may_leave = open.transaction.rolled_back_outcome() != Outcome::NotApplied;
    if !may_leave || error.outcome() != Outcome::NotApplied {
        return error;
    }
    let deadline = open.limits.commit_deadline(&open.database);
    rolled_back(error, open.transaction.undo(deadline).await, open.has_key)
}

/// Does the last work of a stream to its end, whatever its caller does, and throws away what comes meanwhile: no
/// command behind the last one is run, but unread it would stop the other calls of its connection.
async fn discarding<T>(events: &mut dyn CallerEvents, work: impl Future<Output = T>) -> T {
    let reading = poll_fn(|cx| {
        events.discard(cx);
        Poll::<Infallible>::Pending
    });
    tokio::select! {
        biased;
        done = work => done,
        never = reading => match never {},
    }
}
