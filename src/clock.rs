//! The clock of the runtime, which tests can pause, and durations as whole numbers.

use std::time::{Duration, Instant};

/// The present moment by the clock that timers follow.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A duration in whole milliseconds, for logs and messages.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns whole microseconds, for what leaves the process.
pub(crate) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
