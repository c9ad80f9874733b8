//! A SQLite connection as its thread sees it: how it is opened, armed for a statement and reset.

pub(crate) mod begin_and_commit;
mod setup;

use std::ffi::c_int;
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection, Statement};

use super::authorizer::{Authorizer, Phase};
use super::error::{Origin, Step, several_statements, translate};
use super::idempotency_table::KeyTable;
use super::open_connections::OpenConnections;
use super::row_channel::RowSender;
use crate::config::ErrorDetails;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CloseReason;

/// The steps of SQLite's virtual machine between two looks at the deadline: some ten microseconds.
const STEPS_BETWEEN_CHECKS: c_int = 1000;

/// The pauses between attempts to get a lock that another process has.
const LOCK_PAUSES_MS: [u64; 5] = [1, 2, 5, 10, 20];

/// The longest text whose compiled statement is cached: the cache is bounded by the number of its statements.
const MAX_CACHED_BYTES: usize = 16 * 1024;

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
    pub(crate) statement_cache: usize,
    /// The longest wait for a lock of another process.
    pub(crate) lock_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) details: ErrorDetails,
    pub(crate) keys: KeyTable,
    pub(crate) open_connections: OpenConnections,
}

/// An open connection.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) authorizer: Authorizer,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) role: Role,
}

impl Session {
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
        if sql.contains('\0') {
            let message = "the statement contains a NUL character";
            return Err(Error::new(ErrorKind::InvalidSql, message));
        }
        self.authorizer.enter(Phase::Compile);
        if may_be_several(sql) && self.is_several(sql) {
            return Err(several_statements());
        }
        let compiled = if sql.len() <= MAX_CACHED_BYTES {
            self.connection.prepare_cached(sql).map(|cached| Box::new(cached) as Compiled<'_>)
        } else {
            self.connection.prepare(sql).map(|once| Box::new(Box::new(once)) as Compiled<'_>)
        };
        compiled.map_err(|error| self.translate(error, sql, Step::Compile))
    }

    /// Tells whether a text holds more than one statement.
    ///
    /// The driver checks that too, but by recursion: a long text of short statements would
    /// overflow the stack.
    fn is_several(&self, sql: &str) -> bool {
        let mut batch = Batch::new(&self.connection, sql);
        matches!(batch.next(), Ok(Some(_))) && !matches!(batch.next(), Ok(None))
    }

    /// Translates an error of SQLite's.
    pub(crate) fn translate(&self, error: rusqlite::Error, sql: &str, step: Step) -> Error {
        match self.authorizer.denial() {
            Some(denial) => denial.into(),
            None => translate(error, &Origin { sql, step, details: self.config.details }),
        }
    }

    /// Closes the connection. The last one empties the write-ahead log into the file and removes it.
    pub(crate) fn close(self) {
        let Self { connection, config, .. } = self;
        // One after the other: of two at once neither finds itself to be the last.
        let _alone = config.open_connections.closing();
        drop(connection);
    }

    /// Rolls back whatever the last job left open. Returns a reason if the connection must be closed.
    pub(crate) fn reset(&self, error: Option<&Error>) -> Option<CloseReason> {
        if !self.connection.is_autocommit() {
            // The next check sees whether it worked.
            drop(self.control("ROLLBACK"));
        }
        self.authorizer.enter(Phase::Compile);
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

/// A compiled statement; it returns to the connection's cache if it came from there.
pub(crate) type Compiled<'connection> =
    Box<dyn DerefMut<Target = Statement<'connection>> + 'connection>;

/// Tells whether a text has a semicolon that does not end it. Most have none, and need no closer look.
fn may_be_several(sql: &str) -> bool {
    sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).contains(';')
}
