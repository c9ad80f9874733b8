//! The rows of a running statement, and the sink that takes them.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::RowEncoder;
use crate::value::proto::{Column, Row, RowBatch, Value};
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
    /// Takes the rows where they are sent as they come.
    encoded: Option<Box<EncodedRows>>,
    /// The number of rows.
    count: usize,
    /// The encoded size of the rows.
    pub(crate) bytes: usize,
    memory: usize,
    /// The size at which it is full.
    pub(crate) target: usize,
    /// The number of rows at which it takes no more in this turn.
    end_of_turn: usize,
}

/// Rows that are encoded for messages.
#[derive(Debug)]
struct EncodedRows {
    encoder: RowEncoder,
    /// The most bytes of rows in a message.
    limit: usize,
    /// The messages that are full.
    full: Vec<RowBatch>,
    /// The error of a row that is larger than a message. The rows after it are dropped.
    too_large: Option<Error>,
}

/// The memory that a sink may take, as a multiple of its target: small values need far more memory than they
/// have bytes.
const MEMORY_FACTOR: usize = 2;

impl RowSink {
    /// Returns a sink that is full at `target` bytes of encoded rows, or twice that of memory.
    pub(crate) fn new(target: usize) -> Self {
        let rows = Vec::new();
        Self { rows, encoded: None, count: 0, bytes: 0, memory: 0, target, end_of_turn: usize::MAX }
    }

    /// Returns a sink that encodes its rows, for messages with at most `limit` bytes of them.
    pub(crate) fn encoded(target: usize, limit: usize) -> Self {
        let encoder = RowEncoder::default();
        let rows = EncodedRows { encoder, limit, full: Vec::new(), too_large: None };
        Self { encoded: Some(Box::new(rows)), ..Self::new(target) }
    }

    pub(crate) fn push(&mut self, row: Row) {
        if let Some(encoder) = self.encoder() {
            encoder.begin_row();
            row.values.iter().for_each(|value| encoder.value(value));
            self.end_row();
            return;
        }
        let size = encoded_row_size(&row);
        self.count += 1;
        self.bytes += size;
        self.memory += size + size_of::<Row>() + row.values.len() * size_of::<Value>();
        self.rows.push(row);
    }

    /// The encoder of a sink that encodes its rows: each is begun there, and ended by [`RowSink::end_row`].
    pub(crate) fn encoder(&mut self) -> Option<&mut RowEncoder> {
        self.encoded.as_mut().map(|encoded| &mut encoded.encoder)
    }

    /// Takes the row that was encoded.
    pub(crate) fn end_row(&mut self) {
        let Some(encoded) = &mut self.encoded else { return };
        if let Some(size) = encoded.end_row() {
            self.count += 1;
            self.bytes += size;
        }
    }

    /// Has it take no more than `rows` until the next turn.
    pub(crate) fn begin_turn(&mut self, rows: usize) {
        self.end_of_turn = self.count.saturating_add(rows);
    }

    /// Returns true if it takes no more, at least in this turn.
    pub(crate) fn is_full(&self) -> bool {
        self.has_target_size() || self.count >= self.end_of_turn
    }

    pub(crate) fn has_target_size(&self) -> bool {
        self.bytes >= self.target
            || self.memory >= self.target.saturating_mul(MEMORY_FACTOR)
            || self.has_failed()
    }

    fn has_failed(&self) -> bool {
        self.encoded.as_ref().is_some_and(|encoded| encoded.too_large.is_some())
    }

    /// Takes out the rows it holds.
    pub(crate) fn take(&mut self) -> Vec<Row> {
        self.clear();
        let next = Vec::with_capacity(self.rows.len());
        std::mem::replace(&mut self.rows, next)
    }

    /// Takes out the rows of a sink that encodes them, by message. Fails if one of them does not fit into any.
    pub(crate) fn take_encoded(&mut self) -> Result<Vec<RowBatch>> {
        self.clear();
        match &mut self.encoded {
            Some(encoded) => encoded.take(),
            None => Ok(vec![RowBatch::new(self.take())]),
        }
    }

    fn clear(&mut self) {
        self.count = 0;
        self.bytes = 0;
        self.memory = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && !self.has_failed()
    }
}

impl EncodedRows {
    /// Ends a row and returns its size; `None` if it is dropped.
    fn end_row(&mut self) -> Option<usize> {
        let Self { encoder, limit, full, too_large } = self;
        if too_large.is_some() {
            return None;
        }
        let size = encoder.row_size();
        if size > *limit {
            *too_large = Some(row_too_large(size));
            return None;
        }
        if encoder.size() + size > *limit {
            full.push(encoder.take());
        }
        encoder.end_row();
        Some(size)
    }

    fn take(&mut self) -> Result<Vec<RowBatch>> {
        if let Some(error) = self.too_large.take() {
            return Err(error);
        }
        let mut batches = std::mem::take(&mut self.full);
        if self.encoder.size() > 0 {
            batches.push(self.encoder.take());
        }
        Ok(batches)
    }
}

/// The error of a row that does not fit into a message.
pub(crate) fn row_too_large(size: usize) -> Error {
    let text = format!("a row has {size} bytes, more than a message may have");
    Error::new(ErrorKind::RowTooLarge, text)
        .with_hint("Select less of it, or raise grpc.max_response_size.")
}

/// Fills the sink as far as rows are at hand; waits while it is empty.
pub(crate) async fn fill(stream: &mut dyn RowStream, sink: &mut RowSink) -> Result<Fill> {
    std::future::poll_fn(|cx| stream.poll_rows(cx, sink)).await
}
