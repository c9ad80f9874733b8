//! The encoding of `google.protobuf.Value`, and of the values in it.

use prost::encoding::encode_varint;

use crate::wire_size::widen;

// The keys of the fields of `google.protobuf.Value`, `Struct`, its entries, and `ListValue`.
pub(super) const NULL: u8 = 1 << 3;
pub(super) const NUMBER: u8 = 2 << 3 | 1;
pub(super) const TEXT: u8 = 3 << 3 | 2;
pub(super) const BOOL: u8 = 4 << 3;
pub(super) const STRUCT: u8 = 5 << 3 | 2;
pub(super) const LIST: u8 = 6 << 3 | 2;
/// The entries of a struct, the key of an entry, and the values of a list.
pub(super) const FIRST: u8 = 1 << 3 | 2;
/// The value of an entry.
pub(super) const SECOND: u8 = 2 << 3 | 2;

/// The largest integer that a number of JSON holds exactly everywhere, 2^53.
pub(super) const MAX_EXACT: i64 = 1 << 53;

pub(super) fn delimited(out: &mut Vec<u8>, key: u8, content: &[u8]) {
    out.push(key);
    encode_varint(widen(content.len()), out);
    out.extend_from_slice(content);
}

pub(super) fn add_entry(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut entry = Vec::with_capacity(name.len() + value.len() + 8);
    delimited(&mut entry, FIRST, name.as_bytes());
    delimited(&mut entry, SECOND, value);
    delimited(out, FIRST, &entry);
}

pub(super) fn list(values: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut content = Vec::new();
    values.for_each(|value| delimited(&mut content, FIRST, &value));
    let mut list = Vec::with_capacity(content.len() + 8);
    delimited(&mut list, LIST, &content);
    list
}

pub(super) fn null() -> Vec<u8> {
    vec![NULL, 0]
}

pub(super) fn text(value: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(value.len() + 8);
    delimited(&mut encoded, TEXT, value.as_bytes());
    encoded
}

/// Encodes an integer: a number, or text where not every reader of JSON would keep its digits.
pub(super) fn integer(value: i64) -> Vec<u8> {
    let exact = i32::try_from(value).map(f64::from).ok();
    match exact.or_else(|| value.to_string().parse().ok()) {
        Some(number) if (-MAX_EXACT..=MAX_EXACT).contains(&value) => float(number),
        _ => text(&value.to_string()),
    }
}

/// Encodes a number; what JSON has no number for is text.
pub(super) fn float(value: f64) -> Vec<u8> {
    if value.is_nan() {
        return text("NaN");
    }
    if value.is_infinite() {
        return text(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let mut encoded = vec![NUMBER];
    encoded.extend(value.to_le_bytes());
    encoded
}
