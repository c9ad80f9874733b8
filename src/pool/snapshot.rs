//! The state of a pool at one moment, and the reasons for which connections are closed.

use std::time::Duration;

/// The reason for which a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// It was open for `pool.max_lifetime`.
    Lifetime,
    /// It was idle for `pool.idle_timeout`, and more than `pool.min` were open.
    Idle,
    /// It was lost, or answered with something that is not the protocol.
    Broken,
    /// Its session could not be reset after use.
    Dirty,
    /// It was above `pool.max`, and no caller waited for it when it was returned.
    Overflow,
    /// Another worker had fewer connections than it needed.
    Rebalanced,
    /// The server that it led to was no longer the right one.
    Failover,
    /// An operator asked for new ones.
    Admin,
    /// The pool closed.
    Shutdown,
}

impl CloseReason {
    /// Every reason, in the order of its counters.
    pub(crate) const ALL: [Self; 9] = [
        Self::Lifetime,
        Self::Idle,
        Self::Broken,
        Self::Dirty,
        Self::Overflow,
        Self::Rebalanced,
        Self::Failover,
        Self::Admin,
        Self::Shutdown,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Idle => "idle",
            Self::Broken => "broken",
            Self::Dirty => "dirty",
            Self::Overflow => "overflow",
            Self::Rebalanced => "rebalanced",
            Self::Failover => "failover",
            Self::Admin => "admin",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The state of a pool at one moment, and its counters since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PoolSnapshot {
    /// True if a pooler was found between Rowgate and the database.
    pub behind_pooler: bool,
    /// The largest number of connections that are kept.
    pub max: usize,
    /// The number of connections that are kept open.
    pub min: usize,
    /// The largest number of connections above `max`, each closed when it is returned.
    pub overflow: usize,
    /// No callers are admitted.
    pub paused: bool,
    pub open: usize,
    pub idle: usize,
    /// Open connections that are checked out or being reset.
    pub in_use: usize,
    /// Connections being opened.
    pub connecting: usize,
    pub waiting: usize,
    /// The longest time that a caller has been waiting.
    pub oldest_wait: Option<Duration>,
    /// Checkouts.
    pub acquired: u64,
    /// Checkouts and failures after a wait.
    pub waited: u64,
    /// The sum of all waits.
    pub wait_time: Duration,
    /// Callers whose wait timed out.
    pub timeouts: u64,
    /// Callers that disconnected or were cancelled while they waited.
    pub cancelled_waits: u64,
    /// Callers rejected because too many were waiting.
    pub rejected: u64,
    pub opened: u64,
    /// Attempts to open one that failed.
    pub connect_failures: u64,
    /// Connections closed, in the order of [`CloseReason::ALL`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Checkouts that were held for longer than `pool.leak_threshold`.
    pub leaks: u64,
    pub statements: u64,
    /// Sessions reset because a statement may have changed their state.
    pub resets: u64,
    pub lanes: LaneCounts,
}

/// The lanes beside a pool, and their counters since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    pub open: usize,
    /// Statements that ran on a lane to their end.
    pub statements: u64,
    /// Statements that were kept off the lanes for a while, in the order of [`LaneDemotion::ALL`].
    pub demoted: [u64; LaneDemotion::ALL.len()],
}

impl LaneCounts {
    /// The demotions by the names of their reasons.
    pub(crate) fn demotions(&self) -> [(&'static str, u64); LaneDemotion::ALL.len()] {
        LaneDemotion::ALL.map(|reason| (reason.as_str(), self.demoted[reason as usize]))
    }
}

/// The reason why a statement is kept off the lanes for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneDemotion {
    /// Its runs kept the lane from others for too long, on average.
    Slow,
    /// It ran into the lane's timeout.
    Timeout,
    /// It tried to write.
    Write,
    /// It failed in some other way.
    Error,
    /// Its result was too large.
    Large,
    /// The lane was lost while it ran.
    Lost,
}

impl LaneDemotion {
    /// Every reason, in the order of its counters.
    pub(crate) const ALL: [Self; 6] =
        [Self::Slow, Self::Timeout, Self::Write, Self::Error, Self::Large, Self::Lost];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Timeout => "timeout",
            Self::Write => "write",
            Self::Error => "error",
            Self::Large => "large",
            Self::Lost => "lost",
        }
    }
}

impl PoolSnapshot {
    /// The sum of this pool and another.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        macro_rules! add {
            ($($field:ident)*) => { $( self.$field += other.$field; )* };
        }
        add!(max min overflow open idle in_use connecting waiting acquired waited wait_time timeouts);
        add!(cancelled_waits rejected opened connect_failures leaks statements resets);
        for (count, more) in self.closed.iter_mut().zip(other.closed) {
            *count += more;
        }
        self.lanes.open += other.lanes.open;
        self.lanes.statements += other.lanes.statements;
        for (count, more) in self.lanes.demoted.iter_mut().zip(other.lanes.demoted) {
            *count += more;
        }
        self.paused |= other.paused;
        self.oldest_wait = self.oldest_wait.max(other.oldest_wait);
        self
    }

    pub(crate) fn closed_because(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }
}
