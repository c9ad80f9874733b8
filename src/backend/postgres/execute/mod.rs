//! The execution of statements, batches and transactions on a session.

pub(crate) mod batch_pipelined;
pub(crate) mod batch_result;
mod batch_sequential;
mod command_tag;
pub(crate) mod copy_statement;
mod copy_writer;
mod incoming;
mod opening;
pub(crate) mod own_transaction;
pub(crate) mod row_stream;
pub(crate) mod transaction;
mod transaction_pipeline;
