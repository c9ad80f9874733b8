//! PostgreSQL, over `tokio-postgres`.
//!
//! Each folder builds on those after it: `execute` runs statements, batches and transactions; `commit` ends
//! them and resolves an unknown outcome; `idempotency` keeps keys in a table; a `session` is a `connection`
//! at work for one caller; `connect` opens connections, whose `protocol` state tells what the driver hides;
//! `codec` converts values and `error` maps error replies.

mod claims;
pub(crate) mod codec;
mod commit;
mod connect;
mod connection;
pub(crate) mod error;
pub(crate) mod execute;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
pub(crate) mod idempotency;
pub(crate) mod lanes;
mod listen;
mod postgres_admin;
pub(crate) mod protocol;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::backend::attempt::{AttemptResult, PlanUse, run_attempts};
use crate::backend::await_server::await_server;
use crate::backend::copy::CopyText;
use crate::backend::definitions::StatementRules;
use crate::backend::resolution::outcome_timed_out;
use crate::backend::{
    Backend, Batch, BatchResult, BatchStrategy, BeginRequest, ConnectBreaker, DescribeRequest,
    Description, EngineInfo, IdempotencyKey, Installed, ListenCounts, RowStream, ServerWait,
    Statement, Subscription, Transaction, TransactionHandle, TransactionOutcome,
};
use crate::config::setting_names::{CLAIMS_SETTING, custom_names};
use crate::config::{ClaimsSettings, Database, Idempotency, PostgresTarget};
use crate::deadline::Deadline;
use crate::error::Result;
use crate::pool::{CallContext, Pool, PoolAdmin, PoolSnapshot};
use crate::telemetry;
use commit::resolution::outcome_of_token;
use commit::token::Token;
use connect::Connector;
use connect::capabilities::Probe;
use connection::Connection;
use connection::idempotency_table::KeyTable;
use connection::opener::Opener;
use execute::batch_pipelined;
use execute::copy_statement::copy_out_statement;
use execute::own_transaction::OwnTransactionRows;
use execute::row_stream::{StatementRows, StatementScope};
use execute::transaction::PostgresTransaction;
use lanes::{Candidate, Lanes, Way};
use listen::Listeners;
use session::Session;
use session::claim_keys::ClaimKeys;
use session::custom_settings::FunctionSettings;
use session::database_context::DatabaseContext;
use session::effects::{self, EffectCache};

pub(crate) use postgres_admin::PostgresAdmin;

/// The SQL of the schema for claims, and of the keys that sign them.
pub(crate) use claims::install::{keys_sql as claim_keys_sql, schema_sql as claims_sql};

/// The SQL that creates the table of idempotency keys.
pub(crate) fn key_table_sql(settings: &Idempotency) -> String {
    KeyTable::new(&settings.table, settings.retention).create()
}

/// The questions that show the abilities of a server, each from where it is asked.
fn probes() -> Vec<Probe> {
    let mut probes = Vec::from(effects::probes());
    probes.push(session::reset::probe());
    probes.extend(commit::token::probes());
    probes.extend(commit::probes());
    probes.push(execute::batch_result::probe());
    probes.push(idempotency::probe());
    probes
}

/// A PostgreSQL database and its pool.
pub(crate) struct Postgres {
    context: Arc<DatabaseContext>,
    lanes: Lanes,
    listeners: Listeners,
    probe: tokio::sync::Mutex<Option<Connection>>,
}

impl Postgres {
    /// Creates the backend of a database; opens no connection.
    pub(crate) fn open(
        telemetry: &Arc<telemetry::DatabaseTelemetry>,
        config: &Database,
        target: &PostgresTarget,
    ) -> Result<Self> {
        let name = telemetry.name();
        let opener = Opener {
            connector: Arc::new(Connector::new(name, config, target, probes())?),
            breaker: ConnectBreaker::new(name, config),
            statements: StatementRules::new(config),
        };
        let context = Arc::new(DatabaseContext {
            name: name.to_owned(),
            error_details: config.error_details,
            resets: AtomicU64::new(0),
            statements: AtomicU64::new(0),
            effects: EffectCache::new(config.catalog_ttl, config.analysis_cache),
            custom_settings: FunctionSettings::new(config.catalog_ttl, begun_settings(config)),
            claim_keys: ClaimKeys::new(&config.claims),
            key_table: KeyTable::new(&config.idempotency.table, config.idempotency.retention),
            pool: Pool::new(telemetry, &config.pool, opener.clone()),
            opener,
            last_failover: Mutex::default(),
        });
        let lanes = Lanes::new(&config.pool);
        let listeners = Listeners::new(name, config);
        Ok(Self { context, lanes, listeners, probe: tokio::sync::Mutex::default() })
    }

