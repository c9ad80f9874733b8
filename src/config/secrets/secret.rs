//! Values that must not be printed, and the Fernet keys that keep them encrypted in files.

use std::fmt;

use fernet::{Fernet, MultiFernet};

/// The prefix of an encrypted value.
const PREFIX: &str = "fernet:";

/// Version 0x80 and the zero bytes of the time: the start of every token of this century.
const TOKEN_START: &str = "gAAAA";

/// The text that is shown in place of a secret.
pub(crate) const MASK: &str = "******";

/// A secret: it is formatted and serialized as `******`.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself: for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A new Fernet key: 32 random bytes in URL-safe base64.
#[must_use]
pub fn keygen() -> String {
    Fernet::generate_key()
}

/// Fernet keys: the first encrypts, all decrypt, so that a key can be replaced in steps.
#[derive(Clone)]
pub struct Keyring {
    fernet: MultiFernet,
    count: usize,
}

impl Keyring {
    /// Reads keys separated by commas or line breaks.
    ///
    /// # Errors
    /// Describes the one that is not a Fernet key, without quoting it.
    pub fn parse(keys: &str) -> Result<Self, String> {
        let mut parsed = Vec::new();
        let texts = keys.split([',', '\n']).map(str::trim).filter(|text| !text.is_empty());
        for (index, text) in texts.enumerate() {
            let key = Fernet::new(text).ok_or_else(|| {
                format!(
                    "key number {} is not a Fernet key: a key is 32 bytes in URL-safe base64, \
                     44 characters; this one has {}",
                    index + 1,
                    text.chars().count()
                )
            })?;
            parsed.push(key);
        }
        if parsed.is_empty() {
            return Err("it contains no key".to_owned());
        }
        Ok(Self { count: parsed.len(), fernet: MultiFernet::new(parsed) })
    }

    /// Encrypts with the first key: `fernet:gAAAA…`, ready to paste into the configuration.
    #[must_use]
    pub fn encrypt(&self, plain: &str) -> String {
        format!("{PREFIX}{}", self.fernet.encrypt(plain.as_bytes()))
    }

    /// Decrypts a token of [`Self::encrypt`], with or without its `fernet:`.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn decrypt(&self, token: &str) -> Result<Secret, String> {
        let token = token.trim();
        let token = token.strip_prefix(PREFIX).unwrap_or(token).trim();
        if !token.starts_with(TOKEN_START) {
            return Err(format!("this is not a Fernet token: those start with {TOKEN_START}"));
        }
        let plain = self.fernet.decrypt(token).map_err(|fernet::DecryptionError| {
            let keys = match self.count {
                1 => "the key does not fit".to_owned(),
                count => format!("none of the {count} keys fits"),
            };
            format!(
                "{keys}, or the token is damaged: \
                 it was encrypted with another key, or characters are missing"
            )
        })?;
        String::from_utf8(plain)
            .map(Secret)
            .map_err(|error| format!("the decrypted value is not text: {}", error.utf8_error()))
    }
}

/// A text whose tokens were encrypted with another key.
#[derive(Debug, PartialEq, Eq)]
pub struct Reencrypted {
    /// The text with the new tokens.
    pub text: String,
    /// The number of tokens.
    pub tokens: usize,
}

