//! The handle of a pool, and the acquisition of connections.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::Instrument as _;

use super::call_context::CallContext;
use super::checkout::{Checkout, Permits};
use super::checkout_registry::CheckoutRegistry;
use super::counters::Counters;
use super::lifetime::PoolHealth;
use super::maintenance;
use super::manager::Manager;
use super::pool_state::{PoolState, transaction_limit};
use super::queue::admission::{Admission, Permit, QueueKind};
use super::refill::Refill;
use super::shard::{PooledObject, Shard};
use super::shard_manager::{ShardContext, TakeError};
use crate::clock::now;
use crate::config::PoolSettings;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::telemetry::{Acquiring, DatabaseTelemetry};

/// The number of tries that a caller with a permit makes before it pauses between tries.
const TRIES_WITHOUT_PAUSE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);
/// As long as any `failover_wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// A pool.
pub(crate) struct Pool<M: Manager>(pub(super) Arc<PoolState<M>>);

impl<M: Manager> Pool<M> {
    /// Returns the pool of a database; it opens no connections yet.
    pub(crate) fn new(
        telemetry: &Arc<DatabaseTelemetry>,
        settings: &PoolSettings,
        manager: M,
    ) -> Self {
        let counters = Arc::new(Counters::new(telemetry.name(), settings));
        let queue = |kind, limit| Admission::new(kind, limit, settings, Arc::clone(&counters));
        let transactions = transaction_limit(settings.max.get(), settings.transaction_share);
        // The deadline is the only limit.
        let of_servers = PoolSettings { acquire_timeout: LONGEST_WAIT, ..settings.clone() };
        Self(Arc::new(PoolState {
            manager: Arc::new(manager),
            queue: queue(QueueKind::Connection, counters.limit()),
            transactions: queue(QueueKind::Transaction, transactions),
            servers: Admission::new(QueueKind::Server, 1, &of_servers, Arc::clone(&counters)),
            context: Arc::new(ShardContext {
                counters,
                health: PoolHealth::default(),
                settings: settings.clone(),
                refill: Refill::default(),
                telemetry: Arc::clone(telemetry),
                server_full_until: Mutex::default(),
                returned: Notify::new(),
            }),
            registry: CheckoutRegistry::default(),
            shards: RwLock::default(),
            reaping: Mutex::default(),
            server_full: tokio::sync::Mutex::default(),
        }))
    }

    /// Acquires a connection: an idle one, else a new one, else the next that is returned, in the order in
    /// which callers came; different callers take turns.
    ///
    /// Fails with `PoolExhausted` after `pool.acquire_timeout`, when too many callers wait, or when the deadline
    /// is sure to come first; `DeadlineExceeded` when the deadline comes first; `PoolPaused` instead of these
    /// while the pool is paused, `ShuttingDown` after [`Pool::close`], `Terminated` when an operator terminated the
    /// call, or the failure to open a connection.
    ///
    /// # Cancel safety
    /// May be dropped at any await, which leaves the queue.
    pub(crate) async fn acquire(
        &self,
        deadline: Deadline,
        context: &Arc<CallContext>,
    ) -> Result<Checkout<M>> {
        let acquiring = pin!(self.acquire_after(Duration::ZERO, deadline, context, None));
        self.recorded(context, acquiring).await
    }

    /// Acquires a connection for a whole transaction: `pool.transaction_share` bounds the number of such
    /// checkouts, and `pool.acquire_timeout` bounds both waits together. Else as [`Pool::acquire`].
    pub(crate) async fn acquire_for_transaction(
        &self,
        deadline: Deadline,
        context: &Arc<CallContext>,
    ) -> Result<Checkout<M>> {
        let acquiring = pin!(async {
            let began = now();
            let transactions = &self.0.transactions;
            let permit = transactions.enter(Duration::ZERO, deadline, context.caller()).await?;
            let waited = now().saturating_duration_since(began);
            self.acquire_after(waited, deadline, context, Some(permit)).await
        });
        self.recorded(context, acquiring).await
    }

