//! Values as text, for people, CSV and columns of text: PostgreSQL's own formats, but booleans as words and times as RFC 3339; both can be
//! sent back as parameters.

use std::fmt::Write as _;

use super::proto::{ArrayValue, DataType};
use super::{Column, Kind, Value};

/// The text of a value; `None` for NULL.
pub(crate) fn text(value: &Value, column: &Column) -> Option<String> {
    text_with(value, Precision::of(column))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    Single,
    Double,
}

impl Precision {
    /// The precision of a column's floats, or of those in its arrays.
    pub(crate) fn of(column: &Column) -> Self {
        let types = [column.r#type(), column.element_type()];
        if types.contains(&DataType::Float32) { Self::Single } else { Self::Double }
    }
}

fn text_with(value: &Value, precision: Precision) -> Option<String> {
    Some(match &value.kind {
        // A result holds no reference.
        None | Some(Kind::NullValue(_) | Kind::ResultReference(_)) => return None,
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::Int64Value(value)) => value.to_string(),
        Some(Kind::Float64Value(value)) => float(*value, precision),
        Some(Kind::TextValue(value)) => value.clone(),
        Some(Kind::BytesValue(value)) => hex(value),
        Some(Kind::TimestampValue(value)) => value.to_string(),
        Some(Kind::ArrayValue(value)) => array_text(value, precision),
        Some(Kind::RecordValue(value)) => format!("({})", list(&value.fields, field_text)),
    })
}

/// Bytes as PostgreSQL's hex format.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 + 2 * bytes.len());
    out.push_str("\\x");
    for byte in bytes {
        write!(out, "{byte:02x}").expect("writing to a String never fails");
    }
    out
}

