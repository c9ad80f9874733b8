//! What all connections to one database have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;

use super::effects::EffectCache;
use crate::backend::postgres::connect::Connector;
use crate::backend::postgres::connection::{Connection, Opener};
use crate::backend::postgres::idempotency::key_table::KeyTable;
use crate::config::ErrorDetails;
use crate::pool::{CloseReason, Pool, PoolAdmin};

/// What sessions share.
pub(crate) struct DatabaseContext {
    pub(crate) database: String,
    pub(crate) connector: Arc<Connector>,
    pub(crate) details: ErrorDetails,
    pub(crate) resets: AtomicU64,
    pub(crate) verdicts: EffectCache,
    pub(crate) keys: KeyTable,
    /// Opens connections that are not the pool's.
    pub(crate) opener: Opener,
    /// The pool, of which all is given up when one connection finds itself on the wrong server.
    pub(crate) pool: Pool<Opener>,
    /// When it last failed over.
    pub(crate) failed_over: Mutex<Option<Instant>>,
}

impl DatabaseContext {
    /// A connection has found that its server is not any more what it was: what is open leads there too.
    pub(crate) fn fail_over(&self, departed: &Connection) {
        let mut last = self.failed_over.lock();
        // What was open then is given up already, and this is of it.
        if last.is_some_and(|last| departed.opened < last) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        let role = departed.wire.session_attrs().to_string();
        let server = departed.wire.address().map(ToString::to_string);
        tracing::warn!(database = %self.database, server, role, "the server has changed its role");
        self.pool.flush(CloseReason::Failover);
        // Should no server have been right so far, another may be by now.
        self.opener.breaker.probe_now();
    }
}
