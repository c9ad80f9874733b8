//! The binding of transaction tokens to the callers that get them: a caller learns the outcome of its own transactions only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::identity::Identity;
use crate::config::Access;
use crate::error::{Error, ErrorKind, Result};

/// The use of the key, which is part of what is tagged.
const PURPOSE: &[u8] = b"rowgate transaction token\0";

/// The binding of transaction tokens to callers. Without a key they are bound to nobody.
#[derive(Debug, Default)]
pub(crate) struct TransactionTokens {
    /// The first makes tags; the tags of all are accepted.
    keys: Vec<hmac::Key>,
}

impl TransactionTokens {
    pub(crate) fn new(settings: &Access) -> Self {
        let keys = [&settings.transaction_token_key, &settings.previous_transaction_token_key];
        let keys = keys.into_iter().flatten();
        let keys = keys.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()));
        Self { keys: keys.collect() }
    }

    /// Binds the token of an error, if it has one, to the caller that gets it.
    pub(crate) fn bind(&self, caller: &Identity, error: Error) -> Error {
        let Some((key, token)) = self.keys.first().zip(error.transaction_token()) else {
            return error;
        };
        let tag = hmac::sign(key, &tagged(caller, token));
        let bound = format!("{token}.{}", URL_SAFE_NO_PAD.encode(tag));
        error.with_transaction_token(bound)
    }

    /// Returns the token that was bound.
    ///
    /// # Errors
    /// It was not given to this caller.
    pub(crate) fn unbind(&self, caller: &Identity, bound: &str) -> Result<String> {
        if self.keys.is_empty() {
            return Ok(bound.to_owned());
        }
        let (token, tag) = bound.rsplit_once('.').ok_or_else(foreign)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_not_base64| foreign())?;
        let tagged = tagged(caller, token);
        let is_own = self.keys.iter().any(|key| hmac::verify(key, &tagged, &tag).is_ok());
        if is_own { Ok(token.to_owned()) } else { Err(foreign()) }
    }
}

/// The bytes that a tag covers. No name has a NUL.
fn tagged(caller: &Identity, token: &str) -> Vec<u8> {
    [PURPOSE, caller.name.as_bytes(), b"\0", token.as_bytes()].concat()
}

fn foreign() -> Error {
    let description = "this is no token that was given to this caller";
    Error::field(ErrorKind::InvalidParameter, "transaction_token", description)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Identity {
        Identity { name: name.into(), ..Identity::anybody() }
    }

    fn keys(keys: &[&str]) -> TransactionTokens {
        let key = |key: &&str| hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        TransactionTokens { keys: keys.iter().map(key).collect() }
    }

    fn bound(tokens: &TransactionTokens, name: &str) -> String {
        let error = Error::new(ErrorKind::OutcomeUnknown, "lost").with_transaction_token("pg1-2-3");
        let error = tokens.bind(&caller(name), error);
        error.transaction_token().expect("it has one").to_owned()
    }

    #[test]
    fn a_token_is_good_for_the_caller_that_it_was_given_to() {
        let tokens = keys(&["a"]);
        let given = bound(&tokens, "shop");
        let opened = tokens.unbind(&caller("shop"), &given).expect("it is its own");
        assert_eq!(opened, "pg1-2-3");
        for other in ["", "sho", "shop2", "shop/alice"] {
            tokens.unbind(&caller(other), &given).expect_err(other);
        }
        let another = bound(&tokens, "billing");
        let (_, tag) = another.rsplit_once('.').expect("it has a tag");
        let (token, _) = given.rsplit_once('.').expect("it has a tag");
        let forged =
            ["pg1-2-3", "pg1-2-3.", "", ".", &format!("{token}.{tag}"), &given.replace('3', "4")];
        for forged in forged {
            let error = tokens.unbind(&caller("shop"), forged).expect_err(forged);
            assert_eq!(error.kind(), ErrorKind::InvalidParameter);
        }
        for index in 0..given.len() {
            let mut changed = given.clone().into_bytes();
            changed[index] ^= 1;
            let changed = String::from_utf8(changed).expect("it is ASCII");
            tokens.unbind(&caller("shop"), &changed).expect_err(&changed);
        }
    }

    #[test]
    fn a_key_that_was_replaced_is_accepted_while_it_is_the_previous_one() {
        let given = bound(&keys(&["old"]), "shop");
        keys(&["new", "old"]).unbind(&caller("shop"), &given).expect("it is known");
        keys(&["new"]).unbind(&caller("shop"), &given).expect_err("it is forgotten");
        assert_eq!(keys(&[]).unbind(&caller("shop"), "pg1-2-3").expect("all are"), "pg1-2-3");
    }
}
