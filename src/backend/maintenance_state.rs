//! The state of the maintenance that a server does of a database by itself.

use std::time::{Duration, Instant};

/// The runs since the start, and the last one.
#[derive(Debug, Clone, Default)]
pub(crate) struct MaintenanceState {
    /// Runs that did their work, or as much of it as their time allowed.
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// Runs without work, as nothing had changed since the one before.
    pub(crate) skipped: u64,
    /// The pages that all runs gave back to the file system.
    pub(crate) pages_freed: u64,
    /// The tables whose statistics all runs made anew.
    pub(crate) tables_analyzed: u64,
    /// The last run that was not skipped.
    pub(crate) last: Option<LastMaintenance>,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct LastMaintenance {
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    /// The reason of its failure.
    pub(crate) error: Option<String>,
    pub(crate) work: MaintenanceWork,
}

/// The work of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MaintenanceWork {
    pub(crate) tables_analyzed: u64,
    pub(crate) pages_freed: u64,
    /// The size of the log behind it, in bytes.
    pub(crate) log_size: u64,
    /// Work is left for the next run.
    pub(crate) is_partial: bool,
}

impl MaintenanceState {
    /// Counts a run.
    pub(crate) fn add(&mut self, run: LastMaintenance) {
        let counter = if run.error.is_none() { &mut self.done } else { &mut self.failed };
        *counter += 1;
        self.pages_freed += run.work.pages_freed;
        self.tables_analyzed += run.work.tables_analyzed;
        self.last = Some(run);
    }
}
