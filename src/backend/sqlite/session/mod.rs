//! One SQLite connection, as its thread sees it: how it is opened, armed for a statement, cleaned.

pub(crate) mod authorizer;

use std::ffi::c_int;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fallible_iterator::FallibleIterator;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Batch, CachedStatement, Connection, OpenFlags, Statement, ffi};

use super::error::{Origin, Step, several_statements, translate};
use super::idempotency::KeyTable;
use super::open_connections::OpenConnections;
use super::row_channel::RowSender;
use crate::config::ErrorDetails;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CloseReason;
use authorizer::{Authorizer, Phase};

/// Steps of SQLite's virtual machine between two looks at the deadline: some ten microseconds.
const STEPS_BETWEEN_CHECKS: c_int = 1000;

/// Pauses between two tries for a lock that another process holds.
const LOCK_PAUSES: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
];

/// The longest text whose compiled statement is kept: memory is bounded by the number kept.
const LONGEST_KEPT: usize = 16 * 1024;

const COMMIT: &str = "COMMIT";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It reads; SQLite refuses writes on it.
    Reader,
    /// It is the only one that writes.
    Writer,
}

/// What every connection of one database has in common.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The database's name, for threads and logs.
    pub(crate) name: String,
    /// Its file.
    pub(crate) path: PathBuf,
    /// The largest row or value.
    pub(crate) max_row_size: usize,
    /// Prepared statements kept.
    pub(crate) statement_cache: usize,
    /// The longest wait for a lock of another process.
    pub(crate) lock_timeout: Duration,
    /// The longest time that a statement may take.
    pub(crate) statement_timeout: Duration,
    /// The longest time that opening may take.
    pub(crate) connect_timeout: Duration,
    /// What errors may quote.
    pub(crate) details: ErrorDetails,
    /// Where idempotency keys are kept.
    pub(crate) keys: KeyTable,
    /// The connections that are open.
    pub(crate) presence: OpenConnections,
}

/// An open connection.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) guard: Authorizer,
    pub(crate) spec: Arc<Spec>,
    pub(crate) role: Role,
}

impl Session {
    /// Opens the file, creates it if there is none, and sets the connection up.
    ///
    /// # Errors
    /// Why it cannot be opened, or is no database.
    pub(crate) fn open(spec: Arc<Spec>, role: Role) -> Result<Self> {
        let guard = Authorizer::new();
        let mut connection = connect(&spec)?;
        set_up(&mut connection, &spec, role, &guard).map_err(|error| {
            let origin = Origin { sql: "", step: Step::Open, details: spec.details };
            translate(error, &origin)
        })?;
        Ok(Self { connection, guard, spec, role })
    }

