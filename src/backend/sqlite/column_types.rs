//! The types of columns and their values.
//!
//! SQLite types values, not columns. A column's [`DataType`] follows the type it was declared with,
//! or the first row's value where nothing was declared; each value travels in the kind of its own
//! storage class, whatever the column says. Two declared types reach into values: an integer 0 or 1
//! in a BOOLEAN column is a boolean, and a number in a NUMERIC column travels as text.

use rusqlite::types::ValueRef;

use crate::value::{Column, DataType, RowEncoder};

/// The conversion of values that a column's declared type asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueConversion {
    /// Integers 0 and 1 are booleans.
    Bool,
    /// Numbers travel as text.
    Numeric,
    /// As stored.
    Stored,
}

impl ValueConversion {
    /// The conversion of a column of a type.
    pub(crate) fn of(data_type: DataType) -> Self {
        if data_type == DataType::Bool {
            Self::Bool
        } else if data_type == DataType::Numeric {
            Self::Numeric
        } else {
            Self::Stored
        }
    }

    /// Adds a value to a row; returns the size of its content in bytes.
    pub(crate) fn encode(self, stored: ValueRef<'_>, row: &mut RowEncoder) -> usize {
        match (stored, self) {
            (ValueRef::Null, _) => {
                row.null();
                return 0;
            }
            (ValueRef::Integer(number @ (0 | 1)), Self::Bool) => {
                row.bool(number == 1);
                return 1;
            }
            (ValueRef::Integer(number), Self::Numeric) => row.text(&number.to_string()),
            (ValueRef::Integer(number), Self::Bool | Self::Stored) => row.int64(number),
            (ValueRef::Real(number), Self::Numeric) => row.text(&decimal(number)),
            (ValueRef::Real(number), Self::Bool | Self::Stored) => row.float64(number),
            (ValueRef::Text(raw) | ValueRef::Blob(raw), _) => {
                match (stored, std::str::from_utf8(raw)) {
                    (ValueRef::Text(_), Ok(text)) => row.text(text),
                    _ => row.bytes(raw),
                }
                return raw.len();
            }
        }
        8
    }
}

/// The shortest decimal that reads back as the same number.
fn decimal(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    number.to_string()
}

/// Describes a column of a result. `first` is its value in the first row, if there is one.
pub(crate) fn column(name: &str, declared: Option<&str>, first: Option<ValueRef<'_>>) -> Column {
    let data_type = match declared {
        Some(declared) if !declared.is_empty() => declared_type(declared),
        _ => first.map_or(DataType::Other, stored_type),
    };
    Column {
        name: name.to_owned(),
        r#type: data_type.into(),
        type_name: declared.unwrap_or_default().to_owned(),
        ..Column::default()
    }
}

fn stored_type(value: ValueRef<'_>) -> DataType {
    match value {
        ValueRef::Null => DataType::Other,
        ValueRef::Integer(_) => DataType::Int64,
        ValueRef::Real(_) => DataType::Float64,
        ValueRef::Text(_) => DataType::Text,
        ValueRef::Blob(_) => DataType::Bytes,
    }
}

/// The type that a declaration such as `VARCHAR(20)` or `unsigned big int` means.
fn declared_type(declared: &str) -> DataType {
    let upper = declared.to_ascii_uppercase();
    let mut words = upper
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .peekable();
    let first = words.peek().copied().unwrap_or_default();
    let starts = |parts: &[&str]| parts.iter().any(|part| first.starts_with(part));
    let contains = |parts: &[&str]| parts.iter().any(|part| upper.contains(part));
    match first {
        "REAL" => DataType::Float64,
        "DATE" => DataType::Date,
        "TIME" => DataType::Time,
        "UUID" => DataType::Uuid,
        _ if starts(&["TIMESTAMP", "DATETIME"]) => DataType::Timestamp,
        _ if starts(&["NUMERIC", "DECIMAL"]) => DataType::Numeric,
        _ if starts(&["FLOAT", "DOUBLE"]) => DataType::Float64,
        _ if starts(&["BOOL"]) => DataType::Bool,
        _ if starts(&["JSON"]) => DataType::Json,
        _ if contains(&["CHAR", "TEXT", "CLOB"]) => DataType::Text,
        _ if contains(&["BLOB"]) || first == "BYTEA" => DataType::Bytes,
        _ if words.any(is_integer) => DataType::Int64,
        _ => DataType::Other,
    }
}

