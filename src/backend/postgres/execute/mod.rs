//! Execution of statements, batches and transactions on a session.

pub(crate) mod batch_pipelined;
pub(crate) mod batch_sequential;
pub(crate) mod row_stream;
pub(crate) mod transaction;
