//! Dates, times and intervals as PostgreSQL prints them: DateStyle ISO, IntervalStyle postgres,
//! TimeZone UTC.
//!
//! On the wire a date is days, and a timestamp microseconds, since 2000-01-01 in the proleptic
//! Gregorian calendar; the extremes of the integer are the infinities.

use std::fmt;

use prost_types::Timestamp;

use crate::value::Value;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Seconds from 1970-01-01 to 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800;
/// Days from 0000-03-01 to 2000-01-01. Counting years from March puts the leap day last.
const DAYS_FROM_MARCH: i64 = 730_425;
const DAYS_PER_ERA: i64 = 146_097;
/// The range of `google.protobuf.Timestamp`, in seconds since 1970: the years 1 to 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

const INFINITY: &str = "infinity";
const NEGATIVE_INFINITY: &str = "-infinity";

/// Returns a `timestamptz` as a timestamp inside protobuf's range, else as text.
pub(crate) fn timestamptz_value(micros: i64) -> Value {
    timestamp_value(micros).unwrap_or_else(|| Value::text(timestamptz(micros)))
}

/// Returns a `timestamptz` as a timestamp; `None` outside protobuf's range.
pub(crate) fn timestamp_value(micros: i64) -> Option<Value> {
    let since_1970 = micros.checked_add(POSTGRES_EPOCH * MICROS_PER_SECOND)?;
    timestamp_parts(since_1970).map(|(seconds, nanos)| Value::timestamp(seconds, nanos))
}

/// Splits microseconds since 1970 into seconds and nanoseconds; `None` outside protobuf's range.
pub(crate) fn timestamp_parts(micros: i64) -> Option<(i64, i32)> {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let nanos = i32::try_from(micros.rem_euclid(MICROS_PER_SECOND) * 1_000).ok()?;
    TIMESTAMP_SECONDS.contains(&seconds).then_some((seconds, nanos))
}

/// Returns a timestamp as microseconds since 2000, rounded; `None` outside protobuf's range.
pub(crate) fn micros_from_timestamp(seconds: i64, nanos: i32) -> Option<i64> {
    if !TIMESTAMP_SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let micros = (i64::from(nanos) + 500) / 1_000;
    Some((seconds - POSTGRES_EPOCH) * MICROS_PER_SECOND + micros)
}

/// Prints as `timestamptz_out` does in UTC.
pub(crate) fn timestamptz(micros: i64) -> String {
    timestamp_with_zone(micros, "+00")
}

/// Prints as `timestamp_out` does.
pub(crate) fn timestamp(micros: i64) -> String {
    timestamp_with_zone(micros, "")
}

fn timestamp_with_zone(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => INFINITY.to_owned(),
        i64::MIN => NEGATIVE_INFINITY.to_owned(),
        _ => {
            let date = CivilDate::from_days(micros.div_euclid(MICROS_PER_DAY));
            let time = Clock(micros.rem_euclid(MICROS_PER_DAY));
            format!("{date} {time}{zone}{}", date.era())
        }
    }
}

/// Prints as `date_out` does.
pub(crate) fn date(days: i32) -> String {
    match days {
        i32::MAX => INFINITY.to_owned(),
        i32::MIN => NEGATIVE_INFINITY.to_owned(),
        _ => {
            let date = CivilDate::from_days(days.into());
            format!("{date}{}", date.era())
        }
    }
}

/// Prints as `time_out` does.
pub(crate) fn time(micros: i64) -> String {
    Clock(micros).to_string()
}

/// Prints as `timetz_out` does; the zone is in seconds west of Greenwich.
pub(crate) fn timetz(micros: i64, west: i32) -> String {
    let sign = if west <= 0 { '+' } else { '-' };
    let offset = west.unsigned_abs();
    let mut text = format!("{}{sign}{:02}", Clock(micros), offset / 3600);
    if !offset.is_multiple_of(3600) {
        text += &format!(":{:02}", offset / 60 % 60);
    }
    if !offset.is_multiple_of(60) {
        text += &format!(":{:02}", offset % 60);
    }
    text
}

/// Prints as `interval_out` does in style `postgres`.
///
/// All three parts at their extremes are the infinities of PostgreSQL 17.
pub(crate) fn interval(micros: i64, days: i32, months: i32) -> String {
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => INFINITY.to_owned(),
        (i64::MIN, i32::MIN, i32::MIN) => NEGATIVE_INFINITY.to_owned(),
        (_, _, _) => finite_interval(micros, days, months),
    }
}

/// As [`interval`] before PostgreSQL 17, where the extremes are intervals of 178 million years.
pub(crate) fn finite_interval(micros: i64, days: i32, months: i32) -> String {
    let mut parts = Vec::new();
    // A plus is printed behind a negative part only.
    let mut plus = "";
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value != 0 {
            let sign = if value > 0 { plus } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            parts.push(format!("{sign}{value} {unit}{plural}"));
            plus = if value < 0 { "+" } else { "" };
        }
    }
    if micros != 0 || parts.is_empty() {
        let sign = if micros > 0 { plus } else { "" };
        parts.push(format!("{sign}{}", Clock(micros)));
    }
    parts.join(" ")
}

