//! Parameters of COM_STMT_EXECUTE.
//!
//! Each kind has one type on the wire, whatever the statement makes of it: MariaDB does not type parameters, and the
//! server converts. Text stays text.

use prost_types::Timestamp;

use super::temporal::DateTime;
use crate::backend::mysql::protocol::column_definition as types;
use crate::backend::mysql::protocol::length_encoded::write_string;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Kind, Value};

/// The byte that announces types behind the null bitmap.
const NEW_TYPES: u8 = 1;

/// Writes the values for the placeholders of a statement, as they stand behind the iteration count: the null bitmap,
/// the types and the values. `order` has the number of each placeholder's parameter, from 1: `[2, 1, 2]` for
/// `$2, $1, $2`. The time zone of the session is `ahead` seconds ahead of UTC.
///
/// # Errors
/// Values that are missing or superfluous, and those that MySQL has no form for, name the field, as in `parameters[0]`.
pub(crate) fn encode_parameters(
    values: &[Value],
    order: &[u16],
    ahead: i32,
    out: &mut Vec<u8>,
) -> Result<()> {
    let expected = order.iter().copied().max().map_or(0, usize::from);
    let sent = values.len();
    if expected != sent {
        let message = format!("the statement takes {expected} but {sent} were sent");
        return Err(Error::field(ErrorKind::InvalidParameter, "parameters", message));
    }
    // Also values without a placeholder, as `$1` of `select $2`.
    let kinds: Vec<&Kind> = values
        .iter()
        .enumerate()
        .map(|(index, value)| checked(index, value, ahead))
        .collect::<Result<_>>()?;
    if order.is_empty() {
        return Ok(());
    }
    let bitmap = out.len();
    out.resize(bitmap + order.len().div_ceil(8), 0);
    out.push(NEW_TYPES);
    let bound: Vec<&Kind> =
        order.iter().map(|number| numbered(&kinds, *number)).collect::<Result<_>>()?;
    for (place, kind) in bound.iter().enumerate() {
        if let (Kind::NullValue(_), Some(byte)) = (kind, out.get_mut(bitmap + place / 8)) {
            *byte |= 1 << (place % 8);
        }
    }
    // The second byte would say that an integer has no sign.
    bound.iter().for_each(|kind| out.extend([type_of(kind), 0]));
    bound.iter().for_each(|kind| write(kind, ahead, out));
    Ok(())
}

/// Returns the parameter of a number.
fn numbered<'a>(kinds: &[&'a Kind], number: u16) -> Result<&'a Kind> {
    let index = usize::from(number).checked_sub(1);
    index.and_then(|index| kinds.get(index).copied()).ok_or_else(|| {
        let message = format!("there is no parameter ${number}");
        Error::field(ErrorKind::InvalidParameter, "parameters", message)
    })
}

/// Checks that MySQL has a form for a value.
fn checked(index: usize, value: &Value, ahead: i32) -> Result<&Kind> {
    let rejected = |kind, why: &str| Err(Error::field(kind, format!("parameters[{index}]"), why));
    let Some(kind) = &value.kind else {
        let why = "no kind is set; SQL NULL is a null_value";
        return rejected(ErrorKind::InvalidParameter, why);
    };
    match kind {
        Kind::Float64Value(number) if !number.is_finite() => {
            rejected(ErrorKind::ParameterOutOfRange, "MySQL cannot store NaN and infinities")
        }
        Kind::TimestampValue(at) if local(at, ahead).is_none() => {
            let why = "the timestamp is outside the years 0001 to 9999";
            rejected(ErrorKind::ParameterOutOfRange, why)
        }
        Kind::ArrayValue(_) | Kind::RecordValue(_) | Kind::ResultReference(_) => {
            let why = format!("MySQL has no form for {}", kind.name());
            rejected(ErrorKind::InvalidParameter, &why)
        }
        Kind::NullValue(_)
        | Kind::BoolValue(_)
        | Kind::Int64Value(_)
        | Kind::Float64Value(_)
        | Kind::TextValue(_)
        | Kind::BytesValue(_)
        | Kind::TimestampValue(_) => Ok(kind),
    }
}

fn type_of(kind: &Kind) -> u8 {
    match kind {
        Kind::BoolValue(_) => types::TINY,
        Kind::Int64Value(_) => types::LONG_LONG,
        Kind::Float64Value(_) => types::DOUBLE,
        Kind::TextValue(_) => types::VAR_STRING,
        Kind::BytesValue(_) => types::LONG_BLOB,
        Kind::TimestampValue(_) => types::DATETIME,
        Kind::NullValue(_)
        | Kind::ArrayValue(_)
        | Kind::RecordValue(_)
        | Kind::ResultReference(_) => types::NULL,
    }
}

/// Returns the date and time of a moment in the session's time zone.
fn local(at: &Timestamp, ahead: i32) -> Option<DateTime> {
    DateTime::of_timestamp(at.seconds.checked_add(ahead.into())?, at.nanos)
}

