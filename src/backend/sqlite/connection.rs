//! A connection is a thread: SQLite blocks, so it never runs where calls are served.
//!
//! The thread owns the connection and does one job at a time. A job takes the loan of its connection
//! along: the connection goes back to the pool from its own thread, after it was cleaned and before
//! the call learns how the job ended. So a connection that the pool lends is idle and clean, however
//! the last call ended or vanished.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::row_channel::{RowSender, lost};
use super::session::{Role, Session, Spec};
use crate::backend::sqlite::execute::statement_run::Ran;
use crate::backend::sqlite::execute::transaction_thread::{TransactionThread, hold};
use crate::backend::{
    Batch, BatchResult, ConnectBreaker, Description, Statement, TransactionOutcome,
};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{Checkout, CloseReason, Manager};

/// SQLite's code generator recurses on nested expressions and views; a main thread's size of stack
/// is what its own limits are made for.
const STACK: usize = 8 * 1024 * 1024;

/// Opens connections of one role.
pub(crate) struct Opener {
    pub(crate) breaker: Arc<ConnectBreaker>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) role: Role,
}

impl Manager for Opener {
    type Connection = Handle;

    fn may_connect(&self) -> Result<()> {
        self.breaker.admits()
    }

    async fn connect(&self) -> Result<Handle> {
        self.breaker.connect(Handle::open(Arc::clone(&self.spec), self.role)).await
    }

    fn is_usable(&self, connection: &Handle) -> bool {
        !connection.thread.is_finished()
    }
}

/// A loan of a connection.
pub(crate) type ConnectionCheckout = Checkout<Opener>;

/// The way to a connection's thread, which ends when this is dropped.
pub(crate) struct Handle {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

/// What a thread is to do.
pub(crate) struct Job {
    /// The loan of this very connection; `None` when it belongs to no pool.
    loan: Option<ConnectionCheckout>,
    work: Work,
}

/// One kind of job, and where its result goes.
pub(crate) enum Work {
    /// Run a statement.
    Run(Arc<Statement>, RowSender<Ran>),
    /// Run a unit of statements.
    Batch(Arc<Batch>, RowSender<BatchResult>),
    /// TransactionThread the connection for a transaction.
    TransactionThread(TransactionThread),
    /// Say what became of the unit of a caller under a key.
    State(String, String, RowSender<TransactionOutcome>),
    /// Delete keys that have expired.
    Expire(RowSender<u64>),
    /// Describe a statement; with its plan if the flag is set.
    Describe(String, bool, RowSender<Description>),
    /// See whether the database can be read.
    Probe(RowSender<()>),
}

impl Handle {
    /// Starts a thread and opens a connection on it.
    ///
    /// # Errors
    /// Why it cannot be opened.
    ///
    /// # Cancel safety
    /// When dropped, the thread closes the connection and ends.
    pub(crate) async fn open(spec: Arc<Spec>, role: Role) -> Result<Self> {
        // One place: a connection is lent to one job at a time.
        let (jobs, queue) = sync_channel(1);
        let (opened, opening) = oneshot::channel();
        let name = match role {
            Role::Reader => format!("{}-read", spec.name),
            Role::Writer => format!("{}-write", spec.name),
        };
        let present = spec.presence.enter();
        let serve = move || {
            match Session::open(spec, role) {
                Ok(mut session) => {
                    if opened.send(Ok(())).is_ok() {
                        serve(&mut session, &queue);
                    }
                    session.close();
                }
                // When nobody waits any more, nobody needs to know.
                Err(error) => drop(opened.send(Err(error))),
            }
            drop(present);
        };
        let thread =
            std::thread::Builder::new().name(name).stack_size(STACK).spawn(serve).map_err(
                |error| {
                    let message = "cannot start a thread for a connection";
                    Error::new(ErrorKind::DatabaseUnavailable, message).with_cause(error)
                },
            )?;
        opening.await.map_err(|gone| lost().with_cause(gone))??;
        Ok(Self { jobs, thread })
    }

