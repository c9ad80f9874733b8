//! The signature of claims: HMAC-SHA-256 (RFC 2104), made for one session of the database and for a time.

use std::fmt;
use std::time::{Duration, Instant};

use ring::{digest, hmac};

use crate::config::Secret;
use crate::value::Value;

/// The start of each message that is signed. The database signs others with the same key.
const PURPOSE: &[u8] = b"rowgate claims: session";

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// A key that signs claims.
pub(crate) struct SigningKey(hmac::Key);

impl SigningKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// A key in the form in which the database has it.
pub(crate) struct StoredKey {
    /// Tells it from others, and nothing about it.
    pub(crate) id: String,
    pub(crate) inner_pad: [u8; BLOCK],
    pub(crate) outer_pad: [u8; BLOCK],
}

impl StoredKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        let key = secret.expose().as_bytes();
        let hashed = digest::digest(&digest::SHA256, key);
        let key = if key.len() > BLOCK { hashed.as_ref() } else { key };
        let mut block = [0; BLOCK];
        block[..key.len()].copy_from_slice(key);
        let id = hmac::sign(&SigningKey::new(secret).0, b"rowgate claims: id");
        Self {
            id: hex(&id.as_ref()[..8]),
            inner_pad: block.map(|byte| byte ^ 0x36),
            outer_pad: block.map(|byte| byte ^ 0x5c),
        }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A session of the database, as claims are signed for it.
#[derive(Debug, Clone)]
pub(crate) struct ClaimSession {
    identity: Vec<u8>,
    /// The clock of the database, in microseconds since 1970, at about this time.
    database_time: i64,
    pub(crate) asked_at: Instant,
}

impl ClaimSession {
    /// Reads the answer of a session that was asked at a time: its identity in hexadecimal digits and its clock. The second value
    /// is the rest: the rights by which claims would be no boundary.
    pub(crate) fn parse(answer: &str, asked_at: Instant) -> Option<(Self, &str)> {
        let mut parts = answer.splitn(3, ' ');
        let digits = parts.next()?.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let identity: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        let identity = identity.filter(|identity| !identity.is_empty())?;
        let database_time = parts.next()?.parse().ok()?;
        Some((Self { identity, database_time, asked_at }, parts.next().unwrap_or_default()))
    }

    /// Signs claims for a time that begins now. Returns the parameters of `rowgate.set_claims`.
    pub(crate) fn signed(
        &self,
        claims: &Secret,
        key: &SigningKey,
        validity: Duration,
    ) -> [Value; 3] {
        let end = self.asked_at.elapsed().saturating_add(validity).as_micros();
        let expires = self.database_time.saturating_add(i64::try_from(end).unwrap_or(i64::MAX));
        let mut message = hmac::Context::with_key(&key.0);
        message.update(PURPOSE);
        message.update(&self.identity);
        message.update(&expires.to_be_bytes());
        message.update(claims.expose().as_bytes());
        let signature = message.sign();
        [Value::text(claims.expose()), Value::int64(expires), Value::bytes(signature.as_ref())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_keys_make_the_signatures_of_rfc_4231() {
        let sha256 = |parts: &[&[u8]]| digest::digest(&digest::SHA256, &parts.concat());
        let long = "\u{7f}".repeat(131);
        for (key, data) in [("Jefe", "what do ya want for nothing?"), (long.as_str(), "Hi There")] {
            let secret = Secret::new(key);
            let StoredKey { inner_pad, outer_pad, .. } = StoredKey::new(&secret);
            let inner = sha256(&[&inner_pad, data.as_bytes()]);
            let stored = sha256(&[&outer_pad, inner.as_ref()]);
            let signed = hmac::sign(&SigningKey::new(&secret).0, data.as_bytes());
            assert_eq!(stored.as_ref(), signed.as_ref());
            if key == "Jefe" {
                let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
                assert_eq!(hex(stored.as_ref()), expected, "test case 2");
            }
        }
    }

    #[test]
    fn only_a_whole_answer_is_a_session() {
        let parse = |answer| {
            let parsed = ClaimSession::parse(answer, Instant::now());
            parsed.map(|(session, rest)| (session.identity, session.database_time, rest.to_owned()))
        };
        assert_eq!(
            parse("00ff 17 is a superuser"),
            Some((vec![0, 255], 17, "is a superuser".to_owned()))
        );
        assert_eq!(parse("00ff 17 "), Some((vec![0, 255], 17, String::new())));
        for answer in ["", " 17", "00ff", "0g 17", "00ff x", "é 17"] {
            assert_eq!(parse(answer), None, "{answer}");
        }
    }
}
