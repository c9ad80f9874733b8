//! The authenticator: from what a call presents to the identity of its caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;

use super::access_token::{self, TokenHash};
use super::caller_limits::CallerLimits;
use super::claims::claims_of;
use super::identity::{Identity, IdentityKind};
use super::jwks::Reason;
use super::jwt::{JwtVerifier, VerifiedClaims};
use super::policy::Policy;
use super::revocation::Revocation;
use super::token_file::{TokenEntry, TokenFile};
use crate::config::{CallerSettings, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::last_read::LastRead;

/// The subject in a caller's list that stands for all.
const ANY_SUBJECT: &str = "*";

/// The longest subject that is a part of a caller's name.
const LONGEST_SUBJECT: usize = 255;

/// The credentials that a call presents.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Presented<'a> {
    /// The values of its headers `authorization`; `None` for one that is not text.
    pub(crate) authorization: &'a [Option<&'a str>],
    /// The names in the certificate of its connection, which was verified.
    pub(crate) certificate_names: &'a [String],
    /// The user at the other end of a Unix socket.
    pub(crate) uid: Option<u32>,
}

/// The callers of a configuration, and the tokens that are in force.
#[derive(Debug)]
pub(crate) struct Authenticator {
    callers: HashMap<String, Caller>,
    token_file: Option<TokenFile>,
    last: LastRead<String>,
    tokens: RwLock<HashMap<String, Arc<Token>>>,
    /// The hashes of tokens whose caller is not configured, by their ids: they let nobody in.
    orphans: RwLock<HashMap<String, TokenHash>>,
    jwt: Option<Arc<JwtVerifier>>,
}

/// A caller's section of the configuration.
#[derive(Debug)]
struct Caller {
    settings: CallerSettings,
    identity: Identity,
}

impl Caller {
    /// The identity of a call that shows what the section lists.
    fn shown(&self, kind: IdentityKind) -> Arc<Identity> {
        Arc::new(Identity { kind, ..self.identity.clone() })
    }
}

/// The state of a caller, for operators.
#[derive(Debug)]
pub(crate) struct CallerState {
    pub(crate) name: String,
    /// The kinds of identities that it can prove.
    pub(crate) identities: Vec<IdentityKind>,
    pub(crate) calls: usize,
    pub(crate) transactions: usize,
    /// Its tokens in the file that have not expired.
    pub(crate) tokens: usize,
    /// The time at which the first of them expires.
    pub(crate) next_expiry: Option<SystemTime>,
}

/// A token in force.
#[derive(Debug)]
struct Token {
    entry: TokenEntry,
    hash: TokenHash,
    expires: Option<SystemTime>,
    identity: Arc<Identity>,
}

impl Token {
    fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

impl Authenticator {
    /// Makes the authenticator of a configuration; `None` when no caller is configured, and so nobody is
    /// authenticated. Blocks.
    ///
    /// # Errors
    /// The file of tokens cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Option<Arc<Self>>> {
        if config.callers.is_empty() {
            return Ok(None);
        }
        let caller = |(name, settings): (&String, &CallerSettings)| {
            let claims = claims_of(&settings.claims, name, None).map_err(|why| {
                Error::new(ErrorKind::BackendMisconfigured, format!("caller {name}: {why}"))
            })?;
            let identity = Identity {
                claims: Some(claims),
                name: name.as_str().into(),
                kind: IdentityKind::None,
                policy: Arc::new(Policy::new(name, settings.clone())),
                limits: Arc::new(CallerLimits::new(name, settings)),
                revocation: Arc::default(),
            };
            Ok((name.clone(), Caller { settings: settings.clone(), identity }))
        };
        let authenticator = Arc::new(Self {
            callers: config.callers.iter().map(caller).collect::<Result<_>>()?,
            token_file: config.access.tokens.as_ref().map(TokenFile::new),
            last: LastRead::default(),
            tokens: RwLock::default(),
            orphans: RwLock::default(),
            jwt: JwtVerifier::new(&config.jwt).map(Arc::new),
        });
        authenticator.reload_tokens()?;
        Ok(Some(authenticator))
    }

