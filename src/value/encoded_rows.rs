//! Rows that are encoded as they come, without a tree of values.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

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

    pub(crate) fn text(&mut self, value: &str) {
        self.delimited(TEXT, value.as_bytes());
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

    /// Any value: a message `Value`.
    pub(crate) fn value(&mut self, value: &impl Message) {
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
        encode_varint(widen(self.row.len()), &mut self.rows);
        self.rows.extend_from_slice(&self.row);
        self.row.clear();
    }

    /// The size of the rows so far.
    pub(crate) fn size(&self) -> usize {
        self.rows.len()
    }

    /// Takes out the rows so far.
    pub(crate) fn take(&mut self) -> Bytes {
        self.rows.split().freeze()
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
