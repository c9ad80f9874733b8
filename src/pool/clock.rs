//! The clock of a pool: the runtime's, which tests can stop.

use std::time::Instant;

/// The present moment.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