    /// Returns the identity of a call. Every failure has the same message: the reason is its cause, for the log.
    pub(crate) fn authenticate(&self, presented: Presented<'_>) -> Result<Arc<Identity>> {
        let by_token = match presented.authorization {
            [] => None,
            [Some(value)] => Some(self.by_authorization(value)?),
            [None] => return Err(unauthenticated("the header authorization is not text")),
            [_, _, ..] => return Err(unauthenticated("there are several headers authorization")),
        };
        let by_certificate = self.by_certificate(presented.certificate_names);
        let by_uid = presented.uid.map(|uid| self.by_uid(uid)).unwrap_or_default();
        let mut identities = by_token.into_iter().chain(by_certificate).chain(by_uid);
        match (identities.next(), identities.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(unauthenticated("the call has two identities")),
            (None, _) => Err(unauthenticated("the call has no identity")),
        }
    }

    fn by_authorization(&self, value: &str) -> Result<Arc<Identity>> {
        // The scheme is compared without regard to case (RFC 9110, 11.1).
        let (scheme, credentials) = value.split_once(' ').unwrap_or((value, ""));
        let credentials = credentials.trim_ascii();
        if !scheme.eq_ignore_ascii_case("bearer") || credentials.is_empty() {
            return Err(unauthenticated("the header authorization is no bearer token"));
        }
        if access_token::is_token(credentials) {
            return self.by_token(credentials);
        }
        self.by_jwt(credentials).map_err(unauthenticated)
    }

    fn by_jwt(&self, text: &str) -> Result<Arc<Identity>, Reason> {
        let Some(verifier) = &self.jwt else { return Err("the token is malformed") };
        verifier.verify(text, SystemTime::now(), |VerifiedClaims { subject, text }, revocation| {
            let (caller, name) = self.by_subject(subject)?;
            let revocation = Arc::new(revocation);
            let kind = IdentityKind::JsonWebToken;
            let claims = Some(claims_of(&caller.settings.claims, &name, Some(text))?);
            Ok(Identity { name, kind, revocation, claims, ..caller.identity.clone() })
        })
    }

