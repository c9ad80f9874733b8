//! Values for the placeholders `$1`, `$2` ….
//!
//! To SQLite `$1` is a *named* parameter: its index is the order of appearance, not the number. So
//! each is bound by its name. Booleans are stored as 0 and 1, timestamps as text that sorts by time
//! and that SQLite's date functions read: `2026-01-31 23:59:59.999999Z`.
//!
//! Text stays text. A column that it is stored in or compared with converts it; an expression does not:
//! whether `length(x) = $1` meant the text or the number cannot be known.

use std::ops::RangeInclusive;

use prost_types::Timestamp;
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};

use crate::error::{Error, ErrorKind, Result};
use crate::value::{Kind, Value};

/// The number of values that a statement takes: the highest `$n` in it.
pub(crate) fn count(statement: &rusqlite::Statement<'_>) -> Result<usize> {
    let mut highest = 0;
    for index in 1..=statement.parameter_count() {
        highest = highest.max(number(statement.parameter_name(index))?);
    }
    Ok(highest)
}

/// Binds every value.
pub(crate) fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> Result<()> {
    let expected = count(statement)?;
    if expected != values.len() {
        let sent = values.len();
        return Err(Error::field(
            ErrorKind::InvalidParameter,
            "parameters",
            format!("the statement takes {expected} but {sent} were sent"),
        ));
    }
    let stored = values.iter().enumerate().map(|(at, value)| stored(at, value));
    let stored: Vec<ToSqlOutput<'_>> = stored.collect::<Result<_>>()?;
    for index in 1..=statement.parameter_count() {
        let at = number(statement.parameter_name(index))? - 1;
        statement.raw_bind_parameter(index, &stored[at]).map_err(|error| bind_error(at, error))?;
    }
    Ok(())
}

/// The number of a placeholder.
fn number(name: Option<&str>) -> Result<usize> {
    let number = name.and_then(|name| name.strip_prefix('$')).filter(|digits| {
        !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    number.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        let placeholder = name.unwrap_or("?");
        Error::field(
            ErrorKind::InvalidParameter,
            "sql",
            format!("placeholder \"{placeholder}\" is not of the form $1"),
        )
        .with_hint("Number the parameters: $1, $2 and so on.")
    })
}

/// The form in which SQLite stores a value.
fn stored(at: usize, value: &Value) -> Result<ToSqlOutput<'_>> {
    let rejected =
        |kind, why: &str| Error::field(kind, format!("parameters[{at}]"), why.to_owned());
    let Some(kind) = &value.kind else {
        return Err(rejected(ErrorKind::InvalidParameter, "no kind is set"));
    };
    Ok(ToSqlOutput::Borrowed(match kind {
        Kind::NullValue(_) => ValueRef::Null,
        Kind::BoolValue(value) => ValueRef::Integer((*value).into()),
        Kind::Int64Value(value) => ValueRef::Integer(*value),
        // SQLite would store NULL instead, silently.
        Kind::Float64Value(value) if value.is_nan() => {
            return Err(rejected(ErrorKind::ParameterOutOfRange, "SQLite cannot store NaN"));
        }
        Kind::Float64Value(value) => ValueRef::Real(*value),
        Kind::TextValue(value) => ValueRef::Text(value.as_bytes()),
        Kind::BytesValue(value) => ValueRef::Blob(value),
        Kind::TimestampValue(value) => {
            let why = "the timestamp is outside the years 0001 to 9999";
            let text = timestamp(value.seconds, value.nanos)
                .ok_or_else(|| rejected(ErrorKind::ParameterOutOfRange, why))?;
            return Ok(ToSqlOutput::Owned(Owned::Text(text)));
        }
        Kind::ArrayValue(_) | Kind::RecordValue(_) | Kind::ResultReference(_) => {
            let why = format!("SQLite has no form for {}", kind.name());
            return Err(rejected(ErrorKind::InvalidParameter, &why));
        }
    }))
}

fn bind_error(at: usize, error: rusqlite::Error) -> Error {
    let field = format!("parameters[{at}]");
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::TooBig) {
        let why = "it is larger than the largest row allowed";
        return Error::field(ErrorKind::ParameterOutOfRange, field, why)
            .with_hint("databases.NAME.max_row_size bounds it.");
    }
    Error::field(ErrorKind::InvalidParameter, field, "SQLite rejected the value").with_cause(error)
}

/// The seconds of the years 0001 to 9999.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// `2026-01-31 23:59:59.999999Z`, rounded to microseconds.
fn timestamp(seconds: i64, nanos: i32) -> Option<String> {
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let micros = (nanos + 500) / 1000;
    let seconds = seconds.checked_add((micros / 1_000_000).into())?;
    let whole = SECONDS.contains(&seconds).then_some(Timestamp { seconds, nanos: 0 })?.to_string();
    let (date, time) = whole.strip_suffix('Z')?.split_once('T')?;
    Some(format!("{date} {time}.{:06}Z", micros % 1_000_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps_are_text_that_sorts_by_time() {
        let cases = [
            (0, 0, Some("1970-01-01 00:00:00.000000Z")),
            (-1, 999_999_499, Some("1969-12-31 23:59:59.999999Z")),
            (-1, 999_999_500, Some("1970-01-01 00:00:00.000000Z")),
            (951_782_400, 1_000, Some("2000-02-29 00:00:00.000001Z")),
            (-62_135_596_800, 0, Some("0001-01-01 00:00:00.000000Z")),
            (253_402_300_799, 999_999_000, Some("9999-12-31 23:59:59.999999Z")),
            (253_402_300_799, 999_999_999, None),
            (-62_135_596_801, 0, None),
            (i64::MAX, 0, None),
            (i64::MIN, 0, None),
            (0, -1, None),
            (0, 1_000_000_000, None),
        ];
        for (seconds, nanos, expected) in cases {
            assert_eq!(timestamp(seconds, nanos).as_deref(), expected, "{seconds} {nanos}");
        }
    }

    proptest! {
        #[test]
        fn sqlite_reads_the_same_moment_from_the_text(
            seconds in -62_135_596_800..253_402_300_799_i64,
        ) {
            let text = timestamp(seconds, 0).expect("in range");
            let connection = rusqlite::Connection::open_in_memory().expect("memory");
            let read: i64 = connection
                .query_row("SELECT unixepoch($1)", [text], |row| row.get(0))
                .expect("a time");
            prop_assert_eq!(read, seconds);
        }
    }

    #[test]
    fn only_numbered_placeholders_are_taken() {
        for (name, expected) in [("$1", 1), ("$12", 12)] {
            assert_eq!(number(Some(name)).expect("a number"), expected);
        }
        for name in [None, Some("?1"), Some(":a"), Some("@a"), Some("$a"), Some("$01"), Some("$0")]
        {
            let error = number(name).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidParameter);
        }
        assert!(number(Some("$99999999999999999999999")).is_err());
        assert!(number(Some("$")).is_err());
    }
}
