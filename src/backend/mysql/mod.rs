//! MySQL and MariaDB, over a client of our own.
//!
//! Each folder builds on those after it: `execute` runs statements, batches and transactions, which `commit` ends and
//! resolves; `keys` keeps idempotency keys in a table; a `session` is a `connection` at work for one caller; `connect`
//! opens connections; `protocol` reads and writes packets; `codec` converts values and `error` maps error packets.
//!
//! A connection has no task of its own: the call that holds it drives it. What a call leaves half read is read on, or
//! killed, by the task that resets the session.

mod codec;
mod commit;
mod commit_mark;
mod commit_marks;
mod commit_token;
mod connect;
mod connection;
mod error;
mod execute;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod key_rows;
mod keys;
mod mysql_admin;
mod protocol;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::backend::attempt::{AttemptResult, PlanUse, run_attempts};
use crate::backend::await_server::await_server;
use crate::backend::definitions::StatementRules;
use crate::backend::resolution::outcome_timed_out;
use crate::backend::{
    Backend, Batch, BatchResult, BatchStrategy, BeginRequest, ConnectBreaker, DescribeRequest,
    Description, EngineInfo, IdempotencyKey, Installed, RowStream, ServerWait, Statement,
    Transaction, TransactionHandle, TransactionOutcome,
};
use crate::config::{ClaimsSettings, Database, MysqlTarget};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{CallContext, Pool, PoolAdmin, PoolSnapshot};
use crate::telemetry;
use commit::outcome_of_token;
use commit_marks::CommitMarks;
use commit_token::CommitToken;
use connect::Connector;
use connect::server_questions::{TAKES_WRITES, TAKES_WRITES_IN_CLUSTER};
use connection::Connection;
use connection::mysql_opener::Opener;
use execute::batch_flights;
use execute::description::describe;
use execute::interactive::MysqlTransaction;
use execute::statement_rows::{Scope, StatementRows};
use key_rows::KeyRows;
pub(crate) use mysql_admin::MysqlAdmin;
use session::Session;
use session::catalog::Catalog;
use session::mysql_context::MysqlContext;

/// The seconds of a distance from UTC, as in `+02:00`.
fn seconds_ahead(zone: &str) -> i32 {
    let (sign, rest) = match zone.split_at_checked(1) {
        Some(("-", rest)) => (-1, rest),
        Some((_, rest)) => (1, rest),
        None => return 0,
    };
    let mut parts = rest.split(':').map(|part| part.parse::<i32>().unwrap_or_default());
    let hours = parts.next().unwrap_or_default();
    let minutes = parts.next().unwrap_or_default();
    sign * (hours * 3600 + minutes * 60)
}

/// A database of MySQL or MariaDB and its pool.
pub(crate) struct Mysql {
    context: Arc<MysqlContext>,
    probe: tokio::sync::Mutex<Option<Connection>>,
}

impl Mysql {
    /// Creates the backend of a database; opens no connection.
    pub(crate) fn open(
        telemetry: &Arc<telemetry::DatabaseTelemetry>,
        config: &Database,
        target: &MysqlTarget,
    ) -> Result<Self> {
        let name = telemetry.name();
        let opener = Opener {
            connector: Arc::new(Connector::new(telemetry, config, target)?),
            breaker: ConnectBreaker::new(name, config),
            statements: StatementRules::new(config),
        };
        let context = Arc::new(MysqlContext {
            name: name.to_owned(),
            error_details: config.error_details,
            resets: AtomicU64::new(0),
            statements: AtomicU64::new(0),
            catalog: Catalog::new(config.catalog_ttl),
            ahead_of_utc: seconds_ahead(&config.time_zone),
            is_pipelined: config.pipelining,
            keys: KeyRows::new(&config.idempotency.table, config.idempotency.retention),
            marks: CommitMarks::default(),
            pool: Pool::new(telemetry, &config.pool, opener.clone()),
            opener,
            last_failover: Mutex::default(),
        });
        Ok(Self { context, probe: tokio::sync::Mutex::default() })
    }

    async fn session(&self, deadline: Deadline, caller: &Arc<CallContext>) -> Result<Session> {
        let checkout = self.context.pool.acquire(deadline, caller).await?;
        Ok(Session::new(checkout, &self.context, deadline))
    }

    async fn execute_once(
        &self,
        statement: &Arc<Statement>,
        plans: PlanUse,
    ) -> AttemptResult<Box<dyn RowStream>> {
        let mut session = self.session(statement.deadline, &statement.context).await?;
        session.work.plans = plans;
        let statement = Arc::clone(statement);
        Ok(Box::new(StatementRows::start(session, statement, Scope::Autocommit).await?))
    }

