//! Dates and times: their binary form, and their text as the servers write it.
//!
//! MySQL stores dates that no calendar has (`0000-00-00`, `2026-02-00`) and times of up to 838 hours with a sign: all
//! have their text, and what a calendar has is counted as well.

use std::fmt::Write as _;

use prost_types::Timestamp;

use crate::backend::mysql::protocol::length_encoded::PacketReader;

const TEXT_FITS: &str = "a String accepts all text";

/// The most digits of a fraction of a second.
const MAX_DIGITS: u8 = 6;

const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// A date with a time of the day; a date alone has the time zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DateTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

impl DateTime {
    /// Reads the binary form, whose length leaves out what is zero at its end.
    pub(super) fn read(reader: &mut PacketReader<'_>) -> Option<Self> {
        let length = reader.u8()?;
        let mut fields = PacketReader::new(reader.bytes(length.into())?);
        let mut read = Self::default();
        if length >= 4 {
            read.year = fields.u16()?;
            [read.month, read.day] = fields.array()?;
        }
        if length >= 7 {
            [read.hour, read.minute, read.second] = fields.array()?;
        }
        if length >= 11 {
            read.micros = fields.u32()?;
        }
        (fields.is_empty() && read.is_in_range()).then_some(read)
    }

    /// Reads `2026-01-31 23:59:59.999999`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(' ')?;
        let mut date = date.split('-');
        let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
        let mut clock = clock.split(':');
        let read = Self {
            year: number(date.next()?, 4)?.try_into().ok()?,
            month: number(date.next()?, 2)?.try_into().ok()?,
            day: number(date.next()?, 2)?.try_into().ok()?,
            hour: number(clock.next()?, 2)?.try_into().ok()?,
            minute: number(clock.next()?, 2)?.try_into().ok()?,
            second: number(clock.next()?, 2)?.try_into().ok()?,
            micros: micros(fraction)?,
        };
        let is_whole = date.next().is_none() && clock.next().is_none();
        (is_whole && read.is_in_range()).then_some(read)
    }

    fn is_in_range(self) -> bool {
        let date = self.year <= 9999 && self.month <= 12 && self.day <= 31;
        date && self.hour < 24 && self.minute < 60 && self.second < 60 && self.micros < 1_000_000
    }

    /// The point in time in UTC; `None` for a date that no calendar has, and for the year 0, which a Timestamp cannot
    /// hold.
    pub(super) fn timestamp(self) -> Option<Timestamp> {
        let Self { year, month, day, hour, minute, second, micros } = self;
        let nanos = micros * 1000;
        let at = Timestamp::date_time_nanos(year.into(), month, day, hour, minute, second, nanos);
        at.ok().filter(|_| year > 0)
    }

    /// Microseconds since 1970-01-01.
    pub(super) fn micros_since_1970(self) -> Option<i64> {
        let seconds = self.timestamp()?.seconds.checked_mul(MICROS_PER_SECOND)?;
        seconds.checked_add(self.micros.into())
    }

    /// Days from 1970-01-01 to the date.
    pub(super) fn days_since_1970(self) -> Option<i32> {
        self.timestamp()?.seconds.div_euclid(SECONDS_PER_DAY).try_into().ok()
    }

    pub(super) fn date_text(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// The text with the digits of the column's fraction.
    pub(super) fn text(self, decimals: u8) -> String {
        let Self { hour, minute, second, micros, .. } = self;
        let mut text = self.date_text();
        write!(text, " {hour:02}:{minute:02}:{second:02}").expect(TEXT_FITS);
        write_fraction(micros, decimals, &mut text);
        text
    }

    /// The parts of a point in time, rounded to microseconds; `None` outside the years 0001 to 9999.
    pub(super) fn of_timestamp(seconds: i64, nanos: i32) -> Option<Self> {
        let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let rounded = (nanos + 500) / 1000;
        let seconds = seconds.checked_add((rounded / 1_000_000).into())?;
        // The seconds of the years 0001 to 9999.
        let is_in_range = (-62_135_596_800..=253_402_300_799).contains(&seconds);
        let whole = is_in_range.then_some(Timestamp { seconds, nanos: 0 })?.to_string();
        let text = whole.strip_suffix('Z')?.replacen('T', " ", 1);
        Some(Self { micros: rounded % 1_000_000, ..Self::parse(&text)? })
    }

    /// Writes the binary form with all fields.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.push(11);
        out.extend(self.year.to_le_bytes());
        out.extend([self.month, self.day, self.hour, self.minute, self.second]);
        out.extend(self.micros.to_le_bytes());
    }
}

