//! The rows of a running statement, and the sink that takes them.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use super::arrow::{ArrowRows, Decimal, MAX_BATCH_ROWS};
use super::copy::{CopyText, TextRows};
use super::json_rows::{JsonForm, JsonRows};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::cell::Cell;
use crate::value::{Column, EncodedRows, RowEncoder, RowsField, size_in_field};

/// A running statement: its rows, then how it ended.
pub(crate) trait RowStream: Send {
    /// The columns; `None` when the statement returns no rows at all.
    fn columns(&self) -> Option<&[Column]>;

    /// The precision and scale that a column was declared with, where its values are bound to them.
    fn decimal(&self, _column: usize) -> Option<Decimal> {
        None
    }

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
pub(crate) struct RowSink {
    rows: SinkRows,
    /// The number of rows.
    count: usize,
    /// The encoded size of the rows.
    pub(crate) bytes: usize,
    /// The size at which it is full.
    pub(crate) target: usize,
    /// The number of rows at which it takes no more in this turn.
    end_of_turn: usize,
    /// The error of a row that its format cannot hold. The rows after it are dropped.
    misfit: Option<Error>,
}

/// The rows of a sink, in the form in which they are wanted.
enum SinkRows {
    Encoded(RowMessages),
    Arrow(Box<ArrowRows>),
    Text(TextRows),
    Json(Box<JsonMessages>),
}

/// Rows that are encoded for messages.
#[derive(Debug)]
struct RowMessages {
    encoder: RowEncoder,
    /// The most bytes of rows in a message.
    limit: usize,
    /// The rows of messages that are full.
    full: Vec<EncodedRows>,
}

/// Rows as JSON, encoded for messages.
struct JsonMessages {
    maker: JsonRows,
    /// The row that is being encoded.
    row: RowEncoder,
    messages: RowMessages,
}

impl RowSink {
    /// Returns a sink that is full at `target` bytes of rows. They are encoded for messages with at most `limit` bytes
    /// of them in this field.
    pub(crate) fn new(field: RowsField, target: usize, limit: usize) -> Self {
        Self::of(SinkRows::Encoded(RowMessages::new(field, limit)), target)
    }

    /// Returns a sink that makes JSON of a statement's rows, for messages as in [`RowSink::new`].
    pub(crate) fn json(
        stream: &dyn RowStream,
        form: JsonForm,
        field: RowsField,
        target: usize,
        limit: usize,
    ) -> Result<Self> {
        let maker = JsonRows::new(stream.columns().unwrap_or_default(), form)?;
        let row = RowEncoder::new(field);
        let rows = JsonMessages { maker, row, messages: RowMessages::new(field, limit) };
        Ok(Self::of(SinkRows::Json(Box::new(rows)), target))
    }

    /// Returns a sink for rows of one result, whatever their size: full at `target` bytes of them.
    pub(crate) fn of_result(target: usize) -> Self {
        Self::new(RowsField::OfResult, target, usize::MAX)
    }

    /// Returns a sink that makes an Arrow stream of a statement's rows. It is full at `target` bytes of arrays, or at
    /// the rows of a record batch.
    pub(crate) fn arrow(stream: &dyn RowStream, target: usize) -> Result<Self> {
        let columns = stream.columns().unwrap_or_default();
        let rows = ArrowRows::new(columns, |column| stream.decimal(column))?;
        Ok(Self::of(SinkRows::Arrow(Box::new(rows)), target))
    }

    /// Returns a sink that makes text of a statement's rows, full at `target` bytes of it.
    pub(crate) fn text(stream: &dyn RowStream, form: &CopyText, target: usize) -> Self {
        let columns = stream.columns().unwrap_or_default();
        Self::of(SinkRows::Text(TextRows::new(columns, form)), target)
    }

    /// Returns a sink for the text that the database itself writes, with a header or without; full at `target` bytes of
    /// rows.
    pub(crate) fn written_text(header: bool, target: usize) -> Self {
        Self::of(SinkRows::Text(TextRows::written(header)), target)
    }

    fn of(rows: SinkRows, target: usize) -> Self {
        let end_of_turn = usize::MAX;
        Self { rows, count: 0, bytes: 0, target, end_of_turn, misfit: None }
    }

    /// Adds a row that is encoded already: a message `Row`.
    pub(crate) fn push(&mut self, row: &[u8]) {
        if self.misfit.is_some() {
            return;
        }
        let pushed = match &mut self.rows {
            SinkRows::Encoded(rows) => rows.push(row),
            SinkRows::Arrow(rows) => rows.push(row),
            SinkRows::Text(rows) => rows.push(row),
            SinkRows::Json(rows) => rows.push(row),
        };
        self.count(pushed);
    }

    /// The encoder of the rows, each of which is begun there and ended by [`RowSink::end_row`]; `None` for a sink that
    /// takes cells.
    pub(crate) fn encoder(&mut self) -> Option<&mut RowEncoder> {
        match &mut self.rows {
            SinkRows::Encoded(rows) => Some(&mut rows.encoder),
            SinkRows::Json(rows) => Some(&mut rows.row),
            SinkRows::Arrow(_) | SinkRows::Text(_) => None,
        }
    }

    /// Adds the text of a row, or of the header, that the database has written.
    pub(crate) fn push_data(&mut self, data: &[u8]) {
        if let SinkRows::Text(rows) = &mut self.rows
            && let Some(size) = rows.push_data(data)
        {
            self.count(Ok(size));
        }
    }

