//! The parts that all sessions of one database share.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;

use super::claim_keys::ClaimKeys;
use super::custom_settings::FunctionSettings;
use super::effects::EffectCache;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::idempotency_table::KeyTable;
use crate::backend::postgres::connection::opener::Opener;
use crate::config::ErrorDetails;
use crate::pool::{CloseReason, Pool, PoolAdmin};

/// The parts that all sessions of one database share.
pub(crate) struct DatabaseContext {
    pub(crate) name: String,
    pub(crate) error_details: ErrorDetails,
    /// The number of sessions that were reset.
    pub(crate) resets: AtomicU64,
    /// The number of callers' statements that were sent.
    pub(crate) statements: AtomicU64,
    pub(crate) effects: EffectCache,
    pub(crate) custom_settings: FunctionSettings,
    /// The key that signs claims of callers, if they have any.
    pub(crate) claim_keys: Option<ClaimKeys>,
    /// The table of idempotency keys, as it is configured.
    pub(crate) key_table: KeyTable,
    /// Opens connections, for the pool and beside it.
    pub(crate) opener: Opener,
    pub(crate) pool: Pool<Opener>,
    pub(crate) last_failover: Mutex<Option<Instant>>,
}

impl DatabaseContext {
    /// Has every connection prepare its statements anew, and every effect queried again: definitions may
    /// have changed.
    pub(crate) fn definitions_changed(&self) {
        self.opener.statements.definitions.change();
        self.effects.forget();
        self.custom_settings.forget();
    }

    /// Flushes the pool after one connection has found that its server has changed its role: the others
    /// lead there too.
    pub(crate) fn fail_over(&self, changed: &Connection) {
        let mut last = self.last_failover.lock();
        // The connections of that time were flushed already, and this is one of them.
        if last.is_some_and(|last| changed.opened_at < last) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        let role = changed.protocol.session_attrs().to_string();
        let server = changed.protocol.address().map(ToString::to_string);
        tracing::warn!(database = %self.name, server, role, "the server has changed its role");
        self.pool.flush(CloseReason::Failover);
        // If no server has had the right role so far, another may have it by now.
        self.opener.breaker.probe_now();
    }
}
