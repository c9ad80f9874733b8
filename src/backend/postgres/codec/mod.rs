//! PostgreSQL's values to and from `rowgate.v1`.
//!
//! Pure functions over bytes: this module knows types and their two wire formats, and no connection.
//! A column of a result arrives in binary if its type has a binary decoder, else in text ([`RowDecoder::formats`]).
//! Parameters are sent in binary or in text, each by itself.

mod array;
mod binary_fields;
mod cell_reader;
mod column_types;
mod datetime;
mod geometry;
mod numeric;
mod parameters;
mod quoted_text;
mod range;
mod record_text;
mod row_decoder;
mod scalar_decoder;
mod value_decoder;

pub(crate) use column_types::{decimal, describe_column, describe_parameter};
pub(crate) use parameters::{MAX_MESSAGE, Parameter, encode};
pub(crate) use row_decoder::RowDecoder;
pub(crate) use value_decoder::Intervals;
#[cfg(feature = "fuzzing")]
pub(crate) use value_decoder::ValueDecoder;
