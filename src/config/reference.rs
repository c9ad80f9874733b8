//! Values that are kept elsewhere: `${file:/path}`, `${env:NAME}`, `fernet:gAAAA…`, and `KEY_FILE`.

use std::cell::OnceCell;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::problem::{Problem, Refusal};
use super::secret::{self, Keyring};
use super::shape::MASK;
use super::source::{self, Environment};
use super::tree::{Entry, Leaf, Raw};

const SECRET_KEY: &str = "ROWGATE_SECRET_KEY";
const SECRET_KEY_FILE: &str = "ROWGATE_SECRET_KEY_FILE";

/// The suffix of a key whose value is the path of the file that holds the value.
pub(crate) const FILE_SUFFIX: &str = "_file";

/// Finds what references name.
pub(crate) struct Resolver<'a> {
    environment: &'a Environment,
    // Read once, and only when something is encrypted.
    ring: OnceCell<Result<Keyring, Refusal>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(environment: &'a Environment) -> Self {
        Self { environment, ring: OnceCell::new() }
    }

    /// What a leaf stands for that may be a `KEY_FILE`.
    pub(crate) fn resolve_either(
        &self,
        leaf: Leaf,
        is_file: bool,
        problems: &mut Vec<Problem>,
    ) -> Entry {
        if is_file { self.resolve_file(leaf, problems) } else { self.resolve(leaf, problems) }
    }

    /// What a leaf stands for. A problem leaves [`Raw::Broken`].
    pub(crate) fn resolve(&self, leaf: Leaf, problems: &mut Vec<Problem>) -> Entry {
        let is_url = leaf.path.last().is_some_and(|key| key == "url");
        match self.raw(&leaf.raw, is_url) {
            Ok((raw, secret)) => Entry { raw, origin: leaf.origin, secret },
            Err(refusal) => {
                let problem = refusal.of(leaf.path.join(".")).value(MASK).origin(&leaf.origin);
                problems.push(problem);
                Entry { raw: Raw::Broken, origin: leaf.origin, secret: true }
            }
        }
    }

    /// What a leaf `KEY_FILE` stands for: the file's content, which may be encrypted.
    pub(crate) fn resolve_file(&self, leaf: Leaf, problems: &mut Vec<Problem>) -> Entry {
        let content = match &leaf.raw {
            Raw::Text(path) => self.file(path).and_then(|text| self.decrypt_if_encrypted(text)),
            Raw::Broken => return Entry { raw: Raw::Broken, origin: leaf.origin, secret: true },
            Raw::Number(_) | Raw::Switch(_) | Raw::List(_) | Raw::Nothing => {
                Err(Refusal::new("this is not the path of a file")
                    .instead("Write the path of the file that holds the value, in quotes."))
            }
        };
        let raw = content.map(Raw::Text).unwrap_or_else(|refusal| {
            let key = format!("{}{FILE_SUFFIX}", leaf.path.join("."));
            problems.push(refusal.of(key).value(leaf.raw.literal()).origin(&leaf.origin));
            Raw::Broken
        });
        Entry { raw, origin: leaf.origin, secret: true }
    }

    /// A text with its references replaced, and whether there were any.
    pub(crate) fn text(&self, text: &str, is_url: bool) -> Result<(String, bool), Refusal> {
        if secret::is_encrypted(text) {
            return self.decrypt(text).map(|plain| (plain, true));
        }
        let pieces = split(text)?;
        let places = if is_url { Some(outline(&pieces)) } else { None };
        let (mut whole, mut offset, mut secret) = (String::new(), 0, false);
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => {
                    offset += literal.len();
                    whole.push_str(&literal);
                }
                Piece::Reference(reference) => {
                    let value = self.find(reference)?;
                    match places.as_deref().is_some_and(|url| is_component(url, offset)) {
                        true => whole.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC)),
                        false => whole.push_str(&value),
                    }
                    offset += PLACE.len();
                    secret = true;
                }
            }
        }
        match secret {
            true => self.decrypt_if_encrypted(whole).map(|whole| (whole, true)),
            false => Ok((whole, false)),
        }
    }

    fn raw(&self, raw: &Raw, is_url: bool) -> Result<(Raw, bool), Refusal> {
        match raw {
            Raw::Text(text) => {
                self.text(text, is_url).map(|(text, secret)| (Raw::Text(text), secret))
            }
            Raw::List(items) => {
                let items = items.iter().map(|item| self.raw(item, is_url));
                let items: Vec<_> = items.collect::<Result<_, _>>()?;
                let secret = items.iter().any(|(_, secret)| *secret);
                Ok((Raw::List(items.into_iter().map(|(item, _)| item).collect()), secret))
            }
            Raw::Number(_) | Raw::Switch(_) | Raw::Nothing | Raw::Broken => {
                Ok((raw.clone(), false))
            }
        }
    }

    fn find(&self, reference: &str) -> Result<String, Refusal> {
        let instead = "Write ${file:/path}, ${env:NAME} or ${fernet:gAAAA…}; \
                       write $${ for the characters ${ themselves.";
        match reference.split_once(':') {
            Some(("file", path)) => self.file(path),
            Some(("env", name)) => self.variable(name),
            Some(("fernet", token)) => self.decrypt(token),
            // Not quoted: it may be part of a password.
            Some(_) | None => {
                Err(Refusal::new("this holds ${…} that is no reference").instead(instead))
            }
        }
    }

    fn variable(&self, name: &str) -> Result<String, Refusal> {
        self.environment.variables.get(name).cloned().ok_or_else(|| {
            Refusal::new(format!("the variable {name} that it refers to is not set"))
                .instead(format!("Set {name}, or write the value in another way."))
        })
    }

    fn file(&self, path: &str) -> Result<String, Refusal> {
        source::read_secret(path.as_ref()).map_err(|why| {
            Refusal::new(why)
                .instead("Name a file that exists and that this process's account may read.")
        })
    }

    fn decrypt_if_encrypted(&self, text: String) -> Result<String, Refusal> {
        if secret::is_encrypted(&text) { self.decrypt(&text) } else { Ok(text) }
    }

    fn decrypt(&self, token: &str) -> Result<String, Refusal> {
        let ring = self.ring.get_or_init(|| keyring(self.environment));
        let ring = ring.as_ref().map_err(|refusal| Refusal {
            why: format!("this is encrypted, but {}", refusal.why),
            instead: refusal.instead.clone(),
        })?;
        ring.decrypt(token).map(|plain| plain.expose().to_owned()).map_err(|why| {
            Refusal::new(format!("this cannot be decrypted: {why}")).instead(format!(
                "Set {SECRET_KEY} to the key it was encrypted with (several, separated by commas, \
                 are all tried), or encrypt the value again with `rowgate secret encrypt`."
            ))
        })
    }
}

