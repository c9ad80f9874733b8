//! The rows of a running statement, and where they go.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::error::{Outcome, Result};
use crate::value::proto::{Column, Row, Value};
use crate::wire_size::encoded_row_size;

/// A running statement: its rows, then how it ended.
pub trait RowStream: Send {
    /// The columns; `None` when the statement returns no rows at all.
    fn columns(&self) -> Option<&[Column]>;

    /// Moves rows into the sink until the sink is full or the database has no more at hand.
    ///
    /// Rows may have been added when it returns `Pending`. After [`Fill::Done`] it must not be called
    /// again.
    ///
    /// # Errors
    /// How the statement failed; the rows delivered before prove nothing.
    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>>;

    /// Ends a statement whose rows are done: commits where a transaction was opened for it, gives the
    /// connection back.
    ///
    /// # Errors
    /// As [`RowStream::poll_rows`].
    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a;

    /// Ends a statement whose result the caller cannot take: a read is cancelled, a write is run to
    /// its end, its rows unread. Returns what became of it.
    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a;
}

/// Whether a stream has more rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// The sink is full; there may be more.
    Full,
    /// All rows are in.
    Done,
}

/// How a statement ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// Rows inserted, updated, deleted or merged; 0 for a SELECT.
    pub rows_affected: u64,
    /// The command as the database names it.
    pub command: String,
}

/// Where a stream's rows go; the place for other result formats.
#[derive(Debug)]
pub struct RowSink {
    rows: Vec<Row>,
    bytes: usize,
    weight: usize,
    target: usize,
}

/// How much more than its target a sink may take of memory: small values weigh far more than they have
/// bytes.
const HEAVIER: usize = 2;

impl RowSink {
    /// A sink that is full at `target` bytes of encoded rows, or twice that of memory.
    #[must_use]
    pub fn new(target: usize) -> Self {
        Self { rows: Vec::new(), bytes: 0, weight: 0, target }
    }

    /// Makes it full at another size; what it holds stays.
    pub fn set_target(&mut self, target: usize) {
        self.target = target;
    }

    /// Takes a row.
    pub fn push(&mut self, row: Row) {
        let size = encoded_row_size(&row);
        self.bytes += size;
        self.weight += size + size_of::<Row>() + row.values.len() * size_of::<Value>();
        self.rows.push(row);
    }

    /// Whether it holds as much as it was made for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= self.target || self.weight >= self.target.saturating_mul(HEAVIER)
    }

    /// The rows it holds, which are thereby taken out.
    #[must_use]
    pub fn take(&mut self) -> Vec<Row> {
        (self.bytes, self.weight) = (0, 0);
        let next = Vec::with_capacity(self.rows.len());
        std::mem::replace(&mut self.rows, next)
    }

    /// The encoded size of the rows it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Fills the sink as far as rows are at hand; waits while it is empty.
///
/// # Errors
/// As [`RowStream::poll_rows`].
pub async fn fill(stream: &mut dyn RowStream, sink: &mut RowSink) -> Result<Fill> {
    std::future::poll_fn(|cx| stream.poll_rows(cx, sink)).await
}
