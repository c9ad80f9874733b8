//! The thread of a connection: SQLite blocks, so it never runs where calls are served.
//!
//! The thread owns the connection and runs one job at a time. A job takes the checkout of its connection
//! along: the connection returns to the pool from its own thread, after it was reset and before
//! the call learns the job's result. So a connection in the pool is idle and clean, however
//! the last call ended or disappeared.
//!
//! Some functions of SQLite's cannot be interrupted, and take hours on values of megabytes. A thread that
//! still works a while after its call has ended is given up: the pool gets the checkout back and
//! opens another connection, and the thread ends with its function.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::open_connections::OpenConnection;
use super::row_channel::{RowSender, connection_lost};
use super::session::{Role, Session, SessionConfig};
use crate::backend::ConnectBreaker;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{Checkout, CloseReason, Manager};

/// The stack that SQLite's own limits are made for, a main thread's: its code generator recurses on nested
/// expressions and views.
pub(super) const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Opens connections of one role.
pub(crate) struct Opener {
    pub(crate) breaker: Arc<ConnectBreaker>,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) role: Role,
}

impl Manager for Opener {
    type Connection = ConnectionThread;

    const BOUND_TO_WORKER: bool = false;

    fn may_connect(&self) -> Result<()> {
        self.breaker.may_connect()
    }

    async fn connect(&self) -> Result<ConnectionThread> {
        let opening = ConnectionThread::open(Arc::clone(&self.config), self.role);
        self.breaker.connect(opening).await
    }

    fn is_usable(&self, connection: &ConnectionThread) -> bool {
        !connection.thread.is_finished()
    }
}

/// A checked-out connection.
pub(crate) type ConnectionCheckout = Checkout<Opener>;

/// A handle to a connection's thread, which ends when this is dropped.
pub(crate) struct ConnectionThread {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
    count: CountedThread,
}

/// The thread's part of the open connections, until it ends or is given up: nobody waits for it then.
type CountedThread = Arc<Mutex<Option<OpenConnection>>>;

struct Job {
    /// The checkout of this very connection; none outside any pool.
    checkout: CheckoutSlot,
    work: Work,
}

/// The work of a job. It releases the checkout, and returns true if the connection is still usable.
pub(crate) type Work = Box<dyn FnOnce(&mut Session, CheckoutSlot) -> bool + Send>;

/// The checkout of a connection at work: its thread releases it, unless the thread is given up.
#[derive(Clone)]
pub(crate) struct CheckoutSlot(Arc<Mutex<SlotState>>);

enum SlotState {
    Held(Box<ConnectionCheckout>),
    Released,
    /// The thread still works; the permit counts it until it ends.
    GivenUp(OwnedSemaphorePermit),
}

impl CheckoutSlot {
    fn new(state: SlotState) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn is_held(&self) -> bool {
        matches!(*self.0.lock(), SlotState::Held(_))
    }

    /// Takes the checkout from its thread.
    fn give_up(&self, permit: OwnedSemaphorePermit) {
        let mut state = self.0.lock();
        if let SlotState::Held(_) = *state
            && let SlotState::Held(checkout) =
                std::mem::replace(&mut *state, SlotState::GivenUp(permit))
        {
            drop(state);
            tracing::warn!(
                "a function of SQLite's cannot be interrupted: its connection is replaced"
            );
            drop(checkout.count.lock().take());
            checkout.discard(CloseReason::Dirty);
        }
    }
}

/// The rules for threads that do not stop.
#[derive(Clone)]
pub(crate) struct GiveUp {
    /// The time after its call at which a thread is given up.
    pub(crate) after: Duration,
    /// The threads that may be given up at once.
    pub(crate) spare: Arc<Semaphore>,
}

/// A watch over the thread of a reader. Dropped with the call, it gives the thread up that does not stop.
///
/// A writer is never given up: its thread has the lock that another one would need.
pub(crate) struct ThreadWatch {
    slot: CheckoutSlot,
    rules: GiveUp,
}

impl ThreadWatch {
    /// A watch over the job of a checkout of this role.
    pub(crate) fn new(slot: CheckoutSlot, role: Role, rules: &GiveUp) -> Option<Self> {
        (role == Role::Reader).then(|| Self { slot, rules: rules.clone() })
    }
}

impl Drop for ThreadWatch {
    fn drop(&mut self) {
        if !self.slot.is_held() {
            return;
        }
        let slot = self.slot.clone();
        let GiveUp { after, spare } = self.rules.clone();
        let give_up = async move {
            tokio::time::sleep(after).await;
            if slot.is_held()
                && let Ok(permit) = spare.acquire_owned().await
            {
                slot.give_up(permit);
            }
        };
        // Without a runtime the process is ending.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(give_up));
        }
    }
}

