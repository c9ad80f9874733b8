//! The file that keeps statements for later prompts, and what it does not keep.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::sql::is_among;

/// The most entries that are kept.
pub(super) const HISTORY_ENTRIES: usize = 1000;

/// The largest entry that is kept, in bytes.
const MAX_ENTRY: usize = 16 << 10;

/// The size of a file that is read, in bytes: no prompt writes a larger one.
const MAX_FILE: u64 = 32 << 20;

/// The variable that names another file; empty for none.
const VARIABLE: &str = "ROWGATE_HISTORY";

/// Words beside secrets, as the mysql client knows them.
const SECRET: &str = "IDENTIFIED PASSWORD";

/// The file of the history, if there is one.
#[derive(Debug)]
pub(super) struct HistoryFile(Option<PathBuf>);

impl HistoryFile {
    /// The file of this user, in a folder that is made if need be.
    pub(super) fn of_user(environment: &Environment) -> Self {
        let path = path(environment);
        let usable = path.filter(|path| {
            let is_readable =
                fs::metadata(path).map_or(true, |file| file.is_file() && file.len() <= MAX_FILE);
            is_readable && make_folder(path)
        });
        Self(usable)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// Returns false for what is not kept: a large entry, one that begins with a blank, and one that may hold a secret.
    pub(super) fn keeps(entry: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let has_secret = entry.split(|c| !is_word(c)).any(|word| is_among(word, SECRET));
        !entry.starts_with(char::is_whitespace) && entry.len() <= MAX_ENTRY && !has_secret
    }
}

fn path(environment: &Environment) -> Option<PathBuf> {
    if let Some(named) = environment.variables.get(VARIABLE) {
        return (!named.is_empty()).then(|| PathBuf::from(named));
    }
    let variable = |name| environment.get(name).map(PathBuf::from);
    // The XDG Base Directory Specification ignores relative paths.
    let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(state.join("rowgate/history"))
}

/// Makes the folder of a file, for its owner alone.
fn make_folder(path: &Path) -> bool {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return true;
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_large_entries_are_not_kept() {
        for kept in ["select 1;", "select password_hash from t;", "\\d t"] {
            assert!(HistoryFile::keeps(kept), "{kept}");
        }
        let large = "x".repeat(MAX_ENTRY + 1);
        let secrets =
            [" select 1;", "alter role a password 'b';", "create user a IDENTIFIED BY 'b'", &large];
        for secret in secrets {
            assert!(!HistoryFile::keeps(secret), "{secret}");
        }
    }
}