/// The Fernet keys of the environment.
pub(crate) fn keyring(environment: &Environment) -> Result<Keyring, Refusal> {
    let make = "Make a key with `rowgate secret keygen`.";
    let (name, keys) = match (environment.get(SECRET_KEY), environment.get(SECRET_KEY_FILE)) {
        (Some(_), Some(_)) => {
            return Err(Refusal::new(format!("both {SECRET_KEY} and {SECRET_KEY_FILE} are set"))
                .instead("Set one of them."));
        }
        (Some(keys), None) => (SECRET_KEY, keys.to_owned()),
        (None, Some(path)) => {
            let keys = source::read_secret(path.as_ref());
            (
                SECRET_KEY_FILE,
                keys.map_err(|why| {
                    Refusal::new(format!("{SECRET_KEY_FILE} cannot be used: {why}"))
                })?,
            )
        }
        (None, None) => {
            let why = format!("neither {SECRET_KEY} nor {SECRET_KEY_FILE} is set");
            return Err(Refusal::new(why).instead(format!("Set one of them. {make}")));
        }
    };
    Keyring::parse(&keys)
        .map_err(|why| Refusal::new(format!("{name} cannot be used: {why}")).instead(make))
}

enum Piece<'a> {
    Literal(String),
    Reference(&'a str),
}

/// Takes `a${env:B}c` apart; `$${` stands for `${`.
fn split(text: &str) -> Result<Vec<Piece<'_>>, Refusal> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let escaped = rest[..at].ends_with('$');
        let literal = if escaped { &rest[..at - 1] } else { &rest[..at] };
        pieces.push(Piece::Literal(literal.to_owned()));
        rest = &rest[at + 2..];
        if escaped {
            pieces.push(Piece::Literal("${".to_owned()));
            continue;
        }
        let (reference, after) = rest.split_once('}').ok_or_else(|| {
            Refusal::new("this holds ${ without }")
                .instead("Close the reference, or write $${ for the characters ${ themselves.")
        })?;
        pieces.push(Piece::Reference(reference));
        rest = after;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    Ok(pieces)
}

/// What stands for a reference in [`outline`].
const PLACE: &str = "\u{1}";

