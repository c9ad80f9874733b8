//! StreamQuery: one statement, an unbounded result in constant memory.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::attempt_loop::retry;
use super::validate::Bounds;
use super::yielding::Turn;
use super::{Caller, Engine};
use crate::backend::{Backend, Completion, Fill, RowSink, RowStream, Statement};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::resilience::{Retries, Unit};
use crate::value::proto::{Column, QueryRequest, Row};
use crate::wire_size::encoded_row_size;

/// A batch is sent when it has this size, in bytes.
pub(crate) const BATCH: usize = 64 << 10;
/// The same while the reader is behind: many may never read again, and each has what it is behind with.
const SMALL_BATCH: usize = 8 << 10;
/// A batch that is not full is sent when it is this old.
pub(crate) const LINGER: Duration = Duration::from_millis(20);

/// A part of a streamed result.
#[derive(Debug)]
pub enum Part {
    /// The columns; `None` when the statement returns no rows at all.
    Header(Option<Vec<Column>>),
    /// Some rows.
    Rows(Vec<Row>),
    /// The end of a complete result.
    Summary(Summary),
}

/// The end of a complete result.
#[derive(Debug)]
pub struct Summary {
    /// Rows inserted, updated, deleted or merged.
    pub rows_affected: u64,
    /// The command as the database names it.
    pub command: String,
    /// Rows streamed.
    pub row_count: u64,
}

impl Engine {
    /// Starts one statement. The stream ends with a summary or with an error, whenever it is read:
    /// never without either, which would look like a result without its last rows.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn stream<C: Into<Caller>>(
        self: &Arc<Self>,
        request: QueryRequest,
        caller: C,
    ) -> Result<impl Stream<Item = Result<Part>> + Send + use<C>> {
        let database = self.database(&request.database)?;
        let unit = unit(&request)?;
        let unbounded = Bounds { rows: u64::MAX, bytes: u64::MAX };
        // A stream without a deadline of its caller's gets the longest one.
        let mut caller = caller.into();
        caller.time_left.get_or_insert(database.limits.cap.saturating_mul(2));
        let (statement, bounds) = database.prepare(request, &caller, "StreamQuery", unbounded)?;
        let limits = Limits {
            bounds,
            stall_timeout: self.stall_timeout,
            response: self.response_limit,
            deadline: Instant::from_std(statement.deadline.instant()),
        };
        let backend = Arc::clone(&database.backend);
        let source = Source { backend, retries: Arc::clone(&database.retries), unit };
        Ok(open(source, statement, limits, self.turns.here()))
    }
}

/// What is run again when it is run again.
fn unit(request: &QueryRequest) -> Result<Unit> {
    let Some(options) = &request.options else { return Ok(Unit::Statement) };
    if !options.idempotency_key.is_empty() {
        let description = "nothing that is streamed is kept under a key; use Query";
        let field = "options.idempotency_key";
        return Err(Error::field(ErrorKind::InvalidOption, field, description));
    }
    Ok(if options.idempotent { Unit::Idempotent } else { Unit::Statement })
}

/// Where the rows come from.
struct Source {
    backend: Arc<dyn Backend>,
    retries: Arc<Retries>,
    unit: Unit,
}

impl Source {
    /// Starts the statement. Once it has, parts of its result are on their way: its errors are final.
    async fn start(&self, statement: Statement) -> Result<Box<dyn RowStream>> {
        let (deadline, statement) = (statement.deadline, Arc::new(statement));
        let attempts = self.retries.start(self.unit, None);
        let attempt = || self.backend.execute(Arc::clone(&statement));
        retry(statement.context.telemetry(), attempts, deadline, attempt)
            .await
            .map(|started| started.value)
    }
}

/// Runs a statement in a task of its own.
fn open(
    source: Source,
    statement: Statement,
    limits: Limits,
    turn: Turn,
) -> impl Stream<Item = Result<Part>> + Send {
    let (parts, receiver) = channel(1);
    let (end, ended) = oneshot::channel();
    let outlet = Outlet { parts, limits, turn };
    tokio::spawn(async move {
        if let Some(ended) = outlet.serve(&source, statement).await {
            end.send(ended).unwrap_or_default();
        }
    });
    let end = ended.map(|ended| ended.unwrap_or_else(|_gone| Err(broken_off())));
    ReceiverStream::new(receiver).map(Ok).chain(end.into_stream())
}

