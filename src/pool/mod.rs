//! Connections that are opened once and lent many times.
//!
//! Generic over what a connection is; it knows no SQL. A connection is driven by the worker that
//! opened it, so there is one shard (a deadpool pool) a worker. One queue (`admission`, fair by `turns`)
//! and one bound (`counters`) stand over all shards: a worker takes its own idle connection first, opens
//! one while the bound allows it, and borrows from a neighbour when it must. A `keeper` on each worker
//! looks after what is idle; `life` says when a connection is over.

mod admin;
mod admin_operations;
mod call_context;
mod checkout;
mod checkout_registry;
mod counters;
mod lifetime;
mod maintenance;
pub(crate) mod queue;
mod shard;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tracing::Instrument as _;

pub use admin::{CheckoutHolder, CheckoutInfo, PoolAdmin};
pub use admin_operations::check_bounds;
pub use call_context::CallContext;
pub use checkout::Checkout;
pub use checkout_registry::ConnectionActivity;
pub use snapshot::{CloseReason, PoolSnapshot};

use crate::clock::now;
use crate::config::PoolSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{self, Acquiring};
use checkout_registry::CheckoutRegistry;
use counters::Counters;
use queue::admission::{Admission, Awaited, Permit};
use shard::{Common, Object, Refusal, Shard};

/// How often a caller looks for the connection it has a right to before it pauses between looks.
const QUICK_TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// Opens connections of one kind.
pub trait Manager: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;

    /// Why none can be opened now, where that is known without trying.
    ///
    /// # Errors
    /// That.
    fn may_connect(&self) -> Result<()> {
        Ok(())
    }

    /// Opens one. Bounded by `pool.connect_timeout` from outside.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Whether the server refused a connection only because it has no room for more.
    fn is_full(&self, _refusal: &Error) -> bool {
        false
    }

    /// Whether a connection that was idle may be lent; no I/O.
    fn is_usable(&self, connection: &Self::Connection) -> bool;

    /// Whether a connection answers that was idle for long. Bounded in time from outside; when dropped
    /// before its end, the connection is closed.
    fn validate(&self, _connection: &mut Self::Connection) -> impl Future<Output = bool> + Send {
        async { true }
    }

    /// What will say what a connection does; `None`: nobody knows.
    fn condition(&self, _connection: &Self::Connection) -> Option<Arc<dyn ConnectionActivity>> {
        None
    }
}

/// A pool; cheap to clone.
pub struct Pool<M: Manager>(Arc<Inner<M>>);

pub(crate) struct Inner<M: Manager> {
    manager: Arc<M>,
    common: Arc<Common>,
    queue: Arc<Admission>,
    /// Before it, for who holds a connection through a whole transaction.
    transactions: Arc<Admission>,
    registry: CheckoutRegistry,
    shards: RwLock<Vec<Shard<M>>>,
    /// Held while idle connections are counted and closed.
    looking: Mutex<()>,
    /// Those that the server has no room for, one after the other.
    scarce: tokio::sync::Mutex<()>,
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Manager> std::fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("counters", &self.0.common.counters).finish_non_exhaustive()
    }
}

impl<M: Manager> Pool<M> {
    /// A pool of a database that opens nothing yet.
    pub fn new(
        telemetry: &Arc<telemetry::DatabaseTelemetry>,
        settings: &PoolSettings,
        manager: M,
    ) -> Self {
        let counters = Arc::new(Counters::new(telemetry.name(), settings));
        let queue =
            |awaited, limit| Admission::new(awaited, limit, settings, Arc::clone(&counters));
        let transactions = transactions_of(settings.max.get(), settings.transaction_share);
        let transactions = queue(Awaited::Transaction, transactions);
        let queue = queue(Awaited::Connection, counters.limit());
        Self(Arc::new(Inner {
            manager: Arc::new(manager),
            common: Arc::new(Common::new(counters, settings, Arc::clone(telemetry))),
            queue,
            transactions,
            registry: CheckoutRegistry::default(),
            shards: RwLock::new(Vec::new()),
            looking: Mutex::new(()),
            scarce: tokio::sync::Mutex::new(()),
        }))
    }

