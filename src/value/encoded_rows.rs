//! Rows that are encoded as they come, without a tree of values: from here on they are bytes of the message that is sent.

use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

// The keys of fields: their number, then their wire type (Protocol Buffers, Encoding).

/// `RowBatch.rows`.
const ROWS_OF_BATCH: u8 = 1 << 3 | LENGTH;
/// `ResultSet.rows`.
const ROWS_OF_RESULT: u8 = 3 << 3 | LENGTH;
/// `JsonBatch.rows`.
const ROWS_OF_JSON_BATCH: u8 = ROWS_OF_BATCH;
/// `ResultSet.json_rows`.
const JSON_ROWS_OF_RESULT: u8 = 7 << 3 | LENGTH;
/// `Row.values`.
const VALUES: u8 = 1 << 3 | LENGTH;
pub(super) const NULL: u8 = 1 << 3 | VARINT;
pub(super) const BOOL: u8 = 2 << 3 | VARINT;
pub(super) const INT64: u8 = 3 << 3 | VARINT;
pub(super) const FLOAT64: u8 = 4 << 3 | FIXED64;
pub(super) const TEXT: u8 = 5 << 3 | LENGTH;
pub(super) const BYTES: u8 = 6 << 3 | LENGTH;
const TIMESTAMP: u8 = 7 << 3 | LENGTH;
/// `google.protobuf.Timestamp`.
const SECONDS: u8 = 1 << 3 | VARINT;
const NANOS: u8 = 2 << 3 | VARINT;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

/// The key and the shortest length of a row.
const HEAD: usize = 2;

/// The memory for the first rows, in bytes: enough for those of most results.
const FIRST: usize = 128;

/// The field that rows are encoded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsField {
    OfBatch,
    OfResult,
    /// Rows as JSON.
    OfJsonBatch,
    JsonOfResult,
}

/// Rows as bytes of the message whose field they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EncodedRows(Vec<u8>);

impl EncodedRows {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Each row as a message of its own.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        messages(self.as_bytes())
    }
}

/// The messages of a repeated field whose key has one byte.
pub(super) fn messages(mut field: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut rest = field.get(1..)?;
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let (message, others) = rest.split_at_checked(length)?;
        field = others;
        Some(message)
    })
}

/// The size of a row in its field, by that of its message.
pub(crate) fn size_in_field(row: usize) -> usize {
    1 + encoded_len_varint(widen(row)) + row
}

/// An encoder of rows.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    key: u8,
    /// The whole rows, then the one that is being encoded, behind room for its head.
    bytes: Vec<u8>,
    /// The size of the whole rows.
    whole: usize,
    /// The memory to begin with.
    expected: usize,
}

impl RowEncoder {
    pub(crate) fn new(field: RowsField) -> Self {
        let key = match field {
            RowsField::OfBatch => ROWS_OF_BATCH,
            RowsField::OfResult => ROWS_OF_RESULT,
            RowsField::OfJsonBatch => ROWS_OF_JSON_BATCH,
            RowsField::JsonOfResult => JSON_ROWS_OF_RESULT,
        };
        Self { key, bytes: Vec::new(), whole: 0, expected: FIRST }
    }

    /// Begins a row; one that was not ended is thrown away.
    pub(crate) fn begin_row(&mut self) {
        self.bytes.truncate(self.whole);
        if self.bytes.is_empty() {
            self.bytes.reserve(self.expected);
        }
        self.bytes.extend([self.key, 0]);
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend([VALUES, 2, NULL, 0]);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.extend([VALUES, 2, BOOL, u8::from(value)]);
    }

    pub(crate) fn int64(&mut self, value: i64) {
        let value = value.cast_unsigned();
        self.bytes.extend([VALUES, length_of(value) + 1, INT64]);
        varint(&mut self.bytes, value);
    }

    pub(crate) fn float64(&mut self, value: f64) {
        self.bytes.extend([VALUES, 9, FLOAT64]);
        self.bytes.extend(value.to_le_bytes());
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
        self.bytes.extend([VALUES, length + 2, TIMESTAMP, length]);
        for (key, value) in [(SECONDS, seconds), (NANOS, nanos)] {
            if value != 0 {
                self.bytes.push(key);
                varint(&mut self.bytes, value);
            }
        }
    }

    /// Any value: a message `Value`.
    pub(crate) fn value(&mut self, value: &impl Message) {
        self.bytes.push(VALUES);
        varint(&mut self.bytes, widen(value.encoded_len()));
        value.encode_raw(&mut self.bytes);
    }

    fn delimited(&mut self, key: u8, value: &[u8]) {
        let length = widen(value.len());
        self.bytes.push(VALUES);
        varint(&mut self.bytes, length + u64::from(length_of(length)) + 1);
        self.bytes.push(key);
        varint(&mut self.bytes, length);
        self.bytes.extend_from_slice(value);
    }

    /// The values of the row that is being encoded: a message `Row`.
    pub(crate) fn row(&self) -> &[u8] {
        self.bytes.get(self.whole + HEAD..).unwrap_or_default()
    }

    /// The size of that row in its field.
    pub(crate) fn row_size(&self) -> usize {
        size_in_field(self.row().len())
    }

    /// Ends a row.
    pub(crate) fn end_row(&mut self) {
        let length = self.row().len();
        let end = self.bytes.len();
        let prefix = encoded_len_varint(widen(length));
        let start = self.whole + 1;
        if prefix > 1 {
            self.bytes.resize(end + prefix - 1, 0);
            self.bytes.copy_within(start + 1..end, start + prefix);
        }
        encode_varint(widen(length), &mut &mut self.bytes[start..start + prefix]);
        self.whole = self.bytes.len();
    }

    /// Adds a row that is encoded already: a message `Row`.
    pub(crate) fn push(&mut self, row: &[u8]) {
        self.begin_row();
        self.bytes.extend_from_slice(row);
        self.end_row();
    }

    /// The size of the rows so far.
    pub(crate) fn size(&self) -> usize {
        self.whole
    }

    /// Takes out the rows so far, but for one that was not ended.
    pub(crate) fn take(&mut self) -> EncodedRows {
        if self.whole == 0 {
            return EncodedRows::default();
        }
        self.expected = FIRST.max(self.whole + self.whole / 8);
        let begun = self.bytes.split_off(self.whole);
        self.whole = 0;
        EncodedRows(std::mem::replace(&mut self.bytes, begun))
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
