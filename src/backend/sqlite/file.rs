//! The database's file: where it is, and who may read it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// The absolute path of a file, so that it cannot look like one of SQLite's `file:` URIs.
pub(crate) fn absolute_path(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        let message = "an in-memory SQLite database cannot be shared by connections";
        return Err(Error::new(ErrorKind::BackendMisconfigured, message)
            .with_hint("Name a file: sqlite:rowgate.db."));
    }
    std::path::absolute(path).map_err(|error| {
        let message = "the working directory does not exist";
        Error::new(ErrorKind::DatabaseUnavailable, message).with_cause(error)
    })
}

/// Creates a file that there is not, for its owner only. SQLite gives the files beside it the same
/// permissions; it reports a path that does not work.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}
