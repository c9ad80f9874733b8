//! The marks of commits of one database: whether there is a table that holds them.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The time after which a table is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct CommitMarks {
    refused_at: Mutex<Option<Instant>>,
}

impl CommitMarks {
    /// Returns false if there was no table, or no right to write to it, a moment ago.
    pub(crate) fn are_possible(&self) -> bool {
        self.refused_at.lock().is_none_or(|since| since.elapsed() >= LOOK_AGAIN)
    }

    /// Notes that there is no table for marks.
    pub(crate) fn are_refused(&self) {
        *self.refused_at.lock() = Some(Instant::now());
    }

    /// Notes that there may be a table now.
    pub(crate) fn may_be_possible(&self) {
        *self.refused_at.lock() = None;
    }
}
