//! The operators' view of a pool and their commands.

use super::acquire::Pool;
use super::call_context::Termination;
use super::checkout_registry::CheckoutInfo;
use super::manager::Manager;
use super::pool_state::{PoolState, transaction_limit};
use super::shard::Shard;
use super::snapshot::{CloseReason, PoolSnapshot};
use crate::clock::now;
use crate::error::{Error, ErrorKind, Result};

/// The largest `max` that a pool can be given at run time, as that of `pool.max`.
const MAX_CONNECTIONS: usize = 10_000;

/// The operators' view of a pool and their commands, whatever its connections are.
pub(crate) trait PoolAdmin: Send + Sync {
    /// The state and counters; `statements` and `resets` are the backend's to fill in.
    fn snapshot(&self) -> PoolSnapshot;

    /// The connections that are checked out, the oldest first.
    fn checkouts(&self) -> Vec<CheckoutInfo>;

    /// Admits no more callers: they wait, within their deadline and `pool.acquire_timeout`. Checkouts go on;
    /// the pool is quiescent when [`PoolSnapshot::in_use`] is 0.
    fn pause(&self);

    /// Admits callers again, in the order in which they came.
    fn resume(&self);

    /// Closes idle connections now and the others when they are returned, so that every later caller gets a
    /// connection opened from now on.
    fn flush(&self, reason: CloseReason);

    /// Sets the bounds, checked by [`PoolBounds::with`]. Connections above the new `max` are closed when they are
    /// returned.
    fn resize(&self, min: Option<usize>, max: Option<usize>) -> Result<()>;

    /// Ends the work of a checkout: its statement is cancelled, its transaction rolled back, and its caller gets
    /// `Terminated`, or `ShuttingDown`. Returns false if there is no such checkout (any more).
    fn terminate(&self, id: u64, cause: Termination) -> bool;
}

/// The bounds of a pool, as in its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolBounds {
    pub min: usize,
    pub max: usize,
}

impl PoolBounds {
    /// Returns these bounds with those replaced that are given, unless they are out of range.
    pub(crate) fn with(self, min: Option<usize>, max: Option<usize>) -> Result<Self> {
        let invalid = |field: &str, description: String| {
            Err(Error::field(ErrorKind::InvalidOption, field, description))
        };
        let bounds = Self { min: min.unwrap_or(self.min), max: max.unwrap_or(self.max) };
        if !(1..=MAX_CONNECTIONS).contains(&bounds.max) {
            let description = format!("must be from 1 to {MAX_CONNECTIONS}, not {}", bounds.max);
            return invalid("max", description);
        }
        if bounds.min > bounds.max {
            let field = if min.is_some() { "min" } else { "max" };
            let Self { min, max } = bounds;
            return invalid(field, format!("min would be {min}, above max, which is {max}"));
        }
        Ok(bounds)
    }
}

impl<M: Manager> PoolAdmin for Pool<M> {
    fn snapshot(&self) -> PoolSnapshot {
        let PoolState { context, queue, transactions, servers, shards, .. } = &*self.0;
        let idle = shards.read().iter().map(Shard::idle).sum();
        let now = now();
        let for_connection = queue.waiting(now);
        let for_transaction = transactions.waiting(now);
        let for_server = servers.waiting(now);
        let waiting = for_connection.callers + for_transaction.callers + for_server.callers;
        PoolSnapshot {
            // The first of those that wait for a server has been admitted.
            waiting: waiting + servers.admitted(),
            oldest_wait: for_connection.oldest.max(for_transaction.oldest).max(for_server.oldest),
            paused: queue.is_paused(),
            ..context.counters.snapshot(idle)
        }
    }

    fn checkouts(&self) -> Vec<CheckoutInfo> {
        self.0.registry.list(now(), self.0.leak_threshold())
    }

    fn pause(&self) {
        self.0.queue.pause();
        self.0.transactions.pause();
    }

    fn resume(&self) {
        self.0.queue.resume();
        self.0.transactions.resume();
        self.0.context.counters.wake.notify_waiters();
    }

    fn flush(&self, reason: CloseReason) {
        if reason == CloseReason::Admin {
            self.0.manager.reconnects();
        }
        self.0.context.health.invalidate_all(reason);
        self.0.maintain();
    }

    fn resize(&self, min: Option<usize>, max: Option<usize>) -> Result<()> {
        let counters = &self.0.context.counters;
        // Two at once must not mix their bounds.
        let reaping = self.0.reaping.lock();
        let bounds = PoolBounds { min: counters.min(), max: counters.max() }.with(min, max)?;
        counters.resize(bounds.min, bounds.max);
        drop(reaping);
        for shard in self.0.shards.read().iter() {
            shard.grow(counters.limit());
        }
        self.0.queue.resize(counters.limit());
        let share = self.0.context.settings.transaction_share;
        self.0.transactions.resize(transaction_limit(counters.max(), share));
        self.0.maintain();
        Ok(())
    }

    fn terminate(&self, id: u64, cause: Termination) -> bool {
        self.0.registry.terminate(id, cause)
    }
}
