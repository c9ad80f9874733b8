//! Rows that are encoded batch by batch.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema, SchemaRef};

use super::array_builder::{ArrayBuilder, Misfit};
use super::schema::{Decimal, field};
use crate::error::{Error, ErrorKind, Result};
use crate::value::cell::{Cell, cells};
use crate::value::proto::Nullability;
use crate::value::{Column, Kind, Value};

/// The most rows of a record batch.
pub(crate) const MAX_BATCH_ROWS: usize = 8_192;

/// The rows of one result, and the encoder of its IPC stream.
pub(crate) struct ArrowRows {
    columns: Vec<Column>,
    builders: Vec<ArrayBuilder>,
    rows: usize,
    schema: SchemaRef,
    /// Holds what was encoded and not taken yet; the schema at first.
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowRows {
    /// Starts a result; `decimal` is what a column was declared with.
    pub(crate) fn new(
        columns: &[Column],
        decimal: impl Fn(usize) -> Option<Decimal>,
    ) -> Result<Self> {
        let fields = columns.iter().enumerate().map(|(at, column)| field(column, decimal(at)));
        let schema: SchemaRef = Schema::new(fields.collect::<Vec<_>>()).into();
        let builders = schema.fields().iter().map(|field| ArrayBuilder::new(field.data_type()));
        let builders = builders.collect::<Option<Vec<_>>>();
        let builders =
            builders.ok_or_else(|| Error::new(ErrorKind::Internal, "a type without arrays"))?;
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(not_encoded)?;
        Ok(Self { columns: columns.to_vec(), builders, rows: 0, schema, writer })
    }

    /// Adds a row, a message `Row`, and returns the bytes that it takes in the arrays. After an error the result cannot
    /// go on.
    pub(crate) fn push(&mut self, row: &[u8]) -> Result<usize> {
        let mut size = 0;
        let mut width = 0;
        for cell in cells(row) {
            let cell = cell.map_err(|error| {
                Error::new(ErrorKind::Internal, "a value cannot be read").with_cause(error)
            })?;
            size += self.append(width, cell)?;
            width += 1;
        }
        if width != self.columns.len() {
            return Err(Error::new(ErrorKind::Internal, "a row of another width than its columns"));
        }
        self.end_row();
        Ok(size)
    }

    /// Adds the value of a column to a row, which has to get one of each.
    pub(crate) fn append(&mut self, at: usize, cell: Cell<'_>) -> Result<usize> {
        let column = self.builders.get_mut(at).zip(self.columns.get(at));
        let Some((builder, column)) = column else {
            return Err(Error::new(ErrorKind::Internal, "a value without a column"));
        };
        let is_null = matches!(
            &cell,
            Cell::Null | Cell::Value(Value { kind: None | Some(Kind::NullValue(_)) })
        );
        if is_null && column.nullability() == Nullability::NotNull {
            let misfit = "NULL, as its definition was changed meanwhile".into();
            return Err(does_not_fit(&misfit, at, column, &self.schema));
        }
        let added = builder.append_cell(cell, column);
        added.map_err(|misfit| does_not_fit(&misfit, at, column, &self.schema))
    }

    /// Ends a row whose values were added.
    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// Takes the bytes that follow in the stream: the rows so far are a record batch.
    pub(crate) fn take(&mut self) -> Result<Vec<u8>> {
        if self.rows > 0 {
            let batch = self.batch().and_then(|batch| self.writer.write(&batch));
            batch.map_err(not_encoded)?;
            self.rows = 0;
        }
        Ok(std::mem::take(self.writer.get_mut()))
    }

    /// Ends the stream, and takes its last bytes.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>> {
        let mut bytes = self.take()?;
        self.writer.finish().map_err(not_encoded)?;
        bytes.append(self.writer.get_mut());
        Ok(bytes)
    }

    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let arrays = self.builders.iter_mut().map(ArrayBuilder::finish);
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
    }
}

fn not_encoded(error: ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "the rows cannot be encoded for Arrow").with_cause(error)
}

fn does_not_fit(misfit: &Misfit, at: usize, column: &Column, schema: &Schema) -> Error {
    let data_type = schema.field(at).data_type();
    let text = format!(
        "column {} ({:?}) holds {}, which Arrow's {data_type} cannot",
        at + 1,
        column.name,
        misfit.0
    );
    Error::new(ErrorKind::OutOfRange, text)
        .with_condition("NOT_IN_ARROW")
        .with_hint("Cast the column to text in the statement, or ask for RESULT_FORMAT_ROWS.")
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::value::{DataType, Row};

    fn rows_of(data_type: DataType) -> ArrowRows {
        let mut column =
            Column { name: "c".to_owned(), type_name: "t".to_owned(), ..Column::default() };
        column.set_type(data_type);
        ArrowRows::new(&[column], |_| Some(Decimal { precision: 5, scale: 2 })).expect("a schema")
    }

    fn row(value: Value) -> Vec<u8> {
        Row { values: vec![value] }.encode_to_vec()
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_that_names_the_column_and_not_the_value() {
        let cases = [
            (DataType::Int16, Value::int64(40_000), "an integer beyond its range"),
            (DataType::Int64, Value::float64(1.5), "a value of the kind float64_value"),
            (DataType::Int64, Value::text("secret"), "a value of the kind text_value"),
            (DataType::Bool, Value::int64(2), "a value of the kind int64_value"),
            (DataType::Bytes, Value::text("secret"), "a value of the kind text_value"),
            (DataType::Text, Value::bytes(*b"\xff"), "bytes that are not text in UTF-8"),
            (DataType::Date, Value::text("infinity"), "an infinite value"),
            (DataType::Date, Value::text("secret"), "a text that is not of its type"),
            (DataType::Time, Value::text("24:00:00"), "24:00:00"),
            (DataType::Timestamp, Value::text("-infinity"), "an infinite value"),
            (DataType::Timestamptz, Value::text("infinity"), "an infinite value"),
            (DataType::Timestamp, Value::timestamp(0, 0), "a value of the kind timestamp_value"),
            (DataType::Numeric, Value::text("NaN"), "NaN"),
            (DataType::Numeric, Value::text("1234.5"), "a text that is not of its type"),
        ];
        for (data_type, value, what) in cases {
            let error = rows_of(data_type).push(&row(value)).expect_err("it does not fit");
            let text = error.message();
            assert_eq!((error.kind(), error.reason()), (ErrorKind::OutOfRange, "NOT_IN_ARROW"));
            assert!(text.starts_with("column 1 (\"c\") holds ") && text.contains(what), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn null_does_not_fit_a_column_that_is_said_to_hold_none() {
        let mut column = Column { type_name: "t".to_owned(), ..Column::default() };
        column.set_type(DataType::Int64);
        column.set_nullability(Nullability::NotNull);
        for cell in [Cell::Null, Cell::Value(Value::null()), Cell::Value(Value::default())] {
            let mut rows = ArrowRows::new(&[column.clone()], |_| None).expect("a schema");
            rows.append(0, Cell::Integer(1)).expect("it fits");
            let error = rows.append(0, cell).expect_err("it does not");
            assert_eq!((error.kind(), error.reason()), (ErrorKind::OutOfRange, "NOT_IN_ARROW"));
        }
    }

    #[test]
    fn a_row_of_another_width_is_a_defect() {
        let error = rows_of(DataType::Int64).push(&[]).expect_err("no value");
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
