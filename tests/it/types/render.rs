//! Values as PostgreSQL's own output functions print them: the other half of the comparison, written
//! from PostgreSQL's documentation and not from the server's codec.

use rowgate::value::Kind;
use rowgate::value::proto::{ArrayValue, Column, DataType, RecordValue, Value};

/// The text that stands for NULL at the top; `psql` is told to print the same.
pub(super) const NULL: &str = "<NULL>";

/// The text of a column's value.
pub(super) fn render(value: &Value, column: &Column) -> String {
    let of_array = column.r#type() == DataType::Array;
    let element = if of_array { column.element_type() } else { column.r#type() };
    let delimiter = if column.type_name.starts_with("box") { ';' } else { ',' };
    Renderer { element, delimiter }.text(value).unwrap_or_else(|| NULL.to_owned())
}

#[derive(Clone, Copy)]
struct Renderer {
    element: DataType,
    delimiter: char,
}

impl Renderer {
    /// `None` for NULL.
    fn text(self, value: &Value) -> Option<String> {
        Some(match value.kind.as_ref().expect("a result holds no unset value") {
            Kind::NullValue(_) | Kind::ResultReference(_) => return None,
            Kind::BoolValue(true) => "t".to_owned(),
            Kind::BoolValue(false) => "f".to_owned(),
            Kind::Int64Value(number) => number.to_string(),
            Kind::Float64Value(number) => self.float(*number),
            Kind::TextValue(text) => text.clone(),
            Kind::BytesValue(bytes) => {
                bytes.iter().fold("\\x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
            }
            Kind::TimestampValue(point) => timestamp(point.seconds, point.nanos),
            Kind::ArrayValue(array) => self.array(array),
            Kind::RecordValue(record) => self.record(record),
        })
    }

    fn float(self, number: f64) -> String {
        if self.element == DataType::Float32 {
            #[expect(clippy::cast_possible_truncation, reason = "it was widened from f32")]
            return float(&format!("{:e}", number as f32), 6);
        }
        float(&format!("{number:e}"), 15)
    }

    fn array(self, array: &ArrayValue) -> String {
        if array.elements.is_empty() {
            return "{}".to_owned();
        }
        let count = i32::try_from(array.elements.len()).expect("it is small");
        let dimensions =
            if array.dimensions.is_empty() { vec![count] } else { array.dimensions.clone() };
        let product: i32 = dimensions.iter().product();
        assert_eq!(product, count, "dimensions and elements disagree: {array:?}");
        let mut elements = array.elements.iter();
        let body = self.nested(&dimensions, &mut elements);
        if array.lower_bounds.iter().all(|bound| *bound == 1) {
            return body;
        }
        let bounds = array.lower_bounds.iter().zip(&dimensions);
        let bounds: String =
            bounds.map(|(low, len)| format!("[{low}:{}]", low + len - 1)).collect();
        format!("{bounds}={body}")
    }

    fn nested(self, dimensions: &[i32], elements: &mut std::slice::Iter<'_, Value>) -> String {
        let (length, inner) = dimensions.split_first().expect("at least one dimension");
        let parts: Vec<_> = (0..*length)
            .map(|_| match inner {
                [] => self.element(elements.next().expect("as many as the dimensions say")),
                inner => self.nested(inner, elements),
            })
            .collect();
        format!("{{{}}}", parts.join(&self.delimiter.to_string()))
    }

    fn element(self, value: &Value) -> String {
        let Some(text) = self.text(value) else { return "NULL".to_owned() };
        let special = |c: char| "{}\"\\".contains(c) || c == self.delimiter || is_space(c);
        if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
            return text;
        }
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    fn record(self, record: &RecordValue) -> String {
        let fields: Vec<_> = record.fields.iter().map(|field| self.field(field)).collect();
        format!("({})", fields.join(","))
    }

    fn field(self, value: &Value) -> String {
        // Fields carry no type of their own, and the delimiter is that of the array around.
        let own = Self { element: DataType::Record, delimiter: ',' };
        let Some(text) = own.text(value) else { return String::new() };
        let special = |c: char| "(),\"\\".contains(c) || is_space(c);
        if !text.is_empty() && !text.contains(special) {
            return text;
        }
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
    }
}

/// C's `isspace`.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// The shortest digits, given as `d.ddde±x`, in PostgreSQL's notation: scientific below 1e-4 and from
/// ten to the power of `scientific` on.
fn float(shortest: &str, scientific: i32) -> String {
    let Some((digits, exponent)) = shortest.split_once('e') else {
        return match shortest {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            nan => nan.to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().expect("an exponent");
    if !(-4..scientific).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let digits = digits.replace('.', "");
    let plain = match usize::try_from(exponent) {
        Err(_) => format!("0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        Ok(whole) if digits.len() > whole + 1 => {
            format!("{}.{}", &digits[..=whole], &digits[whole + 1..])
        }
        Ok(whole) => format!("{digits}{}", "0".repeat(whole + 1 - digits.len())),
    };
    format!("{sign}{plain}")
}

/// As `timestamptz_out` in UTC, for the years 1 to 9999.
pub(super) fn timestamp(seconds: i64, nanos: i32) -> String {
    assert_eq!(nanos % 1000, 0, "PostgreSQL has microseconds");
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let fraction = format!(".{:06}", nanos / 1000);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}+00")
}

/// Days since 1970-01-01 as a date of the Gregorian calendar, by counting in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[test]
fn floats_are_printed_as_postgresql_does() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (1e14, "100000000000000"),
        (1e15, "1e+15"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1.25e300, "1.25e+300"),
        (123_456.789, "123456.789"),
        (f64::INFINITY, "Infinity"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(float(&format!("{number:e}"), 15), text);
    }
}

#[test]
fn points_in_time_are_printed_as_postgresql_does() {
    for (seconds, nanos, text) in [
        (0, 0, "1970-01-01 00:00:00+00"),
        (-1, 900_000_000, "1969-12-31 23:59:59.9+00"),
        (951_825_600, 1000, "2000-02-29 12:00:00.000001+00"),
        (-62_135_596_800, 0, "0001-01-01 00:00:00+00"),
        (253_402_300_799, 999_999_000, "9999-12-31 23:59:59.999999+00"),
    ] {
        assert_eq!(timestamp(seconds, nanos), text);
    }
}
