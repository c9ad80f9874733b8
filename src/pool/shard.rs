//! The connections of one worker.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use deadpool::managed::{
    self, Metrics, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts,
};
use parking_lot::Mutex;
use tokio::runtime::Id;
use tokio::sync::Notify;
use tracing::Instrument as _;

use super::checkout_registry::ConnectionActivity;
use super::counters::{ConnectionPermit, Counters};
use super::lifetime::{IdleCheck, Lifetime, PoolHealth, expiry};
use super::manager::Manager;
use super::refill::Refill;
use super::snapshot::CloseReason;
use super::surplus::Surplus;
use crate::clock::now;
use crate::config::PoolSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{Connecting, DatabaseTelemetry};

tokio::task_local! {
    /// Set while a caller takes an idle connection and wants none opened.
    static IDLE_ONLY: ();
}

pub(crate) type PooledObject<M> = managed::Object<ShardManager<M>>;

/// An idle connection that does not answer within this time is lost.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(1);
/// The time in which no connection is attempted after the server was at its limit of connections.
const SERVER_FULL_PAUSE: Duration = Duration::from_millis(500);

/// The state that all shards of a pool share.
pub(crate) struct ShardContext {
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: PoolHealth,
    pub(crate) settings: PoolSettings,
    pub(crate) refill: Refill,
    pub(crate) telemetry: Arc<DatabaseTelemetry>,
    /// The time until which the server is taken to be at its limit of connections.
    pub(crate) server_full_until: Mutex<Option<Instant>>,
    /// Wakes the callers that open a connection: another one is idle.
    pub(crate) returned: Notify,
}

impl ShardContext {
    /// Notes that the database was reached, which ends a pause of the refill.
    pub(crate) fn reached(&self) {
        if self.refill.reached() {
            self.counters.wake.notify_waiters();
        }
    }
}

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

/// The reason for which a shard has no connection to take.
pub(crate) enum TakeError {
    /// It has no idle connection and the pool's bound allows no new one.
    Exhausted,
    /// The server is at its limit of connections, while some of them are of this pool and will be returned.
    ServerFull(Error),
    Closed,
    /// A connection could not be opened.
    Connect(Error),
}

/// A connection of the pool and its state.
pub(crate) struct PooledConnection<C> {
    /// Boxed: it is moved many times between the pool and its callers.
    pub(crate) connection: Box<C>,
    pub(crate) permit: ConnectionPermit,
    pub(crate) lifetime: Lifetime,
    pub(crate) activity: Option<Arc<dyn ConnectionActivity>>,
    /// The worker that opened it.
    pub(crate) worker: Id,
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
        let manager = self.pool.manager();
        let opened = manager.open().await?;
        let mut unclaimed = self.unclaimed().lock();
        if manager.context.counters.closing.load(Relaxed) {
            drop(unclaimed);
            return Err(TakeError::Closed);
        }
        unclaimed.push(opened);
        drop(unclaimed);
        manager.context.returned.notify_waiters();
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

/// Opens the connections of one worker, on that worker.
pub(crate) struct ShardManager<M: Manager> {
    worker: Id,
    manager: Arc<M>,
    context: Arc<ShardContext>,
    /// Connections that were opened ahead and not taken yet: deadpool itself opens one only for a caller that
    /// needs it at once.
    unclaimed: Mutex<Vec<PooledConnection<M::Connection>>>,
    held: AtomicUsize,
}

impl<M: Manager> managed::Manager for ShardManager<M> {
    type Type = PooledConnection<M::Connection>;
    type Error = TakeError;

    async fn create(&self) -> Result<Self::Type, TakeError> {
        loop {
            let Some(mut pooled) = self.unclaimed.lock().pop() else {
                if IDLE_ONLY.try_with(|()| ()).is_ok() {
                    return Err(TakeError::Exhausted);
                }
                // The future is large, deadpool keeps room for it several times over, and nearly no call needs it.
                return Box::pin(self.open()).await;
            };
            if self.is_healthy(&mut pooled).await {
                return Ok(pooled);
            }
        }
    }

