//! PostgreSQL's values to and from `rowgate.v1`.
//!
//! Pure functions over bytes: this module knows types and their two wire forms, and no connection.
//! A result is read in binary where every column has a binary decoder, else in text, for all columns
//! of the statement at once ([`RowDecoder::format`]); a value is the same in either form. Parameters
//! travel in binary where that is cheaper and in text otherwise, one by one.

mod array_and_record_text;
mod binary_format;
mod column_types;
mod datetime;
mod numeric;
mod parameters;
mod row_decoder;
mod text_format;

pub use column_types::{describe_column, describe_parameter};
pub use parameters::{Parameter, encode};
pub use row_decoder::{Format, RowDecoder};
