//! Values that are kept elsewhere: `${file:/path}`, `${env:NAME}`, `fernet:gAAAA…`, and `KEY_FILE`.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use serde_json::Value;

use super::super::entries::{Entry, FILE_SUFFIX, literal};
use super::super::problem::{Problem, ValueError};
use super::super::source::{self, Environment};
use super::secret::{self, Keyring, MASK};

const SECRET_KEY: &str = "ROWGATE_SECRET_KEY";
const SECRET_KEY_FILE: &str = "ROWGATE_SECRET_KEY_FILE";

/// Replaces references by the values that they refer to.
pub(crate) struct Resolver<'a> {
    environment: &'a Environment,
    // Read once, and only when a value is encrypted.
    ring: OnceCell<Result<Keyring, ValueError>>,
    files: RefCell<BTreeSet<PathBuf>>,
}

/// A value whose references are replaced.
pub(crate) struct Resolved {
    pub(crate) value: Value,
    /// It came out of a reference, and may be a secret.
    pub(crate) is_secret: bool,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(environment: &'a Environment) -> Self {
        Self { environment, ring: OnceCell::new(), files: RefCell::default() }
    }

    /// Returns the files that values were read from.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.files.borrow().clone()
    }

    /// The value that an entry gives to its key.
    pub(crate) fn resolve(&self, entry: &Entry) -> Result<Resolved, Problem> {
        let key = &entry.key;
        let resolved = if entry.is_path {
            let shown = literal(&entry.value);
            self.content(&entry.value)
                .map_err(|error| error.of(format!("{key}{FILE_SUFFIX}")).value(shown))
        } else {
            let value = self.value(&entry.value, key.ends_with(".url"));
            value.map_err(|error| error.of(key).value(MASK))
        };
        resolved.map_err(|problem| problem.origin(&entry.origin))
    }

    /// The value of `KEY_file`: the content of the file, which may be encrypted.
    fn content(&self, path: &Value) -> Result<Resolved, ValueError> {
        let path = path.as_str().ok_or_else(|| {
            ValueError::new("this is not the path of a file")
                .instead("Write the path of the file that holds the value, in quotes.")
        })?;
        let content = self.decrypt_if_encrypted(self.file(path)?)?;
        Ok(Resolved { value: content.into(), is_secret: true })
    }

    fn value(&self, value: &Value, is_url: bool) -> Result<Resolved, ValueError> {
        match value {
            Value::String(text) => self.text(text, is_url),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item, is_url));
                let items: Vec<_> = items.collect::<Result<_, _>>()?;
                let is_secret = items.iter().any(|item| item.is_secret);
                let value = items.into_iter().map(|item| item.value).collect();
                Ok(Resolved { value, is_secret })
            }
            Value::Number(_) | Value::Bool(_) | Value::Object(_) | Value::Null => {
                Ok(Resolved { value: value.clone(), is_secret: false })
            }
        }
    }

    /// A text with its references replaced.
    fn text(&self, text: &str, is_url: bool) -> Result<Resolved, ValueError> {
        if secret::is_encrypted(text) {
            return Ok(Resolved { value: self.decrypt(text)?.into(), is_secret: true });
        }
        let Template { outline, references } = Template::parse(text)?;
        let mut value = String::new();
        let mut end = 0;
        for (at, reference) in &references {
            let found = self.find(reference)?;
            value.push_str(&outline[end..*at]);
            if is_url && is_component(&outline, *at) {
                value.extend(utf8_percent_encode(&found, NON_ALPHANUMERIC));
            } else {
                value.push_str(&found);
            }
            end = at + PLACEHOLDER.len_utf8();
        }
        value.push_str(&outline[end..]);
        let is_secret = !references.is_empty();
        if is_secret {
            value = self.decrypt_if_encrypted(value)?;
        }
        Ok(Resolved { value: value.into(), is_secret })
    }

    fn find(&self, reference: &str) -> Result<String, ValueError> {
        let variables = &self.environment.variables;
        match reference.split_once(':') {
            Some(("file", path)) => self.file(path),
            Some(("env", name)) => variables.get(name).cloned().ok_or_else(|| {
                ValueError::new(format!("the variable {name} that it refers to is not set"))
                    .instead(format!("Set {name}, or write the value in another way."))
            }),
            Some(("fernet", token)) => self.decrypt(token),
            // Not quoted: it may be part of a password.
            Some(_) | None => Err(ValueError::new("this contains a ${…} that is not a reference")
                .instead(
                    "Write ${file:/path}, ${env:NAME} or ${fernet:gAAAA…}; \
                     write $${ for the characters ${ themselves.",
                )),
        }
    }

    fn file(&self, path: &str) -> Result<String, ValueError> {
        let text = source::read_secret(path.as_ref()).map_err(|why| {
            ValueError::new(why)
                .instead("Name a file that exists and that this process's account may read.")
        })?;
        self.files.borrow_mut().insert(path.into());
        Ok(text)
    }

    fn decrypt_if_encrypted(&self, text: String) -> Result<String, ValueError> {
        if secret::is_encrypted(&text) { self.decrypt(&text) } else { Ok(text) }
    }

    fn decrypt(&self, token: &str) -> Result<String, ValueError> {
        let ring = self.ring.get_or_init(|| keyring(self.environment));
        let ring = ring.as_ref().map_err(|error| ValueError {
            why: format!("this is encrypted, but {}", error.why),
            instead: error.instead.clone(),
        })?;
        ring.decrypt(token).map(|plain| plain.expose().to_owned()).map_err(|why| {
            ValueError::new(format!("this cannot be decrypted: {why}")).instead(format!(
                "Set {SECRET_KEY} to the key it was encrypted with (several keys are separated by commas), or encrypt the value again with `rowgate secret encrypt`."
            ))
        })
    }
}

