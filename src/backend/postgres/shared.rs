//! What all connections to one database have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;

use super::connect::Connector;
use super::connection::{Connection, Opener};
use super::keys::KeyTable;
use super::trace::Verdicts;
use crate::config::ErrorDetails;
use crate::pool::{CloseReason, Control, Pool};

/// What leases share.
pub(super) struct Shared {
    pub(super) database: String,
    pub(super) connector: Arc<Connector>,
    pub(super) details: ErrorDetails,
    pub(super) resets: AtomicU64,
    pub(super) verdicts: Verdicts,
    pub(super) keys: KeyTable,
    /// Opens connections that are not the pool's.
    pub(super) opener: Opener,
    /// The pool, of which all is given up when one connection finds itself on the wrong server.
    pub(super) pool: Pool<Opener>,
    /// When it last failed over.
    pub(super) failed_over: Mutex<Option<Instant>>,
}

impl Shared {
    /// A connection has found that its server is not any more what it was: what is open leads there too.
    pub(super) fn fail_over(&self, departed: &Connection) {
        let mut last = self.failed_over.lock();
        // What was open then is given up already, and this is of it.
        if last.is_some_and(|last| departed.opened < last) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        let role = departed.wire.role().to_string();
        let server = departed.wire.peer().map(ToString::to_string);
        tracing::warn!(database = %self.database, server, role, "the server has changed its role");
        self.pool.flush(CloseReason::Failover);
        // Should no server have been right so far, another may be by now.
        self.opener.gate.hurry();
    }
}
