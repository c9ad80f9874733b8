//! The database's file: where it is, who may read it, and its log.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

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

/// The directory of a database, locked for one process. The lock leaves no file, and ends with this.
pub(super) struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Locks the directory of a file; `None` while another process has it.
    pub(super) fn take(path: &Path) -> Result<Option<Self>> {
        let path = absolute_path(path)?;
        let directory = path.parent().unwrap_or(&path);
        let cannot = |error: io::Error| {
            let message = format!("cannot lock the directory {}", directory.display());
            Error::new(ErrorKind::DatabaseUnavailable, message).with_cause(error)
        };
        let directory = File::open(directory).map_err(cannot)?;
        match directory.try_lock() {
            Ok(()) => Ok(Some(Self { _directory: directory })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

/// All bytes of a file, locked for this process: those that SQLite locks are among them.
pub(crate) struct WholeFileLock {
    _file: File,
}

impl WholeFileLock {
    /// Locks a file; `None` while another process has a lock of SQLite's on it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The size of a file beside the database, or of the database itself, and the time of its last change; `None` if there is none.
pub(super) fn size_and_time(path: &Path, suffix: &str) -> Option<(u64, SystemTime)> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let metadata = std::fs::metadata(name).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Switches the file to a write-ahead log, which lets readers read while the writer writes.
///
/// The mode stays in the file, so usually this only checks it. The switch needs exclusive access, and
/// SQLite fails without calling the busy handler when two connections attempt it at once.
pub(super) fn write_ahead(connection: &Connection, until: Instant) -> rusqlite::Result<()> {
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Ok(());
    }
    let mode: String = loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error) if is_busy(&error) && Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            mode => break mode?,
        }
    };
    if mode != "wal" {
        tracing::warn!(%mode, "no write-ahead log: readers and the writer block each other");
    }
    Ok(())
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}