    async fn execute_batch_once(
        &self,
        batch: &Batch,
        strategy: BatchStrategy,
        plans: PlanUse,
    ) -> AttemptResult<BatchResult> {
        let mut session = self.session(batch.deadline, &batch.context).await?;
        session.work.plans = plans;
        Box::pin(batch_flights::run(batch, strategy, session)).await
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
        MysqlTransaction::begin(session, request).await
    }
}

/// Returns true if a connection's server takes no writes any more, although it must; `None` if the connection is lost.
async fn has_changed_role(connection: &mut Connection, needs_writes: bool) -> Option<bool> {
    let is_node = connection.server.is_galera;
    let question = if is_node { TAKES_WRITES_IN_CLUSTER } else { TAKES_WRITES };
    let takes_writes = connection.ask(question).await?;
    Some(needs_writes && takes_writes != "1")
}

impl Backend for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        Box::pin(async move { run_attempts(|plans| self.execute_once(&statement, plans)).await })
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
                    let token = CommitToken::parse(&token)?;
                    let query = outcome_of_token(&self.context, &token);
                    let outcome = tokio::time::timeout_at(deadline.instant().into(), query).await;
                    // Not an unknown outcome: another query may be answered.
                    outcome.unwrap_or_else(|_elapsed| Err(outcome_timed_out(&self.context.name)))
                }
                TransactionHandle::Key { caller, key } => {
                    let mut session = self.session(deadline, &context).await?;
                    keys::outcome_of_key(&mut session, &caller, &key).await
                }
            }
        })
    }

    fn stored_results(
        &self,
        key: IdempotencyKey,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<Option<BatchResult>>> {
        Box::pin(async move {
            let mut session = self.session(deadline, &context).await?;
            keys::stored_results(&mut session, &key).await
        })
    }

    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let mut session = self.session(deadline, &CallContext::own("sweep")).await?;
            keys::delete_expired(&mut session).await
        })
    }

    fn key_table_sql(&self) -> Option<String> {
        Some(self.context.keys.create())
    }

    fn install_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<Installed>> {
        Box::pin(async move {
            let mut session = self.session(deadline, &CallContext::own("install")).await?;
            let installed = keys::install(&mut session).await;
            self.context.marks.may_be_possible();
            installed
        })
    }

    fn install_claims(
        &self,
        _settings: ClaimsSettings,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async {
            Err(Error::new(ErrorKind::Unsupported, "MySQL has no row-level security"))
        })
    }

    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        Box::pin(async move {
            let mut session = self.session(request.deadline, &request.context).await?;
            describe(&mut session, &request).await
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
            let MysqlContext { opener, pool, .. } = &*self.context;
            await_server(&opener.breaker, pool, deadline, &context).await
        })
    }

    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut probe = self.probe.lock().await;
            let MysqlContext { opener, pool, .. } = &*self.context;
            self.context.leave_changed_server();
            if opener.breaker.is_open() {
                // A connection that was opened before proves nothing for a new one.
                if opener.connector.login_has_changed().await {
                    opener.breaker.probe_now();
                }
            } else if let Some(mut connection) = probe.take() {
                let needs_writes = opener.connector.needs_writes();
                let asked = has_changed_role(&mut connection, needs_writes);
                if let Ok(Some(changed)) = tokio::time::timeout(limit, asked).await {
                    if changed {
                        self.context.fail_over(&connection);
                    } else {
                        *probe = Some(connection);
                        pool.reached();
                        return Ok(());
                    }
                }
            }
            let opened = opener.breaker.probe(limit, Box::pin(opener.open())).await;
            self.context.leave_changed_server();
            *probe = Some(opened?);
            pool.reached();
            Ok(())
        })
    }

    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.context.pool.warm_up(connections))
    }

    fn engine(&self) -> EngineInfo {
        let known = self.context.opener.connector.known_server();
        known.map_or_else(EngineInfo::default, |server| EngineInfo {
            label: server.version.to_string(),
            version: server.version.text.clone(),
            missing: Vec::new(),
        })
    }

    fn pool(&self) -> PoolSnapshot {
        let mut snapshot = self.context.pool.snapshot();
        snapshot.statements = self.context.statements.load(Relaxed);
        snapshot.resets = self.context.resets.load(Relaxed);
        snapshot
    }

    fn control(&self) -> &dyn PoolAdmin {
        &self.context.pool
    }

    fn close(&self) {
        self.context.pool.close();
    }
}
