//! Connections that are opened once and lent many times.
//!
//! Generic over what a connection is; it knows no SQL. Wraps deadpool, one pool a worker, under one
//! bound and one queue for all of them.

mod stats;

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

pub use stats::{CloseReason, PoolSnapshot};

use crate::config::PoolSettings;
use crate::error::Result;
use crate::resilience::Deadline;

/// Opens connections of one kind.
pub trait Manager: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;

    /// Opens one. Bounded by `pool.connect_timeout` from outside.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Whether a connection that was idle may be lent; no I/O.
    fn is_usable(&self, connection: &Self::Connection) -> bool;
}

/// A pool; cheap to clone.
pub struct Pool<M: Manager>(PhantomData<M>);

/// A connection on loan; goes back to the pool when dropped.
pub struct Checkout<M: Manager>(M::Connection);

impl<M: Manager> Pool<M> {
    /// A pool that opens nothing yet. `name` is the database's, for messages.
    pub fn new(_name: &str, _settings: &PoolSettings, _manager: M) -> Self {
        Self(PhantomData)
    }

    /// Lends a connection: an idle one, else a new one, else the next that comes back, in the order
    /// in which callers came.
    ///
    /// # Errors
    /// `PoolExhausted` after `pool.acquire_timeout` or when too many wait, `DeadlineExceeded` when the
    /// deadline comes first, `ShuttingDown` after [`Pool::close`], or why no connection could be opened.
    #[expect(clippy::unused_async, reason = "to be written")]
    pub async fn acquire(&self, _deadline: Deadline) -> Result<Checkout<M>> {
        Err(crate::error::Error::new(crate::error::ErrorKind::Internal, "to be written"))
    }

    /// Opens `pool.min` connections.
    ///
    /// # Errors
    /// Why the first that failed could not be opened.
    #[expect(clippy::unused_async, reason = "to be written")]
    pub async fn warm_up(&self) -> Result<()> {
        Ok(())
    }

    /// State and counters; `statements` and `resets` are the backend's to fill in.
    pub fn snapshot(&self) -> PoolSnapshot {
        PoolSnapshot::default()
    }

    /// Closes idle connections now and the others when they come back.
    pub fn close(&self) {}
}

impl<M: Manager> Checkout<M> {
    /// Closes the connection instead of giving it back.
    pub fn discard(self, _reason: CloseReason) {}
}

impl<M: Manager> Deref for Checkout<M> {
    type Target = M::Connection;
    fn deref(&self) -> &M::Connection {
        &self.0
    }
}

impl<M: Manager> DerefMut for Checkout<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.0
    }
}
