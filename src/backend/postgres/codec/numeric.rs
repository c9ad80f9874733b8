//! `numeric` from its binary format to the text that PostgreSQL prints for it.
//!
//! The format of `numeric_send`: four 16-bit words, the number of digits, the weight of the first, the
//! sign and the display scale, then the digits to base 10,000. No digit is lost.

use std::fmt::Write;

use bytes::Buf;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Returns the canonical text; `None` when the bytes are not a numeric.
pub(crate) fn to_text(raw: &[u8]) -> Option<String> {
    let mut digits = raw;
    let count = usize::from(digits.try_get_u16().ok()?);
    let weight = i32::from(digits.try_get_i16().ok()?);
    let sign = digits.try_get_u16().ok()?;
    let scale = usize::from(digits.try_get_u16().ok()?);
    if digits.len() != count * 2 {
        return None;
    }
    match sign {
        0 | NEGATIVE => {}
        NAN => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        NEGATIVE_INFINITY => return Some("-Infinity".to_owned()),
        _ => return None,
    }

    let mut groups = DigitGroups { digits, next: 0, weight };
    let integer_groups = usize::try_from(weight + 1).unwrap_or(0);
    let mut text = String::with_capacity(integer_groups.max(1) * 4 + scale + 6);
    if sign == NEGATIVE {
        text.push('-');
    }
    if integer_groups == 0 {
        text.push('0');
    }
    for index in 0..integer_groups {
        let group = groups.at(weight - i32::try_from(index).ok()?)?;
        let width = if index == 0 { 1 } else { 4 };
        write!(text, "{group:0width$}").ok()?;
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut position = -1;
        while text.len() < end {
            let group = groups.at(position)?;
            write!(text, "{group:04}").ok()?;
            position -= 1;
        }
        text.truncate(end);
    }
    Some(text)
}

/// The digits to base 10,000, which are read by their weight in falling order.
struct DigitGroups<'a> {
    digits: &'a [u8],
    next: usize,
    weight: i32,
}

impl DigitGroups<'_> {
    fn at(&mut self, weight: i32) -> Option<u16> {
        // Zeros before the first digit are not stored.
        if weight > self.weight {
            return Some(0);
        }
        let Some(pair) = self.digits.get(self.next..self.next + 2) else { return Some(0) };
        self.next += 2;
        let group = u16::from_be_bytes(pair.try_into().ok()?);
        (group < 10_000).then_some(group)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(digits: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let mut raw = count.to_be_bytes().to_vec();
        raw.extend(weight.to_be_bytes());
        raw.extend(sign.to_be_bytes());
        raw.extend(scale.to_be_bytes());
        for digit in digits {
            raw.extend(digit.to_be_bytes());
        }
        raw
    }

    /// Encodes a number as PostgreSQL does, from decimal digits: an independent model, made from
    /// strings alone.
    fn numeric_send(integer: &str, fraction: &str, negative: bool) -> Vec<u8> {
        let scale = u16::try_from(fraction.len()).unwrap();
        let padding = "0".repeat((4 - integer.len() % 4) % 4);
        let integer = format!("{padding}{integer}");
        let fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
        let all = format!("{integer}{fraction}");
        let mut digits: Vec<u16> =
            (0..all.len() / 4).map(|i| all[i * 4..i * 4 + 4].parse().unwrap()).collect();
        let mut weight = i16::try_from(integer.len() / 4).unwrap() - 1;
        while digits.first() == Some(&0) {
            digits.remove(0);
            weight -= 1;
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let zero = digits.is_empty();
        let sign = if negative && !zero { NEGATIVE } else { 0 };
        encoded(&digits, if zero { 0 } else { weight }, sign, scale)
    }

    #[test]
    fn known_values_print_as_the_database_prints_them() {
        let cases: &[(&[u16], i16, u16, u16, &str)] = &[
            (&[], 0, 0, 0, "0"),
            (&[], 0, 0, 3, "0.000"),
            (&[1], 0, 0, 0, "1"),
            (&[1, 5000], 0, 0, 2, "1.50"),
            (&[1], 2, 0, 0, "100000000"),
            (&[5], -2, 0, 8, "0.00000005"),
            (&[1234, 5678], 0, NEGATIVE, 4, "-1234.5678"),
            (&[12], 1, NEGATIVE, 1, "-120000.0"),
            (&[], 0, NAN, 0, "NaN"),
            (&[], 0, INFINITY, 32, "Infinity"),
            (&[], 0, NEGATIVE_INFINITY, 32, "-Infinity"),
        ];
        for &(digits, weight, sign, scale, text) in cases {
            let raw = encoded(digits, weight, sign, scale);
            assert_eq!(to_text(&raw).as_deref(), Some(text));
        }
    }

    #[test]
    fn malformed_bytes_are_rejected() {
        assert_eq!(to_text(&[]), None);
        assert_eq!(to_text(&encoded(&[10_000], 0, 0, 0)), None);
        assert_eq!(to_text(&encoded(&[1], 0, 0x1234, 0)), None);
        assert_eq!(to_text(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]), None);
    }

    proptest! {
        #[test]
        fn every_digit_survives(
            integer in "0|[1-9][0-9]{0,300}",
            fraction in "0{0,12}[0-9]{0,300}",
            negative: bool,
        ) {
            let zero = integer == "0" && fraction.bytes().all(|digit| digit == b'0');
            let sign = if negative && !zero { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let expected = format!("{sign}{integer}{point}{fraction}");
            prop_assert_eq!(to_text(&numeric_send(&integer, &fraction, negative)), Some(expected));
        }

        #[test]
        fn arbitrary_bytes_never_panic(raw: Vec<u8>) {
            let _text = to_text(&raw);
        }
    }
}
