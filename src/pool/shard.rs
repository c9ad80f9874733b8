//! The connections of one worker.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use deadpool::managed::{
    self, Metrics, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts,
};
use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};
use tracing::Instrument as _;

use super::counters::{Counters, Slot};
use super::lifetime::{Fitness, Life, Trust, expiry};
use super::maintenance::Refill;
use super::snapshot::CloseReason;
use super::{ConnectionActivity, Manager};
use crate::clock::now;
use crate::config::PoolSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{Connecting, DatabaseTelemetry};

pub(crate) type Object<M> = managed::Object<Opener<M>>;

/// An idle connection that does not answer within this is lost.
const ANSWER: Duration = Duration::from_secs(1);
/// How long no connection is tried after the server had no room for one.
const NO_ROOM: Duration = Duration::from_millis(500);

/// What the shards of a pool share.
pub(crate) struct Common {
    pub(crate) counters: Arc<Counters>,
    pub(crate) trust: Trust,
    pub(crate) settings: PoolSettings,
    pub(crate) refill: Refill,
    pub(crate) telemetry: Arc<DatabaseTelemetry>,
    /// Until when the server is taken to have no room.
    no_room: Mutex<Option<Instant>>,
}

impl Common {
    pub(crate) fn new(
        counters: Arc<Counters>,
        settings: &PoolSettings,
        telemetry: Arc<DatabaseTelemetry>,
    ) -> Self {
        let no_room = Mutex::new(None);
        let (trust, refill) = (Trust::new(), Refill::default());
        Self { counters, trust, settings: settings.clone(), refill, telemetry, no_room }
    }
}

/// A deadpool pool whose connections live on one worker.
pub(crate) struct Shard<M: Manager> {
    worker: Id,
    pool: managed::Pool<Opener<M>>,
}

impl<M: Manager> Clone for Shard<M> {
    fn clone(&self) -> Self {
        Self { worker: self.worker, pool: self.pool.clone() }
    }
}

/// Why a shard lends nothing.
pub(crate) enum Refusal {
    /// It has no idle connection and the pool's bound allows no new one.
    Full,
    /// The server has no room for more, while some of ours are open: one of them comes back.
    NoRoom(Error),
    /// It is closed.
    Closed,
    /// A connection could not be opened.
    Failed(Error),
}

/// A connection and what the pool knows of it.
pub(crate) struct Pooled<C> {
    pub(crate) connection: C,
    pub(crate) slot: Slot,
    pub(crate) life: Life,
    pub(crate) condition: Option<Arc<dyn ConnectionActivity>>,
}

/// How many idle connections may be closed that are nothing but too many.
pub(crate) struct Surplus {
    /// Over `max`.
    pub(crate) over: usize,
    /// Over `min`, if they were idle for long.
    pub(crate) spare: usize,
}

impl<M: Manager> Shard<M> {
    pub(crate) fn new(worker: Id, manager: Arc<M>, common: Arc<Common>) -> Self {
        let size = common.counters.limit();
        let opener = Opener { worker, manager, common, newborn: Mutex::default() };
        // The most recently used first: few busy connections cost less than many.
        let pool = managed::Pool::builder(opener)
            .max_size(size)
            .queue_mode(QueueMode::Lifo)
            .build()
            .expect("a pool without timeouts needs no runtime");
        Self { worker, pool }
    }

    pub(crate) fn runs_on(&self, worker: Id) -> bool {
        self.worker == worker
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.runs_on(other.worker)
    }

    pub(crate) fn idle(&self) -> usize {
        self.pool.status().available + self.newborn().lock().len()
    }

    /// Connections, idle or not.
    pub(crate) fn size(&self) -> usize {
        self.pool.status().size + self.newborn().lock().len()
    }

    pub(crate) fn close(&self) {
        self.pool.close();
        drop(std::mem::take(&mut *self.newborn().lock()));
    }

    /// Makes room for more; never for less, as it is not what bounds the pool.
    pub(crate) fn grow(&self, size: usize) {
        if size > self.pool.status().max_size {
            self.pool.resize(size);
        }
    }