    async fn recycle(&self, pooled: &mut Self::Type, _: &Metrics) -> RecycleResult<TakeError> {
        if self.is_healthy(pooled).await {
            return Ok(());
        }
        Err(RecycleError::message("not healthy"))
    }
}

impl<M: Manager> ShardManager<M> {
    async fn open(&self) -> Result<PooledConnection<M::Connection>, TakeError> {
        let ShardContext { counters, health, settings, telemetry, .. } = &*self.context;
        let began = now();
        let mut permit = self.permit_to_open(began)?;
        // An invalidation while the connection is being opened concerns it too.
        let generation = health.generation();
        let connecting = Arc::clone(&counters.connecting);
        let attempt = Connecting::begin(telemetry);
        let opened = self.connect().instrument(attempt.0.clone()).await;
        // Counted while this one is still being opened: its own permit is none of a connection.
        let are_others_open = counters.open() > 0;
        drop(connecting);
        match opened {
            Ok(connection) => {
                let now = now();
                let took = now.saturating_duration_since(began);
                permit.opened(took);
                attempt.opened(telemetry, took);
                self.context.reached();
                let PoolSettings { max_lifetime, lifetime_jitter, .. } = *settings;
                let expires = expiry(now, max_lifetime, lifetime_jitter, fastrand::f64());
                let lifetime = Lifetime { expires, idle_since: now, generation };
                let activity = self.manager.activity(&connection);
                let connection = Box::new(connection);
                let worker = self.worker;
                Ok(PooledConnection { connection, permit, lifetime, activity, worker })
            }
            Err(error) => {
                counters.connect_failures.fetch_add(1, Relaxed);
                attempt.failed(&error);
                if !self.manager.is_full(&error) || !are_others_open {
                    return Err(TakeError::Connect(error));
                }
                *self.context.server_full_until.lock() = Some(now() + SERVER_FULL_PAUSE);
                Err(TakeError::ServerFull(self.server_full().with_cause(error)))
            }
        }
    }

    fn permit_to_open(&self, now: Instant) -> Result<ConnectionPermit, TakeError> {
        let counters = &self.context.counters;
        if counters.closing.load(Relaxed) {
            return Err(TakeError::Closed);
        }
        let is_full = self.context.server_full_until.lock().is_some_and(|until| now < until);
        if counters.open() > 0 && is_full {
            return Err(TakeError::ServerFull(self.server_full()));
        }
        self.manager.may_connect().map_err(TakeError::Connect)?;
        ConnectionPermit::try_acquire(counters).ok_or(TakeError::Exhausted)
    }

    async fn connect(&self) -> Result<M::Connection> {
        let limit = self.context.settings.connect_timeout;
        let connected = tokio::time::timeout(limit, self.manager.connect()).await;
        connected.unwrap_or_else(|_elapsed| {
            let database = &self.context.counters.database;
            let limit = humantime::format_duration(limit);
            let message = format!("connection to database \"{database}\" timed out after {limit}");
            Err(Error::new(ErrorKind::DatabaseUnavailable, message))
        })
    }

    /// Returns true if an idle connection may be checked out. Only one that was idle for long, or at the time
    /// when another was lost, is validated.
    async fn is_healthy(&self, pooled: &mut PooledConnection<M::Connection>) -> bool {
        let now = now();
        match self.check(pooled, now, self.context.settings.validate_after_idle) {
            IdleCheck::Healthy => return true,
            IdleCheck::Evict(reason) => {
                pooled.permit.set_close_reason(reason);
                return false;
            }
            IdleCheck::Validate => {}
        }
        Box::pin(self.validate(pooled, now)).await
    }

    async fn validate(&self, pooled: &mut PooledConnection<M::Connection>, now: Instant) -> bool {
        let ShardContext { health, settings, .. } = &*self.context;
        // If the caller stops waiting for the answer, the connection is closed as it is.
        pooled.permit.set_close_reason(CloseReason::Broken);
        let limit = VALIDATION_TIMEOUT.min(settings.connect_timeout);
        let validation = self.manager.validate(&mut pooled.connection);
        match tokio::time::timeout(limit, validation).await {
            Ok(true) => {
                pooled.permit.set_close_reason(CloseReason::Shutdown);
                return true;
            }
            Ok(false) => health.connection_lost(now),
            Err(_elapsed) => health.connection_unresponsive(now),
        }
        false
    }

    fn check(
        &self,
        pooled: &PooledConnection<M::Connection>,
        now: Instant,
        validate_after: Duration,
    ) -> IdleCheck {
        let health = &self.context.health;
        if !self.manager.is_usable(&pooled.connection) {
            health.connection_lost(now);
            return IdleCheck::Evict(CloseReason::Broken);
        }
        health.check(&pooled.lifetime, now, validate_after)
    }

    /// The reason to close an idle connection now, however many there are.
    fn reason_to_evict(
        &self,
        pooled: &PooledConnection<M::Connection>,
        now: Instant,
    ) -> Option<CloseReason> {
        if let IdleCheck::Evict(reason) = self.check(pooled, now, Duration::MAX) {
            return Some(reason);
        }
        pooled.lifetime.is_over(now).then_some(CloseReason::Lifetime)
    }

    fn server_full(&self) -> Error {
        let database = &self.context.counters.database;
        let message = format!("the server of database \"{database}\" takes no more connections");
        Error::new(ErrorKind::PoolExhausted, message)
            .with_hint("Lower pool.max, or raise max_connections of the server.")
    }
}
