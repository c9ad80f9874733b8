//! A lane: a connection that many calls share at once, each with its own request in the pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_postgres::Error as DriverError;
use tokio_postgres::error::SqlState;

use super::candidate::averaged;
use super::record::LaneRecord;
use crate::backend::definitions::{KnownDefinitions, StatementRules};
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::connection::prepared_cache::PreparedCache;
use crate::backend::postgres::protocol::session_attrs::SessionAttrs;
use crate::backend::postgres::session::effects::StatementEffects;
use crate::clock::now;
use crate::pool::LaneDemotion;

/// The calls that share a lane at once, at most.
pub(super) const DEEPEST: usize = 32;
/// A lane that has stood still for this time, beyond the round trip, gets no further call meanwhile.
const STANDSTILL: Duration = Duration::from_millis(5);
/// The most that a call waits for what the lane's statements usually take, before others keep off.
const TIMES_THE_USUAL: u32 = 8;

/// The class of the SQLSTATEs of values that cannot be read or computed with.
const DATA_EXCEPTION: &str = "22";

/// A connection that calls share.
pub(super) struct Lane {
    pub(super) connection: Connection,
    pub(super) record: Arc<LaneRecord>,
    statements: Mutex<LaneStatements>,
    /// The protocol state expects one statement to be prepared at a time.
    preparing: tokio::sync::Mutex<()>,
    in_flight: AtomicUsize,
    pace: Mutex<Pace>,
    has_ended: AtomicBool,
    pub(super) lifetime: LaneLifetime,
    /// The attributes of its session when it was opened.
    attrs: SessionAttrs,
}

/// The pace of a lane's answers.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// The time at which it was last known to have nothing to do, or to have answered.
    answered_at: Instant,
    /// The average time that a statement takes.
    usual: Duration,
}

/// The lifetime of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneLifetime {
    /// The pool's generation when its opening began.
    pub(super) generation: u64,
    /// The time at which it is closed for its age, if ever.
    pub(super) expires: Option<Instant>,
}

/// The statements that are prepared on a lane.
struct LaneStatements {
    prepared: PreparedCache,
    rules: StatementRules,
    known: KnownDefinitions,
}

/// The failure of a statement on a lane. Nothing was applied, and it runs on a connection of its own instead.
#[derive(Debug, Clone, Copy)]
pub(super) enum LaneFailure {
    /// It is kept off the lanes for a while.
    Demoted(LaneDemotion),
    /// It is not the statement's fault.
    Alone,
}

