//! Values on their way into a result.

use prost::encoding::decode_varint;
use prost::{DecodeError, Message};

use super::encoded_rows::{BOOL, BYTES, FLOAT64, INT64, NULL, TEXT, messages};
use super::proto::Value;

/// A value on its way into a result, as it is at hand.
#[derive(Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float32(f32),
    Float64(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds of the day.
    Time(i64),
    /// Microseconds since 1970-01-01, without and with a zone.
    Timestamp(i64),
    Timestamptz(i64),
    /// Anything else.
    Value(Value),
}

/// Reads the values of a row, a message `Row`.
pub(crate) fn cells(row: &[u8]) -> impl Iterator<Item = Result<Cell<'_>, DecodeError>> {
    messages(row).map(|value| match scalar(value) {
        Some(cell) => Ok(cell),
        None => Value::decode(value).map(Cell::Value),
    })
}

/// Reads a message `Value` where it stands; `None` for one that has to be decoded.
fn scalar(value: &[u8]) -> Option<Cell<'_>> {
    let (key, mut rest) = value.split_first()?;
    Some(match *key {
        NULL => Cell::Null,
        BOOL => Cell::Bool(*rest == [1]),
        INT64 => Cell::Integer(decode_varint(&mut rest).ok()?.cast_signed()),
        FLOAT64 => Cell::Float64(f64::from_le_bytes(rest.try_into().ok()?)),
        TEXT => Cell::Text(std::str::from_utf8(content(rest)?).ok()?),
        BYTES => Cell::Bytes(content(rest)?),
        _ => return None,
    })
}

/// The bytes behind their length.
fn content(mut rest: &[u8]) -> Option<&[u8]> {
    let length = decode_varint(&mut rest).ok()?;
    (u64::try_from(rest.len()) == Ok(length)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{ArrayValue, Kind, Row};

    fn read(value: Value) -> String {
        let row = Row { values: vec![value] }.encode_to_vec();
        let cells: Result<Vec<_>, _> = cells(&row).collect();
        format!("{:?}", cells.expect("they are values"))
    }

    #[test]
    fn scalar_values_are_read_where_they_stand_and_others_decoded() {
        let long = "x".repeat(300);
        assert_eq!(read(Value::null()), "[Null]");
        assert_eq!(read(Value::bool(true)), "[Bool(true)]");
        assert_eq!(read(Value::bool(false)), "[Bool(false)]");
        assert_eq!(read(Value::int64(0)), "[Integer(0)]");
        assert_eq!(read(Value::int64(i64::MIN)), format!("[Integer({})]", i64::MIN));
        assert_eq!(read(Value::float64(-0.5)), "[Float64(-0.5)]");
        assert_eq!(read(Value::text("")), "[Text(\"\")]");
        assert_eq!(read(Value::text(long.as_str())), format!("[Text({long:?})]"));
        assert_eq!(read(Value::bytes(*b"\xff\0")), "[Bytes([255, 0])]");
        for value in [Value::timestamp(1, 2), Kind::ArrayValue(ArrayValue::default()).into()] {
            assert_eq!(read(value.clone()), format!("[Value({value:?})]"));
        }
    }

    #[test]
    fn malformed_values_are_errors() {
        for value in [&[TEXT, 1, 0xFF][..], &[FLOAT64, 1], &[INT64, 0x80], &[BYTES, 2, 0], &[0xFF]]
        {
            let mut row = vec![1 << 3 | 2, u8::try_from(value.len()).expect("few")];
            row.extend_from_slice(value);
            let cells: Vec<_> = cells(&row).collect();
            assert!(matches!(cells[..], [Err(_)]), "{value:?}: {cells:?}");
        }
    }
}
