//! A SQLite connection as its thread sees it: how it is opened, armed for a statement, committed and reset.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::c_int;
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fallible_iterator::FallibleIterator;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Batch, Connection, OpenFlags, Statement, ffi};

use super::authorizer::{Authorizer, Phase};
use super::error::{Origin, Step, several_statements, translate};
use super::figures::Figures;
use super::file::{absolute_path, create_private, write_ahead};
use super::idempotency_table::KeyTable;
use super::interruptible::{Replaced, replace_functions};
use super::open_connections::OpenConnections;
use super::row_channel::RowSender;
use super::stop_check::StopCheck;
use crate::config::ErrorDetails;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CloseReason;

/// The steps of SQLite's virtual machine between two looks at the deadline: some ten microseconds.
const STEPS_BETWEEN_CHECKS: c_int = 1000;

/// The pauses between attempts to get a lock that another process has.
const LOCK_PAUSES_MS: [u64; 5] = [1, 2, 5, 10, 20];

/// The longest text whose compiled statement is cached: the cache is bounded by the number of its statements.
const MAX_CACHED_BYTES: usize = 16 * 1024;

pub(crate) const COMMIT: &str = "COMMIT";

/// The hint of a transaction that ended before its commit.
pub(crate) const ROLLED_BACK: &str = "SQLite has rolled the whole transaction back, as it does when a write is \
    interrupted or the disk is full, for OR ROLLBACK and for RAISE(ROLLBACK). Begin again.";

/// The role of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It reads; SQLite rejects writes on it.
    Reader,
    /// It is the only one that writes.
    Writer,
}

/// The settings that all connections of one database share.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    /// The database's name, for threads and logs.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The largest row or value.
    pub(crate) max_row_size: usize,
    /// The most memory that SQLite may have, of all databases in this process.
    pub(crate) heap_limit: u64,
    pub(crate) statement_cache: usize,
    /// The longest wait for a lock of another process.
    pub(crate) lock_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) details: ErrorDetails,
    pub(crate) keys: KeyTable,
    pub(crate) open_connections: OpenConnections,
    /// The number of callers' statements that began to run.
    pub(crate) statements: AtomicU64,
}

/// An open connection.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) authorizer: Authorizer,
    pub(crate) figures: Figures,
    stop: StopCheck,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) role: Role,
    /// The version of the schema for which it is known if calls may share a commit.
    pub(crate) shared_schema: Cell<Option<(i64, bool)>>,
}

impl Session {
    /// Opens the file, creates it if there is none, and sets the connection up.
    pub(crate) fn open(config: Arc<SessionConfig>, role: Role) -> Result<Self> {
        let authorizer = Authorizer::new();
        let path = absolute_path(&config.path)?;
        let stop = StopCheck::default();
        let (connection, figures) = connect(&path, &config, role, &authorizer)
            .and_then(|(connection, figures)| {
                let replaced = match role {
                    Role::Reader => Replaced::Most,
                    // Its thread cannot be given up.
                    Role::Writer => Replaced::All,
                };
                replace_functions(&connection, replaced, &stop, config.max_row_size)?;
                Ok((connection, figures))
            })
            .map_err(|error| {
                translate(error, &Origin { sql: "", step: Step::Open, details: config.details })
            })?;
        let shared_schema = Cell::new(None);
        Ok(Self { connection, authorizer, figures, stop, config, role, shared_schema })
    }