/// A time: of the day, or a span with a sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TimeSpan {
    is_negative: bool,
    hours: u64,
    minute: u8,
    second: u8,
    micros: u32,
}

impl TimeSpan {
    /// Reads the binary form.
    pub(super) fn read(reader: &mut PacketReader<'_>) -> Option<Self> {
        let length = reader.u8()?;
        let mut fields = PacketReader::new(reader.bytes(length.into())?);
        let mut read = Self::default();
        if length >= 8 {
            read.is_negative = fields.u8()? != 0;
            let days = fields.u32()?;
            let [hour, minute, second] = fields.array()?;
            read.hours = u64::from(days) * 24 + u64::from(hour);
            read.minute = minute;
            read.second = second;
        }
        if length >= 12 {
            read.micros = fields.u32()?;
        }
        let is_in_range = read.minute < 60 && read.second < 60 && read.micros < 1_000_000;
        (fields.is_empty() && is_in_range).then_some(read)
    }

    /// Microseconds of the day; `None` for a span that no day has.
    pub(super) fn micros_of_day(self) -> Option<i64> {
        let hours = i64::try_from(self.hours).ok().filter(|hours| *hours < 24)?;
        let seconds = (hours * 60 + i64::from(self.minute)) * 60 + i64::from(self.second);
        (!self.is_negative).then_some(seconds * MICROS_PER_SECOND + i64::from(self.micros))
    }

    /// The text with the digits of the column's fraction.
    pub(super) fn text(self, decimals: u8) -> String {
        let Self { is_negative, hours, minute, second, micros } = self;
        let sign = if is_negative { "-" } else { "" };
        let mut text = format!("{sign}{hours:02}:{minute:02}:{second:02}");
        write_fraction(micros, decimals, &mut text);
        text
    }
}

/// Writes the digits of a fraction: as many as the column has, all where that is not fixed or would lose some.
fn write_fraction(micros: u32, decimals: u8, text: &mut String) {
    let is_fixed = decimals <= MAX_DIGITS;
    if micros == 0 && (decimals == 0 || !is_fixed) {
        return;
    }
    let digits = format!("{micros:06}");
    let (shown, rest) = digits.split_at(usize::from(decimals.min(MAX_DIGITS)));
    let is_lossless = rest.bytes().all(|digit| digit == b'0');
    text.push('.');
    text.push_str(if is_fixed && is_lossless { shown } else { &digits });
}

