//! The bounds of a result: rows, bytes, and the size of the response.

use crate::backend::{RowSink, response_too_large};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::QueryOptions;
use crate::wire_size::widen;

/// The bounds of one result.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResultBounds {
    pub(super) rows: u64,
    /// The encoded size, in bytes.
    pub(super) bytes: u64,
}

impl ResultBounds {
    /// No bounds.
    pub(super) const UNBOUNDED: Self = Self { rows: u64::MAX, bytes: u64::MAX };

    /// These bounds, lowered to those of the options; an option of 0 lowers nothing.
    pub(super) fn lowered(self, options: &QueryOptions) -> Self {
        let lower = |own: u64, server: u64| if own == 0 { server } else { own.min(server) };
        Self {
            rows: lower(options.max_rows, self.rows),
            bytes: lower(options.max_bytes, self.bytes),
        }
    }
}

/// The size of a result so far, against its bounds.
pub(super) struct ResultCounter {
    pub(super) bounds: ResultBounds,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl ResultCounter {
    /// Adds the rows of a sink. Fails with `ResultTooLarge`, or if a row does not fit its format.
    pub(super) fn add(&mut self, sink: &mut RowSink) -> Result<()> {
        sink.check()?;
        self.rows += widen(sink.len());
        self.bytes += widen(sink.bytes);
        let message = if self.rows > self.bounds.rows {
            format!("the result has more than {} rows", self.bounds.rows)
        } else if self.bytes > self.bounds.bytes {
            format!("the result is larger than {} bytes", self.bounds.bytes)
        } else {
            return Ok(());
        };
        let hint = "Use StreamQuery, select less, or raise max_rows and max_bytes.";
        Err(Error::new(ErrorKind::ResultTooLarge, message).with_hint(hint))
    }
}

/// Checks the size of a response in bytes against `grpc.max_response_size`.
pub(super) fn check_response_size(bytes: u64, limit: usize) -> Result<()> {
    if bytes <= widen(limit) { Ok(()) } else { Err(response_too_large(widen(limit))) }
}