    /// Waits until there is a server, in the order of coming; callers take turns as for a connection. No
    /// connection is held meanwhile.
    ///
    /// # Cancel safety
    /// May be dropped at any await, which leaves the line.
    pub(crate) async fn wait_for_server(
        &self,
        reached: impl Future<Output = ()>,
        deadline: Deadline,
        caller: &str,
    ) -> Result<()> {
        let servers = &self.0.servers;
        // Whoever is first waits for the server, and then lets the next one pass.
        let turn = servers.enter(Duration::ZERO, deadline, caller).await?;
        let waited = tokio::time::timeout_at(deadline.instant().into(), reached).await;
        drop(turn);
        waited.map_err(|_elapsed| servers.deadline_passed("waiting for a server"))
    }

    /// Records an acquisition and its result.
    async fn recorded(
        &self,
        context: &CallContext,
        acquiring: Pin<&mut impl Future<Output = Result<Checkout<M>>>>,
    ) -> Result<Checkout<M>> {
        let database = &self.0.context.telemetry;
        let call = context.telemetry();
        let attempt = Acquiring::begin(database, call, now());
        let acquired = if attempt.span.is_none() {
            acquiring.await
        } else {
            acquiring.instrument(attempt.span.clone()).await
        };
        match &acquired {
            Ok(_) => attempt.acquired(database, call, now()),
            Err(error) => attempt.failed(error),
        }
        acquired
    }

    /// Acquires a connection for a caller that has waited elsewhere before.
    pub(super) async fn acquire_after(
        &self,
        waited: Duration,
        deadline: Deadline,
        context: &Arc<CallContext>,
        transaction: Option<Permit>,
    ) -> Result<Checkout<M>> {
        if context.is_terminated() {
            return Err(context.terminated_error());
        }
        let queue = &self.0.queue;
        let permit = queue.enter(waited, deadline, context.caller()).await?;
        // A process that was suspended, or a caller without any time: a statement that began now could only
        // be cancelled, and the outcome of a write would be unknown.
        if deadline.left(now()).is_zero() {
            return Err(queue.deadline_passed("getting a connection"));
        }
        let own = self.own_shard();
        let taking = self.take(&own, &permit);
        let taken = tokio::time::timeout_at(deadline.instant().into(), taking).await;
        let Ok(object) = taken else {
            return Err(queue.deadline_passed("opening a connection"));
        };
        let permits = Permits { connection: permit, transaction };
        let checkout = Checkout::new(object?, own, Arc::clone(&self.0), context, permits);
        self.0.context.counters.acquired.fetch_add(1, Relaxed);
        Ok(checkout)
    }

    /// Opens connections on the calling worker until it has `count` of them, or as many as the bound allows, or
    /// an attempt fails; it does not wait for callers. From then on `pool.min` are kept open.
    pub(crate) async fn warm_up(&self, count: usize) -> Result<()> {
        let own = self.own_shard();
        let missing = count.saturating_sub(own.size());
        let permits = (0..missing).map_while(|_| self.0.queue.try_enter());
        let opening = permits.map(|permit| async {
            let opened = own.open_one().await;
            drop(permit);
            match opened {
                Ok(()) | Err(TakeError::Exhausted) => Ok(()),
                Err(TakeError::Closed) => Err(self.0.queue.shutting_down()),
                Err(TakeError::ServerFull(error) | TakeError::Connect(error)) => Err(error),
            }
        });
        try_join_all(opening).await?;
        Ok(())
    }

    /// The generation that connections outside of the pool must be of to be used for its callers; `None` while it
    /// is paused or closed.
    pub(crate) fn open_generation(&self) -> Option<u64> {
        self.0.queue.is_open().then(|| self.0.context.health.generation())
    }

    /// Notes that the database was reached on another connection: missing connections are opened at once.
    pub(crate) fn reached(&self) {
        self.0.context.reached();
    }

    /// Closes idle connections now and the others when they are returned; later callers get `ShuttingDown`.
    pub(crate) fn close(&self) {
        let counters = &self.0.context.counters;
        counters.closing.store(true, SeqCst);
        self.0.transactions.close();
        self.0.servers.close();
        self.0.queue.close();
        for shard in self.0.shards.read().iter() {
            shard.close();
        }
        counters.wake.notify_waiters();
    }

