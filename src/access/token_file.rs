//! The file of tokens: one JSON object a line, hashes only.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::access_token::{self, TokenHash};
use crate::error::{Error, ErrorKind, Result};

/// The first line of a new file.
const HEAD: &str = "# The tokens of Rowgate's callers, by `rowgate token`. A token cannot be read back from its hash.\n";

/// A token in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// The identifier, a part of the token.
    pub id: String,
    /// The section of the caller.
    pub caller: String,
    /// The SHA-256 of the whole token, in hexadecimal.
    sha256: String,
    /// The time at which it was made (RFC 3339).
    pub created: String,
    /// The time from which it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl TokenEntry {
    /// Makes the entry of a new token.
    pub fn new(id: &str, token: &str, caller: &str, expires: Option<SystemTime>) -> Self {
        let hash = access_token::hash(token);
        let time = |time| humantime::format_rfc3339_seconds(time).to_string();
        Self {
            id: id.to_owned(),
            caller: caller.to_owned(),
            sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            created: time(SystemTime::now()),
            expires: expires.map(time),
        }
    }

    /// Returns true once it is refused for its age.
    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.end().flatten().is_some_and(|end| end <= now)
    }

    pub(crate) fn hash(&self) -> Option<TokenHash> {
        let digits = self.sha256.as_bytes();
        let byte = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        bytes.filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?.try_into().ok()
    }

    /// The time from which it is refused; `Some(None)` for never, `None` for a malformed one.
    pub(crate) fn end(&self) -> Option<Option<SystemTime>> {
        self.expires
            .as_deref()
            .map(|text| humantime::parse_rfc3339(text).ok())
            .map_or(Some(None), |time| time.map(Some))
    }
}

