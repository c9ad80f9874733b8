//! The circuit breaker through which connections to one database are opened.
//!
//! It stands where connections are opened and nowhere else: a healthy idle connection is checked out whatever
//! the state of the breaker. The pool, probes and the resolution of outcomes all connect through it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::{milliseconds, now};
use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::{BreakerLimits, BreakerTransition, CircuitBreaker, ConnectFailureKind};

/// An attempt to connect to a single server that is dropped sooner says nothing of the database.
const MIN_ABANDONED_WAIT: Duration = Duration::from_millis(500);

/// The breaker of one database.
#[derive(Debug)]
pub(crate) struct ConnectBreaker {
    database: String,
    interval: Duration,
    connect_timeout: Duration,
    /// An attempt that is dropped after so long counts as a failure.
    min_abandoned_wait: Duration,
    inner: Mutex<Inner>,
    /// It is open, for those that run calls.
    pub(crate) unreachable: Arc<AtomicBool>,
    state: watch::Sender<BreakerState>,
    /// The last call could not reach the database.
    call_failed: AtomicBool,
    calls: watch::Sender<bool>,
    /// Held once more by each connection of the pool.
    pub(crate) pooled: Arc<()>,
}

#[derive(Debug)]
struct Inner {
    breaker: CircuitBreaker,
    /// The last failure, while it is open.
    last_failure: Option<ConnectFailureInfo>,
}

#[derive(Debug, PartialEq, Eq)]
struct ConnectFailureInfo {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    cause: String,
}

/// The purpose of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptKind {
    /// A caller needs the connection.
    Connect,
    /// The connection shows whether the database can be reached.
    Probe,
}

/// The knowledge about a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BreakerState {
    pub open: bool,
    /// The database was reached at least once.
    pub reached: bool,
}

impl BreakerState {
    /// Returns true if the database can be reached, as far as it is known.
    pub(crate) fn is_available(self) -> bool {
        self.reached && !self.open
    }
}

/// The knowledge of a database that a call leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallReach {
    /// The database has answered.
    Reached,
    /// It could not be reached, or the connection was lost.
    Failed,
    /// Nothing: the call has failed before, or was ended.
    Unknown,
}

/// The operators' view of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerSnapshot {
    pub open: bool,
    /// The time since it was opened or closed.
    pub since: Duration,
    /// The number of times it was opened.
    pub opened: u64,
}

