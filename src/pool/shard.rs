//! The connections of one worker.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use deadpool::managed::{self, PoolError, QueueMode, Timeouts};
use parking_lot::Mutex;
use tokio::runtime::Id;

use super::manager::Manager;
use super::shard_manager::{IDLE_ONLY, PooledConnection, ShardContext, ShardManager, TakeError};
use super::snapshot::CloseReason;
use super::surplus::Surplus;
use crate::error::Error;

pub(crate) type PooledObject<M> = managed::Object<ShardManager<M>>;

/// A deadpool pool whose connections live on one worker.
pub(crate) struct Shard<M: Manager> {
    pub(crate) worker: Id,
    pool: managed::Pool<ShardManager<M>>,
}

impl<M: Manager> Clone for Shard<M> {
    fn clone(&self) -> Self {
        Self { worker: self.worker, pool: self.pool.clone() }
    }
}

impl<M: Manager> Shard<M> {
    pub(crate) fn new(worker: Id, manager: Arc<M>, context: Arc<ShardContext>) -> Self {
        let size = context.counters.limit();
        let manager = ShardManager {
            worker,
            manager,
            context,
            unclaimed: Mutex::default(),
            held: AtomicUsize::new(0),
        };
        // The most recently used first: few busy connections cost less than many.
        let pool = managed::Pool::builder(manager)
            .max_size(size)
            .queue_mode(QueueMode::Lifo)
            .build()
            .expect("a pool without timeouts needs no runtime");
        Self { worker, pool }
    }

    pub(crate) fn idle(&self) -> usize {
        self.pool.status().available + self.unclaimed().lock().len()
    }

    /// The number of connections, idle or not.
    pub(crate) fn size(&self) -> usize {
        self.pool.status().size + self.unclaimed().lock().len()
    }

    /// The number of connections that callers of its worker hold, of whichever worker these are.
    pub(crate) fn held(&self) -> &AtomicUsize {
        &self.pool.manager().held
    }

    /// Returns true if it needs a connection more than `other` does, which has more.
    pub(crate) fn needs_one_of(&self, other: &Self) -> bool {
        let size = self.size();
        let others = other.size();
        others >= size + 2
            && self.held().load(Relaxed) > size
            && other.held().load(Relaxed) < others
    }

    pub(crate) fn close(&self) {
        self.pool.close();
        drop(std::mem::take(&mut *self.unclaimed().lock()));
    }

    /// Closes a connection that was taken.
    pub(crate) fn close_taken(object: PooledObject<M>, reason: CloseReason) {
        managed::Object::take(object).permit.set_close_reason(reason);
    }

    /// Raises its capacity, which never falls, as other bounds limit the pool.
    pub(crate) fn grow(&self, size: usize) {
        if size > self.pool.status().max_size {
            self.pool.resize(size);
        }
    }

    /// Takes an idle connection or opens one.
    pub(crate) async fn take(&self) -> Result<PooledObject<M>, TakeError> {
        let at_once = Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };
        self.pool.timeout_get(&at_once).await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Closed => TakeError::Closed,
            // Every permit of the queue is also a permit here, so a connection is about to be returned.
            PoolError::Timeout(_)
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => TakeError::Exhausted,
        })
    }

    /// Takes an idle connection. Where all turn out to be dead none is opened: callers of another worker open one on
    /// their own, which will drive it.
    pub(crate) async fn take_idle(&self) -> Result<PooledObject<M>, TakeError> {
        IDLE_ONLY.scope((), pin!(self.take())).await
    }

    /// Opens a connection for any caller.
    pub(crate) async fn open_one(&self) -> Result<(), TakeError> {
        let opened = self.pool.manager().open().await?;
        self.offer(opened)
    }

    /// Opens a connection for any caller in place of one of another worker, which is closed then. Fails with that one
    /// if none can be opened.
    pub(crate) async fn open_instead(
        &self,
        old: PooledObject<M>,
    ) -> Result<(), (PooledObject<M>, Error)> {
        if let Some(opened) = self.pool.manager().open_instead(old).await? {
            // A pool that was closed meanwhile closes it.
            drop(self.offer(opened));
        }
        Ok(())
    }

    fn offer(&self, opened: PooledConnection<M::Connection>) -> Result<(), TakeError> {
        let context = &self.pool.manager().context;
        let mut unclaimed = self.unclaimed().lock();
        if context.counters.closing.load(Relaxed) {
            drop(unclaimed);
            return Err(TakeError::Closed);
        }
        unclaimed.push(opened);
        drop(unclaimed);
        context.returned.notify_waiters();
        Ok(())
    }

    /// Closes idle connections that are dead, too old, or too many.
    pub(crate) fn reap(&self, now: Instant, surplus: &mut Surplus) {
        let manager = self.pool.manager();
        // Those that have to go come first: so many fewer of the others are too many.
        self.close_idle(|pooled| manager.reason_to_evict(pooled, now).inspect(|_| surplus.take()));
        let limit = manager.context.settings.idle_timeout;
        self.close_idle(|pooled| {
            let idle = now.saturating_duration_since(pooled.lifetime.idle_since);
            let was_idle_for_long = !limit.is_zero() && idle >= limit;
            let reason = surplus.reason_to_close(was_idle_for_long)?;
            surplus.take();
            Some(reason)
        });
    }

    /// Closes the idle connections for which there is a reason.
    fn close_idle(
        &self,
        mut reason_to_close: impl FnMut(&PooledConnection<M::Connection>) -> Option<CloseReason>,
    ) {
        let mut reasons = Vec::new();
        let mut stays = |pooled: &PooledConnection<M::Connection>| {
            let reason = reason_to_close(pooled);
            reasons.extend(reason);
            reason.is_none()
        };
        let mut evicted = self.pool.retain(|pooled, _| stays(pooled)).removed;
        evicted.extend(self.unclaimed().lock().extract_if(.., |pooled| !stays(pooled)));
        for (mut pooled, reason) in evicted.into_iter().zip(reasons) {
            pooled.permit.set_close_reason(reason);
        }
    }

    fn unclaimed(&self) -> &Mutex<Vec<PooledConnection<M::Connection>>> {
        &self.pool.manager().unclaimed
    }
}
