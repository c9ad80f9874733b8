//! The rows of a running statement, in batches and in messages of bounded size.

use std::task::Poll;
use std::time::{Duration, Instant};

use super::fair_yield::FairYield;
use super::result_bounds::{ResultBounds, ResultCounter};
use crate::backend::copy::CopyText;
use crate::backend::{Fill, JsonForm, RowSink, RowStream};
use crate::error::Result;
use crate::value::{EncodedRows, RowsField};

/// The size at which a batch is sent, in bytes.
pub(super) const BATCH_SIZE: usize = 64 << 10;
/// The size at which a record batch of Arrow is sent, in bytes of its arrays.
pub(super) const ARROW_BATCH_SIZE: usize = 1 << 20;
/// The largest part of an Arrow stream, in bytes: clients take messages of 4 MiB unless they are told otherwise.
const ARROW_PART_SIZE: usize = 2 << 20;
/// The rows that are decoded in one turn. Other calls wait for no more: a batch of narrow rows has thousands.
const ROWS_OF_TURN: usize = 256;
/// The age at which a batch that is not full is sent.
const MAX_BATCH_AGE: Duration = Duration::from_millis(20);

/// The batches of one statement.
pub(super) struct RowBatches {
    sink: RowSink,
    pub(super) counter: ResultCounter,
    /// Zero for the first batch: the first rows are sent at once.
    max_age: Duration,
    message_limit: usize,
    fair_yield: FairYield,
    deadline: Instant,
}

/// One batch, by message.
pub(super) struct Batch<M> {
    pub(super) messages: Vec<M>,
    pub(super) is_last: bool,
}

impl RowBatches {
    /// Makes batches within bounds, for messages with `message_limit` bytes for their rows in this field.
    pub(super) fn new(
        field: RowsField,
        bounds: ResultBounds,
        message_limit: usize,
        fair_yield: FairYield,
        deadline: Instant,
    ) -> Self {
        let counter = ResultCounter { bounds, rows: 0, bytes: 0 };
        let sink = RowSink::new(field, BATCH_SIZE, message_limit);
        Self { sink, counter, max_age: Duration::ZERO, message_limit, fair_yield, deadline }
    }

    /// Makes Arrow's batches from here on, of a statement that returns rows.
    pub(super) fn encode_for_arrow(&mut self, stream: &dyn RowStream) -> Result<()> {
        self.sink = RowSink::arrow(stream, ARROW_BATCH_SIZE)?;
        Ok(())
    }

    /// Makes JSON from here on, of a statement that returns rows.
    pub(super) fn encode_as_json(&mut self, stream: &dyn RowStream, form: JsonForm) -> Result<()> {
        let limit = self.message_limit;
        self.sink = RowSink::json(stream, form, RowsField::OfJsonBatch, BATCH_SIZE, limit)?;
        Ok(())
    }

    /// Makes text from here on.
    pub(super) fn encode_as_text(&mut self, stream: &dyn RowStream, form: &CopyText) {
        self.sink = RowSink::text(stream, form, BATCH_SIZE);
    }

    /// Takes the text that the database itself writes from here on, with a header or without.
    pub(super) fn take_text(&mut self, header: bool) {
        self.sink = RowSink::written_text(header, BATCH_SIZE);
    }

    /// Takes the next batch, of about `size` bytes. After an inner error the caller cannot get the result,
    /// and the statement must be abandoned.
    pub(super) async fn next(
        &mut self,
        stream: &mut dyn RowStream,
        size: usize,
    ) -> Result<Result<Batch<EncodedRows>>> {
        self.next_of(stream, size, |sink, _| Ok(sink.take_messages())).await
    }

    /// As [`RowBatches::next`], of the bytes of an Arrow stream or of a text.
    pub(super) async fn next_bytes(
        &mut self,
        stream: &mut dyn RowStream,
        size: usize,
    ) -> Result<Result<Batch<Vec<u8>>>> {
        let limit = self.message_limit.clamp(1, ARROW_PART_SIZE);
        let take = |sink: &mut RowSink, filled| {
            Ok(sink.take_bytes(filled)?.chunks(limit).map(<[u8]>::to_vec).collect())
        };
        self.next_of(stream, size, take).await
    }

    async fn next_of<M>(
        &mut self,
        stream: &mut dyn RowStream,
        size: usize,
        take: impl FnOnce(&mut RowSink, Fill) -> Result<Vec<M>>,
    ) -> Result<Result<Batch<M>>> {
        self.sink.target = size;
        let filled = self.fill(stream).await?;
        self.max_age = MAX_BATCH_AGE;
        let counted = self.counter.add(&mut self.sink);
        let messages = counted.and_then(|()| take(&mut self.sink, filled));
        Ok(messages.map(|messages| Batch { messages, is_last: filled == Fill::Done }))
    }

    /// Fills the sink, in turns, until it has its size, or until it has rows and `max_age` has passed.
    async fn fill(&mut self, stream: &mut dyn RowStream) -> Result<Fill> {
        let mut timer = std::pin::pin!(tokio::time::sleep(self.max_age));
        loop {
            self.fair_yield.wait(self.deadline).await;
            self.sink.begin_turn(ROWS_OF_TURN);
            let filled = std::future::poll_fn(|cx| match stream.poll_rows(cx, &mut self.sink) {
                Poll::Ready(filled) => Poll::Ready(filled.map(Some)),
                Poll::Pending if self.sink.is_empty() => Poll::Pending,
                Poll::Pending => timer.as_mut().poll(cx).map(|()| Ok(None)),
            });
            match filled.await? {
                Some(Fill::Done) => return Ok(Fill::Done),
                Some(Fill::Full) if !self.sink.has_target_size() => {}
                Some(Fill::Full) | None => return Ok(Fill::Full),
            }
        }
    }
}
