//! Decimal numbers, read from their text.

/// Reads a decimal number in units of its last digit, for a scale; `None` if it is none or has more digits.
pub(super) fn unscaled(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let digits = text.strip_prefix('-');
    let (whole, fraction) =
        digits.unwrap_or(text).split_once('.').unwrap_or((digits.unwrap_or(text), ""));
    let is_number =
        !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if !is_number || fraction.len() > scale {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', scale - fraction.len());
    let all = whole.bytes().chain(fraction.bytes()).chain(zeros);
    let number = all.skip_while(|digit| *digit == b'0').try_fold(
        (0_i128, 0_u8),
        |(number, count), digit| {
            let number = number.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
            (count < precision).then_some((number, count + 1))
        },
    );
    number.map(|(number, _)| if digits.is_some() { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_read_exactly_or_not_at_all() {
        let nines = "9".repeat(38);
        let cases = [
            ("0", 5, 2, Some(0)),
            ("-0.01", 5, 2, Some(-1)),
            ("123.45", 5, 2, Some(12_345)),
            ("7", 5, 2, Some(700)),
            ("000123.4", 5, 2, Some(12_340)),
            (&nines, 38, 0, Some(10_i128.pow(38) - 1)),
            ("1234.5", 5, 2, None),
            ("1.234", 5, 2, None),
            ("NaN", 5, 2, None),
            ("Infinity", 5, 2, None),
            ("", 5, 2, None),
            ("-", 5, 2, None),
            ("1e3", 5, 2, None),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(unscaled(text, precision, scale), expected, "{text}");
        }
    }
}
