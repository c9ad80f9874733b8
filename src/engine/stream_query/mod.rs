//! StreamQuery: one statement, an unbounded result in constant memory.

#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;

use futures_util::Stream;
use tokio::task::coop::unconstrained;

use super::attempt_loop::retry;
use super::database::{Caller, Database};
use super::databases::Engine;
use super::result_bounds::ResultBounds;
use super::row_batches::{ARROW_BATCH_SIZE, BATCH_SIZE, Batch, RowBatches};
use super::task_stream::{self, PartSender, SendFailure};
use super::validate::{invalid_option, result_format, statement_unit};
use crate::backend::copy::CopyText;
use crate::backend::{Completion, Delivery, JsonForm, RowStream, Statement};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::{CallContext, Termination};
use crate::resilience::RetryUnit;
use crate::value::RowsField;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    JsonBatch, QueryRequest, ResultFormat, ResultHeader, ResultSummary, RowBatch,
};
use crate::wire_size::ROW_BATCH_OVERHEAD;

/// The size at which a batch is sent while the reader is behind, in bytes: it waits in memory, and many
/// readers may be behind.
const SMALL_BATCH_SIZE: usize = 8 << 10;
/// The same of a record batch of Arrow: smaller ones cost their reader more.
const SMALL_ARROW_BATCH_SIZE: usize = 256 << 10;

impl Engine {
    /// Starts one statement. The stream always ends with a summary or an error: without either it would
    /// look like a result without its last rows.
    pub(crate) fn stream_query(
        self: &Arc<Self>,
        request: QueryRequest,
        mut caller: Caller,
    ) -> Result<impl Stream<Item = Result<Part>> + Send + use<>> {
        let database = self.database_of(&caller, &request.database)?;
        let options = request.options.as_ref();
        if options.is_some_and(|options| !options.idempotency_key.is_empty()) {
            let description = "a streamed result is not stored under a key; use Query";
            return Err(invalid_option("options.idempotency_key", description));
        }
        let format = options.map_or(Ok(ResultFormat::Rows), result_format)?;
        let unit = statement_unit(&request);
        // A stream whose caller sent no deadline gets the longest one.
        caller.time_left.get_or_insert(database.limits().cap.saturating_mul(2));
        let (statement, bounds) = database.validate_query(
            request,
            &caller,
            Delivery::Streamed,
            ResultBounds::UNBOUNDED,
        )?;
        let form = RowForm::of(format);
        let database = Arc::clone(database);
        Ok(self.stream(StreamedStatement { database, unit, form, statement, bounds }, caller))
    }

    /// Streams a statement that is valid.
    pub(super) fn stream(
        &self,
        streamed: StreamedStatement,
        caller: Caller,
    ) -> impl Stream<Item = Result<Part>> + Send + use<> {
        let StreamedStatement { database, unit, form, statement, bounds } = streamed;
        let message_limit = self.response_limit.saturating_sub(ROW_BATCH_OVERHEAD);
        let fair_yield = self.fair_yields.of_this_worker();
        let deadline = statement.deadline.instant();
        let batches =
            RowBatches::new(RowsField::OfBatch, bounds, message_limit, fair_yield, deadline);
        let source = Source { database, unit, form, batches };
        let context = Arc::clone(&statement.context);
        let revoked = caller.identity.revocation.revoked();
        let tokens = Arc::clone(&self.transaction_tokens);
        task_stream::spawn(self.stall_timeout, |parts| async move {
            let last = terminate_on(revoked, context, run(source, statement, parts)).await?;
            Some(last.map_err(|error| tokens.bind(&caller.identity, error)))
        })
    }
}

/// A statement to stream, and how.
pub(super) struct StreamedStatement {
    pub(super) database: Arc<Database>,
    pub(super) unit: RetryUnit,
    pub(super) form: RowForm,
    pub(super) statement: Statement,
    pub(super) bounds: ResultBounds,
}

