//! Documents (json, jsonb) as JSON values: keys in their order, and no digit lost.
//!
//! A document is read level by level, each value as its text (`RawValue`): a tree of values would have rounded its numbers, and
//! sorted its keys.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json_values::{
    BOOL, FIRST, LIST, STRUCT, add_entry, delimited, float, integer, null, text,
};

/// The levels of a document that is not left as text: readers of messages bound their depth, to 100 as a rule, and a level of a
/// document is up to four of theirs.
const MAX_LEVELS: usize = 20;

/// Encodes a document as what it is; `None` for one that is too deep, or no JSON.
pub(super) fn value_of_document(document: &str) -> Option<Vec<u8>> {
    value(serde_json::from_str(document).ok()?, MAX_LEVELS)
}

fn value(document: &RawValue, levels: usize) -> Option<Vec<u8>> {
    let levels = levels.checked_sub(1)?;
    let document = document.get();
    Some(match document.as_bytes().first()? {
        b'n' => null(),
        b't' => vec![BOOL, 1],
        b'f' => vec![BOOL, 0],
        b'"' => text(&serde_json::from_str::<Cow<'_, str>>(document).ok()?),
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(document).ok()?;
            let mut content = Vec::with_capacity(document.len());
            for item in items {
                delimited(&mut content, FIRST, &value(item, levels)?);
            }
            nested(LIST, &content)
        }
        b'{' => {
            let mut reader = serde_json::Deserializer::from_str(document);
            nested(STRUCT, &reader.deserialize_map(Entries { levels }).ok()??)
        }
        _ => number(document),
    })
}

fn nested(key: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(content.len() + 8);
    delimited(&mut encoded, key, content);
    encoded
}

/// The reader of an object's entries, which it encodes in their order; `None` if one is too deep.
struct Entries {
    levels: usize,
}

impl<'de> Visitor<'de> for Entries {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut content = Vec::new();
        while let Some((name, item)) = entries.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            let Some(item) = value(item, self.levels) else { return Ok(None) };
            add_entry(&mut content, &name, &item);
        }
        Ok(Some(content))
    }
}

/// Encodes a number: as text where double precision would change it.
fn number(digits: &str) -> Vec<u8> {
    if let Ok(whole) = digits.parse::<i64>()
        && digits != "-0"
    {
        return integer(whole);
    }
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match digits.parse::<f64>() {
        Ok(number) if digits == "-0" => float(number),
        // Larger than any integer that is exact everywhere.
        Ok(_) if is_integer => text(digits),
        Ok(number) if number.is_finite() && is_same(digits, number) => float(number),
        Ok(_) | Err(_) => text(digits),
    }
}

/// Tells if the shortest text of a number stands for the same decimal number as the digits that it was read from.
fn is_same(digits: &str, number: f64) -> bool {
    match (DecimalNumber::read(digits), DecimalNumber::read(&format!("{number:e}"))) {
        (Some(given), Some(kept)) => given == kept,
        (_, None) | (None, _) => false,
    }
}

/// A decimal number: its digits, without zeros at either end, and the power of ten of the first one.
#[derive(Debug, PartialEq, Eq)]
struct DecimalNumber {
    is_negative: bool,
    digits: String,
    power: i64,
}

impl DecimalNumber {
    /// Reads a number of JSON; `None` if its exponent is out of all bounds.
    fn read(text: &str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i64 = exponent.parse().ok()?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let leading = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { is_negative, digits, power: 0 });
        }
        let first = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(leading).ok()?)?;
        Some(Self { is_negative, digits, power: exponent.checked_add(first)? })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::Value;
    use prost_types::value::Kind;

    use super::*;

    fn kind(document: &str) -> Kind {
        let encoded = value_of_document(document).expect("it is JSON");
        let value = Value::decode(&*encoded).expect("it is a value");
        value.kind.expect("it is one of them")
    }

    #[test]
    fn a_number_is_one_where_double_precision_keeps_it() {
        for (digits, expected) in [
            ("0", 0.0),
            ("-7", -7.0),
            ("0.1", 0.1),
            ("1.10", 1.1),
            ("-0.0", -0.0),
            ("1e2", 100.0),
            ("1E+2", 100.0),
            ("12.5e-1", 1.25),
            ("100.0", 100.0),
            ("0.00012", 0.00012),
            ("1e300", 1e300),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("0e999", 0.0),
        ] {
            assert_eq!(kind(digits), Kind::NumberValue(expected), "{digits}");
        }
        let Kind::NumberValue(zero) = kind("-0") else { panic!("it is a number") };
        assert!(zero.is_sign_negative());
    }

    #[test]
    fn any_other_number_is_its_text() {
        for digits in [
            "9007199254740993",
            "-9223372036854775809",
            "18446744073709551616",
            "123456789012345678901234567890",
            "0.12345678901234567890",
            "3.141592653589793238462643383279",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
            "1.00000000000000000000000001",
        ] {
            assert_eq!(kind(digits), Kind::StringValue(digits.to_owned()));
            let Kind::ListValue(list) = kind(&format!("[[{digits}]]")) else { panic!("a list") };
            let inner = list.values[0].kind.clone().expect("one");
            let Kind::ListValue(inner) = inner else { panic!("a list in a list") };
            assert_eq!(inner.values[0].kind, Some(Kind::StringValue(digits.to_owned())));
        }
    }

    #[test]
    fn keys_keep_their_order_and_texts_their_characters() {
        let encoded = value_of_document(r#" { "b" : null, "a\u00e9" : [ true , "x\ny" ] } "#);
        let list = [&[FIRST, 2, BOOL, 1][..], &[FIRST, 5], &text("x\ny")].concat();
        let mut content = Vec::new();
        add_entry(&mut content, "b", &null());
        add_entry(&mut content, "aé", &nested(LIST, &list));
        assert_eq!(encoded, Some(nested(STRUCT, &content)));
    }

    #[test]
    fn what_is_too_deep_or_no_json_is_none() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(value_of_document(&deep(MAX_LEVELS)).is_some());
        assert!(value_of_document(&deep(MAX_LEVELS + 1)).is_none());
        assert!(value_of_document(&deep(100_000)).is_none());
        assert!(value_of_document(&"{\"a\":".repeat(MAX_LEVELS + 1)).is_none());
        for wrong in ["", "nul", "{]", "1 2", "\"", "01", "NaN", "{\"a\" 1}"] {
            assert!(value_of_document(wrong).is_none(), "{wrong}");
        }
    }
}
