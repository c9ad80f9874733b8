//! The values of the list: as parameters, and compared with those of results.

use std::str::FromStr as _;

use prost_types::Timestamp;
use rowgate::value::Kind;
use rowgate::value::proto::{ArrayValue, Column, DataType, RecordValue, ResultReference, Value};
use serde_json::{Value as Json, json};

use super::cases::{list, text};
use super::documents;

/// The values of a list as parameters.
pub(super) fn parameters(values: &Json) -> Vec<Value> {
    list(values).iter().map(parameter).collect()
}

/// One value as a parameter.
pub(super) fn parameter(value: &Json) -> Value {
    let (form, content) = form_of(value);
    let as_text = text(&content);
    match form.as_str() {
        "null" => Value::null(),
        "bool" => Value::bool(content == true),
        "int" => as_text.parse().map_or_else(|_large| Value::text(&as_text), Value::int64),
        "float" => Value::float64(as_text.parse().expect("a float")),
        "bytes" => Value::bytes(bytes(&as_text)),
        "timestamptz" if as_text.ends_with('Z') => {
            let time = Timestamp::from_str(&as_text).expect("an instant");
            Value::timestamp(time.seconds, time.nanos)
        }
        "array" => array(value),
        "record" => Kind::RecordValue(RecordValue { fields: parameters(&content) }).into(),
        "reference" => {
            let statement = content["statement"].as_u64().expect("a number");
            let statement = u32::try_from(statement).expect("it is small");
            let column = text(&content["column"]);
            Kind::ResultReference(ResultReference { statement, column }).into()
        }
        _ => Value::text(as_text),
    }
}

/// The form of a value, and what it holds.
fn form_of(value: &Json) -> (String, Json) {
    match value {
        Json::Null => ("null".to_owned(), Json::Null),
        Json::Bool(_) => ("bool".to_owned(), value.clone()),
        Json::Number(number) => ("int".to_owned(), json!(number.to_string())),
        Json::String(_) => ("text".to_owned(), value.clone()),
        Json::Object(members) if members.contains_key("text_repeated") => {
            let (text, times) = (&value["text_repeated"][0], &value["text_repeated"][1]);
            let times = usize::try_from(times.as_u64().expect("a number")).expect("it is small");
            ("text".to_owned(), json!(text.as_str().expect("a text").repeat(times)))
        }
        Json::Object(members) => {
            let mut members = members.iter().filter(|(name, _)| *name != "lower_bounds");
            let (form, content) = members.next().expect("it has a form");
            (form.clone(), content.clone())
        }
        Json::Array(_) => panic!("not a value: {value}"),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn array(value: &Json) -> Value {
    let mut dimensions = Vec::new();
    let mut level = value;
    while let Some(elements) = level["array"].as_array() {
        dimensions.push(i32::try_from(elements.len()).expect("it is small"));
        level = elements.first().unwrap_or(&Json::Null);
    }
    let lower_bounds = list(&value["lower_bounds"]);
    let bound =
        |bound: &Json| bound.as_i64().and_then(|n| i32::try_from(n).ok()).expect("a number");
    // One dimension from 1 need not be said.
    if lower_bounds.is_empty() && dimensions.len() == 1 {
        dimensions.clear();
    }
    let mut elements = Vec::new();
    flatten(value, &mut elements);
    let lower_bounds = lower_bounds.iter().map(bound).collect();
    Kind::ArrayValue(ArrayValue { elements, dimensions, lower_bounds }).into()
}

fn flatten(value: &Json, elements: &mut Vec<Value>) {
    match value["array"].as_array() {
        Some(inner) => inner.iter().for_each(|one| flatten(one, elements)),
        None => elements.push(parameter(value)),
    }
}

/// Tells if a value of a result is the expected one.
pub(super) fn is_equal(expected: &Json, value: &Value, column: &Column) -> bool {
    are_the_same(expected, &found(value, column.r#type(), column.element_type()))
}

/// A value of a result, as it is written in the list.
pub(super) fn found(value: &Value, data_type: DataType, element: DataType) -> Json {
    match value.kind.as_ref().expect("a result has no unset value") {
        Kind::NullValue(_) => Json::Null,
        Kind::BoolValue(bool) => json!(bool),
        Kind::Int64Value(number) => json!({"int": number.to_string()}),
        Kind::Float64Value(number) => json!({"float": number.to_string()}),
        Kind::BytesValue(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"bytes": hex})
        }
        Kind::TimestampValue(time) => json!({"timestamptz": time.to_string()}),
        Kind::TextValue(text) => json!({form_of_text(text, data_type): text}),
        Kind::RecordValue(record) => {
            let field = |value| found(value, DataType::Text, DataType::Unspecified);
            json!({"record": record.fields.iter().map(field).collect::<Vec<_>>()})
        }
        Kind::ArrayValue(array) => found_array(array, element),
        Kind::ResultReference(_) => panic!("a result has no references"),
    }
}

fn found_array(array: &ArrayValue, element: DataType) -> Json {
    let mut level: Vec<Json> =
        array.elements.iter().map(|one| found(one, element, DataType::Unspecified)).collect();
    for length in array.dimensions.iter().skip(1).rev() {
        let length = usize::try_from(*length).expect("a length");
        level = level.chunks(length).map(|inner| json!({"array": inner})).collect();
    }
    if array.lower_bounds.iter().all(|bound| *bound == 1) {
        return json!({"array": level});
    }
    json!({"array": level, "lower_bounds": array.lower_bounds})
}

fn form_of_text(text: &str, data_type: DataType) -> String {
    let is_whole =
        !text.is_empty() && text.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
    let form = match data_type {
        DataType::Int16 | DataType::Int32 | DataType::Int64 if is_whole => "int",
        DataType::Numeric => "numeric",
        DataType::Uuid => "uuid",
        DataType::Json => "json",
        DataType::Date => "date",
        DataType::Time => "time",
        DataType::Timetz => "timetz",
        DataType::Timestamp => "timestamp",
        DataType::Timestamptz => "timestamptz",
        DataType::Interval => "interval",
        DataType::Enum => "enum",
        DataType::Range => "range",
        DataType::Unspecified
        | DataType::Bool
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Text
        | DataType::Bytes
        | DataType::Array
        | DataType::Record
        | DataType::Other => "text",
    };
    form.to_owned()
}

fn are_the_same(expected: &Json, found: &Json) -> bool {
    let (form, left) = form_of(expected);
    let (found_form, right) = form_of(found);
    if form != found_form {
        return false;
    }
    match form.as_str() {
        "float" => {
            let number = |json: &Json| text(json).parse::<f64>().expect("a float");
            let (left, right) = (number(&left), number(&right));
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        "json" => documents::are_equal(&text(&left), &text(&right)),
        "time" | "timetz" | "timestamp" | "timestamptz" => {
            without_zeros(&text(&left)) == without_zeros(&text(&right))
        }
        "array" | "record" => {
            let (left, right) = (list(&left), list(&right));
            let bounds = |json: &Json| json.get("lower_bounds").cloned();
            left.len() == right.len()
                && left.iter().zip(&right).all(|(left, right)| are_the_same(left, right))
                && bounds(expected) == bounds(found)
        }
        _ => left == right,
    }
}

/// The same time without zeros at the end of its fraction.
fn without_zeros(time: &str) -> String {
    let Some((whole, behind)) = time.split_once('.') else { return time.to_owned() };
    let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    let (fraction, zone) = behind.split_at(end);
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}{zone}"),
        fraction => format!("{whole}.{fraction}{zone}"),
    }
}
