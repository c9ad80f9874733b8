//! Rows in bulk, into a table and out of it: what is common to all databases.
//!
//! PostgreSQL reads and writes the data itself. For the others rows are written here as PostgreSQL does it (PostgreSQL,
//! COPY, "File Formats"), and `backend/inserts` reads and inserts them. Knows no RPC.

mod copy_source;
mod copy_table;
mod data_place;
mod end_marker;
mod round_trip;
mod sqlite_affinity;
mod text_form;
mod text_rows;

pub(crate) use copy_source::{CopyData, CopyIn, CopyWriter};
pub(crate) use copy_table::{CopyTable, is_same_column};
pub(crate) use data_place::{BAD_FORMAT, at_line, bad_data, row_too_large};
pub(crate) use end_marker::{EndSearch, behind_end};
pub(crate) use sqlite_affinity::{Affinity, is_number, untyped_value};
pub(crate) use text_form::{BYTE_ORDER_MARK, CopyText, TextFormat, TextSource};
pub(crate) use text_rows::{TextRows, unset_kind, write_text_row};
