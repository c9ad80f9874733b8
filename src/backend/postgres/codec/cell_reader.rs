//! Values on their way into a result, straight from the bytes of the binary format.

use tokio_postgres::types::{Kind as TypeKind, Type};

use super::column_types::base;
use super::datetime::timestamp_parts;
use crate::value::RowEncoder;
use crate::value::cell::Cell;

/// A reader of one type; `None` for a value that only its text tells, or that is malformed.
pub(crate) type ReadCell = for<'a> fn(&'a [u8]) -> Option<Cell<'a>>;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Returns the reader of a type; `None` for one that has its value decoded first.
pub(crate) fn reader(ty: &Type) -> Option<ReadCell> {
    let ty = base(ty);
    if let TypeKind::Enum(_) = ty.kind() {
        return Some(text);
    }
    Some(match *ty {
        Type::BOOL => |raw| if let [byte] = raw { Some(Cell::Bool(*byte != 0)) } else { None },
        Type::INT2 => |raw| Some(Cell::Integer(i16::from_be_bytes(raw.try_into().ok()?).into())),
        Type::INT4 => |raw| Some(Cell::Integer(i32::from_be_bytes(raw.try_into().ok()?).into())),
        Type::INT8 => |raw| Some(Cell::Integer(i64::from_be_bytes(raw.try_into().ok()?))),
        Type::OID => |raw| Some(Cell::Integer(u32::from_be_bytes(raw.try_into().ok()?).into())),
        Type::FLOAT4 => |raw| Some(Cell::Float32(f32::from_be_bytes(raw.try_into().ok()?))),
        Type::FLOAT8 => |raw| Some(Cell::Float64(f64::from_be_bytes(raw.try_into().ok()?))),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => text,
        Type::UNKNOWN | Type::XML | Type::REFCURSOR | Type::CSTRING | Type::VOID => text,
        Type::BYTEA => |raw| Some(Cell::Bytes(raw)),
        Type::DATE => date,
        Type::TIME => time,
        Type::TIMESTAMP => |raw| since_1970(raw).map(Cell::Timestamp),
        Type::TIMESTAMPTZ => |raw| since_1970(raw).map(Cell::Timestamptz),
        _ => return None,
    })
}

/// Encodes a value as its decoder's would be; false if that has another form.
#[inline]
pub(crate) fn encode(cell: Cell<'_>, row: &mut RowEncoder) -> bool {
    match cell {
        Cell::Bool(value) => row.bool(value),
        Cell::Integer(value) => row.int64(value),
        Cell::Float32(value) => row.float64(value.into()),
        Cell::Float64(value) => row.float64(value),
        Cell::Text(text) => row.text(text),
        Cell::Bytes(bytes) => row.bytes(bytes),
        Cell::Timestamptz(micros) => match timestamp_parts(micros) {
            Some((seconds, nanos)) => row.timestamp(seconds, nanos),
            None => return false,
        },
        Cell::Null | Cell::Date(_) | Cell::Time(_) | Cell::Timestamp(_) | Cell::Value(_) => {
            return false;
        }
    }
    true
}

fn text(raw: &[u8]) -> Option<Cell<'_>> {
    std::str::from_utf8(raw).ok().map(Cell::Text)
}

fn date(raw: &[u8]) -> Option<Cell<'_>> {
    let days = i32::from_be_bytes(raw.try_into().ok()?);
    let is_finite = days != i32::MAX && days != i32::MIN;
    days.checked_add(EPOCH_DAYS).filter(|_| is_finite).map(Cell::Date)
}

fn time(raw: &[u8]) -> Option<Cell<'_>> {
    let micros = i64::from_be_bytes(raw.try_into().ok()?);
    (0..MICROS_PER_DAY).contains(&micros).then_some(Cell::Time(micros))
}

fn since_1970(raw: &[u8]) -> Option<i64> {
    let micros = i64::from_be_bytes(raw.try_into().ok()?);
    let is_finite = micros != i64::MAX && micros != i64::MIN;
    let since_1970 = micros.checked_add(i64::from(EPOCH_DAYS) * MICROS_PER_DAY);
    since_1970.filter(|_| is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ty: &Type, raw: &[u8]) -> String {
        format!("{:?}", reader(ty).expect("it has a reader")(raw))
    }

    #[test]
    fn times_count_from_1970_and_the_infinities_are_left_to_their_text() {
        assert_eq!(read(&Type::DATE, &0_i32.to_be_bytes()), "Some(Date(10957))");
        assert_eq!(read(&Type::DATE, &i32::MAX.to_be_bytes()), "None");
        assert_eq!(read(&Type::DATE, &i32::MIN.to_be_bytes()), "None");
        assert_eq!(
            read(&Type::TIMESTAMP, &1_i64.to_be_bytes()),
            "Some(Timestamp(946684800000001))"
        );
        assert_eq!(read(&Type::TIMESTAMPTZ, &i64::MAX.to_be_bytes()), "None");
        assert_eq!(read(&Type::TIMESTAMPTZ, &i64::MIN.to_be_bytes()), "None");
        assert_eq!(
            read(&Type::TIME, &(MICROS_PER_DAY - 1).to_be_bytes()),
            "Some(Time(86399999999))"
        );
        assert_eq!(read(&Type::TIME, &MICROS_PER_DAY.to_be_bytes()), "None");
    }

    #[test]
    fn malformed_bytes_are_not_read() {
        for ty in [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::FLOAT8, Type::DATE] {
            assert_eq!(read(&ty, b"abc"), "None", "{ty}");
        }
        assert_eq!(read(&Type::TEXT, b"\xff"), "None");
        assert!(reader(&Type::NUMERIC).is_none());
    }
}
