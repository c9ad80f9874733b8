//! Values from their text form, as the types' output functions print it.
//!
//! It gives the same value as the binary form would. Text that a native kind cannot hold (a
//! timestamptz beyond protobuf's range, or printed under another DateStyle) stays text: it is what the
//! database says, so nothing can fail here.

use std::str::FromStr;

use super::row_decoder::{ArrayDecoder, Decoder, FieldDecoder};
use super::{array_and_record_text, datetime};
use crate::value::{Kind, RecordValue, Value};

/// The value.
pub(crate) fn decode(decoder: &Decoder, raw: &[u8]) -> Value {
    native(decoder, raw).unwrap_or_else(|| Value::text_or_bytes(raw))
}

/// The value of a type with a kind of its own.
fn native(decoder: &Decoder, raw: &[u8]) -> Option<Value> {
    match decoder {
        Decoder::Bool => match raw {
            b"t" => Some(Value::bool(true)),
            b"f" => Some(Value::bool(false)),
            _ => None,
        },
        Decoder::Int2 => number::<i16>(raw).map(|number| Value::int64(number.into())),
        Decoder::Int4 => number::<i32>(raw).map(|number| Value::int64(number.into())),
        Decoder::Int8 => number::<i64>(raw).map(Value::int64),
        Decoder::Oid => number::<u32>(raw).map(|number| Value::int64(number.into())),
        Decoder::Float4 => number::<f32>(raw).map(|number| Value::float64(number.into())),
        Decoder::Float8 => number::<f64>(raw).map(Value::float64),
        Decoder::Bytea => bytea(raw).map(Value::bytes),
        Decoder::TimestampTz => {
            let micros = datetime::parse_timestamptz(std::str::from_utf8(raw).ok()?)?;
            datetime::timestamp_value(micros)
        }
        Decoder::Array(array) => decode_array(array, raw),
        Decoder::Composite(fields) => decode_composite(fields, raw),
        Decoder::Record => decode_record(raw),
        Decoder::Text
        | Decoder::Char
        | Decoder::Jsonb
        | Decoder::Uuid
        | Decoder::Numeric
        | Decoder::Date
        | Decoder::Time
        | Decoder::TimeTz
        | Decoder::Timestamp
        | Decoder::Interval
        | Decoder::Foreign => None,
    }
}

fn number<T: FromStr>(raw: &[u8]) -> Option<T> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// Both of `bytea_output`'s forms: a function may have set the older one.
fn bytea(raw: &[u8]) -> Option<Vec<u8>> {
    let Some(hex) = raw.strip_prefix(b"\\x") else { return escaped_bytea(raw) };
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(hex_digit(*high)? << 4 | hex_digit(*low)?)).collect()
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn escaped_bytea(raw: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        match rest {
            [] => return Some(bytes),
            [b'\\', b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            [b'\\', ..] => return None,
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

fn decode_array(array: &ArrayDecoder, raw: &[u8]) -> Option<Value> {
    let mut elements = Vec::new();
    let dimensions = array_and_record_text::parse_array(raw, array.delimiter, &mut |element| {
        elements.push(element.map_or_else(Value::null, |raw| decode(&array.element, raw)));
    })?;
    Some(array_and_record_text::array_value(elements, &dimensions))
}

fn decode_composite(declared: &[FieldDecoder], raw: &[u8]) -> Option<Value> {
    let mut fields = Vec::with_capacity(declared.len());
    if !(declared.is_empty() && raw == b"()") {
        // A field that the type got since the connection looked it up is text.
        array_and_record_text::parse_record(raw, &mut |field| {
            let decoder = declared.get(fields.len()).map_or(&Decoder::Text, |it| &it.decoder);
            fields.push(field.map_or_else(Value::null, |raw| decode(decoder, raw)));
        })?;
    }
    Some(Kind::RecordValue(RecordValue { fields }).into())
}

fn decode_record(raw: &[u8]) -> Option<Value> {
    let mut fields = Vec::new();
    array_and_record_text::parse_record(raw, &mut |field| {
        fields.push(field.map_or_else(Value::null, Value::text_or_bytes));
    })?;
    Some(Kind::RecordValue(RecordValue { fields }).into())
}
