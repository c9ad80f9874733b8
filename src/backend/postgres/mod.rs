//! PostgreSQL, over `tokio-postgres`.
//!
//! `connect` opens a connection over the `tap`, which reads along what the driver hides (`wire`); the
//! pool holds it as a `connection`; a caller works on it through a `session`, which gives it back clean
//! or not at all; `run` is a statement whose rows are being read. A unit of work is a `batch`, in one
//! or two `pipeline`s or in `sequence`, or an interactive `transaction`; both end in `commit`, which tells
//! the truth, and where it cannot, in `doubt`, which is settled by `token`s and `keys`.

pub mod codec;
mod commit;
mod connect;
mod connection;
pub mod error;
pub(crate) mod execute;
pub(crate) mod idempotency;
pub(crate) mod protocol;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::backend::{
    Backend, Batch, BatchResult, BeginRequest, ConnectBreaker, DescribeRequest, Description,
    Installed, RowStream, Statement, Transaction, TransactionHandle, TransactionMode,
    TransactionOutcome,
};
use crate::config::{Database, PostgresTarget};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{CallContext, Pool, PoolAdmin, PoolSnapshot};
use crate::telemetry;
use crate::value::{Kind, Value};
use commit::token::Token;
use connect::Connector;
use connection::{Connection, Opener};
use execute::row_stream::StatementRows;
use execute::transaction::PostgresTransaction;
use idempotency::key_table::KeyTable;
use session::Session;
use session::database::DatabaseContext;
use session::effects::EffectCache;
use session::failure::{AttemptBudget, RetryScope};

/// How a single statement is run that must not write.
const READ_ONLY: TransactionMode =
    TransactionMode { isolation: None, read_only: true, deferrable: false };

/// A statement that runs.
type Started = (tokio_postgres::RowStream, Session, Arc<connection::Prepared>);

/// A PostgreSQL database and its pool.
pub struct Postgres {
    shared: Arc<DatabaseContext>,
    pool: Pool<Opener>,
    breaker: Arc<ConnectBreaker>,
    probe: tokio::sync::Mutex<Option<Connection>>,
    statements: AtomicU64,
}

impl Postgres {
    /// A database; opens no connection.
    ///
    /// # Errors
    /// `BackendMisconfigured` when a certificate cannot be used.
    pub fn open(
        telemetry: &Arc<telemetry::DatabaseTelemetry>,
        config: &Database,
        target: &PostgresTarget,
    ) -> Result<Self> {
        let name = telemetry.name();
        let connector = Arc::new(Connector::new(name, config, target)?);
        let breaker = ConnectBreaker::new(name, config);
        let opener = || Opener {
            breaker: Arc::clone(&breaker),
            connector: Arc::clone(&connector),
            statement_cache: config.statement_cache,
        };
        let pool = Pool::new(telemetry, &config.pool, opener());
        Ok(Self {
            pool: pool.clone(),
            breaker: Arc::clone(&breaker),
            probe: tokio::sync::Mutex::new(None),
            statements: AtomicU64::new(0),
            shared: Arc::new(DatabaseContext {
                database: name.to_owned(),
                connector: Arc::clone(&connector),
                details: config.error_details,
                resets: AtomicU64::new(0),
                verdicts: EffectCache::new(config.catalog_ttl),
                keys: KeyTable::new(&config.idempotency.table, config.idempotency.retention),
                opener: opener(),
                pool,
                failed_over: Mutex::default(),
            }),
        })
    }

    async fn session(&self, deadline: Deadline, context: &Arc<CallContext>) -> Result<Session> {
        let checkout = self.pool.acquire(deadline, context).await?;
        Ok(Session::new(checkout, Arc::clone(&self.shared)))
    }

    async fn start(&self, statement: Arc<Statement>) -> Result<Box<dyn RowStream>> {
        self.statements.fetch_add(1, Relaxed);
        let mut tries = AttemptBudget::new();
        loop {
            match self.attempt(&statement, tries.afresh).await {
                Err((_, again)) if tries.allow(again) => {}
                Err((error, _)) => return Err(error),
                Ok((rows, session, prepared)) => {
                    return Ok(Box::new(StatementRows::alone(rows, session, prepared, statement)));
                }
            }
        }
    }

    /// Starts a statement on one connection; an error says whether another one may do better.
    async fn attempt(
        &self,
        statement: &Statement,
        afresh: bool,
    ) -> Result<Started, (Error, RetryScope)> {
        let acquired = self.session(statement.deadline, &statement.context).await;
        let mut session = acquired.map_err(|error| (error, RetryScope::No))?;
        session.afresh = afresh;
        match Self::start_on(&mut session, statement).await {
            Ok((rows, prepared)) => Ok((rows, session, prepared)),
            Err(error) => Err((error, session.again)),
        }
    }

    async fn start_on(
        session: &mut Session,
        statement: &Statement,
    ) -> Result<(tokio_postgres::RowStream, Arc<connection::Prepared>)> {
        let Statement { sql, parameters, deadline, .. } = statement;
        let verdict = session.judge(&statement.analysis, *deadline).await?;
        let prepared = session.prepare(*deadline, sql).await?;
        let parameters = codec::encode(parameters, prepared.statement.params())?;
        session.trace = verdict.trace;
        if statement.read_only {
            session.read_only = true;
            session.run(*deadline, &commit::begin(READ_ONLY)).await?;
        } else {
            session.reads = verdict.reads;
            session.divisible = !crate::sql::is_atomic(sql);
        }
        let rows = session.start(*deadline, sql, &prepared, parameters).await?;
        Ok((rows, prepared))
    }

