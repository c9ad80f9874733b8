//! SQLite, compiled in: the database that needs nothing installed.
//!
//! The file is in WAL mode, with one connection that writes and several that read, each on a thread
//! of its own (`connection`). SQLite itself says whether a statement writes, once it has compiled
//! it; the statement's first words only save the detour over a reader. What a statement may do to a
//! connection is decided in `guard`.

mod column_types;
mod command_tag;
mod connection;
mod error;
pub(crate) mod execute;
mod idempotency;
mod open_connections;
mod parameters;
mod pool_pair_admin;
mod row_channel;
mod session;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use self::connection::{Handle, Opener, Work, submit};
use self::session::{Role, Spec};
use crate::backend::{
    Backend, Batch, BatchResult, BeginRequest, ConnectBreaker, DescribeRequest, Description,
    RowStream, Statement, Transaction, TransactionHandle, TransactionMode, TransactionOutcome,
};
use crate::config::{Database, PoolSettings, SqliteTarget};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{CallContext, Pool, PoolAdmin, PoolSnapshot};
use crate::telemetry;
use command_tag::{command, writes};
use execute::row_stream::{Call, Running};
use execute::statement_run::Ran;
use execute::transaction::Open;
use idempotency::KeyTable;
use open_connections::OpenConnections;
use row_channel::{First, RowSender, lost, pipe};

/// A SQLite database: a pool of readers and a pool of one writer.
pub struct Sqlite {
    spec: Arc<Spec>,
    breaker: Arc<ConnectBreaker>,
    readers: Pool<Opener>,
    writer: Pool<Opener>,
    statements: Arc<AtomicU64>,
}

impl Sqlite {
    /// A database. Does no I/O: the file is created by the first connection, which also finds a path
    /// that does not work.
    #[must_use]
    pub fn open(
        telemetry: &Arc<telemetry::DatabaseTelemetry>,
        config: &Database,
        target: &SqliteTarget,
    ) -> Self {
        let name = telemetry.name();
        let spec = Arc::new(Spec {
            name: name.to_owned(),
            path: target.path.clone(),
            max_row_size: config.max_row_size,
            statement_cache: config.statement_cache.get(),
            lock_timeout: config.lock_timeout,
            connect_timeout: config.pool.connect_timeout,
            details: config.error_details,
            statement_timeout: config.statement_timeout,
            keys: KeyTable::new(&config.idempotency.table, config.idempotency.retention),
            presence: OpenConnections::default(),
        });
        let breaker = ConnectBreaker::new(name, config);
        let opener = |role| Opener { breaker: Arc::clone(&breaker), spec: Arc::clone(&spec), role };
        let single = PoolSettings {
            min: config.pool.min.min(1),
            max: NonZeroUsize::MIN,
            overflow: 0,
            ..config.pool.clone()
        };
        Self {
            readers: Pool::new(telemetry, &config.pool, opener(Role::Reader)),
            writer: Pool::new(telemetry, &single, opener(Role::Writer)),
            breaker: Arc::clone(&breaker),
            spec,
            statements: Arc::default(),
        }
    }

