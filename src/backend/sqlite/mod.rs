//! SQLite, compiled in: the database that needs no installation.
//!
//! The file is in WAL mode, with one connection that writes and several that read, each on a thread
//! of its own (`connection`). SQLite itself decides whether a statement writes, once it has compiled
//! it; the statement's first words only save the detour over a reader. The `authorizer` decides what a statement
//! may do to a connection.

mod authorizer;
mod column_types;
mod command_tag;
mod connection;
mod error;
mod execute;
mod figures;
mod file;
mod file_maintenance;
mod idempotency;
mod idempotency_table;
mod interruptible;
mod online_copy;
mod open_connections;
mod parameters;
mod pattern;
mod reader_writer_pools;
mod row_channel;
mod session;
mod shared_commit;
mod sqlite_admin;
mod stop_check;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::backend::{
    Backend, Batch, BatchResult, BatchStrategy, BeginRequest, ConnectBreaker, DescribeRequest,
    Description, EngineInfo, IdempotencyKey, MaintenanceState, RowStream, Statement, Transaction,
    TransactionHandle, TransactionMode, TransactionOutcome,
};
use crate::config::{Database, PoolSettings, SqliteTarget};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::{CallContext, Pool, PoolAdmin, PoolSnapshot};
use crate::telemetry;
use command_tag::{command, writes};
use connection::{ConnectionThread, GiveUp, Opener, ThreadWatch, job, submit};
use execute::batch::run_batch;
use execute::describe::describe;
use execute::row_stream::{PendingJob, SqliteRowStream};
use execute::statement_run::run;
use execute::transaction::{SqliteTransaction, TransactionSettings};
use file_maintenance::{FileMaintenance, MaintenanceLimits, maintain};
use idempotency_table::KeyTable;
pub(crate) use online_copy::{Claim, Copied, check_copy, claim_file, copy_database};
use open_connections::OpenConnections;
use reader_writer_pools::PoolPair;
use row_channel::{RowSender, connection_lost, row_channel};
use session::{Role, Session, SessionConfig};
use shared_commit::{
    BatchWrite, GroupLimits, SharedWork, StatementWrite, Write, WriteQueue, batch_may_share,
    group_job, statement_may_share,
};
pub(crate) use sqlite_admin::SqliteAdmin;

/// A SQLite database: a pool of readers and a pool of one writer.
pub(crate) struct Sqlite {
    config: Arc<SessionConfig>,
    breaker: Arc<ConnectBreaker>,
    pools: PoolPair,
    give_up: GiveUp,
    /// The writes that may share a commit and wait for the connection.
    writes: Arc<WriteQueue>,
    group: GroupLimits,
    maintenance: Arc<FileMaintenance>,
}

impl Sqlite {
    /// Opens a database. Does no I/O: the file is created by the first connection, which also reports a path
    /// that does not work.
    pub(crate) fn open(
        telemetry: &Arc<telemetry::DatabaseTelemetry>,
        config: &Database,
        target: &SqliteTarget,
    ) -> Self {
        let name = telemetry.name();
        let shared = Arc::new(SessionConfig {
            name: name.to_owned(),
            path: target.path.clone(),
            max_row_size: config.max_row_size,
            heap_limit: config.sqlite_heap_limit,
            statement_cache: config.statement_cache.get(),
            lock_timeout: config.lock_timeout,
            connect_timeout: config.pool.connect_timeout,
            details: config.error_details,
            statement_timeout: config.statement_timeout,
            keys: KeyTable::new(&config.idempotency.table, config.idempotency.retention),
            open_connections: OpenConnections::default(),
            statements: AtomicU64::new(0),
        });
        let breaker = ConnectBreaker::new(name, config);
        let opener =
            |role| Opener { breaker: Arc::clone(&breaker), config: Arc::clone(&shared), role };
        let single = PoolSettings {
            min: config.pool.min.min(1),
            max: NonZeroUsize::MIN,
            overflow: 0,
            ..config.pool.clone()
        };
        let pools = PoolPair {
            readers: Pool::new(telemetry, &config.pool, opener(Role::Reader)),
            writer: Pool::new(telemetry, &single, opener(Role::Writer)),
        };
        let give_up = GiveUp {
            after: config.sqlite_unresponsive_after,
            spare: Arc::new(Semaphore::new(config.sqlite_max_given_up)),
        };
        let group = GroupLimits { max: config.sqlite_group_max, time: config.sqlite_group_time };
        let limits = MaintenanceLimits {
            time: config.sqlite_maintenance_time,
            log_size: config.sqlite_log_limit,
        };
        let maintenance = Arc::new(FileMaintenance::new(Arc::clone(&shared), limits));
        let writes = Arc::default();
        Self { config: shared, breaker, pools, give_up, writes, group, maintenance }
    }