fn outline(pieces: &[Piece<'_>]) -> String {
    let text = pieces.iter().map(|piece| match piece {
        Piece::Literal(literal) => literal,
        Piece::Reference(_) => PLACE,
    });
    text.collect()
}

/// Whether a place in a URL is one component alone, where a password goes as it is and any of its
/// characters is meant literally: in the user information, the path and the query. The host, which
/// may bring its port, and what stands before it are taken as they are.
fn is_component(url: &str, offset: usize) -> bool {
    let Some(scheme) = url.find("://") else { return false };
    let start = scheme + "://".len();
    if offset < start {
        return false;
    }
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |length| start + length);
    let user = url[start..end].rfind('@').map(|length| start + length);
    offset >= end || user.is_some_and(|user| offset < user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::keygen;

    fn resolved(text: &str, is_url: bool, environment: &[(&str, &str)]) -> Result<String, String> {
        let environment = Environment::of(environment);
        let resolver = Resolver::new(&environment);
        resolver.text(text, is_url).map(|(text, _)| text).map_err(|refusal| refusal.why)
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        let environment = [("A", "one"), ("B", "two")];
        let cases = [
            ("plain", "plain"),
            ("${env:A}", "one"),
            ("x${env:A}y${env:B}z", "xoneytwoz"),
            ("$${env:A}", "${env:A}"),
            ("$5 and {}", "$5 and {}"),
        ];
        for (text, expected) in cases {
            assert_eq!(resolved(text, false, &environment).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_password_in_a_url_needs_no_escapes_when_it_is_referred_to() {
        let environment =
            [("PASS", "p@ss/w:rd"), ("HOST", "db:5433"), ("URL", "postgres://a:b@c/d")];
        let cases = [
            ("postgres://u:${env:PASS}@${env:HOST}/d", "postgres://u:p%40ss%2Fw%3Ard@db:5433/d"),
            ("postgres://h/d?password=${env:PASS}", "postgres://h/d?password=p%40ss%2Fw%3Ard"),
            ("${env:URL}", "postgres://a:b@c/d"),
            ("${env:URL}?sslmode=require", "postgres://a:b@c/d?sslmode=require"),
        ];
        for (text, expected) in cases {
            assert_eq!(resolved(text, true, &environment).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_file_loses_its_last_line_break_alone() {
        let directory = tempfile::tempdir().unwrap();
        for (content, expected) in [("s3cret\n", "s3cret"), ("s\r\n", "s"), ("a\n\n", "a\n")] {
            let path = directory.path().join("secret");
            std::fs::write(&path, content).unwrap();
            let text = format!("${{file:{}}}", path.display());
            assert_eq!(resolved(&text, false, &[]).as_deref(), Ok(expected));
        }
        let why = resolved("${file:/no/such/file}", false, &[]).unwrap_err();
        assert!(why.contains("/no/such/file"), "{why}");
    }

    #[test]
    fn what_is_no_reference_is_refused_and_not_quoted() {
        for text in ["pa${ss", "${hunter2}", "${vault:hunter2}", "${env:UNSET}"] {
            let why = resolved(text, false, &[]).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn encrypted_values_are_decrypted_whole_or_in_part() {
        let key = keygen();
        let token = Keyring::parse(&key).unwrap().encrypt("p@ss");
        let environment = [("ROWGATE_SECRET_KEY", key.as_str()), ("TOKEN", token.as_str())];
        assert_eq!(resolved(&token, false, &environment).as_deref(), Ok("p@ss"));
        assert_eq!(resolved("${env:TOKEN}", false, &environment).as_deref(), Ok("p@ss"));
        let url = format!("postgres://u:${{{token}}}@h/d");
        assert_eq!(resolved(&url, true, &environment).as_deref(), Ok("postgres://u:p%40ss@h/d"));
    }

    #[test]
    fn a_wrong_fernet_key_is_explained() {
        let token = Keyring::parse(&keygen()).unwrap().encrypt("p@ss");
        let other = keygen();
        let wrong = resolved(&token, false, &[("ROWGATE_SECRET_KEY", &other)]).unwrap_err();
        assert!(wrong.contains("the key does not fit"), "{wrong}");
        let missing = resolved(&token, false, &[]).unwrap_err();
        assert!(missing.contains("neither ROWGATE_SECRET_KEY nor"), "{missing}");
        let bad = resolved(&token, false, &[("ROWGATE_SECRET_KEY", "hunter2")]).unwrap_err();
        assert!(bad.contains("not a Fernet key") && !bad.contains("hunter2"), "{bad}");
        let file = resolved(&token, false, &[("ROWGATE_SECRET_KEY_FILE", "/none")]).unwrap_err();
        assert!(file.contains("/none"), "{file}");
    }
}