/// The error of a stream whose task has gone without a word.
fn broken_off() -> Error {
    Error::new(ErrorKind::Internal, "the stream broke off").with_outcome(Outcome::Unknown)
}

/// Where the parts go. The end does not pass here: whoever waits for a reader to take the last rows
/// must not wait for it to take the end, too.
struct Outlet {
    parts: Sender<Part>,
    limits: Limits,
    turn: Turn,
}

/// What bounds a stream.
struct Limits {
    bounds: Bounds,
    /// For the reader, to take one part.
    stall_timeout: Duration,
    /// The largest message, in bytes.
    response: usize,
    deadline: Instant,
}

/// How sending a part can fail.
enum Unsent {
    /// The reader has gone.
    Gone,
    /// The reader takes nothing.
    Stalled,
}

/// A statement whose rows have all been sent.
struct Sent {
    stream: Box<dyn RowStream>,
    /// Whether it may still run: it returns no rows, so nothing has told yet.
    runs: bool,
    count: u64,
}

impl Outlet {
    /// Runs the statement and returns its end; `None` when the reader has gone.
    ///
    /// A reader that goes ends the statement at whatever it is waiting for, until all rows are done:
    /// what is left then may be a COMMIT, which is never cancelled.
    async fn serve(self, source: &Source, statement: Statement) -> Option<Result<Part>> {
        let context = Arc::clone(&statement.context);
        let sent = tokio::select! {
            sent = self.rows(source, statement) => sent,
            () = self.parts.closed() => return None,
        };
        let Sent { stream, runs, count } = match sent {
            Ok(Some(sent)) => sent,
            Ok(None) => return None,
            Err(error) => return Some(Err(context.explain(error))),
        };
        let ended = tokio::select! {
            ended = stream.finish() => ended,
            () = self.parts.closed(), if runs => return None,
        };
        let ended = ended.map_err(|error| context.explain(error));
        Some(ended.map(|Completion { rows_affected, command }| {
            Part::Summary(Summary { rows_affected, command, row_count: count })
        }))
    }

    /// Sends the header and all rows; `None` when the reader has gone.
    async fn rows(&self, source: &Source, statement: Statement) -> Result<Option<Sent>> {
        let stream = source.start(statement).await?;
        let columns = stream.columns().map(<[_]>::to_vec);
        let runs = columns.is_none();
        let Some(mut stream) = self.send(stream, Part::Header(columns)).await? else {
            return Ok(None);
        };
        let (mut count, mut bytes) = (0, 0);
        let mut sink = RowSink::new(BATCH);
        let mut linger = Duration::ZERO;
        let mut open = !runs;
        while open {
            let is_behind = self.parts.capacity() == 0;
            sink.set_target(if is_behind { SMALL_BATCH } else { BATCH });
            self.turn.pass(self.limits.deadline).await;
            let filled = batch(&mut *stream, &mut sink, linger).await?;
            linger = LINGER;
            count += u64::try_from(sink.len()).unwrap_or(u64::MAX);
            bytes += u64::try_from(sink.bytes()).unwrap_or(u64::MAX);
            if let Some(error) = self.limits.bounds.exceeded(count, bytes) {
                return Err(error.with_outcome(stream.abandon().await));
            }
            let messages = match messages(sink.take(), self.limits.response) {
                Ok(messages) => messages,
                Err(error) => return Err(error.with_outcome(stream.abandon().await)),
            };
            for rows in messages {
                let Some(same) = self.send(stream, Part::Rows(rows)).await? else {
                    return Ok(None);
                };
                stream = same;
            }
            open = filled != Some(Fill::Done);
        }
        Ok(Some(Sent { stream, runs, count }))
    }

