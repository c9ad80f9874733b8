//! Rows as JSON (RESULT_FORMAT_JSON): messages `google.protobuf.Value`, made of encoded rows.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::Timestamp;

use super::json_documents::value_of_document;
use super::json_values::{
    BOOL, FIRST, LIST, STRUCT, add_entry, delimited, float, integer, list, null, text,
};
use crate::error::{Error, ErrorKind, Result};
use crate::value::cell::{Cell, cells};
use crate::value::{ArrayValue, Column, DataType, Kind, RecordValue, Value};

/// The form of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonForm {
    Objects,
    Arrays,
}

/// The maker of rows of one result.
#[derive(Debug)]
pub(crate) struct JsonRows {
    columns: Vec<JsonColumn>,
    form: JsonForm,
    row: Vec<u8>,
}

#[derive(Debug)]
struct JsonColumn {
    name: String,
    reading: Reading,
}

/// The meaning of a column's values beyond their kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Plain,
    /// Texts are documents.
    Documents,
    /// Numbers have single precision.
    Singles,
}

impl JsonRows {
    /// # Errors
    /// Two columns of an object have one name.
    pub(crate) fn new(columns: &[Column], form: JsonForm) -> Result<Self> {
        if form == JsonForm::Objects {
            check_names(columns)?;
        }
        let columns = columns.iter().map(|column| {
            let of = if column.r#type() == DataType::Array {
                column.element_type()
            } else {
                column.r#type()
            };
            let reading = if of == DataType::Json {
                Reading::Documents
            } else if of == DataType::Float32 {
                Reading::Singles
            } else {
                Reading::Plain
            };
            JsonColumn { name: column.name.clone(), reading }
        });
        Ok(Self { columns: columns.collect(), form, row: Vec::new() })
    }

    /// Makes a row of a message `Row`.
    pub(crate) fn make(&mut self, row: &[u8]) -> Result<&[u8]> {
        let mut content = Vec::with_capacity(row.len() * 2);
        let mut width = 0;
        for (column, cell) in self.columns.iter().zip(cells(row)) {
            let cell = cell.map_err(|error| {
                Error::new(ErrorKind::Internal, "a value cannot be read").with_cause(error)
            })?;
            let value = value_of_cell(cell, column.reading);
            match self.form {
                JsonForm::Objects => add_entry(&mut content, &column.name, &value),
                JsonForm::Arrays => delimited(&mut content, FIRST, &value),
            }
            width += 1;
        }
        if width != self.columns.len() {
            return Err(Error::new(ErrorKind::Internal, "a row of another width than its columns"));
        }
        self.row.clear();
        let key = if self.form == JsonForm::Objects { STRUCT } else { LIST };
        delimited(&mut self.row, key, &content);
        Ok(&self.row)
    }
}

/// Fails if two columns of an object have one name.
pub(super) fn check_names(columns: &[Column]) -> Result<()> {
    let mut names = HashSet::new();
    let repeated = columns.iter().find(|column| !names.insert(column.name.as_str()));
    let Some(Column { name, .. }) = repeated else { return Ok(()) };
    let why = format!("two columns have the name {name:?}, of which an object can have one");
    let hint = "Name one of them otherwise, as in `select a.id, b.id as b_id`, or ask for RESULT_FORMAT_JSON_ARRAYS.";
    Err(Error::field(ErrorKind::InvalidOption, "options.format", why).with_hint(hint))
}

fn value_of_cell(cell: Cell<'_>, reading: Reading) -> Vec<u8> {
    match cell {
        Cell::Null => null(),
        Cell::Bool(value) => vec![BOOL, u8::from(value)],
        Cell::Integer(value) => integer(value),
        Cell::Float32(value) => number(value.into(), reading),
        Cell::Float64(value) => number(value, reading),
        Cell::Text(value) if reading == Reading::Documents => document(value),
        Cell::Text(value) => text(value),
        Cell::Bytes(value) => text(&STANDARD.encode(value)),
        // Numbers of the database that encoded rows have as text.
        Cell::Date(value) => integer(value.into()),
        Cell::Time(value) | Cell::Timestamp(value) | Cell::Timestamptz(value) => integer(value),
        Cell::Value(value) => value_of(value, reading),
    }
}

fn value_of(value: Value, reading: Reading) -> Vec<u8> {
    match value.kind {
        None | Some(Kind::NullValue(_) | Kind::ResultReference(_)) => null(),
        Some(Kind::BoolValue(value)) => vec![BOOL, u8::from(value)],
        Some(Kind::Int64Value(value)) => integer(value),
        Some(Kind::Float64Value(value)) => number(value, reading),
        Some(Kind::TextValue(value)) if reading == Reading::Documents => document(&value),
        Some(Kind::TextValue(value)) => text(&value),
        Some(Kind::BytesValue(value)) => text(&STANDARD.encode(value)),
        Some(Kind::TimestampValue(Timestamp { seconds, nanos })) => {
            text(&Timestamp { seconds, nanos }.to_string())
        }
        Some(Kind::ArrayValue(ArrayValue { elements, dimensions, .. })) => {
            let values = elements.into_iter().map(|element| value_of(element, reading));
            nested(values.collect(), &dimensions)
        }
        Some(Kind::RecordValue(RecordValue { fields })) => {
            list(fields.into_iter().map(|field| value_of(field, Reading::Plain)))
        }
    }
}

/// Makes lists of lists of the elements of an array, which are in row-major order.
fn nested(mut elements: Vec<Vec<u8>>, dimensions: &[i32]) -> Vec<u8> {
    for length in dimensions.iter().skip(1).rev() {
        let length = usize::try_from(*length).unwrap_or(1).max(1);
        elements = elements.chunks(length).map(|part| list(part.iter().cloned())).collect();
    }
    list(elements.into_iter())
}

/// Encodes a number of a column. One of single precision has no more digits than it needs.
fn number(value: f64, reading: Reading) -> Vec<u8> {
    if reading != Reading::Singles || !value.is_finite() {
        return float(value);
    }
    let single: Option<f32> = value.to_string().parse().ok();
    let shortest = single.and_then(|single| single.to_string().parse().ok());
    float(shortest.unwrap_or(value))
}

/// Encodes a document as what it is; one that is too deep, or no JSON, as its text.
fn document(document: &str) -> Vec<u8> {
    value_of_document(document).unwrap_or_else(|| text(document))
}
