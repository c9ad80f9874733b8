//! The verification of JSON Web Tokens (RFC 7519), signed as RFC 7515 says. The key decides the algorithm, never the
//! token; keys come from outside.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use tokio::sync::Notify;

use super::access_token::{self, TokenHash};
use super::identity::Identity;
use super::jwks::{KeySet, Reason, VerificationKey};
use super::revocation::Revocation;
use crate::config::Jwt;

/// The longest token; the headers of a call may not be longer.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The verifier of tokens that one issuer makes for this server.
#[derive(Debug)]
pub(crate) struct JwtVerifier {
    issuer: String,
    audiences: Vec<String>,
    leeway: Duration,
    max_cached: usize,
    in_force: RwLock<Arc<KeysInForce>>,
    unknown_key: Notify,
}

/// The keys, and the tokens that they have verified: those of other keys are never found here.
#[derive(Debug)]
struct KeysInForce {
    keys: KeySet,
    verified: Cache<TokenHash, VerifiedToken>,
}

/// A token whose signature and claims are right.
#[derive(Debug, Clone)]
struct VerifiedToken {
    identity: Arc<Identity>,
    /// The time from which it is refused.
    end: SystemTime,
}

/// The claims of a token that was verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerifiedClaims<'a> {
    pub(crate) subject: &'a str,
    /// All of them, as JSON.
    pub(crate) text: &'a [u8],
}

/// The parameters of a header that are used; others, as `jku` and `jwk`, are ignored.
#[derive(Debug, Deserialize)]
struct JwtHeader {
    alg: String,
    kid: Option<String>,
    #[serde(default, rename = "crit", deserialize_with = "is_present")]
    has_critical: bool,
}

/// The claims that are checked. None of them may be there twice.
#[derive(Debug, Deserialize)]
struct JwtClaims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<AudienceClaim>,
    exp: Option<u64>,
    nbf: Option<u64>,
    iat: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AudienceClaim {
    One(String),
    Several(Vec<String>),
}

impl JwtVerifier {
    /// Makes the verifier of a configuration, without keys yet; `None` when it has no source of keys.
    pub(crate) fn new(settings: &Jwt) -> Option<Self> {
        settings.keys.as_ref()?;
        let verified = Cache::new(settings.max_cached);
        let in_force = Arc::new(KeysInForce { keys: KeySet::default(), verified });
        Some(Self {
            issuer: settings.issuer.clone()?,
            audiences: settings.audiences.clone(),
            leeway: settings.leeway,
            max_cached: settings.max_cached,
            in_force: RwLock::new(in_force),
            unknown_key: Notify::new(),
        })
    }

    /// Puts keys in force, and returns true if they are others. The tokens of keys that are gone let nobody in, and
    /// their calls end.
    pub(crate) fn replace_keys(&self, keys: KeySet) -> bool {
        let mut in_force = self.in_force.write();
        if keys.has_keys_of(&in_force.keys) {
            return false;
        }
        let keys = keys.continuing(&in_force.keys);
        let new = Arc::new(KeysInForce { keys, verified: Cache::new(self.max_cached) });
        let old = std::mem::replace(&mut *in_force, Arc::clone(&new));
        drop(in_force);
        old.keys.revoke_missing(&new.keys);
        true
    }

    /// Returns once a token has named a key that is not there since the last time.
    pub(crate) async fn unknown_key(&self) {
        self.unknown_key.notified().await;
    }

