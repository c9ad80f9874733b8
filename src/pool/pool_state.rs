//! The state of a pool, which its handles, checkouts and maintenance tasks share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::checkout_registry::CheckoutRegistry;
use super::manager::Manager;
use super::shard::{PooledObject, Shard};
use super::shard_manager::ShardContext;
use super::snapshot::CloseReason;
use super::surplus::Surplus;
use crate::clock::now;
use crate::pool::queue::admission::Admission;

pub(crate) struct PoolState<M: Manager> {
    pub(crate) manager: Arc<M>,
    pub(crate) context: Arc<ShardContext>,
    pub(crate) queue: Arc<Admission>,
    /// The queue before it, for callers that hold a connection through a whole transaction.
    pub(crate) transactions: Arc<Admission>,
    /// The queue of callers that wait for a failover, before they come for a connection again.
    pub(crate) servers: Arc<Admission>,
    pub(crate) registry: CheckoutRegistry,
    pub(crate) shards: RwLock<Vec<Shard<M>>>,
    /// Held while connections are counted and closed, and while the bounds change.
    pub(crate) reaping: Mutex<()>,
    /// Held by the one caller that keeps trying while the server is full.
    pub(crate) server_full: tokio::sync::Mutex<()>,
}

impl<M: Manager> PoolState<M> {
    /// The age from which a checkout is a leak, if any.
    pub(crate) fn leak_threshold(&self) -> Option<Duration> {
        Some(self.context.settings.leak_threshold).filter(|threshold| !threshold.is_zero())
    }

    /// Closes idle connections of a shard that are dead, too old, or too many.
    pub(crate) fn reap(&self, shard: &Shard<M>) {
        // Two at once would both count the same surplus.
        let _reaping = self.reaping.lock();
        let counters = &self.context.counters;
        let open = counters.open();
        let mut surplus = Surplus {
            over_max: open.saturating_sub(counters.max()),
            over_min: open.saturating_sub(counters.min()),
        };
        shard.reap(now(), &mut surplus);
    }

    /// Closes idle connections of all shards as far as needed, and wakes the tasks that open missing ones.
    pub(crate) fn maintain(&self) {
        for shard in self.shards.read().iter() {
            self.reap(shard);
        }
        self.context.counters.wake.notify_waiters();
    }

    /// The reason to close a connection that is returned, if any.
    pub(crate) fn close_reason_on_return(
        &self,
        object: &PooledObject<M>,
        now: Instant,
    ) -> Option<CloseReason> {
        let counters = &self.context.counters;
        if let Some(reason) = self.context.health.invalidated(&object.lifetime) {
            return Some(reason);
        }
        if object.lifetime.is_over(now) {
            return Some(CloseReason::Lifetime);
        }
        // One above `max` is kept if the next caller would only have to open another.
        let is_surplus =
            counters.permits() > counters.max() && self.queue.waiting(now).callers == 0;
        is_surplus.then_some(CloseReason::Overflow)
    }
}

/// The number of `max` connections that may be held through transactions; at least one.
pub(crate) fn transaction_limit(max: usize, share: f64) -> usize {
    let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    // The largest count within the share, compared as the fractions that people write: 0.3 of 10 is 3.
    (1..=max).rev().find(|held| float(*held) / float(max) <= share).unwrap_or(1)
}
