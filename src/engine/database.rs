//! One database: its backend and the limits of calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::result_bounds::ResultBounds;
use crate::backend::Backend;
use crate::config;
use crate::deadline::{CallLimits, Deadline};
use crate::resilience::{Retries, RetryCounts};
use crate::sql::{Analyzer, Dialect};

/// The size of the cache of analyzed statements of one database, in bytes.
const ANALYSIS_CACHE: u64 = 8 << 20;

/// One database: its backend and the limits of calls.
pub struct Database {
    pub(super) name: Arc<str>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) analyzer: Analyzer,
    pub(super) limits: CallLimits,
    pub(super) retries: Retries,
    pub(super) transaction: config::TransactionSettings,
    pub(super) bounds: ResultBounds,
    max_row_size: usize,
    pub(super) max_batch: usize,
    key_retention: Duration,
    transactions_run: AtomicU64,
}

/// The counts of a database's calls since the start, beyond the counters of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallCounts {
    /// Interactive transactions that were begun, and batches.
    pub transactions: u64,
    /// Retries that were made, and that were refused.
    pub retries: RetryCounts,
}

impl Database {
    pub(super) fn new(name: String, config: &config::Database, backend: Arc<dyn Backend>) -> Self {
        let dialect = match config.target {
            config::Target::Postgres(_) => Dialect::Postgres,
            config::Target::Sqlite(_) => Dialect::Sqlite,
        };
        let away = backend.breaker().unreachable_flag();
        Self {
            name: name.into(),
            backend,
            analyzer: Analyzer::new(dialect, ANALYSIS_CACHE),
            limits: CallLimits { default: config.default_deadline, cap: config.max_deadline },
            retries: Retries::new(&config.retry, config.pool.connect_timeout, away),
            transaction: config.transaction,
            bounds: ResultBounds { rows: config.max_rows, bytes: config.max_bytes },
            max_row_size: config.max_row_size,
            max_batch: config.max_batch,
            key_retention: config.idempotency.retention,
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

    /// The cap on the rows of a unary result.
    #[must_use]
    pub fn max_rows(&self) -> u64 {
        self.bounds.rows
    }

    /// The cap on the encoded size of a unary result, in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.bounds.bytes
    }

    /// The cap on the size of a row, in bytes.
    #[must_use]
    pub fn max_row_size(&self) -> usize {
        self.max_row_size
    }

    /// The cap on the statements of a batch.
    #[must_use]
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// The retention of idempotency keys.
    #[must_use]
    pub fn key_retention(&self) -> Duration {
        self.key_retention
    }

    /// The counts of its calls.
    #[must_use]
    pub fn counts(&self) -> CallCounts {
        let transactions = self.transactions_run.load(Relaxed);
        CallCounts { transactions, retries: self.retries.counts() }
    }

    pub(super) fn count_transaction(&self) {
        self.transactions_run.fetch_add(1, Relaxed);
    }

    /// Returns true if the database was reached and its breaker is closed.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.backend.breaker().state().borrow().is_available()
    }

    /// The deadline of a call that starts now.
    pub(super) fn deadline(
        &self,
        now: Instant,
        grpc_timeout: Option<Duration>,
        option: Option<Duration>,
    ) -> Deadline {
        Deadline::of_call(now, grpc_timeout, option, self.limits)
    }
}
