//! The fields of a text as values for the columns of a table.

use super::record_parser::Record;
use crate::backend::copy::{Affinity, bad_data, is_number, untyped_value};
use crate::error::Result;
use crate::sql::Dialect;
use crate::value::{Column, DataType, Value};

/// Makes the values of a record, one for each column.
pub(super) fn values_of(
    record: Record,
    columns: &[Column],
    dialect: Dialect,
) -> Result<Vec<Value>> {
    let Record { line, fields } = record;
    if let Some(missing) = columns.get(fields.len()) {
        return Err(bad_data("the data of a column is missing", line, Some(&missing.name)));
    }
    if fields.len() > columns.len() {
        return Err(bad_data("there is data behind the last column", line, None));
    }
    let fields = fields.into_iter().zip(columns);
    fields
        .map(|(field, column)| match field {
            None => Ok(Value::null()),
            Some(raw) => value_of(raw, column, dialect).ok_or_else(|| {
                bad_data("the field is not text in UTF-8", line, Some(&column.name))
            }),
        })
        .collect()
}

/// Makes a value of a field; `None` if it is not text.
fn value_of(raw: Vec<u8>, column: &Column, dialect: Dialect) -> Option<Value> {
    let is_untyped = dialect == Dialect::Sqlite && column.type_name.is_empty();
    if column.r#type() == DataType::Bytes || is_untyped {
        let digits = raw.strip_prefix(b"\\x").and_then(bytes_of);
        if let Some(bytes) = digits {
            return Some(Value::bytes(bytes));
        }
        if !is_untyped {
            return Some(Value::bytes(raw));
        }
    }
    let text = String::from_utf8(raw).ok()?;
    let boolean = match text.to_ascii_lowercase().as_str() {
        "t" | "true" => Some(true),
        "f" | "false" => Some(false),
        _ => None,
    };
    match boolean {
        Some(value) if column.r#type() == DataType::Bool => Some(Value::bool(value)),
        Some(_) | None => {
            let value = match dialect {
                Dialect::Sqlite => sqlite_value(&text, column),
                Dialect::Mysql => mysql_value(&text, column),
                Dialect::Postgres => None,
            };
            Some(value.unwrap_or_else(|| Value::text(text)))
        }
    }
}

/// The value that SQLite would not make of a text, or not exactly; `None` for the text itself. SQLite knows no word for infinity,
/// and its own floats may be one digit off.
fn sqlite_value(text: &str, column: &Column) -> Option<Value> {
    let is_real = match Affinity::of(column) {
        Affinity::Number { is_real } => is_real,
        Affinity::Untyped => return untyped_value(text),
        Affinity::Text | Affinity::Bytes | Affinity::Any => return None,
    };
    let is_float = is_number(text) && (is_real || text.parse::<i64>().is_err());
    let is_infinity = matches!(text, "Infinity" | "-Infinity");
    (is_float || is_infinity).then(|| text.parse().ok().map(Value::float64)).flatten()
}

/// The value that MySQL would make otherwise of a text; `None` for the text itself. It takes the digits of a FLOAT for those of a
/// DOUBLE, of which the largest are out of range, and an instant for one of the session's time zone.
fn mysql_value(text: &str, column: &Column) -> Option<Value> {
    let data_type = column.r#type();
    if data_type == DataType::Float32 && is_number(text) {
        let number = text.parse::<f32>().ok().filter(|number| number.is_finite())?;
        return Some(Value::float64(f64::from(number)));
    }
    if data_type == DataType::Timestamptz {
        let at = format!("{}Z", text.replacen(' ', "T", 1)).parse::<prost_types::Timestamp>();
        return at.ok().map(|at| Value::timestamp(at.seconds, at.nanos));
    }
    None
}

fn bytes_of(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: DataType) -> Column {
        Column { name: name.to_owned(), r#type: data_type.into(), ..Column::default() }
    }

    fn record(fields: &[&str]) -> Record {
        let field = |text: &&str| Some(text.as_bytes().to_vec());
        Record { line: 7, fields: fields.iter().map(field).collect() }
    }

    #[test]
    fn fields_are_text_but_for_bytes_and_booleans() {
        let columns = [
            column("a", DataType::Int64),
            column("b", DataType::Bytes),
            column("c", DataType::Bool),
            column("d", DataType::Bytes),
            column("e", DataType::Bool),
        ];
        let values =
            values_of(record(&["t", "\\x00fF", "T", "\\x0", "2"]), &columns, Dialect::Mysql);
        let expected = [
            Value::text("t"),
            Value::bytes([0, 255]),
            Value::bool(true),
            Value::bytes(*b"\\x0"),
            Value::text("2"),
        ];
        assert_eq!(values.expect("they fit"), expected);
    }

    #[test]
    fn a_record_of_another_width_is_an_error_with_its_place() {
        let columns = [column("a", DataType::Text), column("b", DataType::Text)];
        let few = values_of(record(&["1"]), &columns, Dialect::Mysql).expect_err("too few");
        assert_eq!(few.message(), "line 7, column \"b\": the data of a column is missing");
        let many =
            values_of(record(&["1", "2", "3"]), &columns, Dialect::Mysql).expect_err("too many");
        assert_eq!(many.message(), "line 7: there is data behind the last column");
        let odd = Record { line: 7, fields: vec![Some(vec![255]), None] };
        let odd = values_of(odd, &columns, Dialect::Mysql).expect_err("no text");
        assert_eq!(odd.message(), "line 7, column \"a\": the field is not text in UTF-8");
    }
}
