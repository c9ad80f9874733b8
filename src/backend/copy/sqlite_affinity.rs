//! The affinity of SQLite's columns: what SQLite makes of a text that is stored there (SQLite, "Datatypes In SQLite", 3.1).

use crate::value::text::{Precision, float};
use crate::value::{Column, DataType, Kind, Value};

/// The affinity of a column, by its declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// Text that is a number becomes one: INTEGER, REAL and NUMERIC.
    Number {
        is_real: bool,
    },
    Text,
    /// Declared as bytes.
    Bytes,
    /// Nothing is declared, and everything stays as it is.
    Untyped,
    /// ANY, which keeps everything in a STRICT table and makes numbers in another.
    Any,
}

impl Affinity {
    pub(crate) fn of(column: &Column) -> Self {
        let declared = column.type_name.to_ascii_uppercase();
        let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        match declared.as_str() {
            "" => Self::Untyped,
            "ANY" => Self::Any,
            _ if column.r#type() == DataType::Bytes => Self::Bytes,
            _ if has(&["INT"]) => Self::Number { is_real: false },
            _ if has(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            _ if has(&["BLOB"]) => Self::Bytes,
            _ => Self::Number { is_real: has(&["REAL", "FLOA", "DOUB"]) },
        }
    }
}

/// Returns true for a text that SQLite takes for a number.
pub(crate) fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits =
        is_digits(whole) && is_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_is_one = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    has_digits && exponent_is_one
}

/// The value that a text stands for in a column without a type; `None` for itself. Only what a copy writes for a value is one.
pub(crate) fn untyped_value(text: &str) -> Option<Value> {
    let is_written = |value: &Value| untyped_text(value).is_some_and(|written| written == text);
    let integer = text.parse().ok().map(Value::int64);
    let number = || text.parse().ok().map(Value::float64);
    integer.filter(is_written).or_else(|| number().filter(is_written))
}

/// The text of a number in a column without a type: a float has a point or an exponent.
pub(crate) fn untyped_text(value: &Value) -> Option<String> {
    match value.kind {
        Some(Kind::Int64Value(number)) => Some(number.to_string()),
        Some(Kind::Float64Value(number)) => Some(untyped_float(number)),
        _ => None,
    }
}

/// The text of a float in a column without a type.
pub(crate) fn untyped_float(number: f64) -> String {
    let text = float(number, Precision::Double);
    let looks_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if looks_whole { text + ".0" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_sqlite_stores_as_numbers() {
        for text in ["1", "-1", "+1.5", ".5", "5.", "1e5", "1.5E-10"] {
            assert!(is_number(text), "{text}");
        }
        for text in
            ["", "-", ".", "e5", "1e", "1e+", "0x10", " 1", "1 ", "inf", "1_0", "1,5", "NaN"]
        {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn only_the_text_that_is_written_for_a_number_is_one_without_a_type() {
        for value in [5, 0, -1, i64::MIN, i64::MAX].map(Value::int64) {
            assert_eq!(untyped_value(&untyped_text(&value).unwrap()), Some(value));
        }
        for value in
            [5.0, -0.5, 1e300, f64::INFINITY, f64::NEG_INFINITY, 5e-324].map(Value::float64)
        {
            assert_eq!(untyped_value(&untyped_text(&value).unwrap()), Some(value));
        }
        for text in ["007", "+5", " 5", "5.00", "1e3", "infinity", "abc", "", "9223372036854775808"]
        {
            assert_eq!(untyped_value(text), None, "{text}");
        }
    }
}
