//! The services of the contract, one file or folder each.

mod copy_streams;
pub(crate) mod database_service;
pub(crate) mod health_service;
pub(crate) mod pool_service;
pub(crate) mod reflection_service;
pub(crate) mod server_service;
mod transact_streams;

use std::time::Duration;

pub(crate) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Converts a duration for a message; `None` when it is out of range.
pub(crate) fn duration(value: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(value).ok()
}