    /// Takes an idle connection or opens one.
    pub(crate) async fn take(&self) -> Result<Object<M>, Refusal> {
        let at_once = Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };
        self.pool.timeout_get(&at_once).await.map_err(|error| match error {
            PoolError::Backend(refusal) => refusal,
            PoolError::Closed => Refusal::Closed,
            // Every permit of the queue is also a permit here, so a connection is on its way back.
            PoolError::Timeout(_) => Refusal::Full,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Refusal::Full,
        })
    }

    /// Opens a connection for whoever comes.
    pub(crate) async fn open_one(&self) -> Result<(), Refusal> {
        let opener = self.pool.manager();
        let newborn = opener.open().await?;
        let mut nursery = self.newborn().lock();
        if opener.is_closing() {
            drop(nursery);
            return Err(Refusal::Closed);
        }
        nursery.push(newborn);
        Ok(())
    }

    /// Closes what is idle and should not be open: dead, too old, or too many.
    pub(crate) fn reap(&self, now: Instant, surplus: &mut Surplus) {
        let opener = self.pool.manager();
        let mut reasons = Vec::new();
        let mut stays = |pooled: &Pooled<M::Connection>| {
            let reason = opener.end_of(pooled, now, surplus);
            reasons.extend(reason);
            reason.is_none()
        };
        let mut closed = self.pool.retain(|pooled, _| stays(pooled)).removed;
        closed.extend(self.newborn().lock().extract_if(.., |pooled| !stays(pooled)));
        for (mut pooled, reason) in closed.into_iter().zip(reasons) {
            pooled.slot.closes_because(reason);
        }
    }

    fn newborn(&self) -> &Mutex<Vec<Pooled<M::Connection>>> {
        &self.pool.manager().newborn
    }
}

/// Opens the connections of one worker, on that worker.
pub(crate) struct Opener<M: Manager> {
    worker: Id,
    manager: Arc<M>,
    common: Arc<Common>,
    /// Connections that were opened for nobody in particular, and not lent yet: deadpool itself opens
    /// one only for who needs it at once.
    newborn: Mutex<Vec<Pooled<M::Connection>>>,
}

impl<M: Manager> managed::Manager for Opener<M> {
    type Type = Pooled<M::Connection>;
    type Error = Refusal;

    async fn create(&self) -> Result<Self::Type, Refusal> {
        loop {
            let Some(mut newborn) = self.newborn.lock().pop() else { break };
            if self.is_fit(&mut newborn).await {
                return Ok(newborn);
            }
        }
        self.open().await
    }

    async fn recycle(&self, pooled: &mut Self::Type, _: &Metrics) -> RecycleResult<Refusal> {
        if self.is_fit(pooled).await {
            return Ok(());
        }
        Err(RecycleError::message("not fit"))
    }
}

impl<M: Manager> Opener<M> {
    fn is_closing(&self) -> bool {
        self.common.counters.closing.load(Relaxed)
    }