    /// Takes the row that was encoded.
    pub(crate) fn end_row(&mut self) {
        if self.misfit.is_some() {
            return;
        }
        let ended = match &mut self.rows {
            SinkRows::Encoded(rows) => rows.end_row(),
            SinkRows::Json(rows) => rows.end_row(),
            SinkRows::Arrow(_) | SinkRows::Text(_) => return,
        };
        self.count(ended);
    }

    /// Adds a row to an Arrow stream or to a text by its values, one of each column. Fails with the first of them that failed.
    pub(crate) fn push_cells<'a>(
        &mut self,
        cells: impl Iterator<Item = Result<Cell<'a>>>,
    ) -> Result<()> {
        if self.misfit.is_some() {
            return Ok(());
        }
        let rows = match &mut self.rows {
            SinkRows::Arrow(rows) => rows,
            SinkRows::Text(rows) => {
                let pushed = rows.push_cells(&cells.collect::<Result<Vec<_>>>()?);
                self.count(pushed);
                return Ok(());
            }
            SinkRows::Encoded(_) | SinkRows::Json(_) => return Ok(()),
        };
        let mut pushed = Ok(0);
        for (at, cell) in cells.enumerate() {
            let cell = cell?;
            pushed = pushed.and_then(|size| rows.append(at, cell).map(|added| size + added));
        }
        rows.end_row();
        self.count(pushed);
        Ok(())
    }

    fn count(&mut self, pushed: Result<usize>) {
        match pushed {
            Ok(size) => {
                self.bytes += size;
                self.count += 1;
            }
            Err(misfit) => self.misfit = Some(misfit),
        }
    }

    /// Fails if a row did not fit the format.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.misfit.take().map_or(Ok(()), Err)
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
            || self.count >= MAX_BATCH_ROWS && matches!(self.rows, SinkRows::Arrow(_))
            || self.misfit.is_some()
    }

    /// Takes out the rows that follow the messages that were full.
    pub(crate) fn take(&mut self) -> EncodedRows {
        self.clear();
        self.messages().map(|rows| rows.encoder.take()).unwrap_or_default()
    }

    fn messages(&mut self) -> Option<&mut RowMessages> {
        match &mut self.rows {
            SinkRows::Encoded(rows) => Some(rows),
            SinkRows::Json(rows) => Some(&mut rows.messages),
            SinkRows::Arrow(_) | SinkRows::Text(_) => None,
        }
    }

    /// Takes out the rows by message.
    pub(crate) fn take_messages(&mut self) -> Vec<EncodedRows> {
        let rows = self.take();
        let Some(RowMessages { full, .. }) = self.messages() else { return Vec::new() };
        let mut messages = std::mem::take(full);
        if !rows.is_empty() {
            messages.push(rows);
        }
        messages
    }

    /// Takes out the next bytes of an Arrow stream or of a text; after the last rows with its end.
    pub(crate) fn take_bytes(&mut self, filled: Fill) -> Result<Vec<u8>> {
        self.clear();
        let rows = match &mut self.rows {
            SinkRows::Arrow(rows) => rows,
            SinkRows::Text(rows) => return Ok(rows.take()),
            SinkRows::Encoded(_) | SinkRows::Json(_) => return Ok(Vec::new()),
        };
        match filled {
            Fill::Full => rows.take(),
            Fill::Done => rows.finish(),
        }
    }

    /// Counts rows and bytes from here on.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.bytes = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.misfit.is_none()
    }
}

impl JsonMessages {
    fn push(&mut self, row: &[u8]) -> Result<usize> {
        self.messages.push(self.maker.make(row)?)
    }

    /// Makes the row that was encoded, which the next one takes the place of.
    fn end_row(&mut self) -> Result<usize> {
        self.messages.push(self.maker.make(self.row.row())?)
    }
}

impl RowMessages {
    fn new(field: RowsField, limit: usize) -> Self {
        Self { encoder: RowEncoder::new(field), limit, full: Vec::new() }
    }

    fn push(&mut self, row: &[u8]) -> Result<usize> {
        self.begin_message(size_in_field(row.len())).inspect(|_| self.encoder.push(row))
    }

    /// Ends a row and returns its size. Fails if it does not fit into a message.
    fn end_row(&mut self) -> Result<usize> {
        self.begin_message(self.encoder.row_size()).inspect(|_| self.encoder.end_row())
    }

    /// Begins another message if a row of this size needs one; returns the size.
    fn begin_message(&mut self, size: usize) -> Result<usize> {
        if size > self.limit {
            return Err(row_too_large(size));
        }
        if self.encoder.size() + size > self.limit {
            self.full.push(self.encoder.take());
        }
        Ok(size)
    }
}

/// The error of a row that does not fit into a message.
fn row_too_large(size: usize) -> Error {
    let text = format!("a row has {size} bytes, more than a message may have");
    Error::new(ErrorKind::RowTooLarge, text)
        .with_hint("Select less of it, or raise grpc.max_response_size.")
}

/// Fills the sink as far as rows are at hand; waits while it is empty.
pub(crate) async fn fill(stream: &mut dyn RowStream, sink: &mut RowSink) -> Result<Fill> {
    std::future::poll_fn(|cx| stream.poll_rows(cx, sink)).await
}
