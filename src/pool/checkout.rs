//! A connection on loan.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use deadpool::managed;
use tokio::sync::OwnedSemaphorePermit;

use super::Manager;
use super::shard::{Object, Pooled};
use super::stats::{CloseReason, Counters};

/// A connection on loan; goes back to the pool when dropped.
pub struct Checkout<M: Manager> {
    // Declared before the permit: the connection is back before the next in the queue is let in.
    object: Object<M>,
    permit: OwnedSemaphorePermit,
    counters: Arc<Counters>,
}

impl<M: Manager> Checkout<M> {
    pub(super) fn new(
        object: Object<M>,
        permit: OwnedSemaphorePermit,
        counters: Arc<Counters>,
    ) -> Self {
        Self { object, permit, counters }
    }

    /// Closes the connection instead of giving it back.
    pub fn discard(self, reason: CloseReason) {
        let Self { object, permit, counters } = self;
        let Pooled { connection, mut slot } = managed::Object::take(object);
        slot.closes_because(reason);
        drop((connection, slot, permit, counters));
    }
}

impl<M: Manager> std::fmt::Debug for Checkout<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkout")
            .field("database", &self.counters.database)
            .finish_non_exhaustive()
    }
}

impl<M: Manager> Deref for Checkout<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.object.connection
    }
}

impl<M: Manager> DerefMut for Checkout<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.object.connection
    }
}