    async fn open(&self) -> Result<Pooled<M::Connection>, Refusal> {
        let Common { counters, trust, settings, .. } = &*self.common;
        if self.is_closing() {
            return Err(Refusal::Closed);
        }
        // A context whose find was stale: it opens one on its own worker, where it will be driven.
        if Handle::current().id() != self.worker {
            return Err(Refusal::Full);
        }
        let began = now();
        if counters.open() > 0 && self.common.no_room.lock().is_some_and(|until| began < until) {
            return Err(Refusal::NoRoom(self.no_room()));
        }
        self.manager.may_connect().map_err(Refusal::Failed)?;
        let mut slot = Slot::reserve(counters).ok_or(Refusal::Full)?;
        // What is given up while this one is being opened, it is a part of.
        let generation = trust.generation();
        let connecting = counters.connecting();
        let attempt = Connecting::begin(&self.common.telemetry);
        let connect = self.manager.connect().instrument(attempt.span().clone());
        let opened = tokio::time::timeout(settings.connect_timeout, connect).await;
        drop(connecting);
        let failure = match opened {
            Ok(Ok(connection)) => {
                let now = now();
                let took = now.saturating_duration_since(began);
                slot.opened(took);
                attempt.opened(&self.common.telemetry, took);
                let (lifetime, jitter) = (settings.max_lifetime, settings.lifetime_jitter);
                let expires = expiry(now, lifetime, jitter, fastrand::f64());
                let condition = self.manager.condition(&connection);
                let life = Life { expires, idle_since: now, generation };
                if self.common.refill.reached() {
                    counters.wake.notify_waiters();
                }
                return Ok(Pooled { connection, slot, life, condition });
            }
            Ok(Err(error)) if self.manager.is_full(&error) && counters.open() > 0 => {
                counters.connect_failures.fetch_add(1, Relaxed);
                *self.common.no_room.lock() = Some(now() + NO_ROOM);
                attempt.failed(&error);
                return Err(Refusal::NoRoom(self.no_room().with_cause(error)));
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => self.timed_out(),
        };
        counters.connect_failures.fetch_add(1, Relaxed);
        attempt.failed(&failure);
        Err(Refusal::Failed(failure))
    }

    /// Whether an idle connection may be lent. Only one that was idle for long, or is suspect, is asked.
    async fn is_fit(&self, pooled: &mut Pooled<M::Connection>) -> bool {
        let Common { trust, settings, .. } = &*self.common;
        let now = now();
        if !self.manager.is_usable(&pooled.connection) {
            trust.lost_one(now);
            pooled.slot.closes_because(CloseReason::Broken);
            return false;
        }
        match trust.judge(&pooled.life, now, settings.validate_after_idle) {
            Fitness::Fit => true,
            Fitness::Unfit(reason) => {
                pooled.slot.closes_because(reason);
                false
            }
            Fitness::Doubtful => {
                // Whoever stops waiting for the answer leaves a connection behind that nobody knows.
                pooled.slot.closes_because(CloseReason::Broken);
                let limit = ANSWER.min(settings.connect_timeout);
                let asked = self.manager.validate(&mut pooled.connection);
                match tokio::time::timeout(limit, asked).await {
                    Ok(true) => {
                        pooled.slot.closes_because(CloseReason::Shutdown);
                        true
                    }
                    Ok(false) => {
                        trust.lost_one(now);
                        false
                    }
                    Err(_elapsed) => {
                        trust.silent_one(now);
                        false
                    }
                }
            }
        }
    }

    /// Why an idle connection is to be closed now, if it is.
    fn end_of(
        &self,
        pooled: &Pooled<M::Connection>,
        now: Instant,
        surplus: &mut Surplus,
    ) -> Option<CloseReason> {
        let Common { trust, settings, .. } = &*self.common;
        if !self.manager.is_usable(&pooled.connection) {
            trust.lost_one(now);
            return Some(CloseReason::Broken);
        }
        if let Fitness::Unfit(reason) = trust.judge(&pooled.life, now, Duration::MAX) {
            return Some(reason);
        }
        if pooled.life.expires.is_some_and(|expires| expires <= now) {
            return Some(CloseReason::Lifetime);
        }
        if surplus.over > 0 {
            surplus.over -= 1;
            return Some(CloseReason::Overflow);
        }
        let idle = now.saturating_duration_since(pooled.life.idle_since);
        let limit = settings.idle_timeout;
        if surplus.spare > 0 && !limit.is_zero() && idle >= limit {
            surplus.spare -= 1;
            return Some(CloseReason::Idle);
        }
        None
    }

    fn no_room(&self) -> Error {
        let database = &self.common.counters.database;
        let message = format!("the server of database \"{database}\" takes no more connections");
        Error::new(ErrorKind::PoolExhausted, message)
            .with_hint("Lower pool.max, or raise max_connections of the server.")
            .with_retry_after(crate::pool::queue::admission::RETRY_AFTER)
    }

    fn timed_out(&self) -> Error {
        let database = &self.common.counters.database;
        let limit = humantime::format_duration(self.common.settings.connect_timeout);
        Error::new(
            ErrorKind::DatabaseUnavailable,
            format!("connection to database \"{database}\" timed out after {limit}"),
        )
        .with_retry_after(Duration::from_millis(250))
    }
}
