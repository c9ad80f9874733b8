//! Resets a connection before the next caller gets it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::checkin::{Checkin, Disposition};
use super::database_context::DatabaseContext;
use super::effects::SessionEffect;
use crate::backend::cancel::Cancel;
use crate::backend::postgres::connect::capabilities::{Ability, Expected, Probe};
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::cancel_target::CancelTarget;
use crate::backend::postgres::connection::opener::Opener;
use crate::backend::postgres::protocol::simple_query::rows;
use crate::planted_bug::PlantedBug;
use crate::pool::{Checkout, CloseReason};
use crate::sql::CustomSettings;

/// The time a reset may take before the connection is closed instead.
pub(crate) const RESET_LIMIT: Duration = Duration::from_secs(5);
/// The time a cancelled statement may take to end: PostgreSQL forgets a cancel that comes before the
/// statement does, and one that fills a set of rows has been seen to ignore any. Then the end of the
/// connection must stop it, which else keeps its locks.
const CANCEL_LIMIT: Duration = Duration::from_millis(600);
/// The part of an unwanted result that is read to its end, in bytes: the rows that a client did not take
/// may be megabytes, on every connection at once.
const UNWANTED: NonZeroU64 = NonZeroU64::new(256 << 10).expect("it is not zero");
/// Removes everything that a statement can leave in a session, except the driver's own prepared
/// statements; also the state of `random()` and the replication origin, which no RESET knows.
///
/// The last row tells the names of the statements that are left, and whether something may be left that only
/// the end of the connection removes: a temporary replication slot, or what C code remembers in the session:
/// connections of dblink and postgres_fdw, the globals of PL/Perl and PL/Python. Only of the extensions
/// listed is it known that a reset removes all that they leave.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; \
    SELECT pg_catalog.setseed(pg_catalog.hashtext(pg_catalog.gen_random_uuid()::pg_catalog.text) \
    OPERATOR(pg_catalog./) 2147483648.0); \
    DO $rowgate$ DECLARE prepared pg_catalog.text; BEGIN \
    FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP \
    EXECUTE pg_catalog.format('DEALLOCATE %I', prepared); END LOOP; \
    IF pg_catalog.has_function_privilege( \
    'pg_catalog.pg_replication_origin_session_is_setup()', 'EXECUTE') THEN \
    IF pg_catalog.pg_replication_origin_session_is_setup() THEN \
    PERFORM pg_catalog.pg_replication_origin_session_reset(); END IF; END IF; END $rowgate$; \
    SELECT pg_catalog.string_agg(name, ' '), \
    EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE temporary \
    AND active_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) \
    OR EXISTS (SELECT FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.>=) 16384 \
    AND p.prolang OPERATOR(pg_catalog.=) 13 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d \
    JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid \
    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
    AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' \
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass \
    AND e.extname OPERATOR(pg_catalog.=) ANY ('{adminpack, amcheck, bloom, btree_gin, btree_gist, \
    citext, cube, dict_int, dict_xsyn, earthdistance, file_fdw, fuzzystrmatch, hstore, intagg, \
    intarray, lo, ltree, moddatetime, pageinspect, pg_buffercache, pg_freespacemap, pg_prewarm, \
    pg_stat_statements, pg_trgm, pg_visibility, pgcrypto, pgrowlocks, pgstattuple, postgis, seg, \
    sslinfo, tablefunc, unaccent, uuid-ossp, vector, xml2}'))) \
    FROM pg_catalog.pg_prepared_statements";

/// The question that shows whether a session can be reset.
pub(crate) fn probe() -> Probe {
    Probe::new(Ability::Reset, RESET, Expected::Answered)
}

/// A checked-out connection, and the means to cancel its statements.
pub(crate) struct SessionConnection {
    pub(crate) checkout: Checkout<Opener>,
    pub(crate) cancel: Cancel<CancelTarget>,
}

/// Resets a connection, off the caller's path. Dropped before it is done, closes it.
pub(crate) struct SessionReset {
    pub(crate) connection: Option<SessionConnection>,
    pub(crate) database: Arc<DatabaseContext>,
    /// True if a request may be unanswered.
    pub(crate) is_busy: bool,
    pub(crate) checkin: Checkin,
    pub(crate) custom_settings: CustomSettings,
}

