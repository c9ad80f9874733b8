//! Conversions to the types of messages.

use std::time::Duration;

/// Converts a count.
pub(crate) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Converts a duration; `None` when it is out of range.
pub(crate) fn duration(value: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(value).ok()
}
