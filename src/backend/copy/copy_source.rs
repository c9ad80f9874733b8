//! Rows on their way into a table.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::copy_table::CopyTable;
use super::text_form::CopyText;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::pool::CallContext;
use crate::sql::{Analysis, Dialect};
use crate::value::Row;

/// Rows to copy into a table, already validated by the engine.
#[derive(Debug, Clone)]
pub(crate) struct CopyIn {
    pub(crate) table: CopyTable,
    /// The form of the data; `None` for rows, as those of an Arrow stream are.
    pub(crate) text: Option<CopyText>,
    pub(crate) dialect: Dialect,
    /// The analysis of an insert into the table, which has the same effects.
    pub(crate) analysis: Arc<Analysis>,
    /// The largest row, in bytes.
    pub(crate) max_row_size: usize,
    pub(crate) deadline: Deadline,
    pub(crate) context: Arc<CallContext>,
}

/// Data on its way into a table.
#[derive(Debug)]
pub(crate) enum CopyData {
    /// The next bytes of a text.
    Bytes(Vec<u8>),
    Rows(Vec<Row>),
}

/// A running copy into a table, in an open transaction. Dropped, it fails, and the transaction can only be
/// rolled back.
pub(crate) trait CopyWriter: Send {
    /// Takes data, and waits while the database is behind. Returns false if the database takes no more: why, the end
    /// tells.
    fn write<'w>(&'w mut self, data: CopyData) -> BoxFuture<'w, Result<bool>>;

    /// Ends the data; returns the number of rows.
    fn finish<'w>(self: Box<Self>) -> BoxFuture<'w, Result<u64>>
    where
        Self: 'w;
}
