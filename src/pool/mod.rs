//! Connections that are opened once and lent many times.
//!
//! Generic over what a connection is; it knows no SQL. A connection is driven by the worker that
//! opened it, so there is one shard (a deadpool pool) a worker. One queue and one bound stand over all
//! shards: a worker takes its own idle connection first, opens one while the bound allows it, and
//! borrows from a neighbour when it must.

mod checkout;
mod control;
mod queue;
mod shard;
mod stats;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

pub use checkout::Checkout;
pub use control::{CheckedOut, Control, Holder};
pub use stats::{CloseReason, PoolSnapshot};

use crate::config::PoolSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use queue::Queue;
use shard::{Refusal, Shard};
use stats::Counters;

/// How often a caller looks for the connection it has a right to before it pauses between looks.
const QUICK_TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// Opens connections of one kind.
pub trait Manager: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;

    /// Opens one. Bounded by `pool.connect_timeout` from outside.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Whether the server refused a connection only because it has no room for more.
    fn is_full(&self, _refusal: &Error) -> bool {
        false
    }

    /// Whether a connection that was idle may be lent; no I/O.
    fn is_usable(&self, connection: &Self::Connection) -> bool;
}

/// A pool; cheap to clone.
pub struct Pool<M: Manager>(Arc<Inner<M>>);

struct Inner<M: Manager> {
    manager: Arc<M>,
    settings: PoolSettings,
    queue: Queue,
    counters: Arc<Counters>,
    shards: RwLock<Vec<Shard<M>>>,
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Manager> std::fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("counters", &self.0.counters).finish_non_exhaustive()
    }
}

impl<M: Manager> Pool<M> {
    /// A pool that opens nothing yet. `name` is the database's, for messages.
    pub fn new(name: &str, settings: &PoolSettings, manager: M) -> Self {
        let counters = Arc::new(Counters::new(name, settings.max.get()));
        Self(Arc::new(Inner {
            manager: Arc::new(manager),
            settings: settings.clone(),
            queue: Queue::new(settings, Arc::clone(&counters)),
            counters,
            shards: RwLock::new(Vec::new()),
        }))
    }

    /// Lends a connection: an idle one, else a new one, else the next that comes back, in the order
    /// in which callers came.
    ///
    /// # Errors
    /// `PoolExhausted` after `pool.acquire_timeout` or when too many wait, `DeadlineExceeded` when the
    /// deadline comes first, `ShuttingDown` after [`Pool::close`], or why no connection could be opened.
    ///
    /// # Cancel safety
    /// May be dropped at any await: the place in the queue is given up.
    pub async fn acquire(&self, deadline: Deadline) -> Result<Checkout<M>> {
        self.acquire_after(Duration::ZERO, deadline).await
    }

    /// The same for a caller that has waited elsewhere: `pool.acquire_timeout` bounds both together.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub async fn acquire_after(&self, waited: Duration, deadline: Deadline) -> Result<Checkout<M>> {
        let permit = self.0.queue.enter(waited, deadline).await?;
        // Of a process that was stopped and goes on, or of a caller that gave no time at all: a
        // statement that is begun now can only be cancelled, and a write's outcome be unknown.
        if deadline.left(Instant::now()).is_zero() {
            return Err(self.0.queue.deadline_passed("getting a connection"));
        }
        let checkout = self.lend(permit, deadline).await?;
        self.0.counters.acquired.fetch_add(1, Relaxed);
        Ok(checkout)
    }

    /// Opens connections on the calling worker until it has `count` of them, or as many as callers
    /// leave: it never waits for one, as a connection that a caller holds is open already.
    ///
    /// # Errors
    /// Why the first that failed could not be opened.
    pub async fn warm_up(&self, count: usize) -> Result<()> {
        let deadline = Deadline::at(Instant::now() + self.0.settings.connect_timeout * 2);
        let permits = (0..count).map_while(|_| self.0.queue.enter_at_once());
        let held = try_join_all(permits.map(|permit| self.lend(permit, deadline))).await?;
        drop(held);
        Ok(())
    }

    /// State and counters; `statements` and `resets` are the backend's to fill in.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        let idle = self.0.shards.read().iter().map(Shard::idle).sum();
        let settings = &self.0.settings;
        let mut snapshot = self.0.counters.snapshot(idle);
        snapshot.max = settings.max.get();
        snapshot.min = settings.min;
        (snapshot.waiting, snapshot.oldest_wait) = self.0.queue.waiting(Instant::now());
        snapshot
    }

    /// Closes idle connections now and the others when they come back; later callers are refused.
    pub fn close(&self) {
        self.0.counters.closing.store(true, Relaxed);
        self.0.queue.close();
        for shard in self.0.shards.read().iter() {
            shard.close();
        }
    }

    async fn lend(&self, permit: OwnedSemaphorePermit, deadline: Deadline) -> Result<Checkout<M>> {
        let found = tokio::time::timeout_at(deadline.instant().into(), self.take()).await;
        match found {
            Ok(object) => Ok(Checkout::new(object?, permit, Arc::clone(&self.0.counters))),
            Err(_elapsed) => Err(self.0.queue.deadline_passed("opening a connection")),
        }
    }

    /// Takes a connection for a caller that holds a permit, so one is idle somewhere or may be
    /// opened; only a race with another caller can hide it, and that caller then moves on. Should that
    /// take long (its thread was stopped, say), looking must not keep this worker busy.
    async fn take(&self) -> Result<shard::Object<M>> {
        let own = self.own_shard();
        let mut tries = 0;
        loop {
            match own.take().await {
                Ok(object) => return Ok(object),
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Closed) => return Err(self.0.queue.shutting_down()),
                Err(Refusal::Full) => {}
            }
            let neighbours: Vec<Shard<M>> =
                self.0.shards.read().iter().filter(|shard| !shard.is(&own)).cloned().collect();
            for shard in neighbours {
                if let Ok(object) = shard.take().await {
                    return Ok(object);
                }
            }
            if tries < QUICK_TRIES {
                tries += 1;
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
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
        let shard = Shard::new(
            worker,
            Arc::clone(&self.0.manager),
            &self.0.settings,
            Arc::clone(&self.0.counters),
        );
        shards.push(shard.clone());
        shard
    }
}

/// The error of a caller that comes after the end.
fn shutting_down(database: &str) -> Error {
    Error::new(ErrorKind::ShuttingDown, format!("database \"{database}\" is shutting down"))
        .with_retry_after(queue::RETRY_AFTER)
}

#[cfg(test)]
mod tests;
