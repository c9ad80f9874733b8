//! Opens and sets up connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::{Role, Session, SessionConfig};
use crate::backend::sqlite::authorizer::Authorizer;
use crate::backend::sqlite::error::{Origin, Step, translate};
use crate::error::{Error, ErrorKind, Result};

impl Session {
    /// Opens the file, creates it if there is none, and sets the connection up.
    pub(crate) fn open(config: Arc<SessionConfig>, role: Role) -> Result<Self> {
        let authorizer = Authorizer::new();
        let path = absolute_path(&config)?;
        let connection = connect(&path, &config, role, &authorizer).map_err(|error| {
            translate(error, &Origin { sql: "", step: Step::Open, details: config.details })
        })?;
        Ok(Self { connection, authorizer, config, role })
    }
}

/// The absolute path of the file, so that it cannot look like one of SQLite's `file:` URIs.
fn absolute_path(config: &SessionConfig) -> Result<PathBuf> {
    if config.path.as_os_str().is_empty() || config.path.as_os_str() == ":memory:" {
        let message = "an in-memory SQLite database cannot be shared by connections";
        return Err(Error::new(ErrorKind::BackendMisconfigured, message)
            .with_hint("Name a file: sqlite:rowgate.db."));
    }
    std::path::absolute(&config.path).map_err(|error| {
        let message = "the working directory does not exist";
        Error::new(ErrorKind::DatabaseUnavailable, message).with_cause(error)
    })
}

fn connect(
    path: &Path,
    config: &SessionConfig,
    role: Role,
    authorizer: &Authorizer,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(config.connect_timeout.min(Duration::from_secs(60)))?;
    write_ahead(&connection, Instant::now() + config.connect_timeout)?;
    // FULL: in WAL mode NORMAL does not sync on commit, and an acknowledged write could be lost with
    // the power.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    if role == Role::Reader {
        connection.execute_batch("PRAGMA query_only = ON")?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    let max_length = i32::try_from(config.max_row_size).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, max_length)?;
    connection.set_prepared_statement_cache_capacity(config.statement_cache);
    connection.authorizer(Some(authorizer.callback()))?;
    Ok(connection)
}

/// Switches the file to a write-ahead log, which lets readers read while the writer writes.
///
/// The mode stays in the file, so usually this only checks it. The switch needs exclusive access, and
/// SQLite fails without calling the busy handler when two connections attempt it at once.
fn write_ahead(connection: &Connection, until: Instant) -> rusqlite::Result<()> {
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
