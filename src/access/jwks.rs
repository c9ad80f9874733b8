//! The keys of an identity provider (JWKS, RFC 7517): each has one algorithm, for which alone it is used.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;

use super::revocation::Revocation;

/// The bytes of the modulus of an RSA key: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// The bytes of a coordinate on P-256, and of a key of Ed25519.
const POINT_BYTES: usize = 32;

/// The text for the log of what is wrong.
pub(crate) type Reason = &'static str;

/// A set of keys, as a provider publishes it.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
    /// The reasons for which keys of the document are not used, each with the number of the key in it.
    pub(crate) ignored: Vec<(usize, Reason)>,
}

/// A key by which the signatures of tokens are verified.
#[derive(Debug, Clone)]
pub(crate) struct VerificationKey {
    id: Option<String>,
    material: KeyMaterial,
    /// The end of the key, which ends the calls of all its tokens.
    pub(crate) revocation: Revocation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyMaterial {
    /// RSASSA-PKCS1-v1_5 with SHA-256: modulus and exponent.
    Rs256 { modulus: Vec<u8>, exponent: Vec<u8> },
    /// ECDSA with P-256 and SHA-256: an uncompressed point.
    Es256(Vec<u8>),
    /// Ed25519.
    EdDsa(Vec<u8>),
}

/// The members of a JSON Web Key that are used; keys may have others.
#[derive(Debug, Deserialize)]
struct JsonWebKey {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Debug, Deserialize)]
struct JwksDocument {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a document. Keys that are for something else, or too weak, are ignored (RFC 7517, 5); two keys that are used
    /// and have one identifier make it unusable.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, Reason> {
        let JwksDocument { keys } = serde_json::from_slice(document)
            .map_err(|_error| "it is no JSON object with a list named keys")?;
        let mut set = Self::default();
        for (index, key) in keys.into_iter().enumerate() {
            match VerificationKey::parse(key) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.ignored.push((index + 1, reason)),
            }
        }
        let mut ids: Vec<_> = set.keys.iter().filter_map(|key| key.id.as_ref()).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two of its keys have one kid");
        }
        Ok(set)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the key of a token by its `kid`, which it may lack where there is one key only.
    pub(crate) fn find(&self, id: Option<&str>) -> Option<&VerificationKey> {
        match (id, self.keys.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        }
    }

    /// Returns true if both have the same keys.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        self.len() == other.len() && other.keys.iter().all(|key| self.same(key).is_some())
    }

    /// Takes the revocations of the keys that an older set has too: their calls go on.
    pub(crate) fn continuing(mut self, old: &Self) -> Self {
        for key in &mut self.keys {
            if let Some(same) = old.same(key) {
                key.revocation = same.revocation.clone();
            }
        }
        self
    }

    /// Ends the calls of the keys that a newer set does not have.
    pub(crate) fn revoke_missing(&self, new: &Self) {
        for gone in self.keys.iter().filter(|key| new.same(key).is_none()) {
            gone.revocation.revoke();
        }
    }

    fn same(&self, key: &VerificationKey) -> Option<&VerificationKey> {
        self.keys.iter().find(|own| own.id == key.id && own.material == key.material)
    }
}

impl VerificationKey {
    fn parse(key: Value) -> Result<Self, Reason> {
        let key: JsonWebKey =
            serde_json::from_value(key).map_err(|_error| "it is no JSON Web Key")?;
        if key.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err("its use is not sig");
        }
        if key
            .key_ops
            .as_ref()
            .is_some_and(|operations| !operations.iter().any(|it| it == "verify"))
        {
            return Err("its key_ops do not have verify");
        }
        let material = KeyMaterial::of(&key)?;
        let is_for = |algorithm: &str| material.algorithms().contains(&algorithm);
        if key.alg.as_deref().is_some_and(|algorithm| !is_for(algorithm)) {
            return Err("its alg is not that of RS256, ES256 or EdDSA for its kty");
        }
        Ok(Self { id: key.kid, material, revocation: Revocation::default() })
    }

    /// Returns true if a token may name this algorithm, `alg`.
    pub(crate) fn is_for(&self, algorithm: &str) -> bool {
        self.material.algorithms().contains(&algorithm)
    }

    /// Returns true if the signature of a message was made with the private key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature)
        };
        let verified = match &self.material {
            KeyMaterial::Rs256 { modulus, exponent } => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                    &signature::RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
            KeyMaterial::Es256(point) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            KeyMaterial::EdDsa(key) => by(&signature::ED25519, key),
        };
        verified.is_ok()
    }
}

impl KeyMaterial {
    fn of(key: &JsonWebKey) -> Result<Self, Reason> {
        match (key.kty.as_str(), key.crv.as_deref()) {
            ("RSA", _) => {
                let modulus = stripped(bytes(key.n.as_deref())?);
                let exponent = stripped(bytes(key.e.as_deref())?);
                // The first bit of the shortest one is set, otherwise it would be shorter still.
                let is_short = modulus.len() == *RSA_BYTES.start() && modulus[0] < 0x80;
                if is_short || !RSA_BYTES.contains(&modulus.len()) {
                    return Err("its modulus has fewer than 2048 bits, or more than 8192");
                }
                Ok(Self::Rs256 { modulus, exponent })
            }
            ("EC", Some("P-256")) => {
                let mut point = vec![4];
                point.extend(sized(bytes(key.x.as_deref())?)?);
                point.extend(sized(bytes(key.y.as_deref())?)?);
                Ok(Self::Es256(point))
            }
            ("OKP", Some("Ed25519")) => Ok(Self::EdDsa(sized(bytes(key.x.as_deref())?)?)),
            _ => Err("its kty and crv are not RSA, EC with P-256 or OKP with Ed25519"),
        }
    }