    /// Lends a connection: an idle one, else a new one, else the next that comes back, in the order
    /// in which callers came; different callers take turns.
    ///
    /// # Errors
    /// `PoolExhausted` after `pool.acquire_timeout`, when too many wait, or when the deadline is sure to
    /// come first; `PoolPaused` when the pool was paused all that time; `DeadlineExceeded` when the
    /// deadline comes first, `ShuttingDown` after [`Pool::close`], `Terminated` when the context was told
    /// to stop, or why no connection could be opened.
    ///
    /// # Cancel safety
    /// May be dropped at any await: the place in the queue is given up.
    pub async fn acquire(
        &self,
        deadline: Deadline,
        context: &Arc<CallContext>,
    ) -> Result<Checkout<M>> {
        self.recorded(context, self.acquire_after(Duration::ZERO, deadline, context)).await
    }

    /// The same for who holds it through a whole transaction of its caller's: of such there are no more at
    /// once than `pool.transaction_share` allows. `pool.acquire_timeout` bounds both waits together.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    ///
    /// # Cancel safety
    /// As [`Pool::acquire`].
    pub async fn acquire_for_transaction(
        &self,
        deadline: Deadline,
        context: &Arc<CallContext>,
    ) -> Result<Checkout<M>> {
        let acquiring = async {
            let came = now();
            let share =
                self.0.transactions.enter(Duration::ZERO, deadline, context.caller()).await?;
            let waited = now().saturating_duration_since(came);
            Ok(self.acquire_after(waited, deadline, context).await?.with_share(share))
        };
        self.recorded(context, acquiring).await
    }

    /// Gets a connection, and has telemetry know how that went.
    async fn recorded(
        &self,
        context: &CallContext,
        acquiring: impl Future<Output = Result<Checkout<M>>>,
    ) -> Result<Checkout<M>> {
        let (database, call) = (&self.0.common.telemetry, context.telemetry());
        let attempt = Acquiring::begin(database, call, now());
        // Nearly no call is sampled, and its future is large: it is not moved for one that is not.
        let acquiring = std::pin::pin!(acquiring);
        let acquired = match attempt.span().is_none() {
            true => acquiring.await,
            false => acquiring.instrument(attempt.span().clone()).await,
        };
        match &acquired {
            Ok(_) => attempt.acquired(database, call, now()),
            Err(error) => attempt.failed(error),
        }
        acquired
    }

    async fn acquire_after(
        &self,
        waited: Duration,
        deadline: Deadline,
        context: &Arc<CallContext>,
    ) -> Result<Checkout<M>> {
        if context.is_terminated() {
            return Err(context.stopped());
        }
        let permit = self.0.queue.enter(waited, deadline, context.caller()).await?;
        // Of a process that was stopped and goes on, or of a caller that gave no time at all: a
        // statement that is begun now can only be cancelled, and a write's outcome be unknown.
        if deadline.left(now()).is_zero() {
            return Err(self.0.queue.deadline_passed("getting a connection"));
        }
        let found = tokio::time::timeout_at(deadline.instant().into(), self.take(&permit)).await;
        let Ok(object) = found else {
            return Err(self.0.queue.deadline_passed("opening a connection"));
        };
        let checkout = Checkout::new(object?, Arc::clone(&self.0), context, permit);
        self.0.common.counters.acquired.fetch_add(1, Relaxed);
        Ok(checkout)
    }

    /// Opens connections on the calling worker until it has `count` of them, or as many as callers
    /// leave: it never waits for one, as a connection that a caller holds is open already. From then on
    /// `pool.min` are kept open.
    ///
    /// # Errors
    /// Why the first that failed could not be opened.
    pub async fn warm_up(&self, count: usize) -> Result<()> {
        let own = self.own_shard();
        let missing = count.saturating_sub(own.size());
        let permits = (0..missing).map_while(|_| self.0.queue.enter_at_once());
        let opening = permits.map(|permit| async {
            let opened = own.open_one().await;
            drop(permit);
            match opened {
                Ok(()) | Err(Refusal::Full) => Ok(()),
                Err(Refusal::Closed) => Err(self.0.queue.shutting_down()),
                Err(Refusal::NoRoom(error) | Refusal::Failed(error)) => Err(error),
            }
        });
        try_join_all(opening).await?;
        Ok(())
    }

    /// Says that the database was reached otherwise: what is missing is opened at once.
    pub fn reached(&self) {
        if self.0.common.refill.reached() {
            self.0.common.counters.wake.notify_waiters();
        }
    }

