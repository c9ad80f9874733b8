//! Both pools, shown as one.

use super::Sqlite;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{CheckoutInfo, CloseReason, PoolAdmin, PoolSnapshot, check_bounds};

impl PoolAdmin for Sqlite {
    fn snapshot(&self) -> PoolSnapshot {
        self.readers.snapshot().and(&self.writer.snapshot())
    }

    fn checkouts(&self) -> Vec<CheckoutInfo> {
        let name =
            |pool: u64| move |one: CheckoutInfo| CheckoutInfo { id: one.id * 2 + pool, ..one };
        let readers = self.readers.checkouts().into_iter().map(name(0));
        let mut both: Vec<_> =
            readers.chain(self.writer.checkouts().into_iter().map(name(1))).collect();
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

    /// There is one writer, whatever is asked for; the rest reads.
    fn resize(&self, min: Option<usize>, max: Option<usize>) -> Result<()> {
        let readers = max.map(|max| max.saturating_sub(1));
        if readers == Some(0) {
            let description = "SQLite needs 2 connections: one that writes and one that reads";
            return Err(Error::field(ErrorKind::InvalidOption, "max", description));
        }
        let bounds = self.snapshot();
        check_bounds(min.is_some(), min.unwrap_or(bounds.min), max.unwrap_or(bounds.max))?;
        self.readers.resize(min.map(|min| min.saturating_sub(1)), readers)?;
        self.writer.resize(min.map(|min| min.min(1)), None)
    }

    fn terminate(&self, id: u64) -> bool {
        let pool = if id.is_multiple_of(2) { &self.readers } else { &self.writer };
        pool.terminate(id / 2)
    }
}