/// The form in which rows are sent.
pub(super) enum RowForm {
    Rows,
    Arrow,
    Json(JsonForm),
    /// Text that is made of the rows here.
    Text(CopyText),
    /// Text that the database has written, with a header or without.
    Written {
        header: bool,
    },
}

impl RowForm {
    fn of(format: ResultFormat) -> Self {
        match format {
            ResultFormat::Unspecified | ResultFormat::Rows => Self::Rows,
            ResultFormat::Arrow => Self::Arrow,
            ResultFormat::Json => Self::Json(JsonForm::Objects),
            ResultFormat::JsonArrays => Self::Json(JsonForm::Arrays),
        }
    }
}

/// Terminates a call once its caller is revoked; its work then ends with the outcome that it has.
async fn terminate_on<T>(
    revoked: impl Future<Output = ()>,
    context: Arc<CallContext>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        // A stream that is read fast uses up the budget of its task, with which the event would be seen.
        () = unconstrained(revoked) => context.terminate(Termination::Operator),
    }
    work.await
}

/// The source of a stream's rows.
struct Source {
    database: Arc<Database>,
    unit: RetryUnit,
    form: RowForm,
    batches: RowBatches,
}

/// A statement whose rows have all been sent.
struct SentRows {
    stream: Box<dyn RowStream>,
    has_rows: bool,
}

/// Runs the statement and returns the last item of the stream; `None` when the reader has disconnected.
///
/// A reader that disconnects stops the statement at any await until all rows are sent: the rest may be a
/// COMMIT, which is never cancelled. A statement without rows may still run then, and is stopped.
async fn run(
    mut source: Source,
    statement: Statement,
    parts: PartSender<Part>,
) -> Option<Result<Part>> {
    let context = Arc::clone(&statement.context);
    let sent = tokio::select! {
        sent = source.send_rows(statement, &parts) => sent,
        () = parts.channel.closed() => return None,
    };
    let SentRows { stream, has_rows } = match sent {
        Ok(sent) => sent?,
        Err(error) => return Some(Err(context.explain(error))),
    };
    let ended = tokio::select! {
        ended = stream.finish() => ended,
        () = parts.channel.closed(), if !has_rows => return None,
    };
    let ended = ended.map_err(|error| context.explain(error));
    Some(ended.map(|Completion { rows_affected, command }| {
        let row_count = source.batches.counter.rows;
        Part::Summary(ResultSummary { rows_affected, command, row_count })
    }))
}

impl Source {
    /// Sends the header and all rows; `None` when the reader has disconnected.
    async fn send_rows(
        &mut self,
        statement: Statement,
        parts: &PartSender<Part>,
    ) -> Result<Option<SentRows>> {
        let deadline = statement.deadline.instant();
        let context = Arc::clone(&statement.context);
        let mut stream = self.start(statement).await?;
        let has_columns = stream.columns().is_some();
        let columns = stream.columns().unwrap_or_default().to_vec();
        if let Err(error) = self.choose_sink(&*stream) {
            return Err(error.with_outcome(stream.abandon().await));
        }
        let mut next = vec![Part::Header(ResultHeader { has_columns, columns })];
        let has_rows = has_columns || matches!(self.form, RowForm::Written { .. });
        let mut is_over = !has_rows;
        loop {
            for part in next {
                let sent = tokio::select! {
                    biased;
                    sent = parts.send(part, Some(deadline)) => sent,
                    () = unconstrained(context.terminated()) => return Err(ended(stream).await),
                };
                if let Err(failure) = sent {
                    return stop(stream, failure, parts).await;
                }
            }
            if is_over {
                return Ok(Some(SentRows { stream, has_rows }));
            }
            // The rows that have come already would hide the end of the statement for as long as they last.
            if context.is_terminated() {
                return Err(ended(stream).await);
            }
            let is_behind = parts.channel.capacity() == 0;
            let batch = match self.next_parts(&mut *stream, is_behind).await? {
                Ok(batch) => batch,
                Err(error) => return Err(error.with_outcome(stream.abandon().await)),
            };
            next = batch.messages;
            is_over = batch.is_last;
        }
    }

