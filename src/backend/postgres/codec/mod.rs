//! PostgreSQL's values to and from `rowgate.v1`.
//!
//! Pure functions over bytes: this module knows types and their two wire forms, and no connection.
//! A result is read in binary where every column has a binary decoder, else in text, for all columns
//! of the statement at once ([`RowDecoder::format`]); a value is the same in either form. Parameters
//! travel in binary where that is cheaper and in text otherwise, one by one.

mod binary;
mod datetime;
mod decoder;
mod literal;
mod numeric;
mod parameters;
mod text;
mod types;

pub use decoder::{Format, RowDecoder};
pub use parameters::{Parameter, encode};
pub use types::{describe_column, describe_parameter};
