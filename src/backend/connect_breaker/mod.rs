//! Opens connections to one database, or says at once that it cannot be reached: its breaker, carried out.
//!
//! It stands where connections are opened and nowhere else: an idle connection that is good is lent
//! whatever it says. Whoever connects, the pool, a probe, the resolution of a doubt, does it through here.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::now;
use crate::config;
use crate::config::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::{Away, BreakerLimits, Change, CircuitBreaker, Failure};

/// Whoever gives up on a connection sooner has learned nothing of a database on one server.
const TELLING: Duration = Duration::from_millis(500);

/// The breaker of one database, and what follows from it.
#[derive(Debug)]
pub struct ConnectBreaker {
    database: String,
    interval: Duration,
    connect_timeout: Duration,
    /// Who waited so long has learned that nobody answers.
    telling: Duration,
    inner: Mutex<Inner>,
    away: Away,
    state: watch::Sender<BreakerState>,
    /// Connections of the pool.
    held: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    breaker: CircuitBreaker,
    /// The last failure, since it is open.
    why: Option<Why>,
}

/// Why no connection was opened.
#[derive(Debug, PartialEq, Eq)]
struct Why {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    cause: String,
}

/// What is known of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BreakerState {
    /// Whether it is given up for now.
    pub open: bool,
    /// Whether it was ever reached.
    pub reached: bool,
}

impl BreakerState {
    /// Whether the database is there, as far as it is known.
    #[must_use]
    pub fn is_available(self) -> bool {
        self.reached && !self.open
    }
}

/// The breaker as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSnapshot {
    /// Whether it is open.
    pub open: bool,
    /// For how long it has been so.
    pub since: Duration,
    /// How often it was opened.
    pub opened: u64,
}

impl ConnectBreaker {
    /// A closed one, of a database that was not reached yet.
    #[must_use]
    pub fn new(name: &str, config: &config::Database) -> Arc<Self> {
        Arc::new(Self::with(name, config))
    }

    fn with(name: &str, config: &config::Database) -> Self {
        let limits = BreakerLimits {
            failures: config.breaker.failures,
            interval: config.breaker.probe_interval,
            refused_interval: config.retry.max_backoff.max(config.breaker.probe_interval),
        };
        Self {
            database: name.to_owned(),
            interval: limits.interval,
            connect_timeout: config.pool.connect_timeout,
            telling: telling(config),
            inner: Mutex::new(Inner { breaker: CircuitBreaker::new(limits, now()), why: None }),
            away: Away::default(),
            state: watch::Sender::default(),
            held: AtomicUsize::new(0),
        }
    }

    /// Whether it is open, for who runs calls.
    #[must_use]
    pub fn away(&self) -> Away {
        self.away.clone()
    }

