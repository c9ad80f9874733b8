//! What a call does, whatever the transport and the database: admit, bound, run, retry, end.
//!
//! Knows no driver and no transport. A unary call runs in its caller's future; a stream runs in a task
//! of its own, which outlives a reader that has gone just long enough to stop the statement.

mod attempt_loop;
mod batch;
mod caller;
mod query;
mod request_hash;
mod stream;
mod transaction;
mod transaction_outcome;
mod validate;
mod yielding;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use caller::Caller;
pub use stream::{Part, Summary};
pub use transaction::{Incoming, Reply, ReplyBody};

use validate::Bounds;
use yielding::Turns;

use crate::backend::{Backend, DescribeRequest, Description};
use crate::clock::now;
use crate::config;
use crate::deadline::CallLimits;
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::{Retries, RetryCounts, Unit};
use crate::sql::{Analyzer, Dialect};
use crate::wire_size::widen;

/// Statement texts remembered for each database, in bytes.
const ANALYSIS_CACHE: u64 = 8 << 20;

/// The databases, and what calls may do with them.
pub struct Engine {
    databases: BTreeMap<String, Database>,
    default_database: String,
    stall_timeout: Duration,
    response_limit: usize,
    turns: Turns,
    /// When interactive transactions must be over, once the server is to stop.
    drain: watch::Sender<Option<Instant>>,
}

/// One database: its backend and the limits of calls.
pub struct Database {
    name: Arc<str>,
    backend: Arc<dyn Backend>,
    analyzer: Analyzer,
    limits: CallLimits,
    retries: Arc<Retries>,
    transaction: config::TransactionSettings,
    caps: Bounds,
    max_row_size: usize,
    max_batch: usize,
    key_retention: Duration,
    transactions_run: AtomicU64,
}

/// What a database's calls have come to since the start, beyond what its pool counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Interactive transactions that were begun, and batches.
    pub transactions: u64,
    /// Attempts that were made again after a failure, or were not.
    pub retries: RetryCounts,
}

impl Engine {
    /// An engine over opened backends; `default_database` is one of them.
    #[must_use]
    pub fn new(
        databases: Vec<(String, config::Database, Arc<dyn Backend>)>,
        config: &config::Config,
    ) -> Self {
        let databases = databases
            .into_iter()
            .map(|(name, config, backend)| (name.clone(), Database::new(name, &config, backend)))
            .collect();
        Self {
            databases,
            default_database: config.default_database.clone(),
            stall_timeout: config.stream.stall_timeout,
            response_limit: config.grpc.max_response_size,
            turns: Turns::default(),
            drain: watch::Sender::new(None),
        }
    }

    /// Rolls back interactive transactions: those that wait for their caller now, the others once what
    /// has come of them is done, and at `end` whatever is open.
    pub fn drain(&self, end: Instant) {
        self.drain.send_replace(Some(end));
    }

    /// Returns when interactive transactions wait for no more commands; the moment when they must be over.
    async fn draining(&self) -> Instant {
        let mut drain = self.drain.subscribe();
        let end = drain.wait_for(Option::is_some).await.map(|end| *end);
        match end {
            Ok(Some(end)) => end,
            // The sender lives as long as this engine.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Returns when interactive transactions must be over.
    async fn drained(&self) {
        tokio::time::sleep_until(self.draining().await.into()).await;
    }

    /// The database of a request; an empty name is the default one.
    ///
    /// # Errors
    /// `DatabaseNotFound`.
    pub fn database(&self, name: &str) -> Result<&Database> {
        let name = if name.is_empty() { &self.default_database } else { name };
        self.databases.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.databases.keys().map(String::as_str).collect();
            Error::new(ErrorKind::DatabaseNotFound, format!("there is no database \"{name}\""))
                .with_hint(format!("Known here: {}.", known.join(", ")))
        })
    }

    /// All databases, by name.
    pub fn databases(&self) -> impl Iterator<Item = &Database> {
        self.databases.values()
    }

    /// The database of a request that names none.
    #[must_use]
    pub fn default_database(&self) -> &str {
        &self.default_database
    }

    /// Says what a statement takes and returns.
    ///
    /// # Errors
    /// As a query of it, but for what only running it would show.
    pub async fn describe(
        &self,
        database: &str,
        sql: String,
        include_plan: bool,
        caller: impl Into<Caller>,
    ) -> Result<Description> {
        let (database, caller) = (self.database(database)?, caller.into());
        let analysis = database.admit(&sql)?;
        let deadline = database.deadline(now(), caller.time_left, None);
        let context = caller.context(&database.name, "DescribeStatement", "");
        context.runs(&analysis.summary);
        let describe = || {
            let (sql, analysis, context) =
                (sql.clone(), Arc::clone(&analysis), Arc::clone(&context));
            let request = DescribeRequest { sql, analysis, include_plan, deadline, context };
            database.backend.describe(request)
        };
        let attempts = database.retries.start(Unit::Statement, None);
        let described =
            attempt_loop::retry(context.telemetry(), attempts, deadline, describe).await;
        described.map(|done| done.value).map_err(|error| context.explain(error))
    }
}

impl Database {
    fn new(name: String, config: &config::Database, backend: Arc<dyn Backend>) -> Self {
        let dialect = match config.target {
            config::Target::Postgres(_) => Dialect::Postgres,
            config::Target::Sqlite(_) => Dialect::Sqlite,
        };
        Self {
            name: name.into(),
            analyzer: Analyzer::new(dialect, ANALYSIS_CACHE),
            limits: CallLimits { default: config.default_deadline, cap: config.max_deadline },
            retries: Arc::new(Retries::new(
                &config.retry,
                config.pool.connect_timeout,
                backend.breaker().away(),
            )),
            backend,
            caps: Bounds { rows: config.max_rows, bytes: config.max_bytes },
            max_row_size: config.max_row_size,
            max_batch: config.max_batch,
            key_retention: config.idempotency.retention,
            transaction: config.transaction,
            transactions_run: AtomicU64::default(),
        }
    }

    /// The logical name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The limits of a call's time.
    #[must_use]
    pub fn limits(&self) -> CallLimits {
        self.limits
    }

    /// The caps on a unary result (rows, bytes) and on a row (bytes).
    #[must_use]
    pub fn caps(&self) -> (u64, u64, usize) {
        (self.caps.rows, self.caps.bytes, self.max_row_size)
    }

    /// Statements of a batch at most.
    #[must_use]
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// How long idempotency keys are kept.
    #[must_use]
    pub fn key_retention(&self) -> Duration {
        self.key_retention
    }

    /// What its calls have come to.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let transactions = self.transactions_run.load(Relaxed);
        Counts { transactions, retries: self.retries.counts() }
    }

    fn count_transaction(&self) {
        self.transactions_run.fetch_add(1, Relaxed);
    }

    /// Whether it was reached, and is not given up.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.backend.breaker().state().borrow().is_available()
    }
}

#[cfg(test)]
mod tests;
