//! What a pool counts.

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