impl ConnectBreaker {
    /// Returns a closed breaker of a database that was not reached yet.
    pub(crate) fn new(name: &str, config: &config::Database) -> Arc<Self> {
        let limits = BreakerLimits {
            failures: config.breaker.failures,
            interval: config.breaker.probe_interval,
            refused_interval: config.retry.max_backoff.max(config.breaker.probe_interval),
        };
        let breaker = CircuitBreaker::new(limits, now());
        let connect_timeout = config.pool.connect_timeout;
        // Of several servers each has its share of the whole time, and any may be the one that answers.
        let is_several = config.target.servers().len() > 1;
        let min_abandoned_wait =
            if is_several { connect_timeout } else { MIN_ABANDONED_WAIT.min(connect_timeout) };
        Arc::new(Self {
            database: name.to_owned(),
            interval: limits.interval,
            connect_timeout,
            min_abandoned_wait,
            inner: Mutex::new(Inner { breaker, last_failure: None }),
            unreachable: Arc::default(),
            state: watch::Sender::default(),
            call_failed: AtomicBool::default(),
            calls: watch::Sender::default(),
            pooled: Arc::default(),
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.unreachable.load(Relaxed)
    }

    /// The state, and all changes of it.
    pub(crate) fn state(&self) -> watch::Receiver<BreakerState> {
        self.state.subscribe()
    }

    /// Notes what a call has shown, whose last error or success this is.
    pub(crate) fn note_call(&self, reach: CallReach) {
        let failed = match reach {
            CallReach::Reached => false,
            CallReach::Failed => true,
            CallReach::Unknown => return,
        };
        // Nearly every call shows what the last one did.
        if self.call_failed.load(Relaxed) != failed {
            self.call_failed.store(failed, Relaxed);
            self.calls.send_replace(failed);
        }
    }

    /// Returns true if the last call that shows it could not reach the database.
    pub(crate) fn has_call_failed(&self) -> bool {
        self.call_failed.load(Relaxed)
    }

    /// The same, and all changes of it.
    pub(crate) fn call_failures(&self) -> watch::Receiver<bool> {
        self.calls.subscribe()
    }

    pub(crate) fn snapshot(&self) -> BreakerSnapshot {
        let Inner { breaker, .. } = &*self.inner.lock();
        BreakerSnapshot {
            open: breaker.is_open(),
            since: now().saturating_duration_since(breaker.since),
            opened: breaker.opened,
        }
    }

    /// The last failure and its cause, for operators; `None` while it is closed.
    pub(crate) fn open_reason(&self) -> Option<String> {
        let inner = self.inner.lock();
        let failure = inner.last_failure.as_ref().filter(|_| inner.breaker.is_open())?;
        let ConnectFailureInfo { message, cause, .. } = failure;
        Some(if cause.is_empty() { message.clone() } else { format!("{message}: {cause}") })
    }

    /// The time until the next probe after a failed one.
    pub(crate) fn time_to_next_probe(&self) -> Duration {
        let due = self.inner.lock().breaker.next_probe();
        due.map_or(self.interval, |due| due.saturating_duration_since(now()))
    }

    /// Waits until a probe is overdue, which the next caller that connects makes.
    pub(crate) async fn probe_overdue(&self) {
        while self.may_connect().is_err() {
            let due = self.inner.lock().breaker.next_probe();
            let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now()));
            tokio::time::sleep(left + self.interval).await;
        }
    }

    /// Lets the next probe begin now: something has changed that may help.
    pub(crate) fn probe_now(&self) {
        self.inner.lock().breaker.probe_now(now());
    }

    /// Checks that [`ConnectBreaker::connect`] would make an attempt; else returns the last failure.
    pub(crate) fn may_connect(&self) -> Result<()> {
        if self.is_open() && !self.inner.lock().breaker.is_overdue(now()) {
            return Err(self.last_error());
        }
        Ok(())
    }

    /// Opens a connection by an attempt. While the breaker is open, and as soon as it opens, the last failure
    /// is returned at once.
    ///
    /// # Cancel safety
    /// As the attempt. One that is dropped after a while counts as a failure: nobody answered.
    pub(crate) async fn connect<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<T> {
        let mut state = self.state.subscribe();
        if state.borrow().open {
            // The prober ends before the last calls do.
            if self.inner.lock().breaker.begin_probe_if_overdue(now()) {
                return self.attempt(AttemptKind::Probe, attempt).await;
            }
            return Err(self.last_error());
        }
        tokio::select! {
            biased;
            opened = self.attempt(AttemptKind::Connect, attempt) => opened,
            // The sender is in `self`, so the wait cannot end otherwise.
            _ = state.wait_for(|state| state.open) => Err(self.last_error()),
        }
    }

    /// Checks that a connection can be opened within `limit`; while the breaker is open, only if a probe is
    /// due.
    pub(crate) async fn probe<T>(
        &self,
        limit: Duration,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if !self.is_open() {
            return self.connect(self.within(limit, attempt)).await;
        }
        if !self.inner.lock().breaker.begin_probe(now()) {
            return Err(self.last_error());
        }
        // As long as callers wait: else the breaker of a slow server would never close.
        self.attempt(AttemptKind::Probe, self.within(self.connect_timeout, attempt)).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let answered = tokio::time::timeout(limit, attempt).await;
        answered.unwrap_or_else(|_elapsed| Err(self.no_answer(limit)))
    }

    async fn attempt<T>(
        &self,
        kind: AttemptKind,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut guard = AttemptGuard { breaker: self, kind, began: now(), finished: false };
        let opened = attempt.await;
        guard.finished = true;
        match &opened {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(kind, self.classify(error), error),
        }
        opened
    }