/// The file of tokens.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Names a file, which may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads all tokens. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is malformed; no hash is in the message.
    pub fn read(&self) -> Result<Vec<TokenEntry>> {
        self.parse(&self.read_text()?)
    }

    /// Reads its text. Blocks.
    pub(crate) fn read_text(&self) -> Result<String> {
        fs::read_to_string(&self.path).map_err(|cause| self.failed("read", cause))
    }

    /// Reads the tokens in its text.
    pub(crate) fn parse(&self, text: &str) -> Result<Vec<TokenEntry>> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut tokens: Vec<TokenEntry> = Vec::new();
        for (number, line) in lines {
            let malformed = |why: &str| {
                let path = self.path.display();
                Error::new(ErrorKind::InvalidOption, format!("{path}, line {number}: {why}"))
            };
            let entry: TokenEntry =
                serde_json::from_str(line).map_err(|_error| malformed("this is no token"))?;
            if entry.hash().is_none() || entry.end().is_none() {
                return Err(malformed("its hash or its expiry is malformed"));
            }
            if tokens.iter().any(|other| other.id == entry.id) {
                return Err(malformed("there is another token with its identifier"));
            }
            tokens.push(entry);
        }
        Ok(tokens)
    }

    /// Adds a token. Blocks, also while another process changes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&self, entry: &TokenEntry) -> Result<()> {
        let _lock = self.lock()?;
        let tokens = if self.path.exists() { self.read()? } else { Vec::new() };
        self.write(tokens.iter().chain([entry]))
    }

    /// Removes a token, and returns it; `None` when there is none of that identifier. Blocks, also while another process
    /// changes the file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn revoke(&self, id: &str) -> Result<Option<TokenEntry>> {
        let _lock = self.lock()?;
        let tokens = self.read()?;
        let Some(revoked) = tokens.iter().find(|token| token.id == id) else { return Ok(None) };
        self.write(tokens.iter().filter(|token| token.id != id))?;
        Ok(Some(revoked.clone()))
    }

    /// Locks the directory, which stays while the file is replaced: of two changes at once none is lost. Released when the
    /// result is dropped.
    fn lock(&self) -> Result<File> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let locked = File::open(parent.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.lock().map(|()| directory));
        locked.map_err(|cause| self.failed("change", cause))
    }

    /// Replaces the file as a whole, so that a server never reads half of it. A new one can be read by its owner alone; one
    /// that is replaced keeps its owner and its mode, lest its server cannot read it any more.
    fn write<'a>(&self, tokens: impl Iterator<Item = &'a TokenEntry>) -> Result<()> {
        let mut text = HEAD.to_owned();
        for token in tokens {
            text.push_str(&serde_json::to_string(token).unwrap_or_default());
            text.push('\n');
        }
        // A link stays one.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_absent| self.path.clone());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let written = Self::create(&new, fs::metadata(&path).ok().as_ref())
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(|cause| self.failed("write", cause))
    }

    fn create(path: &Path, replaced: Option<&Metadata>) -> std::io::Result<File> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != IoErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        if let Some(replaced) = replaced {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (replaced.uid(), replaced.gid()) {
                fchown(&file, Some(replaced.uid()), Some(replaced.gid()))?;
            }
            file.set_permissions(replaced.permissions())?;
        }
        Ok(file)
    }

    fn failed(&self, action: &str, cause: std::io::Error) -> Error {
        let message = format!("cannot {action} the file of tokens {}", self.path.display());
        let is_missing = cause.kind() == std::io::ErrorKind::NotFound;
        let error = Error::new(ErrorKind::InvalidOption, message).with_cause(cause);
        if is_missing {
            return error.with_hint("Make it with the first token: `rowgate token new CALLER`.");
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_added_and_revoked_and_only_hashes_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("there is room");
        let file = TokenFile::new(directory.path().join("tokens"));
        let tokens: Vec<_> = (0..3).map(|_| access_token::new_token().expect("a token")).collect();
        for (id, token) in &tokens {
            file.add(&TokenEntry::new(id, token, "shop", None)).expect("it is written");
        }
        let mode = fs::metadata(&file.path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&file.path).expect("it is read");
        assert!(tokens.iter().all(|(_, token)| !text.contains(token.as_str())));
        let read = file.read().expect("it is well formed");
        assert_eq!(read.len(), 3);
        assert!(
            tokens
                .iter()
                .zip(&read)
                .all(|((_, token), entry)| entry.hash() == Some(access_token::hash(token)))
        );
        let revoked = file.revoke(&tokens[1].0).expect("it is written");
        assert_eq!(revoked.as_ref(), Some(&read[1]));
        assert_eq!(file.revoke(&tokens[1].0).expect("it is read"), None);
        assert_eq!(file.read().expect("it is well formed"), [read[0].clone(), read[2].clone()]);
    }

    #[test]
    fn a_file_that_is_replaced_stays_behind_its_link_and_keeps_its_mode() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = tempfile::tempdir().expect("there is room");
        let target = directory.path().join("target");
        let file = TokenFile::new(directory.path().join("tokens"));
        symlink(&target, &file.path).expect("a link");
        fs::write(&target, "").expect("it is written");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).expect("it is ours");
        let (id, token) = access_token::new_token().expect("a token");
        file.add(&TokenEntry::new(&id, &token, "shop", None)).expect("it is written");
        assert!(fs::symlink_metadata(&file.path).expect("it is there").is_symlink());
        let mode = fs::metadata(&target).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(fs::read_to_string(&target).expect("it is read").contains(&id));
    }

    #[test]
    fn a_malformed_line_is_told_by_its_number_without_its_content() {
        let directory = tempfile::tempdir().expect("there is room");
        let file = TokenFile::new(directory.path().join("tokens"));
        let (id, token) = access_token::new_token().expect("a token");
        let entry =
            serde_json::to_string(&TokenEntry::new(&id, &token, "shop", None)).expect("JSON");
        let cases = [
            "rg_secret".to_owned(),
            entry.replace("\"created\"", "\"sha256sum\":\"x\",\"created\""),
            entry.replace("\"created\"", "\"expires\":\"soon\",\"created\""),
            entry.replace("\"sha256\":\"", "\"sha256\":\"+"),
            format!("{entry}\n{entry}"),
        ];
        for text in cases {
            fs::write(&file.path, format!("# a comment\n\n{text}\n")).expect("it is written");
            let error = file.read().expect_err(&text);
            assert!(
                error.message().contains(", line ") && !error.message().contains("secret"),
                "{}",
                error.message()
            );
        }
    }
}
