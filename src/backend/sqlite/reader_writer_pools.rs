//! The pools of readers and of the one writer, administered as one.

use super::connection::Opener;
use super::session::Role;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{
    CheckoutInfo, CloseReason, Pool, PoolAdmin, PoolBounds, PoolSnapshot, Termination,
};

/// A pool of readers and a pool of one writer.
pub(crate) struct PoolPair {
    pub(crate) readers: Pool<Opener>,
    pub(crate) writer: Pool<Opener>,
}

impl PoolPair {
    /// The pool of one role.
    pub(crate) fn of(&self, role: Role) -> &Pool<Opener> {
        match role {
            Role::Reader => &self.readers,
            Role::Writer => &self.writer,
        }
    }
}

impl PoolAdmin for PoolPair {
    fn snapshot(&self) -> PoolSnapshot {
        self.readers.snapshot().and(&self.writer.snapshot())
    }

    fn checkouts(&self) -> Vec<CheckoutInfo> {
        // Even identifiers are the readers', odd ones the writer's.
        let readers = self.readers.checkouts().into_iter();
        let readers = readers.map(|one| CheckoutInfo { id: one.id * 2, ..one });
        let writer = self.writer.checkouts().into_iter();
        let writer = writer.map(|one| CheckoutInfo { id: one.id * 2 + 1, ..one });
        let mut both: Vec<_> = readers.chain(writer).collect();
        both.sort_by_key(|one| one.since);
        both
    }

    fn pause(&self) {
        self.readers.pause();
        self.writer.pause();
    }

    fn resume(&self) {
        self.readers.resume();
        self.writer.resume();
    }

    fn flush(&self, reason: CloseReason) {
        self.readers.flush(reason);
        self.writer.flush(reason);
    }

    /// Resizes the pool of readers: there is always one writer.
    fn resize(&self, min: Option<usize>, max: Option<usize>) -> Result<()> {
        let readers = max.map(|max| max.saturating_sub(1));
        if let Some(max) = max.filter(|max| *max < 2) {
            let description = format!(
                "SQLite needs 2 connections, one that writes and one that reads, not {max}"
            );
            return Err(Error::field(ErrorKind::InvalidOption, "max", description));
        }
        let both = self.snapshot();
        PoolBounds { min: both.min, max: both.max }.with(min, max)?;
        self.readers.resize(min.map(|min| min.saturating_sub(1)), readers)?;
        self.writer.resize(min.map(|min| min.min(1)), None)
    }

    fn terminate(&self, id: u64, cause: Termination) -> bool {
        let pool = if id.is_multiple_of(2) { &self.readers } else { &self.writer };
        pool.terminate(id / 2, cause)
    }
}
