//! SQLite, compiled in: the database that needs nothing installed.
//!
//! The file is in WAL mode, with one connection that writes and several that read, each on a thread
//! of its own (`connection`). SQLite itself says whether a statement writes, once it has compiled
//! it; the statement's first words only save the detour over a reader. What a statement may do to a
//! connection is decided in `guard`.

mod command;
mod connection;
mod control;
mod describe;
mod error;
mod guard;
mod hold;
mod parameters;
mod pipe;
mod run;
mod session;
mod stream;
mod transaction;
mod types;
mod units;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use self::command::{command, writes};
use self::connection::{Handle, Opener, Work, submit};
use self::pipe::{First, lost, pipe};
use self::run::{Ran, Request};
use self::session::{Role, Spec};
use self::stream::{Call, Running};
use self::transaction::Open;
use self::units::KeyTable;
use crate::backend::keys::applied_before;
use crate::backend::{
    Backend, Batch, BatchResult, BeginRequest, DescribeRequest, Description, Fill, RowSink,
    RowStream, Statement, Transaction, TransactionMode, UnitHandle, UnitState, fill,
};
use crate::config::{Database, PoolSettings, SqliteTarget};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{Borrower, Control, Pool, PoolSnapshot};

/// The reason of a statement about a table that is not there.
const UNDEFINED_TABLE: &str = "UNDEFINED_TABLE";

/// A SQLite database: a pool of readers and a pool of one writer.
pub struct Sqlite {
    spec: Arc<Spec>,
    readers: Pool<Opener>,
    writer: Pool<Opener>,
    keys: KeyTable,
    statement_timeout: Duration,
    statements: AtomicU64,
}

impl Sqlite {
    /// A database. Does no I/O: the file is created by the first connection, which also finds a path
    /// that does not work.
    #[must_use]
    pub fn open(name: &str, config: &Database, target: &SqliteTarget) -> Self {
        let spec = Arc::new(Spec {
            name: name.to_owned(),
            path: target.path.clone(),
            max_row_size: config.max_row_size,
            statement_cache: config.statement_cache.get(),
            lock_timeout: config.lock_timeout,
            connect_timeout: config.pool.connect_timeout,
            details: config.error_details,
        });
        let opener = |role| Opener { spec: Arc::clone(&spec), role };
        let single = PoolSettings {
            min: config.pool.min.min(1),
            max: NonZeroUsize::MIN,
            overflow: 0,
            ..config.pool.clone()
        };
        Self {
            readers: Pool::new(name, &config.pool, opener(Role::Reader)),
            writer: Pool::new(name, &single, opener(Role::Writer)),
            spec,
            keys: KeyTable::new(&config.idempotency.table, config.idempotency.retention),
            statement_timeout: config.statement_timeout,
            statements: AtomicU64::new(0),
        }
    }

    async fn start(&self, statement: Arc<Statement>) -> Result<Box<dyn RowStream>> {
        let deadline = statement.deadline.within(Instant::now(), self.statement_timeout);
        self.statements.fetch_add(1, Ordering::Relaxed);
        let request = Request {
            command: command(&statement.sql),
            sql: statement.sql.clone(),
            parameters: statement.parameters.clone(),
            read_only: statement.read_only,
        };
        let caller = (deadline, &statement.borrower);
        if writes(&request.command) && !request.read_only {
            return self.write(request, caller).await;
        }
        match self.attempt(&self.readers, request, caller, false).await? {
            Attempt::Running(running) => Ok(Box::new(running)),
            Attempt::Writes(request) => self.write(request, caller).await,
        }
    }

    /// Opens a transaction: on the writer, or on a reader when it only reads. Any isolation is as good
    /// as SERIALIZABLE here.
    async fn hold(
        &self,
        mode: TransactionMode,
        waited: Duration,
        deadline: Deadline,
        borrower: &Arc<Borrower>,
    ) -> Result<Open> {
        let pool = if mode.read_only { &self.readers } else { &self.writer };
        let loan = pool.acquire_after(waited, deadline, borrower).await?;
        Open::begin(loan, mode.read_only, deadline).await
    }