impl Keyring {
    /// Encrypts each token in a text, as in a configuration file, with the first key; the rest of the text stays as it
    /// is. `fernet:` without a token, as in `fernet:gAAAA…` of a comment, is not one.
    ///
    /// # Errors
    /// The first token that cannot be decrypted: its line and the reason.
    pub fn reencrypt(&self, text: &str) -> Result<Reencrypted, String> {
        let mut changed = Reencrypted { text: String::with_capacity(text.len()), tokens: 0 };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(PREFIX) {
            changed.text.push_str(before);
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-_=".contains(c);
            let start = after.len() - after.trim_start_matches(' ').len();
            let end = after[start..].find(|c| !is_part(c)).map_or(after.len(), |end| start + end);
            rest = &after[end..];
            if !after[start..].starts_with(TOKEN_START) || rest.starts_with('…') {
                changed.text.push_str(PREFIX);
                changed.text.push_str(&after[..end]);
                continue;
            }
            let plain = self
                .decrypt(&after[start..end])
                .map_err(|why| format!("line {}: {why}", changed.text.matches('\n').count() + 1))?;
            changed.text.push_str(&self.encrypt(plain.expose()));
            changed.tokens += 1;
        }
        changed.text.push_str(rest);
        Ok(changed)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Returns true if a value is encrypted.
pub(crate) fn is_encrypted(value: &str) -> bool {
    value.trim_start().starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_is_decrypted() {
        let ring = Keyring::parse(&keygen()).unwrap();
        let token = ring.encrypt("s3cret ü");
        assert!(token.starts_with("fernet:gAAAA"), "{token}");
        assert_eq!(ring.decrypt(&token).unwrap().expose(), "s3cret ü");
        assert_eq!(ring.decrypt(&token["fernet:".len()..]).unwrap().expose(), "s3cret ü");
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let (new, old) = (keygen(), keygen());
        let both = Keyring::parse(&format!("{new}, {old}")).unwrap();
        let written_before = Keyring::parse(&old).unwrap().encrypt("before");
        assert_eq!(both.decrypt(&written_before).unwrap().expose(), "before");
        let written_now = both.encrypt("now");
        assert_eq!(Keyring::parse(&new).unwrap().decrypt(&written_now).unwrap().expose(), "now");
        assert!(Keyring::parse(&old).unwrap().decrypt(&written_now).is_err());
    }

    #[test]
    fn each_token_of_a_text_is_encrypted_with_the_first_key() {
        let (new, old) = (keygen(), keygen());
        let both = Keyring::parse(&format!("{new},{old}")).unwrap();
        let token = |plain| Keyring::parse(&old).unwrap().encrypt(plain);
        let file = format!(
            "# as fernet:gAAAA… or fernet: and fernet:x\nurl = \"postgres://me:${{{}}}@db/shop\"\nb = '{}' # ü\n",
            token("one"),
            token("two")
        );
        let changed = both.reencrypt(&file).unwrap();
        assert_eq!(changed.tokens, 2);
        let alone = Keyring::parse(&new).unwrap();
        let tokens = |text: &str| -> Vec<String> {
            text.split(PREFIX)
                .skip(1)
                .filter(|part| part.starts_with("gAAAA") && !part.starts_with("gAAAA…"))
                .map(|part| part.split(['}', '\'']).next().unwrap().to_owned())
                .collect()
        };
        let plain: Vec<_> = tokens(&changed.text)
            .iter()
            .map(|token| alone.decrypt(token).unwrap().expose().to_owned())
            .collect();
        assert_eq!(plain, ["one", "two"]);
        let mut restored = changed.text;
        for (new, old) in tokens(&restored.clone()).iter().zip(tokens(&file)) {
            restored = restored.replace(new, &old);
        }
        assert_eq!(restored, file, "the rest is as it was");
        let why = alone.reencrypt(&file).unwrap_err();
        assert!(why.starts_with("line 2: the key does not fit"), "{why}");
    }

    #[test]
    fn a_token_of_the_specification_is_decrypted() {
        // From the Fernet specification's verify.json.
        let ring = Keyring::parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
        let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7J\
                     cbmrR64jVmpU4IwqDA==";
        assert_eq!(ring.decrypt(token).unwrap().expose(), "hello");
    }

    #[test]
    fn a_wrong_key_is_explained() {
        let token = Keyring::parse(&keygen()).unwrap().encrypt("s3cret");
        let why = Keyring::parse(&keygen()).unwrap().decrypt(&token).unwrap_err();
        assert!(why.contains("the key does not fit"), "{why}");
        let why = Keyring::parse("tooshort").unwrap_err();
        assert!(
            why.contains("44 characters; this one has 8") && !why.contains("tooshort"),
            "{why}"
        );
        assert!(Keyring::parse(" , ").unwrap_err().contains("no key"));
    }

    #[test]
    fn what_is_no_token_is_refused_as_such() {
        let why = Keyring::parse(&keygen()).unwrap().decrypt("fernet:hunter2").unwrap_err();
        assert!(why.contains("not a Fernet token") && !why.contains("hunter2"), "{why}");
    }

    #[test]
    fn no_secret_is_shown() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret} {secret:?}"), "****** ******");
    }
}
