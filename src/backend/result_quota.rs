//! The quota that the results of one unit share.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::{Error, ErrorKind, Result};
use crate::wire_size::widen;

/// The limit of the rows of all statements of a pipeline.
///
/// An excess is only noted: the statements run to their end, which may be their commit.
pub(crate) struct ResultQuota {
    max_rows: u64,
    max_bytes: u64,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// The error of the first row that could not be decoded.
    undecoded: OnceLock<Error>,
}

impl ResultQuota {
    pub(crate) fn new(max_rows: u64, max_bytes: u64) -> Self {
        Self {
            max_rows,
            max_bytes,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            undecoded: OnceLock::new(),
        }
    }

    /// The quota of statements of our own.
    pub(crate) fn unlimited() -> Self {
        Self::new(u64::MAX, u64::MAX)
    }

    /// Counts a row of a size; returns false when it is over the quota.
    pub(crate) fn take(&self, size: usize) -> bool {
        let size = widen(size);
        let rows = self.rows.fetch_add(1, Relaxed) + 1;
        let bytes = self.bytes.fetch_add(size, Relaxed) + size;
        rows <= self.max_rows && bytes <= self.max_bytes
    }

    /// Notes a row that could not be decoded.
    pub(crate) fn refuse(&self, error: Error) {
        self.undecoded.get_or_init(|| error);
    }

    /// Counts rows of a size together; fails when they are over the quota.
    pub(crate) fn take_all(&mut self, rows: usize, size: usize) -> Result<()> {
        self.rows.fetch_add(widen(rows), Relaxed);
        self.bytes.fetch_add(widen(size), Relaxed);
        self.check()
    }

    /// Fails if a row could not be decoded, or a limit was exceeded.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(error) = self.undecoded.take() {
            return Err(error);
        }
        let message = if self.rows.load(Relaxed) > self.max_rows {
            format!("the results have more than {} rows", self.max_rows)
        } else if self.bytes.load(Relaxed) > self.max_bytes {
            format!("the results are larger than {} bytes", self.max_bytes)
        } else {
            return Ok(());
        };
        let hint = "Select less, use StreamQuery or Transact, or raise max_rows and max_bytes.";
        Err(Error::new(ErrorKind::ResultTooLarge, message).with_hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_could_not_be_decoded_is_the_error_of_the_results() {
        let mut quota = ResultQuota::unlimited();
        quota.check().expect("nothing is wrong yet");
        for message in ["the first", "the second"] {
            quota.refuse(Error::new(ErrorKind::Internal, message));
        }
        let error = quota.check().expect_err("there was one");
        assert_eq!(error.message(), "the first");
    }
}