    /// Sends a part while the stream waits; `None` when the reader has gone.
    async fn send(
        &self,
        stream: Box<dyn RowStream>,
        part: Part,
    ) -> Result<Option<Box<dyn RowStream>>> {
        match self.offer(part).await {
            Ok(()) => Ok(Some(stream)),
            Err(Unsent::Gone) => Ok(None),
            Err(Unsent::Stalled) => {
                let late = Instant::now() >= self.limits.deadline;
                Err(self.stalled(late, stream.abandon().await))
            }
        }
    }

    async fn offer(&self, part: Part) -> Result<(), Unsent> {
        let until = self.limits.deadline.min(Instant::now() + self.limits.stall_timeout);
        match tokio::time::timeout_at(until, self.parts.send(part)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(Unsent::Gone),
            Err(_elapsed) => Err(Unsent::Stalled),
        }
    }

    /// A reader that takes less than one part within the limit counts as one that takes nothing: it
    /// holds a connection.
    fn stalled(&self, late: bool, outcome: Outcome) -> Error {
        let error = match (late, outcome) {
            (true, Outcome::Unknown) => Error::new(
                ErrorKind::OutcomeUnknown,
                "the deadline passed while the reader took nothing and a write was not over",
            ),
            (true, Outcome::Applied | Outcome::NotApplied) => Error::new(
                ErrorKind::DeadlineExceeded,
                "the deadline passed while the reader took nothing",
            ),
            (false, Outcome::Applied | Outcome::NotApplied | Outcome::Unknown) => {
                let limit = humantime::format_duration(self.limits.stall_timeout);
                let message = format!("the reader took nothing for {limit}");
                Error::new(ErrorKind::StreamStalled, message)
            }
        };
        error.with_outcome(outcome)
    }
}

/// Fills a batch: until it is full, or `linger` has passed and it has rows. `None`: there may be more.
pub(crate) async fn batch(
    stream: &mut dyn RowStream,
    sink: &mut RowSink,
    linger: Duration,
) -> Result<Option<Fill>> {
    let mut timer = std::pin::pin!(tokio::time::sleep(linger));
    std::future::poll_fn(|cx| match stream.poll_rows(cx, sink) {
        Poll::Ready(filled) => Poll::Ready(filled.map(Some)),
        Poll::Pending if sink.is_empty() => Poll::Pending,
        Poll::Pending => timer.as_mut().poll(cx).map(|()| Ok(None)),
    })
    .await
}