    /// Takes a connection for a caller that holds a permit, so one is idle somewhere or may be
    /// opened; only a race with another caller can hide it, and that caller then moves on. In case that
    /// takes long (its thread was suspended, say), the tries must not keep this worker busy.
    async fn take(&self, own: &Shard<M>, permit: &Permit) -> Result<PooledObject<M>> {
        let mut tries = 0;
        let mut server_full = None;
        loop {
            let full_error = match self.take_own(own).await {
                Ok(object) => return Ok(object),
                Err(TakeError::Connect(error)) => {
                    return self.take_elsewhere(own).await.ok_or(error);
                }
                Err(TakeError::Closed) => return Err(self.0.queue.shutting_down()),
                Err(TakeError::Exhausted) => None,
                Err(TakeError::ServerFull(error)) => Some(error),
            };
            if let Some(object) = self.take_elsewhere(own).await {
                return Ok(object);
            }
            if let Some(error) = full_error {
                let until = permit.since + self.0.context.settings.acquire_timeout;
                if server_full.is_none() {
                    let turn = self.0.server_full.lock();
                    server_full = tokio::time::timeout_at(until.into(), turn).await.ok();
                }
                if now() >= until {
                    return Err(error);
                }
                tries = TRIES_WITHOUT_PAUSE;
            }
            if tries < TRIES_WITHOUT_PAUSE {
                tries += 1;
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Takes an idle connection of this worker or opens one. A server that takes no more connections may answer none
    /// for long while its open ones work: one that is idle elsewhere, or becomes idle, is taken at once, and the one that
    /// is being opened is for a later caller.
    async fn take_own(&self, own: &Shard<M>) -> Result<PooledObject<M>, TakeError> {
        match own.take_idle().await {
            Err(TakeError::Exhausted) if self.0.context.counters.may_open() => {
                // The future is large, and nearly no call needs it.
                Box::pin(self.open_or_take_returned(own)).await
            }
            taken => taken,
        }
    }

    async fn open_or_take_returned(&self, own: &Shard<M>) -> Result<PooledObject<M>, TakeError> {
        let shard = own.clone();
        let mut taking = Box::pin(async move { shard.take().await });
        tokio::select! {
            biased;
            taken = &mut taking => taken,
            idle = self.take_returned(own) => {
                let context = Arc::clone(&self.0.context);
                tokio::spawn(async move {
                    drop(taking.await);
                    context.returned.notify_waiters();
                });
                Ok(idle)
            }
        }
    }

    /// Waits for a connection that is idle, of whichever worker, and takes it.
    async fn take_returned(&self, own: &Shard<M>) -> PooledObject<M> {
        loop {
            let mut returned = pin!(self.0.context.returned.notified());
            returned.as_mut().enable();
            if let Ok(object) = own.take_idle().await {
                return object;
            }
            if let Some(object) = self.take_elsewhere(own).await {
                return object;
            }
            returned.await;
        }
    }

    /// Takes an idle connection of another worker.
    async fn take_elsewhere(&self, own: &Shard<M>) -> Option<PooledObject<M>> {
        let is_other = |shard: &&Shard<M>| shard.worker != own.worker;
        let others: Vec<_> = self.0.shards.read().iter().filter(is_other).cloned().collect();
        for shard in others {
            if let Ok(object) = shard.take_idle().await {
                return Some(object);
            }
        }
        None
    }

    fn own_shard(&self) -> Shard<M> {
        let worker = Handle::current().id();
        let find =
            |shards: &[Shard<M>]| shards.iter().find(|shard| shard.worker == worker).cloned();
        if let Some(shard) = find(&self.0.shards.read()) {
            return shard;
        }
        let mut shards = self.0.shards.write();
        if let Some(shard) = find(&shards) {
            return shard;
        }
        let context = &self.0.context;
        let shard = Shard::new(worker, Arc::clone(&self.0.manager), Arc::clone(context));
        shards.push(shard.clone());
        let pool = Arc::downgrade(&self.0);
        tokio::spawn(maintenance::run(pool, Arc::clone(&context.counters), worker));
        shard
    }
}