impl SessionReset {
    /// Resets the connection and checks it in, or closes it.
    pub(crate) async fn run(mut self) {
        let reset = tokio::time::timeout(RESET_LIMIT, self.reset_and_check()).await;
        let Ok(Some(has_changed_role)) = reset else { return };
        let idle = self.connection.take_if(|own| own.checkout.protocol.is_idle());
        let Some(SessionConnection { checkout, .. }) = idle else { return };
        if has_changed_role {
            self.database.fail_over(&checkout);
            checkout.discard(CloseReason::Failover);
        }
    }

    /// Resets the session, then tells whether its server has changed its role: before, it may have been
    /// the caller who made the session read-only.
    async fn reset_and_check(&mut self) -> Option<bool> {
        self.reset().await?;
        let connection = &self.connection.as_ref()?.checkout;
        if self.checkin.disposition == Disposition::CheckRole {
            return connection.check_changed_role().await.ok();
        }
        Some(connection.has_changed_role())
    }

    /// Resets the session; `None` if it cannot be used any more.
    async fn reset(&mut self) -> Option<()> {
        let SessionConnection { checkout, cancel } = self.connection.as_mut()?;
        let stopped =
            if self.is_busy { stop(checkout, cancel).await } else { cancel.settled().await };
        if !stopped {
            return None;
        }
        checkout.protocol.quiesce().await;
        if checkout.protocol.in_transaction() {
            checkout.client.batch_execute("ROLLBACK").await.ok()?;
        }
        let effect = self.checkin.effect;
        if effect < SessionEffect::Anything || PlantedBug::KeptSession.is_planted() {
            if effect == SessionEffect::Sequences {
                checkout.has_drawn();
            }
            return Some(());
        }
        if !checkout.capabilities.has(Ability::Reset) {
            return None;
        }
        let messages = checkout.client.simple_query(RESET).await.ok()?;
        self.database.resets.fetch_add(1, Relaxed);
        let last = rows(&messages).last()?;
        // Some were deallocated without a command tag that tells, perhaps the driver's own among them.
        let has_all = checkout.has_all_statements(last.get(0).unwrap_or_default());
        let is_clean = last.get(1) == Some("f");
        if !has_all || !is_clean {
            return None;
        }
        let settings = &self.database.custom_settings;
        // A pooler keeps its connection to the server.
        let ends = !checkout.protocol.is_behind_pooler();
        if ends && settings.are_left_in(checkout, &self.custom_settings).await.ok()? {
            settings.tell(&self.database.name);
            return None;
        }
        if !checkout.settings.is_empty() {
            checkout.client.batch_execute(&checkout.settings).await.ok()?;
        }
        checkout.sequences_drawn = false;
        Some(())
    }
}

/// Cancels the statement that runs and waits for its answer; returns true when it has come. A commit is
/// only waited for.
async fn stop(connection: &Connection, cancel: &mut Cancel<CancelTarget>) -> bool {
    cancel.send();
    if connection.protocol.is_copying() {
        // The server waits for our data; after the cancel it sees the end of the connection.
        cancel.settled().await;
        return false;
    }
    let limit = if cancel.is_pending() { CANCEL_LIMIT } else { RESET_LIMIT };
    connection.protocol.limit_discarded(Some(UNWANTED));
    // This request is behind all that are still queued: once it is answered, so are they.
    let answered = cancel.repeat_until(connection.client.check_connection());
    let stopped = tokio::time::timeout(limit, answered).await.is_ok();
    connection.protocol.limit_discarded(None);
    stopped && cancel.settled().await
}

impl Drop for SessionReset {
    fn drop(&mut self) {
        if self.is_busy && self.checkin.changes_definitions {
            // The statement, or its commit, had not ended when the session did.
            self.database.definitions_changed();
        }
        if let Some(SessionConnection { checkout, .. }) = self.connection.take() {
            checkout.discard(CloseReason::Dirty);
        }
    }
}