/// `INT`, `INTEGER`, `INT8`, `TINYINT`, `BIGINT` …; not `POINT`, not `INTERVAL`.
fn is_integer(word: &str) -> bool {
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    stem == "INTEGER" || (stem.ends_with("INT") && stem != "POINT")
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::value::{Row, RowsField, Value};

    #[test]
    fn a_declared_type_gives_a_column_its_type() {
        let cases = [
            ("INTEGER", DataType::Int64),
            ("int", DataType::Int64),
            ("BIGINT", DataType::Int64),
            ("INT2", DataType::Int64),
            ("unsigned big int", DataType::Int64),
            ("REAL", DataType::Float64),
            ("DOUBLE PRECISION", DataType::Float64),
            ("float8", DataType::Float64),
            ("BOOLEAN", DataType::Bool),
            ("numeric(10, 2)", DataType::Numeric),
            ("DECIMAL", DataType::Numeric),
            ("VARCHAR(20)", DataType::Text),
            ("native character(70)", DataType::Text),
            ("text", DataType::Text),
            ("BLOB", DataType::Bytes),
            ("DATE", DataType::Date),
            ("TIME", DataType::Time),
            ("DATETIME", DataType::Timestamp),
            ("timestamp with time zone", DataType::Timestamp),
            ("UUID", DataType::Uuid),
            ("JSON", DataType::Json),
            ("POINT", DataType::Other),
            ("INTERVAL", DataType::Other),
            ("ANY", DataType::Other),
        ];
        for (declared, expected) in cases {
            assert_eq!(declared_type(declared), expected, "{declared}");
        }
    }

    #[test]
    fn an_undeclared_column_has_the_type_of_its_first_value() {
        let typed = |first| column("c", None, first).r#type();
        assert_eq!(typed(Some(ValueRef::Integer(1))), DataType::Int64);
        assert_eq!(typed(Some(ValueRef::Text(b"x"))), DataType::Text);
        assert_eq!(typed(None), DataType::Other);
    }

    #[test]
    fn a_value_keeps_its_storage_class_unless_the_declared_type_says_otherwise() {
        let read = |conversion: ValueConversion, stored| {
            let mut encoder = RowEncoder::new(RowsField::OfResult);
            encoder.begin_row();
            conversion.encode(stored, &mut encoder);
            Row::decode(encoder.row()).expect("a row").values.remove(0)
        };
        assert_eq!(read(ValueConversion::Bool, ValueRef::Integer(1)), Value::bool(true));
        assert_eq!(read(ValueConversion::Bool, ValueRef::Integer(2)), Value::int64(2));
        assert_eq!(read(ValueConversion::Numeric, ValueRef::Integer(2)), Value::text("2"));
        assert_eq!(read(ValueConversion::Numeric, ValueRef::Real(0.1)), Value::text("0.1"));
        assert_eq!(
            read(ValueConversion::Numeric, ValueRef::Real(f64::INFINITY)),
            Value::text("Infinity")
        );
        assert_eq!(read(ValueConversion::Numeric, ValueRef::Text(b"x")), Value::text("x"));
        assert_eq!(read(ValueConversion::Stored, ValueRef::Integer(1)), Value::int64(1));
        assert_eq!(read(ValueConversion::Stored, ValueRef::Text(b"\xff")), Value::bytes(*b"\xff"));
    }
}
