//! What is done to a connection before the next caller gets it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::database::DatabaseContext;
use super::effects::SessionEffect;
use crate::backend::postgres::connection::cancel::Cancel;
use crate::backend::postgres::connection::pipeline::rows;
use crate::backend::postgres::connection::{Connection, Opener};
use crate::planted_bug::PlantedBug;
use crate::pool::{Checkout, CloseReason};

/// How long cleaning may take before the connection is closed instead.
pub(crate) const CLEANING_LIMIT: Duration = Duration::from_secs(5);
/// How long a statement may go on that was cancelled: PostgreSQL forgets a cancel that comes before the
/// statement does, and one that fills a set of rows has been seen not to hear any. Then the end of the
/// connection must stop it, which else keeps its locks.
const STOPPING_LIMIT: Duration = Duration::from_millis(600);
/// How much of an unwanted result is read to its end, in bytes: what a client did not take may be
/// megabytes of it, of rows of few bytes, on every connection at once.
const UNWANTED: NonZeroU64 = NonZeroU64::new(256 << 10).expect("it is not zero");
/// Everything a statement can leave in a session, but prepared statements of the driver's own; also the
/// state of `random()`, which no RESET knows.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; \
    SELECT pg_catalog.setseed(pg_catalog.hashtext(pg_catalog.gen_random_uuid()::text) / 2147483648.0); \
    DO $rowgate$ DECLARE prepared text; BEGIN \
    FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP \
    EXECUTE pg_catalog.format('DEALLOCATE %I', prepared); END LOOP; END $rowgate$; \
    SELECT pg_catalog.string_agg(name, ' ') FROM pg_catalog.pg_prepared_statements";

/// Brings a connection back to its baseline, off the caller's path; dropped before it is done, closes it.
pub(crate) struct SessionReset {
    pub(crate) checkout: Option<Checkout<Opener>>,
    pub(crate) shared: Arc<DatabaseContext>,
    pub(crate) cancel: Cancel,
    pub(crate) trace: SessionEffect,
    /// Whether the server may not be any more what it was.
    pub(crate) is_suspect: bool,
}

impl SessionReset {
    /// Gives the connection back clean, or closes it.
    pub(crate) async fn clean(mut self, busy: bool) {
        let restored = tokio::time::timeout(CLEANING_LIMIT, self.restore(busy)).await;
        let departed = match restored {
            Ok(Some(departed)) if self.checkout.as_ref().is_some_and(|own| own.wire.is_idle()) => {
                departed
            }
            Ok(_) | Err(_) => return,
        };
        let Some(checkout) = self.checkout.take() else { return };
        if departed {
            self.shared.fail_over(&checkout);
            checkout.discard(CloseReason::Failover);
        }
    }

    /// Resets the session; says whether its server is not what it was. Only now: before, it may have
    /// been the caller who made the session read-only.
    async fn restore(&mut self, busy: bool) -> Option<bool> {
        if !self.reset(busy).await {
            return None;
        }
        let connection = self.checkout.as_deref()?;
        if self.is_suspect {
            return connection.departs().await.ok();
        }
        Some(connection.has_departed())
    }

    async fn reset(&mut self, busy: bool) -> bool {
        let Some(connection) = self.checkout.as_deref_mut() else { return false };
        let stopped = if busy {
            stop(connection, &mut self.cancel).await
        } else {
            self.cancel.settled().await
        };
        if !stopped {
            return false;
        }
        connection.wire.quiesce().await;
        if connection.wire.in_transaction()
            && connection.client.batch_execute("ROLLBACK").await.is_err()
        {
            return false;
        }
        if self.trace < SessionEffect::Anything || PlantedBug::KeptSession.is_planted() {
            connection.sequences_drawn |= self.trace == SessionEffect::Sequences;
            return true;
        }
        let Ok(messages) = connection.client.simple_query(RESET).await else { return false };
        let names = rows(&messages).last().and_then(|row| row.get(0)).unwrap_or_default();
        if !connection.has_all_of_its_statements(names) {
            // Some were deallocated where no tag tells it, and perhaps the driver's own among them.
            return false;
        }
        connection.sequences_drawn = false;
        self.shared.resets.fetch_add(1, Relaxed);
        true
    }
}

/// Stops what a connection runs and waits for its answer; whether it has come. A commit is waited for.
async fn stop(connection: &Connection, cancel: &mut Cancel) -> bool {
    cancel.send();
    if connection.wire.is_copying() {
        // It waits for our data and not for us; once it is cancelled, the end of all is what it sees.
        cancel.settled().await;
        return false;
    }
    let limit = if cancel.is_sent() { STOPPING_LIMIT } else { CLEANING_LIMIT };
    connection.wire.limit_discarded(Some(UNWANTED));
    // Behind whatever is still queued: once it is answered, so is all before it.
    let answered = cancel.insist(connection.client.check_connection());
    let stopped = tokio::time::timeout(limit, answered).await.is_ok();
    connection.wire.limit_discarded(None);
    stopped && cancel.settled().await
}

impl Drop for SessionReset {
    fn drop(&mut self) {
        if let Some(checkout) = self.checkout.take() {
            checkout.discard(CloseReason::Dirty);
        }
    }
}
