//! A database that plays a list of steps, for tests of the layers above.
//!
//! Each call takes the next step, which must be one for this call; dropped, it verifies that all steps
//! were taken. Everything that it is asked to run is kept for the test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message as _;

use crate::backend::connect_breaker::ConnectBreaker;
use crate::backend::interface::Backend;
use crate::backend::row_stream::{Completion, Fill, RowSink, RowStream};
use crate::backend::statement::{
    Batch, BatchResult, BatchStrategy, DescribeRequest, Description, Statement,
};
use crate::backend::transaction::{
    BeginRequest, Transaction, TransactionHandle, TransactionOutcome,
};
use crate::deadline::Deadline;
use crate::error::{Outcome, Result};
use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};
use crate::value::proto::{Column, Row, Value};

/// The database's reaction to its next call.
#[derive(Debug)]
pub(crate) enum Step {
    /// Starts a statement.
    Execute(Result<Answer>),
    /// Runs a unit; `None` if it never ends.
    Batch(Option<Result<BatchResult>>),
    /// Returns the outcome of a unit.
    Outcome(Result<TransactionOutcome>),
    /// Describes a statement.
    Describe(Result<Description>),
    /// Deletes keys.
    DeleteExpiredKeys(Result<u64>),
}

/// The course of a statement once it has started.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The texts of one column; `None` if it returns no rows at all.
    pub(crate) texts: Option<Vec<String>>,
    /// The end after its rows are read.
    pub(crate) end: Result<Completion>,
    /// The outcome when it is abandoned.
    pub(crate) abandoned: Outcome,
}

impl Answer {
    /// A query that returns these texts.
    pub(crate) fn rows(texts: &[&str]) -> Self {
        let end = Ok(Completion { rows_affected: 0, command: "SELECT".to_owned() });
        let texts = Some(texts.iter().map(|text| (*text).to_owned()).collect());
        Self { texts, end, abandoned: Outcome::NotApplied }
    }

    /// A query that fails after its rows.
    pub(crate) fn failing(end: crate::error::Error) -> Self {
        Self { end: Err(end), ..Self::rows(&["a row"]) }
    }
}

/// A database that plays a list of steps.
#[derive(Debug)]
pub(crate) struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    statements: Mutex<Vec<Arc<Statement>>>,
    batches: Mutex<Vec<Arc<Batch>>>,
    handles: Mutex<Vec<TransactionHandle>>,
    breaker: Arc<ConnectBreaker>,
    /// The checkouts of its pool.
    pub(crate) acquired: AtomicU64,
    /// A call that no step was left for: a task that is not the test's may have swallowed its panic.
    unexpected: Mutex<Option<String>>,
}

impl Scripted {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            steps: Mutex::new(steps.into_iter().collect()),
            statements: Mutex::default(),
            batches: Mutex::default(),
            handles: Mutex::default(),
            breaker: Arc::default(),
            acquired: AtomicU64::default(),
            unexpected: Mutex::default(),
        })
    }

    /// The statements it was asked to start.
    pub(crate) fn statements(&self) -> Vec<Arc<Statement>> {
        self.statements.lock().clone()
    }

    /// The units it was asked to run.
    pub(crate) fn batches(&self) -> Vec<Arc<Batch>> {
        self.batches.lock().clone()
    }

    /// The units it was asked about.
    pub(crate) fn handles(&self) -> Vec<TransactionHandle> {
        self.handles.lock().clone()
    }

    /// Returns true if no step is left.
    pub(crate) fn is_played(&self) -> bool {
        self.steps.lock().is_empty()
    }

    #[track_caller]
    fn step(&self, call: &str) -> Step {
        let step = self.steps.lock().pop_front();
        step.unwrap_or_else(|| {
            *self.unexpected.lock() = Some(call.to_owned());
            panic!("no step is left for {call}")
        })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let left = self.steps.lock();
        assert!(left.is_empty(), "not taken: {left:?}");
        let unexpected = self.unexpected.lock();
        assert!(unexpected.is_none(), "no step was left for {unexpected:?}");
    }
}

/// The step for a call, or the test's failure.
macro_rules! take {
    ($script:expr, $step:ident) => {{
        let step = $script.step(stringify!($step));
        let Step::$step(result) = step else {
            panic!("{} was called; next is {step:?}", stringify!($step))
        };
        result
    }};
}

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        self.statements.lock().push(statement);
        let started = take!(self, Execute);
        Box::pin(async { started.map(|answer| Box::new(Running::new(answer)) as _) })
    }

    fn execute_batch(
        &self,
        batch: Arc<Batch>,
        _: BatchStrategy,
    ) -> BoxFuture<'_, Result<BatchResult>> {
        self.batches.lock().push(batch);
        match take!(self, Batch) {
            Some(result) => Box::pin(async { result }),
            None => Box::pin(std::future::pending()),
        }
    }

    fn begin(&self, _: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        panic!("transactions are not scripted")
    }

    fn outcome(
        &self,
        handle: TransactionHandle,
        _: Deadline,
        _: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>> {
        self.handles.lock().push(handle);
        let state = take!(self, Outcome);
        Box::pin(async { state })
    }

    fn delete_expired_keys(&self, _: Deadline) -> BoxFuture<'_, Result<u64>> {
        let deleted = take!(self, DeleteExpiredKeys);
        Box::pin(async { deleted })
    }

    fn describe(&self, _: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        let description = take!(self, Describe);
        Box::pin(async { description })
    }

    fn breaker(&self) -> &Arc<ConnectBreaker> {
        &self.breaker
    }

    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.breaker.probe(limit, async { Ok(()) }))
    }

    fn warm_up(&self, _: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn pool(&self) -> PoolSnapshot {
        let acquired = self.acquired.load(Relaxed);
        PoolSnapshot { acquired, ..PoolSnapshot::default() }
    }

    fn control(&self) -> &dyn PoolAdmin {
        unreachable!("no operator is scripted")
    }

    fn close(&self) {}
}

/// A statement that has started.
struct Running {
    columns: Option<Vec<Column>>,
    answer: Answer,
}

impl Running {
    fn new(answer: Answer) -> Self {
        let column = || Column { name: "text".to_owned(), ..Column::default() };
        Self { columns: answer.texts.is_some().then(|| vec![column()]), answer }
    }
}

impl RowStream for Running {
    fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    fn poll_rows(&mut self, _: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        for text in self.answer.texts.take().into_iter().flatten() {
            sink.push(&Row { values: vec![Value::text(text)] }.encode_to_vec());
        }
        Poll::Ready(Ok(Fill::Done))
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async { self.answer.end })
    }

    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move { self.answer.abandoned })
    }
}
