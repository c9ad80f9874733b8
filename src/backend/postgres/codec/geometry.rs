//! Geometric values as PostgreSQL prints them with `extra_float_digits` of 1, from their binary format.

use std::fmt::Write as _;

use bytes::Buf;
use tokio_postgres::types::Type;

use crate::value::Value;

/// A decoder of the binary format; `None` when the bytes are not a value of the type.
type Decode = fn(&[u8]) -> Option<Value>;

/// Returns the binary decoder of a geometric type, `None` for every other type.
pub(super) fn decoder(ty: &Type) -> Option<Decode> {
    Some(match *ty {
        Type::POINT => |raw| print(raw, point),
        Type::LSEG => |raw| print(raw, |raw| Some(format!("[{}]", points(raw, 2)?))),
        Type::BOX => |raw| print(raw, |raw| points(raw, 2)),
        Type::LINE => |raw| print(raw, |raw| Some(format!("{{{}}}", numbers(raw, 3)?))),
        Type::CIRCLE => {
            |raw| print(raw, |raw| Some(format!("<{},{}>", point(raw)?, numbers(raw, 1)?)))
        }
        Type::POLYGON => |raw| print(raw, |raw| Some(format!("({})", counted_points(raw)?))),
        Type::PATH => |raw| print(raw, path),
        _ => return None,
    })
}

/// Prints a value that takes all bytes.
fn print(mut raw: &[u8], text: fn(&mut &[u8]) -> Option<String>) -> Option<Value> {
    let text = text(&mut raw)?;
    raw.is_empty().then(|| Value::text(text))
}

fn path(raw: &mut &[u8]) -> Option<String> {
    let is_closed = raw.try_get_u8().ok()? != 0;
    let points = counted_points(raw)?;
    Some(if is_closed { format!("({points})") } else { format!("[{points}]") })
}

fn counted_points(raw: &mut &[u8]) -> Option<String> {
    let count = usize::try_from(raw.try_get_i32().ok()?).ok()?;
    points(raw, count)
}

fn points(raw: &mut &[u8], count: usize) -> Option<String> {
    let mut text = String::new();
    for index in 0..count {
        if index > 0 {
            text.push(',');
        }
        text += &point(raw)?;
    }
    Some(text)
}

fn point(raw: &mut &[u8]) -> Option<String> {
    Some(format!("({})", numbers(raw, 2)?))
}

fn numbers(raw: &mut &[u8], count: usize) -> Option<String> {
    let mut text = String::new();
    for index in 0..count {
        if index > 0 {
            text.push(',');
        }
        text += &float8(raw.try_get_f64().ok()?);
    }
    Some(text)
}

/// Prints as `float8out` does: the shortest digits that are read as the same number, in scientific notation below
/// 1e-4 and from 1e15.
pub(super) fn float8(number: f64) -> String {
    float(number, &format!("{number:e}"), 15)
}

/// Prints as `float4out` does: in scientific notation below 1e-4 and from 1e6.
pub(super) fn float4(number: f32) -> String {
    float(number.into(), &format!("{number:e}"), 6)
}

/// Prints a number of which Rust's scientific notation is given, as in `-1.5e-7`.
fn float(number: f64, scientific: &str, first_scientific: i32) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific.to_owned() };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..first_scientific).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let mut text = String::new();
    let digits = digits.strip_prefix('-').map_or(digits, |digits| {
        text.push('-');
        digits
    });
    let digits = digits.replace('.', "");
    match usize::try_from(exponent) {
        Ok(exponent) if digits.len() > exponent + 1 => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            text += &format!("{whole}.{fraction}");
        }
        Ok(exponent) => text += &format!("{digits:0<width$}", width = exponent + 1),
        Err(_) => {
            let zeros = usize::try_from(-1 - exponent).unwrap_or_default();
            // Writing to a String cannot fail.
            write!(text, "0.{:0<zeros$}{digits}", "").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn doubles(numbers: &[f64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn numbers_are_printed_as_the_database_does() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (123_456_789_012_345.0, "123456789012345"),
            (100_000_000_000_000.0, "100000000000000"),
            (1e15, "1e+15"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, text) in cases {
            assert_eq!(float8(number), text);
        }
        for (number, text) in
            [(123_456.0_f32, "123456"), (1e6, "1e+06"), (0.1, "0.1"), (1e-45, "1e-45")]
        {
            assert_eq!(float4(number), text);
        }
    }

    #[test]
    fn shapes_are_printed_as_the_database_does() {
        let path = |closed: u8| {
            [vec![closed], 2_i32.to_be_bytes().to_vec(), doubles(&[0.0, 1.0, 2.0, 3.5])].concat()
        };
        let polygon = path(0)[1..].to_vec();
        let cases = [
            (Type::POINT, doubles(&[1.0, -2.5]), "(1,-2.5)"),
            (Type::LSEG, doubles(&[1.0, 2.0, 3.0, 4.0]), "[(1,2),(3,4)]"),
            (Type::BOX, doubles(&[3.0, 4.0, 1.0, 2.0]), "(3,4),(1,2)"),
            (Type::LINE, doubles(&[1.0, -1.0, 0.5]), "{1,-1,0.5}"),
            (Type::CIRCLE, doubles(&[1.0, 2.0, 3.0]), "<(1,2),3>"),
            (Type::PATH, path(1), "((0,1),(2,3.5))"),
            (Type::PATH, path(0), "[(0,1),(2,3.5)]"),
            (Type::POLYGON, polygon, "((0,1),(2,3.5))"),
        ];
        for (ty, raw, text) in cases {
            let decode = decoder(&ty).expect("it is geometric");
            assert_eq!(decode(&raw), Some(Value::text(text)), "{ty}");
            assert_eq!(decode(&raw[..raw.len() - 1]), None, "{ty}");
            assert_eq!(decode(&[&raw[..], &[0]].concat()), None, "{ty}");
        }
        assert!(decoder(&Type::INT4).is_none());
    }

    proptest! {
        #[test]
        fn a_number_is_read_back(bits: u64) {
            let number = f64::from_bits(bits);
            let read: f64 = float8(number).parse().expect("it is a number");
            prop_assert!(read.to_bits() == bits || number.is_nan());
        }
    }
}
