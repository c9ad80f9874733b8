//! Execution of statements, batches and transactions on a connection's thread.

pub(crate) mod batch;
pub(crate) mod describe;
mod origins;
pub(crate) mod row_stream;
pub(crate) mod statement_run;
pub(crate) mod transaction;
