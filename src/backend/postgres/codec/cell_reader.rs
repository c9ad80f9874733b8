//! Values on their way into Arrow's arrays, straight from the bytes of the binary format.

use tokio_postgres::types::Type;

use super::column_types::base;
use crate::backend::Cell;

/// A reader of one type; `None` for a value that only its text tells, or that is malformed.
pub(crate) type ReadCell = for<'a> fn(&'a [u8]) -> Option<Cell<'a>>;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Returns the reader of a type; `None` for one that has its value decoded first.
pub(crate) fn reader(ty: &Type) -> Option<ReadCell> {
    Some(match *base(ty) {
        Type::BOOL => |raw| if let [byte] = raw { Some(Cell::Bool(*byte != 0)) } else { None },
        Type::INT2 => |raw| Some(Cell::Integer(i16::from_be_bytes(raw.try_into().ok()?).into())),
        Type::INT4 => |raw| Some(Cell::Integer(i32::from_be_bytes(raw.try_into().ok()?).into())),
        Type::INT8 => |raw| Some(Cell::Integer(i64::from_be_bytes(raw.try_into().ok()?))),
        Type::OID => |raw| Some(Cell::Integer(u32::from_be_bytes(raw.try_into().ok()?).into())),
        Type::FLOAT4 => |raw| Some(Cell::Float32(f32::from_be_bytes(raw.try_into().ok()?))),
        Type::FLOAT8 => |raw| Some(Cell::Float64(f64::from_be_bytes(raw.try_into().ok()?))),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => {
            |raw| std::str::from_utf8(raw).ok().map(Cell::Text)
        }
        Type::BYTEA => |raw| Some(Cell::Bytes(raw)),
        Type::DATE => date,
        Type::TIME => time,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => timestamp,
        _ => return None,
    })
}

fn date(raw: &[u8]) -> Option<Cell<'_>> {
    let days = i32::from_be_bytes(raw.try_into().ok()?);
    let is_finite = days != i32::MAX && days != i32::MIN;
    days.checked_add(EPOCH_DAYS).filter(|_| is_finite).map(Cell::Date)
}

fn time(raw: &[u8]) -> Option<Cell<'_>> {
    let micros = i64::from_be_bytes(raw.try_into().ok()?);
    (0..MICROS_PER_DAY).contains(&micros).then_some(Cell::Micros(micros))
}

fn timestamp(raw: &[u8]) -> Option<Cell<'_>> {
    let micros = i64::from_be_bytes(raw.try_into().ok()?);
    let is_finite = micros != i64::MAX && micros != i64::MIN;
    let since_1970 = micros.checked_add(i64::from(EPOCH_DAYS) * MICROS_PER_DAY);
    since_1970.filter(|_| is_finite).map(Cell::Micros)
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
        assert_eq!(read(&Type::TIMESTAMP, &1_i64.to_be_bytes()), "Some(Micros(946684800000001))");
        assert_eq!(read(&Type::TIMESTAMPTZ, &i64::MAX.to_be_bytes()), "None");
        assert_eq!(read(&Type::TIMESTAMPTZ, &i64::MIN.to_be_bytes()), "None");
        assert_eq!(
            read(&Type::TIME, &(MICROS_PER_DAY - 1).to_be_bytes()),
            "Some(Micros(86399999999))"
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
