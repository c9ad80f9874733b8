//! PostgreSQL's values to and from `rowgate.v1`.
//!
//! Pure functions over bytes: this module knows types and their two wire formats, and no connection.
//! The columns of a result arrive all in one format: in binary if every column has a binary decoder,
//! else in text ([`RowDecoder::format`]). Parameters are sent in binary or in text, each by itself.

mod array;
mod column_types;
mod datetime;
mod numeric;
mod parameters;
mod quoted_text;
mod record_text;
mod row_decoder;
mod scalar_decoder;
mod value_decoder;

pub(crate) use column_types::{describe_column, describe_parameter};
pub(crate) use parameters::{MAX_MESSAGE, Parameter, encode};
pub(crate) use row_decoder::RowDecoder;
