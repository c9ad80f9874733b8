//! Equality of JSON documents whose numbers have any size.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Tells if two texts are the same document: spaces and the order of members do not count, numbers are decimal.
pub(super) fn are_equal(left: &str, right: &str) -> bool {
    let parsed = |text| Document::parse(text);
    matches!((parsed(left), parsed(right)), (Some(left), Some(right)) if left == right)
}

#[derive(Debug, PartialEq)]
enum Document {
    Object(BTreeMap<String, Document>),
    Array(Vec<Document>),
    Text(String),
    /// Sign, digits without zeros around them, and the power of ten behind them.
    Number(bool, String, i64),
    Word(String),
}

impl Document {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.as_bytes().first()? {
            b'{' => {
                let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
                let parsed = members.into_iter();
                let parsed = parsed.map(|(name, one)| Some((name, Self::parse(one.get())?)));
                Some(Self::Object(parsed.collect::<Option<_>>()?))
            }
            b'[' => {
                let elements: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
                let parsed = elements.iter().map(|one| Self::parse(one.get()));
                Some(Self::Array(parsed.collect::<Option<_>>()?))
            }
            b'"' => Some(Self::Text(serde_json::from_str(text).ok()?)),
            b'-' | b'0'..=b'9' => number(text),
            _ => Some(Self::Word(text.to_owned())),
        }
    }
}

fn number(text: &str) -> Option<Document> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(Document::Number(false, String::new(), 0));
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let power = exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(zeros).ok()?;
    Some(Document::Number(whole.starts_with('-'), significant.to_owned(), power))
}

#[test]
fn documents_are_compared_by_what_they_say() {
    for (left, right) in [
        ("{\"a\":  1, \"b\": [1.50, true]}", "{ \"b\":[1.5,true],\"a\":1e0}"),
        ("\"\\u00e9\"", "\"é\""),
        ("[0.0, -0, 100, 5e-1]", "[0, 0, 1e2, 0.5]"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
    ] {
        assert!(are_equal(left, right), "{left} and {right}");
    }
    for (left, right) in [
        ("[9007199254740993]", "[9007199254740992]"),
        ("1", "-1"),
        ("1", "\"1\""),
        ("null", "false"),
        ("[1, 2]", "[2, 1]"),
        ("{\"a\": 1}", "{\"a\": 1, \"b\": 1}"),
        ("0.1234567890123456789012345", "0.1234567890123456789012346"),
        ("{", "{"),
    ] {
        assert!(!are_equal(left, right), "{left} and {right}");
    }
}
