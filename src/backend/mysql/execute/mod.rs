//! Runs statements, batches and transactions.

pub(crate) mod admitted_text;
pub(crate) mod batch_flights;
mod batch_together;
pub(crate) mod description;
pub(crate) mod interactive;
pub(crate) mod statement_rows;
pub(crate) mod statement_start;
pub(crate) mod unit;
