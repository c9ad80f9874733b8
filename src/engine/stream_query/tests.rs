//! Streams that are read slowly, late, or not to their end.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use prost::Message as _;
use tokio::sync::Notify;

use super::*;
use crate::backend::{
    Backend, Batch, BatchResult, BatchStrategy, BeginRequest, ConnectBreaker, Delivery,
    DescribeRequest, Description, Fill, Preamble, RowSink, Transaction, TransactionHandle,
    TransactionOutcome,
};
use crate::clock::now;
use crate::deadline::Deadline;
use crate::engine::fair_yield::FairYields;
use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};
use crate::sql::{Analyzer, Dialect};
use crate::value::Value;
use crate::value::proto::{Column, Row, RowBatch};

/// A database with one statement, and the course of that statement.
#[derive(Clone)]
struct ScriptedStatement {
    has_columns: bool,
    /// The sizes of the texts of each batch.
    rows: Vec<Vec<usize>>,
    abandoned: Outcome,
    /// Lets the statement end.
    release: Arc<Notify>,
    /// Notified when the end is awaited, and when it was reached.
    finishing: Arc<Notify>,
    finished: Arc<AtomicBool>,
    breaker: Arc<ConnectBreaker>,
}

impl ScriptedStatement {
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
            breaker: Arc::default(),
        }
    }

    fn without_end(self) -> Self {
        Self { release: Arc::default(), ..self }
    }

    /// Starts the statement for a reader with a stall timeout of 10 s, and messages of 1000 bytes.
    fn start(&self, deadline: Instant) -> Parts {
        let statement = Statement {
            sql: String::new(),
            parameters: Vec::new(),
            analysis: Analyzer::new(Dialect::Sqlite, 1 << 10).analyze("select 1"),
            read_only: false,
            delivery: Delivery::Streamed,
            describe_columns: false,
            needs_names: false,
            preamble: Preamble::default(),
            deadline: Deadline::at(deadline),
            context: CallContext::own("test"),
        };
        let defaults = crate::config::load_from(&[]).expect("the defaults are right");
        let settings = defaults.databases["main"].clone();
        let name = "main".to_owned();
        let database = Database::new(name, settings, &defaults.health, Arc::new(self.clone()));
        let source = Source {
            database: Arc::new(database),
            unit: RetryUnit::Statement,
            form: RowForm::Rows,
            batches: RowBatches::new(
                RowsField::OfBatch,
                ResultBounds::UNBOUNDED,
                1000 - ROW_BATCH_OVERHEAD,
                FairYields::default().of_this_worker(),
                deadline,
            ),
        };
        let stall_timeout = Duration::from_secs(10);
        Box::pin(task_stream::spawn(stall_timeout, |parts| run(source, statement, parts)))
    }
}

type Parts = Pin<Box<dyn Stream<Item = Result<Part>> + Send>>;

impl Backend for ScriptedStatement {
    fn name(&self) -> &'static str {
        "script"
    }

    fn execute(&self, _: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        let running: Box<dyn RowStream> = Box::new(self.clone());
        Box::pin(async { Ok(running) })
    }

    fn execute_batch(&self, _: Arc<Batch>, _: BatchStrategy) -> BoxFuture<'_, Result<BatchResult>> {
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
        &self.breaker
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
        unreachable!("the tests have no operator")
    }

    fn close(&self) {}
}

impl RowStream for ScriptedStatement {
    fn columns(&self) -> Option<&[Column]> {
        self.has_columns.then_some(&[])
    }

    fn poll_rows(&mut self, _: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        if self.rows.is_empty() {
            return Poll::Ready(Ok(Fill::Done));
        }
        for size in self.rows.remove(0) {
            sink.push(&Row { values: vec![Value::text("x".repeat(size))] }.encode_to_vec());
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

/// A deadline that no test reaches.
fn far() -> Instant {
    now() + Duration::from_secs(3600)
}

/// Reads a stream with a pause before each part; returns the number of rows, and its end.
async fn read(mut parts: Parts, pause: Duration) -> (usize, Result<ResultSummary>) {
    let mut rows = 0;
    loop {
        tokio::time::sleep(pause).await;
        match parts.next().await.expect("no end without a summary or an error") {
            Ok(Part::Header(_)) => {}
            Ok(Part::Rows(batch)) => {
                let sent = RowBatch::decode(&*batch.encode_to_vec()).expect("it is well-formed");
                rows += sent.rows.len();
            }
            Ok(Part::Arrow(_) | Part::Json(_)) => panic!("rows were wanted"),
            Ok(Part::Summary(summary)) => return (rows, Ok(summary)),
            Err(error) => return (rows, Err(error)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_all_parts() {
    let parts = ScriptedStatement::of(vec![vec![1]; 20]).start(far());
    let (rows, end) = read(parts, Duration::from_secs(9)).await;
    assert_eq!((rows, end.expect("it is complete").row_count), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_returns_late_gets_an_error_instead_of_the_rest() {
    let parts = ScriptedStatement::of(vec![vec![1]; 20]).start(far());
    let (rows, end) = read(parts, Duration::from_secs(1000)).await;
    assert!(rows < 20, "{rows}");
    assert_eq!(end.expect_err("not all rows").kind(), ErrorKind::StreamStalled);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_returns_late_for_the_end_gets_it() {
    let script = ScriptedStatement::of(vec![vec![1]]);
    let mut parts = script.start(far());
    parts.next().await.expect("the header").expect("it runs");
    script.finishing.notified().await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let (rows, end) = read(parts, Duration::ZERO).await;
    assert_eq!((rows, end.expect("it is complete").row_count), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_stalled_write_has_its_outcome() {
    for (seconds, outcome, kind) in [
        (3600, Outcome::Applied, ErrorKind::StreamStalled),
        (3600, Outcome::Unknown, ErrorKind::StreamStalled),
        (5, Outcome::NotApplied, ErrorKind::DeadlineExceeded),
        (5, Outcome::Unknown, ErrorKind::OutcomeUnknown),
    ] {
        let script =
            ScriptedStatement { abandoned: outcome, ..ScriptedStatement::of(vec![vec![1]; 20]) };
        let parts = script.start(now() + Duration::from_secs(seconds));
        let error = read(parts, Duration::from_secs(100)).await.1.expect_err("it stalled");
        assert_eq!((error.kind(), error.outcome()), (kind, outcome));
    }
}

#[tokio::test]
async fn the_end_of_a_statement_is_awaited_after_its_reader_has_disconnected() {
    let script = ScriptedStatement::of(vec![vec![1]]).without_end();
    let mut parts = script.start(far());
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
async fn a_statement_without_rows_is_cancelled_when_the_reader_disconnects() {
    let script =
        ScriptedStatement { has_columns: false, ..ScriptedStatement::of(Vec::new()).without_end() };
    let mut parts = script.start(far());
    parts.next().await.expect("the header").expect("it runs");
    script.finishing.notified().await;
    let owners = Arc::strong_count(&script.finished);
    drop(parts);
    while Arc::strong_count(&script.finished) == owners {
        tokio::task::yield_now().await;
    }
    assert!(!script.finished.load(SeqCst));
}

#[tokio::test]
async fn rows_are_split_into_messages_and_a_row_over_the_limit_fails() {
    let parts = ScriptedStatement::of(vec![vec![300; 7]]).start(far());
    assert_eq!(read(parts, Duration::ZERO).await.0, 7);
    let parts = ScriptedStatement::of(vec![vec![2000]]).start(far());
    let error = read(parts, Duration::ZERO).await.1.expect_err("it fits no message");
    assert_eq!(error.kind(), ErrorKind::RowTooLarge);
}
