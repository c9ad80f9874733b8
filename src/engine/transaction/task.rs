//! The task that owns a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout_at;

use super::begin::Limits;
use super::errors::{
    aborted, check_name, draining, gone, not_committed, out_of_place, silent, stalled,
};
use super::{Incoming, Reply, ReplyBody};
use crate::backend::{SavepointCommand, Transaction};
use crate::engine::{Caller, Database, Engine, now};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::CallContext;
use crate::value::proto::transact_request::Command;
use crate::value::proto::{Begin, TransactQuery, TransactRequest};

/// How long the caller may take to close its side once the transaction is over: long enough for a
/// network's round trip, and nothing is held meanwhile.
const FAREWELL: Duration = Duration::from_secs(1);

/// The owner of one transaction.
pub(crate) struct TransactionTask {
    pub(crate) engine: Arc<Engine>,
    incoming: BoxStream<'static, Incoming>,
    replies: Sender<Reply>,
    caller: Caller,
    /// The limits of the stream, before a transaction has its own.
    stream: Limits,
    /// Of the last command; `None` before the first.
    sequence: Option<u32>,
}

/// What a transaction that is open goes by.
pub(crate) struct Open<'a> {
    pub(crate) database: &'a Database,
    pub(crate) transaction: Box<dyn Transaction>,
    pub(crate) limits: Limits,
    /// Whether a command failed: nothing but a rollback is possible.
    aborted: bool,
    pub(crate) context: Arc<CallContext>,
}

/// How a command failed.
pub(crate) enum Broken {
    /// By itself: the caller gets a reply, and the stream stays open while the transaction does.
    Command(Error),
    /// With the stream.
    Stream(Error),
}

/// How sending a reply can fail.
pub(crate) enum Unsent {
    /// The caller has gone.
    Gone,
    /// The caller takes nothing.
    Stalled,
    /// The caller has not taken it when it had to.
    Late,
}

/// A command that leaves the transaction open, unless it fails.
enum Inner {
    Query(TransactQuery),
    Savepoint(SavepointCommand, String),
}

/// What may end a stream at any time, but for a commit.
#[derive(Clone)]
struct Cut {
    engine: Arc<Engine>,
    replies: Sender<Reply>,
    /// Whom an operator can stop; `None` before the transaction is open.
    context: Option<Arc<CallContext>>,
}