    /// Verifies a token; `identify` returns the identity of its claims, with that revocation.
    pub(crate) fn verify(
        &self,
        token: &str,
        now: SystemTime,
        identify: impl FnOnce(VerifiedClaims<'_>, Revocation) -> Result<Identity, Reason>,
    ) -> Result<Arc<Identity>, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("the JSON Web Token is too long");
        }
        let in_force = Arc::clone(&self.in_force.read());
        let hash = access_token::hash(token);
        if let Some(VerifiedToken { identity, end }) = in_force.verified.get(&hash) {
            return if now < end { Ok(identity) } else { Err(EXPIRED) };
        }
        let (key, text) = self.signed_claims(&in_force.keys, token)?;
        let claims = object(&text).ok_or("the claims of the JSON Web Token are malformed")?;
        let (subject, end) = self.check(claims, now)?;
        let claims = VerifiedClaims { subject: &subject, text: &text };
        let identity = Arc::new(identify(claims, key.revocation.expiring(end))?);
        in_force.verified.insert(hash, VerifiedToken { identity: Arc::clone(&identity), end });
        Ok(identity)
    }

    /// Returns the text of the claims of a token whose signature is right, and the key that made it.
    fn signed_claims<'a>(
        &self,
        keys: &'a KeySet,
        token: &str,
    ) -> Result<(&'a VerificationKey, Vec<u8>), Reason> {
        let malformed = "the token is neither of access.tokens nor a JSON Web Token";
        let (message, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = message.split_once('.').ok_or(malformed)?;
        let header = URL_SAFE_NO_PAD.decode(header).ok().and_then(|header| object(&header));
        let header: JwtHeader = header.ok_or(malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_error| malformed)?;
        if header.has_critical {
            return Err("the JSON Web Token has a critical header, and none is known");
        }
        let Some(key) = keys.find(header.kid.as_deref()) else {
            if header.kid.is_some() {
                self.unknown_key.notify_one();
            }
            return Err("the JSON Web Token names none of the keys in force");
        };
        if !key.is_for(&header.alg) {
            return Err("the algorithm of the JSON Web Token is not that of its key");
        }
        if !key.verifies(message.as_bytes(), &signature) {
            return Err("the signature of the JSON Web Token is wrong");
        }
        let claims = URL_SAFE_NO_PAD.decode(claims);
        Ok((key, claims.map_err(|_error| "the claims of the JSON Web Token are malformed")?))
    }

    /// Returns the subject of a token, and the time from which it is refused.
    fn check(&self, claims: JwtClaims, now: SystemTime) -> Result<(String, SystemTime), Reason> {
        if claims.iss.ok_or("the JSON Web Token has no iss")? != self.issuer {
            return Err("the JSON Web Token has another issuer");
        }
        let audiences = match claims.aud.ok_or("the JSON Web Token has no aud")? {
            AudienceClaim::One(audience) => vec![audience],
            AudienceClaim::Several(audiences) => audiences,
        };
        if !audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Err("the JSON Web Token is for another audience");
        }
        let end = claims.exp.ok_or("the JSON Web Token has no exp")?;
        let end = time(end, self.leeway).ok_or("the exp of the JSON Web Token is out of range")?;
        if end <= now {
            return Err(EXPIRED);
        }
        let latest = now.checked_add(self.leeway).ok_or("the clock is out of range")?;
        let is_later = |seconds: u64| time(seconds, Duration::ZERO).is_none_or(|it| it > latest);
        if claims.nbf.is_some_and(is_later) || claims.iat.is_some_and(is_later) {
            return Err("the JSON Web Token is of the future: its nbf or its iat");
        }
        let subject = claims.sub.filter(|subject| !subject.is_empty());
        Ok((subject.ok_or("the JSON Web Token has no sub")?, end))
    }
}

const EXPIRED: Reason = "the JSON Web Token has expired";

/// Reads a part of a token, which must be an object.
fn object<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    // An array would be read as the fields in their order.
    text.trim_ascii_start().starts_with(b"{").then_some(())?;
    serde_json::from_slice(text).ok()
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_value| true)
}