/// A call's place on a lane.
pub(super) struct Place(pub(super) Arc<Lane>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Lane {
    pub(super) fn new(
        connection: Connection,
        record: &Arc<LaneRecord>,
        rules: &StatementRules,
        lifetime: LaneLifetime,
    ) -> Self {
        let statements = LaneStatements {
            prepared: PreparedCache::new(rules),
            known: KnownDefinitions::new(rules),
            rules: rules.clone(),
        };
        Self {
            attrs: connection.protocol.session_attrs(),
            connection,
            record: Arc::clone(record),
            statements: Mutex::new(statements),
            preparing: tokio::sync::Mutex::default(),
            in_flight: AtomicUsize::new(0),
            pace: Mutex::new(Pace { answered_at: now(), usual: Duration::ZERO }),
            has_ended: AtomicBool::new(false),
            lifetime,
        }
    }

    /// Takes a place, unless the lane is full or stands still.
    pub(super) fn take_place(self: &Arc<Self>, now: Instant) -> Option<Place> {
        let in_flight = self.in_flight.load(Relaxed);
        // The requests of calls that are gone are still in the pipeline.
        let unanswered = self.connection.protocol.unanswered();
        if in_flight >= DEEPEST || unanswered >= DEEPEST {
            return None;
        }
        let mut pace = self.pace.lock();
        if in_flight == 0 && unanswered == 0 {
            pace.answered_at = now;
        } else {
            let limit = STANDSTILL.max(pace.usual * TIMES_THE_USUAL) + self.record.round_trip();
            if now.saturating_duration_since(pace.answered_at) > limit {
                return None;
            }
        }
        drop(pace);
        self.in_flight.fetch_add(1, Relaxed);
        Some(Place(Arc::clone(self)))
    }

    /// Returns true if it takes no more statements.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Relaxed) || self.connection.client.is_closed()
    }

    /// Returns true while a call has a place on it, or an answer is missing.
    pub(super) fn is_in_use(&self) -> bool {
        self.in_flight.load(Relaxed) > 0 || self.connection.protocol.unanswered() > 0
    }

    /// Lets it take no more statements; those under way run to their end.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Relaxed);
    }

    /// Ends it at once: what is under way runs again elsewhere.
    pub(super) fn abort(&self) {
        self.end();
        self.connection.abort();
    }

    /// Returns true if its server has changed its role, or its session is in a transaction though it has nothing
    /// to do.
    pub(super) fn has_changed(&self) -> bool {
        let protocol = &self.connection.protocol;
        protocol.session_attrs() != self.attrs
            || protocol.unanswered() == 0 && protocol.in_transaction()
    }

    /// The time for which it has had nothing to do.
    pub(super) fn idle_time(&self) -> Duration {
        if self.in_flight.load(Relaxed) > 0 {
            return Duration::ZERO;
        }
        now().saturating_duration_since(self.pace.lock().answered_at)
    }

    /// Notes an answer to a request that was sent at this time. Returns the time for which it kept the lane from
    /// others, and the time that is usual.
    pub(super) fn answered(&self, sent_at: Instant, now: Instant) -> (Duration, Duration) {
        let mut pace = self.pace.lock();
        let began = std::mem::replace(&mut pace.answered_at, now).max(sent_at);
        let took = now.saturating_duration_since(began);
        pace.usual = averaged(pace.usual, took);
        (took, pace.usual)
    }

    /// The time for which it has stood still since a request was sent, and the time that is usual.
    pub(super) fn stood(&self, sent_at: Instant, now: Instant) -> (Duration, Duration) {
        let pace = self.pace.lock();
        (now.saturating_duration_since(pace.answered_at.max(sent_at)), pace.usual)
    }

    /// Returns a statement that is prepared.
    pub(super) fn prepared(&self, sql: &str) -> Option<Arc<Prepared>> {
        let mut statements = self.statements.lock();
        let LaneStatements { prepared, rules, known } = &mut *statements;
        if known.are_stale(rules) {
            prepared.clear();
            *known = KnownDefinitions::new(rules);
            self.connection.client.clear_type_cache();
        }
        prepared.get(sql).cloned()
    }

    /// Prepares a statement, unless another one is being prepared: to wait for that takes longer than to run alone.
    /// It does so in a task of its own: a call that is gone must not leave it half-prepared, as the protocol state
    /// would take its answers for those of the next one.
    pub(super) async fn prepare(self: &Arc<Self>, sql: &str) -> Result<Arc<Prepared>, LaneFailure> {
        let lane = Arc::clone(self);
        let sql = sql.to_owned();
        let preparing = tokio::spawn(async move { lane.prepare_alone(&sql).await });
        preparing.await.unwrap_or(Err(LaneFailure::Alone))
    }

    async fn prepare_alone(&self, sql: &str) -> Result<Arc<Prepared>, LaneFailure> {
        let Ok(one_at_a_time) = self.preparing.try_lock() else { return Err(LaneFailure::Alone) };
        if let Some(prepared) = self.prepared(sql) {
            return Ok(prepared);
        }
        let prepared = self.connection.prepare_new(sql).await;
        let prepared = Arc::new(prepared.map_err(|error| self.failure(sql, &error))?);
        drop(one_at_a_time);
        if StatementEffects::READ.with_parameters(prepared.parameter_types())
            != StatementEffects::READ
        {
            return Err(LaneFailure::Demoted(LaneDemotion::Write));
        }
        self.statements.lock().prepared.keep(sql, &prepared);
        Ok(prepared)
    }

    /// Classifies an error of the driver.
    pub(super) fn failure(&self, sql: &str, error: &DriverError) -> LaneFailure {
        let code = error.code();
        if code.is_some_and(|code| code.code().starts_with(DATA_EXCEPTION)) {
            // The values of this call are wrong, and those of others are not.
            return LaneFailure::Alone;
        }
        self.statements.lock().prepared.remove(sql);
        let Some(code) = code else {
            // Any of the statements under way may have caused it.
            self.end();
            let is_too_large = self.connection.protocol.rejected_a_row();
            let reason = if is_too_large { LaneDemotion::Large } else { LaneDemotion::Lost };
            return LaneFailure::Demoted(reason);
        };
        if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
            LaneFailure::Demoted(LaneDemotion::Timeout)
        } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            LaneFailure::Demoted(LaneDemotion::Write)
        } else if self.connection.client.is_closed() {
            LaneFailure::Demoted(LaneDemotion::Lost)
        } else {
            LaneFailure::Demoted(LaneDemotion::Error)
        }
    }
}
