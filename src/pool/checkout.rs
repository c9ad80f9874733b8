//! A connection that is checked out.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use deadpool::managed;

use super::call_context::CallContext;
use super::manager::Manager;
use super::pool_state::PoolState;
use super::queue::admission::Permit;
use super::shard::PooledObject;
use super::snapshot::CloseReason;
use crate::clock::now;

/// A connection that is checked out; returns to the pool when dropped.
pub(crate) struct Checkout<M: Manager> {
    object: Option<PooledObject<M>>,
    pool: Arc<PoolState<M>>,
    context: Arc<CallContext>,
    id: u64,
    acquired_at: Instant,
    // Dropped last: the connection is back before the next caller is admitted.
    _permit: Permit,
    _transaction_permit: Option<Permit>,
}

impl<M: Manager> Checkout<M> {
    pub(crate) fn new(
        object: PooledObject<M>,
        pool: Arc<PoolState<M>>,
        context: &Arc<CallContext>,
        permit: Permit,
        transaction_permit: Option<Permit>,
    ) -> Self {
        let id = pool.registry.add(context, permit.since, object.activity.clone());
        Self {
            object: Some(object),
            pool,
            context: Arc::clone(context),
            id,
            acquired_at: now(),
            _permit: permit,
            _transaction_permit: transaction_permit,
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
            close::<M>(object, reason);
        }
    }
}

impl<M: Manager> Drop for Checkout<M> {
    fn drop(&mut self) {
        let now = now();
        if let Some(mut object) = self.object.take() {
            match self.pool.close_reason_on_return(&object, now) {
                Some(reason) => close::<M>(object, reason),
                None => {
                    object.lifetime.idle_since = now;
                    drop(object);
                    self.pool.context.returned.notify_waiters();
                }
            }
        }
        self.pool.registry.remove(self.id);
        let held = now.saturating_duration_since(self.acquired_at);
        self.pool.context.telemetry.connection_returned(held);
    }
}

fn close<M: Manager>(object: PooledObject<M>, reason: CloseReason) {
    managed::Object::take(object).permit.set_close_reason(reason);
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
