//! Ranges and multiranges as PostgreSQL prints them, from their binary format.

use bytes::Buf;
use tokio_postgres::types::{Kind as TypeKind, Type};

use super::binary_fields::take_field;
use super::scalar_decoder::ScalarDecoder;
use super::{column_types, datetime, geometry};
use crate::value::Kind;

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// A printer of the bounds of a range, from their binary format.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BoundText {
    Float4,
    Float8,
    Timestamptz,
    /// A type whose value is its text, or an integer.
    Scalar(ScalarDecoder),
}

impl BoundText {
    /// Returns the printer of a subtype, `None` if it has none.
    pub(super) fn of(subtype: &Type) -> Option<Self> {
        match (column_types::base(subtype), subtype.kind()) {
            (&Type::FLOAT4, _) => Some(Self::Float4),
            (&Type::FLOAT8, _) => Some(Self::Float8),
            (&Type::TIMESTAMPTZ, _) => Some(Self::Timestamptz),
            (&Type::BOOL | &Type::BYTEA, _) => None,
            (_, TypeKind::Enum(_)) => Some(Self::Scalar(ScalarDecoder::TEXT)),
            (base, _) => ScalarDecoder::of(base).map(Self::Scalar),
        }
    }

    fn print(self, raw: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Self::Float4 => geometry::float4(f32::from_be_bytes(raw.try_into().ok()?)).into(),
            Self::Float8 => geometry::float8(f64::from_be_bytes(raw.try_into().ok()?)).into(),
            Self::Timestamptz => {
                datetime::timestamptz(i64::from_be_bytes(raw.try_into().ok()?)).into()
            }
            Self::Scalar(scalar) => match (scalar.binary)(raw)?.kind? {
                Kind::TextValue(text) => text.into(),
                Kind::Int64Value(number) => number.to_string().into(),
                // Text that is not UTF-8.
                Kind::BytesValue(bytes) => bytes,
                Kind::NullValue(_)
                | Kind::BoolValue(_)
                | Kind::Float64Value(_)
                | Kind::TimestampValue(_)
                | Kind::ArrayValue(_)
                | Kind::RecordValue(_)
                | Kind::ResultReference(_) => return None,
            },
        })
    }
}

/// Reads the format of `range_send`, and prints as `range_out` does.
pub(super) fn range_text(bound: BoundText, mut raw: &[u8]) -> Option<Vec<u8>> {
    let flags = raw.try_get_u8().ok()?;
    let has = |flag: u8| flags & flag != 0;
    if has(EMPTY) {
        return raw.is_empty().then(|| b"empty".to_vec());
    }
    let mut text = vec![if has(LOWER_INCLUSIVE) { b'[' } else { b'(' }];
    if !has(LOWER_INFINITE) {
        write_bound(&bound.print(take_field(&mut raw)??)?, &mut text);
    }
    text.push(b',');
    if !has(UPPER_INFINITE) {
        write_bound(&bound.print(take_field(&mut raw)??)?, &mut text);
    }
    text.push(if has(UPPER_INCLUSIVE) { b']' } else { b')' });
    raw.is_empty().then_some(text)
}

/// Reads the format of `multirange_send`, and prints as `multirange_out` does.
pub(super) fn multirange_text(bound: BoundText, mut raw: &[u8]) -> Option<Vec<u8>> {
    let count = raw.try_get_u32().ok()?;
    let mut text = vec![b'{'];
    for index in 0..count {
        if index > 0 {
            text.push(b',');
        }
        text.extend(range_text(bound, take_field(&mut raw)??)?);
    }
    text.push(b'}');
    raw.is_empty().then_some(text)
}

/// Quotes a bound where `range_out` does; quotes and backslashes are doubled.
fn write_bound(bound: &[u8], text: &mut Vec<u8>) {
    // With `isspace` of C.
    let special = |byte: &u8| b"\"\\()[], ".contains(byte) || matches!(byte, b'\t'..=b'\r');
    if !bound.is_empty() && !bound.iter().any(special) {
        text.extend(bound);
        return;
    }
    text.push(b'"');
    for byte in bound {
        if matches!(byte, b'"' | b'\\') {
            text.push(*byte);
        }
        text.push(*byte);
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(flags: u8, bounds: &[&[u8]]) -> Vec<u8> {
        let mut raw = vec![flags];
        for bound in bounds {
            raw.extend(i32::try_from(bound.len()).expect("short").to_be_bytes());
            raw.extend(*bound);
        }
        raw
    }

    #[test]
    fn ranges_are_printed_as_the_database_does() {
        let day = 1_i32.to_be_bytes();
        let moment = 0_i64.to_be_bytes();
        let cases: [(Type, Vec<u8>, &str); 7] = [
            (Type::INT4, raw(EMPTY, &[]), "empty"),
            (Type::INT4, raw(LOWER_INCLUSIVE, &[&day, &day]), "[1,1)"),
            (Type::DATE, raw(LOWER_INCLUSIVE | UPPER_INFINITE, &[&day]), "[2000-01-02,)"),
            (Type::DATE, raw(LOWER_INFINITE | UPPER_INFINITE, &[]), "(,)"),
            (
                Type::TIMESTAMPTZ,
                raw(LOWER_INFINITE | UPPER_INCLUSIVE, &[&moment]),
                "(,\"2000-01-01 00:00:00+00\"]",
            ),
            (Type::TEXT, raw(0, &[b"", b"a\"\\b"]), "(\"\",\"a\"\"\\\\b\")"),
            (
                Type::FLOAT8,
                raw(0, &[&0.1_f64.to_be_bytes(), &1e15_f64.to_be_bytes()]),
                "(0.1,1e+15)",
            ),
        ];
        for (bound, raw, text) in cases {
            let bound = BoundText::of(&bound).expect("it has a printer");
            assert_eq!(range_text(bound, &raw), Some(text.as_bytes().to_vec()));
            assert_eq!(range_text(bound, &[&raw[..], &[0]].concat()), None);
            assert_eq!(range_text(bound, &raw[..raw.len() - 1]), None);
        }
    }

    #[test]
    fn multiranges_are_printed_as_the_database_does() {
        let day = 1_i32.to_be_bytes();
        let one = raw(LOWER_INCLUSIVE, &[&day, &day]);
        let bound = BoundText::of(&Type::INT4).expect("it has a printer");
        let two = [&2_u32.to_be_bytes()[..], &raw(0, &[&one, &one])[1..]].concat();
        assert_eq!(multirange_text(bound, &two), Some(b"{[1,1),[1,1)}".to_vec()));
        assert_eq!(multirange_text(bound, &[0; 4]), Some(b"{}".to_vec()));
        assert_eq!(multirange_text(bound, &[0, 0, 0, 1]), None);
    }
}
