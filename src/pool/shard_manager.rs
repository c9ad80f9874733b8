//! The deadpool manager of a shard: opens its connections, and decides which of them may be checked out.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
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
use crate::clock::now;
use crate::config::PoolSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{Connecting, DatabaseTelemetry};

tokio::task_local! {
    /// Set while a caller takes an idle connection and wants none opened.
    pub(super) static IDLE_ONLY: ();
}

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

/// A connection that was opened.
struct Opened<C> {
    connection: C,
    /// The generation of connections that it belongs to.
    generation: u64,
    took: Duration,
}

/// Opens the connections of one worker, on that worker.
pub(crate) struct ShardManager<M: Manager> {
    pub(super) worker: Id,
    pub(super) manager: Arc<M>,
    pub(super) context: Arc<ShardContext>,
    /// Connections that were opened ahead and not taken yet: deadpool itself opens one only for a caller that
    /// needs it at once.
    pub(super) unclaimed: Mutex<Vec<PooledConnection<M::Connection>>>,
    /// The connections that callers of this worker hold.
    pub(super) held: AtomicUsize,
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
    pub(super) async fn open(&self) -> Result<PooledConnection<M::Connection>, TakeError> {
        let permit = self.permit_to_open(now())?;
        let counters = &self.context.counters;
        let connecting = Arc::clone(&counters.connecting);
        let opened = self.connect().await;
        // Counted while this one is still being opened: its own permit is none of a connection.
        let are_others_open = counters.open() > 0;
        drop(connecting);
        match opened {
            Ok(opened) => Ok(self.pooled(opened, permit)),
            Err(error) if !self.manager.is_full(&error) || !are_others_open => {
                Err(TakeError::Connect(error))
            }
            Err(error) => {
                *self.context.server_full_until.lock() = Some(now() + SERVER_FULL_PAUSE);
                Err(TakeError::ServerFull(self.server_full().with_cause(error)))
            }
        }
    }

    /// Opens a connection in place of another one, which is closed then. Fails with that one if none can be opened.
    pub(super) async fn open_instead(
        &self,
        old: managed::Object<Self>,
    ) -> Result<Option<PooledConnection<M::Connection>>, (managed::Object<Self>, Error)> {
        if let Err(error) = self.manager.may_connect() {
            return Err((old, error));
        }
        let opened = match self.connect().await {
            Ok(opened) => opened,
            Err(error) => return Err((old, error)),
        };
        managed::Object::take(old).permit.set_close_reason(CloseReason::Rebalanced);
        // A caller may have been faster, and have opened one.
        let permit = ConnectionPermit::try_acquire(&self.context.counters);
        Ok(permit.map(|permit| self.pooled(opened, permit)))
    }

    fn pooled(
        &self,
        opened: Opened<M::Connection>,
        mut permit: ConnectionPermit,
    ) -> PooledConnection<M::Connection> {
        let Opened { connection, generation, took } = opened;
        permit.opened(took);
        let PoolSettings { max_lifetime, lifetime_jitter, .. } = self.context.settings;
        let now = now();
        let expires = expiry(now, max_lifetime, lifetime_jitter, fastrand::f64());
        let lifetime = Lifetime { expires, idle_since: now, generation };
        let activity = self.manager.activity(&connection);
        PooledConnection {
            connection: Box::new(connection),
            permit,
            lifetime,
            activity,
            worker: self.worker,
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

    /// Opens a connection that has no permit yet.
    async fn connect(&self) -> Result<Opened<M::Connection>> {
        let ShardContext { counters, health, settings, telemetry, .. } = &*self.context;
        let began = now();
        // An invalidation while the connection is being opened concerns it too.
        let generation = health.generation();
        let attempt = Connecting::begin(telemetry);
        let limit = settings.connect_timeout;
        let connecting = tokio::time::timeout(limit, self.manager.connect());
        let connected = connecting.instrument(attempt.0.clone()).await;
        let connected = connected.unwrap_or_else(|_elapsed| {
            let database = &counters.database;
            let limit = humantime::format_duration(limit);
            let message = format!("connection to database \"{database}\" timed out after {limit}");
            Err(Error::new(ErrorKind::DatabaseUnavailable, message))
        });
        match connected {
            Ok(connection) => {
                let took = now().saturating_duration_since(began);
                attempt.opened(telemetry, took);
                self.context.reached();
                Ok(Opened { connection, generation, took })
            }
            Err(error) => {
                counters.connect_failures.fetch_add(1, Relaxed);
                attempt.failed(&error);
                Err(error)
            }
        }
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
    pub(super) fn reason_to_evict(
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
