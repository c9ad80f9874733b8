//! Tokens of callers, signed by a key of a provider and not; its keys; files of tokens.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rowgate::fuzzing::{CheckedToken, KeyDocument, read_token_file};
use serde_json::Value;

use crate::configuration::file;

const NOW: u64 = 1_800_000_000;
/// The difference between clocks that is allowed.
const LEEWAY: u64 = 10;

/// A provider whose key is known to all who read this.
static PROVIDER: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("it is a seed"));

/// Checks an input: a byte of its form, then a header and claims to be signed, a token as it is, a document of keys, or a file of
/// tokens.
pub fn check(data: &[u8]) {
    let Some((form, content)) = data.split_first() else { return };
    match form % 4 {
        0 => check_signed(content),
        1 => {
            let token = String::from_utf8_lossy(content);
            assert!(CheckedToken::verify(keys(), &token, NOW).is_none(), "nobody signed {token}");
        }
        2 => {
            if let Some(keys) = KeyDocument::parse(content) {
                let token = signed(br#"{"alg":"EdDSA","kid":"ed"}"#, b"{}");
                assert!(CheckedToken::verify(keys, &token, NOW).is_none(), "it has no claims");
            }
        }
        _ => {
            let lines = content.split(|byte| *byte == b'\n').count();
            let read = read_token_file(&file("tokens", content));
            assert!(read.is_none_or(|tokens| tokens <= lines));
        }
    }
}

/// A header and claims, separated by a zero byte. A token that gets in has all that it needs, by another reading of the same claims.
fn check_signed(content: &[u8]) {
    let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
    let (header, claims) = content.split_at(end);
    let claims = claims.get(1..).unwrap_or_default();
    let Some(CheckedToken { subject }) = CheckedToken::verify(keys(), &signed(header, claims), NOW)
    else {
        return;
    };
    let (Some(header), Some(claims)) = (read(header), read(claims)) else { return };
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("crit").is_none());
    assert!(header.get("kid").is_none_or(|kid| kid == "ed" || kid.is_null()));
    assert_eq!(claims["iss"], "https://idp");
    let is_audience = |audience: &Value| audience == "rowgate";
    let audience = &claims["aud"];
    assert!(
        is_audience(audience)
            || audience.as_array().is_some_and(|list| list.iter().any(is_audience))
    );
    assert!(claims["exp"].as_u64().is_some_and(|end| end > NOW - LEEWAY));
    for name in ["nbf", "iat"] {
        let time = claims.get(name).filter(|time| !time.is_null());
        assert!(time.is_none_or(|time| time.as_u64().is_some_and(|begin| begin <= NOW + LEEWAY)));
    }
    assert!(!subject.is_empty() && claims["sub"] == subject.as_str());
}

/// Reads a part of a token; `None` where a member that nobody asks for, and that is therefore skipped, cannot be read: bytes that are
/// not UTF-8, half of a surrogate pair, a number out of range, a thousand arrays in one another.
fn read(part: &[u8]) -> Option<Value> {
    serde_json::from_slice(part).ok()
}

fn keys() -> KeyDocument {
    let x = URL_SAFE_NO_PAD.encode(PROVIDER.public_key().as_ref());
    let document = format!(r#"{{"keys":[{{"kid":"ed","kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
    KeyDocument::parse(document.as_bytes()).expect("it is a document")
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = PROVIDER.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}
