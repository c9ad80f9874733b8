//! JSON lines: one object a row, so that rows can be printed as they come.

use std::collections::HashSet;
use std::io::{self, Write};

use serde_json::to_string;

use super::printer::Printer;
use crate::value::proto::DataType;
use crate::value::text::{Precision, dimensions, float, hex, list, nested};
use crate::value::{Column, Kind, Row, Value};

#[derive(Default)]
pub(crate) struct Json {
    columns: Vec<Column>,
    /// The columns' names as JSON strings, each one unique.
    keys: Vec<String>,
}

impl Printer for Json {
    fn columns(&mut self, columns: Vec<Column>, _out: &mut dyn Write) -> io::Result<()> {
        self.keys = unique_names(&columns).iter().map(|name| quoted(name)).collect();
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        let cells = self.keys.iter().zip(&self.columns).zip(&row.values);
        let members =
            list(cells, |((key, column), value)| format!("{key}:{}", json(value, column)));
        writeln!(out, "{{{members}}}")
    }
}

fn json(value: &Value, column: &Column) -> String {
    let float = |value: f64| float(value, Precision::of(column));
    let nested = |elements: &[Value], lengths: &[usize]| {
        nested(elements, lengths, ['[', ']'], &|value| json(value, column))
    };
    match &value.kind {
        None | Some(Kind::NullValue(_) | Kind::ResultReference(_)) => "null".to_owned(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::Int64Value(value)) => value.to_string(),
        Some(Kind::Float64Value(value)) if value.is_finite() => float(*value),
        // JSON has no NaN and no infinities.
        Some(Kind::Float64Value(value)) => quoted(&float(*value)),
        Some(Kind::TextValue(value)) if column.r#type() == DataType::Json => embedded(value),
        Some(Kind::TextValue(value)) => quoted(value),
        Some(Kind::BytesValue(value)) => quoted(&hex(value)),
        Some(Kind::TimestampValue(value)) => quoted(&value.to_string()),
        Some(Kind::ArrayValue(value)) => nested(&value.elements, &dimensions(value)),
        Some(Kind::RecordValue(value)) => nested(&value.fields, &[value.fields.len()]),
    }
}

/// A JSON document inside the line, its numbers untouched. A line break in it can only be white space
/// between tokens: inside a string it would be escaped.
fn embedded(document: &str) -> String {
    match serde_json::from_str::<serde::de::IgnoredAny>(document) {
        Ok(_valid) => document.replace(['\n', '\r'], " "),
        Err(_invalid) => quoted(document),
    }
}

fn quoted(text: &str) -> String {
    to_string(text).expect("a string is always valid JSON")
}

/// Column names may repeat and may be empty, keys may not: `id`, `id_2`; `column_3`.
fn unique_names(columns: &[Column]) -> Vec<String> {
    let mut taken: HashSet<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut seen = HashSet::new();
    let mut unique = |index: usize, name: &str| {
        if !name.is_empty() && seen.insert(name.to_owned()) {
            return name.to_owned();
        }
        let (base, first) = if name.is_empty() { ("column", index + 1) } else { (name, 2) };
        (first..)
            .map(|number| format!("{base}_{number}"))
            .find(|name| taken.insert(name.clone()))
            .expect("there are more numbers than columns")
    };
    columns.iter().enumerate().map(|(index, column)| unique(index, &column.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::query::tests::{array, column, record};

    fn line(cells: Vec<(&str, DataType, Value)>) -> String {
        let (columns, values) = cells
            .into_iter()
            .map(|(name, kind, value)| (column(name, kind), value))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let mut printer = Json::default();
        let mut out = Vec::new();
        printer.columns(columns, &mut out).unwrap();
        printer.row(&Row { values }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn value_of(kind: DataType, value: Value) -> String {
        let line = line(vec![("c", kind, value)]);
        line.strip_prefix("{\"c\":").unwrap().strip_suffix("}\n").unwrap().to_owned()
    }

    #[test]
    fn every_kind_has_its_json() {
        let six: Vec<Value> = (1..=4).map(Value::int64).collect();
        let cases = [
            (DataType::Text, Value::null(), "null"),
            (DataType::Bool, Value::bool(true), "true"),
            (DataType::Int64, Value::int64(i64::MAX), "9223372036854775807"),
            (DataType::Float64, Value::float64(0.1), "0.1"),
            (DataType::Float64, Value::float64(1e300), "1e+300"),
            (DataType::Float32, Value::float64(f64::from(0.1_f32)), "0.1"),
            (DataType::Float64, Value::float64(f64::NAN), "\"NaN\""),
            (DataType::Float64, Value::float64(f64::NEG_INFINITY), "\"-Infinity\""),
            (DataType::Numeric, Value::text("1.10"), "\"1.10\""),
            (DataType::Text, Value::text("a\"b\n\u{1}ü"), r#""a\"b\n\u0001ü""#),
            (DataType::Bytes, Value::bytes([1, 171]), r#""\\x01ab""#),
            (DataType::Timestamptz, Value::timestamp(0, 0), "\"1970-01-01T00:00:00Z\""),
            (DataType::Array, array(six, &[2, 2], &[]), "[[1,2],[3,4]]"),
            (DataType::Array, array(vec![], &[], &[]), "[]"),
            (DataType::Record, record(vec![Value::int64(1), Value::null()]), "[1,null]"),
        ];
        for (kind, value, expected) in cases {
            let json = value_of(kind, value);
            assert_eq!(json, expected);
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
    }

    #[test]
    fn json_documents_are_embedded_on_one_line_with_their_digits() {
        let document = Value::text("{\"a\": 1.00000000000000000001,\n \"b\": []}");
        assert_eq!(
            value_of(DataType::Json, document),
            "{\"a\": 1.00000000000000000001,  \"b\": []}"
        );
        // SQLite holds whatever was written, whatever the column was declared as.
        assert_eq!(value_of(DataType::Json, Value::text("{oops")), "\"{oops\"");
        assert_eq!(value_of(DataType::Text, Value::text("{}")), "\"{}\"");
    }

    #[test]
    fn keys_are_unique_in_the_order_of_the_columns() {
        let cells = ["id", "id", "", "id_2", "id", "column_3"]
            .into_iter()
            .zip(1..)
            .map(|(name, number)| (name, DataType::Int32, Value::int64(number)))
            .collect();
        assert_eq!(
            line(cells),
            "{\"id\":1,\"id_3\":2,\"column_4\":3,\"id_2\":4,\"id_4\":5,\"column_3\":6}\n"
        );
    }
}