    /// State and counters; `statements` and `resets` are the backend's to fill in.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        let idle = self.0.shards.read().iter().map(Shard::idle).sum();
        let mut snapshot = self.0.common.counters.snapshot(idle);
        let now = now();
        let (waiting, oldest) = self.0.queue.waiting(now);
        let (more, older) = self.0.transactions.waiting(now);
        (snapshot.waiting, snapshot.oldest_wait) = (waiting + more, oldest.max(older));
        snapshot.paused = self.0.queue.is_paused();
        snapshot.generation = self.0.common.trust.generation();
        snapshot
    }

    /// Closes idle connections now and the others when they come back; later callers are refused.
    pub fn close(&self) {
        let counters = &self.0.common.counters;
        counters.closing.store(true, SeqCst);
        self.0.transactions.close();
        self.0.queue.close();
        for shard in self.0.shards.read().iter() {
            shard.close();
        }
        counters.wake.notify_waiters();
    }

    /// Takes a connection for a caller that holds a permit, so one is idle somewhere or may be
    /// opened; only a race with another caller can hide it, and that caller then moves on. Should that
    /// take long (its thread was stopped, say), looking must not keep this worker busy.
    async fn take(&self, permit: &Permit) -> Result<Object<M>> {
        let own = self.own_shard();
        let mut tries = 0;
        let mut scarce = None;
        loop {
            let no_room = match own.take().await {
                Ok(object) => return Ok(object),
                // What is idle elsewhere may still serve.
                Err(Refusal::Failed(error)) => return self.borrow(&own).await.ok_or(error),
                Err(Refusal::Closed) => return Err(self.0.queue.shutting_down()),
                Err(Refusal::Full) => None,
                Err(Refusal::NoRoom(error)) => Some(error),
            };
            if let Some(object) = self.borrow(&own).await {
                return Ok(object);
            }
            if let Some(error) = no_room {
                let until = permit.since() + self.0.common.settings.acquire_timeout;
                if scarce.is_none() {
                    let turn = self.0.scarce.lock();
                    scarce = tokio::time::timeout_at(until.into(), turn).await.ok();
                }
                if now() >= until {
                    return Err(error);
                }
                tries = QUICK_TRIES;
            }
            if tries < QUICK_TRIES {
                tries += 1;
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Takes an idle connection of another worker's.
    async fn borrow(&self, own: &Shard<M>) -> Option<Object<M>> {
        let neighbours: Vec<Shard<M>> =
            self.0.shards.read().iter().filter(|shard| !shard.is(own)).cloned().collect();
        for shard in neighbours {
            if let Ok(object) = shard.take().await {
                return Some(object);
            }
        }
        None
    }

    fn own_shard(&self) -> Shard<M> {
        let worker = Handle::current().id();
        if let Some(shard) = self.0.shards.read().iter().find(|shard| shard.runs_on(worker)) {
            return shard.clone();
        }
        let mut shards = self.0.shards.write();
        if let Some(shard) = shards.iter().find(|shard| shard.runs_on(worker)) {
            return shard.clone();
        }
        let common = &self.0.common;
        let shard = Shard::new(worker, Arc::clone(&self.0.manager), Arc::clone(common));
        shards.push(shard.clone());
        let pool = Arc::downgrade(&self.0);
        tokio::spawn(maintenance::keep(pool, Arc::clone(&common.counters), worker));
        shard
    }
}

impl<M: Manager> Inner<M> {
    /// After how long a checkout is a leak, if ever.
    fn leak_threshold(&self) -> Option<Duration> {
        Some(self.common.settings.leak_threshold).filter(|threshold| !threshold.is_zero())
    }
}

/// How many of `max` connections may be held through transactions: whole ones, and at least one.
fn transactions_of(max: usize, share: f64) -> usize {
    let small = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    // The largest count within the share, compared as the fractions that people write: 0.3 of 10 is 3.
    (1..=max).rev().find(|held| small(*held) / small(max) <= share).unwrap_or(1)
}

/// The error of a caller that comes after the end.
fn shutting_down(database: &str) -> Error {
    Error::new(ErrorKind::ShuttingDown, format!("database \"{database}\" is shutting down"))
        .with_retry_after(queue::admission::RETRY_AFTER)
}

#[cfg(test)]
mod tests;
