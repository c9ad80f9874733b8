//! What a pool counts.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Duration;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// It was lost, or answered with something that is not the protocol.
    Broken,
    /// Its session could not be cleaned after use.
    Dirty,
    /// The pool closed.
    Shutdown,
}

impl CloseReason {
    /// Every reason, in the order of its counters.
    pub const ALL: [Self; 3] = [Self::Broken, Self::Dirty, Self::Shutdown];
}

/// The state of a pool at one moment, and its counters since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// The most connections it may have.
    pub max: usize,
    /// The connections it opens before the server is ready.
    pub min: usize,
    /// Connections open now.
    pub open: usize,
    /// Of these, those that wait for work.
    pub idle: usize,
    /// Of these, those that work for a caller or are being cleaned after one.
    pub in_use: usize,
    /// Connections being opened.
    pub connecting: usize,
    /// Callers that wait.
    pub waiting: usize,
    /// How long the caller at the head of the queue has waited.
    pub oldest_wait: Option<Duration>,
    /// Times a caller got a connection.
    pub acquired: u64,
    /// Times a caller had to wait for it.
    pub waited: u64,
    /// Time spent waiting, in all.
    pub wait_time: Duration,
    /// Callers whose wait timed out.
    pub timeouts: u64,
    /// Callers that went away while they waited.
    pub cancelled_waits: u64,
    /// Callers turned away because too many were waiting.
    pub rejected: u64,
    /// Connections opened.
    pub opened: u64,
    /// Attempts to open one that failed.
    pub connect_failures: u64,
    /// Connections closed, in the order of [`CloseReason::ALL`].
    pub closed: [u64; 3],
    /// Statements run.
    pub statements: u64,
    /// Sessions reset because a statement may have left a trace in them.
    pub resets: u64,
}

impl PoolSnapshot {
    /// Connections closed for a reason.
    #[must_use]
    pub fn closed_because(&self, reason: CloseReason) -> u64 {
        let position = CloseReason::ALL.iter().position(|each| *each == reason);
        position.map_or(0, |position| self.closed[position])
    }
}

/// The counters behind a snapshot.
#[derive(Debug)]
pub(super) struct Counters {
    /// The database's name, for messages.
    pub(super) database: String,
    pub(super) closing: AtomicBool,
    pub(super) acquired: AtomicU64,
    pub(super) waited: AtomicU64,
    pub(super) wait_micros: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) cancelled_waits: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) connect_failures: AtomicU64,
    max: usize,
    /// Connections that are open or being opened; never over `max`.
    slots: AtomicUsize,
    connecting: AtomicUsize,
    closed: [AtomicU64; 3],
}

impl Counters {
    pub(super) fn new(database: &str, max: usize) -> Self {
        Self {
            database: database.to_owned(),
            max,
            closing: AtomicBool::default(),
            acquired: AtomicU64::default(),
            waited: AtomicU64::default(),
            wait_micros: AtomicU64::default(),
            timeouts: AtomicU64::default(),
            cancelled_waits: AtomicU64::default(),
            rejected: AtomicU64::default(),
            opened: AtomicU64::default(),
            connect_failures: AtomicU64::default(),
            slots: AtomicUsize::default(),
            connecting: AtomicUsize::default(),
            closed: Default::default(),
        }
    }

    /// Counts an attempt to connect for as long as the guard lives.
    pub(super) fn connecting(&self) -> Connecting<'_> {
        self.connecting.fetch_add(1, Relaxed);
        Connecting(self)
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> usize {
        self.slots.load(Relaxed).saturating_sub(self.connecting.load(Relaxed))
    }

    pub(super) fn snapshot(&self, idle: usize) -> PoolSnapshot {
        let connecting = self.connecting.load(Relaxed);
        let open = self.open();
        let idle = idle.min(open);
        PoolSnapshot {
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
            ..PoolSnapshot::default()
        }
    }
}

pub(super) struct Connecting<'a>(&'a Counters);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.fetch_sub(1, Relaxed);
    }
}

/// One connection's share of the pool's bound; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    counters: Arc<Counters>,
    /// Why the connection will be closed; `None` before it is open.
    reason: Option<CloseReason>,
}

impl Slot {
    /// Takes a share, unless `max` are taken.
    pub(super) fn reserve(counters: &Arc<Counters>) -> Option<Self> {
        let take = |open| (open < counters.max).then_some(open + 1);
        counters.slots.fetch_update(SeqCst, SeqCst, take).ok()?;
        Some(Self { counters: Arc::clone(counters), reason: None })
    }

    /// Counts the connection as opened: from here on its end is counted too, so that opened less
    /// closed is what is open.
    pub(super) fn opened(&mut self) {
        self.counters.opened.fetch_add(1, Relaxed);
        self.reason = Some(CloseReason::Shutdown);
    }

    /// Says why the connection is about to be closed.
    pub(super) fn closes_because(&mut self, reason: CloseReason) {
        self.reason = Some(reason);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counters.slots.fetch_sub(1, SeqCst);
        if let Some(reason) = self.reason {
            let position = CloseReason::ALL.iter().position(|each| *each == reason);
            self.counters.closed[position.unwrap_or_default()].fetch_add(1, Relaxed);
        }
    }
}
