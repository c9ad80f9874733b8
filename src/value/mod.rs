//! The value model: the messages of `rowgate.v1`, generated from proto/, and small constructors.
//!
//! The wire's model is the domain's model: backends encode straight into these types, so there is no
//! second model to convert to. This module knows no backend and no RPC.

mod encoded_rows;
mod row_messages;

use prost_types::Timestamp;

#[expect(
    clippy::pedantic,
    clippy::large_enum_variant,
    reason = "generated; the proto files hold the comments"
)]
pub mod proto {
    //! The code generated from `proto/rowgate/v1`.
    include!(concat!(env!("OUT_DIR"), "/rowgate.v1.rs"));

    // The only messages that are written by hand.
    pub use super::row_messages::{JsonBatch, ResultSet, RowBatch};
}

pub(crate) mod cell;
pub(crate) mod text;

pub(crate) use encoded_rows::{EncodedRows, RowEncoder, RowsField, size_in_field};
pub use proto::value::Kind;
pub use proto::{ArrayValue, Column, DataType, RecordValue, ResultReference, Row, Value};

/// The encoded `FileDescriptorSet` of `rowgate.v1` and its imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rowgate.bin"));

impl Value {
    /// SQL NULL.
    pub fn null() -> Self {
        Kind::NullValue(0).into()
    }

    /// Text, or any type in its canonical text.
    pub fn text(text: impl Into<String>) -> Self {
        Kind::TextValue(text.into()).into()
    }

    /// An integer of up to 64 bits.
    pub fn int64(value: i64) -> Self {
        Kind::Int64Value(value).into()
    }

    /// A floating-point number.
    pub fn float64(value: f64) -> Self {
        Kind::Float64Value(value).into()
    }

    /// A boolean.
    pub fn bool(value: bool) -> Self {
        Kind::BoolValue(value).into()
    }

    /// Bytes.
    pub fn bytes(value: impl Into<Vec<u8>>) -> Self {
        Kind::BytesValue(value.into()).into()
    }

    /// A point in time; the caller has checked `google.protobuf.Timestamp`'s range.
    pub fn timestamp(seconds: i64, nanos: i32) -> Self {
        Kind::TimestampValue(Timestamp { seconds, nanos }).into()
    }

    /// Text if the bytes are valid UTF-8, else the bytes themselves: nothing is lost because a database's
    /// encoding is not UTF-8.
    pub fn text_or_bytes(raw: &[u8]) -> Self {
        match std::str::from_utf8(raw) {
            Ok(text) => Self::text(text),
            Err(_invalid) => Self::bytes(raw),
        }
    }
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl Kind {
    /// The field's name in the proto, for error messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NullValue(_) => "null_value",
            Self::BoolValue(_) => "bool_value",
            Self::Int64Value(_) => "int64_value",
            Self::Float64Value(_) => "float64_value",
            Self::TextValue(_) => "text_value",
            Self::BytesValue(_) => "bytes_value",
            Self::TimestampValue(_) => "timestamp_value",
            Self::ArrayValue(_) => "array_value",
            Self::RecordValue(_) => "record_value",
            Self::ResultReference(_) => "result_reference",
        }
    }
}