/// A time of the day, or a length of time, in microseconds.
struct Clock(i64);

impl fmt::Display for Clock {
    /// Writes `HH:MM:SS.ffffff`, without trailing zeros in the fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let seconds = self.0.unsigned_abs() / 1_000_000;
        write!(f, "{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        let mut fraction = self.0.unsigned_abs() % 1_000_000;
        if fraction == 0 {
            return Ok(());
        }
        let mut width = 6;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        write!(f, ".{fraction:0width$}")
    }
}

/// A day of the proleptic Gregorian calendar; year 0 is 1 BC.
#[derive(Debug, Clone, Copy)]
struct CivilDate {
    year: i64,
    month: i64,
    day: i64,
}

impl CivilDate {
    /// Returns the date of a day counted from 2000-01-01.
    fn from_days(days: i64) -> Self {
        let days = days + DAYS_FROM_MARCH;
        let era = days.div_euclid(DAYS_PER_ERA);
        let day_of_era = days.rem_euclid(DAYS_PER_ERA);
        // 1,460, 36,524 and 146,096 are the last days of 4, 100 and 400 years: each takes one leap day.
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (year_of_era * 365 + year_of_era / 4 - year_of_era / 100);
        // From March, five months have 153 days: 31, 30, 31, 30, 31.
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// Returns the era, which is printed at the very end.
    fn era(&self) -> &'static str {
        if self.year > 0 { "" } else { " BC" }
    }
}

impl fmt::Display for CivilDate {
    /// Writes `YYYY-MM-DD`, in whatever era.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let year = if self.year > 0 { self.year } else { 1 - self.year };
        write!(f, "{year:04}-{:02}-{:02}", self.month, self.day)
    }
}

/// Reads the text of `timestamptz_out` in style ISO, in any time zone; `None` for the infinities and
/// for any other text.
pub(crate) fn parse_timestamptz(text: &str) -> Option<i64> {
    let before_christ = text.strip_suffix(" BC");
    let (date, rest) = before_christ.unwrap_or(text).split_once(' ')?;
    let (time, zone) = rest.split_at(rest.find(['+', '-'])?);

    let mut parts = date.split('-');
    // Six digits, as the last year of a timestamptz is 294276.
    let year = number(parts.next()?, 4..=6)?;
    let month = u8::try_from(number(parts.next()?, 2..=2)?).ok()?;
    let day = u8::try_from(number(parts.next()?, 2..=2)?).ok()?;
    if parts.next().is_some() {
        return None;
    }
    let year = if before_christ.is_some() { 1 - year } else { year };

    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let digits = u32::try_from(fraction.len()).ok()?;
    let micros = number(fraction, 1..=6)? * 10_i64.pow(6_u32.checked_sub(digits)?);
    let offset = clock_seconds(zone.get(1..)?)?;
    let offset = if zone.starts_with('-') { -offset } else { offset };
    let midnight = Timestamp::date(year, month, day).ok()?.seconds - POSTGRES_EPOCH;
    let seconds = midnight + clock_seconds(clock)? - offset;
    seconds.checked_mul(MICROS_PER_SECOND)?.checked_add(micros)
}