    async fn start(&self, statement: Arc<Statement>) -> Result<Box<dyn RowStream>> {
        let deadline = statement.deadline.within(Instant::now(), self.config.statement_timeout);
        if (statement.read_only || !writes(&command(&statement.sql)))
            && let Some(stream) = self.start_on(Role::Reader, &statement, deadline).await?
        {
            return Ok(Box::new(stream));
        }
        let stream = if statement_may_share(&statement) {
            let work = StatementWrite::new(Arc::clone(&statement));
            let job = self.submit_shared(work, deadline, &statement.context).await?;
            SqliteRowStream::start(job, Outcome::Applied).await?
        } else {
            self.start_on(Role::Writer, &statement, deadline).await?
        };
        Ok(Box::new(stream.ok_or_else(connection_lost)?))
    }

    /// Submits a write that may share its commit with others. It waits for the connection like any other, unless
    /// one that has got it takes it along.
    async fn submit_shared<W: SharedWork>(
        &self,
        work: W,
        deadline: Deadline,
        context: &Arc<CallContext>,
    ) -> Result<PendingJob<W::Output>> {
        let (sender, receiver) = row_channel(deadline.instant());
        let (place, taken) = self.writes.enter(Box::new(Write::new(sender, work)));
        let acquired = tokio::select! {
            biased;
            _closed = taken => None,
            acquired = self.pools.writer.acquire(deadline, context) => Some(acquired),
        };
        if let Some(acquired) = acquired
            && let Some(write) = place.take()
        {
            submit(acquired?, group_job(write, Arc::clone(&self.writes), self.group))?;
        }
        Ok(PendingJob::new(receiver, deadline).terminated_by(context))
    }

    /// Starts a statement on a connection of this role; `None`: it writes, and the connection is a reader.
    async fn start_on(
        &self,
        role: Role,
        statement: &Arc<Statement>,
        deadline: Deadline,
    ) -> Result<Option<SqliteRowStream<'static>>> {
        let sent = Arc::clone(statement);
        let work = move |session: &mut Session, sender: &RowSender<_>| run(session, &sent, sender);
        let job = self.submit(role, deadline, &statement.context, work).await?;
        let outcome = match role {
            Role::Reader => Outcome::NotApplied,
            Role::Writer => Outcome::Applied,
        };
        SqliteRowStream::start(job, outcome).await
    }

    /// Submits a job to a connection of this role.
    async fn submit<T: Send + 'static>(
        &self,
        role: Role,
        deadline: Deadline,
        context: &Arc<CallContext>,
        work: impl FnOnce(&mut Session, &RowSender<T>) -> Result<T> + Send + 'static,
    ) -> Result<PendingJob<T>> {
        let checkout = self.pools.of(role).acquire(deadline, context).await?;
        let (sender, receiver) = row_channel(deadline.instant());
        let slot = submit(checkout, job(sender, work))?;
        let watch = ThreadWatch::new(slot, role, &self.give_up);
        Ok(PendingJob::new(receiver, deadline).watched(watch).terminated_by(context))
    }

    /// Runs a job on a connection of this role and waits for its result.
    async fn run<T: Send + 'static>(
        &self,
        role: Role,
        deadline: Deadline,
        context: Arc<CallContext>,
        work: impl FnOnce(&mut Session, &RowSender<T>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(role, deadline, &context, work).await?.end().await
    }
}