impl Cut {
    /// Does some work, unless the caller goes, the server ends, or an operator ends it: the work is then dropped at once, also
    /// when it could go on.
    async fn or<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.replies.closed() => Err(gone()),
            () = self.engine.drained() => Err(draining()),
            stopped = self.stopped() => Err(stopped),
            done = work => done,
        }
    }

    /// The error of a transaction that an operator ends. Dropped, what runs is cancelled and rolled back.
    async fn stopped(&self) -> Error {
        match &self.context {
            Some(context) => {
                context.terminated().await;
                context.stopped()
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for the caller. A server that ends waits for nobody who holds locks while it thinks; what has
    /// come before is still done.
    async fn or_drain<T>(&self, coming: impl Future<Output = Result<T>>) -> Result<T> {
        let coming = async {
            tokio::select! {
                biased;
                came = coming => came,
                _end = self.engine.draining() => Err(draining()),
            }
        };
        self.or(coming).await
    }
}

impl TransactionTask {
    pub(crate) fn new(
        engine: Arc<Engine>,
        incoming: BoxStream<'static, Incoming>,
        replies: Sender<Reply>,
        caller: Caller,
    ) -> Self {
        let stream = Limits::before_begin(engine.stall_timeout, caller.time_left);
        Self { engine, incoming, replies, caller, stream, sequence: None }
    }

    /// Serves the transaction until it is over. Whatever is returned early drops it, which rolls back.
    pub(crate) async fn serve(mut self) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let (waking, replies) = (Arc::clone(&engine), self.replies.clone());
        let mut cut = Cut { engine: waking, replies, context: None };
        let first = cut.or_drain(self.next(self.stream)).await?;
        let mut open = cut.or(self.open(&engine, first)).await?;
        cut.context = Some(Arc::clone(&open.context));
        loop {
            let request = cut.or_drain(self.next(open.limits)).await?;
            let inner = match request.command {
                Some(Command::Commit(_)) => return self.commit(open).await,
                Some(Command::Rollback(_)) => return self.roll_back(open).await,
                Some(Command::Begin(_)) => {
                    return Err(out_of_place("begin must be the first command"));
                }
                None => return Err(out_of_place("no command is set")),
                Some(Command::Query(query)) => Inner::Query(query),
                Some(Command::Savepoint(to)) => Inner::Savepoint(SavepointCommand::Set, to.name),
                Some(Command::RollbackTo(to)) => {
                    Inner::Savepoint(SavepointCommand::RollbackTo, to.name)
                }
                Some(Command::Release(it)) => Inner::Savepoint(SavepointCommand::Release, it.name),
            };
            cut.or(self.command(inner, &mut open)).await?;
        }
    }

    /// Opens the transaction as the first command says.
    async fn open<'a>(&mut self, engine: &'a Engine, first: TransactRequest) -> Result<Open<'a>> {
        let Some(Command::Begin(begin)) = first.command else {
            return Err(out_of_place("the first command must be begin"));
        };
        let open = self.begin(engine, &begin).await?;
        self.reply(ReplyBody::Begun, open.limits).await?;
        Ok(open)
    }

    async fn begin<'a>(&mut self, engine: &'a Engine, begin: &Begin) -> Result<Open<'a>> {
        let database = engine.database(&begin.database)?;
        let (request, limits) = database.admit_begin(begin, &self.caller, self.stream)?;
        let context = Arc::clone(&request.context);
        let transaction = database.backend.begin(request).await;
        let transaction = transaction.map_err(|error| context.explain(error))?;
        database.count_transaction();
        Ok(Open { database, transaction, limits, aborted: false, context })
    }

    /// The next command; an error when there is none, or not in time.
    async fn next(&mut self, limits: Limits) -> Result<TransactRequest> {
        let idle = now() + limits.idle_timeout;
        let until = limits.end().map_or(idle, |end| end.min(idle));
        let came = timeout_at(until.into(), self.incoming.next()).await;
        // A command that comes too late is not begun, be it at hand.
        if let Some(overdue) = limits.overdue(now()) {
            return Err(overdue);
        }
        let request = match came {
            Ok(Some(Incoming::Command(request))) => request,
            Ok(Some(Incoming::Refused(error))) => return Err(error),
            Ok(Some(Incoming::HalfClosed)) => return Err(not_committed()),
            Ok(Some(Incoming::Gone) | None) => return Err(gone()),
            Err(_elapsed) => return Err(silent(limits.idle_timeout)),
        };
        if self.sequence.is_some_and(|last| request.sequence <= last) {
            let description = "a sequence must be greater than the one before";
            return Err(Error::field(ErrorKind::InvalidCommand, "sequence", description));
        }
        self.sequence = Some(request.sequence);
        Ok(request)
    }

    /// Does what leaves the transaction open; an error ends the stream.
    async fn command(&mut self, command: Inner, open: &mut Open<'_>) -> Result<()> {
        let error = match self.work(command, open).await {
            Ok(()) => return Ok(()),
            Err(Broken::Stream(error)) => return Err(error),
            Err(Broken::Command(error)) => error,
        };
        if !open.transaction.is_open() && error.outcome() != Outcome::NotApplied {
            return Err(error);
        }
        // What the transaction's end has stopped did not fail alone.
        if let Some(overdue) = open.limits.overdue(now()) {
            return Err(overdue);
        }
        if !open.transaction.is_open() {
            return Err(error);
        }
        open.aborted = true;
        self.reply(ReplyBody::Failed(error), open.limits).await
    }

    async fn work(&mut self, command: Inner, open: &mut Open<'_>) -> Result<(), Broken> {
        let goes_back = matches!(command, Inner::Savepoint(SavepointCommand::RollbackTo, _));
        if open.aborted && !goes_back {
            return Err(Broken::Command(aborted()));
        }
        let (command, name) = match command {
            Inner::Query(query) => return self.query(query, open).await,
            Inner::Savepoint(command, name) => (command, name),
        };
        check_name(&name).map_err(Broken::Command)?;
        let deadline = open.database.command_deadline(None, open.limits);
        let done = open.transaction.savepoint(command, &name, deadline).await;
        done.map_err(Broken::Command)?;
        open.aborted = false;
        self.reply(ReplyBody::Done, open.limits).await.map_err(Broken::Stream)
    }

    /// Commits; nothing that happens to the caller ends this early.
    async fn commit(&mut self, open: Open<'_>) -> Result<()> {
        let Open { database, transaction, limits, aborted: failed, .. } = open;
        if failed && !PlantedBug::IgnoredTag.is_planted() {
            transaction.rollback().await;
            return Err(aborted());
        }
        transaction.commit(database.commit_deadline(limits)).await?;
        self.farewell(ReplyBody::Committed, Outcome::Applied).await
    }

    async fn roll_back(&mut self, open: Open<'_>) -> Result<()> {
        let Open { transaction, .. } = open;
        transaction.rollback().await;
        self.farewell(ReplyBody::RolledBack, Outcome::NotApplied).await
    }

    /// Replies that the transaction is over, then waits a moment for the caller to close its side: a
    /// stream that ends before it did is an error to some clients. Whatever goes wrong now has this
    /// outcome.
    async fn farewell(&mut self, last: ReplyBody, outcome: Outcome) -> Result<()> {
        let stall = self.engine.stall_timeout;
        let sent = self.offer(last, None).await.map_err(|unsent| match unsent {
            Unsent::Gone => gone(),
            Unsent::Stalled | Unsent::Late => stalled(stall),
        });
        sent.map_err(|error| error.with_outcome(outcome))?;
        let until = now() + FAREWELL;
        match timeout_at(until.into(), self.incoming.next()).await {
            Ok(Some(Incoming::Command(_))) => {
                Err(out_of_place("the transaction is over").with_outcome(outcome))
            }
            Ok(Some(Incoming::Refused(error))) => Err(error.with_outcome(outcome)),
            Ok(Some(Incoming::HalfClosed | Incoming::Gone) | None) | Err(_) => Ok(()),
        }
    }

    /// Sends a reply, while the caller takes some and the transaction may last.
    pub(crate) async fn reply(&mut self, body: ReplyBody, limits: Limits) -> Result<()> {
        let unsent = match self.offer(body, limits.end()).await {
            Ok(()) => return Ok(()),
            Err(unsent) => unsent,
        };
        Err(self.undelivered(&unsent, limits))
    }

    /// What it means to the stream that a reply was not sent.
    pub(crate) fn undelivered(&self, unsent: &Unsent, limits: Limits) -> Error {
        match (unsent, limits.overdue(now())) {
            (Unsent::Gone, _) => gone(),
            (Unsent::Late | Unsent::Stalled, Some(overdue)) => overdue,
            (Unsent::Late | Unsent::Stalled, None) => stalled(self.engine.stall_timeout),
        }
    }

    /// Sends a reply until `latest`, if the caller takes it within the stall timeout.
    pub(crate) async fn offer(
        &mut self,
        body: ReplyBody,
        latest: Option<Instant>,
    ) -> Result<(), Unsent> {
        let reply = Reply { sequence: self.sequence.unwrap_or_default(), body };
        let stalled = now() + self.engine.stall_timeout;
        let until = latest.map_or(stalled, |latest| latest.min(stalled));
        match timeout_at(until.into(), self.replies.send(reply)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(Unsent::Gone),
            Err(_elapsed) if until < stalled => Err(Unsent::Late),
            Err(_elapsed) => Err(Unsent::Stalled),
        }
    }
}
