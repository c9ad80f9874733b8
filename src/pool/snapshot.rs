//! What a pool tells of itself.

use std::time::Duration;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// It was open for `pool.max_lifetime`.
    Lifetime,
    /// It was idle for `pool.idle_timeout`, and more than `pool.min` were open.
    Idle,
    /// It was lost, or answered with something that is not the protocol.
    Broken,
    /// Its session could not be cleaned after use.
    Dirty,
    /// It was one more than `pool.max`, and nobody waited for it when it came back.
    Overflow,
    /// The server that it led to was no longer the right one.
    Failover,
    /// An operator asked for new ones.
    Admin,
    /// The pool closed.
    Shutdown,
}

impl CloseReason {
    /// Every reason, in the order of its counters.
    pub const ALL: [Self; 8] = [
        Self::Lifetime,
        Self::Idle,
        Self::Broken,
        Self::Dirty,
        Self::Overflow,
        Self::Failover,
        Self::Admin,
        Self::Shutdown,
    ];

    /// Its place among the counters.
    pub(crate) fn position(self) -> usize {
        Self::ALL.iter().position(|each| *each == self).unwrap_or_default()
    }

    /// Its name in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Idle => "idle",
            Self::Broken => "broken",
            Self::Dirty => "dirty",
            Self::Overflow => "overflow",
            Self::Failover => "failover",
            Self::Admin => "admin",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The state of a pool at one moment, and its counters since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// The most connections it keeps.
    pub max: usize,
    /// The connections that it keeps open.
    pub min: usize,
    /// The most connections beyond `max`, each closed when it comes back.
    pub overflow: usize,
    /// Whether no caller is let in.
    pub paused: bool,
    /// How often what was open was given up for new connections.
    pub generation: u64,
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
    pub closed: [u64; CloseReason::ALL.len()],
    /// Checkouts that were held for longer than `pool.leak_threshold`.
    pub leaks: u64,
    /// Statements run.
    pub statements: u64,
    /// Sessions reset because a statement may have left a trace in them.
    pub resets: u64,
}

impl PoolSnapshot {
    /// This pool and another, as one.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (count, more) in self.closed.iter_mut().zip(other.closed) {
            *count += more;
        }
        Self {
            max: self.max + other.max,
            min: self.min + other.min,
            overflow: self.overflow + other.overflow,
            paused: self.paused || other.paused,
            generation: self.generation.max(other.generation),
            open: self.open + other.open,
            idle: self.idle + other.idle,
            in_use: self.in_use + other.in_use,
            connecting: self.connecting + other.connecting,
            waiting: self.waiting + other.waiting,
            oldest_wait: self.oldest_wait.max(other.oldest_wait),
            acquired: self.acquired + other.acquired,
            waited: self.waited + other.waited,
            wait_time: self.wait_time + other.wait_time,
            timeouts: self.timeouts + other.timeouts,
            cancelled_waits: self.cancelled_waits + other.cancelled_waits,
            rejected: self.rejected + other.rejected,
            opened: self.opened + other.opened,
            connect_failures: self.connect_failures + other.connect_failures,
            closed: self.closed,
            leaks: self.leaks + other.leaks,
            statements: self.statements + other.statements,
            resets: self.resets + other.resets,
        }
    }

    /// Connections closed for a reason.
    #[must_use]
    pub fn closed_because(&self, reason: CloseReason) -> u64 {
        self.closed[reason.position()]
    }
}
