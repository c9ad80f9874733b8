//! A fake database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message as _;

use crate::backend::batch_in_transaction::one_by_one;
use crate::backend::copy::{CopyIn, CopyWriter};
use crate::backend::{
    Backend, Batch, BatchResult, BatchStrategy, BeginRequest, Completion, ConnectBreaker,
    DescribeRequest, Description, Fill, RowSink, RowStream, SavepointCommand, Statement,
    Transaction, TransactionHandle, TransactionOutcome,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};
use crate::value::Value;
use crate::value::proto::{Column, ResultSet, Row};

/// A fake database that obeys the texts of statements: `rows COUNT SIZE`, `column SIZE SIZE` (one row;
/// first the size of its column's name), `sleep MS` (whatever its deadline), `hang` (until its
/// deadline), `fail`, `lost`; anything else changes a row.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Shared>);

#[derive(Default)]
struct Shared {
    log: Mutex<Vec<String>>,
    keys: Mutex<Vec<String>>,
    commit_time: Mutex<Duration>,
    breaker: Arc<ConnectBreaker>,
}

impl Fake {
    /// Makes a database with slow commits.
    pub(crate) fn with_slow_commits(commit_time: Duration) -> Self {
        let fake = Self::default();
        *fake.0.commit_time.lock() = commit_time;
        fake
    }

    /// The commands so far, after `begin`; `dropped` for a transaction that was dropped.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.log.lock().clone()
    }

    /// The claimed keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.keys.lock().clone()
    }
}

impl Backend for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn execute(&self, _: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
        unreachable!("only transactions are tested here")
    }

    fn execute_batch(&self, _: Arc<Batch>, _: BatchStrategy) -> BoxFuture<'_, Result<BatchResult>> {
        unreachable!("only transactions are tested here")
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
        self.0.keys.lock().extend(request.key.map(|key| key.key));
        let shared = Arc::clone(&self.0);
        let open = FakeTransaction { shared, open: AtomicBool::new(true), ended: false };
        Box::pin(async { Ok(Box::new(open) as _) })
    }

    fn outcome(
        &self,
        _: TransactionHandle,
        _: Deadline,
        _: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>> {
        unreachable!("only transactions are tested here")
    }

    fn delete_expired_keys(&self, _: Deadline) -> BoxFuture<'_, Result<u64>> {
        unreachable!("only transactions are tested here")
    }

    fn describe(&self, _: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
        unreachable!("only transactions are tested here")
    }

    fn breaker(&self) -> &Arc<ConnectBreaker> {
        &self.0.breaker
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
        unreachable!("only transactions are tested here")
    }

    fn close(&self) {}
}

struct FakeTransaction {
    shared: Arc<Shared>,
    open: AtomicBool,
    ended: bool,
}

impl FakeTransaction {
    fn note(&self, what: &str) {
        self.shared.log.lock().push(what.to_owned());
    }

    async fn start(&self, statement: &Statement) -> Result<Running> {
        self.note(&statement.sql);
        let words: Vec<&str> = statement.sql.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().expect("a number");
        match words[0] {
            "rows" => Ok(Running::new("text", number(1), number(2))),
            "column" => Ok(Running::new(&"x".repeat(number(1)), 1, number(2))),
            "fail" => Err(Error::new(ErrorKind::AlreadyExists, "it is there")),
            "sleep" => {
                let millis = u64::try_from(number(1)).expect("not for ever");
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(Running::changed())
            }
            "hang" => {
                tokio::time::sleep_until(statement.deadline.instant().into()).await;
                Err(Error::new(ErrorKind::DeadlineExceeded, "cancelled"))
            }
            "lost" => {
                self.open.store(false, SeqCst);
                Err(Error::new(ErrorKind::ConnectionLost, "lost"))
            }
            _ => Ok(Running::changed()),
        }
    }
}

impl Transaction for FakeTransaction {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        Box::pin(async move { self.start(&statement).await.map(|running| Box::new(running) as _) })
    }

    fn batch<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<ResultSet>>> {
        Box::pin(one_by_one(self, batch))
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        _: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        self.note(&format!("{command:?} {name}"));
        let unknown = || Error::new(ErrorKind::InvalidStatement, "no such savepoint");
        let done = if name == "unknown" { Err(unknown()) } else { Ok(()) };
        Box::pin(async { done })
    }

    fn copy_in<'a>(
        &'a mut self,
        _: Arc<CopyIn>,
    ) -> BoxFuture<'a, Result<Box<dyn CopyWriter + 'a>>> {
        unreachable!("nothing is copied in these tests")
    }

    fn store(&mut self, _: Vec<ResultSet>) {}

    fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    fn lost(&self) -> BoxFuture<'static, Error> {
        Box::pin(std::future::pending())
    }

    fn commit(mut self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        self.note("commit");
        self.ended = true;
        let commit_time = *self.shared.commit_time.lock();
        Box::pin(async move {
            let committing = tokio::time::sleep(commit_time);
            let committed = tokio::time::timeout_at(deadline.instant().into(), committing).await;
            self.note(if committed.is_ok() { "committed" } else { "unresolved" });
            committed.map_err(|_elapsed| {
                Error::new(ErrorKind::OutcomeUnknown, "no answer").with_outcome(Outcome::Unknown)
            })
        })
    }

    fn rollback(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        self.note("rollback");
        self.ended = true;
        Box::pin(async {})
    }
}

impl Drop for FakeTransaction {
    fn drop(&mut self) {
        if !self.ended {
            self.note("dropped");
        }
    }
}

struct Running {
    columns: Option<Vec<Column>>,
    left: usize,
    size: usize,
}

impl Running {
    fn new(column: &str, left: usize, size: usize) -> Self {
        let columns = vec![Column { name: column.to_owned(), ..Column::default() }];
        Self { columns: Some(columns), left, size }
    }

    fn changed() -> Self {
        Self { columns: None, left: 0, size: 0 }
    }
}

impl RowStream for Running {
    fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    fn poll_rows(&mut self, _: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        while self.left > 0 && !sink.is_full() {
            self.left -= 1;
            sink.push(&Row { values: vec![Value::text("x".repeat(self.size))] }.encode_to_vec());
        }
        Poll::Ready(Ok(if self.left == 0 { Fill::Done } else { Fill::Full }))
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        let (command, rows_affected) =
            if self.columns.is_some() { ("SELECT", 0) } else { ("UPDATE", 1) };
        Box::pin(async move { Ok(Completion { rows_affected, command: command.to_owned() }) })
    }

    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async { Outcome::NotApplied })
    }
}
