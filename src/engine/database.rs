//! One database: its backend and its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::result_bounds::ResultBounds;
use crate::access::Identity;
use crate::backend::Backend;
use crate::clock::now;
use crate::config::{self, Secret};
use crate::deadline::{CallLimits, Deadline};
use crate::pool::CallContext;
use crate::resilience::{Retries, RetryCounts};
use crate::sql::{Analyzer, Dialect};
use crate::telemetry::RpcCall;

/// One database: its backend and the settings of its calls.
pub(crate) struct Database {
    pub(super) name: Arc<str>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) analyzer: Analyzer,
    pub(super) retries: Retries,
    settings: config::Database,
    /// True if the database is probed: otherwise its calls alone show if it can be reached.
    is_probed: bool,
    transactions_run: AtomicU64,
}

/// The caller of a call, and the time that it allows.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Its identity when it has one, otherwise its address without the port. Callers are distinguished by it.
    pub(crate) name: Arc<str>,
    /// Its call, as telemetry knows it.
    pub(crate) call: Arc<RpcCall>,
    /// The rest of its gRPC timeout; `None` when it sent none.
    pub(crate) time_left: Option<Duration>,
    /// Its identity, and its rights.
    pub(crate) identity: Arc<Identity>,
}

#[cfg(test)]
impl Default for Caller {
    fn default() -> Self {
        let identity = Arc::new(Identity::anybody());
        Self { name: Arc::default(), call: Arc::default(), time_left: None, identity }
    }
}

/// The counts of a database's calls since the start, beyond the counters of its pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallCounts {
    /// Interactive transactions that were begun, and batches.
    pub(crate) transactions: u64,
    pub(crate) retries: RetryCounts,
}

impl Database {
    pub(super) fn new(
        name: String,
        settings: config::Database,
        health: &config::Health,
        backend: Arc<dyn Backend>,
    ) -> Self {
        let dialect = match settings.target {
            config::Target::Postgres(_) => Dialect::Postgres,
            config::Target::Mysql(_) => Dialect::Mysql,
            config::Target::Sqlite(_) => Dialect::Sqlite,
        };
        let unreachable = Arc::clone(&backend.breaker().unreachable);
        let connect_timeout = settings.pool.connect_timeout;
        let wait = settings.failover_wait;
        Self {
            name: name.into(),
            backend,
            analyzer: Analyzer::new(dialect, settings.analysis_cache),
            retries: Retries::new(&settings.retry, connect_timeout, wait, unreachable),
            settings,
            is_probed: health.probes(),
            transactions_run: AtomicU64::default(),
        }
    }

    /// The logical name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(crate) fn settings(&self) -> &config::Database {
        &self.settings
    }

    /// The limits of a call's time.
    pub(crate) fn limits(&self) -> CallLimits {
        CallLimits { default: self.settings.default_deadline, cap: self.settings.max_deadline }
    }

    /// The limits of the time of a caller's calls.
    fn limits_of(&self, caller: &Caller) -> CallLimits {
        let CallLimits { default, cap } = self.limits();
        let cap = caller.identity.policy.max_deadline(cap);
        CallLimits { default: default.min(cap), cap }
    }

    /// The claims of a caller, if the database takes them.
    pub(super) fn claims_of(&self, caller: &Caller) -> Option<Arc<Secret>> {
        self.settings.claims.key.as_ref().and(caller.identity.claims.clone())
    }

    /// The caps on a unary result.
    pub(super) fn bounds(&self, caller: &Caller) -> ResultBounds {
        let rows = caller.identity.policy.max_rows(self.settings.max_rows);
        ResultBounds { rows, bytes: self.settings.max_bytes }
    }

    pub(crate) fn counts(&self) -> CallCounts {
        let transactions = self.transactions_run.load(Relaxed);
        CallCounts { transactions, retries: self.retries.counts() }
    }

    pub(super) fn count_transaction(&self) {
        self.transactions_run.fetch_add(1, Relaxed);
    }

    /// Returns true if the database was reached and its breaker is closed. Where nobody probes: unless its breaker is open,
    /// or the last call could not reach it.
    pub(crate) fn is_available(&self) -> bool {
        let breaker = self.backend.breaker();
        let state = *breaker.state().borrow();
        if self.is_probed {
            state.is_available()
        } else {
            !state.open && !breaker.has_call_failed()
        }
    }

    /// The deadline of a call that starts now; `option` is its own timeout.
    pub(super) fn deadline(&self, caller: &Caller, option: Option<Duration>) -> Deadline {
        Deadline::of_call(now(), caller.time_left, option, self.limits_of(caller))
    }

    /// Makes the context of a call for the pool and telemetry.
    pub(super) fn context(
        &self,
        caller: &Caller,
        rpc: &'static str,
        tag: &str,
    ) -> Arc<CallContext> {
        let Caller { name, call, .. } = caller;
        let tag = if tag.is_empty() { Arc::default() } else { Arc::from(tag) };
        call.set_labels(&self.name, name, &tag);
        CallContext::new(Arc::clone(call), Arc::clone(name), rpc, tag)
    }
}
