//! The databases behind one trait.
//!
//! A backend runs statements on connections of its own pool and encodes rows straight into the
//! messages of `rowgate.v1`. It knows no RPC. Rows cross the seam in batches: a virtual call costs per
//! batch, not per row.

pub mod connect_breaker;
mod idempotency;
mod instrumented;
pub mod postgres;
mod row_stream;
#[cfg(test)]
pub(crate) mod scripted;
pub mod sqlite;
mod unit;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use connect_breaker::ConnectBreaker;
pub use instrumented::Instrumented;
pub use row_stream::{Completion, Fill, RowSink, RowStream, fill};
pub use unit::{
    Batch, BatchResult, BatchStatement, BeginRequest, Expect, IdempotencyKey, IsolationLevel,
    SavepointCommand, Transaction, TransactionHandle, TransactionMode, TransactionOutcome,
    response_too_large,
};

use crate::deadline::Deadline;
use crate::error::Result;
use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};
use crate::sql::Analysis;
use crate::value::proto::{Column, ParameterType, Value};

/// A database and its pool.
pub trait Backend: Send + Sync {
    /// `postgres` or `sqlite`.
    fn name(&self) -> &'static str;

    /// Starts a statement. The stream it returns owns the connection.
    ///
    /// # Errors
    /// Whatever keeps the statement from running: no connection, bad parameters, the database's own
    /// refusal. The outcome is in the error.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await: the statement is then cancelled in the database and
    /// its connection cleaned or closed.
    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>>;

    /// Runs a unit once: all of its statements are applied, or none is.
    ///
    /// A connection that is lost in the commit is resolved as far as it can be before this returns:
    /// `OutcomeUnknown` with a token is left only where the database cannot say, or not in time.
    ///
    /// # Errors
    /// As [`Backend::execute`], naming the statement that failed; `ExpectationFailed`, `KeyReused`,
    /// `KeyInProgress`, `ResultTooLarge` with what became of the unit.
    ///
    /// # Cancel safety
    /// As [`Backend::execute`], but a commit that was sent is finished.
    fn execute_batch(&self, batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>>;

    /// Opens a transaction, which owns its connection. Dropped, it rolls back.
    ///
    /// # Errors
    /// As [`Backend::execute`]; `KeyApplied`, `KeyInProgress` where a key is claimed.
    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>>;

    /// Says what became of a unit of work.
    ///
    /// # Errors
    /// `InvalidParameter` for a token that is none of this database; why it could not be asked.
    fn outcome(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>>;

    /// Deletes idempotency keys that are past their retention, at most some thousands; returns how many.
    ///
    /// # Errors
    /// Why it could not; a missing table is none.
    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>>;

    /// The SQL that makes the table of idempotency keys, for a migration tool; `None` where the table is
    /// made when it is first needed.
    fn key_table_sql(&self) -> Option<String> {
        None
    }

    /// Makes the table of idempotency keys, unless it is there. Does nothing where
    /// [`Backend::key_table_sql`] is `None`.
    ///
    /// # Errors
    /// Why it could not; also when a table of that name is there that cannot hold keys.
    fn install_keys(&self, _deadline: Deadline) -> BoxFuture<'_, Result<Installed>> {
        Box::pin(async { Ok(Installed::NotNeeded) })
    }

    /// Says what a statement takes and returns, without running it.
    ///
    /// # Errors
    /// As [`Backend::execute`].
    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>>;

    /// What connections are opened through: whether the database is there, as far as it is known.
    fn breaker(&self) -> &Arc<ConnectBreaker>;

    /// Checks, on a connection outside the pool, that the database answers within `limit`. While it is
    /// given up, a connection is tried whenever the breaker says that it is time.
    ///
    /// # Errors
    /// Why it does not.
    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>>;

    /// Opens connections on the calling worker until it has `connections` of them.
    ///
    /// # Errors
    /// Why the first that failed could not be opened.
    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>>;

    /// The state and counters of the pool.
    fn pool(&self) -> PoolSnapshot;

    /// What operators see of the pool, and do to it.
    fn control(&self) -> &dyn PoolAdmin;

    /// Closes the pool: later calls fail with [`crate::error::ErrorKind::ShuttingDown`], idle
    /// connections close now and the others when they come back.
    fn close(&self);

    /// Returns once no connection is open any more that would leave something behind, after
    /// [`Backend::close`]. A server that vanishes from the other end of a socket leaves nothing.
    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What was done for the table of idempotency keys to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It was made.
    Created,
    /// It was there.
    Existed,
    /// The database makes it when it is first needed.
    NotNeeded,
}

/// A statement to run, already admitted by the engine.
#[derive(Debug)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// The values of `$1`, `$2` ….
    pub parameters: Vec<Value>,
    /// What is known of the text.
    pub analysis: Arc<Analysis>,
    /// Whether the database must refuse writes.
    pub read_only: bool,
    /// When it must have ended.
    pub deadline: Deadline,
    /// For whom its connection is lent.
    pub context: Arc<CallContext>,
}

/// A statement to describe.
#[derive(Debug)]
pub struct DescribeRequest {
    /// The text.
    pub sql: String,
    /// What is known of the text.
    pub analysis: Arc<Analysis>,
    /// Whether the plan is wanted.
    pub include_plan: bool,
    /// When it must have ended.
    pub deadline: Deadline,
    /// For whom its connection is lent.
    pub context: Arc<CallContext>,
}

/// What a statement takes and returns.
#[derive(Debug, Default)]
pub struct Description {
    /// Its columns; `None` when it returns no rows at all.
    pub columns: Option<Vec<Column>>,
    /// The types of its parameters.
    pub parameters: Vec<ParameterType>,
    /// Whether it is known to only read.
    pub read_only: bool,
    /// The plan, when asked for and there is one.
    pub plan: Option<String>,
}