    async fn session(&self, deadline: Deadline, caller: &Arc<CallContext>) -> Result<Session> {
        let checkout = self.context.pool.acquire(deadline, caller).await?;
        Ok(Session::new(checkout, &self.context, deadline))
    }

    async fn execute_once(
        &self,
        statement: &Arc<Statement>,
        plans: PlanUse,
        candidate: Option<&Arc<Candidate>>,
    ) -> AttemptResult<Box<dyn RowStream>> {
        let mut session = self.session(statement.deadline, &statement.context).await?;
        session.work.plans = plans;
        let statement = Arc::clone(statement);
        if !statement.preamble.is_empty() {
            return Ok(Box::new(OwnTransactionRows::start(session, statement).await?));
        }
        let mut rows = StatementRows::start(session, statement, StatementScope::Autocommit).await?;
        rows.candidate = candidate.cloned();
        Ok(Box::new(rows))
    }

    async fn execute_alone(
        &self,
        statement: Arc<Statement>,
        candidate: Option<Arc<Candidate>>,
    ) -> Result<Box<dyn RowStream>> {
        run_attempts(|plans| self.execute_once(&statement, plans, candidate.as_ref())).await
    }

    async fn execute_batch_once(
        &self,
        batch: &Batch,
        strategy: BatchStrategy,
        plans: PlanUse,
    ) -> AttemptResult<BatchResult> {
        let mut session = self.session(batch.deadline, &batch.context).await?;
        session.work.plans = plans;
        session.work.forbids_writes = batch.mode.read_only;
        session.work.isolation = batch.mode.isolation;
        batch_pipelined::run(batch, strategy, session).await
    }

    async fn begin_once(
        &self,
        request: &BeginRequest,
        plans: PlanUse,
    ) -> AttemptResult<Box<dyn Transaction>> {
        let pool = &self.context.pool;
        let checkout = pool.acquire_for_transaction(request.deadline, &request.context).await?;
        let mut session = Session::new(checkout, &self.context, request.deadline);
        session.work.plans = plans;
        session.work.forbids_writes = request.mode.read_only;
        session.work.isolation = request.mode.isolation;
        PostgresTransaction::begin(session, request).await
    }
}

/// The names of the settings that the configuration has every session begin with.
fn begun_settings(config: &Database) -> Vec<String> {
    let settings = config.settings.0.iter().map(|(name, _)| name.as_str());
    let claims = config.claims.key.is_some().then_some(CLAIMS_SETTING);
    let empty = custom_names(&config.settings_allowed).chain(claims);
    settings.chain(empty).map(str::to_owned).collect()
}

/// Returns true if a connection's server has changed its role; `None` if the connection is lost.
async fn changed_role(connection: &Connection) -> Option<bool> {
    connection.client.check_connection().await.ok()?;
    connection.check_changed_role().await.ok()
}

