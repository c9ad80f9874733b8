//! PostgreSQL, over `tokio-postgres`.
//!
//! `connect` opens a connection over the `tap`, which reads along what the driver hides (`wire`); the
//! pool holds it as a `connection`; a caller works on it through a `lease`, which gives it back clean
//! or not at all; `run` is a statement whose rows are being read.

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
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::BoxFuture;

use crate::backend::{Backend, DescribeRequest, Description, RowStream, Statement};
use crate::config::{Database, PostgresTarget};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{Manager, Pool, PoolSnapshot};
use crate::sql::{Analysis, Shape};
use connect::Connector;
use connection::{Connection, Opener};
use lease::{Lease, Shared};
use run::{Call, Running};

/// The first query pins the transaction's mode; without it `SET TRANSACTION READ WRITE` escapes.
const BEGIN_READ_ONLY: &str = "BEGIN READ ONLY; SELECT 1";

/// A PostgreSQL database and its pool.
pub struct Postgres {
    shared: Arc<Shared>,
    pool: Pool<Opener>,
    prober: Opener,
    probe: tokio::sync::Mutex<Option<Connection>>,
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
            statements: AtomicU64::new(0),
            shared: Arc::new(Shared {
                database: name.to_owned(),
                connector: Arc::clone(&connector),
                details: config.error_details,
                resets: AtomicU64::new(0),
            }),
        })
    }

    async fn lease(&self, analysis: &Analysis, deadline: Deadline) -> Result<Lease> {
        let checkout = self.pool.acquire(deadline).await?;
        let mut lease = Lease::new(checkout, Arc::clone(&self.shared), certainly_reads(analysis));
        lease.touched = !leaves_no_trace(analysis);
        Ok(lease)
    }

    async fn start(&self, statement: Statement) -> Result<Box<dyn RowStream>> {
        self.statements.fetch_add(1, Relaxed);
        let mut retried = false;
        loop {
            match self.attempt(&statement).await {
                Err(error) if !retried && error.kind() == ErrorKind::PlanChanged => retried = true,
                Err(error) => return Err(error),
                Ok((rows, lease, prepared)) => {
                    let call = Call {
                        sql: statement.sql,
                        deadline: statement.deadline,
                        in_transaction: statement.read_only,
                    };
                    return Ok(Box::new(Running::new(rows, lease, prepared, call)));
                }
            }
        }
    }

    async fn attempt(
        &self,
        statement: &Statement,
    ) -> Result<(tokio_postgres::RowStream, Lease, Arc<connection::Prepared>)> {
        let Statement { sql, parameters, deadline, .. } = statement;
        let mut lease = self.lease(&statement.analysis, *deadline).await?;
        let reads = std::mem::replace(&mut lease.reads, true);
        let prepared = lease.prepare(*deadline, sql).await?;
        let parameters = codec::encode(parameters, prepared.statement.params())?;
        if statement.read_only {
            lease.touched = true;
            lease.run(*deadline, BEGIN_READ_ONLY).await?;
        } else {
            lease.reads = reads;
        }
        match lease.start(*deadline, sql, &prepared, parameters).await {
            Ok(rows) => Ok((rows, lease, prepared)),
            Err(error) => {
                if error.kind() == ErrorKind::PlanChanged {
                    lease.connection().prepared.pop(sql);
                    lease.connection().client.clear_type_cache();
                }
                Err(error)
            }
        }
    }

    async fn describe_on_a_lease(&self, request: DescribeRequest) -> Result<Description> {
        let mut lease = self.lease(&request.analysis, request.deadline).await?;
        lease.reads = true;
        let prepared = lease.prepare(request.deadline, &request.sql).await?;
        lease.touched = false;
        Ok(Description {
            columns: prepared.columns.clone(),
            parameters: prepared.statement.params().iter().map(codec::describe_parameter).collect(),
            read_only: certainly_reads(&request.analysis),
            plan: None,
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

    fn execute(&self, statement: Statement) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        Box::pin(self.start(statement))
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        Box::pin(async move {
            if !request.include_plan {
                return self.describe_on_a_lease(request).await;
            }
            let message = "plans are not available for PostgreSQL yet";
            Err(Error::field(ErrorKind::InvalidOption, "include_plan", message))
        })
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

/// Whether nothing can have been applied, however the statement ends. Any function may write.
fn certainly_reads(analysis: &Analysis) -> bool {
    match &analysis.shape {
        Shape::Read(uses) => {
            uses.functions.is_empty() && uses.attributes.is_empty() && !uses.exotic
        }
        Shape::Change(_) | Shape::Other => false,
    }
}

/// Whether the session is the same after the statement, whatever is in the database. A view, a
/// trigger or a function can hold code, so what uses any of them counts as touched.
fn leaves_no_trace(analysis: &Analysis) -> bool {
    match &analysis.shape {
        Shape::Read(uses) => certainly_reads(analysis) && uses.relations.is_empty(),
        Shape::Change(_) | Shape::Other => false,
    }
}
