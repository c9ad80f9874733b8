//! The figures of all lanes of one database.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::pool::{LaneCounts, LaneDemotion};

/// The figures of all lanes of one database.
#[derive(Debug)]
pub(super) struct LaneRecord {
    /// Statements that ran on a lane to their end.
    statements: AtomicU64,
    demoted: [AtomicU64; LaneDemotion::ALL.len()],
    /// The shortest run of any statement, in microseconds: the way to the database and back.
    shortest_run: AtomicU64,
}

impl Default for LaneRecord {
    fn default() -> Self {
        Self {
            statements: AtomicU64::new(0),
            demoted: [const { AtomicU64::new(0) }; LaneDemotion::ALL.len()],
            shortest_run: AtomicU64::new(u64::MAX),
        }
    }
}

impl LaneRecord {
    pub(super) fn ran(&self) {
        self.statements.fetch_add(1, Relaxed);
    }

    pub(super) fn demoted(&self, reason: LaneDemotion) {
        self.demoted[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn ran_alone(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.shortest_run.fetch_min(took, Relaxed);
    }

    /// The time to the database and back, at most: a lane and its statements are not blamed for it.
    pub(super) fn round_trip(&self) -> Duration {
        match self.shortest_run.load(Relaxed) {
            u64::MAX => Duration::ZERO,
            micros => Duration::from_micros(micros),
        }
    }

    pub(super) fn counts(&self, open: usize) -> LaneCounts {
        let mut demoted = [0; LaneDemotion::ALL.len()];
        for (count, counter) in demoted.iter_mut().zip(&self.demoted) {
            *count = counter.load(Relaxed);
        }
        LaneCounts { open, statements: self.statements.load(Relaxed), demoted }
    }
}