    /// Returns the caller that lists a subject, or else the one of any subject, whose members have names of their own.
    fn by_subject(&self, subject: &str) -> Result<(&Caller, Arc<str>), Reason> {
        let listed = self.lister(subject)?.filter(|_caller| subject != ANY_SUBJECT);
        if let Some(caller) = listed {
            return Ok((caller, Arc::clone(&caller.identity.name)));
        }
        let Some(caller) = self.lister(ANY_SUBJECT)? else {
            return Err("no caller lists the subject of the JSON Web Token");
        };
        // OpenID Connect Core, 8: no longer than 255 ASCII characters.
        if subject.len() > LONGEST_SUBJECT || !subject.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the subject of the JSON Web Token cannot be a part of a name");
        }
        Ok((caller, format!("{}/{subject}", caller.identity.name).into()))
    }

    fn lister(&self, subject: &str) -> Result<Option<&Caller>, Reason> {
        let is_listed = |caller: &&Caller| caller.settings.subjects.iter().any(|it| it == subject);
        let mut callers = self.callers.values().filter(is_listed);
        match (callers.next(), callers.next()) {
            (_, Some(_)) => Err("several callers list the subject of the JSON Web Token"),
            (only, None) => Ok(only),
        }
    }

    /// The verifier of JSON Web Tokens, if there is one.
    pub(crate) fn jwt(&self) -> Option<&Arc<JwtVerifier>> {
        self.jwt.as_ref()
    }

    fn by_token(&self, text: &str) -> Result<Arc<Identity>> {
        let found = access_token::id_of(text).and_then(|id| self.tokens.read().get(id).cloned());
        let hash = access_token::hash(text);
        let Some(token) = found.filter(|token| access_token::are_equal(&token.hash, &hash)) else {
            return Err(unauthenticated(self.why_unknown(text, &hash)));
        };
        if token.has_expired(SystemTime::now()) {
            return Err(unauthenticated("the token has expired"));
        }
        Ok(Arc::clone(&token.identity))
    }

    /// The reason why a token is not among those in force.
    fn why_unknown(&self, text: &str, hash: &TokenHash) -> Reason {
        let orphans = self.orphans.read();
        let orphan = access_token::id_of(text).and_then(|id| orphans.get(id));
        if orphan.is_some_and(|orphan| access_token::are_equal(orphan, hash)) {
            return "the caller of the token is not configured";
        }
        "the token is not known"
    }

    /// The identities that a certificate has: more than one is too many.
    fn by_certificate(&self, names: &[String]) -> Vec<Arc<Identity>> {
        let callers = self.callers.values().filter(|caller| {
            caller.settings.certificates.iter().any(|listed| names.contains(listed))
        });
        callers.map(|caller| caller.shown(IdentityKind::Certificate)).collect()
    }

    fn by_uid(&self, uid: u32) -> Vec<Arc<Identity>> {
        let callers = self.callers.values().filter(|caller| caller.settings.uids.contains(&uid));
        callers.map(|caller| caller.shown(IdentityKind::User)).collect()
    }

    /// The callers by their names, for operators.
    pub(crate) fn callers(&self) -> Vec<CallerState> {
        let now = SystemTime::now();
        let tokens = self.tokens.read();
        let mut states: Vec<_> = self
            .callers
            .iter()
            .map(|(name, caller)| {
                let own =
                    tokens.values().filter(|it| it.entry.caller == *name && !it.has_expired(now));
                let own: Vec<_> = own.collect();
                let CallerSettings { subjects, certificates, uids, .. } = &caller.settings;
                let kinds = [
                    (!own.is_empty(), IdentityKind::Token),
                    (!subjects.is_empty(), IdentityKind::JsonWebToken),
                    (!certificates.is_empty(), IdentityKind::Certificate),
                    (!uids.is_empty(), IdentityKind::User),
                ];
                CallerState {
                    name: name.clone(),
                    identities: kinds
                        .into_iter()
                        .filter_map(|(has, kind)| has.then_some(kind))
                        .collect(),
                    calls: caller.identity.limits.calls(),
                    transactions: caller.identity.limits.transactions(),
                    tokens: own.len(),
                    next_expiry: own.iter().filter_map(|token| token.expires).min(),
                }
            })
            .collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }

    /// Reads the file of tokens again, and revokes those that are gone. Returns true if there was a change. Blocks.
    ///
    /// # Errors
    /// The file has changed and cannot be used: the tokens before are in force. It is told once for each change.
    pub(crate) fn reload_tokens(&self) -> Result<bool> {
        let Some(file) = &self.token_file else { return Ok(false) };
        let Some(text) = self.last.changed(file.read_text())? else { return Ok(false) };
        let entries = file.parse(&text)?;
        let old = self.tokens.read().clone();
        let mut new = HashMap::new();
        let is_orphan = |entry: &&TokenEntry| !self.callers.contains_key(&entry.caller);
        let orphans = entries.iter().filter(is_orphan);
        let orphans = orphans.filter_map(|entry| Some((entry.id.clone(), entry.hash()?)));
        *self.orphans.write() = orphans.collect();
        for entry in entries {
            let kept = old.get(&entry.id).filter(|token| token.entry == entry).cloned();
            if let Some(token) = kept.or_else(|| self.token(&entry)) {
                new.insert(entry.id, token);
            }
        }
        let gone = old.iter().filter(|(id, _)| !new.contains_key(*id));
        let gone: Vec<_> = gone.map(|(_, token)| Arc::clone(token)).collect();
        *self.tokens.write() = new;
        for token in gone {
            token.identity.revocation.revoke();
        }
        Ok(true)
    }

    fn token(&self, entry: &TokenEntry) -> Option<Arc<Token>> {
        // A token of a caller that is not configured lets nobody in.
        let caller = self.callers.get(&entry.caller)?;
        let revocation = Arc::new(Revocation::default());
        let kind = IdentityKind::Token;
        let identity = Arc::new(Identity { kind, revocation, ..caller.identity.clone() });
        let hash = entry.hash()?;
        let expires = entry.end()?;
        Some(Arc::new(Token { entry: entry.clone(), hash, expires, identity }))
    }

    /// Ends the calls of tokens that have expired.
    pub(crate) fn revoke_expired(&self, now: SystemTime) {
        for token in self.tokens.read().values().filter(|token| token.has_expired(now)) {
            token.identity.revocation.revoke();
        }
    }
}