/// Returns the seconds of `HH`, `HH:MM` or `HH:MM:SS`.
fn clock_seconds(text: &str) -> Option<i64> {
    let mut seconds = 0;
    let mut units = [3_600, 60, 1].into_iter();
    for part in text.split(':') {
        seconds += number(part, 2..=2)? * units.next()?;
    }
    Some(seconds)
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (all_digits && digits.contains(&text.len())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = MICROS_PER_DAY;

    #[test]
    fn dates_print_as_the_database_prints_them() {
        let cases = [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (-36_465, "1900-03-01"),
            (-36_466, "1900-02-28"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (-2_451_545, "4714-11-24 BC"),
            (2_145_031_948, "5874897-12-31"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ];
        for (days, text) in cases {
            assert_eq!(date(days), text);
        }
    }

    #[test]
    fn times_print_as_the_database_prints_them() {
        assert_eq!(time(0), "00:00:00");
        assert_eq!(time(DAY), "24:00:00");
        assert_eq!(time(DAY - 1), "23:59:59.999999");
        assert_eq!(time(45_296_700_000), "12:34:56.7");
        assert_eq!(timetz(0, 0), "00:00:00+00");
        assert_eq!(timetz(1, -19_800), "00:00:00.000001+05:30");
        assert_eq!(timetz(0, 57_599), "00:00:00-15:59:59");
        assert_eq!(timetz(0, -3_601), "00:00:00+01:00:01");
        assert_eq!(timestamp(-1), "1999-12-31 23:59:59.999999");
        assert_eq!(timestamp(i64::MAX), "infinity");
        assert_eq!(timestamptz(i64::MIN), "-infinity");
        assert_eq!(timestamptz(9_223_371_331_199_999_999), "294276-12-31 23:59:59.999999+00");
        assert_eq!(timestamptz(-730_120 * DAY), "0001-12-31 00:00:00+00 BC");
    }

    #[test]
    fn intervals_print_as_the_database_prints_them() {
        let cases = [
            ((0, 0, 0), "00:00:00"),
            ((14_706_789_000, 3, 14), "1 year 2 mons 3 days 04:05:06.789"),
            ((0, 1, 1), "1 mon 1 day"),
            ((-1, 0, 0), "-00:00:00.000001"),
            ((3_600_000_000, -1, 0), "-1 days +01:00:00"),
            ((-3_600_000_000, 1, -13), "-1 years -1 mons +1 day -01:00:00"),
            ((0, 5, -12), "-1 years +5 days"),
            ((359_999_999_999, 0, 0), "99:59:59.999999"),
            ((i64::MAX, i32::MAX, i32::MAX), "infinity"),
            ((i64::MIN, i32::MIN, i32::MIN), "-infinity"),
            ((i64::MIN, 0, 0), "-2562047788:00:54.775808"),
        ];
        for ((micros, days, months), text) in cases {
            assert_eq!(interval(micros, days, months), text);
        }
        let least = "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808";
        assert_eq!(finite_interval(i64::MIN, i32::MIN, i32::MIN), least);
        let most = "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807";
        assert_eq!(finite_interval(i64::MAX, i32::MAX, i32::MAX), most);
    }

    #[test]
    fn a_point_in_time_outside_protobufs_range_is_text() {
        let first = -730_119 * DAY;
        let last = (253_402_300_799 - POSTGRES_EPOCH) * MICROS_PER_SECOND + 999_999;
        assert_eq!(timestamptz_value(first), Value::timestamp(-62_135_596_800, 0));
        assert_eq!(timestamptz_value(last), Value::timestamp(253_402_300_799, 999_999_000));
        assert_eq!(timestamptz_value(first - 1), Value::text("0001-12-31 23:59:59.999999+00 BC"));
        assert_eq!(timestamptz_value(last + 1), Value::text("10000-01-01 00:00:00+00"));
        assert_eq!(timestamptz_value(i64::MAX), Value::text("infinity"));
    }

    #[test]
    fn timestamps_are_rounded_to_microseconds_and_checked() {
        assert_eq!(micros_from_timestamp(POSTGRES_EPOCH, 499), Some(0));
        assert_eq!(micros_from_timestamp(POSTGRES_EPOCH, 500), Some(1));
        assert_eq!(micros_from_timestamp(POSTGRES_EPOCH - 1, 999_999_999), Some(0));
        assert_eq!(micros_from_timestamp(0, 1_000_000_000), None);
        assert_eq!(micros_from_timestamp(0, -1), None);
        assert_eq!(micros_from_timestamp(253_402_300_800, 0), None);
        assert_eq!(micros_from_timestamp(i64::MIN, 0), None);
    }

    #[test]
    fn other_zones_are_read_and_other_texts_rejected() {
        assert_eq!(parse_timestamptz("2000-01-01 05:30:00+05:30"), Some(0));
        assert_eq!(parse_timestamptz("1999-12-31 20:00:00.5-04"), Some(500_000));
        assert_eq!(parse_timestamptz("0001-12-31 20:00:00-04 BC"), Some(-730_119 * DAY));
        for text in ["infinity", "", "2000-01-01", "2000-13-01 00:00:00+00", "01/02/2000 00:00 UTC"]
        {
            assert_eq!(parse_timestamptz(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_calendar_is_that_of_prost(days: i32) {
            let CivilDate { year, month, day } = CivilDate::from_days(days.into());
            let (month, day) = (u8::try_from(month).unwrap(), u8::try_from(day).unwrap());
            let midnight = Timestamp::date(year, month, day).expect("it is in the calendar");
            prop_assert_eq!(midnight.seconds - POSTGRES_EPOCH, i64::from(days) * 86_400);
        }

        #[test]
        fn printed_timestamps_are_read_back(micros in -211_813_488_000_000_000..9_223_371_331_200_000_000_i64) {
            prop_assert_eq!(parse_timestamptz(&timestamptz(micros)), Some(micros));
        }

        #[test]
        fn nothing_panics(text in "[0-9]{0,7}[-:+. BC0-9]{0,30}", any: String, micros: i64, days: i32, months: i32) {
            let _parsed = (parse_timestamptz(&text), parse_timestamptz(&any));
            let _texts = (timestamp(micros), time(micros), timetz(micros, days), date(days));
            let _interval = interval(micros, days, months);
        }
    }
}