/// Rows by message: none is over `limit` bytes.
pub(crate) fn messages(rows: Vec<Row>, limit: usize) -> Result<Vec<Vec<Row>>> {
    // The message around the rows: two tags and two lengths.
    let limit = limit.saturating_sub(32);
    let mut messages = Vec::with_capacity(1);
    let (mut message, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let size = encoded_row_size(&row);
        if size > limit {
            let text = format!("a row has {size} bytes, more than a message may have");
            return Err(Error::new(ErrorKind::RowTooLarge, text)
                .with_hint("Select less of it, or raise grpc.max_response_size."));
        }
        if bytes + size > limit {
            messages.push(std::mem::take(&mut message));
            bytes = 0;
        }
        bytes += size;
        message.push(row);
    }
    if !message.is_empty() {
        messages.push(message);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::task::Context;

    use futures_util::future::BoxFuture;
    use tokio::sync::Notify;

    use super::*;
    use crate::backend::{
        Batch, BatchResult, BeginRequest, ConnectBreaker, DescribeRequest, Description,
        Transaction, TransactionHandle, TransactionOutcome,
    };
    use crate::deadline::Deadline;
    use crate::engine::yielding::Turns;
    use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};
    use crate::resilience::Away;
    use crate::sql::{Analyzer, Dialect};
    use crate::value::Value;

    /// What a statement of the tests does; a database of one statement.
    #[derive(Clone)]
    struct Script {
        has_columns: bool,
        /// Each a batch; the sizes of their texts.
        rows: Vec<Vec<usize>>,
        abandoned: Outcome,
        /// Lets the end come.
        release: Arc<Notify>,
        /// Whether the end is awaited, and whether it came.
        finishing: Arc<Notify>,
        finished: Arc<AtomicBool>,
    }

    impl Script {
        fn of(rows: Vec<Vec<usize>>) -> Self {
            let release = Arc::new(Notify::new());
            release.notify_one();
            Self {
                has_columns: true,
                rows,
                abandoned: Outcome::NotApplied,
                release,
                finishing: Arc::default(),
                finished: Arc::default(),
            }
        }

        fn held(self) -> Self {
            Self { release: Arc::default(), ..self }
        }

        fn start(&self, limits: Limits) -> Parts {
            let statement = Statement {
                sql: String::new(),
                parameters: Vec::new(),
                analysis: Analyzer::new(Dialect::Sqlite, 1 << 10).analyze("select 1"),
                read_only: false,
                deadline: Deadline::at(limits.deadline.into_std()),
                context: CallContext::own("test"),
            };
            let defaults = crate::config::load_from(&[]).expect("the defaults are right");
            let source = Source {
                backend: Arc::new(self.clone()),
                retries: Arc::new(Retries::new(
                    &defaults.databases["main"].retry,
                    Duration::from_secs(5),
                    Away::default(),
                )),
                unit: Unit::Statement,
            };
            Box::pin(open(source, statement, limits, Turns::default().here()))
        }
    }

    type Parts = Pin<Box<dyn Stream<Item = Result<Part>> + Send>>;

    impl Backend for Script {
        fn name(&self) -> &'static str {
            "script"
        }

        fn execute(&self, _: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
            let running: Box<dyn RowStream> = Box::new(self.clone());
            Box::pin(async { Ok(running) })
        }

        fn execute_batch(&self, _: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
            Box::pin(async { Ok(BatchResult::default()) })
        }

        fn begin(&self, _: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
            Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not scripted")) })
        }

        fn outcome(
            &self,
            _: TransactionHandle,
            _: Deadline,
            _: Arc<CallContext>,
        ) -> BoxFuture<'_, Result<TransactionOutcome>> {
            Box::pin(async { Ok(TransactionOutcome::Unknown) })
        }

        fn delete_expired_keys(&self, _: Deadline) -> BoxFuture<'_, Result<u64>> {
            Box::pin(async { Ok(0) })
        }

        fn describe(&self, _: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
            Box::pin(async { Ok(Description::default()) })
        }

        fn breaker(&self) -> &Arc<ConnectBreaker> {
            unreachable!("nobody connects")
        }

        fn probe(&self, _: Duration) -> BoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn warm_up(&self, _: usize) -> BoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn pool(&self) -> PoolSnapshot {
            PoolSnapshot::default()
        }

        fn control(&self) -> &dyn PoolAdmin {
            unreachable!("no operator is here")
        }

        fn close(&self) {}
    }

    impl RowStream for Script {
        fn columns(&self) -> Option<&[Column]> {
            self.has_columns.then_some(&[])
        }

        fn poll_rows(&mut self, _: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
            if self.rows.is_empty() {
                return Poll::Ready(Ok(Fill::Done));
            }
            for size in self.rows.remove(0) {
                sink.push(Row { values: vec![Value::text("x".repeat(size))] });
            }
            Poll::Ready(Ok(Fill::Full))
        }

        fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
        where
            Self: 'a,
        {
            Box::pin(async move {
                self.finishing.notify_one();
                self.release.notified().await;
                self.finished.store(true, SeqCst);
                self.finishing.notify_one();
                Ok(Completion::default())
            })
        }

        fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
        where
            Self: 'a,
        {
            Box::pin(async move { self.abandoned })
        }
    }

    fn limits() -> Limits {
        Limits {
            bounds: Bounds { rows: u64::MAX, bytes: u64::MAX },
            stall_timeout: Duration::from_secs(10),
            response: 1000,
            deadline: Instant::now() + Duration::from_secs(3600),
        }
    }

    /// The number of rows, and how it ended; the reader pauses before each part.
    async fn read(mut parts: Parts, pause: Duration) -> (usize, Result<Summary>) {
        let mut rows = 0;
        loop {
            tokio::time::sleep(pause).await;
            match parts.next().await.expect("no end without a summary or an error") {
                Ok(Part::Header(_)) => {}
                Ok(Part::Rows(batch)) => rows += batch.len(),
                Ok(Part::Summary(summary)) => return (rows, Ok(summary)),
                Err(error) => return (rows, Err(error)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_takes_a_part_now_and_then_gets_all_of_them() {
        let parts = Script::of(vec![vec![1]; 20]).start(limits());
        let (rows, end) = read(parts, Duration::from_secs(9)).await;
        assert_eq!((rows, end.expect("it is complete").row_count), (20, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_comes_back_late_is_told_that_the_rows_are_not_all() {
        let parts = Script::of(vec![vec![1]; 20]).start(limits());
        let (rows, end) = read(parts, Duration::from_secs(1000)).await;
        assert!(rows < 20, "{rows}");
        assert_eq!(end.expect_err("not all rows").kind(), ErrorKind::StreamStalled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_comes_back_late_for_the_end_gets_it() {
        let script = Script::of(vec![vec![1]]);
        let mut parts = script.start(limits());
        parts.next().await.expect("the header").expect("it runs");
        script.finishing.notified().await;
        tokio::time::sleep(Duration::from_secs(1000)).await;
        let (rows, end) = read(parts, Duration::ZERO).await;
        assert_eq!((rows, end.expect("it is complete").row_count), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_write_tells_what_became_of_it() {
        for (seconds, outcome, kind) in [
            (3600, Outcome::Applied, ErrorKind::StreamStalled),
            (3600, Outcome::Unknown, ErrorKind::StreamStalled),
            (5, Outcome::NotApplied, ErrorKind::DeadlineExceeded),
            (5, Outcome::Unknown, ErrorKind::OutcomeUnknown),
        ] {
            let script = Script { abandoned: outcome, ..Script::of(vec![vec![1]; 20]) };
            let deadline = Instant::now() + Duration::from_secs(seconds);
            let parts = script.start(Limits { deadline, ..limits() });
            let error = read(parts, Duration::from_secs(100)).await.1.expect_err("it stalled");
            assert_eq!((error.kind(), error.outcome()), (kind, outcome));
        }
    }

    #[tokio::test]
    async fn the_end_of_a_statement_is_awaited_when_the_reader_has_gone() {
        let script = Script::of(vec![vec![1]]).held();
        let mut parts = script.start(limits());
        for _ in 0..2 {
            parts.next().await.expect("header and rows").expect("it runs");
        }
        script.finishing.notified().await;
        drop(parts);
        tokio::task::yield_now().await;
        script.release.notify_one();
        let finished = tokio::time::timeout(Duration::from_secs(5), script.finishing.notified());
        finished.await.expect("it was cancelled");
        assert!(script.finished.load(SeqCst));
    }

    #[tokio::test]
    async fn a_statement_without_rows_is_cancelled_when_the_reader_has_gone() {
        let script = Script { has_columns: false, ..Script::of(Vec::new()).held() };
        let mut parts = script.start(limits());
        parts.next().await.expect("the header").expect("it runs");
        script.finishing.notified().await;
        let held = Arc::strong_count(&script.finished);
        drop(parts);
        while Arc::strong_count(&script.finished) == held {
            tokio::task::yield_now().await;
        }
        assert!(!script.finished.load(SeqCst));
    }

    #[tokio::test]
    async fn rows_are_spread_over_messages_and_one_that_fits_none_is_refused() {
        let parts = Script::of(vec![vec![300; 7]]).start(limits());
        assert_eq!(read(parts, Duration::ZERO).await.0, 7);
        let rows = |count| (0..count).map(|_| Row { values: vec![Value::text("x".repeat(300))] });
        let spread = messages(rows(7).collect(), 1000).expect("each fits");
        assert_eq!(spread.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
        let parts = Script::of(vec![vec![2000]]).start(limits());
        let error = read(parts, Duration::ZERO).await.1.expect_err("it fits no message");
        assert_eq!(error.kind(), ErrorKind::RowTooLarge);
    }
}
