//! An interactive transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::command::command;
use super::connection::{Loan, Work, submit};
use super::hold::{Hold, Task};
use super::pipe::{First, Outlet, lost, pipe};
use super::run::{Ran, Request};
use super::stream::{Call, Running};
use crate::backend::{RowStream, SavepointCommand, Statement, Transaction};
use crate::deadline::Deadline;
use crate::error::{ErrorKind, Result};
use crate::pool::Borrower;

/// Commands that may wait for the thread: one that was given up, and the next.
const QUEUE: usize = 2;

/// How long a rollback is waited for; it goes on by itself.
const ROLLBACK_TIME: Duration = Duration::from_secs(5);

/// A transaction that holds its connection.
pub(super) struct Open {
    tasks: SyncSender<Task>,
    open: Arc<AtomicBool>,
    read_only: bool,
    pub(super) borrower: Arc<Borrower>,
}

impl Open {
    /// Opens a transaction on a connection.
    pub(super) async fn begin(loan: Loan, read_only: bool, deadline: Deadline) -> Result<Self> {
        let borrower = Arc::clone(loan.borrower());
        let (tasks, queue) = sync_channel(QUEUE);
        let open = Arc::new(AtomicBool::new(false));
        let (opened, inlet) = pipe(deadline.instant());
        submit(loan, Work::Hold(Hold { tasks: queue, open: Arc::clone(&open), opened }))?;
        Call::new(inlet, deadline, false).end().await?;
        Ok(Self { tasks, open, read_only, borrower })
    }

    fn submit(&self, task: Task) -> Result<()> {
        self.tasks.try_send(task).map_err(|refused| match refused {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => lost(),
        })
    }

    async fn control(
        &self,
        task: impl FnOnce(Outlet<()>) -> Task,
        deadline: Deadline,
        decides: bool,
    ) -> Result<()> {
        let (outlet, inlet) = pipe(deadline.instant());
        self.submit(task(outlet))?;
        Call::new(inlet, deadline, decides).end().await
    }

    async fn start(&self, statement: Arc<Statement>) -> Result<Running> {
        let deadline = statement.deadline;
        let request = Request {
            command: command(&statement.sql),
            sql: statement.sql.clone(),
            parameters: statement.parameters.clone(),
            read_only: self.read_only,
        };
        let (outlet, inlet) = pipe(deadline.instant());
        self.submit(Task::Run(request, outlet))?;
        // Nothing is applied before the commit, so what is overdue has written nothing.
        let mut call = Call::new(inlet, deadline, false);
        Ok(match call.first().await? {
            First::Columns(columns) => Running::Rows { columns, call },
            First::End(end) => match end? {
                Ran::Done(completion) => Running::Over { completion, writes: false },
                Ran::Writes(_) => return Err(lost()),
            },
        })
    }
}

impl Transaction for Open {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        Box::pin(async move {
            let running = self.start(statement).await?;
            Ok(Box::new(running) as Box<dyn RowStream>)
        })
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        let verb = match command {
            SavepointCommand::Set => "SAVEPOINT",
            SavepointCommand::RollbackTo => "ROLLBACK TO",
            SavepointCommand::Release => "RELEASE",
        };
        let sql = format!("{verb} \"{}\"", name.replace('"', "\"\""));
        Box::pin(async move {
            let done = self.control(|outlet| Task::Savepoint(sql, outlet), deadline, false).await;
            // The one thing that can be wrong with it; the condition has PostgreSQL's name.
            done.map_err(|error| {
                let unknown = error.kind() == ErrorKind::InvalidStatement;
                if unknown { error.with_condition("S_E_INVALID_SPECIFICATION") } else { error }
            })
        })
    }

    fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let reads = self.read_only;
        Box::pin(async move {
            self.control(|outlet| Task::End("COMMIT", outlet), deadline, !reads).await
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let deadline = Deadline::at(Instant::now() + ROLLBACK_TIME);
            let rolled_back = self.control(|outlet| Task::End("ROLLBACK", outlet), deadline, false);
            // What fails is cleaned with the connection.
            drop(rolled_back.await);
        })
    }
}