    /// Whether the database is given up for now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.away.get()
    }

    /// What is known of the database, and all changes of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<BreakerState> {
        self.state.subscribe()
    }

    /// The breaker as operators see it.
    #[must_use]
    pub fn snapshot(&self) -> BreakerSnapshot {
        let Inner { breaker, .. } = &*self.inner.lock();
        BreakerSnapshot {
            open: breaker.is_open(),
            since: now().saturating_duration_since(breaker.since()),
            opened: breaker.opened(),
        }
    }

    /// Why the database is given up, for operators: what is said to callers, and its cause. `None`: it is not.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let inner = self.inner.lock();
        let Why { message, cause, .. } = inner.why.as_ref().filter(|_| inner.breaker.is_open())?;
        Some(if cause.is_empty() { message.clone() } else { format!("{message}: {cause}") })
    }

    /// How long to wait after a probe that has failed.
    #[must_use]
    pub fn pause(&self) -> Duration {
        let due = self.inner.lock().breaker.due();
        due.map_or(self.interval, |due| due.saturating_duration_since(now()))
    }

    /// Lets the next probe begin now: something has changed that may help.
    pub fn hurry(&self) {
        self.inner.lock().breaker.hurry(now());
    }

    /// Counts a connection of the pool until it is dropped.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.held.fetch_add(1, Relaxed);
        Held(Arc::clone(self))
    }

    /// Whether [`ConnectBreaker::connect`] would attempt anything.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self) -> Result<()> {
        let attempts = !self.is_open() || self.inner.lock().breaker.is_overdue(now());
        if attempts { Ok(()) } else { Err(self.refusal()) }
    }

    /// Lets an attempt open a connection. While the database is given up, and as soon as it is, the
    /// answer is why: at once, and nothing is attempted.
    ///
    /// # Errors
    /// The attempt's, or that of the last one that was made.
    ///
    /// # Cancel safety
    /// As the attempt. One that is given up after a while counts as a failure: nobody answered.
    pub async fn connect<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<T> {
        let mut state = self.state.subscribe();
        if state.borrow().open {
            // Whoever should probe may have ended: the server does, while calls are still served.
            if self.inner.lock().breaker.begin_overdue(now()) {
                return self.attempt(true, attempt).await;
            }
            return Err(self.refusal());
        }
        tokio::select! {
            biased;
            opened = self.attempt(false, attempt) => opened,
            // The sender is in `self`, so the wait cannot end otherwise.
            _ = state.wait_for(|state| state.open) => Err(self.refusal()),
        }
    }

    /// The same for who asks only whether it can be done: tried for as long as `limit`, and while the
    /// database is given up whenever a probe is due.
    ///
    /// # Errors
    /// As [`ConnectBreaker::connect`].
    pub async fn probe<T>(
        &self,
        limit: Duration,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if !self.is_open() {
            return self.connect(self.within(limit, attempt)).await;
        }
        if !self.inner.lock().breaker.begin_probe(now()) {
            return Err(self.refusal());
        }
        // All the time that a caller would have: else a slow server would be given up for good.
        self.attempt(true, self.within(self.connect_timeout, attempt)).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_elapsed| {
            let cause = format!("no answer within {}", humantime::format_duration(limit));
            Err(self.unreachable().with_cause(cause))
        })
    }

    async fn attempt<T>(
        &self,
        is_probe: bool,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut pending = Pending { breaker: self, is_probe, began: now(), ended: false };
        let opened = attempt.await;
        pending.ended = true;
        match &opened {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(is_probe, self.failure(error), error),
        }
        opened
    }

    /// What an error says of the next connection; `None`: nothing.
    fn failure(&self, error: &Error) -> Option<Failure> {
        let sqlstate = error.report().map_or("", |report| report.sqlstate.as_str());
        let full = sqlstate == "53300" && self.held.load(Relaxed) > 0;
        if full || matches!(error.kind(), ErrorKind::LockNotAvailable | ErrorKind::ShuttingDown) {
            return None;
        }
        Some(if sqlstate.starts_with("28") { Failure::Refused } else { Failure::Away })
    }

    fn succeeded(&self) {
        let mut inner = self.inner.lock();
        let was_reached = inner.breaker.was_reached();
        let change = inner.breaker.succeeded(now());
        if change.is_none() {
            return;
        }
        inner.why = None;
        self.publish(&inner);
        drop(inner);
        let database = &self.database;
        match change {
            Some(Change::Closed(after)) if was_reached => {
                let duration_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(database, duration_ms, "database reached again");
            }
            Some(Change::Closed(_) | Change::Reached | Change::Opened) | None => {
                tracing::info!(database, "database reached");
            }
        }
    }

    fn failed(&self, is_probe: bool, failure: Option<Failure>, error: &Error) {
        let why = Why {
            kind: error.kind(),
            message: error.message().to_owned(),
            hint: error.hint().map(ToOwned::to_owned),
            cause: error.cause(),
        };
        let (database, reason, cause) = (&self.database, error.reason(), why.cause.clone());
        let mut inner = self.inner.lock();
        let now = now();
        if is_probe {
            inner.breaker.probe_failed(failure.unwrap_or(Failure::Away), now);
            // One that goes on to be away says so once.
            let is_news = inner.breaker.is_open() && inner.why.as_ref() != Some(&why);
            if is_news {
                inner.why = Some(why);
                drop(inner);
                tracing::warn!(database, reason, %error, cause, "database still not reached");
            }
            return;
        }
        let Some(failure) = failure else { return };
        if inner.breaker.failed(failure, now) == Some(Change::Opened) {
            inner.why = Some(why);
            self.publish(&inner);
            drop(inner);
            tracing::warn!(database, reason, %error, cause, "database not reached");
        }
    }

    /// Says what has changed, while nothing else can.
    fn publish(&self, inner: &Inner) {
        let (open, reached) = (inner.breaker.is_open(), inner.breaker.was_reached());
        self.away.set(open);
        self.state.send_replace(BreakerState { open, reached });
    }

    /// Why nothing is attempted.
    fn refusal(&self) -> Error {
        let inner = self.inner.lock();
        let Some(Why { kind, message, hint, .. }) = &inner.why else { return self.unreachable() };
        let mut error = Error::new(*kind, message.clone());
        if *kind == ErrorKind::DatabaseUnavailable {
            error = error.with_retry_after(self.interval);
        }
        match hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }

    fn unreachable(&self) -> Error {
        let message = format!("cannot connect to database \"{}\"", self.database);
        Error::new(ErrorKind::DatabaseUnavailable, message).with_retry_after(self.interval)
    }
}

#[cfg(test)]
impl Default for ConnectBreaker {
    fn default() -> Self {
        let config = config::load_from(&[]).expect("the defaults are right");
        Self::with("main", &config.databases["main"])
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Held(Arc<ConnectBreaker>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Relaxed);
    }
}

/// An attempt that may be dropped at any moment.
struct Pending<'a> {
    breaker: &'a ConnectBreaker,
    is_probe: bool,
    began: Instant,
    ended: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (breaker, waited) = (self.breaker, now().saturating_duration_since(self.began));
        if self.is_probe || waited >= breaker.telling {
            let cause = format!("no answer within {}", humantime::format_duration(waited));
            let error = breaker.unreachable().with_cause(cause);
            breaker.failed(self.is_probe, Some(Failure::Away), &error);
        }
    }
}

/// How long who gives up must have waited to tell something of the database. Of several servers each has
/// its share of the whole time, and any may be the one that answers.
fn telling(config: &config::Database) -> Duration {
    let whole = config.pool.connect_timeout;
    match &config.target {
        Target::Postgres(target) if target.servers.len() > 1 => whole,
        Target::Postgres(_) | Target::Sqlite(_) => TELLING.min(whole),
    }
}

#[cfg(test)]
mod tests;