/// The Fernet keys of the environment.
pub(crate) fn keyring(environment: &Environment) -> Result<Keyring, ValueError> {
    let (name, keys) = match (environment.get(SECRET_KEY), environment.get(SECRET_KEY_FILE)) {
        (Some(_), Some(_)) => {
            let why = format!("both {SECRET_KEY} and {SECRET_KEY_FILE} are set");
            return Err(ValueError::new(why).instead("Set one of them."));
        }
        (Some(keys), None) => (SECRET_KEY, Ok(keys.to_owned())),
        (None, Some(path)) => (SECRET_KEY_FILE, source::read_secret(path.as_ref())),
        (None, None) => {
            let why = format!("neither {SECRET_KEY} nor {SECRET_KEY_FILE} is set");
            let instead = "Set one of them. Make a key with `rowgate secret keygen`.";
            return Err(ValueError::new(why).instead(instead));
        }
    };
    keys.and_then(|keys| Keyring::parse(&keys)).map_err(|why| {
        ValueError::new(format!("{name} cannot be used: {why}"))
            .instead("Make a key with `rowgate secret keygen`.")
    })
}

/// The character in place of a reference.
const PLACEHOLDER: char = '\u{1}';

/// A text, taken apart.
struct Template<'a> {
    /// The text with a placeholder for each reference.
    outline: String,
    /// The references, each with the position of its placeholder.
    references: Vec<(usize, &'a str)>,
}

impl<'a> Template<'a> {
    /// Takes `a${env:B}c` apart; `$${` stands for `${`.
    fn parse(text: &'a str) -> Result<Self, ValueError> {
        let mut template = Self { outline: String::new(), references: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            template.outline.push_str(before);
            if before.ends_with('$') {
                template.outline.push('{');
                rest = after;
                continue;
            }
            let (reference, after) = after.split_once('}').ok_or_else(|| {
                ValueError::new("this contains ${ without }")
                    .instead("Close the reference, or write $${ for the characters ${ themselves.")
            })?;
            template.references.push((template.outline.len(), reference));
            template.outline.push(PLACEHOLDER);
            rest = after;
        }
        template.outline.push_str(rest);
        Ok(template)
    }
}

/// Returns true if a place in a URL is one component: in the user information, the path and the query all
/// characters of a value are literal, and are escaped. A host may bring its port and is not escaped.
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
        let resolved = resolver.text(text, is_url).map_err(|error| error.why)?;
        Ok(resolved.value.as_str().unwrap().to_owned())
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
