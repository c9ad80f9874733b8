//! Decoders of the built-in scalar types, from their binary and from their text format.

use tokio_postgres::types::Type;

use super::{datetime, geometry, numeric};
use crate::value::Value;

/// A decoder of one format; `None` when the bytes are not a value of the type.
type Decode = fn(&[u8]) -> Option<Value>;

/// The decoder of a number that both formats hold without loss.
macro_rules! number {
    ($number:ty, $value:path) => {
        Self {
            binary: |raw| {
                let number = <$number>::from_be_bytes(raw.try_into().ok()?);
                Some($value(number.into()))
            },
            text: |raw| {
                let number: $number = std::str::from_utf8(raw).ok()?.parse().ok()?;
                Some($value(number.into()))
            },
        }
    };
}

/// The decoders of a scalar type. Both return the same value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScalarDecoder {
    /// Decodes the bytes that the type's send function writes.
    pub(crate) binary: Decode,
    /// Decodes the text that the type's output function prints.
    pub(crate) text: Decode,
}

impl ScalarDecoder {
    /// The decoder of types whose binary format is their text.
    pub(crate) const TEXT: Self = Self::as_text(text);

    /// The decoder of intervals before PostgreSQL 17.
    pub(crate) const FINITE_INTERVAL: Self =
        Self::as_text(|raw| interval_from_binary(raw, datetime::finite_interval));

    /// The decoder of a type whose value is its text.
    const fn as_text(binary: Decode) -> Self {
        Self { binary, text }
    }

    /// Returns the decoder of a built-in type, `None` for types that are read in text only.
    pub(crate) fn of(ty: &Type) -> Option<Self> {
        Some(match *ty {
            Type::BOOL => Self { binary: bool_from_binary, text: bool_from_text },
            Type::INT2 => number!(i16, Value::int64),
            Type::INT4 => number!(i32, Value::int64),
            Type::INT8 => number!(i64, Value::int64),
            Type::OID => number!(u32, Value::int64),
            Type::FLOAT4 => number!(f32, Value::float64),
            Type::FLOAT8 => number!(f64, Value::float64),
            Type::BYTEA => Self { binary: |raw| Some(Value::bytes(raw)), text: bytea_from_text },
            Type::TIMESTAMPTZ => Self {
                binary: |raw| int8(raw).map(datetime::timestamptz_value),
                text: timestamptz_from_text,
            },
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => Self::TEXT,
            Type::XML | Type::JSON | Type::REFCURSOR | Type::CSTRING | Type::VOID => Self::TEXT,
            Type::CHAR => Self::as_text(char_from_binary),
            // Behind the version of the format.
            Type::JSONB => Self::as_text(|raw| text(raw.strip_prefix(b"\x01")?)),
            Type::UUID => Self::as_text(uuid_from_binary),
            Type::NUMERIC => Self::as_text(|raw| numeric::to_text(raw).map(Value::text)),
            Type::DATE => Self::as_text(|raw| int4(raw).map(datetime::date).map(Value::text)),
            Type::TIME => Self::as_text(|raw| int8(raw).map(datetime::time).map(Value::text)),
            Type::TIMETZ => Self::as_text(timetz_from_binary),
            Type::TIMESTAMP => {
                Self::as_text(|raw| int8(raw).map(datetime::timestamp).map(Value::text))
            }
            Type::INTERVAL => Self::as_text(|raw| interval_from_binary(raw, datetime::interval)),
            _ => Self::as_text(geometry::decoder(ty)?),
        })
    }
}

fn int4(raw: &[u8]) -> Option<i32> {
    raw.try_into().ok().map(i32::from_be_bytes)
}

fn int8(raw: &[u8]) -> Option<i64> {
    raw.try_into().ok().map(i64::from_be_bytes)
}

fn text(raw: &[u8]) -> Option<Value> {
    Some(Value::text_or_bytes(raw))
}

fn bool_from_binary(raw: &[u8]) -> Option<Value> {
    if let [byte] = raw { Some(Value::bool(*byte != 0)) } else { None }
}

fn bool_from_text(raw: &[u8]) -> Option<Value> {
    match raw {
        b"t" => Some(Value::bool(true)),
        b"f" => Some(Value::bool(false)),
        _ => None,
    }
}

/// `charout`: a zero byte is the empty text, and a byte outside ASCII is printed in octal.
fn char_from_binary(raw: &[u8]) -> Option<Value> {
    let [byte] = raw else { return None };
    Some(Value::text(match byte {
        0 => String::new(),
        1..=0x7F => char::from(*byte).to_string(),
        0x80..=0xFF => format!("\\{byte:03o}"),
    }))
}

fn uuid_from_binary(raw: &[u8]) -> Option<Value> {
    let mut text = format!("{:032x}", u128::from_be_bytes(raw.try_into().ok()?));
    for hyphen in [8, 13, 18, 23] {
        text.insert(hyphen, '-');
    }
    Some(Value::text(text))
}

fn timetz_from_binary(raw: &[u8]) -> Option<Value> {
    let (micros, west) = raw.split_at_checked(8)?;
    Some(Value::text(datetime::timetz(int8(micros)?, int4(west)?)))
}

fn interval_from_binary(raw: &[u8], print: fn(i64, i32, i32) -> String) -> Option<Value> {
    let (micros, rest) = raw.split_at_checked(8)?;
    let (days, months) = rest.split_at_checked(4)?;
    Some(Value::text(print(int8(micros)?, int4(days)?, int4(months)?)))
}

fn timestamptz_from_text(raw: &[u8]) -> Option<Value> {
    let micros = datetime::parse_timestamptz(std::str::from_utf8(raw).ok()?)?;
    datetime::timestamp_value(micros)
}

/// Decodes both formats of `bytea_output`: a function may have set `escape`.
fn bytea_from_text(raw: &[u8]) -> Option<Value> {
    let Some(hex) = raw.strip_prefix(b"\\x") else { return unescape_bytea(raw).map(Value::bytes) };
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.collect::<Option<Vec<u8>>>().map(Value::bytes)
}

fn unescape_bytea(raw: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => (b'\\', tail),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)
            }
            (b'\\', _) => return None,
            (byte, tail) => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    Some(bytes)
}