/// A time in seconds since 1970, and some more.
fn time(seconds: u64, more: Duration) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?.checked_add(more)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaEncoding, RsaKeyPair,
    };
    use ring::{hmac, rsa};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::config::load_from;

    const NOW: u64 = 1_800_000_000;
    const GOOD: &str = r#""iss":"https://idp","aud":"rowgate","sub":"alice","exp":1800000060"#;

    /// The keys of a provider, one of each kind.
    struct Provider {
        rsa: RsaKeyPair,
        ec: Vec<u8>,
        ed: Ed25519KeyPair,
    }

    impl Provider {
        fn new() -> Self {
            let random = SystemRandom::new();
            // ring makes no keys of RSA.
            let openssl = Command::new("openssl")
                .args(["genpkey", "-algorithm", "RSA", "-outform", "PEM"])
                .args(["-pkeyopt", "rsa_keygen_bits:2048"])
                .output()
                .expect("openssl is installed");
            let pem = PrivatePkcs8KeyDer::from_pem_slice(&openssl.stdout).expect("it is PKCS #8");
            let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
            let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("there are random numbers");
            Self {
                rsa: RsaKeyPair::from_pkcs8(pem.secret_pkcs8_der()).expect("it is a key"),
                ec: ec.expect("there are random numbers").as_ref().to_vec(),
                ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).expect("it is a key"),
            }
        }

        fn ec(&self, algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
            EcdsaKeyPair::from_pkcs8(algorithm, &self.ec, &SystemRandom::new())
                .expect("it is a key")
        }

        fn rs256(&self, encoding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            let random = SystemRandom::new();
            let signed = self.rsa.sign(encoding, &random, message.as_bytes(), &mut signature);
            signed.expect("it is signed");
            signature
        }

        fn es256(&self, algorithm: &'static EcdsaSigningAlgorithm, message: &str) -> Vec<u8> {
            let signed = self.ec(algorithm).sign(&SystemRandom::new(), message.as_bytes());
            signed.expect("it is signed").as_ref().to_vec()
        }

        fn modulus(&self) -> Vec<u8> {
            rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public()).n
        }

        fn jwk(&self, kid: &str) -> String {
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            match kid {
                "rsa" => {
                    let n = text(&self.modulus());
                    format!(r#"{{"kid":"rsa","kty":"RSA","n":"{n}","e":"AQAB"}}"#)
                }
                "ec" => {
                    let key = self.ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
                    let point = key.public_key().as_ref();
                    let (x, y) = (text(&point[1..33]), text(&point[33..]));
                    format!(r#"{{"kid":"ec","kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#)
                }
                _ => {
                    let x = text(self.ed.public_key().as_ref());
                    format!(r#"{{"kid":"ed","kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)
                }
            }
        }

        fn keys(&self, kids: &[&str]) -> KeySet {
            let keys: Vec<_> = kids.iter().map(|kid| self.jwk(kid)).collect();
            let document = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
            KeySet::parse(document.as_bytes()).expect("it is a document")
        }

        /// A token of a header and claims as they are, signed as its key signs.
        fn token(&self, header: &str, claims: &str) -> String {
            let message = message(header, claims);
            let signature = if header.contains(r#""rsa""#) {
                self.rs256(&RSA_PKCS1_SHA256, &message)
            } else if header.contains(r#""ed""#) {
                self.ed.sign(message.as_bytes()).as_ref().to_vec()
            } else {
                self.es256(&ECDSA_P256_SHA256_FIXED_SIGNING, &message)
            };
            with_signature(&message, &signature)
        }

        /// A token by its claims, with ES256.
        fn of(&self, claims: &str) -> String {
            self.token(EC, &format!("{{{claims}}}"))
        }
    }

    const EC: &str = r#"{"alg":"ES256","kid":"ec"}"#;

    fn message(header: &str, claims: &str) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    fn with_signature(message: &str, signature: &[u8]) -> String {
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verifier(keys: KeySet) -> JwtVerifier {
        let config = load_from(&[
            ("access.jwt.keys", "keys.json"),
            ("access.jwt.issuer", "https://idp"),
            ("access.jwt.audiences", "rowgate"),
        ]);
        let verifier = JwtVerifier::new(&config.expect("it is a configuration").jwt);
        let verifier = verifier.expect("it has a source of keys");
        verifier.replace_keys(keys);
        verifier
    }

    fn verify_at(verifier: &JwtVerifier, token: &str, now: u64) -> Result<Arc<Identity>, Reason> {
        let now = UNIX_EPOCH + Duration::from_secs(now);
        verifier.verify(token, now, |VerifiedClaims { subject, .. }, revocation| {
            let revocation = Arc::new(revocation);
            Ok(Identity { name: subject.into(), revocation, ..Identity::anybody() })
        })
    }

    fn verify(verifier: &JwtVerifier, token: &str) -> Result<String, Reason> {
        verify_at(verifier, token, NOW).map(|identity| identity.name.to_string())
    }

    #[track_caller]
    fn assert_refused(verifier: &JwtVerifier, cases: &[(&str, String, &str)]) {
        for (case, token, why) in cases {
            let reason = verify(verifier, token).expect_err(case);
            assert!(reason.contains(why), "{case}: {reason}");
        }
    }

    fn replaced(claims: &str, from: &str, to: &str) -> String {
        assert!(claims.contains(from), "{from}");
        claims.replace(from, to)
    }

    #[test]
    fn tokens_of_the_three_algorithms_get_in() {
        let provider = Provider::new();
        let verifier = verifier(provider.keys(&["rsa", "ec", "ed"]));
        let headers =
            [r#"{"alg":"RS256","kid":"rsa"}"#, EC, r#"{"typ":"at+jwt","alg":"EdDSA","kid":"ed"}"#];
        for header in headers {
            let token = provider.token(header, &format!("{{{GOOD}}}"));
            assert_eq!(verify(&verifier, &token), Ok("alice".to_owned()), "{header}");
        }
        let claims = [
            replaced(GOOD, r#""rowgate""#, r#"["other","rowgate"]"#),
            replaced(GOOD, "1800000060", "1799999991"),
            format!(r#"{GOOD},"nbf":1800000010,"iat":1800000010"#),
            format!(r#"{GOOD},"scope":"a","nested":{{"sub":"bob","exp":0}}"#),
        ];
        for claims in claims {
            assert_eq!(
                verify(&verifier, &provider.of(&claims)),
                Ok("alice".to_owned()),
                "{claims}"
            );
        }
    }

    #[test]
    fn one_key_needs_no_name_and_an_unknown_one_is_not_it() {
        let provider = Provider::new();
        let verifier = verifier(provider.keys(&["ec"]));
        let claims = format!("{{{GOOD}}}");
        let unnamed = provider.token(r#"{"alg":"ES256"}"#, &claims);
        assert_eq!(verify(&verifier, &unnamed), Ok("alice".to_owned()));
        let other = provider.token(r#"{"alg":"ES256","kid":"../ec"}"#, &claims);
        assert_refused(&verifier, &[("another name", other, "none of the keys")]);
        verifier.replace_keys(provider.keys(&["ec", "ed"]));
        assert_refused(&verifier, &[("of two keys", unnamed, "none of the keys")]);
        verifier.replace_keys(KeySet::default());
        assert_refused(&verifier, &[("no key", provider.of(GOOD), "none of the keys")]);
    }

    #[test]
    fn forged_tokens_do_not_get_in() {
        let provider = Provider::new();
        let stranger = Provider::new();
        let verifier = verifier(provider.keys(&["rsa", "ec", "ed"]));
        let claims = format!("{{{GOOD}}}");
        let header =
            |algorithm: &str, kid: &str| format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
        let by = |algorithm: &str, kid: &str, sign: &dyn Fn(&str) -> Vec<u8>| {
            let message = message(&header(algorithm, kid), &claims);
            with_signature(&message, &sign(&message))
        };
        let none = |_: &str| Vec::new();
        let hmac = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            move |message: &str| hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        };
        let (algorithm, signature) = ("algorithm", "signature");
        let good = provider.token(EC, &claims);
        let tampered = message(EC, &replaced(&claims, "alice", "admin"));
        let tampered = format!("{tampered}.{}", good.rsplit_once('.').expect("it has parts").1);
        let embedded = EC.replace('}', &format!(r#","jwk":{}}}"#, stranger.jwk("ec")));
        let pointed = EC.replace('}', r#","jku":"https://evil/keys","x5u":"https://evil/x"}"#);
        let pss = |message: &str| provider.rs256(&RSA_PSS_SHA256, message);
        let der = |message: &str| provider.es256(&ECDSA_P256_SHA256_ASN1_SIGNING, message);
        let as_rsa = |message: &str| provider.rs256(&RSA_PKCS1_SHA256, message);
        let zeros = |_: &str| vec![0; 64];
        let cases = [
            ("another's key, ES256", stranger.token(EC, &claims), signature),
            ("another's key, RS256", stranger.token(&header("RS256", "rsa"), &claims), signature),
            ("another's key, EdDSA", stranger.token(&header("EdDSA", "ed"), &claims), signature),
            ("a key in the token", stranger.token(&embedded, &claims), signature),
            ("a key that the token points to", stranger.token(&pointed, &claims), signature),
            ("other claims", tampered, signature),
            ("no algorithm", by("none", "ec", &none), algorithm),
            ("no algorithm, other case", by("nOnE", "rsa", &none), algorithm),
            ("an empty algorithm", by("", "ec", &none), algorithm),
            ("HMAC with the modulus", by("HS256", "rsa", &hmac(&provider.modulus())), algorithm),
            (
                "HMAC with the JWK",
                by("HS256", "rsa", &hmac(provider.jwk("rsa").as_bytes())),
                algorithm,
            ),
            ("HMAC under RS256", by("RS256", "rsa", &hmac(&provider.modulus())), signature),
            ("RS256 with a key of ES256", by("RS256", "ec", &as_rsa), algorithm),
            ("ES256 with a key of RS256", by("ES256", "rsa", &der), algorithm),
            ("EdDSA with a key of ES256", by("EdDSA", "ec", &zeros), algorithm),
            ("RSA-PSS", by("PS256", "rsa", &pss), algorithm),
            ("RSA-PSS under RS256", by("RS256", "rsa", &pss), signature),
            ("RS512", by("RS512", "rsa", &as_rsa), algorithm),
            ("lower case", by("es256", "ec", &der), algorithm),
            ("a DER signature", by("ES256", "ec", &der), signature),
            ("a signature of zeros", by("ES256", "ec", &zeros), signature),
            ("a signature of zeros, EdDSA", by("EdDSA", "ed", &zeros), signature),
            ("an empty signature", by("ES256", "ec", &none), signature),
            ("an unknown key", by("ES256", "elsewhere", &der), "none of the keys"),
        ];
        assert_refused(&verifier, &cases);
        assert_eq!(verify(&verifier, &good), Ok("alice".to_owned()));
    }

    #[test]
    fn claims_that_are_wrong_missing_or_malformed_do_not_get_in() {
        let provider = Provider::new();
        let verifier = verifier(provider.keys(&["ec"]));
        let changed = |from: &str, to: &str| provider.of(&replaced(GOOD, from, to));
        let exp = |value: &str| changed("1800000060", value);
        let added = |more: &str| provider.of(&format!("{GOOD},{more}"));
        let malformed = "claims of the JSON Web Token are malformed";
        let cases = [
            ("expired", exp("1799999990"), "expired"),
            ("expired long ago", exp("0"), "expired"),
            ("exp is a float", exp("1800000060.0"), malformed),
            ("exp is huge, as a float", exp("1e300"), malformed),
            ("exp is negative", exp("-1"), malformed),
            ("exp is text", exp(r#""1800000060""#), malformed),
            ("exp is a list", exp("[1800000060]"), malformed),
            ("exp is true", exp("true"), malformed),
            ("exp is null", exp("null"), "no exp"),
            ("exp is the largest", exp("18446744073709551615"), "out of range"),
            ("exp overflows", exp("18446744073709551616"), malformed),
            ("nbf to come", added(r#""nbf":1800000011"#), "future"),
            ("iat to come", added(r#""iat":1800000011"#), "future"),
            ("nbf is the largest", added(r#""nbf":18446744073709551615"#), "future"),
            ("nbf is text", added(r#""nbf":"1""#), malformed),
            ("iat is negative", added(r#""iat":-1"#), malformed),
            ("another issuer", changed("https://idp", "https://evil"), "issuer"),
            ("an issuer that begins so", changed("https://idp", "https://idp.evil"), "issuer"),
            ("an issuer with a slash", changed("https://idp", "https://idp/"), "issuer"),
            ("several issuers", changed(r#""https://idp""#, r#"["https://idp"]"#), malformed),
            ("another audience", changed(r#""rowgate""#, r#""other""#), "audience"),
            ("other audiences", changed(r#""rowgate""#, r#"["a","Rowgate"]"#), "audience"),
            ("no audience of none", changed(r#""rowgate""#, "[]"), "audience"),
            ("an audience of numbers", changed(r#""rowgate""#, "[7]"), malformed),
            ("an empty subject", changed("alice", ""), "no sub"),
            ("a subject of numbers", changed(r#""alice""#, "7"), malformed),
            ("no iss", changed(r#""iss":"https://idp","#, ""), "no iss"),
            ("no aud", changed(r#""aud":"rowgate","#, ""), "no aud"),
            ("no sub", changed(r#""sub":"alice","#, ""), "no sub"),
            ("no exp", changed(r#","exp":1800000060"#, ""), "no exp"),
            ("sub twice", added(r#""sub":"admin""#), malformed),
            ("exp twice", added(r#""exp":1900000000"#), malformed),
            ("aud twice", added(r#""aud":"rowgate""#), malformed),
            ("sub twice, once escaped", added(r#""s\u0075b":"admin""#), malformed),
            (
                "a list",
                provider.token(EC, r#"["https://idp","alice","rowgate",1800000060]"#),
                malformed,
            ),
            ("text behind", provider.token(EC, &format!("{{{GOOD}}} {{}}")), malformed),
            ("no JSON", provider.token(EC, "alice"), malformed),
            ("nothing", provider.token(EC, ""), malformed),
            ("nested deeply", added(&format!(r#""x":{}"#, "[".repeat(2000))), malformed),
        ];
        assert_refused(&verifier, &cases);
    }

    #[test]
    fn malformed_tokens_do_not_get_in() {
        let provider = Provider::new();
        let verifier = verifier(provider.keys(&["ec"]));
        let claims = format!("{{{GOOD}}}");
        let good = provider.token(EC, &claims);
        let with = |header: &str| provider.token(header, &claims);
        let malformed = "neither";
        let critical = "critical";
        let cases = [
            ("nothing", String::new(), malformed),
            ("no parts", "abc".to_owned(), malformed),
            ("two parts", message(EC, &claims), malformed),
            ("four parts", format!("{good}.AAAA"), "signature"),
            ("a dot before", format!(".{good}"), malformed),
            ("padding", format!("{good}=="), malformed),
            ("the other alphabet", format!("{good}+"), malformed),
            ("a line break", format!("{good}\n"), malformed),
            ("trailing bits", format!("{}B", &good[..good.len() - 1]), malformed),
            ("a header that is no JSON", with("ES256"), malformed),
            ("a header that is a list", with(r#"["ES256","ec"]"#), malformed),
            ("a header without alg", with(r#"{"kid":"ec"}"#), malformed),
            ("alg twice", with(r#"{"alg":"none","alg":"ES256","kid":"ec"}"#), malformed),
            ("a kid of numbers", with(r#"{"alg":"ES256","kid":7}"#), malformed),
            (
                "a critical header",
                with(r#"{"alg":"ES256","kid":"ec","crit":["b64"],"b64":false}"#),
                critical,
            ),
            ("an empty critical header", with(r#"{"alg":"ES256","kid":"ec","crit":[]}"#), critical),
            (
                "a critical header of null",
                with(r#"{"alg":"ES256","kid":"ec","crit":null}"#),
                critical,
            ),
            (
                "huge",
                provider.of(&format!(r#"{GOOD},"x":"{}""#, "x".repeat(MAX_TOKEN_BYTES))),
                "long",
            ),
            ("huge and nothing", "a.".repeat(MAX_TOKEN_BYTES), "long"),
        ];
        assert_refused(&verifier, &cases);
    }

    #[test]
    fn a_verified_token_is_remembered_until_it_expires_or_the_keys_change() {
        let provider = Provider::new();
        let verifier = verifier(provider.keys(&["ec", "ed"]));
        let token = provider.of(GOOD);
        let first = verify_at(&verifier, &token, NOW).expect("it is good");
        let remembered = verify_at(&verifier, &token, NOW + 69).expect("it is good");
        assert!(Arc::ptr_eq(&first, &remembered));
        assert_eq!(verify_at(&verifier, &token, NOW + 70).expect_err("exp and leeway"), EXPIRED);
        assert!(!verifier.replace_keys(provider.keys(&["ed", "ec"])), "the same keys");
        assert!(Arc::ptr_eq(&first, &verify_at(&verifier, &token, NOW).expect("it is good")));
        assert!(verifier.replace_keys(provider.keys(&["ec", "rsa"])));
        let again = verify_at(&verifier, &token, NOW).expect("its key is there");
        assert!(!Arc::ptr_eq(&first, &again));
        for remembered in 0..20_000 {
            verify(&verifier, &format!("{remembered}")).expect_err("only good tokens count");
        }
        assert!(Arc::ptr_eq(&again, &verify_at(&verifier, &token, NOW).expect("it is good")));
    }

    #[tokio::test]
    async fn the_calls_of_a_key_that_is_removed_end_and_those_of_others_go_on() {
        let provider = Provider::new();
        let verifier = verifier(provider.keys(&["ec", "ed"]));
        let claims = format!("{{{}}}", replaced(GOOD, "1800000060", "9000000000"));
        let token = |header: &str| provider.token(header, &claims);
        let removed = verify_at(&verifier, &token(EC), NOW).expect("it is good");
        let kept = token(r#"{"alg":"EdDSA","kid":"ed"}"#);
        let kept = verify_at(&verifier, &kept, NOW).expect("it is good");
        let mut removed_end = std::pin::pin!(removed.revocation.revoked());
        let mut kept_end = std::pin::pin!(kept.revocation.revoked());
        assert!(futures_util::poll!(&mut removed_end).is_pending());
        verifier.replace_keys(provider.keys(&["ed", "rsa"]));
        removed_end.await;
        assert!(futures_util::poll!(&mut kept_end).is_pending());
        assert_refused(&verifier, &[("its key is gone", token(EC), "none of the keys")]);
        // The same kid with another key is another.
        verifier.replace_keys(Provider::new().keys(&["ed"]));
        kept_end.await;
    }

    #[tokio::test]
    async fn a_flood_of_unknown_keys_asks_for_one_refresh() {
        let provider = Provider::new();
        let verifier = verifier(provider.keys(&["ec"]));
        for number in 0..1000 {
            let header = format!(r#"{{"alg":"ES256","kid":"{number}"}}"#);
            let token = with_signature(&message(&header, "{}"), b"forged");
            verify(&verifier, &token).expect_err("its key is unknown");
        }
        verifier.unknown_key().await;
        let mut second = std::pin::pin!(verifier.unknown_key());
        assert!(futures_util::poll!(&mut second).is_pending());
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_or_panics(
            text in ".{0,200}",
            header in r#"[{}\[\]",:a-zA-Z0-9 ]{0,80}"#,
            claims in prop::collection::vec(any::<u8>(), 0..200),
            signature in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let verifier = verifier(KeySet::default());
            prop_assert!(verify(&verifier, &text).is_err());
            let claims = URL_SAFE_NO_PAD.encode(claims);
            for header in [header.as_str(), EC, r#"{"alg":"RS256"}"#] {
                let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
                prop_assert!(verify(&verifier, &with_signature(&message, &signature)).is_err());
            }
            drop(KeySet::parse(text.as_bytes()));
            drop(object::<JwtClaims>(claims.as_bytes()));
        }
    }
}
