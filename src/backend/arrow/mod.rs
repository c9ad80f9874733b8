//! Rows as an Arrow IPC stream.
//!
//! The schema is known before the first row. A value that its column cannot hold is an error, never another value.

mod array_builder;
mod decimal_text;
mod ipc_rows;
mod schema;
mod time_text;

pub(crate) use ipc_rows::{ArrowRows, MAX_BATCH_ROWS};
pub(crate) use schema::Decimal;
