//! Dates, times and intervals as text, as PostgreSQL and SQLite read them.

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const DAYS_PER_ERA: i64 = 146_097;

/// The digits behind the point that are written at most, in groups of three.
const GROUPS: [(i64, usize); 3] = [(1_000_000, 3), (1_000, 6), (1, 9)];

/// Writes a date by its days since 1970-01-01; years before 1 as PostgreSQL does.
pub(super) fn date(days: i64) -> String {
    let (text, before_christ) = date_and_era(days);
    text + before_christ
}

/// Writes a timestamp by its seconds since 1970-01-01 and the nanoseconds behind them; `zone` is behind the time.
pub(super) fn timestamp(seconds: i64, nanos: i64, zone: &str) -> String {
    let (date, before_christ) = date_and_era(seconds.div_euclid(SECONDS_PER_DAY));
    let clock = clock(seconds.rem_euclid(SECONDS_PER_DAY), nanos);
    format!("{date} {clock}{zone}{before_christ}")
}

/// Writes a time of the day; `None` for one beyond `24:00:00`.
pub(super) fn time(seconds: i64, nanos: i64) -> Option<String> {
    let is_time =
        (0..SECONDS_PER_DAY).contains(&seconds) || seconds == SECONDS_PER_DAY && nanos == 0;
    is_time.then(|| clock(seconds, nanos))
}

/// Writes a time span in hours, as `-26:00:00.5`.
pub(super) fn span(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = parts(nanos.unsigned_abs());
    format!("{sign}{}", clock(seconds, nanos))
}

/// Writes an interval as PostgreSQL does.
pub(super) fn interval(months: i32, days: i32, nanos: i128) -> String {
    let mut parts = Vec::new();
    if months != 0 {
        parts.push(format!("{months} mons"));
    }
    if days != 0 {
        parts.push(format!("{days} days"));
    }
    if nanos != 0 || parts.is_empty() {
        parts.push(span(nanos));
    }
    parts.join(" ")
}

/// Splits off the nanoseconds of a time span.
fn parts(nanos: u128) -> (i64, i64) {
    let second = u128::from(NANOS_PER_SECOND.unsigned_abs());
    let whole = i64::try_from(nanos / second).unwrap_or(i64::MAX);
    (whole, i64::try_from(nanos % second).unwrap_or_default())
}

fn clock(seconds: i64, nanos: i64) -> String {
    let hours = seconds / 3_600;
    let whole = format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if nanos == 0 {
        return whole;
    }
    let group = GROUPS.iter().find(|(unit, _)| nanos % unit == 0);
    let (unit, width) = group.copied().unwrap_or((1, 9));
    format!("{whole}.{:0width$}", nanos / unit)
}

/// The date without its era, and the end of the text for one before Christ.
///
/// Days become a year, a month and a day of the proleptic Gregorian calendar; counting years from March puts the leap day
/// last.
fn date_and_era(days: i64) -> (String, &'static str) {
    let shifted = days + 719_468;
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + shifted.div_euclid(DAYS_PER_ERA) * 400 + i64::from(month <= 2);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_gregorian_calendar() {
        let cases = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (10_957, "2000-01-01"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (-2_440_588, "4714-11-24 BC"),
            (2_145_042_905, "5874897-12-31"),
        ];
        for (days, expected) in cases {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn times_have_no_more_groups_of_digits_than_they_need() {
        assert_eq!(timestamp(-1, 999_999_000, ""), "1969-12-31 23:59:59.999999");
        assert_eq!(timestamp(0, 500_000_000, "+00"), "1970-01-01 00:00:00.500+00");
        assert_eq!(timestamp(0, 1, ""), "1970-01-01 00:00:00.000000001");
        assert_eq!(timestamp(-62_135_596_801, 0, "+00"), "0001-12-31 23:59:59+00 BC");
        assert_eq!(timestamp(253_402_300_800, 0, ""), "10000-01-01 00:00:00");
        assert_eq!(time(86_399, 0).as_deref(), Some("23:59:59"));
        assert_eq!(time(86_400, 0).as_deref(), Some("24:00:00"));
        assert_eq!((time(86_400, 1), time(-1, 0)), (None, None));
    }

    #[test]
    fn spans_have_one_sign() {
        assert_eq!(span(-93_600_500_000_000), "-26:00:00.500");
        assert_eq!(interval(14, -3, 1_000), "14 mons -3 days 00:00:00.000001");
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(1, 0, 0), "1 mons");
    }
}