    async fn start(&self, mut statement: Arc<Statement>) -> Result<Box<dyn RowStream>> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let deadline = statement.deadline.within(Instant::now(), self.spec.statement_timeout);
        if statement.read_only || !writes(&command(&statement.sql)) {
            match self.attempt(Role::Reader, statement, deadline).await? {
                Attempt::Running(running) => return Ok(Box::new(running)),
                Attempt::Writes(refused) => statement = refused,
            }
        }
        match self.attempt(Role::Writer, statement, deadline).await? {
            Attempt::Running(running) => Ok(Box::new(running)),
            // The writer's own session refuses nothing as a write.
            Attempt::Writes(_) => Err(lost()),
        }
    }

    async fn attempt(
        &self,
        role: Role,
        statement: Arc<Statement>,
        deadline: Deadline,
    ) -> Result<Attempt> {
        let context = Arc::clone(&statement.context);
        let loan = self.connections(role).acquire(deadline, &context).await?;
        let writes = role == Role::Writer;
        let (outlet, inlet) = pipe(deadline.instant());
        submit(loan, Work::Run(statement, outlet))?;
        let mut call = Call::new(inlet, deadline).of(&context);
        Ok(match call.first().await? {
            First::Rows(header) => Attempt::Running(Running::Rows { header, call }),
            First::End(end) => match end? {
                Ran::Done(completion) => Attempt::Running(Running::Over { completion, writes }),
                Ran::Writes(statement) => Attempt::Writes(statement),
            },
        })
    }

    /// Gives a connection a job and waits for its end.
    async fn ask<T: Send + 'static>(
        &self,
        role: Role,
        deadline: Deadline,
        context: Arc<CallContext>,
        work: impl FnOnce(RowSender<T>) -> Work + Send,
    ) -> Result<T> {
        let loan = self.connections(role).acquire(deadline, &context).await?;
        let (outlet, inlet) = pipe(deadline.instant());
        submit(loan, work(outlet))?;
        Call::new(inlet, deadline).of(&context).end().await
    }

    fn connections(&self, role: Role) -> &Pool<Opener> {
        match role {
            Role::Reader => &self.readers,
            Role::Writer => &self.writer,
        }
    }

    async fn hold(&self, request: BeginRequest) -> Result<Box<dyn Transaction>> {
        let connections = self.connections(role(request.mode));
        let loan = connections.acquire_for_transaction(request.deadline, &request.context).await?;
        let limit = self.spec.statement_timeout;
        let open = Open::begin(loan, request, limit, Arc::clone(&self.statements)).await?;
        Ok(Box::new(open))
    }
}

/// Which connection a transaction is run on.
fn role(mode: TransactionMode) -> Role {
    if mode.read_only { Role::Reader } else { Role::Writer }
}

/// What a connection made of a statement.
enum Attempt {
    Running(Running),
    /// It is a write, and the connection was a reader.
    Writes(Arc<Statement>),
}

impl Backend for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        Box::pin(self.start(statement))
    }

    fn execute_batch(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
        let count = u64::try_from(batch.statements.len()).unwrap_or_default();
        self.statements.fetch_add(count, Ordering::Relaxed);
        let (role, deadline) = (role(batch.mode), batch.deadline);
        let context = Arc::clone(&batch.context);
        Box::pin(self.ask(role, deadline, context, move |outlet| Work::Batch(batch, outlet)))
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        Box::pin(self.hold(request))
    }

    fn outcome(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>> {
        Box::pin(async move {
            match handle {
                TransactionHandle::Key { caller, key } => {
                    let work = move |outlet| Work::State(caller, key, outlet);
                    self.ask(Role::Reader, deadline, context, work).await
                }
                TransactionHandle::Token(_) => {
                    let (field, description) = ("transaction_token", "SQLite gives no tokens");
                    Err(Error::field(ErrorKind::InvalidParameter, field, description))
                }
            }
        })
    }

    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.ask(Role::Writer, deadline, CallContext::own("sweep"), Work::Expire))
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        let DescribeRequest { sql, include_plan, deadline, context, .. } = request;
        let work = move |outlet| Work::Describe(sql, include_plan, outlet);
        Box::pin(self.ask(Role::Reader, deadline, context, work))
    }

    fn breaker(&self) -> &Arc<ConnectBreaker> {
        &self.breaker
    }

    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>> {
        let asking = async {
            let deadline = Deadline::at(Instant::now() + self.spec.connect_timeout);
            // A new connection each time: one that is open would not notice that the file has become
            // unreadable.
            let handle = Handle::open(Arc::clone(&self.spec), Role::Reader).await?;
            let (outlet, inlet) = pipe(deadline.instant());
            handle.submit(Work::Probe(outlet))?;
            Call::new(inlet, deadline).end().await
        };
        Box::pin(async move {
            self.breaker.probe(limit, asking).await?;
            self.writer.reached();
            self.readers.reached();
            Ok(())
        })
    }

    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            // The writer first: it creates the file.
            self.writer.warm_up(connections.min(1)).await?;
            self.readers.warm_up(connections).await
        })
    }

    fn pool(&self) -> PoolSnapshot {
        let statements = self.statements.load(Ordering::Relaxed);
        PoolSnapshot { statements, ..self.snapshot() }
    }

    fn control(&self) -> &dyn PoolAdmin {
        self
    }

    fn close(&self) {
        self.readers.close();
        self.writer.close();
    }

    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.spec.presence.none())
    }
}
