//! The credentials that callers present, and the files that say who they are.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use crate::access::{Identity, JwtVerifier, KeySet, TokenFile};
use crate::config::{Config, load_from};

/// The configuration of an issuer and an audience. Its keys are not read from that file.
static CONFIG: LazyLock<Option<Config>> = LazyLock::new(|| {
    let keys = [
        ("access.jwt.keys", "keys.json"),
        ("access.jwt.issuer", "https://idp"),
        ("access.jwt.audiences", "rowgate"),
        ("access.jwt.max_cached", "16"),
    ];
    load_from(&keys).ok()
});

/// A document of keys, as a provider publishes it.
#[derive(Debug)]
pub struct KeyDocument(KeySet);

impl KeyDocument {
    /// Reads a document; `None` for one that cannot be used.
    #[must_use]
    pub fn parse(document: &[u8]) -> Option<Self> {
        KeySet::parse(document).ok().map(Self)
    }
}

/// The subject of a token that was let in.
#[derive(Debug)]
pub struct CheckedToken {
    /// The subject.
    pub subject: String,
}

impl CheckedToken {
    /// Verifies a token of the issuer `https://idp` for the audience `rowgate` by some keys; `None` for one that is refused.
    #[must_use]
    pub fn verify(keys: KeyDocument, token: &str, now_seconds: u64) -> Option<Self> {
        let verifier = JwtVerifier::new(&CONFIG.as_ref()?.jwt)?;
        verifier.replace_keys(keys.0);
        let now = UNIX_EPOCH + Duration::from_secs(now_seconds);
        let mut found = None;
        let verified = verifier.verify(token, now, |claims, revocation| {
            found = Some(claims.subject.to_owned());
            Ok(Identity { revocation: revocation.into(), ..Identity::nobody() })
        });
        verified.ok()?;
        found.map(|subject| Self { subject })
    }
}

/// Reads a file of tokens, and returns the number of those that are in it; `None` for a malformed one.
#[must_use]
pub fn read_token_file(path: &Path) -> Option<usize> {
    TokenFile::new(path).read().ok().map(|tokens| tokens.len())
}
