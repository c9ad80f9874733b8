//! What an operator may see and do while the pool works.

use std::time::{Duration, SystemTime};

use super::snapshot::{CloseReason, PoolSnapshot};
use crate::error::Result;

/// What is shown of a pool, and done to it, without a word about what its connections are.
pub trait PoolAdmin: Send + Sync {
    /// State and counters.
    fn snapshot(&self) -> PoolSnapshot;

    /// Who holds a connection, the oldest first.
    fn checkouts(&self) -> Vec<CheckoutInfo>;

    /// Lets no caller in: those that come wait, within their deadline and `pool.acquire_timeout`. What was
    /// let in goes on; the pool is at rest when [`PoolSnapshot::in_use`] is 0.
    fn pause(&self);

    /// Lets callers in again, in the order in which they came.
    fn resume(&self);

    /// Closes what is idle, and what is lent when it comes back, so that every later caller gets a
    /// connection opened from now on.
    fn flush(&self, reason: CloseReason);

    /// Sets the bounds. What is open over the new `max` is closed when it comes back.
    ///
    /// # Errors
    /// `InvalidOption` when `max` is 0 or over 10000, or `min` is over `max`.
    fn resize(&self, min: Option<usize>, max: Option<usize>) -> Result<()>;

    /// Ends what a checkout does: its statement is cancelled, its transaction rolled back, and its caller
    /// told `Terminated`. `false`: there is no such checkout (any more).
    fn terminate(&self, id: u64) -> bool;
}

/// For whom a connection is lent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckoutHolder {
    /// The caller: its identity when it has one, else its address without the port. Empty: the server itself.
    pub caller: String,
    /// The RPC's name, as in `StreamQuery`; what the server does of its own in lower case, as in `sweep`.
    pub rpc: &'static str,
    /// The caller's own label.
    pub tag: String,
    /// The first statement, without literals and parameters. Empty: not known yet.
    pub summary: String,
}

/// A connection on checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutInfo {
    /// Names it among those of this pool since the start of the process.
    pub id: u64,
    /// For whom.
    pub holder: CheckoutHolder,
    /// Since when.
    pub since: SystemTime,
    /// For how long.
    pub age: Duration,
    /// Whether it is held for longer than `pool.leak_threshold`.
    pub is_leak: bool,
    /// What the connection says of itself, as in `idle in transaction`. Empty: not known.
    pub state: String,
}
