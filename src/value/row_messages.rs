//! The messages that hold rows. A client reads rows as values; a server sends them as they were encoded.
//!
//! They are written by hand because the generated ones would have to hold each row as a tree of values first.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, bool, bytes, message, skip_field, string, uint64};
use prost::{DecodeError, Message};

use super::encoded_rows::EncodedRows;
use super::proto::{Column, Row};

/// Some rows of a streamed result: the message `rowgate.v1.RowBatch`.
pub type RowBatch = BatchMessage<Row>;

/// The same as JSON: the message `rowgate.v1.JsonBatch`.
pub type JsonBatch = BatchMessage<prost_types::Value>;

/// A message of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchMessage<M> {
    /// The rows, but for those that are encoded.
    pub rows: Vec<M>,
    /// Rows as they are sent.
    pub(crate) encoded: EncodedRows,
}

impl<M> BatchMessage<M> {
    /// A batch of these rows.
    pub fn new(rows: Vec<M>) -> Self {
        Self { rows, encoded: EncodedRows::default() }
    }
}

impl<M: Message + Default> Message for BatchMessage<M> {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(self.encoded.as_bytes());
        message::encode_repeated(1, &self.rows, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let merged = match tag {
            1 => message::merge_repeated(wire_type, &mut self.rows, buffer, context),
            _ => return skip_field(wire_type, tag, buffer, context),
        };
        merged.map_err(|error| within("RowBatch", "rows", error))
    }

    fn encoded_len(&self) -> usize {
        self.encoded.as_bytes().len() + message::encoded_len_repeated(1, &self.rows)
    }

    fn clear(&mut self) {
        *self = Self::new(Vec::new());
    }
}

/// The whole result of one statement, or a part of it in a transaction: the message `rowgate.v1.ResultSet`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResultSet {
    /// True for a statement that returns rows, even if there are none.
    pub has_columns: bool,
    /// The columns, also when there are no rows.
    pub columns: Vec<Column>,
    /// The rows, but for those that are encoded, or in `arrow`.
    pub rows: Vec<Row>,
    /// Rows as they are sent.
    pub(crate) encoded: EncodedRows,
    /// The rows as one Arrow IPC stream, if that was asked for.
    pub arrow: Vec<u8>,
    /// The rows that the command counts.
    pub rows_affected: u64,
    /// The command as the database names it.
    pub command: String,
    /// The rows as JSON, if that was asked for, but for those that are encoded.
    pub json_rows: Vec<prost_types::Value>,
}

impl Message for ResultSet {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        if self.has_columns {
            bool::encode(1, &self.has_columns, buffer);
        }
        message::encode_repeated(2, &self.columns, buffer);
        buffer.put_slice(self.encoded.as_bytes());
        message::encode_repeated(3, &self.rows, buffer);
        if !self.arrow.is_empty() {
            bytes::encode(4, &self.arrow, buffer);
        }
        if self.rows_affected != 0 {
            uint64::encode(5, &self.rows_affected, buffer);
        }
        if !self.command.is_empty() {
            string::encode(6, &self.command, buffer);
        }
        message::encode_repeated(7, &self.json_rows, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let Self { has_columns, columns, rows, arrow, rows_affected, command, json_rows, .. } =
            self;
        let wire = wire_type;
        let (field, merged) = match tag {
            1 => ("has_columns", bool::merge(wire, has_columns, buffer, context)),
            2 => ("columns", message::merge_repeated(wire, columns, buffer, context)),
            3 => ("rows", message::merge_repeated(wire, rows, buffer, context)),
            4 => ("arrow", bytes::merge(wire, arrow, buffer, context)),
            5 => ("rows_affected", uint64::merge(wire, rows_affected, buffer, context)),
            6 => ("command", string::merge(wire, command, buffer, context)),
            7 => ("json_rows", message::merge_repeated(wire, json_rows, buffer, context)),
            _ => return skip_field(wire, tag, buffer, context),
        };
        merged.map_err(|error| within("ResultSet", field, error))
    }