    /// Classifies an error; `None` if it says nothing of the next connection.
    fn classify(&self, error: &Error) -> Option<ConnectFailureKind> {
        let sqlstate = error.report().map_or("", |report| report.sqlstate.as_str());
        let is_full_of_ours = sqlstate == "53300" && Arc::strong_count(&self.pooled) > 1;
        let is_local =
            matches!(error.kind(), ErrorKind::LockNotAvailable | ErrorKind::ShuttingDown);
        if is_full_of_ours || is_local {
            return None;
        }
        let is_refused = sqlstate.starts_with("28");
        let kind =
            if is_refused { ConnectFailureKind::Refused } else { ConnectFailureKind::Unreachable };
        Some(kind)
    }

    fn succeeded(&self) {
        let mut inner = self.inner.lock();
        let was_reached = inner.breaker.reached;
        let Some(transition) = inner.breaker.succeeded(now()) else { return };
        inner.last_failure = None;
        self.publish(&inner);
        drop(inner);
        let database = &self.database;
        if let BreakerTransition::Closed(after) = transition
            && was_reached
        {
            tracing::info!(database, duration_ms = milliseconds(after), "database reachable again");
        } else {
            tracing::info!(database, "database reached");
        }
    }

    fn failed(&self, kind: AttemptKind, failure: Option<ConnectFailureKind>, error: &Error) {
        let info = ConnectFailureInfo {
            kind: error.kind(),
            message: error.message().to_owned(),
            hint: error.hint().map(ToOwned::to_owned),
            cause: error.cause(),
        };
        let database = &self.database;
        let reason = error.reason();
        let cause = info.cause.clone();
        let mut inner = self.inner.lock();
        if kind == AttemptKind::Probe {
            let failure = failure.unwrap_or(ConnectFailureKind::Unreachable);
            inner.breaker.probe_failed(failure, now());
            // The same failure is logged once.
            if inner.breaker.is_open() && inner.last_failure.as_ref() != Some(&info) {
                inner.last_failure = Some(info);
                drop(inner);
                tracing::warn!(database, reason, %error, cause, "database still unreachable");
            }
            return;
        }
        let Some(failure) = failure else { return };
        if inner.breaker.failed(failure, now()) {
            inner.last_failure = Some(info);
            self.publish(&inner);
            drop(inner);
            tracing::warn!(database, reason, %error, cause, "database unreachable");
        }
    }

    /// Publishes the state, under the lock.
    fn publish(&self, Inner { breaker, .. }: &Inner) {
        let state = BreakerState { open: breaker.is_open(), reached: breaker.reached };
        self.unreachable.store(state.open, Relaxed);
        self.state.send_replace(state);
    }

    /// The last failure as an error, for callers for whom nothing is attempted.
    fn last_error(&self) -> Error {
        let inner = self.inner.lock();
        let Some(failure) = &inner.last_failure else { return self.unreachable() };
        let mut error = Error::new(failure.kind, failure.message.clone());
        if failure.kind == ErrorKind::DatabaseUnavailable {
            error = error.with_retry_after(self.interval);
        }
        match &failure.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }

    fn unreachable(&self) -> Error {
        let message = format!("cannot connect to database \"{}\"", self.database);
        Error::new(ErrorKind::DatabaseUnavailable, message).with_retry_after(self.interval)
    }

    fn no_answer(&self, waited: Duration) -> Error {
        let waited = humantime::format_duration(waited);
        self.unreachable().with_cause(format!("no answer within {waited}"))
    }
}

/// An attempt in progress, which may be dropped at any moment.
struct AttemptGuard<'a> {
    breaker: &'a ConnectBreaker,
    kind: AttemptKind,
    began: Instant,
    finished: bool,
}

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let breaker = self.breaker;
        let waited = now().saturating_duration_since(self.began);
        if self.kind == AttemptKind::Probe || waited >= breaker.min_abandoned_wait {
            let failure = Some(ConnectFailureKind::Unreachable);
            breaker.failed(self.kind, failure, &breaker.no_answer(waited));
        }
    }
}

#[cfg(test)]
mod tests;
