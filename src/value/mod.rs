//! The value model: the messages of `rowgate.v1`, generated from proto/, and small constructors.
//!
//! The wire's model is the domain's model: backends encode straight into these types, so there is no
//! second model to convert to. This module knows no backend and no RPC.

mod encoded_rows;

use bytes::Bytes;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, message, skip_field};
use prost::{DecodeError, Message};
use prost_types::Timestamp;

#[expect(clippy::pedantic, reason = "generated; the proto files hold the comments")]
pub mod proto {
    //! The code generated from `proto/rowgate/v1`.
    include!(concat!(env!("OUT_DIR"), "/rowgate.v1.rs"));

    // The only message that is written by hand.
    pub use super::RowBatch;
}

pub(crate) mod text;

pub(crate) use encoded_rows::RowEncoder;
pub use proto::value::Kind;
pub use proto::{ArrayValue, Column, DataType, RecordValue, Row, Value};

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
        }
    }
}

/// Some rows of a streamed result: the message `rowgate.v1.RowBatch`, whose rows may be encoded already.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowBatch {
    /// The rows, but for those that are encoded.
    pub rows: Vec<Row>,
    /// Rows as they are sent.
    encoded: Bytes,
}

impl RowBatch {
    /// A batch of these rows.
    pub fn new(rows: Vec<Row>) -> Self {
        Self { rows, encoded: Bytes::new() }
    }

    /// A batch of the rows that a [`RowEncoder`] has made.
    pub(crate) fn encoded(encoded: Bytes) -> Self {
        Self { rows: Vec::new(), encoded }
    }
}

impl Message for RowBatch {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.encoded);
        message::encode_repeated(1, &self.rows, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != 1 {
            return skip_field(wire_type, tag, buffer, context);
        }
        message::merge_repeated(wire_type, &mut self.rows, buffer, context).map_err(|mut error| {
            error.push("RowBatch", "rows");
            error
        })
    }

    fn encoded_len(&self) -> usize {
        self.encoded.len() + message::encoded_len_repeated(1, &self.rows)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Encodes the values by their own methods.
    fn encoded(rows: &[Row]) -> RowBatch {
        let mut encoder = RowEncoder::default();
        for row in rows {
            encoder.begin_row();
            for value in &row.values {
                match value.kind.as_ref().expect("it has a kind") {
                    Kind::NullValue(_) => encoder.null(),
                    Kind::BoolValue(value) => encoder.bool(*value),
                    Kind::Int64Value(value) => encoder.int64(*value),
                    Kind::Float64Value(value) => encoder.float64(*value),
                    Kind::TextValue(value) => encoder.text(value),
                    Kind::BytesValue(value) => encoder.bytes(value),
                    Kind::TimestampValue(at) => encoder.timestamp(at.seconds, at.nanos),
                    Kind::ArrayValue(_) | Kind::RecordValue(_) => encoder.value(value),
                }
            }
            encoder.end_row();
        }
        RowBatch::encoded(encoder.take())
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::null()),
            any::<bool>().prop_map(Value::bool),
            any::<i64>().prop_map(Value::int64),
            (0_u32..64).prop_map(|bits| Value::int64(1_i64.rotate_left(bits))),
            any::<f64>().prop_filter("equal to itself", |n| !n.is_nan()).prop_map(Value::float64),
            ".{0,200}".prop_map(Value::text),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::bytes),
            (-62_135_596_800..253_402_300_800_i64, 0..1_000_000_000_i32)
                .prop_map(|(seconds, nanos)| Value::timestamp(seconds, nanos)),
            Just(Value::timestamp(0, 0)),
        ]
    }

    proptest! {
        #[test]
        fn rows_are_encoded_as_the_generated_code_does(
            rows in prop::collection::vec(
                prop::collection::vec(value(), 0..5).prop_map(|values| Row { values }),
                0..5,
            ),
        ) {
            let batch = encoded(&rows);
            let expected = RowBatch::new(rows);
            prop_assert_eq!(batch.encoded_len(), expected.encoded_len());
            let bytes = batch.encode_to_vec();
            prop_assert_eq!(&bytes, &expected.encode_to_vec());
            let read = RowBatch::decode(&*bytes).expect("it is one");
            prop_assert_eq!(read, expected);
        }
    }
}
