//! The trait that every database implements.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::connect_breaker::ConnectBreaker;
use super::copy::CopyText;
use super::maintenance_state::MaintenanceState;
use super::notification_queue::{ListenCounts, Subscription, cannot_listen};
use super::row_stream::RowStream;
use super::statement::{
    Batch, BatchResult, BatchStrategy, DescribeRequest, Description, IdempotencyKey, Statement,
};
use super::transaction::{BeginRequest, Transaction, TransactionHandle, TransactionOutcome};
use crate::config::ClaimsSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{CallContext, PoolAdmin, PoolSnapshot};

/// A database and its pool.
pub(crate) trait Backend: Send + Sync {
    /// `postgres` or `sqlite`.
    fn name(&self) -> &'static str;

    /// Starts a statement. The stream it returns owns the connection, an error holds the outcome.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await: the statement is then cancelled in the database and
    /// its connection reset or closed.
    fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>>;

    /// Runs a unit once: all of its statements are applied, or none is.
    ///
    /// If the connection is lost in the commit, the outcome is resolved before this returns; `OutcomeUnknown`
    /// with a token is left only if the database cannot tell the outcome in time. An error names the statement
    /// that failed.
    ///
    /// # Cancel safety
    /// As [`Backend::execute`], but a commit that was sent is finished.
    fn execute_batch(
        &self,
        batch: Arc<Batch>,
        strategy: BatchStrategy,
    ) -> BoxFuture<'_, Result<BatchResult>>;

    /// Opens a transaction, which owns its connection. Dropped, it rolls back. Where a key is claimed, it may fail
    /// with `KeyApplied` or `KeyInProgress`.
    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>>;

    /// Returns the results that the unit under a key has stored, which [`Backend::begin`] has found to be applied; `None` if
    /// they are gone.
    fn stored_results(
        &self,
        _key: IdempotencyKey,
        _deadline: Deadline,
        _context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<Option<BatchResult>>> {
        Box::pin(async { Ok(None) })
    }

    /// Returns the statement by which the database itself writes the rows of a query as text, to be run with
    /// [`super::Delivery::Copied`]; `None` where there is none.
    fn copy_statement(&self, _query: &str, _text: &CopyText) -> Option<String> {
        None
    }

    /// Returns the outcome of a unit of work; `InvalidParameter` for a token that is not of this database.
    fn outcome(
        &self,
        handle: TransactionHandle,
        deadline: Deadline,
        context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<TransactionOutcome>>;

    /// Deletes idempotency keys that are past their retention, at most some thousands; returns how many. A missing
    /// table is no failure.
    fn delete_expired_keys(&self, deadline: Deadline) -> BoxFuture<'_, Result<u64>>;

    /// The SQL that creates the table of idempotency keys, for a migration tool; `None` if the backend creates
    /// the table when it is first needed.
    fn key_table_sql(&self) -> Option<String> {
        None
    }

    /// Creates the table of idempotency keys unless it exists; one of that name that cannot hold keys is a failure.
    /// Does nothing if [`Backend::key_table_sql`] is `None`.
    fn install_keys(&self, _deadline: Deadline) -> BoxFuture<'_, Result<Installed>> {
        Box::pin(async { Ok(Installed::NotNeeded) })
    }

    /// Creates the functions of claims in the database, or brings them up to date, and makes the keys of the settings those that it
    /// accepts; returns their number.
    fn install_claims(
        &self,
        _settings: ClaimsSettings,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async {
            Err(Error::new(ErrorKind::Unsupported, "SQLite has no row-level security"))
        })
    }

    /// Does what keeps the database in order and can be done beside calls, for a bounded time; nothing where the database does
    /// that itself.
    fn maintain(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The runs of [`Backend::maintain`]; `None` where it does nothing.
    fn maintenance(&self) -> Option<MaintenanceState> {
        None
    }

    /// Describes the parameters and columns of a statement without running it.
    fn describe(&self, request: DescribeRequest) -> BoxFuture<'_, Result<Description>>;

    /// Adds a listener of channels, which are distinct and of 1 to 63 bytes. Fails at once where nobody can listen, and by
    /// the subscription when the database cannot be reached.
    fn listen(&self, _channels: Vec<Arc<str>>) -> Result<Subscription> {
        Err(cannot_listen(self.name()))
    }

    /// The counts of the listeners.
    fn listeners(&self) -> ListenCounts {
        ListenCounts::default()
    }

    /// The breaker through which connections are opened.
    fn breaker(&self) -> &Arc<ConnectBreaker>;

    /// Waits while the breaker is open, in line with other callers: a failover is in progress. Fails when the
    /// deadline passes, when too many wait, and at once when the database was never reached.
    ///
    /// # Cancel safety
    /// May be dropped at any await, which leaves the line.
    fn await_server(
        &self,
        _deadline: Deadline,
        _context: Arc<CallContext>,
    ) -> BoxFuture<'_, Result<ServerWait>> {
        Box::pin(async { Ok(ServerWait::NotNeeded) })
    }

    /// Checks, on a connection outside the pool, that the database answers within `limit`. While the breaker is
    /// open, a connection is attempted whenever a probe is due.
    fn probe(&self, limit: Duration) -> BoxFuture<'_, Result<()>>;

    /// Opens connections on the calling worker until it has `connections` of them, or an attempt fails.
    fn warm_up(&self, connections: usize) -> BoxFuture<'_, Result<()>>;

    /// The engine behind the database, as far as it is known.
    fn engine(&self) -> EngineInfo {
        EngineInfo::default()
    }

    /// The state and counters of the pool.
    fn pool(&self) -> PoolSnapshot;

    /// The operators' view of the pool.
    fn control(&self) -> &dyn PoolAdmin;

    /// Closes the pool: later calls fail with [`crate::error::ErrorKind::ShuttingDown`], idle
    /// connections close now and the others when they are returned.
    fn close(&self);

    /// Returns once no connection is open that holds resources of this process, after [`Backend::close`].
    /// Connections by socket hold none.
    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The engine behind a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineInfo {
    /// Its name and version, as in `PostgreSQL 15.8`; empty until it was reached.
    pub(crate) label: String,
    /// The whole text of its version.
    pub(crate) version: String,
    pub(crate) missing: Vec<MissingAbility>,
}

/// Something that Rowgate asks of its databases, and an engine cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MissingAbility {
    pub(crate) name: &'static str,
    /// The effect on calls, in plain words.
    pub(crate) effect: &'static str,
}

/// The result of [`Backend::await_server`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerWait {
    /// The breaker is closed, as far as it is known.
    NotNeeded,
    /// A server was reached again.
    Over,
}

/// The result of [`Backend::install_keys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The table was created.
    Created,
    /// The table existed.
    Existed,
    /// The backend creates the table when it is first needed.
    NotNeeded,
}
