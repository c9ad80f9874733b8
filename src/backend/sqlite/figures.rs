//! The figures that a connection keeps of its statements: `last_insert_rowid`, `changes`, `total_changes`.
//!
//! A caller's text may not ask for them, but views and triggers may. So they are set back after each
//! caller, as if the connection were new.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// A temporary table that the authorizer keeps callers from. A row is put into it for its row ID, 0, and then
/// none is changed.
const CREATE: &str = "CREATE TEMP TABLE \"rowgate figures\" (n INTEGER PRIMARY KEY)";
const SET_BACK: &str = "REPLACE INTO temp.\"rowgate figures\" VALUES (0); \
    UPDATE temp.\"rowgate figures\" SET n = 0 WHERE n = 1";

/// The figures of one connection.
pub(crate) struct Figures {
    /// The connection's `total_changes` when the present caller began.
    earlier_changes: Cell<u64>,
    /// The answer of `total_changes()`.
    total_changes: Arc<AtomicU64>,
}

impl Figures {
    /// Takes over `total_changes()`, which nothing sets back.
    pub(crate) fn new(connection: &Connection) -> rusqlite::Result<Self> {
        let total_changes = Arc::<AtomicU64>::default();
        let told = Arc::clone(&total_changes);
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function("total_changes", 0, flags, move |_| {
            Ok(i64::try_from(told.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
        })?;
        Ok(Self { earlier_changes: Cell::new(connection.total_changes()), total_changes })
    }

    /// Creates what a connection that writes needs for setting them back.
    pub(crate) fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(CREATE)
    }

    /// Counts the changes before a statement of the present caller's.
    pub(crate) fn count(&self, connection: &Connection) {
        let own = connection.total_changes().saturating_sub(self.earlier_changes.get());
        self.total_changes.store(own, Ordering::Relaxed);
    }

    /// Sets the figures back for the next caller.
    pub(crate) fn set_back(&self, connection: &Connection) -> rusqlite::Result<()> {
        if connection.last_insert_rowid() != 0 || connection.changes() != 0 {
            connection.execute_batch(SET_BACK)?;
        }
        self.earlier_changes.set(connection.total_changes());
        self.count(connection);
        Ok(())
    }
}
