//! Rows that are encoded as they come, without a tree of values.

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, encoded_len_varint, message, skip_field};
use prost::{DecodeError, encoding};

use super::{Row, Value};

// The keys of fields: their number, then their wire type (Protocol Buffers, Encoding).

/// `RowBatch.rows`.
const ROWS: u8 = 1 << 3 | LENGTH;
/// `Row.values`.
const VALUES: u8 = 1 << 3 | LENGTH;
const NULL: u8 = 1 << 3 | VARINT;
const BOOL: u8 = 2 << 3 | VARINT;
const INT64: u8 = 3 << 3 | VARINT;
const FLOAT64: u8 = 4 << 3 | FIXED64;
const TEXT: u8 = 5 << 3 | LENGTH;
const BYTES: u8 = 6 << 3 | LENGTH;
const TIMESTAMP: u8 = 7 << 3 | LENGTH;
/// `google.protobuf.Timestamp`.
const SECONDS: u8 = 1 << 3 | VARINT;
const NANOS: u8 = 2 << 3 | VARINT;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

/// An encoder of the rows of a `RowBatch`.
#[derive(Debug, Default)]
pub(crate) struct RowEncoder {
    /// The rows so far.
    rows: BytesMut,
    /// The values of the row that is being encoded.
    row: Vec<u8>,
}

impl RowEncoder {
    /// Begins a row; one that was not ended is thrown away.
    pub(crate) fn begin_row(&mut self) {
        self.row.clear();
    }

    pub(crate) fn null(&mut self) {
        self.row.extend([VALUES, 2, NULL, 0]);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.row.extend([VALUES, 2, BOOL, u8::from(value)]);
    }

    pub(crate) fn int64(&mut self, value: i64) {
        let value = value.cast_unsigned();
        self.row.extend([VALUES, length_of(value) + 1, INT64]);
        varint(&mut self.row, value);
    }

    pub(crate) fn float64(&mut self, value: f64) {
        self.row.extend([VALUES, 9, FLOAT64]);
        self.row.extend(value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.delimited(BYTES, value);
    }

    /// Text if the bytes are valid UTF-8, as [`Value::text_or_bytes`].
    pub(crate) fn text_or_bytes(&mut self, value: &[u8]) {
        let key = if std::str::from_utf8(value).is_ok() { TEXT } else { BYTES };
        self.delimited(key, value);
    }

    /// A point in time; the caller has checked `google.protobuf.Timestamp`'s range.
    pub(crate) fn timestamp(&mut self, seconds: i64, nanos: i32) {
        let seconds = seconds.cast_unsigned();
        let nanos = i64::from(nanos).cast_unsigned();
        let field = |value| if value == 0 { 0 } else { length_of(value) + 1 };
        let length = field(seconds) + field(nanos);
        self.row.extend([VALUES, length + 2, TIMESTAMP, length]);
        for (key, value) in [(SECONDS, seconds), (NANOS, nanos)] {
            if value != 0 {
                self.row.push(key);
                varint(&mut self.row, value);
            }
        }
    }

    /// Any value.
    pub(crate) fn value(&mut self, value: &Value) {
        self.row.push(VALUES);
        varint(&mut self.row, widen(value.encoded_len()));
        value.encode_raw(&mut self.row);
    }

    fn delimited(&mut self, key: u8, value: &[u8]) {
        let length = widen(value.len());
        self.row.push(VALUES);
        varint(&mut self.row, length + u64::from(length_of(length)) + 1);
        self.row.push(key);
        varint(&mut self.row, length);
        self.row.extend_from_slice(value);
    }

    /// The size of the row, with its key and length.
    pub(crate) fn row_size(&self) -> usize {
        1 + encoded_len_varint(widen(self.row.len())) + self.row.len()
    }

    /// Ends a row.
    pub(crate) fn end_row(&mut self) {
        self.rows.reserve(self.row_size());
        self.rows.put_u8(ROWS);
        encoding::encode_varint(widen(self.row.len()), &mut self.rows);
        self.rows.extend_from_slice(&self.row);
        self.row.clear();
    }

    /// The size of the rows so far.
    pub(crate) fn size(&self) -> usize {
        self.rows.len()
    }

    /// Takes out the rows so far.
    pub(crate) fn take(&mut self) -> RowBatch {
        RowBatch { rows: Vec::new(), encoded: self.rows.split().freeze() }
    }
}

fn widen(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The length of a varint: 1 to 10 bytes.
fn length_of(value: u64) -> u8 {
    u8::try_from(encoded_len_varint(value)).unwrap_or(u8::MAX)
}

fn varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        buffer.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    buffer.push(value.to_le_bytes()[0]);
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

    use super::super::Kind;
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
                    Kind::TextValue(value) => encoder.text_or_bytes(value.as_bytes()),
                    Kind::BytesValue(value) => encoder.bytes(value),
                    Kind::TimestampValue(at) => encoder.timestamp(at.seconds, at.nanos),
                    Kind::ArrayValue(_) | Kind::RecordValue(_) => encoder.value(value),
                }
            }
            encoder.end_row();
        }
        encoder.take()
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