    /// Makes SQLite look at the call's deadline and cancellation and at `until`, while it works and
    /// while it waits for a lock.
    ///
    /// Each job brings its own callbacks, so a late cancellation cannot reach the next one. They are
    /// inactive in [`Phase::Internal`]: SQLite calls one more time *after* a COMMIT has committed, and would
    /// then report it as interrupted.
    pub(crate) fn arm<T: Send + 'static>(
        &mut self,
        sender: &RowSender<T>,
        until: Instant,
    ) -> Result<()> {
        let watch = sender.watch(until);
        self.stop.set(move || watch.must_stop());
        let watch = sender.watch(until);
        let authorizer = self.authorizer.clone();
        let progress = move || authorizer.phase() != Phase::Internal && watch.must_stop();
        let watch = sender.watch(until);
        let lock_timeout = self.config.lock_timeout;
        let mut lock_deadline = Instant::now();
        let busy = move |attempt: i32| {
            let now = Instant::now();
            if attempt == 0 {
                lock_deadline = now + lock_timeout;
            }
            if now >= lock_deadline || watch.must_stop() {
                return false;
            }
            let attempt = usize::try_from(attempt).unwrap_or(0);
            let pause_ms = LOCK_PAUSES_MS[attempt.min(LOCK_PAUSES_MS.len() - 1)];
            watch.pause(lock_deadline.min(now + Duration::from_millis(pause_ms)));
            true
        };
        self.connection
            .progress_handler(STEPS_BETWEEN_CHECKS, Some(progress))
            .and_then(|()| self.connection.busy_handler(Some(busy)))
            .map_err(|error| self.translate(error, "", Step::Open))
    }

    /// Compiles a statement, or finds it in the cache.
    pub(crate) fn prepare(&self, sql: &str) -> Result<Compiled<'_>> {
        if sql.len() > MAX_CACHED_BYTES {
            return self.prepare_once(sql);
        }
        let text = with_comment_ended(sql);
        let cached = || self.connection.prepare_cached(&text);
        self.compile(sql, || cached().map(|cached| Box::new(cached) as Compiled<'_>))
    }

    /// Compiles a statement, whether it is in the cache or not.
    pub(crate) fn prepare_once(&self, sql: &str) -> Result<Compiled<'_>> {
        let text = with_comment_ended(sql);
        let once = || self.connection.prepare(&text);
        self.compile(sql, || once().map(|once| Box::new(Box::new(once)) as Compiled<'_>))
    }

    /// Compiles a statement; a failure is that of the schema as it is.
    ///
    /// SQLite compiles against the schema that the connection remembers, and looks if that is still the
    /// file's when the statement runs. One that does not compile never runs.
    fn compile<'s>(
        &'s self,
        sql: &str,
        compile: impl Fn() -> rusqlite::Result<Compiled<'s>>,
    ) -> Result<Compiled<'s>> {
        if sql.contains('\0') {
            let message = "the statement contains a NUL character";
            return Err(Error::new(ErrorKind::InvalidSql, message));
        }
        let attempt = || {
            self.authorizer.enter(Phase::Compile);
            if may_be_several(sql) && self.is_several(sql) {
                return Err(several_statements());
            }
            match compile() {
                Err(rusqlite::Error::Empty) => self.compile_nothing(),
                compiled => compiled,
            }
            .map_err(|error| self.translate(error, sql, Step::Compile))
        };
        let compiled = attempt();
        // An open transaction has brought the schema up to date.
        if compiled.is_ok() || !self.connection.is_autocommit() {
            return compiled;
        }
        self.control("BEGIN")?;
        let compiled = self.probe().and_then(|()| attempt());
        self.control("ROLLBACK")?;
        compiled
    }

    /// Compiles what a text without a statement stands for: no parameters, no columns, no effect.
    fn compile_nothing(&self) -> rusqlite::Result<Compiled<'_>> {
        self.authorizer.enter(Phase::Internal);
        // SQLite does nothing for a PRAGMA that it does not know.
        Ok(Box::new(Box::new(self.connection.prepare("PRAGMA rowgate_nothing")?)))
    }

    /// Tells whether a text holds more than one statement.
    ///
    /// The driver checks that too, but by recursion: a long text of short statements would
    /// overflow the stack.
    fn is_several(&self, sql: &str) -> bool {
        let sql = with_comment_ended(sql);
        let mut batch = Batch::new(&self.connection, &sql);
        matches!(batch.next(), Ok(Some(_))) && !matches!(batch.next(), Ok(None))
    }

    /// Translates an error of SQLite's.
    pub(crate) fn translate(&self, error: rusqlite::Error, sql: &str, step: Step) -> Error {
        match self.authorizer.denial() {
            Some(denial) => denial.into(),
            None => translate(error, &Origin { sql, step, details: self.config.details }),
        }
    }

    /// Begins a transaction: the writer's can write from the start, a reader's sees
    /// the database as it is now. Each is as isolated as SERIALIZABLE.
    pub(crate) fn begin(&self) -> Result<()> {
        self.control(match self.role {
            Role::Writer => "BEGIN IMMEDIATE",
            Role::Reader => "BEGIN",
        })?;
        // The first read takes a reader's snapshot, and notices a schema that another connection has changed.
        self.probe()
    }

    /// Checks that the transaction is open. SQLite rolls one back by itself when a write in it is
    /// interrupted or the disk is full, and for ON CONFLICT ROLLBACK; a statement that ran then would be
    /// applied at once.
    pub(crate) fn check_open(&self) -> Result<()> {
        if !self.connection.is_autocommit() {
            return Ok(());
        }
        let message = "the database has rolled the transaction back";
        Err(Error::new(ErrorKind::TransactionAborted, message).with_hint(ROLLED_BACK))
    }

    /// Commits, unless the call was cancelled or its deadline passed. Nothing interrupts the commit itself.
    /// A deferred constraint that is violated fails it; if the file cannot be written, the outcome is unknown.
    pub(crate) fn commit<T>(&self, sender: &RowSender<T>) -> Result<()> {
        self.check_open()?;
        sender.start_commit()?;
        self.execute_internal(COMMIT).map_err(|error| self.translate(error, COMMIT, Step::Commit))
    }

    /// Runs a statement of this server's own, such as BEGIN; it returns no rows.
    pub(crate) fn control(&self, sql: &str) -> Result<()> {
        self.execute_internal(sql).map_err(|error| self.translate(error, sql, Step::Write))
    }

    /// Checks that the open transaction could be committed, and rolls it back.
    ///
    /// Only a COMMIT checks deferred constraints. So this is one, with a hook after these checks that
    /// turns it into a ROLLBACK.
    pub(crate) fn rehearse_commit(&mut self) -> Result<()> {
        let hooked = self.connection.commit_hook(Some(|| true));
        let ended = hooked.and_then(|()| self.execute_internal(COMMIT));
        let unhooked = self.connection.commit_hook(None::<fn() -> bool>);
        ended.and(unhooked).or_else(|error| match error.sqlite_error() {
            Some(hook) if hook.extended_code == ffi::SQLITE_CONSTRAINT_COMMITHOOK => Ok(()),
            _ => Err(self.translate(error, COMMIT, Step::Write)),
        })
    }

    /// The same, with SQLite's own error.
    pub(crate) fn execute_internal(&self, sql: &str) -> rusqlite::Result<()> {
        self.authorizer.enter(Phase::Internal);
        // Not by the cache: a caller's same text would find it there, and nothing would be denied.
        let ran = self.connection.prepare(sql).and_then(|mut control| control.raw_execute());
        self.authorizer.enter(Phase::Run);
        ran.map(drop)
    }

    /// Checks that the database can be read.
    pub(crate) fn probe(&self) -> Result<()> {
        // Reads the first page: an empty or damaged file, and one that is no database, show here.
        let sql = "SELECT 1 FROM sqlite_schema LIMIT 1";
        let mut statement = self.prepare(sql)?;
        self.authorizer.enter(Phase::Run);
        let mut rows = statement.raw_query();
        rows.next().map_err(|error| self.translate(error, sql, Step::Read))?;
        Ok(())
    }

    /// Closes the connection. The last one empties the write-ahead log into the file and removes it.
    pub(crate) fn close(self) {
        let Self { connection, config, .. } = self;
        // One after the other: of two at once neither finds itself to be the last.
        let _alone = config.open_connections.closing();
        drop(connection);
    }

    /// Makes the figures of earlier statements those of a new connection.
    pub(crate) fn set_figures_back(&self) -> Result<()> {
        self.authorizer.enter(Phase::Internal);
        let set_back = self.figures.set_back(&self.connection);
        self.authorizer.enter(Phase::Compile);
        set_back.map_err(|error| self.translate(error, "", Step::Write))
    }

    /// Rolls back whatever the last job left open, and leaves no figures of it. Returns a reason if the connection must be closed.
    pub(crate) fn reset(&self, error: Option<&Error>) -> Option<CloseReason> {
        if !self.connection.is_autocommit() {
            // The next check sees whether it worked.
            drop(self.control("ROLLBACK"));
        }
        self.authorizer.enter(Phase::Compile);
        let open = !self.connection.is_autocommit() || self.connection.is_busy();
        if open || self.set_figures_back().is_err() {
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

/// A compiled statement; it returns to the connection's cache if it came from there.
pub(crate) type Compiled<'connection> =
    Box<dyn DerefMut<Target = Statement<'connection>> + 'connection>;

/// A text whose last comment is ended, if it has just begun. SQLite lets the end of the text end a comment, but takes
/// `/*` alone for two operators.
fn with_comment_ended(sql: &str) -> Cow<'_, str> {
    let trimmed = sql.trim_end();
    if trimmed.ends_with("/*") { format!("{trimmed} */").into() } else { sql.into() }
}

/// Tells whether a text has a semicolon that does not end it. Most have none, and need no closer look.
fn may_be_several(sql: &str) -> bool {
    sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).contains(';')
}

fn connect(
    path: &Path,
    config: &SessionConfig,
    role: Role,
    authorizer: &Authorizer,
) -> rusqlite::Result<(Connection, Figures)> {
    // SQLite tells why a file cannot be opened.
    drop(create_private(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(config.connect_timeout.min(Duration::from_secs(60)))?;
    write_ahead(&connection, Instant::now() + config.connect_timeout)?;
    // FULL: in WAL mode NORMAL does not sync on commit, and an acknowledged write could be lost with
    // the power.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    match role {
        Role::Reader => connection.execute_batch("PRAGMA query_only = ON")?,
        Role::Writer => Figures::prepare_writer(&connection)?,
    }
    let figures = Figures::new(&connection)?;
    // SQLite never raises it again: the smallest of all databases applies.
    connection.execute_batch(&format!("PRAGMA hard_heap_limit = {}", config.heap_limit))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    let max_length = i32::try_from(config.max_row_size).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, max_length)?;
    connection.set_prepared_statement_cache_capacity(config.statement_cache);
    connection.authorizer(Some(authorizer.callback()))?;
    Ok((connection, figures))
}
