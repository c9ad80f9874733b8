//! The claims of a caller that its databases get: its name, fixed ones, and those of its token that are passed on.
//! Knows nothing of how they are signed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::jwks::Reason;
use crate::config::{CallerClaims, OWN_CLAIM, Secret, fixed_claim};

/// The claims of one caller: an object of JSON in ASCII, whatever the encoding of a database is. The same claims are the
/// same text.
pub(crate) type Claims = Arc<Secret>;

/// Returns the claims of a caller by its section, its name, and the claims of its token.
pub(crate) fn claims_of(
    settings: &CallerClaims,
    caller: &str,
    token: Option<&[u8]>,
) -> Result<Claims, Reason> {
    let mut claims = BTreeMap::from([(OWN_CLAIM, text(caller))]);
    let fixed = settings.fixed.iter().filter_map(|written| fixed_claim(written));
    claims.extend(fixed.map(|(name, value)| (name, text(value))));
    let passed = match token.filter(|_| !settings.from_token.is_empty()) {
        Some(token) => passed(token, &settings.from_token)?,
        None => BTreeMap::new(),
    };
    for (name, value) in &passed {
        claims.insert(name, json_of(value)?);
    }
    let members = claims.iter().map(|(name, value)| format!("{}:{value}", text(name)));
    let json = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    if json.len() > settings.max_size {
        return Err("the claims of the caller are larger than callers.NAME.claims.max_size");
    }
    Ok(Arc::new(Secret::new(json)))
}

/// A string of JSON in ASCII.
fn text(value: &str) -> String {
    in_ascii(&serde_json::Value::from(value).to_string())
}

/// A value in ASCII. A number keeps all its digits.
fn json_of(value: &RawValue) -> Result<String, Reason> {
    if let Ok(string) = serde_json::from_str::<String>(value.get()) {
        if string.contains('\0') {
            return Err("a claim of the JSON Web Token holds U+0000");
        }
        return Ok(text(&string));
    }
    Ok(in_ascii(value.get()))
}

/// JSON with an escape for each character beyond ASCII, all of which are in strings.
fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// The claims of a token that have one of these names. One that is there twice is nobody's.
fn passed(token: &[u8], names: &[String]) -> Result<BTreeMap<String, Box<RawValue>>, Reason> {
    let mut json = serde_json::Deserializer::from_slice(token);
    json.deserialize_map(Passed(names))
        .map_err(|_error| "the claims of the JSON Web Token cannot be passed on")
}

/// The names of the claims that are passed on.
struct Passed<'a>(&'a [String]);

impl<'de> Visitor<'de> for Passed<'_> {
    type Value = BTreeMap<String, Box<RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims, each once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut passed = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if !self.0.contains(&name) {
                map.next_value::<IgnoredAny>()?;
            } else if passed.insert(name, map.next_value()?).is_some() {
                return Err(A::Error::custom("a claim is there twice"));
            }
        }
        Ok(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_from;

    fn settings(max_size: &str) -> CallerClaims {
        let config = load_from(&[
            ("databases.main.url", "postgres://me@db/shop"),
            ("databases.main.claims.key", "0123456789abcdef0123456789abcdef"),
            ("callers.shop.databases", "main"),
            ("callers.shop.claims.fixed", "plan=gold"),
            ("callers.shop.claims.from_token", "tenant,n,roles"),
            ("callers.shop.claims.max_size", max_size),
        ]);
        config.expect("it is a configuration").callers["shop"].claims.clone()
    }

    #[test]
    fn claims_are_the_name_fixed_values_and_what_is_passed_on_of_a_token() {
        let of = |token: Option<&str>| {
            let claims = claims_of(&settings("4KiB"), "shop/ä", token.map(str::as_bytes));
            claims.map(|claims| claims.expose().to_owned())
        };
        let own = r#""caller":"shop/\u00e4""#;
        let cases = [
            (None, ""),
            (Some("{}"), ""),
            (Some(r#"{"sub":"a","admin":true}"#), ""),
            (Some(r#"{"tenant":"a\"b\u00fc𝄞"}"#), r#","tenant":"a\"b\u00fc\ud834\udd1e""#),
            (Some(r#"{"tenant":null}"#), r#","tenant":null"#),
            (
                Some(r#"{"n":12345678901234567890.10, "roles":["ü",{"a":true}]}"#),
                r#","n":12345678901234567890.10|,"roles":["\u00fc",{"a":true}]"#,
            ),
        ];
        for (token, more) in cases {
            let (before, after) = more.split_once('|').unwrap_or(("", more));
            let expected = format!("{{{own}{before},\"plan\":\"gold\"{after}}}");
            assert_eq!(of(token).as_deref(), Ok(expected.as_str()), "{token:?}");
        }
    }

    #[test]
    fn claims_that_cannot_be_passed_on_are_nobodys() {
        let large = format!(r#"{{"tenant":"{}"}}"#, "x".repeat(256));
        for token in [
            r#"{"tenant":"a","tenant":"b"}"#,
            r#"{"tenant":"a\u0000"}"#,
            r#"["tenant"]"#,
            r#"{"tenant":}"#,
            &large,
        ] {
            claims_of(&settings("256B"), "shop", Some(token.as_bytes())).expect_err(token);
        }
    }

    #[test]
    fn claims_are_not_shown() {
        let claims = claims_of(&settings("4KiB"), "shop", None).expect("they fit");
        assert_eq!(format!("{claims:?}"), "******");
    }
}