/// Reads digits, exactly as many as `width`.
fn number(text: &str, width: usize) -> Option<u32> {
    let is_number = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Reads the digits behind a point as microseconds.
fn micros(fraction: &str) -> Option<u32> {
    if fraction.is_empty() {
        return Some(0);
    }
    let width = u32::try_from(fraction.len()).ok().filter(|width| *width <= 6)?;
    number(fraction, fraction.len()).map(|digits| digits * 10_u32.pow(6 - width))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date_time(bytes: &[u8]) -> Option<DateTime> {
        DateTime::read(&mut PacketReader::new(bytes))
    }

    fn span(bytes: &[u8]) -> Option<TimeSpan> {
        TimeSpan::read(&mut PacketReader::new(bytes))
    }

    #[test]
    fn dates_that_no_calendar_has_keep_their_text() {
        let zero = date_time(&[0]).expect("zero");
        assert_eq!(zero.date_text(), "0000-00-00");
        assert_eq!(zero.text(3), "0000-00-00 00:00:00.000");
        let no_day = date_time(&[4, 0xEA, 7, 2, 0]).expect("a date");
        assert_eq!(no_day.date_text(), "2026-02-00");
        let not_a_day = date_time(&[4, 0xEA, 7, 2, 31]).expect("a date");
        assert_eq!(not_a_day.text(0), "2026-02-31 00:00:00");
        for date in [zero, no_day, not_a_day] {
            assert_eq!(date.timestamp(), None);
            assert_eq!(date.days_since_1970(), None);
            assert_eq!(date.micros_since_1970(), None);
        }
        let epoch = date_time(&[11, 0xB2, 7, 1, 2, 0, 0, 1, 5, 0, 0, 0]).expect("a time");
        assert_eq!(epoch.days_since_1970(), Some(1));
        assert_eq!(epoch.micros_since_1970(), Some(86_401_000_005));
        assert_eq!(epoch.text(6), "1970-01-02 00:00:01.000005");
        let before = DateTime::parse("1969-12-31 23:59:59.5").expect("a time");
        assert_eq!(before.micros_since_1970(), Some(-500_000));
        assert_eq!(before.days_since_1970(), Some(-1));
    }

    #[test]
    fn a_fraction_has_the_digits_of_its_column_and_loses_none() {
        let at = DateTime::parse("2026-01-31 23:59:59.250000").expect("a time");
        for (decimals, text) in
            [(0, ".250000"), (1, ".250000"), (2, ".25"), (3, ".250"), (31, ".250000")]
        {
            assert_eq!(at.text(decimals), format!("2026-01-31 23:59:59{text}"), "{decimals}");
        }
        let whole = DateTime::parse("2026-01-31 23:59:59").expect("a time");
        for (decimals, text) in [(0, ""), (1, ".0"), (6, ".000000"), (31, ""), (39, "")] {
            assert_eq!(whole.text(decimals), format!("2026-01-31 23:59:59{text}"), "{decimals}");
        }
    }

    #[test]
    fn times_have_a_sign_and_hours_of_many_days() {
        let lowest = span(&[8, 1, 34, 0, 0, 0, 22, 59, 59]).expect("a time");
        assert_eq!(lowest.text(0), "-838:59:59");
        assert_eq!(lowest.micros_of_day(), None);
        assert_eq!(span(&[0]).expect("zero").text(2), "00:00:00.00");
        let noon = span(&[12, 0, 0, 0, 0, 0, 12, 34, 56, 0x14, 0x0A, 0x0C, 0]).expect("a time");
        assert_eq!(noon.text(6), "12:34:56.789012");
        assert_eq!(noon.micros_of_day(), Some(45_296_789_012));
        let negative = span(&[8, 1, 0, 0, 0, 0, 0, 0, 1]).expect("a time");
        assert_eq!((negative.text(0), negative.micros_of_day()), ("-00:00:01".to_owned(), None));
    }

    #[test]
    fn malformed_times_are_not_read() {
        let dates: [&[u8]; 8] = [
            &[],
            &[4, 0, 0],
            &[5, 0, 0, 1, 1, 1],
            &[4, 0xFF, 0xFF, 1, 1],
            &[4, 0, 0, 13, 1],
            &[7, 0, 0, 1, 1, 24, 0, 0],
            &[11, 0, 0, 1, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
            &[12, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        for bytes in dates {
            assert_eq!(date_time(bytes), None, "{bytes:?}");
        }
        for bytes in
            [&[][..], &[8, 0], &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[8, 0, 0, 0, 0, 0, 0, 60, 0]]
        {
            assert_eq!(span(bytes), None, "{bytes:?}");
        }
        for text in ["", "2026-01-31", "2026-1-31 00:00:00", "2026-01-31 00:00", "x 00:00:00"] {
            assert_eq!(DateTime::parse(text), None, "{text}");
        }
        assert_eq!(DateTime::parse("2026-01-31 00:00:00.1234567"), None);
    }

    #[test]
    fn a_timestamp_is_rounded_to_microseconds_within_four_digits_of_years() {
        let text = |seconds, nanos| DateTime::of_timestamp(seconds, nanos).map(|at| at.text(6));
        let cases = [
            (0, 0, Some("1970-01-01 00:00:00.000000")),
            (-1, 999_999_499, Some("1969-12-31 23:59:59.999999")),
            (-1, 999_999_500, Some("1970-01-01 00:00:00.000000")),
            (951_782_400, 1_000, Some("2000-02-29 00:00:00.000001")),
            (-62_135_596_800, 0, Some("0001-01-01 00:00:00.000000")),
            (253_402_300_799, 999_999_000, Some("9999-12-31 23:59:59.999999")),
            (253_402_300_799, 999_999_999, None),
            (-62_135_596_801, 0, None),
            (i64::MAX, 999_999_999, None),
            (i64::MIN, 0, None),
            (0, -1, None),
            (0, 1_000_000_000, None),
        ];
        for (seconds, nanos, expected) in cases {
            assert_eq!(text(seconds, nanos).as_deref(), expected, "{seconds} {nanos}");
        }
    }

    proptest! {
        #[test]
        fn a_point_in_time_survives_its_binary_form_and_its_text(
            seconds in -62_135_596_800..=253_402_300_799_i64,
            micros in 0..1_000_000_i32,
        ) {
            let at = DateTime::of_timestamp(seconds, micros * 1000).expect("in range");
            prop_assert_eq!(at.timestamp(), Some(Timestamp { seconds, nanos: micros * 1000 }));
            let mut out = Vec::new();
            at.write(&mut out);
            prop_assert_eq!(date_time(&out), Some(at));
            prop_assert_eq!(DateTime::parse(&at.text(6)), Some(at));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            if let Some(at) = date_time(&bytes) {
                prop_assert_eq!(at.text(6).len(), 26);
            }
            let _span = span(&bytes).map(|span| span.text(6));
        }
    }
}