    async fn state(
        &self,
        handle: UnitHandle,
        deadline: Deadline,
        borrower: Arc<Borrower>,
    ) -> Result<UnitState> {
        let (caller, key) = match handle {
            UnitHandle::Key { caller, key } => (caller, key),
            UnitHandle::Token(_) => {
                let description = "SQLite gives no tokens";
                let field = "transaction_token";
                return Err(Error::field(ErrorKind::InvalidParameter, field, description));
            }
        };
        let values = units::naming(&caller, &key);
        let read = units::own_statement(&self.keys.read, values, deadline, borrower);
        let mut stream = match self.start(Arc::new(read)).await {
            Ok(stream) => stream,
            Err(error) if error.reason() == UNDEFINED_TABLE => return Ok(UnitState::NotApplied),
            Err(error) => return Err(error),
        };
        let mut sink = RowSink::new(usize::MAX);
        while fill(&mut *stream, &mut sink).await? != Fill::Done {}
        stream.finish().await?;
        let claimed = sink.take().into_iter().next().map(units::claimed);
        Ok(match claimed {
            Some(claimed) if !claimed.expired => UnitState::Applied,
            Some(_) | None => UnitState::NotApplied,
        })
    }

    async fn write(&self, request: Request, caller: Caller<'_>) -> Result<Box<dyn RowStream>> {
        match self.attempt(&self.writer, request, caller, true).await? {
            Attempt::Running(running) => Ok(Box::new(running)),
            // The writer's own session refuses nothing as a write.
            Attempt::Writes(_) => Err(lost()),
        }
    }

    async fn attempt(
        &self,
        pool: &Pool<Opener>,
        request: Request,
        (deadline, borrower): Caller<'_>,
        writes: bool,
    ) -> Result<Attempt> {
        let loan = pool.acquire(deadline, borrower).await?;
        let (outlet, inlet) = pipe(deadline.instant());
        submit(loan, Work::Run(request, outlet))?;
        let mut call = Call::new(inlet, deadline, writes).of(borrower);
        Ok(match call.first().await? {
            First::Columns(columns) => Attempt::Running(Running::Rows { columns, call }),
            First::End(end) => match end? {
                Ran::Done(completion) => Attempt::Running(Running::Over { completion, writes }),
                Ran::Writes(request) => Attempt::Writes(request),
            },
        })
    }
}

/// When a call must have ended, and for whom its connection is lent.
type Caller<'a> = (Deadline, &'a Arc<Borrower>);

/// What a connection made of a request.
enum Attempt {
    Running(Running),
    /// It is a write, and the connection was a reader.
    Writes(Request),
}

impl Backend for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        Box::pin(self.start(statement))
    }

    fn execute_batch(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
        Box::pin(async move {
            let count = u64::try_from(batch.statements.len()).unwrap_or_default();
            self.statements.fetch_add(count, Ordering::Relaxed);
            let Batch { mode, deadline, ref borrower, .. } = *batch;
            let open = self.hold(mode, Duration::ZERO, deadline, borrower).await?;
            units::run(&batch, open, &self.keys).await
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        Box::pin(async move {
            let BeginRequest { mode, key, waited, deadline, borrower } = request;
            let mut open = self.hold(mode, waited, deadline, &borrower).await?;
            if let Some(key) = &key
                && let Some(claimed) = units::claim(&mut open, &self.keys, key, deadline).await?
            {
                claimed.check(key)?;
                return Err(applied_before());
            }
            Ok(Box::new(open) as Box<dyn Transaction>)
        })
    }

    fn outcome(
        &self,
        handle: UnitHandle,
        deadline: Deadline,
        borrower: Arc<Borrower>,
    ) -> BoxFuture<'_, Result<UnitState>> {
        Box::pin(self.state(handle, deadline, borrower))
    }

    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let sweep = Borrower::own("sweep");
            let expire = units::own_statement(&self.keys.expire, Vec::new(), deadline, sweep);
            match self.start(Arc::new(expire)).await {
                Ok(stream) => Ok(stream.finish().await?.rows_affected),
                Err(error) if error.reason() == UNDEFINED_TABLE => Ok(0),
                Err(error) => Err(error),
            }
        })
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        Box::pin(async move {
            let DescribeRequest { sql, include_plan, deadline, borrower, .. } = request;
            let loan = self.readers.acquire(deadline, &borrower).await?;
            let (outlet, inlet) = pipe(deadline.instant());
            submit(loan, Work::Describe(sql, include_plan, outlet))?;
            Call::new(inlet, deadline, false).of(&borrower).end().await
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let deadline = Deadline::at(Instant::now() + self.spec.connect_timeout);
            // A new connection each time: one that is open would not notice that the file has become
            // unreadable.
            let handle = Handle::open(Arc::clone(&self.spec), Role::Reader).await?;
            let (outlet, inlet) = pipe(deadline.instant());
            handle.submit(Work::Probe(outlet))?;
            Call::new(inlet, deadline, false).end().await
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

    fn control(&self) -> &dyn Control {
        self
    }

    fn close(&self) {
        self.readers.close();
        self.writer.close();
    }
}