    /// Gives the thread of a connection outside any pool a job.
    ///
    /// # Errors
    /// When the thread is gone.
    pub(crate) fn submit(&self, work: Work) -> Result<()> {
        send(&self.jobs, Job { loan: None, work })
    }
}

/// Gives a connection's thread a job, and the loan with it.
///
/// # Errors
/// When the thread is gone; the connection is then closed.
pub(crate) fn submit(loan: ConnectionCheckout, work: Work) -> Result<()> {
    let jobs = loan.jobs.clone();
    send(&jobs, Job { loan: Some(loan), work })
}

fn send(jobs: &SyncSender<Job>, job: Job) -> Result<()> {
    match jobs.try_send(job) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
            if let Some(loan) = job.loan {
                loan.discard(CloseReason::Broken);
            }
            Err(lost())
        }
    }
}

/// Does jobs until the handle is gone or the connection is no good any more.
fn serve(session: &mut Session, queue: &Receiver<Job>) {
    while let Ok(Job { loan, work }) = queue.recv() {
        if !job(session, loan, work) {
            return;
        }
    }
}

/// Does one job. Says whether the connection is still good.
fn job(session: &mut Session, loan: Option<ConnectionCheckout>, work: Work) -> bool {
    match work {
        Work::Run(statement, outlet) => {
            settle(session, loan, outlet, |session, outlet| session.run(statement, outlet))
        }
        Work::Batch(batch, outlet) => {
            settle(session, loan, outlet, |session, outlet| session.batch(&batch, outlet))
        }
        Work::TransactionThread(transaction) => hold(session, loan, transaction),
        Work::State(caller, key, outlet) => {
            settle(session, loan, outlet, |session, _| session.state(&caller, &key))
        }
        Work::Expire(outlet) => {
            settle(session, loan, outlet, |session, outlet| session.expire(outlet))
        }
        Work::Describe(sql, plan, outlet) => {
            settle(session, loan, outlet, |session, _| session.describe(&sql, plan))
        }
        Work::Probe(outlet) => settle(session, loan, outlet, |session, _| session.probe()),
    }
}

/// What work on a connection came to.
pub(crate) enum Worked<T> {
    /// It ended.
    Ended(Result<T>),
    /// The driver panicked, as it does where SQLite hands it names that are not UTF-8.
    Panicked,
}

impl<T> Worked<T> {
    /// The answer.
    pub(crate) fn end(self) -> Result<T> {
        match self {
            Self::Ended(end) => end,
            Self::Panicked => Err(Error::new(ErrorKind::Internal, "the SQLite driver panicked")),
        }
    }
}

/// Does one job: arms, works, cleans, gives the connection back, answers.
fn settle<T: Send + 'static>(
    session: &mut Session,
    loan: Option<ConnectionCheckout>,
    outlet: RowSender<T>,
    job: impl FnOnce(&mut Session, &RowSender<T>) -> Result<T>,
) -> bool {
    let worked = work(session, &outlet, |session| job(session, &outlet));
    give_back(session, loan, outlet, worked)
}

/// Arms the session for a call and works.
pub(crate) fn work<T: Send + 'static>(
    session: &mut Session,
    outlet: &RowSender<T>,
    work: impl FnOnce(&mut Session) -> Result<T>,
) -> Worked<T> {
    let worked = catch_unwind(AssertUnwindSafe(|| {
        if let Some(stop) = outlet.stopped() {
            return Err(stop.into());
        }
        session.arm(outlet, outlet.deadline())?;
        work(session)
    }));
    match worked {
        Ok(end) => Worked::Ended(end),
        Err(_panic) => Worked::Panicked,
    }
}

/// Cleans the session, gives the connection back and answers, in this order. Says whether the
/// connection is still good.
pub(crate) fn give_back<T>(
    session: &Session,
    loan: Option<ConnectionCheckout>,
    outlet: RowSender<T>,
    worked: Worked<T>,
) -> bool {
    let usable = restore(session, loan, &worked);
    outlet.end(worked.end());
    usable
}

/// Cleans the session and gives the connection back. Says whether it is still good.
pub(crate) fn restore<T>(
    session: &Session,
    loan: Option<ConnectionCheckout>,
    worked: &Worked<T>,
) -> bool {
    let closed = match worked {
        Worked::Ended(end) => session.clean(end.as_ref().err()),
        Worked::Panicked => Some(CloseReason::Broken),
    };
    match (loan, closed) {
        (Some(loan), Some(reason)) => loan.discard(reason),
        (Some(loan), None) => drop(loan),
        (None, _) => {}
    }
    closed.is_none()
}