    async fn run_batch(&self, batch: &Batch) -> Result<BatchResult> {
        self.statements.fetch_add(u64::try_from(batch.statements.len()).unwrap_or(0), Relaxed);
        let mut tries = AttemptBudget::new();
        loop {
            let mut session = self.session(batch.deadline, &batch.context).await?;
            session.read_only = batch.mode.read_only;
            session.afresh = tries.afresh;
            match execute::batch_pipelined::run(batch, session).await {
                Err((_, again)) if tries.allow(again) => {}
                Err((error, _)) => {
                    if error.kind() == ErrorKind::PlanChanged {
                        batch.is_piecemeal.store(true, Relaxed);
                    }
                    return Err(error);
                }
                Ok(result) => return Ok(result),
            }
        }
    }

    async fn open_transaction(&self, request: BeginRequest) -> Result<Box<dyn Transaction>> {
        let mut tries = AttemptBudget::new();
        loop {
            let BeginRequest { deadline, ref context, .. } = request;
            let checkout = self.pool.acquire_for_transaction(deadline, context).await?;
            let mut session = Session::new(checkout, Arc::clone(&self.shared));
            session.read_only = request.mode.read_only;
            session.afresh = tries.afresh;
            match PostgresTransaction::begin(session, &request).await {
                Err((_, again)) if tries.allow(again) => {}
                Ok(open) => return Ok(Box::new(open)),
                Err((error, _)) => return Err(error),
            }
        }
    }

    async fn state(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: &Arc<CallContext>,
    ) -> Result<TransactionOutcome> {
        match handle {
            TransactionHandle::Token(token) => {
                let token = Token::parse(&token)?;
                let asked = self.shared.ask(&token);
                let answer = tokio::time::timeout_at(deadline.instant().into(), asked).await;
                // Not that nobody knows: another question may be answered.
                answer.unwrap_or_else(|_elapsed| Err(self.shared.late()))
            }
            TransactionHandle::Key { caller, key } => {
                let mut session = self.session(deadline, context).await?;
                session.state_of_key((&caller, &key), deadline).await
            }
        }
    }

    async fn expire_keys(&self, deadline: Deadline) -> Result<u64> {
        let mut session = self.session(deadline, &CallContext::own("sweep")).await?;
        let Some(rows) = session.expire_keys(deadline).await? else { return Ok(0) };
        let first = rows.first().and_then(|row| row.values.first());
        Ok(match first {
            Some(Value { kind: Some(Kind::Int64Value(count)) }) => {
                u64::try_from(*count).unwrap_or_default()
            }
            Some(_) | None => 0,
        })
    }

    async fn describe_on_a_lease(&self, request: DescribeRequest) -> Result<Description> {
        let mut session = self.session(request.deadline, &request.context).await?;
        let verdict = session.judge(&request.analysis, request.deadline).await?;
        let prepared = session.prepare(request.deadline, &request.sql).await?;
        // The planner may call what is immutable.
        session.trace = verdict.trace;
        let plan = match request.include_plan {
            true => session.explain(request.deadline, &request.sql, &prepared).await?,
            false => None,
        };
        Ok(Description {
            columns: prepared.columns.clone(),
            parameters: prepared.statement.params().iter().map(codec::describe_parameter).collect(),
            read_only: verdict.reads,
            plan,
        })
    }

    async fn check(&self, limit: Duration) -> Result<()> {
        let mut probe = self.probe.lock().await;
        if self.breaker.is_open() {
            // That an old connection answers says nothing of a new one.
            if self.shared.connector.login_has_changed().await {
                self.breaker.probe_now();
            }
        } else if let Some(connection) = probe.take()
            && let Ok(Some(departed)) = tokio::time::timeout(limit, answer(&connection)).await
        {
            if departed {
                self.shared.fail_over(&connection);
            } else {
                *probe = Some(connection);
                self.pool.reached();
                return Ok(());
            }
        }
        *probe = Some(self.breaker.probe(limit, Box::pin(self.shared.opener.open())).await?);
        self.pool.reached();
        Ok(())
    }
}

/// Whether a connection's session has departed from what it was opened for; `None`: it is lost.
async fn answer(connection: &Connection) -> Option<bool> {
    connection.client.check_connection().await.ok()?;
    connection.departs().await.ok()
}

impl Backend for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        Box::pin(self.start(statement))
    }

    fn execute_batch(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
        Box::pin(async move { self.run_batch(&batch).await })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        Box::pin(self.open_transaction(request))
    }

    fn outcome(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>> {
        Box::pin(async move { self.state(handle, deadline, &context).await })
    }

    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.expire_keys(deadline))
    }

    fn key_table_sql(&self) -> Option<String> {
        Some(self.shared.keys.create())
    }

    fn install_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<Installed>> {
        Box::pin(async move {
            let session = self.session(deadline, &CallContext::own("install")).await?;
            session.install_keys(deadline).await
        })
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        Box::pin(self.describe_on_a_lease(request))
    }

    fn breaker(&self) -> &Arc<ConnectBreaker> {
        &self.breaker
    }

    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.check(limit))
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

    fn control(&self) -> &dyn PoolAdmin {
        &self.pool
    }

    fn close(&self) {
        self.pool.close();
    }
}
