//! What a pool counts, and the bound on its connections.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::snapshot::{CloseReason, PoolSnapshot};
use crate::clock::now;
use crate::config::PoolSettings;

/// The counters behind a snapshot, and the bounds.
#[derive(Debug)]
pub(crate) struct Counters {
    /// The database's name, for messages.
    pub(crate) database: String,
    pub(crate) closing: AtomicBool,
    pub(crate) acquired: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) leaks: AtomicU64,
    /// Wakes the keepers: there may be something to open.
    pub(crate) wake: Notify,
    waited: AtomicU64,
    wait_micros: AtomicU64,
    timeouts: AtomicU64,
    cancelled_waits: AtomicU64,
    rejected: AtomicU64,
    opened: AtomicU64,
    min: AtomicUsize,
    max: AtomicUsize,
    overflow: usize,
    /// Connections that are open or being opened; never over `max` and `overflow` together, unless these
    /// were lowered.
    slots: AtomicUsize,
    connecting: AtomicUsize,
    closed: [AtomicU64; CloseReason::ALL.len()],
}

impl Counters {
    pub(crate) fn new(database: &str, settings: &PoolSettings) -> Self {
        Self {
            database: database.to_owned(),
            closing: AtomicBool::default(),
            acquired: AtomicU64::default(),
            connect_failures: AtomicU64::default(),
            leaks: AtomicU64::default(),
            wake: Notify::new(),
            waited: AtomicU64::default(),
            wait_micros: AtomicU64::default(),
            timeouts: AtomicU64::default(),
            cancelled_waits: AtomicU64::default(),
            rejected: AtomicU64::default(),
            opened: AtomicU64::default(),
            min: AtomicUsize::new(settings.min),
            max: AtomicUsize::new(settings.max.get()),
            overflow: settings.overflow,
            slots: AtomicUsize::default(),
            connecting: AtomicUsize::default(),
            closed: Default::default(),
        }
    }

    /// Connections to keep open.
    pub(crate) fn min(&self) -> usize {
        self.min.load(SeqCst)
    }

    /// Connections that may stay open.
    pub(crate) fn max(&self) -> usize {
        self.max.load(SeqCst)
    }

    /// Connections that may be open at once.
    pub(crate) fn limit(&self) -> usize {
        self.max().saturating_add(self.overflow)
    }

    pub(crate) fn resize(&self, min: usize, max: usize) {
        self.min.store(min, SeqCst);
        self.max.store(max, SeqCst);
    }

    /// Connections that are open or being opened.
    pub(crate) fn slots(&self) -> usize {
        self.slots.load(SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.slots().saturating_sub(self.connecting.load(Relaxed))
    }

    /// Counts an attempt to connect for as long as the guard lives.
    pub(crate) fn connecting(&self) -> Connecting<'_> {
        self.connecting.fetch_add(1, Relaxed);
        Connecting(self)
    }

    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    pub(crate) fn timed_out(&self) {
        self.timeouts.fetch_add(1, Relaxed);
    }

    /// Counts a wait that is over.
    pub(crate) fn waited(&self, time: Duration, cancelled: bool) {
        self.waited.fetch_add(1, Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.wait_micros.fetch_add(micros, Relaxed);
        if cancelled {
            self.cancelled_waits.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self, idle: usize) -> PoolSnapshot {
        let connecting = self.connecting.load(Relaxed);
        let open = self.open();
        let idle = idle.min(open);
        PoolSnapshot {
            max: self.max(),
            min: self.min(),
            overflow: self.overflow,
            open,
            idle,
            in_use: open - idle,
            connecting,
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

pub(crate) struct Connecting<'a>(&'a Counters);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.fetch_sub(1, Relaxed);
    }
}

/// One connection's share of the pool's bound; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    counters: Arc<Counters>,
    /// Since when it is open, and why it will be closed; `None` before it is open.
    open: Option<(Instant, CloseReason)>,
}

impl Slot {
    /// Takes a share, unless all are taken.
    pub(crate) fn reserve(counters: &Arc<Counters>) -> Option<Self> {
        let limit = counters.limit();
        let take = |taken| (taken < limit).then_some(taken + 1);
        counters.slots.fetch_update(SeqCst, SeqCst, take).ok()?;
        Some(Self { counters: Arc::clone(counters), open: None })
    }

    /// Counts the connection as opened: from here on its end is counted too, so that opened less
    /// closed is what is open.
    pub(crate) fn opened(&mut self, took: Duration) {
        self.counters.opened.fetch_add(1, Relaxed);
        self.open = Some((now(), CloseReason::Shutdown));
        let (pool, duration_ms) = (&*self.counters.database, millis(took));
        // What comes and goes with every burst is nothing for a log.
        if self.counters.slots() > self.counters.max() {
            tracing::debug!(pool, duration_ms, overflow = true, "connection opened");
        } else {
            tracing::info!(pool, duration_ms, "connection opened");
        }
    }

    /// Says why the connection is about to be closed.
    pub(crate) fn closes_because(&mut self, reason: CloseReason) {
        if let Some((_, why)) = &mut self.open {
            *why = reason;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let counters = &self.counters;
        let left = counters.slots.fetch_sub(1, SeqCst) - 1;
        if let Some((since, reason)) = self.open {
            counters.closed[reason.position()].fetch_add(1, Relaxed);
            let age_ms = millis(now().saturating_duration_since(since));
            let (pool, reason) = (&*counters.database, reason.as_str());
            if reason == CloseReason::Overflow.as_str() {
                tracing::debug!(pool, reason, age_ms, "connection closed");
            } else {
                tracing::info!(pool, reason, age_ms, "connection closed");
            }
        }
        if left < counters.min() {
            counters.wake.notify_waiters();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
