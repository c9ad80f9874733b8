//! Values as the client of MariaDB and MySQL prints them: the other half of the comparison, written from the servers'
//! documentation and not from the server's codec.

use rowgate::value::Kind;
use rowgate::value::proto::{Column, DataType, Value};

use super::render::timestamp;

/// The digits of a FLOAT that the servers print.
const FLOAT_DIGITS: usize = 6;

/// The most digits before the point, and zeros behind it, that are printed without an exponent.
const PLAIN_DIGITS: i32 = 15;

/// The text of a column's value; `declared` is the column's type with its lengths, empty for an expression.
pub(super) fn render_mariadb(value: &Value, column: &Column, declared: &str) -> String {
    match value.kind.as_ref().expect("a result holds no unset value") {
        // The client prints bytes in hexadecimal digits, also where there are none.
        Kind::NullValue(_) if column.r#type() == DataType::Bytes || column.type_name == "bit" => {
            "0x".to_owned()
        }
        Kind::NullValue(_) => "NULL".to_owned(),
        // Only bit(1) is one.
        Kind::BoolValue(bit) => format!("0x{:02X}", u8::from(*bit)),
        Kind::Int64Value(number) if column.type_name == "year" => format!("{number:04}"),
        Kind::Int64Value(number) if declared.contains("zerofill") => {
            let width = lengths(declared)[0];
            format!("{number:0width$}")
        }
        Kind::Int64Value(number) => number.to_string(),
        Kind::Float64Value(number) => match lengths(declared)[..] {
            [_, decimals] => format!("{number:.decimals$}"),
            _ => float(*number, column.r#type() == DataType::Float32),
        },
        Kind::TextValue(text) => text.clone(),
        Kind::BytesValue(bytes) => {
            bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02X}"))
        }
        Kind::TimestampValue(at) => {
            let whole = timestamp(at.seconds, 0).replace("+00", "");
            let fraction = format!(".{:06}", at.nanos / 1000);
            // Expressions that are a point in time have none of these digits.
            match lengths(declared)[..] {
                [decimals] => format!("{whole}{}", &fraction[..=decimals]),
                _ => whole,
            }
        }
        Kind::ArrayValue(_) | Kind::RecordValue(_) | Kind::ResultReference(_) => {
            panic!("no column becomes {value:?}")
        }
    }
}

/// The numbers in the parentheses of a declared type, as in `decimal(10,2)`.
fn lengths(declared: &str) -> Vec<usize> {
    let inner = declared.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    inner.map_or_else(Vec::new, |(inner, _)| inner.split(',').flat_map(str::parse).collect())
}

/// The shortest digits of a DOUBLE, at most six of a FLOAT; an exponent where there would be many zeros.
fn float(number: f64, is_single: bool) -> String {
    let digits = FLOAT_DIGITS - 1;
    let shortest = if is_single { format!("{number:.digits$e}") } else { format!("{number:e}") };
    let (digits, exponent) = shortest.split_once('e').expect("it is finite");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let exponent: i32 = exponent.parse().expect("an exponent");
    let digits = digits.replace('.', "");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    if !(-PLAIN_DIGITS..PLAIN_DIGITS).contains(&exponent) {
        return format!("{sign}{first}{point}{rest}e{exponent}");
    }
    match usize::try_from(exponent) {
        Err(_) => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        Ok(whole) if digits.len() > whole + 1 => {
            format!("{sign}{}.{}", &digits[..=whole], &digits[whole + 1..])
        }
        Ok(whole) => format!("{sign}{digits}{}", "0".repeat(whole + 1 - digits.len())),
    }
}

#[test]
fn floats_are_printed_as_mariadb_does() {
    for (number, is_single, text) in [
        (0.0, false, "0"),
        (-0.0, false, "-0"),
        (1e14, false, "100000000000000"),
        (1e15, false, "1e15"),
        (1e-15, false, "0.000000000000001"),
        (1e-16, false, "1e-16"),
        (1.234_567_890_123_456_8e17, false, "1.2345678901234568e17"),
        (12_345_678_901_234.568, false, "12345678901234.568"),
        (5e-324, false, "5e-324"),
        (16_777_217.0, true, "16777200"),
        (1_234_567.0, true, "1234570"),
        (999_999.5, true, "1000000"),
        (3.402_823_4e38, true, "3.40282e38"),
    ] {
        assert_eq!(float(number, is_single), text);
    }
}