    /// Has the rows of a statement made in its form.
    fn choose_sink(&mut self, stream: &dyn RowStream) -> Result<()> {
        match &self.form {
            RowForm::Arrow if stream.columns().is_some() => {
                self.batches.encode_for_arrow(stream)?
            }
            RowForm::Json(form) => self.batches.encode_as_json(stream, *form)?,
            RowForm::Text(text) => self.batches.encode_as_text(stream, text),
            RowForm::Written { header } => self.batches.take_text(*header),
            RowForm::Rows | RowForm::Arrow => {}
        }
        Ok(())
    }

    /// Takes the next batch of the format; small while the reader is behind.
    async fn next_parts(
        &mut self,
        stream: &mut dyn RowStream,
        is_behind: bool,
    ) -> Result<Result<Batch<Part>>> {
        if matches!(self.form, RowForm::Arrow) {
            let size = if is_behind { SMALL_ARROW_BATCH_SIZE } else { ARROW_BATCH_SIZE };
            let batch = self.batches.next_bytes(stream, size).await?;
            return Ok(batch.map(|batch| parts(batch, Part::Arrow)));
        }
        let size = if is_behind { SMALL_BATCH_SIZE } else { BATCH_SIZE };
        if !matches!(self.form, RowForm::Rows | RowForm::Json(_)) {
            let batch = self.batches.next_bytes(stream, size).await?;
            return Ok(batch.map(|batch| parts(batch, Part::Arrow)));
        }
        let batch = self.batches.next(stream, size).await?;
        let rows = |encoded| Part::Rows(RowBatch { encoded, ..RowBatch::default() });
        let json = |encoded| Part::Json(JsonBatch { encoded, ..JsonBatch::default() });
        let is_json = matches!(self.form, RowForm::Json(_));
        Ok(batch.map(|batch| if is_json { parts(batch, json) } else { parts(batch, rows) }))
    }

    /// Starts the statement, with retries. Once it runs, its errors are final: the caller gets its parts.
    async fn start(&self, statement: Statement) -> Result<Box<dyn RowStream>> {
        let statement = Arc::new(statement);
        let attempts = self.database.retries.start(self.unit, None);
        let attempt = || self.database.backend.execute(Arc::clone(&statement));
        let backend = &*self.database.backend;
        let started =
            retry(backend, &statement.context, attempts, statement.deadline, attempt).await;
        started.map(|started| started.value)
    }
}

fn parts<M>(batch: Batch<M>, part: fn(M) -> Part) -> Batch<Part> {
    let Batch { messages, is_last } = batch;
    Batch { messages: messages.into_iter().map(part).collect(), is_last }
}

/// Stops a statement of a call that was terminated. The context explains the error, unless something was applied.
async fn ended(stream: Box<dyn RowStream>) -> Error {
    let message = "the call was terminated while its rows were sent";
    Error::new(ErrorKind::Cancelled, message).with_outcome(stream.abandon().await)
}

/// Stops a statement whose part was not sent; `None` when the reader has disconnected.
///
/// A reader that takes less than one part within the stall timeout counts as stalled: it occupies a
/// connection.
async fn stop(
    stream: Box<dyn RowStream>,
    failure: SendFailure,
    parts: &PartSender<Part>,
) -> Result<Option<SentRows>> {
    let outcome = match failure {
        SendFailure::Disconnected => return Ok(None),
        SendFailure::Late | SendFailure::Stalled => stream.abandon().await,
    };
    let error = if failure == SendFailure::Stalled {
        let limit = humantime::format_duration(parts.stall_timeout);
        Error::new(ErrorKind::StreamStalled, format!("the reader took nothing for {limit}"))
    } else if outcome == Outcome::Unknown {
        let message = "the deadline passed before the reader took the rows of an unfinished write";
        Error::new(ErrorKind::OutcomeUnknown, message)
    } else {
        let message = "the deadline passed before the reader took the rows";
        Error::new(ErrorKind::DeadlineExceeded, message)
    };
    Err(error.with_outcome(outcome))
}
