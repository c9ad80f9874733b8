//! The idle connections that are too many.

use super::snapshot::CloseReason;

/// The numbers of idle connections that may be closed.
pub(crate) struct Surplus {
    /// Above `max`.
    pub(crate) over_max: usize,
    /// Above `min`, of those that were idle for long.
    pub(crate) over_min: usize,
}

impl Surplus {
    pub(crate) fn reason_to_close(&self, was_idle_for_long: bool) -> Option<CloseReason> {
        if self.over_max > 0 {
            return Some(CloseReason::Overflow);
        }
        (self.over_min > 0 && was_idle_for_long).then_some(CloseReason::Idle)
    }

    /// Counts one that is closed, for whatever reason: it is one less above either bound.
    pub(crate) fn take(&mut self) {
        self.over_max = self.over_max.saturating_sub(1);
        self.over_min = self.over_min.saturating_sub(1);
    }
}
