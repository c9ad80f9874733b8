//! A connection that is checked out.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::call_context::CallContext;
use super::manager::Manager;
use super::pool_state::PoolState;
use super::queue::admission::Permit;
use super::rebalance;
use super::shard::{PooledObject, Shard};
use super::snapshot::CloseReason;
use crate::clock::now;

/// A connection that is checked out; returns to the pool when dropped.
pub(crate) struct Checkout<M: Manager> {
    object: Option<PooledObject<M>>,
    /// The shard of the caller's worker.
    own: Shard<M>,
    pool: Arc<PoolState<M>>,
    context: Arc<CallContext>,
    id: u64,
    acquired_at: Instant,
    // Dropped last: the connection is back before the next caller is admitted.
    permits: Option<Permits>,
}

/// The permits of a caller that holds a connection.
pub(crate) struct Permits {
    pub(crate) connection: Permit,
    /// The permit of one that holds it through a whole transaction.
    #[expect(dead_code, reason = "it is held")]
    pub(crate) transaction: Option<Permit>,
}

impl<M: Manager> Checkout<M> {
    pub(crate) fn new(
        object: PooledObject<M>,
        own: Shard<M>,
        pool: Arc<PoolState<M>>,
        context: &Arc<CallContext>,
        permits: Permits,
    ) -> Self {
        let id = pool.registry.add(context, permits.connection.since, object.activity.clone());
        own.held().fetch_add(1, Relaxed);
        Self {
            object: Some(object),
            own,
            pool,
            context: Arc::clone(context),
            id,
            acquired_at: now(),
            permits: Some(permits),
        }
    }

    pub(crate) fn context(&self) -> &Arc<CallContext> {
        &self.context
    }

    /// Closes the connection instead of returning it.
    pub(crate) fn discard(mut self, reason: CloseReason) {
        if reason == CloseReason::Broken {
            self.pool.context.health.connection_lost(now());
        }
        if let Some(object) = self.object.take() {
            Shard::close_taken(object, reason);
        }
    }
}

impl<M: Manager> Drop for Checkout<M> {
    fn drop(&mut self) {
        let now = now();
        if let Some(mut object) = self.object.take() {
            object.lifetime.idle_since = now;
            match self.pool.close_reason_on_return(&object, now) {
                Some(reason) => Shard::close_taken(object, reason),
                None if rebalance::is_due(&self.pool, &self.own, &object) => {
                    rebalance::start(&self.pool, &self.own, object, self.permits.take());
                }
                None => {
                    drop(object);
                    self.pool.context.returned.notify_waiters();
                }
            }
        }
        self.own.held().fetch_sub(1, Relaxed);
        self.pool.registry.remove(self.id);
        let held = now.saturating_duration_since(self.acquired_at);
        self.pool.context.telemetry.connection_returned(held);
    }
}

impl<M: Manager> Deref for Checkout<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.object.as_ref().expect("only the end takes it").connection
    }
}

impl<M: Manager> DerefMut for Checkout<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.object.as_mut().expect("only the end takes it").connection
    }
}
