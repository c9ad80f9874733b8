//! The connections of one worker.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use deadpool::managed::{
    self, Metrics, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts,
};
use tokio::runtime::{Handle, Id};

use super::Manager;
use super::stats::{CloseReason, Counters, Slot};
use crate::config::PoolSettings;
use crate::error::{Error, ErrorKind, Result};

pub(super) type Object<M> = managed::Object<Opener<M>>;

/// A deadpool pool whose connections live on one worker.
pub(super) struct Shard<M: Manager> {
    worker: Id,
    pool: managed::Pool<Opener<M>>,
}

impl<M: Manager> Clone for Shard<M> {
    fn clone(&self) -> Self {
        Self { worker: self.worker, pool: self.pool.clone() }
    }
}

/// Why a shard lends nothing.
pub(super) enum Refusal {
    /// It has no idle connection and the pool's bound allows no new one.
    Full,
    /// It is closed.
    Closed,
    /// A connection could not be opened.
    Failed(Error),
}

/// A connection and what the pool knows of it.
pub(super) struct Pooled<C> {
    pub(super) connection: C,
    pub(super) slot: Slot,
}

impl<M: Manager> Shard<M> {
    pub(super) fn new(
        worker: Id,
        manager: Arc<M>,
        settings: &PoolSettings,
        counters: Arc<Counters>,
    ) -> Self {
        let opener =
            Opener { worker, manager, connect_timeout: settings.connect_timeout, counters };
        // The most recently used first: few busy connections cost less than many.
        let pool = managed::Pool::builder(opener)
            .max_size(settings.max.get())
            .queue_mode(QueueMode::Lifo)
            .build()
            .expect("a pool without timeouts needs no runtime");
        Self { worker, pool }
    }

    pub(super) fn runs_on(&self, worker: Id) -> bool {
        self.worker == worker
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.runs_on(other.worker)
    }

    pub(super) fn idle(&self) -> usize {
        self.pool.status().available
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Takes an idle connection or opens one.
    pub(super) async fn take(&self) -> Result<Object<M>, Refusal> {
        let at_once = Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };
        self.pool.timeout_get(&at_once).await.map_err(|error| match error {
            PoolError::Backend(refusal) => refusal,
            PoolError::Closed => Refusal::Closed,
            // Every permit of the queue is also a permit here, so a connection is on its way back.
            PoolError::Timeout(_) => Refusal::Full,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Refusal::Full,
        })
    }
}

/// Opens the connections of one worker, on that worker.
pub(super) struct Opener<M> {
    worker: Id,
    manager: Arc<M>,
    connect_timeout: Duration,
    counters: Arc<Counters>,
}

impl<M: Manager> managed::Manager for Opener<M> {
    type Type = Pooled<M::Connection>;
    type Error = Refusal;

    async fn create(&self) -> Result<Self::Type, Refusal> {
        if self.counters.closing.load(Relaxed) {
            return Err(Refusal::Closed);
        }
        // A borrower whose find was stale: it opens one on its own worker, where it will be driven.
        if Handle::current().id() != self.worker {
            return Err(Refusal::Full);
        }
        let mut slot = Slot::reserve(&self.counters).ok_or(Refusal::Full)?;
        let connecting = self.counters.connecting();
        let opened = tokio::time::timeout(self.connect_timeout, self.manager.connect()).await;
        drop(connecting);
        let failure = match opened {
            Ok(Ok(connection)) => {
                slot.opened();
                return Ok(Pooled { connection, slot });
            }
            // While some of ours are open, one of them comes back.
            Ok(Err(error)) if self.manager.is_full(&error) && self.counters.open() > 0 => {
                self.no_room(error)
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => self.timed_out(),
        };
        self.counters.connect_failures.fetch_add(1, Relaxed);
        Err(Refusal::Failed(failure))
    }

    async fn recycle(&self, pooled: &mut Self::Type, _: &Metrics) -> RecycleResult<Refusal> {
        if self.manager.is_usable(&pooled.connection) {
            return Ok(());
        }
        pooled.slot.closes_because(CloseReason::Broken);
        Err(RecycleError::message("not usable"))
    }
}

impl<M> Opener<M> {
    fn no_room(&self, refusal: Error) -> Error {
        let database = &self.counters.database;
        let message = format!("the server of database \"{database}\" takes no more connections");
        Error::new(ErrorKind::PoolExhausted, message)
            .with_hint("Lower pool.max, or raise max_connections of the server.")
            .with_retry_after(super::queue::RETRY_AFTER)
            .with_cause(refusal)
    }

    fn timed_out(&self) -> Error {
        let database = &self.counters.database;
        let limit = humantime::format_duration(self.connect_timeout);
        Error::new(
            ErrorKind::DatabaseUnavailable,
            format!("connection to database \"{database}\" timed out after {limit}"),
        )
        .with_retry_after(Duration::from_millis(250))
    }
}
