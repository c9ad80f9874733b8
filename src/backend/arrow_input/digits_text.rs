//! Numbers as text: decimals, and UUIDs.

/// Writes a decimal of these digits, which are whole units of its last place.
pub(super) fn decimal(units: &str, scale: i8) -> String {
    let (sign, digits) = units.strip_prefix('-').map_or(("", units), |digits| ("-", digits));
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{fraction}")
}

/// Writes the bytes of a UUID.
pub(super) fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn decimals_have_as_many_places_as_their_scale() {
        let cases = [
            ("12345", 2, "123.45"),
            ("-5", 2, "-0.05"),
            ("0", 3, "0.000"),
            ("7", 0, "7"),
            ("-7", -2, "-700"),
            ("0", -2, "0"),
            (
                "99999999999999999999999999999999999999",
                38,
                "0.99999999999999999999999999999999999999",
            ),
        ];
        for (units, scale, expected) in cases {
            assert_eq!(decimal(units, scale), expected, "{units} {scale}");
        }
    }

    #[test]
    fn a_uuid_is_in_five_groups() {
        let bytes: Vec<u8> = (0..16).map(|at| at * 0x11).collect();
        assert_eq!(uuid(&bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
