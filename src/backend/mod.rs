//! The databases behind one trait.
//!
//! A backend runs statements on connections of its own pool and encodes rows straight into the
//! messages of `rowgate.v1`. It knows no RPC. Rows are passed in batches: a virtual call costs per
//! batch, not per row.

mod batch;
pub mod connect_breaker;
mod idempotency;
mod instrumented;
mod interface;
pub mod postgres;
mod row_stream;
pub mod sqlite;
mod statement;
#[cfg(test)]
mod tests;
mod transaction;

pub use batch::{Batch, BatchResult, BatchStatement, BatchStrategy, Expect, response_too_large};
pub use connect_breaker::ConnectBreaker;
pub use instrumented::Instrumented;
pub use interface::{Backend, Installed};
pub use row_stream::{Completion, Fill, RowSink, RowStream, fill};
pub use statement::{DescribeRequest, Description, Statement};
#[cfg(test)]
pub(crate) use tests::scripted;
pub use transaction::{
    BeginRequest, IdempotencyKey, IsolationLevel, SavepointCommand, Transaction, TransactionHandle,
    TransactionMode, TransactionOutcome,
};
