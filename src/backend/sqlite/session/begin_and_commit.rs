//! The transactions of a session.

use rusqlite::ffi;

use super::{Role, Session};
use crate::backend::sqlite::authorizer::Phase;
use crate::backend::sqlite::error::Step;
use crate::backend::sqlite::row_channel::RowSender;
use crate::error::{Error, ErrorKind, Result};

const COMMIT: &str = "COMMIT";

/// The hint of a transaction that ended before its commit.
pub(crate) const ROLLED_BACK: &str = "SQLite has rolled the whole transaction back, as it does when a write is \
    interrupted or the disk is full, for OR ROLLBACK and for RAISE(ROLLBACK). Begin again.";

impl Session {
    /// Begins a transaction: the writer's can write from the start, a reader's sees
    /// the database as it is now. Each is as isolated as SERIALIZABLE.
    pub(crate) fn begin(&self) -> Result<()> {
        match self.role {
            Role::Writer => self.control("BEGIN IMMEDIATE"),
            Role::Reader => {
                self.control("BEGIN")?;
                // The first read takes the snapshot.
                self.probe()
            }
        }
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
    ///
    /// # Errors
    /// A violated constraint that was deferred, for example: nothing was applied. If the file cannot be written,
    /// the outcome is unknown.
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
        let rolled_back = |error: &rusqlite::Error| {
            error
                .sqlite_error()
                .is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_COMMITHOOK)
        };
        match ended.and(unhooked) {
            Err(error) if !rolled_back(&error) => Err(self.translate(error, COMMIT, Step::Write)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn execute_internal(&self, sql: &str) -> rusqlite::Result<()> {
        self.authorizer.enter(Phase::Internal);
        let ran = self.connection.prepare_cached(sql).and_then(|mut control| control.raw_execute());
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
}
