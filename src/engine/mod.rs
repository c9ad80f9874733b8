//! The calls on databases, for any transport and any driver: validate, bound, run, retry, end.
//!
//! A unary call runs in its caller's future. A stream runs in a task of its own, which outlives a
//! disconnected reader only until the statement is stopped.

mod arrow_transfer;
mod attempt_loop;
mod call_settings;
mod caller_data;
mod copy_header;
mod copy_in;
mod copy_options;
mod copy_out;
mod database;
mod databases;
mod describe_statement;
mod execute_batch;
mod fair_yield;
mod get_transaction_outcome;
mod listen;
mod query;
mod request_hash;
mod result_bounds;
mod row_batches;
mod stream_query;
mod task_stream;
#[cfg(test)]
mod tests;
mod transact;
mod validate;

pub(crate) use caller_data::CopyParts;
pub(crate) use database::{Caller, Database};
pub(crate) use databases::Engine;
pub(crate) use transact::replies::{CallerEvent, CallerEvents, ReplyBody};
pub(crate) use validate::{KEY_RULE, is_key};
