//! A connection on checkout.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use deadpool::managed;

use super::shard::Object;
use super::snapshot::CloseReason;
use super::{CallContext, Inner, Manager};
use crate::clock::now;
use crate::pool::queue::admission::Permit;

/// A connection on checkout; goes back to the pool when dropped.
pub struct Checkout<M: Manager> {
    object: Option<Object<M>>,
    pool: Arc<Inner<M>>,
    context: Arc<CallContext>,
    id: u64,
    lent: Instant,
    // Dropped last: the connection is back before the next in the queue is let in.
    _permit: Permit,
    _share: Option<Permit>,
}

impl<M: Manager> Checkout<M> {
    pub(crate) fn new(
        object: Object<M>,
        pool: Arc<Inner<M>>,
        context: &Arc<CallContext>,
        permit: Permit,
    ) -> Self {
        let id = pool.registry.enter(context, permit.since(), object.condition.clone());
        let context = Arc::clone(context);
        Self { object: Some(object), pool, context, id, lent: now(), _permit: permit, _share: None }
    }

    /// With the right to hold it through a transaction, given back with it.
    pub(crate) fn with_share(mut self, share: Permit) -> Self {
        self._share = Some(share);
        self
    }

    /// For whom.
    #[must_use]
    pub fn context(&self) -> &Arc<CallContext> {
        &self.context
    }

    /// Closes the connection instead of giving it back.
    pub fn discard(mut self, reason: CloseReason) {
        if reason == CloseReason::Broken {
            self.pool.common.trust.lost_one(now());
        }
        if let Some(object) = self.object.take() {
            close::<M>(object, reason);
        }
    }
}

impl<M: Manager> Drop for Checkout<M> {
    fn drop(&mut self) {
        if let Some(mut object) = self.object.take() {
            let now = now();
            match self.pool.end_of_returned(&object, now) {
                Some(reason) => close::<M>(object, reason),
                None => {
                    object.life.idle_since = now;
                    drop(object);
                }
            }
        }
        self.pool.registry.remove(self.id);
        self.pool.common.telemetry.connection_returned(now().saturating_duration_since(self.lent));
    }
}

fn close<M: Manager>(object: Object<M>, reason: CloseReason) {
    let mut pooled = managed::Object::take(object);
    pooled.slot.closes_because(reason);
}

impl<M: Manager> Inner<M> {
    /// Why a connection that comes back is closed, if it is.
    fn end_of_returned(&self, object: &Object<M>, now: Instant) -> Option<CloseReason> {
        let counters = &self.common.counters;
        if let Some(reason) = self.common.trust.outlived(&object.life) {
            return Some(reason);
        }
        if object.life.expires.is_some_and(|expires| expires <= now) {
            return Some(CloseReason::Lifetime);
        }
        // One more than is kept, unless the next caller would only have to open another.
        let too_many = counters.slots() > counters.max();
        (too_many && self.queue.waiting(now).0 == 0).then_some(CloseReason::Overflow)
    }
}

impl<M: Manager> std::fmt::Debug for Checkout<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkout")
            .field("id", &self.id)
            .field("context", &self.context)
            .finish_non_exhaustive()
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