    /// The names of its algorithm (RFC 7518, RFC 9864).
    fn algorithms(&self) -> &'static [&'static str] {
        match self {
            Self::Rs256 { .. } => &["RS256"],
            Self::Es256(_) => &["ES256"],
            Self::EdDsa(_) => &["EdDSA", "Ed25519"],
        }
    }
}

fn bytes(text: Option<&str>) -> Result<Vec<u8>, Reason> {
    let text = text.ok_or("a part of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_error| "a part of the key is not base64url")
}

fn sized(bytes: Vec<u8>) -> Result<Vec<u8>, Reason> {
    if bytes.len() == POINT_BYTES { Ok(bytes) } else { Err("a part of the key has a wrong length") }
}

/// A number without zeros before it, as the verification wants it.
fn stripped(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(keys: &[String]) -> Result<KeySet, Reason> {
        KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
    }

    fn text(bytes: usize, first: u8) -> String {
        let mut number = vec![7; bytes];
        number[0] = first;
        URL_SAFE_NO_PAD.encode(number)
    }

    fn rsa(modulus: &str, more: &str) -> String {
        format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB"{more}}}"#)
    }

    fn ec(curve: &str, more: &str) -> String {
        let x = text(32, 1);
        format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{x}"{more}}}"#)
    }

    fn okp(curve: &str, x: &str, more: &str) -> String {
        format!(r#"{{"kty":"OKP","crv":"{curve}","x":"{x}"{more}}}"#)
    }

    #[test]
    fn keys_that_verify_one_of_the_three_algorithms_are_used() {
        let cases = [
            rsa(&text(256, 0x80), r#","alg":"RS256","use":"sig","x5c":["cert"],"future":{}"#),
            rsa(&text(257, 1), r#","key_ops":["verify"]"#),
            rsa(&text(1024, 0xff), ""),
            // Some providers write the sign of DER's numbers.
            rsa(&URL_SAFE_NO_PAD.encode([vec![0], vec![0x80; 256]].concat()), ""),
            ec("P-256", r#","alg":"ES256","key_ops":["sign","verify"]"#),
            okp("Ed25519", &text(32, 1), r#","alg":"EdDSA""#),
            okp("Ed25519", &text(32, 1), r#","alg":"Ed25519""#),
        ];
        for key in cases {
            let set = parsed(std::slice::from_ref(&key)).expect(&key);
            assert_eq!((set.len(), set.ignored.as_slice()), (1, [].as_slice()), "{key}");
            assert!(set.find(None).is_some() && set.find(Some("a")).is_none(), "{key}");
        }
    }

    #[test]
    fn keys_that_are_weak_malformed_or_for_something_else_are_ignored() {
        let good = ec("P-256", r#","kid":"good""#);
        let cases = [
            (rsa(&text(256, 0x7f), ""), "2048"),
            (rsa(&text(128, 0x80), ""), "2048"),
            (rsa(&text(1025, 1), ""), "8192"),
            (rsa("", ""), "2048"),
            (rsa(&text(256, 0x80), r#","alg":"RS512""#), "alg"),
            (rsa(&text(256, 0x80), r#","alg":"PS256""#), "alg"),
            (rsa(&text(256, 0x80), r#","alg":"HS256""#), "alg"),
            (rsa(&text(256, 0x80), r#","alg":"none""#), "alg"),
            (rsa(&text(256, 0x80), r#","use":"enc""#), "use"),
            (rsa(&text(256, 0x80), r#","key_ops":["encrypt"]"#), "key_ops"),
            (rsa(&text(256, 0x80), r#","key_ops":[]"#), "key_ops"),
            (rsa("AQ==", ""), "base64url"),
            (r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(), "missing"),
            (ec("P-384", ""), "kty"),
            (ec("secp256k1", ""), "kty"),
            (ec("P-256", r#","alg":"RS256""#), "alg"),
            (r#"{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}"#.to_owned(), "length"),
            (okp("Ed448", &text(32, 1), ""), "kty"),
            (okp("X25519", &text(32, 1), ""), "kty"),
            (okp("Ed25519", &text(33, 1), ""), "length"),
            (r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#.to_owned(), "kty"),
            (r#"{"kty":7}"#.to_owned(), "JSON Web Key"),
            ("null".to_owned(), "JSON Web Key"),
        ];
        for (key, why) in cases {
            let set = parsed(&[good.clone(), key.clone()]).expect("the other key is good");
            let [(2, reason)] = set.ignored.as_slice() else { panic!("{key}: {set:?}") };
            assert!(reason.contains(why), "{key}: {reason}");
            assert_eq!(set.len(), 1, "{key}");
        }
    }

    #[test]
    fn a_document_that_is_ambiguous_or_malformed_is_refused_whole() {
        let one = ec("P-256", r#","kid":"a""#);
        let other = okp("Ed25519", &text(32, 1), r#","kid":"a""#);
        let error = parsed(&[one.clone(), other]).expect_err("there are two of one kid");
        assert!(error.contains("one kid"), "{error}");
        // A key that is not used does not hide another.
        parsed(&[one, okp("Ed448", "", r#","kid":"a""#)]).expect("one of them is used");
        for document in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#, "\u{feff}{\"keys\":[]}"]
        {
            KeySet::parse(document.as_bytes()).expect_err(document);
        }
        assert_eq!(parsed(&[]).expect("there may be none").len(), 0);
    }

    #[test]
    fn among_several_keys_a_token_must_name_its_own() {
        let keys = [ec("P-256", r#","kid":"a""#), okp("Ed25519", &text(32, 1), "")];
        let set = parsed(&keys).expect("they are keys");
        assert!(set.find(Some("a")).is_some());
        assert!(set.find(None).is_none() && set.find(Some("")).is_none());
    }
}