impl Backend for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        match self.lanes.find(&self.context, &statement) {
            Way::Alone(candidate) => Box::pin(self.execute_alone(statement, candidate)),
            Way::Shared(ride) => Box::pin(async move {
                match ride.run(&self.context, &statement, &self.lanes.settings).await? {
                    Ok(rows) => Ok(rows),
                    Err(candidate) => Box::pin(self.execute_alone(statement, candidate)).await,
                }
            }),
        }
    }

    fn execute_batch(
        &self,
        batch: Arc<Batch>,
        strategy: BatchStrategy,
    ) -> BoxFuture<'_, Result<BatchResult>> {
        Box::pin(async move {
            run_attempts(|plans| self.execute_batch_once(&batch, strategy, plans)).await
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        Box::pin(async move { run_attempts(|plans| self.begin_once(&request, plans)).await })
    }

    fn outcome(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>> {
        Box::pin(async move {
            match handle {
                TransactionHandle::Token(token) => {
                    let token = Token::parse(&token)?;
                    let query = outcome_of_token(&self.context, &token);
                    let outcome = tokio::time::timeout_at(deadline.instant().into(), query).await;
                    // Not an unknown outcome: another query may be answered.
                    outcome.unwrap_or_else(|_elapsed| Err(outcome_timed_out(&self.context.name)))
                }
                TransactionHandle::Key { caller, key } => {
                    let mut session = self.session(deadline, &context).await?;
                    idempotency::outcome_of_key(&mut session, &caller, &key).await
                }
            }
        })
    }

    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let mut session = self.session(deadline, &CallContext::own("sweep")).await?;
            idempotency::delete_expired(&mut session).await
        })
    }

    fn key_table_sql(&self) -> Option<String> {
        Some(self.context.key_table.create())
    }

    fn install_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<Installed>> {
        Box::pin(async move {
            let mut session = self.session(deadline, &CallContext::own("install")).await?;
            idempotency::install(&mut session).await
        })
    }

    fn install_claims(
        &self,
        settings: ClaimsSettings,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            let mut session = self.session(deadline, &CallContext::own("install")).await?;
            claims::install::install(&mut session, &settings).await
        })
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        Box::pin(async move {
            let DescribeRequest { sql, deadline, context, analysis, .. } = &request;
            let mut session = self.session(*deadline, context).await?;
            let effects = session.effects_of(analysis).await?;
            // A kept one may name the columns of tables that others have taken the place of.
            session.connection().forget_statement(sql);
            let prepared = session.prepare(sql).await?;
            let effects = session.effects_with_parameters(effects, &prepared).await?;
            let plan =
                if request.include_plan { session.explain(sql, &prepared).await? } else { None };
            let parameters = prepared.parameter_types().iter().map(codec::describe_parameter);
            Ok(Description {
                columns: session.columns_with_origins(sql, &prepared).await?,
                parameters: parameters.collect(),
                read_only: effects.reads,
                plan,
            })
        })
    }

    fn listen(&self, channels: Vec<Arc<str>>) -> Result<Subscription> {
        self.listeners.listen(&self.context, channels)
    }

    fn listeners(&self) -> ListenCounts {
        self.listeners.counts()
    }

    fn copy_statement(&self, query: &str, text: &CopyText) -> Option<String> {
        Some(copy_out_statement(query, text))
    }

    fn stored_results(
        &self,
        key: IdempotencyKey,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<Option<BatchResult>>> {
        Box::pin(async move {
            let mut session = self.session(deadline, &context).await?;
            idempotency::stored_results(&mut session, &key).await
        })
    }

    fn breaker(&self) -> &Arc<ConnectBreaker> {
        &self.context.opener.breaker
    }

    fn await_server(
        &self,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<ServerWait>> {
        Box::pin(async move {
            let DatabaseContext { opener, pool, .. } = &*self.context;
            await_server(&opener.breaker, pool, deadline, &context).await
        })
    }

    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut probe = self.probe.lock().await;
            let DatabaseContext { opener, pool, .. } = &*self.context;
            if opener.breaker.is_open() {
                // A connection that was opened before proves nothing for a new one.
                if opener.connector.login_has_changed().await {
                    opener.breaker.probe_now();
                }
            } else if let Some(connection) = probe.take()
                && let Ok(Some(changed)) =
                    tokio::time::timeout(limit, changed_role(&connection)).await
            {
                if changed {
                    self.context.fail_over(&connection);
                } else {
                    *probe = Some(connection);
                    pool.reached();
                    return Ok(());
                }
            }
            *probe = Some(opener.breaker.probe(limit, Box::pin(opener.open())).await?);
            pool.reached();
            Ok(())
        })
    }

    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.context.pool.warm_up(connections))
    }

    fn engine(&self) -> EngineInfo {
        let known = self.context.opener.connector.known_capabilities();
        known.map_or_else(EngineInfo::default, |known| EngineInfo {
            label: known.engine.label(),
            version: known.engine.text.clone(),
            missing: known.missing(),
        })
    }

    fn pool(&self) -> PoolSnapshot {
        let mut snapshot = self.context.pool.snapshot();
        snapshot.statements = self.context.statements.load(Relaxed);
        snapshot.behind_pooler = self.context.opener.connector.is_behind_pooler();
        snapshot.resets = self.context.resets.load(Relaxed);
        snapshot.lanes = self.lanes.counts();
        snapshot
    }

    fn control(&self) -> &dyn PoolAdmin {
        &self.context.pool
    }

    fn close(&self) {
        self.listeners.close();
        self.context.pool.close();
    }
}
