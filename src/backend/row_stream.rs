//! The rows of a running statement, and the sink that takes them.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::error::{Outcome, Result};
use crate::value::proto::{Column, Row, Value};
use crate::wire_size::encoded_row_size;

/// A running statement: its rows, then how it ended.
pub(crate) trait RowStream: Send {
    /// The columns; `None` when the statement returns no rows at all.
    fn columns(&self) -> Option<&[Column]>;

    /// Moves rows into the sink until the sink is full or the database has no more at hand.
    ///
    /// Rows may have been added when it returns `Pending`. After [`Fill::Done`] it must not be called
    /// again. After an error, the rows delivered before prove nothing.
    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>>;

    /// Ends a statement whose rows are done: commits the transaction that was opened for it, if any, and returns
    /// the connection to the pool.
    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a;

    /// Ends a statement whose result the caller cannot take: a read is cancelled, a write is run to its end
    /// without reading its rows. Returns the outcome.
    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a;
}

/// The state of a stream after its rows were moved into a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// The sink takes no more, at least in this turn; there may be more.
    Full,
    /// All rows are in.
    Done,
}

/// The end of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// The rows that the command counts; 0 for a SELECT.
    pub rows_affected: u64,
    /// The command as the database names it.
    pub command: String,
}

/// A buffer for a stream's rows.
#[derive(Debug)]
pub(crate) struct RowSink {
    rows: Vec<Row>,
    /// The encoded size of the rows.
    pub(crate) bytes: usize,
    memory: usize,
    /// The size at which it is full.
    pub(crate) target: usize,
    /// The number of rows at which it takes no more in this turn.
    end_of_turn: usize,
}

/// The memory that a sink may take, as a multiple of its target: small values need far more memory than they
/// have bytes.
const MEMORY_FACTOR: usize = 2;

impl RowSink {
    /// Returns a sink that is full at `target` bytes of encoded rows, or twice that of memory.
    pub(crate) fn new(target: usize) -> Self {
        Self { rows: Vec::new(), bytes: 0, memory: 0, target, end_of_turn: usize::MAX }
    }

    pub(crate) fn push(&mut self, row: Row) {
        let size = encoded_row_size(&row);
        self.bytes += size;
        self.memory += size + size_of::<Row>() + row.values.len() * size_of::<Value>();
        self.rows.push(row);
    }

    /// Has it take no more than `rows` until the next turn.
    pub(crate) fn begin_turn(&mut self, rows: usize) {
        self.end_of_turn = self.rows.len().saturating_add(rows);
    }

    /// Returns true if it takes no more, at least in this turn.
    pub(crate) fn is_full(&self) -> bool {
        self.has_target_size() || self.rows.len() >= self.end_of_turn
    }

    pub(crate) fn has_target_size(&self) -> bool {
        self.bytes >= self.target || self.memory >= self.target.saturating_mul(MEMORY_FACTOR)
    }

    /// Takes out the rows it holds.
    pub(crate) fn take(&mut self) -> Vec<Row> {
        self.bytes = 0;
        self.memory = 0;
        let next = Vec::with_capacity(self.rows.len());
        std::mem::replace(&mut self.rows, next)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Fills the sink as far as rows are at hand; waits while it is empty.
pub(crate) async fn fill(stream: &mut dyn RowStream, sink: &mut RowSink) -> Result<Fill> {
    std::future::poll_fn(|cx| stream.poll_rows(cx, sink)).await
}
