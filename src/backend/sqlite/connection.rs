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

use super::hold::{Hold, hold};
use super::pipe::{Outlet, lost};
use super::run::{Ran, Request};
use super::session::{Role, Session, Spec};
use crate::backend::Description;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{Checkout, CloseReason, Manager};

/// SQLite's code generator recurses on nested expressions and views; a main thread's size of stack
/// is what its own limits are made for.
const STACK: usize = 8 * 1024 * 1024;

/// Opens connections of one role.
pub(super) struct Opener {
    pub(super) spec: Arc<Spec>,
    pub(super) role: Role,
}

impl Manager for Opener {
    type Connection = Handle;

    async fn connect(&self) -> Result<Handle> {
        Handle::open(Arc::clone(&self.spec), self.role).await
    }

    fn is_usable(&self, connection: &Handle) -> bool {
        !connection.thread.is_finished()
    }
}

/// A loan of a connection.
pub(super) type Loan = Checkout<Opener>;

/// The way to a connection's thread, which ends when this is dropped.
pub(super) struct Handle {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

/// What a thread is to do.
pub(super) struct Job {
    /// The loan of this very connection; `None` when it belongs to no pool.
    loan: Option<Loan>,
    work: Work,
}

/// One kind of job, and where its result goes.
pub(super) enum Work {
    /// Run a statement.
    Run(Request, Outlet<Ran>),
    /// Describe a statement; with its plan if the flag is set.
    Describe(String, bool, Outlet<Description>),
    /// See whether the database can be read.
    Probe(Outlet<()>),
    /// Hold the connection for a transaction.
    Hold(Hold),
}

impl Handle {
    /// Starts a thread and opens a connection on it.
    ///
    /// # Errors
    /// Why it cannot be opened.
    ///
    /// # Cancel safety
    /// When dropped, the thread closes the connection and ends.
    pub(super) async fn open(spec: Arc<Spec>, role: Role) -> Result<Self> {
        // One place: a connection is lent to one job at a time.
        let (jobs, queue) = sync_channel(1);
        let (opened, opening) = oneshot::channel();
        let name = match role {
            Role::Reader => format!("{}-read", spec.name),
            Role::Writer => format!("{}-write", spec.name),
        };
        let serve = move || match Session::open(spec, role) {
            Ok(session) => {
                if opened.send(Ok(())).is_ok() {
                    serve(session, &queue);
                }
            }
            // When nobody waits any more, nobody needs to know.
            Err(error) => drop(opened.send(Err(error))),
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
    pub(super) fn submit(&self, work: Work) -> Result<()> {
        send(&self.jobs, Job { loan: None, work })
    }
}

/// Gives a connection's thread a job, and the loan with it.
///
/// # Errors
/// When the thread is gone; the connection is then closed.
pub(super) fn submit(loan: Loan, work: Work) -> Result<()> {
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
fn serve(mut session: Session, queue: &Receiver<Job>) {
    while let Ok(Job { loan, work }) = queue.recv() {
        let usable = match work {
            Work::Run(request, outlet) => {
                settle(&mut session, loan, outlet, |session, outlet| session.run(request, outlet))
            }
            Work::Describe(sql, plan, outlet) => {
                settle(&mut session, loan, outlet, |session, _| session.describe(&sql, plan))
            }
            Work::Hold(transaction) => hold(&mut session, loan, transaction),
            Work::Probe(outlet) => settle(&mut session, loan, outlet, |session, _| session.probe()),
        };
        if !usable {
            return;
        }
    }
}

/// Does one job: arms, works, cleans, gives the connection back, answers. Says whether the connection
/// is still good.
fn settle<T: Send + 'static>(
    session: &mut Session,
    loan: Option<Loan>,
    outlet: Outlet<T>,
    work: impl FnOnce(&mut Session, &Outlet<T>) -> Result<T>,
) -> bool {
    let worked = catch_unwind(AssertUnwindSafe(|| {
        if let Some(stop) = outlet.stopped() {
            return Err(stop.into());
        }
        session.arm(&outlet)?;
        work(session, &outlet)
    }));
    // The driver panics where SQLite hands it names that are not UTF-8.
    let (end, closed) = match worked {
        Ok(end) => {
            let closed = session.clean(end.as_ref().err());
            (end, closed)
        }
        Err(_panic) => {
            let message = "the SQLite driver panicked";
            (Err(Error::new(ErrorKind::Internal, message)), Some(CloseReason::Broken))
        }
    };
    match (loan, closed) {
        (Some(loan), Some(reason)) => loan.discard(reason),
        (Some(loan), None) => drop(loan),
        (None, _) => {}
    }
    outlet.end(end);
    closed.is_none()
}
