//! The parts that all sessions of one database share.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;

use super::catalog::Catalog;
use crate::backend::mysql::commit_marks::CommitMarks;
use crate::backend::mysql::connection::Connection;
use crate::backend::mysql::connection::mysql_opener::Opener;
use crate::backend::mysql::key_rows::KeyRows;
use crate::backend::network::ServerAddress;
use crate::config::ErrorDetails;
use crate::pool::{CloseReason, Pool, PoolAdmin};

/// The parts that all sessions of one database share.
pub(crate) struct MysqlContext {
    pub(crate) name: String,
    pub(crate) error_details: ErrorDetails,
    /// The number of sessions that were reset.
    pub(crate) resets: AtomicU64,
    /// The number of callers' statements that were sent.
    pub(crate) statements: AtomicU64,
    pub(crate) catalog: Catalog,
    /// The seconds by which the clock of its sessions is ahead of UTC.
    pub(crate) ahead_of_utc: i32,
    /// Statements of a batch are sent together.
    pub(crate) is_pipelined: bool,
    /// The table of idempotency keys, and of the marks of commits.
    pub(crate) keys: KeyRows,
    pub(crate) marks: CommitMarks,
    /// Opens connections, for the pool and beside it.
    pub(crate) opener: Opener,
    pub(crate) pool: Pool<Opener>,
    pub(crate) last_failover: Mutex<Option<Instant>>,
}

impl MysqlContext {
    /// Has every connection prepare its statements anew, and every table looked up again.
    pub(crate) fn definitions_changed(&self) {
        self.opener.statements.definitions.change();
        self.catalog.forget();
    }

    /// Flushes the pool after one connection has found that its server takes no writes any more.
    pub(crate) fn fail_over(&self, changed: &Connection) {
        let mut last = self.last_failover.lock();
        // The connections of that time were flushed already, and this is one of them.
        if last.is_some_and(|last| changed.opened_at < last) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        self.leave(&changed.state.address);
        self.opener.breaker.probe_now();
    }

    /// Flushes the pool if a connection that was being opened has found such a server.
    pub(crate) fn leave_changed_server(&self) {
        if let Some(address) = self.opener.connector.writable.take_changed() {
            *self.last_failover.lock() = Some(Instant::now());
            self.leave(&address);
        }
    }

    fn leave(&self, address: &ServerAddress) {
        self.opener.connector.writable.forget(address);
        let server = address.to_string();
        tracing::warn!(database = %self.name, server, "the server takes no writes any more");
        self.pool.flush(CloseReason::Failover);
    }
}
