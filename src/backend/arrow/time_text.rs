//! Dates and times, read from their text: as PostgreSQL prints them in style ISO and zone UTC, and as SQLite's own
//! functions do.

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Reads a date as days since 1970-01-01; `None` for the infinities and for any other text.
pub(super) fn date(text: &str) -> Option<i32> {
    let before_christ = text.strip_suffix(" BC");
    days(before_christ.unwrap_or(text), before_christ.is_some())
        .and_then(|days| days.try_into().ok())
}

/// Reads a time of the day in microseconds; `None` for `24:00:00` and for any other text.
pub(super) fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 2..=2)?;
    let minute = number(parts.next()?, 2..=2)?;
    let second = number(parts.next()?, 2..=2)?;
    let is_time = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
    let width = u32::try_from(fraction.len()).ok()?;
    let micros = number(fraction, 1..=6)? * 10_i64.pow(6 - width);
    let seconds = (hour * 60 + minute) * 60 + second;
    is_time.then_some(seconds * MICROS_PER_SECOND + micros)
}

/// Reads a timestamp as microseconds since 1970-01-01, with `zone` at its end; `None` for the infinities and for any
/// other text.
pub(super) fn timestamp(text: &str, zone: &str) -> Option<i64> {
    let before_christ = text.strip_suffix(" BC");
    let text = before_christ.unwrap_or(text).strip_suffix(zone)?;
    let (date, clock) = text.split_once([' ', 'T'])?;
    let days = days(date, before_christ.is_some())?;
    days.checked_mul(MICROS_PER_DAY)?.checked_add(time(clock)?)
}

fn days(date: &str, before_christ: bool) -> Option<i64> {
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4..=7)?;
    let month = number(parts.next()?, 2..=2)?;
    let day = number(parts.next()?, 2..=2)?;
    let year = if before_christ { 1 - year } else { year };
    let is_leap =
        year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let last = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_date = (1..=12).contains(&month) && (1..=last).contains(&day) && parts.next().is_none();
    is_date.then(|| days_from_civil(year, month, day))
}

/// The days since 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC. Counting years from March puts the
/// leap day last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

/// Reads digits, of which there are as many as `width` says.
fn number(text: &str, width: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let is_number = width.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        let cases = [
            ("1970-01-01", Some(0)),
            ("2000-01-01", Some(10_957)),
            ("2024-02-29", Some(19_782)),
            ("1969-12-31", Some(-1)),
            ("0001-01-01", Some(-719_162)),
            ("0001-12-31 BC", Some(-719_163)),
            ("4714-11-24 BC", Some(-2_440_588)),
            ("5874897-12-31", Some(2_145_042_905)),
            ("2023-02-29", None),
            ("2023-13-01", None),
            ("2023-04-31", None),
            ("2023-04-00", None),
            ("infinity", None),
            ("-infinity", None),
            ("23-04-01", None),
            ("+123-04-01", None),
            ("2023-04-01 10:00:00", None),
        ];
        for (text, expected) in cases {
            assert_eq!(date(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_microseconds() {
        let cases = [
            ("00:00:00", Some(0)),
            ("23:59:59.999999", Some(MICROS_PER_DAY - 1)),
            ("00:00:01.5", Some(1_500_000)),
            ("24:00:00", None),
            ("12:60:00", None),
            ("12:30", None),
            ("12:30:00.1234567", None),
            ("12:30:00.", None),
            ("12:30:00+02", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn timestamps_are_microseconds_since_1970() {
        assert_eq!(timestamp("1970-01-02 00:00:00.000001", ""), Some(MICROS_PER_DAY + 1));
        assert_eq!(timestamp("1969-12-31T23:59:59", ""), Some(-MICROS_PER_SECOND));
        assert_eq!(timestamp("10000-01-01 00:00:00+00", "+00"), Some(253_402_300_800_000_000));
        assert_eq!(timestamp("0001-12-31 00:00:00+00 BC", "+00"), Some(-719_163 * MICROS_PER_DAY));
        for text in ["infinity", "-infinity", "1970-01-01", "1970-01-01 00:00:00+02", "0", ""] {
            assert_eq!(timestamp(text, ""), None, "{text}");
            assert_eq!(timestamp(text, "+00"), None, "{text}");
        }
    }
}