/// The shortest digits that read back as the same number, with an exponent where PostgreSQL writes one.
pub(crate) fn float(value: f64, precision: Precision) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (plain, scientific) = if precision == Precision::Single {
        #[expect(clippy::cast_possible_truncation, reason = "it was widened from this precision")]
        let value = value as f32;
        (value.to_string(), format!("{value:e}"))
    } else {
        (value.to_string(), format!("{value:e}"))
    };
    let (mantissa, exponent) = scientific.split_once('e').expect("{:e} writes an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a small integer");
    let limit = if precision == Precision::Single { 6 } else { 15 };
    if (-4..limit).contains(&exponent) {
        return plain;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// The lengths of an array's dimensions, outermost first, when they fit its elements.
pub(crate) fn dimensions(array: &ArrayValue) -> Vec<usize> {
    let lengths: Vec<usize> =
        array.dimensions.iter().filter_map(|length| usize::try_from(*length).ok()).collect();
    let product = lengths.iter().try_fold(1_usize, |product, length| product.checked_mul(*length));
    let given = !lengths.is_empty() && !array.elements.is_empty();
    if !given || product != Some(array.elements.len()) {
        return vec![array.elements.len()];
    }
    lengths
}

fn array_text(array: &ArrayValue, precision: Precision) -> String {
    let lengths = dimensions(array);
    let mut bounds = String::new();
    let shifted = array.lower_bounds.iter().any(|low| *low != 1);
    if shifted && array.lower_bounds.len() == lengths.len() && !array.elements.is_empty() {
        for (low, length) in array.lower_bounds.iter().zip(&lengths) {
            let length = i64::try_from(*length).unwrap_or(i64::MAX);
            let high = i64::from(*low).saturating_add(length).saturating_sub(1);
            bounds.push_str(&format!("[{low}:{high}]"));
        }
        bounds.push('=');
    }
    let element = |value: &Value| element_text(value, precision);
    bounds + &nested(&array.elements, &lengths, ['{', '}'], &element)
}

/// The elements of an array between brackets, on a level for each dimension.
pub(crate) fn nested(
    elements: &[Value],
    lengths: &[usize],
    brackets: [char; 2],
    text: &impl Fn(&Value) -> String,
) -> String {
    let items = match lengths {
        [_, inner @ ..] if !inner.is_empty() => {
            let size = inner.iter().product::<usize>().max(1);
            list(elements.chunks(size), |part| nested(part, inner, brackets, text))
        }
        _ => list(elements, text),
    };
    let [open, close] = brackets;
    format!("{open}{items}{close}")
}

/// The texts of items with commas between them.
pub(crate) fn list<T>(items: impl IntoIterator<Item = T>, text: impl FnMut(T) -> String) -> String {
    items.into_iter().map(text).collect::<Vec<_>>().join(",")
}

fn element_text(value: &Value, precision: Precision) -> String {
    match text_with(value, precision) {
        None => "NULL".to_owned(),
        Some(text) if text.eq_ignore_ascii_case("null") => quoted(&text, "\\"),
        Some(text) if needs_quotes(&text, "{},") => quoted(&text, "\\"),
        Some(text) => text,
    }
}

fn field_text(value: &Value) -> String {
    match text_with(value, Precision::Double) {
        None => String::new(),
        Some(text) if needs_quotes(&text, "(),") => quoted(&text, "\""),
        Some(text) => text,
    }
}

fn needs_quotes(item: &str, delimiters: &str) -> bool {
    let is_special = |c: char| delimiters.contains(c) || "\"\\".contains(c) || c.is_whitespace();
    item.is_empty() || item.contains(is_special)
}

/// Returns an item in quotes. A quote in it is escaped by `quote_escape`: arrays and records differ.
fn quoted(item: &str, quote_escape: &str) -> String {
    let escaped = item.replace('\\', "\\\\").replace('"', &format!("{quote_escape}\""));
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::RecordValue;

    fn shown(value: &Value) -> Option<String> {
        text(value, &Column::default())
    }

    fn array(elements: Vec<Value>, dimensions: &[i32], low: &[i32]) -> Value {
        let dimensions = dimensions.to_vec();
        Kind::ArrayValue(ArrayValue { elements, dimensions, lower_bounds: low.to_vec() }).into()
    }

    fn record(fields: Vec<Value>) -> Value {
        Kind::RecordValue(RecordValue { fields }).into()
    }

    #[test]
    fn every_kind_has_its_text() {
        let cases = [
            (Value::bool(true), "true"),
            (Value::bool(false), "false"),
            (Value::int64(i64::MIN), "-9223372036854775808"),
            (Value::float64(1.5), "1.5"),
            (Value::text("it's"), "it's"),
            (Value::bytes([0, 255, 16]), "\\x00ff10"),
            (Value::bytes([]), "\\x"),
            (Value::timestamp(1_769_903_999, 999_999_000), "2026-01-31T23:59:59.999999Z"),
            (Value::timestamp(-62_135_596_800, 0), "0001-01-01T00:00:00Z"),
            (Value::timestamp(0, 0), "1970-01-01T00:00:00Z"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(&value).as_deref(), Some(expected));
        }
        assert_eq!(shown(&Value::null()), None);
        assert_eq!(shown(&Value { kind: None }), None);
    }

    #[test]
    fn floats_look_as_in_postgresql() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(float(value, Precision::Double), expected);
        }
        assert_eq!(float(f64::from(0.1_f32), Precision::Single), "0.1");
        assert_eq!(float(1_000_000.0, Precision::Single), "1e+06");
        assert_eq!(float(123_456.0, Precision::Single), "123456");
    }

    #[test]
    fn arrays_look_as_in_postgresql() {
        let flat = |elements| shown(&array(elements, &[], &[])).unwrap();
        assert_eq!(flat(vec![]), "{}");
        assert_eq!(flat(vec![Value::int64(1), Value::null(), Value::int64(2)]), "{1,NULL,2}");
        let texts = ["a b", "", "null", "q\"\\", "{x,y}", "plain"].map(Value::text).to_vec();
        assert_eq!(flat(texts), r#"{"a b","","null","q\"\\","{x,y}",plain}"#);
        assert_eq!(flat(vec![Value::bytes([1])]), r#"{"\\x01"}"#);

        let six: Vec<Value> = (1..=6).map(Value::int64).collect();
        assert_eq!(shown(&array(six.clone(), &[2, 3], &[])).unwrap(), "{{1,2,3},{4,5,6}}");
        assert_eq!(
            shown(&array(six.clone(), &[2, 3], &[0, 1])).unwrap(),
            "[0:1][1:3]={{1,2,3},{4,5,6}}"
        );
        assert_eq!(
            shown(&array(six.clone(), &[3, 1, 2], &[])).unwrap(),
            "{{{1,2}},{{3,4}},{{5,6}}}"
        );
        assert_eq!(shown(&array(vec![], &[0, i32::MAX, i32::MAX, i32::MAX], &[5])).unwrap(), "{}");
        // Dimensions that do not fit are a server's defect: nothing is hidden because of it.
        assert_eq!(shown(&array(six, &[4, 4], &[])).unwrap(), "{1,2,3,4,5,6}");
    }

    #[test]
    fn records_look_as_in_postgresql() {
        let fields = ["a b", "", "q\"\\", "(x,y)", "plain"].map(Value::text).to_vec();
        assert_eq!(shown(&record(fields)).unwrap(), r#"("a b","","q""\\","(x,y)",plain)"#);
        assert_eq!(shown(&record(vec![Value::int64(1), Value::null()])).unwrap(), "(1,)");
        assert_eq!(shown(&record(vec![])).unwrap(), "()");
        let nested = record(vec![array(vec![Value::int64(1), Value::int64(2)], &[], &[])]);
        assert_eq!(shown(&nested).unwrap(), r#"("{1,2}")"#);
    }
}