    fn encoded_len(&self) -> usize {
        let mut length = message::encoded_len_repeated(2, &self.columns)
            + self.encoded.as_bytes().len()
            + message::encoded_len_repeated(3, &self.rows)
            + message::encoded_len_repeated(7, &self.json_rows);
        if self.has_columns {
            length += bool::encoded_len(1, &self.has_columns);
        }
        if !self.arrow.is_empty() {
            length += bytes::encoded_len(4, &self.arrow);
        }
        if self.rows_affected != 0 {
            length += uint64::encoded_len(5, &self.rows_affected);
        }
        if !self.command.is_empty() {
            length += string::encoded_len(6, &self.command);
        }
        length
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl EncodedRows {
    /// Decodes the rows, where the server reads them itself.
    pub(crate) fn decode(&self) -> Result<Vec<Row>, DecodeError> {
        self.iter().map(Row::decode).collect()
    }
}

fn within(message: &'static str, field: &'static str, mut error: DecodeError) -> DecodeError {
    error.push(message, field);
    error
}

#[cfg(test)]
impl ResultSet {
    /// The result as a client reads it.
    pub(crate) fn received(&self) -> Self {
        Self::decode(&*self.encode_to_vec()).expect("it is well-formed")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::{Kind, RowEncoder, RowsField, Value, size_in_field};

    /// A `ResultSet` as it would be generated.
    #[derive(Clone, PartialEq, Message)]
    struct GeneratedResult {
        #[prost(bool, tag = "1")]
        has_columns: bool,
        #[prost(message, repeated, tag = "2")]
        columns: Vec<Column>,
        #[prost(message, repeated, tag = "3")]
        rows: Vec<Row>,
        #[prost(bytes = "vec", tag = "4")]
        arrow: Vec<u8>,
        #[prost(uint64, tag = "5")]
        rows_affected: u64,
        #[prost(string, tag = "6")]
        command: String,
    }

    /// A `RowBatch` as it would be generated.
    #[derive(Clone, PartialEq, Message)]
    struct GeneratedBatch {
        #[prost(message, repeated, tag = "1")]
        rows: Vec<Row>,
    }

    /// Encodes the values by their own methods. A row that was not ended is before each, and after all.
    fn encoded(rows: &[Row], field: RowsField) -> EncodedRows {
        let mut encoder = RowEncoder::new(field);
        for row in rows {
            encoder.begin_row();
            encoder.text("thrown away");
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
                    Kind::ArrayValue(_) | Kind::RecordValue(_) | Kind::ResultReference(_) => {
                        encoder.value(value);
                    }
                }
            }
            assert_eq!(encoder.row(), row.encode_to_vec());
            assert_eq!(encoder.row_size(), size_in_field(row.encoded_len()));
            encoder.end_row();
        }
        encoder.begin_row();
        encoder.text("thrown away");
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
            (0..20_000_usize).prop_map(|size| Value::text("x".repeat(size))),
        ]
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = prop::collection::vec(value(), 0..5).prop_map(|values| Row { values });
        prop::collection::vec(row, 0..5)
    }

    proptest! {
        #[test]
        fn a_batch_is_encoded_as_the_generated_code_does(rows in rows()) {
            let batch =
                RowBatch { encoded: encoded(&rows, RowsField::OfBatch), ..RowBatch::default() };
            let expected = GeneratedBatch { rows };
            prop_assert_eq!(batch.encoded_len(), expected.encoded_len());
            let bytes = batch.encode_to_vec();
            prop_assert_eq!(&bytes, &expected.encode_to_vec());
            let decoded = RowBatch::new(expected.rows);
            prop_assert_eq!(&bytes, &decoded.encode_to_vec());
            prop_assert_eq!(RowBatch::decode(&*bytes).expect("it is one"), decoded);
        }

        #[test]
        fn a_result_is_encoded_as_the_generated_code_does(
            rows in rows(),
            has_columns in any::<bool>(),
            names in prop::collection::vec(".{0,5}", 0..3),
            arrow in prop::collection::vec(any::<u8>(), 0..3),
            (rows_affected, command) in (prop_oneof![Just(0), any::<u64>()], ".{0,5}"),
        ) {
            let columns = names.into_iter().map(|name| Column { name, ..Column::default() });
            let columns: Vec<_> = columns.collect();
            let encoded = encoded(&rows, RowsField::OfResult);
            prop_assert_eq!(&encoded.decode().expect("they are rows"), &rows);
            let expected = GeneratedResult {
                has_columns, columns, rows, arrow, rows_affected, command
            };
            let GeneratedResult { columns, rows, arrow, command, .. } = expected.clone();
            let decoded = ResultSet {
                has_columns, columns, rows, arrow, rows_affected, command, ..ResultSet::default()
            };
            let sent = ResultSet { rows: Vec::new(), encoded, ..decoded.clone() };
            let bytes = expected.encode_to_vec();
            for set in [&sent, &decoded] {
                prop_assert_eq!(set.encoded_len(), bytes.len());
                prop_assert_eq!(&set.encode_to_vec(), &bytes);
            }
            prop_assert_eq!(ResultSet::decode(&*bytes).expect("it is one"), decoded);
        }
    }

    #[test]
    fn rows_are_taken_out_while_another_is_encoded() {
        let row = |text: &str| Row { values: vec![Value::text(text)] };
        let mut encoder = RowEncoder::new(RowsField::OfResult);
        let long = "x".repeat(1000);
        assert!(encoder.take().is_empty());
        encoder.push(&row("first").encode_to_vec());
        encoder.begin_row();
        encoder.text(&long);
        assert_eq!(encoder.take().decode().expect("rows"), [row("first")]);
        encoder.end_row();
        encoder.push(&row("last").encode_to_vec());
        let size = |text| size_in_field(row(text).encoded_len());
        assert_eq!(encoder.size(), size(&long) + size("last"));
        assert_eq!(encoder.take().decode().expect("rows"), [row(&long), row("last")]);
        assert!(encoder.take().is_empty());
    }

    #[test]
    fn unknown_fields_are_skipped_and_malformed_ones_named() {
        let unknown = [8 << 3, 1];
        assert_eq!(ResultSet::decode(&unknown[..]), Ok(ResultSet::default()));
        assert_eq!(RowBatch::decode(&unknown[..]), Ok(RowBatch::default()));
        let error = ResultSet::decode(&[6 << 3 | 2, 1, 0xFF][..]).expect_err("no text");
        assert!(error.to_string().contains("ResultSet.command"), "{error}");
    }
}
