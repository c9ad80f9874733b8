//! Interactive transactions, and the outcomes of transactions.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::copy::{CopyIn, CopyWriter};
use super::preamble::Preamble;
use super::row_stream::RowStream;
use super::statement::{Batch, IdempotencyKey, Statement, TransactionMode};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::pool::CallContext;
use crate::value::proto::ResultSet;

/// A transaction to open.
#[derive(Debug, Clone)]
pub(crate) struct BeginRequest {
    pub mode: TransactionMode,
    pub preamble: Preamble,
    pub key: Option<IdempotencyKey>,
    /// The time at which the transaction must be open.
    pub deadline: Deadline,
    pub context: Arc<CallContext>,
}

/// A command on a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SavepointCommand {
    /// Sets it.
    Set,
    /// Undoes the work since it was set.
    RollbackTo,
    /// Releases it, and keeps the work since it was set.
    Release,
}

/// An open transaction. Dropped, it rolls back, off the caller's path.
pub(crate) trait Transaction: Send {
    /// Starts a statement. Its stream must be finished, abandoned or dropped before the next command;
    /// after a drop the transaction can only be rolled back. Errors have outcome `NotApplied`: nothing is
    /// applied before the commit.
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>>;

    /// Runs the statements of a batch in order, until one fails. Its mode, its key and its preamble are not looked at: they
    /// are those of the transaction. After an error the transaction can only be rolled back, or back to a savepoint.
    fn batch<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<ResultSet>>>;

    /// Sets, rolls back to or releases a savepoint of any name; `InvalidStatement` if there is none.
    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>>;

    /// Starts to copy rows into a table. The writer must be finished or dropped before the next command; after a drop or
    /// an error the transaction can only be rolled back.
    fn copy_in<'a>(
        &'a mut self,
        copy: Arc<CopyIn>,
    ) -> BoxFuture<'a, Result<Box<dyn CopyWriter + 'a>>>;

    /// Has the database store a 0 as it is, also in a column that it numbers, until the transaction ends. Only MySQL would
    /// replace it.
    fn keep_zeros(&mut self, _: Deadline) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Has the commit store results under the transaction's key.
    fn store(&mut self, results: Vec<ResultSet>);

    /// Returns true if commands can still be sent: the connection lives and the transaction is open,
    /// aborted or not.
    fn is_open(&self) -> bool;

    /// Waits until the connection is lost while no command runs; the error has outcome `NotApplied`. A database in this
    /// process is never lost.
    fn lost(&self) -> BoxFuture<'static, Error>;

    /// Returns the outcome of a rollback, or of a lost connection: a table without transactions keeps what was written.
    fn rolled_back_outcome(&self) -> Outcome {
        Outcome::NotApplied
    }

    /// Returns what a rollback would leave behind a command that has failed.
    fn outcome_behind_failure(&mut self) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::NotApplied })
    }

    /// Commits. Never cancelled once it is sent; a commit that turns out to be a rollback is an error. It may fail
    /// with `TransactionAborted`, the error of a deferred constraint, or `OutcomeUnknown` as
    /// [`crate::backend::Backend::execute_batch`].
    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>>;

    /// Rolls back, and waits for it.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()>;

    /// Rolls back after a failure, and tells what that left: a table without transactions keeps what was written. It is
    /// waited for until the deadline, if it tells anything.
    fn undo(self: Box<Self>, _: Deadline) -> BoxFuture<'static, Outcome> {
        let rolled_back = self.rollback();
        Box::pin(async move {
            rolled_back.await;
            Outcome::NotApplied
        })
    }
}

/// The handle by which the outcome of a transaction is queried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransactionHandle {
    /// The key it ran under.
    Key { caller: String, key: String },
    /// The token of an error.
    Token(String),
}

/// The outcome of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionOutcome {
    /// It is committed.
    Applied,
    /// It is not committed; by a token: and never will be.
    NotApplied,
    InProgress,
    Unknown,
}
