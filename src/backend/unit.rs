//! Units of work: batches, interactive transactions, and what became of them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::future::BoxFuture;
use prost::Message;

use super::row_stream::RowStream;
use super::statement::Statement;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CallContext;
use crate::sql::Analysis;
use crate::value::proto::{ResultSet, Value};

/// How much of other transactions a transaction sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationLevel {
    /// READ COMMITTED.
    ReadCommitted,
    /// REPEATABLE READ.
    RepeatableRead,
    /// SERIALIZABLE.
    Serializable,
}

/// How a transaction is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionMode {
    /// How much of others it sees; `None`: the database's default.
    pub isolation: Option<IsolationLevel>,
    /// Whether the database must refuse writes.
    pub read_only: bool,
    /// Whether it waits for a snapshot that cannot fail.
    pub deferrable: bool,
}

/// A unit of work: statements that are applied together.
#[derive(Debug)]
pub struct Batch {
    /// The statements, at least one, already admitted by the engine.
    pub statements: Vec<BatchStatement>,
    /// The transaction.
    pub mode: TransactionMode,
    /// Under which key it runs once.
    pub key: Option<IdempotencyKey>,
    /// Whether it is rolled back at the end.
    pub dry_run: bool,
    /// Rows of all results together at most.
    pub max_rows: u64,
    /// Encoded bytes of all results together at most.
    pub max_bytes: u64,
    /// Encoded bytes of the whole response at most.
    pub max_response: u64,
    /// When it must have ended.
    pub deadline: Deadline,
    /// For whom its connection is lent.
    pub context: Arc<CallContext>,
    /// Set by a backend that found that its statements must be prepared one by one: the next attempt does.
    pub is_piecemeal: AtomicBool,
}

/// What a response has around its results, in bytes at most: tags, lengths, counters.
const ENVELOPE: usize = 64;

impl Batch {
    /// Whether the results fit into one response: rows have bounds of their own, but there is what stands
    /// around them, a thousand lists of columns, say.
    ///
    /// # Errors
    /// `ResultTooLarge`.
    pub fn check_response(&self, results: &[ResultSet]) -> Result<()> {
        let bytes: usize = results.iter().map(|result| 8 + result.encoded_len()).sum();
        match u64::try_from(ENVELOPE + bytes).is_ok_and(|bytes| bytes <= self.max_response) {
            true => Ok(()),
            false => Err(response_too_large(self.max_response)),
        }
    }
}

/// The error of a response that is over `grpc.max_response_size`.
pub fn response_too_large(limit: u64) -> Error {
    let message = format!("the response is larger than {limit} bytes");
    let hint = "Use StreamQuery, select less, or raise grpc.max_response_size.";
    Error::new(ErrorKind::ResultTooLarge, message).with_hint(hint)
}

/// One statement of a unit.
#[derive(Debug)]
pub struct BatchStatement {
    /// The text.
    pub sql: String,
    /// The values of `$1`, `$2` ….
    pub parameters: Vec<Value>,
    /// What is known of the text.
    pub analysis: Arc<Analysis>,
    /// How many rows it must change.
    pub expect: Option<Expect>,
}

/// How many rows a statement must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Exactly so many.
    Exactly(u64),
    /// So many or more.
    AtLeast(u64),
    /// So many or fewer.
    AtMost(u64),
}

impl Expect {
    /// Checks what the command counted.
    ///
    /// # Errors
    /// `ExpectationFailed`.
    pub fn check(self, rows_affected: u64) -> Result<()> {
        let (met, wanted) = match self {
            Self::Exactly(count) => (rows_affected == count, format!("exactly {count}")),
            Self::AtLeast(count) => (rows_affected >= count, format!("at least {count}")),
            Self::AtMost(count) => (rows_affected <= count, format!("at most {count}")),
        };
        let message = || format!("the statement changed {rows_affected} rows, not {wanted}");
        met.then_some(()).ok_or_else(|| Error::new(ErrorKind::ExpectationFailed, message()))
    }
}

/// Under which key a unit runs once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Who sends it; empty without authentication.
    pub caller: String,
    /// The key: 1 to 128 printable ASCII characters.
    pub key: String,
    /// The hash of the request: another request under the same key is refused.
    pub request_hash: [u8; 32],
}

/// What a unit returned.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// One result for each statement.
    pub results: Vec<ResultSet>,
    /// Whether they were stored by an earlier run under the same key.
    pub replayed: bool,
}

/// A transaction to open.
#[derive(Debug)]
pub struct BeginRequest {
    /// How it is run.
    pub mode: TransactionMode,
    /// The key it claims.
    pub key: Option<IdempotencyKey>,
    /// When the opening must have ended.
    pub deadline: Deadline,
    /// For whom its connection is lent.
    pub context: Arc<CallContext>,
}

/// What a savepoint is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavepointCommand {
    /// To be.
    Set,
    /// To undo what was done since.
    RollbackTo,
    /// To go, keeping what was done since.
    Release,
}

/// An open transaction. Dropped, it rolls back, off the caller's path.
pub trait Transaction: Send {
    /// Starts a statement. Its stream must be finished, abandoned or dropped before the next command;
    /// dropped, the transaction can only be rolled back. Errors have outcome `NotApplied`: nothing is
    /// applied before the commit.
    ///
    /// # Errors
    /// As [`Backend::execute`](crate::backend::Backend::execute).
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>>;

    /// Sets a savepoint, or goes back to it, or forgets it. Any name.
    ///
    /// # Errors
    /// As the database: an unknown savepoint is `InvalidStatement`.
    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>>;

    /// Whether commands can still be sent: its connection lives and the transaction is open, aborted or
    /// not.
    fn is_open(&self) -> bool;

    /// Commits. Never cancelled once it is sent; a commit that turns out to be a rollback is an error.
    ///
    /// # Errors
    /// `TransactionAborted`; the error of a deferred constraint; `OutcomeUnknown` as
    /// [`Backend::execute_batch`](crate::backend::Backend::execute_batch).
    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>>;

    /// Rolls back, and waits for it.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Which unit of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionHandle {
    /// The key it ran under.
    Key {
        /// Who sent it.
        caller: String,
        /// The key.
        key: String,
    },
    /// The token of an error.
    Token(String),
}

/// What became of a unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// It is committed.
    Applied,
    /// It is not committed; of a token: and never will be.
    NotApplied,
    /// It is not over.
    InProgress,
    /// It cannot be known.
    Unknown,
}
