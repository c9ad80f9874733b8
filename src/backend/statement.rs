//! Units of work: statements to run and to describe, batches, which are applied together, and their terms.

use std::sync::Arc;

use super::json_rows::check_names;
use super::preamble::Preamble;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CallContext;
use crate::sql::Analysis;
use crate::value::proto::{Column, ParameterType, ResultSet, Value};
use crate::wire_size::response_size;

/// A statement to run, already validated by the engine.
#[derive(Debug)]
pub(crate) struct Statement {
    pub sql: String,
    /// The values of `$1`, `$2` ….
    pub parameters: Vec<Value>,
    pub analysis: Arc<Analysis>,
    /// The database must refuse writes.
    pub read_only: bool,
    pub delivery: Delivery,
    /// The columns of the result are to have their nullability and origin.
    pub describe_columns: bool,
    /// The columns must have different names: each row of the answer is an object.
    pub needs_names: bool,
    /// The beginning of its transaction; with one it has a transaction of its own.
    pub preamble: Preamble,
    pub deadline: Deadline,
    pub context: Arc<CallContext>,
}

impl Statement {
    /// Refuses columns that the form of the answer cannot have, as far as they are known before the statement runs.
    pub(crate) fn check_columns(&self, columns: Option<&[Column]>) -> Result<()> {
        if self.needs_names { check_names(columns.unwrap_or_default()) } else { Ok(()) }
    }
}

/// The way in which the caller takes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// All of it at once.
    Whole,
    /// As it reads it, which may take long.
    Streamed,
    /// The same, of a statement of [`super::Backend::copy_statement`]: its data instead of rows.
    Copied,
}

/// A statement to describe.
#[derive(Debug)]
pub(crate) struct DescribeRequest {
    pub sql: String,
    pub analysis: Arc<Analysis>,
    pub include_plan: bool,
    pub deadline: Deadline,
    pub context: Arc<CallContext>,
}

/// The description of a statement.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// `None` when it returns no rows at all.
    pub columns: Option<Vec<Column>>,
    pub parameters: Vec<ParameterType>,
    /// It is known to only read.
    pub read_only: bool,
    /// The plan, if it was requested and there is one.
    pub plan: Option<String>,
}

/// The isolation level of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsolationLevel {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// The mode of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TransactionMode {
    /// `None` for the database's default.
    pub isolation: Option<IsolationLevel>,
    /// The database must reject writes.
    pub read_only: bool,
    /// The transaction waits for a snapshot that cannot fail.
    pub deferrable: bool,
}

/// The key under which a transaction runs once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey {
    /// The authenticated caller; empty without authentication.
    pub caller: String,
    /// 1 to 128 printable ASCII characters.
    pub key: String,
    /// The hash of the request: another request under the same key is rejected.
    pub request_hash: [u8; 32],
}

/// Statements that are applied together or not at all.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The statements, at least one, already admitted by the engine.
    pub statements: Vec<BatchStatement>,
    pub mode: TransactionMode,
    pub preamble: Preamble,
    pub key: Option<IdempotencyKey>,
    /// The batch is rolled back at the end.
    pub dry_run: bool,
    /// The limit of the rows of all results together.
    pub max_rows: u64,
    /// The limit of the encoded bytes of all rows together.
    pub max_bytes: u64,
    /// The limit of the encoded bytes of the whole response.
    pub max_response: u64,
    pub deadline: Deadline,
    pub context: Arc<CallContext>,
}

impl Batch {
    /// Checks that the results fit into one response. Rows have limits of their own, but a thousand lists
    /// of columns, say, have not.
    pub(crate) fn check_response(&self, results: &[ResultSet]) -> Result<()> {
        if response_size(results) <= self.max_response {
            return Ok(());
        }
        Err(response_too_large(self.max_response))
    }
}

/// The error of a response that is over `grpc.max_response_size`.
pub(crate) fn response_too_large(limit: u64) -> Error {
    let message = format!("the response is larger than {limit} bytes");
    let hint = "Use StreamQuery, select less, or raise grpc.max_response_size.";
    Error::new(ErrorKind::ResultTooLarge, message).with_hint(hint)
}

/// The error of a COPY to or from the client.
pub(crate) fn copy_unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "COPY to or from the client is not supported")
        .with_hint("Use CopyIn to write and CopyOut to read.")
}

/// The way in which the statements of a batch are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchStrategy {
    /// All at once, where the backend can.
    Pipelined,
    /// One by one, each prepared after the one before it has run: an attempt at once failed with
    /// `PlanChanged`.
    Sequential,
}

/// One statement of a batch.
#[derive(Debug)]
pub(crate) struct BatchStatement {
    pub sql: String,
    /// The values of `$1`, `$2` ….
    pub parameters: Vec<Value>,
    pub analysis: Arc<Analysis>,
    /// The number of rows that the statement must change.
    pub expect: Option<Expect>,
}

/// The number of rows that a statement must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Exactly(u64),
    AtLeast(u64),
    AtMost(u64),
}

impl Expect {
    /// Checks the number of rows that the statement changed.
    pub(crate) fn check(self, rows_affected: u64) -> Result<()> {
        let (is_met, expected) = match self {
            Self::Exactly(count) => (rows_affected == count, format!("exactly {count}")),
            Self::AtLeast(count) => (rows_affected >= count, format!("at least {count}")),
            Self::AtMost(count) => (rows_affected <= count, format!("at most {count}")),
        };
        if is_met {
            return Ok(());
        }
        let message = format!("the statement changed {rows_affected} rows, not {expected}");
        Err(Error::new(ErrorKind::ExpectationFailed, message))
    }
}

/// The results of a batch.
#[derive(Debug, Default)]
pub(crate) struct BatchResult {
    /// One result for each statement.
    pub results: Vec<ResultSet>,
    /// They were stored by an earlier run under the same key.
    pub replayed: bool,
}