fn write(kind: &Kind, ahead: i32, out: &mut Vec<u8>) {
    match kind {
        Kind::BoolValue(value) => out.push((*value).into()),
        Kind::Int64Value(value) => out.extend(value.to_le_bytes()),
        Kind::Float64Value(value) => out.extend(value.to_le_bytes()),
        Kind::TextValue(text) => write_string(text.as_bytes(), out),
        Kind::BytesValue(bytes) => write_string(bytes, out),
        Kind::TimestampValue(at) => {
            local(at, ahead).unwrap_or_default().write(out);
        }
        Kind::NullValue(_)
        | Kind::ArrayValue(_)
        | Kind::RecordValue(_)
        | Kind::ResultReference(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ArrayValue;

    fn encoded(values: &[Value], order: &[u16]) -> Vec<u8> {
        let mut out = vec![b'>'];
        encode_parameters(values, order, 0, &mut out).expect("they have a form");
        out.split_off(1)
    }

    fn refused(values: &[Value], order: &[u16]) -> (ErrorKind, String) {
        let mut out = Vec::new();
        let error = encode_parameters(values, order, 0, &mut out).expect_err("refused");
        (error.kind(), error.message().to_owned())
    }

    #[test]
    fn each_kind_has_its_type_and_its_bytes() {
        let cases: [(Value, u8, &[u8]); 8] = [
            (Value::bool(true), 1, &[1]),
            (Value::int64(-2), 8, &[0xFE, 255, 255, 255, 255, 255, 255, 255]),
            (Value::float64(1.0), 5, &[0, 0, 0, 0, 0, 0, 0xF0, 0x3F]),
            (Value::text("hä"), 253, &[3, b'h', 0xC3, 0xA4]),
            (Value::text(""), 253, &[0]),
            (Value::bytes([0xFF, 0]), 251, &[2, 0xFF, 0]),
            (Value::timestamp(0, 1_000), 12, &[11, 0xB2, 7, 1, 1, 0, 0, 0, 1, 0, 0, 0]),
            (Value::timestamp(-1, 999_999_500), 12, &[11, 0xB2, 7, 1, 1, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (value, wire_type, bytes) in cases {
            let expected = [&[0, 1, wire_type, 0][..], bytes].concat();
            assert_eq!(encoded(&[value], &[1]), expected);
        }
        assert_eq!(encoded(&[Value::null()], &[1]), [1, 1, 6, 0]);
        assert!(encoded(&[], &[]).is_empty());
        let mut out = Vec::new();
        let moment = [Value::timestamp(0, 0)];
        encode_parameters(&moment, &[1], 7200, &mut out).expect("it has a form");
        assert_eq!(out[4..], [11, 0xB2, 7, 1, 1, 2, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn placeholders_are_bound_by_number() {
        let values = [Value::bool(false), Value::null()];
        assert_eq!(encoded(&values, &[2, 1, 2]), [0b101, 1, 6, 0, 1, 0, 6, 0, 0]);
        let order: Vec<u16> = std::iter::repeat_n(1, 9).collect();
        let many = encoded(&[Value::null()], &order);
        assert_eq!(many[..3], [0xFF, 1, 1]);
        assert_eq!(many.len(), 3 + 18);
    }

    #[test]
    fn values_that_do_not_fit_are_refused_by_their_field() {
        let array = Value::from(Kind::ArrayValue(ArrayValue::default()));
        let invalid = ErrorKind::InvalidParameter;
        let out_of_range = ErrorKind::ParameterOutOfRange;
        let count = "parameters: the statement takes 2 but 1 were sent";
        assert_eq!(refused(&[Value::null()], &[2]), (invalid, count.to_owned()));
        let count = "parameters: the statement takes 0 but 1 were sent";
        assert_eq!(refused(&[Value::null()], &[]), (invalid, count.to_owned()));
        let zero = "parameters: there is no parameter $0";
        assert_eq!(refused(&[Value::null()], &[1, 0]), (invalid, zero.to_owned()));
        let cases = [
            (Value { kind: None }, invalid, "no kind is set; SQL NULL is a null_value"),
            (array, invalid, "MySQL has no form for array_value"),
            (Value::float64(f64::NAN), out_of_range, "MySQL cannot store NaN and infinities"),
            (
                Value::float64(f64::NEG_INFINITY),
                out_of_range,
                "MySQL cannot store NaN and infinities",
            ),
            (
                Value::timestamp(253_402_300_800, 0),
                out_of_range,
                "the timestamp is outside the years 0001 to 9999",
            ),
        ];
        for (value, kind, why) in cases {
            // A value that no placeholder takes is checked as well.
            for order in [&[1, 2][..], &[1]] {
                let values = [Value::null(), value.clone()];
                let values = if order.len() == 2 { &values[..] } else { &values[1..] };
                let index = values.len() - 1;
                let message = format!("parameters[{index}]: {why}");
                assert_eq!(refused(values, order), (kind, message));
            }
        }
    }
}
