//! The counters of a pool, and the bound on its connections.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::snapshot::{CloseReason, PoolSnapshot};
use crate::clock::{milliseconds, now};
use crate::config::PoolSettings;

/// The counters and bounds of a pool.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The database's name, for messages.
    pub(crate) database: String,
    pub(crate) closing: AtomicBool,
    pub(crate) acquired: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) leaks: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) cancelled_waits: AtomicU64,
    pub(crate) rejected: AtomicU64,
    /// Wakes the maintenance tasks: there may be a connection to open.
    pub(crate) wake: Notify,
    waited: AtomicU64,
    wait_micros: AtomicU64,
    opened: AtomicU64,
    min: AtomicUsize,
    max: AtomicUsize,
    overflow: usize,
    /// Connections that are open or being opened; never above `max` and `overflow` together, unless these
    /// were lowered.
    permits: AtomicUsize,
    /// Held once more by each attempt to connect in progress.
    pub(crate) connecting: Arc<()>,
    closed: [AtomicU64; CloseReason::ALL.len()],
}

impl Counters {
    pub(crate) fn new(database: &str, settings: &PoolSettings) -> Self {
        Self {
            database: database.to_owned(),
            min: AtomicUsize::new(settings.min),
            max: AtomicUsize::new(settings.max.get()),
            overflow: settings.overflow,
            ..Self::default()
        }
    }

    /// The number of connections to keep open.
    pub(crate) fn min(&self) -> usize {
        self.min.load(SeqCst)
    }

    /// The largest number of connections to keep.
    pub(crate) fn max(&self) -> usize {
        self.max.load(SeqCst)
    }

    /// The largest number of connections that may be open at once.
    pub(crate) fn limit(&self) -> usize {
        self.max().saturating_add(self.overflow)
    }

    /// Returns true if the bound allows another connection.
    pub(crate) fn may_open(&self) -> bool {
        self.permits() < self.limit()
    }

    pub(crate) fn resize(&self, min: usize, max: usize) {
        self.min.store(min, SeqCst);
        self.max.store(max, SeqCst);
    }

    /// The number of connections that are open or being opened.
    pub(crate) fn permits(&self) -> usize {
        self.permits.load(SeqCst)
    }

    /// The number of connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.permits().saturating_sub(self.connecting())
    }

    fn connecting(&self) -> usize {
        Arc::strong_count(&self.connecting) - 1
    }

    /// Counts a wait that has ended.
    pub(crate) fn waited(&self, time: Duration) {
        self.waited.fetch_add(1, Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.wait_micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn snapshot(&self, idle: usize) -> PoolSnapshot {
        let open = self.open();
        let idle = idle.min(open);
        PoolSnapshot {
            max: self.max(),
            min: self.min(),
            overflow: self.overflow,
            open,
            idle,
            in_use: open - idle,
            connecting: self.connecting(),
            acquired: self.acquired.load(Relaxed),
            waited: self.waited.load(Relaxed),
            wait_time: Duration::from_micros(self.wait_micros.load(Relaxed)),
            timeouts: self.timeouts.load(Relaxed),
            cancelled_waits: self.cancelled_waits.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            opened: self.opened.load(Relaxed),
            connect_failures: self.connect_failures.load(Relaxed),
            closed: std::array::from_fn(|reason| self.closed[reason].load(Relaxed)),
            leaks: self.leaks.load(Relaxed),
            ..PoolSnapshot::default()
        }
    }
}

/// The permit to have one connection open; returned when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    counters: Arc<Counters>,
    /// The time at which it was opened, and the reason for which it will be closed; `None` before it is open.
    open: Option<(Instant, CloseReason)>,
}

impl ConnectionPermit {
    /// Takes a permit, unless the pool is at its bound.
    pub(crate) fn try_acquire(counters: &Arc<Counters>) -> Option<Self> {
        let limit = counters.limit();
        let take = |taken| (taken < limit).then_some(taken + 1);
        counters.permits.fetch_update(SeqCst, SeqCst, take).ok()?;
        Some(Self { counters: Arc::clone(counters), open: None })
    }

    /// Counts the connection as opened; from here on its end is counted too.
    pub(crate) fn opened(&mut self, took: Duration) {
        let counters = &self.counters;
        counters.opened.fetch_add(1, Relaxed);
        self.open = Some((now(), CloseReason::Shutdown));
        let pool = &counters.database;
        let duration_ms = milliseconds(took);
        let overflow = counters.permits() > counters.max();
        // Connections that come and go with the load would fill the log; metrics count them.
        tracing::debug!(pool, duration_ms, overflow, "connection opened");
    }

    /// Sets the reason for which the connection is about to be closed.
    pub(crate) fn set_close_reason(&mut self, reason: CloseReason) {
        if let Some((_, close_reason)) = &mut self.open {
            *close_reason = reason;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let counters = &self.counters;
        let left = counters.permits.fetch_sub(1, SeqCst) - 1;
        if let Some((opened_at, close_reason)) = self.open {
            counters.closed[close_reason as usize].fetch_add(1, Relaxed);
            let pool = &counters.database;
            let reason = close_reason.as_str();
            let age_ms = milliseconds(now().saturating_duration_since(opened_at));
            tracing::debug!(pool, reason, age_ms, "connection closed");
        }
        if left < counters.min() {
            counters.wake.notify_waiters();
        }
    }
}