    /// Makes SQLite look at the call's deadline and cancellation and at `until`, while it works and
    /// while it waits for a lock.
    ///
    /// Each job brings its own callbacks, so a late cancellation cannot reach the next one. They are
    /// silent in [`Phase::Own`]: SQLite asks once more *after* a COMMIT has committed, and would then
    /// report it as interrupted.
    ///
    /// # Errors
    /// When SQLite is out of memory.
    pub(crate) fn arm<T: Send + 'static>(
        &mut self,
        outlet: &RowSender<T>,
        until: Instant,
    ) -> Result<()> {
        let (watch, guard) = (outlet.watch(until), self.guard.clone());
        let progress = move || guard.phase() != Phase::Own && watch.check().is_some();
        let watch = outlet.watch(until);
        let patience = self.spec.lock_timeout;
        let mut give_up = Instant::now();
        let busy = move |tries: i32| {
            let now = Instant::now();
            if tries == 0 {
                give_up = now + patience;
            }
            if now >= give_up || watch.check().is_some() {
                return false;
            }
            let tries = usize::try_from(tries).unwrap_or(0);
            let pause = LOCK_PAUSES[tries.min(LOCK_PAUSES.len() - 1)];
            watch.pause(give_up.min(now + pause));
            true
        };
        self.connection
            .progress_handler(STEPS_BETWEEN_CHECKS, Some(progress))
            .and_then(|()| self.connection.busy_handler(Some(busy)))
            .map_err(|error| self.failed(error, "", Step::Open))
    }

    /// Compiles a statement, or finds it compiled.
    ///
    /// # Errors
    /// When the text is not one statement that SQLite accepts and that may run here.
    pub(crate) fn prepare(&self, sql: &str) -> Result<Compiled<'_>> {
        if sql.contains('\0') {
            let message = "the statement contains a NUL character";
            return Err(Error::new(ErrorKind::InvalidSql, message));
        }
        self.guard.enter(Phase::Compile);
        if may_be_several(sql) && self.is_several(sql) {
            return Err(several_statements());
        }
        let compiled = if sql.len() <= LONGEST_KEPT {
            self.connection.prepare_cached(sql).map(Compiled::Kept)
        } else {
            self.connection.prepare(sql).map(Compiled::Once)
        };
        compiled.map_err(|error| self.failed(error, sql, Step::Compile))
    }

    /// Whether a text holds more than one statement.
    ///
    /// The driver finds that out too, but by recursion: a long text of short statements would
    /// overflow the stack.
    fn is_several(&self, sql: &str) -> bool {
        let mut batch = Batch::new(&self.connection, sql);
        matches!(batch.next(), Ok(Some(_))) && !matches!(batch.next(), Ok(None))
    }

    /// Runs a statement of this server's own, such as BEGIN; it returns no rows.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(crate) fn control(&self, sql: &str) -> Result<()> {
        self.own(sql).map_err(|error| self.failed(error, sql, Step::Write))
    }

    /// Commits the open transaction. Nothing interrupts that.
    ///
    /// # Errors
    /// Why it is not committed; of a file that cannot be written it is not known.
    pub(crate) fn commit_now(&self) -> Result<()> {
        self.own(COMMIT).map_err(|error| self.failed(error, COMMIT, Step::Commit))
    }

    /// Sees whether the open transaction could be committed; then it is rolled back.
    ///
    /// Only a COMMIT checks deferred constraints. So this is one, with a hook behind these checks that
    /// turns it into a ROLLBACK.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) fn rehearse_commit(&mut self) -> Result<()> {
        let hooked = self.connection.commit_hook(Some(|| true));
        let ended = hooked.and_then(|()| self.own(COMMIT));
        let unhooked = self.connection.commit_hook(None::<fn() -> bool>);
        let rolled_back = |error: &rusqlite::Error| {
            error
                .sqlite_error()
                .is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_COMMITHOOK)
        };
        match ended.and(unhooked) {
            Err(error) if !rolled_back(&error) => Err(self.failed(error, COMMIT, Step::Write)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn own(&self, sql: &str) -> rusqlite::Result<()> {
        self.guard.enter(Phase::Own);
        let ran = self.connection.prepare_cached(sql).and_then(|mut own| own.raw_execute());
        self.guard.enter(Phase::Run);
        ran.map(drop)
    }

    /// An error of SQLite's, in this server's words.
    pub(crate) fn failed(&self, error: rusqlite::Error, sql: &str, step: Step) -> Error {
        match self.guard.refusal() {
            Some(refusal) => refusal.into(),
            None => translate(error, &Origin { sql, step, details: self.spec.details }),
        }
    }

    /// Closes the connection. The last one empties the write-ahead log into the file and removes it.
    pub(crate) fn close(self) {
        let Self { connection, spec, .. } = self;
        // One after the other: of two at once neither finds itself to be the last.
        let _alone = spec.presence.closing();
        drop(connection);
    }

    /// Leaves nothing of the last job behind. Says why the connection must be closed, if it must.
    pub(crate) fn clean(&self, error: Option<&Error>) -> Option<CloseReason> {
        if !self.connection.is_autocommit() {
            // What matters is whether it worked, which the next line asks.
            drop(self.control("ROLLBACK"));
        }
        self.guard.enter(Phase::Compile);
        if !self.connection.is_autocommit() || self.connection.is_busy() {
            return Some(CloseReason::Dirty);
        }
        let broken = [
            ErrorKind::DataLoss,
            ErrorKind::DatabaseInternal,
            ErrorKind::DatabaseUnavailable,
            ErrorKind::Internal,
        ];
        error.filter(|error| broken.contains(&error.kind())).map(|_broken| CloseReason::Broken)
    }
}

/// A compiled statement.
pub(crate) enum Compiled<'connection> {
    /// Goes back to the connection's cache.
    Kept(CachedStatement<'connection>),
    /// Used once.
    Once(Statement<'connection>),
}

impl<'connection> Deref for Compiled<'connection> {
    type Target = Statement<'connection>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Kept(statement) => statement,
            Self::Once(statement) => statement,
        }
    }
}

impl DerefMut for Compiled<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Kept(statement) => statement,
            Self::Once(statement) => statement,
        }
    }
}

/// Whether a text has a semicolon that does not end it. Most have none, and need no closer look.
fn may_be_several(sql: &str) -> bool {
    sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).contains(';')
}

fn connect(spec: &Spec) -> Result<Connection> {
    if spec.path.as_os_str().is_empty() || spec.path.as_os_str() == ":memory:" {
        let message = "an in-memory SQLite database cannot be shared by connections";
        return Err(Error::new(ErrorKind::BackendMisconfigured, message)
            .with_hint("Name a file: sqlite:rowgate.db."));
    }
    // Absolute, so that no path looks like one of SQLite's `file:` URIs.
    let path = std::path::absolute(&spec.path).map_err(|error| {
        Error::new(ErrorKind::DatabaseUnavailable, "the working directory is gone")
            .with_cause(error)
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|error| {
        translate(error, &Origin { sql: "", step: Step::Open, details: spec.details })
    })
}

fn set_up(
    connection: &mut Connection,
    spec: &Spec,
    role: Role,
    guard: &Authorizer,
) -> rusqlite::Result<()> {
    connection.busy_timeout(spec.connect_timeout.min(Duration::from_secs(60)))?;
    write_ahead(connection, Instant::now() + spec.connect_timeout)?;
    // FULL: in WAL mode NORMAL does not sync on commit, and an acknowledged write could be lost with
    // the power.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    match role {
        Role::Reader => connection.execute_batch("PRAGMA query_only = ON")?,
        Role::Writer => {}
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    let longest = i32::try_from(spec.max_row_size).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest)?;
    connection.set_prepared_statement_cache_capacity(spec.statement_cache);
    connection.authorizer(Some(guard.authorizer()))
}

/// Switches the file to a write-ahead log, which lets readers read while the writer writes.
///
/// It stays in the file, so mostly this only looks. The switch itself needs the file for itself, and
/// SQLite gives up on that without asking the busy handler when two connections try at once.
fn write_ahead(connection: &Connection, until: Instant) -> rusqlite::Result<()> {
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Ok(());
    }
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match mode {
            Ok(mode) => {
                let mode: String = mode;
                if mode != "wal" {
                    tracing::warn!(%mode, "no write-ahead log: readers and the writer wait for each other");
                }
                return Ok(());
            }
            Err(error) if is_busy(&error) && Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}
