//! PostgreSQL, over `tokio-postgres`.
//!
//! `connect` opens a connection over the `tap`, which reads along what the driver hides (`wire`); the
//! pool holds it as a `connection`; a caller works on it through a `lease`, which gives it back clean
//! or not at all; `run` is a statement whose rows are being read.

mod cancel;
pub mod codec;
mod connect;
mod connection;
pub mod error;
mod lease;
mod redact;
mod run;
pub mod sqlstate;
mod tap;
mod tls;
mod trace;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::BoxFuture;

use crate::backend::{
    Backend, Batch, BatchResult, BeginRequest, DescribeRequest, Description, RowStream, Statement,
    Transaction, UnitHandle, UnitState,
};
use crate::config::{Database, PostgresTarget};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{Manager, Pool, PoolSnapshot};
use connect::Connector;
use connection::{Connection, Opener};
use lease::{Lease, Shared};
use run::Running;
use trace::Verdicts;

/// The first query pins the transaction's mode; without it `SET TRANSACTION READ WRITE` escapes.
const BEGIN_READ_ONLY: &str = "BEGIN READ ONLY; SELECT 1";

/// How many spoiled connections one call may meet: ended while idle, or without the statements that the
/// driver counts on. Each is closed.
const SPOILED_TRIES: usize = 8;

/// A statement that runs.
type Started = (tokio_postgres::RowStream, Lease, Arc<connection::Prepared>);

/// A PostgreSQL database and its pool.
pub struct Postgres {
    shared: Arc<Shared>,
    pool: Pool<Opener>,
    prober: Opener,
    probe: tokio::sync::Mutex<Option<Connection>>,
    verdicts: Verdicts,
    statements: AtomicU64,
}

impl Postgres {
    /// A database; opens no connection.
    ///
    /// # Errors
    /// `BackendMisconfigured` when a certificate cannot be used.
    pub fn open(name: &str, config: &Database, target: &PostgresTarget) -> Result<Self> {
        let connector = Arc::new(Connector::new(name, config, target)?);
        let opener = || Opener {
            connector: Arc::clone(&connector),
            statement_cache: config.statement_cache,
        };
        Ok(Self {
            pool: Pool::new(name, &config.pool, opener()),
            prober: opener(),
            probe: tokio::sync::Mutex::new(None),
            verdicts: Verdicts::new(config.catalog_ttl),
            statements: AtomicU64::new(0),
            shared: Arc::new(Shared {
                database: name.to_owned(),
                connector: Arc::clone(&connector),
                details: config.error_details,
                resets: AtomicU64::new(0),
            }),
        })
    }

    async fn lease(&self, deadline: Deadline) -> Result<Lease> {
        let checkout = self.pool.acquire(deadline).await?;
        Ok(Lease::new(checkout, Arc::clone(&self.shared)))
    }

    async fn start(&self, statement: Arc<Statement>) -> Result<Box<dyn RowStream>> {
        self.statements.fetch_add(1, Relaxed);
        let mut tries = SPOILED_TRIES;
        loop {
            match self.attempt(&statement).await {
                Err((_, true)) if tries > 0 => tries -= 1,
                Err((error, _)) => return Err(error),
                Ok((rows, lease, prepared)) => {
                    return Ok(Box::new(Running::new(rows, lease, prepared, statement)));
                }
            }
        }
    }

    /// Starts a statement on one connection; an error says whether another one may do better.
    async fn attempt(&self, statement: &Statement) -> Result<Started, (Error, bool)> {
        let acquired = self.lease(statement.deadline).await;
        let mut lease = acquired.map_err(|error| (error, false))?;
        match self.start_on(&mut lease, statement).await {
            Ok((rows, prepared)) => Ok((rows, lease, prepared)),
            Err(error) => Err((error, lease.blameless)),
        }
    }

    async fn start_on(
        &self,
        lease: &mut Lease,
        statement: &Statement,
    ) -> Result<(tokio_postgres::RowStream, Arc<connection::Prepared>)> {
        let Statement { sql, parameters, deadline, .. } = statement;
        let verdict = lease.judge(&self.verdicts, &statement.analysis, *deadline).await?;
        let prepared = lease.prepare(*deadline, sql).await?;
        let parameters = codec::encode(parameters, prepared.statement.params())?;
        lease.trace = verdict.trace;
        if statement.read_only {
            lease.read_only = true;
            lease.run(*deadline, BEGIN_READ_ONLY).await?;
        } else {
            lease.reads = verdict.reads;
        }
        let rows = lease.start(*deadline, sql, &prepared, parameters).await?;
        Ok((rows, prepared))
    }

    async fn describe_on_a_lease(&self, request: DescribeRequest) -> Result<Description> {
        let mut lease = self.lease(request.deadline).await?;
        let verdict = lease.judge(&self.verdicts, &request.analysis, request.deadline).await?;
        let prepared = lease.prepare(request.deadline, &request.sql).await?;
        // The planner may call what is immutable.
        lease.trace = verdict.trace;
        let plan = match request.include_plan {
            true => lease.explain(request.deadline, &request.sql, &prepared).await?,
            false => None,
        };
        Ok(Description {
            columns: prepared.columns.clone(),
            parameters: prepared.statement.params().iter().map(codec::describe_parameter).collect(),
            read_only: verdict.reads,
            plan,
        })
    }

    async fn check(&self) -> Result<()> {
        let mut probe = self.probe.lock().await;
        if let Some(connection) = probe.take()
            && connection.client.check_connection().await.is_ok()
        {
            *probe = Some(connection);
            return Ok(());
        }
        *probe = Some(self.prober.connect().await?);
        Ok(())
    }
}

impl Backend for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        Box::pin(self.start(statement))
    }

    fn execute_batch(&self, _batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
        Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
    }

    fn begin(&self, _request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
    }

    fn outcome(
        &self,
        _handle: UnitHandle,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<UnitState>> {
        Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
    }

    fn delete_expired_keys(&self, _deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        Box::pin(self.describe_on_a_lease(request))
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.check())
    }

    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.pool.warm_up(connections))
    }

    fn pool(&self) -> PoolSnapshot {
        let mut snapshot = self.pool.snapshot();
        snapshot.statements = self.statements.load(Relaxed);
        snapshot.resets = self.shared.resets.load(Relaxed);
        snapshot
    }

    fn close(&self) {
        self.pool.close();
    }
}
