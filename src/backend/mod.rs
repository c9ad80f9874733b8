//! The databases behind one trait.
//!
//! A backend runs statements on connections of its own pool and encodes rows straight into the
//! messages of `rowgate.v1`. It knows no RPC. Rows are passed in batches: a virtual call costs per
//! batch, not per row.

mod admin_connection;
mod arrow;
pub(crate) mod arrow_input;
pub(crate) mod attempt;
pub(crate) mod await_server;
pub(crate) mod batch_in_transaction;
pub(crate) mod cancel;
pub(crate) mod connect_breaker;
pub(crate) mod copy;
pub(crate) mod definitions;
mod idempotency;
pub(crate) mod inserts;
mod instrumented;
mod interface;
mod json_documents;
mod json_rows;
mod json_values;
mod maintenance_state;
pub(crate) mod mysql;
pub(crate) mod network;
pub(crate) mod notification_queue;
pub(crate) mod postgres;
mod preamble;
pub(crate) mod resolution;
pub(crate) mod result_quota;
pub(crate) mod result_reference;
mod row_stream;
pub(crate) mod sqlite;
mod statement;
#[cfg(test)]
mod tests;
mod transaction;

pub(crate) use admin_connection::{
    AdminConnection, AdminLogin, AdminRows, Interrupt, Interruption, StatementFailure,
};
pub(crate) use arrow::Decimal;
pub(crate) use connect_breaker::ConnectBreaker;
pub(crate) use idempotency::rolled_back;
pub(crate) use instrumented::Instrumented;
pub(crate) use interface::{Backend, EngineInfo, Installed, MissingAbility, ServerWait};
pub(crate) use json_rows::JsonForm;
pub(crate) use maintenance_state::{LastMaintenance, MaintenanceState};
pub(crate) use notification_queue::{ListenCounts, ListenEvent, Subscription};
pub(crate) use preamble::{Preamble, TransactionSetting};
pub(crate) use row_stream::{Completion, Fill, RowSink, RowStream, fill};
pub(crate) use statement::{
    Batch, BatchResult, BatchStatement, BatchStrategy, Delivery, DescribeRequest, Description,
    Expect, IdempotencyKey, IsolationLevel, Statement, TransactionMode, copy_unsupported,
    response_too_large,
};
#[cfg(test)]
pub(crate) use tests::scripted;
pub(crate) use transaction::{
    BeginRequest, SavepointCommand, Transaction, TransactionHandle, TransactionOutcome,
};
