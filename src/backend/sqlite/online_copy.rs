//! The copy of a database that is in use, and the exclusive claim to its file.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::file::WholeFileLock;
use crate::error::{Error, ErrorKind, Result};

/// The pages that are copied at a time: after each the progress is told. It matters to nobody else, as the copy
/// reads one snapshot, which writers do not wait for.
const PAGES: i32 = 1024;

/// The longest wait for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a step is repeated.
const PAUSE: Duration = Duration::from_millis(5);

/// The steps of SQLite's virtual machine between two looks at the signals.
const STEPS: i32 = 100_000;

/// The errors of a damaged file that are shown.
const SHOWN_ERRORS: usize = 5;

/// The way to files that nobody else has: without locks, which could be in the way of the caller's own.
const NO_LOCKS: &str = "unix-none";

/// The claim to a database's file.
pub(crate) enum Claim {
    /// There is no file.
    Free,
    /// Nobody else can open it until this is dropped.
    Locked(#[expect(dead_code, reason = "the lock ends with it")] Connection),
    /// The same of a file that is no database, or a damaged one.
    Unreadable(#[expect(dead_code, reason = "the lock ends with it")] WholeFileLock),
}

/// The findings in a whole copy.
pub(crate) struct Copied {
    /// The damage that SQLite finds in it; `None` if there is none.
    pub(crate) damage: Option<String>,
    /// The rows whose foreign keys point to nothing; `None` if there are none.
    pub(crate) orphans: Option<String>,
    /// It has no table.
    pub(crate) is_bare: bool,
}

/// Copies a database, as it is in one moment, into an empty file, by SQLite's online backup. `watch` is told the bytes that
/// are done and all; it ends the copy by returning false.
///
/// The backup begins anew when another connection writes, and would never end where many do. An open read transaction
/// keeps it to one snapshot, which no writer changes.
pub(crate) fn copy_database(
    source: &Path,
    destination: &Path,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<()> {
    let from = open_source(source)?;
    let size: u32 = read(&from, "PRAGMA page_size").map_err(|error| failed(source, error))?;
    let mut to = open_own(destination).map_err(|error| failed(destination, error))?;
    // Nobody reads the file before it is whole, and it is synced then.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        .map_err(|error| failed(destination, error))?;
    let backup = Backup::new(&from, &mut to).map_err(|error| failed(source, error))?;
    loop {
        let step = backup.step(PAGES).map_err(|error| failed(destination, error))?;
        let progress = backup.progress();
        let bytes = |pages: i32| u64::from(pages.max(0).unsigned_abs()) * u64::from(size);
        let done = bytes(progress.pagecount - progress.remaining);
        if !watch(done, bytes(progress.pagecount)) {
            return Err(Error::new(ErrorKind::Cancelled, "the copy was stopped"));
        }
        if matches!(step, StepResult::Done) {
            return Ok(());
        }
        if matches!(step, StepResult::Busy | StepResult::Locked) {
            std::thread::park_timeout(PAUSE);
        }
    }
}

/// Opens a database and the snapshot that is copied.
fn open_source(source: &Path) -> Result<Connection> {
    if !source.exists() {
        let message = format!("there is no file {}", source.display());
        return Err(Error::new(ErrorKind::FailedPrecondition, message));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let from = Connection::open_with_flags(source, flags)?;
        from.busy_timeout(LOCK_TIMEOUT)?;
        from.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")?;
        Ok(from)
    };
    open().map_err(|error| failed(source, error))
}

/// Opens a file that is nobody else's.
fn open_own(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags_and_vfs(path, flags, NO_LOCKS)
}

/// Looks whether a copy is a whole database, and makes it one file that needs none beside it. `is_stopped` ends it early.
pub(crate) fn check_copy(
    path: &Path,
    is_stopped: impl Fn() -> bool + Send + 'static,
) -> Result<Copied> {
    let check = || {
        let mut own = open_own(path)?;
        own.progress_handler(STEPS, Some(is_stopped))?;
        own.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // A log needs a file that processes share, unless there is one process.
        own.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let _mode: String = read(&own, "PRAGMA journal_mode = DELETE")?;
        let mut statement = own.prepare(&format!("PRAGMA integrity_check({SHOWN_ERRORS})"))?;
        let found = statement.query_map([], |row| row.get(0))?;
        let found: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
        drop(statement);
        let is_bare =
            read(&own, "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')")?;
        Ok((found, orphans(&own), is_bare))
    };
    let (found, orphans, is_bare) = check().map_err(|error| failed(path, error))?;
    let damage = (found != ["ok"]).then(|| found.join("; "));
    Ok(Copied { damage, orphans, is_bare })
}

/// The tables with rows whose foreign keys point to nothing. A definition that makes the check fail is told, too.
fn orphans(own: &Connection) -> Option<String> {
    let count = "SELECT count(*), group_concat(DISTINCT \"table\") FROM pragma_foreign_key_check";
    let found = own.query_row(count, [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default()))
    });
    match found {
        Ok((0, _)) => None,
        Ok((rows, tables)) => Some(format!("{rows} rows of {tables}")),
        Err(error) => Some(format!("tables that cannot be checked ({error})")),
    }
}

/// Claims a database's file, which no other process may have open, and empties its log into it.
pub(crate) fn claim_file(path: &Path) -> Result<Claim> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let claim = || {
        let own = Connection::open_with_flags(path, flags)?;
        own.busy_timeout(Duration::ZERO)?;
        own.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        // Only the last connection can leave the log.
        let _mode: String = read(&own, "PRAGMA journal_mode = DELETE")?;
        own.execute_batch("BEGIN EXCLUSIVE")?;
        Ok(own)
    };
    match claim() {
        Ok(own) => Ok(Claim::Locked(own)),
        Err(error) if is_unreadable(&error) => claim_unreadable(path).map(Claim::Unreadable),
        Err(error) if is_locked(&error) => Err(in_use(path)),
        Err(error) => Err(failed(path, error)),
    }
}

/// Claims a file that SQLite cannot read.
fn claim_unreadable(path: &Path) -> Result<WholeFileLock> {
    let lock = WholeFileLock::take(path).map_err(|error| {
        let message = format!("cannot lock {}", path.display());
        Error::new(ErrorKind::FailedPrecondition, message).with_cause(error)
    })?;
    lock.ok_or_else(|| in_use(path))
}

fn is_unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure)
    )
}

fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn in_use(path: &Path) -> Error {
    let message = format!("the database {} is open in another process", path.display());
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_hint("Stop the server and whatever else has it open, then restore.")
}

fn read<T: rusqlite::types::FromSql>(own: &Connection, sql: &str) -> rusqlite::Result<T> {
    own.query_row(sql, [], |row| row.get(0))
}

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    let message = match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => {
            return Error::new(ErrorKind::Cancelled, "the copy was stopped").with_cause(error);
        }
        Some(ErrorCode::DiskFull) => format!("there is no space left for {}", path.display()),
        Some(ErrorCode::NotADatabase) => format!("{} is not a SQLite database", path.display()),
        Some(ErrorCode::DatabaseCorrupt) => format!("the database {} is damaged", path.display()),
        _ => format!("SQLite cannot use {}", path.display()),
    };
    Error::new(ErrorKind::FailedPrecondition, message).with_cause(error)
}