impl ConnectionThread {
    /// Starts a thread and opens a connection on it.
    ///
    /// # Cancel safety
    /// Dropping it ends the thread, which closes the connection.
    pub(crate) async fn open(config: Arc<SessionConfig>, role: Role) -> Result<Self> {
        // One place: a connection is checked out by one caller at a time.
        let (jobs, queue) = sync_channel(1);
        let (opened, opening) = oneshot::channel();
        let name = match role {
            Role::Reader => format!("{}-read", config.name),
            Role::Writer => format!("{}-write", config.name),
        };
        let count = CountedThread::new(Mutex::new(Some(config.open_connections.enter())));
        let counted = Arc::clone(&count);
        let run = move || {
            match Session::open(config, role) {
                Ok(mut session) => {
                    if opened.send(Ok(())).is_ok() {
                        run_jobs(&mut session, &queue);
                    }
                    session.close();
                }
                // The caller may have stopped waiting.
                Err(error) => drop(opened.send(Err(error))),
            }
            drop(counted.lock().take());
        };
        let spawned = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(run);
        let thread = spawned.map_err(|error| {
            let message = "cannot start a thread for a connection";
            Error::new(ErrorKind::DatabaseUnavailable, message).with_cause(error)
        })?;
        opening.await.map_err(|closed| connection_lost().with_cause(closed))??;
        Ok(Self { jobs, thread, count })
    }

    /// Submits a job to a connection outside any pool.
    pub(crate) fn submit(&self, work: Work) -> Result<()> {
        send(&self.jobs, Job { checkout: CheckoutSlot::new(SlotState::Released), work })
    }
}

/// Submits a job to a checked-out connection, which is closed if its thread has ended.
pub(crate) fn submit(checkout: ConnectionCheckout, work: Work) -> Result<CheckoutSlot> {
    let jobs = checkout.jobs.clone();
    let slot = CheckoutSlot::new(SlotState::Held(Box::new(checkout)));
    send(&jobs, Job { checkout: slot.clone(), work })?;
    Ok(slot)
}

fn send(jobs: &SyncSender<Job>, job: Job) -> Result<()> {
    jobs.try_send(job).map_err(|error| {
        let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = error;
        release(&job.checkout, Some(CloseReason::Broken));
        connection_lost()
    })
}

/// Runs jobs until the handle is dropped or the connection is no longer usable.
fn run_jobs(session: &mut Session, queue: &Receiver<Job>) {
    while let Ok(Job { checkout, work }) = queue.recv() {
        if !work(session, checkout) {
            return;
        }
    }
}

/// A job that arms the session, works, resets the session, returns the connection and answers.
pub(crate) fn job<T: Send + 'static>(
    sender: RowSender<T>,
    work: impl FnOnce(&mut Session, &RowSender<T>) -> Result<T> + Send + 'static,
) -> Work {
    Box::new(move |session, checkout| {
        let result = run_armed(session, &sender, |session| work(session, &sender));
        finish(session, &checkout, &sender, result)
    })
}

/// The result of work on a connection, unless the driver panicked, as it does where SQLite hands it names that
/// are not UTF-8.
pub(crate) type WorkResult<T> = std::thread::Result<Result<T>>;

/// The answer to the caller.
pub(crate) fn answer<T>(result: WorkResult<T>) -> Result<T> {
    result
        .unwrap_or_else(|_panic| Err(Error::new(ErrorKind::Internal, "the SQLite driver panicked")))
}

/// Arms the session for a call and works.
pub(crate) fn run_armed<T: Send + 'static>(
    session: &mut Session,
    sender: &RowSender<T>,
    work: impl FnOnce(&mut Session) -> Result<T>,
) -> WorkResult<T> {
    catch_unwind(AssertUnwindSafe(|| {
        sender.check()?;
        session.arm(sender, sender.deadline())?;
        work(session)
    }))
}

/// Resets the session, releases the connection and answers, in this order. Returns true if the
/// connection is still usable.
pub(crate) fn finish<T>(
    session: &Session,
    checkout: &CheckoutSlot,
    sender: &RowSender<T>,
    result: WorkResult<T>,
) -> bool {
    let close_reason = match &result {
        Ok(result) => session.reset(result.as_ref().err()),
        Err(_panic) => Some(CloseReason::Broken),
    };
    let usable = release(checkout, close_reason);
    sender.end(answer(result));
    usable
}

/// Returns the connection to its pool, or closes it. Returns true if it is still usable: one that was given up
/// is not.
pub(crate) fn release(checkout: &CheckoutSlot, close_reason: Option<CloseReason>) -> bool {
    let state = std::mem::replace(&mut *checkout.0.lock(), SlotState::Released);
    match (state, close_reason) {
        (SlotState::Held(checkout), Some(reason)) => checkout.discard(reason),
        (SlotState::GivenUp(_permit), _) => return false,
        (SlotState::Held(_) | SlotState::Released, _) => {}
    }
    close_reason.is_none()
}
