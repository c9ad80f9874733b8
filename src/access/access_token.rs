//! Tokens: `rg_ID_SECRET`. The identifier finds the token, the secret proves it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::ring;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// The first characters of every token, by which scanners for leaked secrets find it.
const PREFIX: &str = "rg_";
/// The bytes of an identifier and of a secret, before their encoding.
const ID_BYTES: usize = 9;
const SECRET_BYTES: usize = 32;

/// The hash of a token, as it is stored.
pub(crate) type TokenHash = [u8; 32];

/// Makes a token; its identifier is the first of the pair.
///
/// # Errors
/// The system gives no random numbers.
pub fn new_token() -> Result<(String, String)> {
    // An underscore separates the parts.
    let id = random::<ID_BYTES>()?.replace(['_', '-'], "0");
    let token = format!("{PREFIX}{id}_{}", random::<SECRET_BYTES>()?);
    Ok((id, token))
}

fn random<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    ring::default_provider().secure_random.fill(&mut bytes).map_err(|_unavailable| {
        Error::new(ErrorKind::Internal, "the system gives no random numbers")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Returns true for text that is meant as a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The identifier of a token; `None` for a malformed one.
pub(crate) fn id_of(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    (!id.is_empty() && !secret.is_empty()).then_some(id)
}

pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// Compares two hashes in a time that does not depend on them.
pub(crate) fn are_equal(one: &TokenHash, other: &TokenHash) -> bool {
    one.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_identifier_and_each_is_another() {
        let (id, token) = new_token().expect("there are random numbers");
        assert_eq!(id_of(&token), Some(id.as_str()));
        assert!(is_token(&token) && token.len() == PREFIX.len() + 12 + 1 + 43, "{token}");
        assert_ne!(new_token().expect("there are more").1, token);
        assert!(are_equal(&hash(&token), &hash(&token)));
        assert!(!are_equal(&hash(&token), &hash(&token[1..])));
        for malformed in ["", "rg_", "rg_a", "rg_a_", "rg__b", "a_b", "RG_a_b"] {
            assert_eq!(id_of(malformed), None, "{malformed}");
        }
    }
}