/// The role of the connection for a transaction.
fn role(mode: TransactionMode) -> Role {
    if mode.read_only { Role::Reader } else { Role::Writer }
}

impl Backend for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn engine(&self) -> EngineInfo {
        let version = rusqlite::version();
        let label = format!("SQLite {version}");
        EngineInfo { label, version: version.to_owned(), missing: Vec::new() }
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        Box::pin(self.start(statement))
    }

    fn execute_batch(
        &self,
        batch: Arc<Batch>,
        _: BatchStrategy,
    ) -> BoxFuture<'_, Result<BatchResult>> {
        let context = Arc::clone(&batch.context);
        let deadline = batch.deadline;
        if batch_may_share(&batch) {
            return Box::pin(async move {
                self.submit_shared(BatchWrite(batch), deadline, &context).await?.end().await
            });
        }
        Box::pin(self.run(role(batch.mode), deadline, context, move |session, sender| {
            run_batch(session, &batch, sender)
        }))
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        Box::pin(async move {
            let role = role(request.mode);
            let pool = self.pools.of(role);
            let checkout = pool.acquire_for_transaction(request.deadline, &request.context).await?;
            let settings = TransactionSettings {
                role,
                statement_timeout: self.config.statement_timeout,
                give_up: self.give_up.clone(),
            };
            let begun = SqliteTransaction::begin(checkout, request, settings).await?;
            Ok(Box::new(begun) as _)
        })
    }

    fn outcome(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>> {
        Box::pin(async move {
            let TransactionHandle::Key { caller, key } = handle else {
                let why = "SQLite issues no tokens";
                return Err(Error::field(ErrorKind::InvalidParameter, "transaction_token", why));
            };
            let work = move |session: &mut Session, _: &RowSender<_>| {
                idempotency::outcome(session, &caller, &key)
            };
            self.run(Role::Reader, deadline, context, work).await
        })
    }

    fn stored_results(
        &self,
        key: IdempotencyKey,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<Option<BatchResult>>> {
        let work = move |session: &mut Session, _: &RowSender<_>| {
            idempotency::stored_results(session, &key)
        };
        Box::pin(self.run(Role::Reader, deadline, context, work))
    }

    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        let context = CallContext::own("sweep");
        Box::pin(self.run(Role::Writer, deadline, context, |session, sender| {
            idempotency::delete_expired(session, sender)
        }))
    }

    fn maintain(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(maintain(&self.maintenance))
    }

    fn maintenance(&self) -> Option<MaintenanceState> {
        Some(self.maintenance.state())
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        let DescribeRequest { sql, include_plan, deadline, context, .. } = request;
        Box::pin(self.run(Role::Reader, deadline, context, move |session, _sender| {
            describe(session, &sql, include_plan)
        }))
    }

    fn breaker(&self) -> &Arc<ConnectBreaker> {
        &self.breaker
    }

    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>> {
        let probing = async {
            let deadline = Deadline::at(Instant::now() + self.config.connect_timeout);
            // A new connection each time: an open one would not notice that the file has become
            // unreadable.
            let config = Arc::clone(&self.config);
            let connection = ConnectionThread::open(config, Role::Reader).await?;
            let (sender, receiver) = row_channel(deadline.instant());
            connection.submit(job(sender, |session, _sender| session.probe()))?;
            PendingJob::new(receiver, deadline).end().await
        };
        Box::pin(async move {
            self.breaker.probe(limit, probing).await?;
            self.pools.writer.reached();
            self.pools.readers.reached();
            Ok(())
        })
    }

    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            // The writer first: it creates the file.
            self.pools.writer.warm_up(connections.min(1)).await?;
            self.pools.readers.warm_up(connections).await
        })
    }

    fn pool(&self) -> PoolSnapshot {
        let statements = self.config.statements.load(Ordering::Relaxed);
        PoolSnapshot { statements, ..self.pools.snapshot() }
    }

    fn control(&self) -> &dyn PoolAdmin {
        &self.pools
    }

    fn close(&self) {
        self.maintenance.close();
        self.pools.readers.close();
        self.pools.writer.close();
    }

    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.config.open_connections.none())
    }
}