/// The error of a call whose caller is not known: one for all reasons, so that nobody learns from it.
fn unauthenticated(reason: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, "the caller is not authenticated")
        .with_cause(std::io::Error::other(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_from;

    #[test]
    fn a_subject_is_the_caller_that_lists_it_or_a_member_of_the_one_for_all() {
        let config = load_from(&[
            ("callers.shop.subjects", "alice,bob"),
            ("callers.audit.subjects", "bob,*"),
            ("callers.none.uids", "7"),
        ]);
        let authenticator = Authenticator::new(&config.expect("it is a configuration"));
        let authenticator = authenticator.expect("it can be made").expect("there are callers");
        let name = |subject: &str| authenticator.by_subject(subject).map(|(_, name)| name);
        let longest = "x".repeat(LONGEST_SUBJECT);
        let cases = [
            ("alice", "shop".to_owned()),
            ("Alice", "audit/Alice".to_owned()),
            ("*", "audit/*".to_owned()),
            ("auth0|a/b", "audit/auth0|a/b".to_owned()),
            (longest.as_str(), format!("audit/{longest}")),
        ];
        for (subject, expected) in cases {
            assert_eq!(name(subject).as_deref(), Ok(expected.as_str()));
        }
        assert!(name("bob").is_err_and(|reason| reason.contains("several")));
        let longer = "x".repeat(LONGEST_SUBJECT + 1);
        for subject in ["a b", "a\nb", "\u{202e}a", "\u{e9}", "a\0", longer.as_str()] {
            assert!(name(subject).is_err_and(|reason| reason.contains("a name")), "{subject:?}");
        }
    }

    #[test]
    fn without_a_caller_for_all_an_unlisted_subject_is_refused() {
        let config = load_from(&[("callers.shop.subjects", "alice")]);
        let authenticator = Authenticator::new(&config.expect("it is a configuration"));
        let authenticator = authenticator.expect("it can be made").expect("there are callers");
        for subject in ["bob", "*", "", "shop"] {
            authenticator.by_subject(subject).expect_err(subject);
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_credential_the_caller_is_told_the_same() {
        let config = load_from(&[
            ("callers.shop.subjects", "alice"),
            ("access.jwt.keys", "keys.json"),
            ("access.jwt.issuer", "https://idp"),
            ("access.jwt.audiences", "rowgate"),
        ]);
        let authenticator = Authenticator::new(&config.expect("it is a configuration"));
        let authenticator = authenticator.expect("it can be made").expect("there are callers");
        for value in
            ["", "Basic YTpi", "Bearer", "Bearer rg_a_b", "Bearer a.b.c", "bearer e30.e30.e30"]
        {
            let presented = Presented { authorization: &[Some(value)], ..Presented::default() };
            let error = authenticator.authenticate(presented).expect_err(value);
            assert_eq!(error.message(), "the caller is not authenticated", "{value}");
            assert!(!error.cause().is_empty(), "{value}");
        }
    }
}
