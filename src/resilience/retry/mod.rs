//! Retries: which failed attempts are followed by another, and after which pause.

mod budget;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use budget::Budget;

use super::backoff::{Backoff, BackoffSeries};
use crate::config::RetrySettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, RetryClass};
use crate::planted_bug::PlantedBug;

/// The longest pause while a unit is in doubt: its caller learns the outcome soon after the database is back.
const MAX_IN_DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// The unit of work that a retry runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryUnit {
    /// One statement outside a transaction.
    Statement,
    /// A statement or a batch that its caller declared harmless to run twice.
    Idempotent,
    /// A batch: nothing of it is applied before its commit.
    Batch,
    /// A unit that runs once under its idempotency key, however often it is sent.
    Keyed,
    /// The begin of an interactive transaction, which is repeated only to wait for a failover.
    Begin,
}

/// Attempts after the first of a call, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RetryCounts {
    pub made: u64,
    /// Attempts refused for lack of budget.
    pub refused: u64,
}

/// The retries of one database: its settings and its budget.
#[derive(Debug)]
pub(crate) struct Retries {
    max_attempts: u32,
    outage: Backoff,
    conflict: Backoff,
    budget: Budget,
    /// The longest wait for another server; zero where none will take over.
    failover_wait: Duration,
    /// A call that has waited so long for an unreachable database is not retried.
    max_connect_wait: Duration,
    /// The breaker is open: pauses help in a short outage only, and meanwhile calls fail in milliseconds.
    unreachable: Arc<AtomicBool>,
    made: AtomicU64,
    refused: AtomicU64,
}

impl Retries {
    /// Returns the retries of a database. `unreachable` is its breaker's, and `connect_timeout` the time that
    /// one attempt to connect may take.
    pub(crate) fn new(
        settings: &RetrySettings,
        connect_timeout: Duration,
        failover_wait: Duration,
        unreachable: Arc<AtomicBool>,
    ) -> Self {
        Self {
            max_attempts: settings.max_attempts,
            outage: Backoff { initial: settings.initial_backoff, max: settings.max_backoff },
            conflict: Backoff {
                initial: settings.conflict_initial_backoff,
                max: settings.conflict_max_backoff,
            },
            budget: Budget::new(settings.budget),
            failover_wait,
            // An attempt ends a little before, to say which server failed how.
            max_connect_wait: connect_timeout / 5 * 4,
            unreachable,
            made: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Starts a call. `max` is the caller's own bound on its attempts.
    pub(crate) fn start(&self, unit: RetryUnit, max: Option<u32>) -> Attempts<'_> {
        self.budget.add();
        let in_doubt = Backoff { max: self.outage.max.min(MAX_IN_DOUBT_PAUSE), ..self.outage };
        Attempts {
            retries: self,
            unit,
            max,
            began: None,
            made: 1,
            in_doubt: 0,
            prepared_anew: false,
            failover_end: None,
            awaits_server_until: None,
            outage_pauses: self.outage.series(),
            conflict_pauses: self.conflict.series(),
            in_doubt_pauses: in_doubt.series(),
        }
    }

    /// The retries made and refused so far.
    pub(crate) fn counts(&self) -> RetryCounts {
        RetryCounts { made: self.made.load(Relaxed), refused: self.refused.load(Relaxed) }
    }

    /// Charges a retry to the budget; returns false if that is exhausted.
    fn charge(&self) -> bool {
        let paid = self.budget.take();
        if !paid {
            self.refused.fetch_add(1, Relaxed);
        }
        paid
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    retries: &'a Retries,
    unit: RetryUnit,
    max: Option<u32>,
    began: Option<Instant>,
    /// The number of attempts made, the present one included. Waiting for another run under the same key does
    /// not count.
    pub(crate) made: u32,
    /// The number of failed attempts that may have been applied, as far as it is known now.
    pub(crate) in_doubt: u32,
    /// A stale plan was prepared anew already.
    prepared_anew: bool,
    /// The end of the wait for another server, once there was a reason to wait.
    failover_end: Option<Instant>,
    /// The next attempt waits for a server, at most until then.
    pub(crate) awaits_server_until: Option<Instant>,
    outage_pauses: BackoffSeries,
    conflict_pauses: BackoffSeries,
    in_doubt_pauses: BackoffSeries,
}

impl Attempts<'_> {
    /// Notes when the first attempt begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// Returns the pause before the next attempt; `None` if the error is the call's answer.
    ///
    /// | the attempt failed with | attempts at most | pause | charged to the budget |
    /// |---|---|---|---|
    /// | an outage, nothing applied, unless the breaker is open or connecting took all of its time | `retry.max_attempts`, the caller's | `retry.*_backoff` | yes |
    /// | the same, where `failover_wait` is not zero: no connection was opened | until `failover_wait` is over | as in doubt, or the wait for a server | no |
    /// | the same: the connection was lost, or its server is a standby | `retry.max_attempts`, the caller's | as in doubt, or the wait for a server | no |
    /// | a stale plan | one more | `retry.conflict_*_backoff` | yes |
    /// | a conflict, of one statement | `retry.max_attempts`, the caller's | `retry.conflict_*_backoff` | no |
    /// | a conflict, of any other unit | the caller's, else the deadline | `retry.conflict_*_backoff` | no |
    /// | its key in progress elsewhere | the deadline | `retry.conflict_*_backoff` | no |
    /// | in doubt, or after it was; idempotent or keyed | the caller's, else the deadline | `retry.*_backoff` up to 1 s | no |
    ///
    /// Everything else is final, and for the begin of a transaction all but the wait for a server. A pause never
    /// reaches the deadline.
    pub(crate) fn after(
        &mut self,
        error: &Error,
        deadline: Deadline,
        now: Instant,
    ) -> Option<Duration> {
        let class = self.classify(error, now);
        self.awaits_server_until = None;
        let pauses = match class {
            RetryClass::Never => return None,
            RetryClass::Outage => &mut self.outage_pauses,
            RetryClass::StalePlan | RetryClass::Conflict | RetryClass::KeyInProgress => {
                &mut self.conflict_pauses
            }
            RetryClass::InDoubt | RetryClass::Failover => &mut self.in_doubt_pauses,
        };
        let pause = pauses.next(fastrand::f64());
        if pause >= deadline.left(now) {
            return None;
        }
        // Without a connection there was no attempt to speak of.
        let is_free = class == RetryClass::KeyInProgress
            || (class == RetryClass::Failover && error.kind() == ErrorKind::DatabaseUnavailable);
        if class == RetryClass::Failover {
            self.awaits_server_until = self.failover_end.filter(|end| *end > now);
            self.awaits_server_until?;
        }
        if !is_free && !self.allows(class) {
            return None;
        }
        if !is_free {
            self.made += 1;
            self.retries.made.fetch_add(1, Relaxed);
        }
        Some(pause)
    }

    /// Classifies an error with regard to the unit and to earlier attempts.
    fn classify(&mut self, error: &Error, now: Instant) -> RetryClass {
        match (self.unit, self.classify_failure(error, now)) {
            (_, RetryClass::Failover) => RetryClass::Failover,
            (RetryUnit::Begin, _) => RetryClass::Never,
            (_, class) => class,
        }
    }

    /// Returns true if another server may do what this one did not. A server that is full is there.
    fn may_fail_over(&self, error: &Error) -> bool {
        let is_full = error.report().is_some_and(|report| report.sqlstate.starts_with("53"));
        !self.retries.failover_wait.is_zero() && !is_full
    }

    /// Classifies an error with regard to earlier attempts.
    fn classify_failure(&mut self, error: &Error, now: Instant) -> RetryClass {
        if self.unit == RetryUnit::Keyed && error.claimed_key() {
            self.in_doubt = 0;
        }
        let class = match (error.outcome(), error.kind().retry_class()) {
            (Outcome::Applied, _) | (_, RetryClass::Never) => RetryClass::Never,
            (Outcome::Unknown, _) => RetryClass::InDoubt,
            (Outcome::NotApplied, class) => class,
        };
        self.in_doubt += u32::from(class == RetryClass::InDoubt);
        if class != RetryClass::Outage {
            return class;
        }
        if self.in_doubt > 0 {
            // Only another attempt can resolve the earlier one.
            return RetryClass::InDoubt;
        }
        if self.may_fail_over(error) {
            self.failover_end.get_or_insert(now + self.retries.failover_wait);
            return RetryClass::Failover;
        }
        let waited = self.began.map(|began| now.saturating_duration_since(began));
        let has_waited = waited.is_some_and(|waited| waited >= self.retries.max_connect_wait);
        if has_waited && error.kind() == ErrorKind::DatabaseUnavailable {
            return RetryClass::Never;
        }
        class
    }

    /// Returns true if another attempt may be made, and charges it to the budget if that applies.
    fn allows(&mut self, class: RetryClass) -> bool {
        let within_own = self.max.is_none_or(|max| self.made < max);
        let within_both = within_own && self.made < self.retries.max_attempts;
        match class {
            RetryClass::Never => false,
            RetryClass::KeyInProgress => true,
            RetryClass::Outage => {
                within_both && !self.retries.unreachable.load(Relaxed) && self.retries.charge()
            }
            RetryClass::Failover => within_both,
            RetryClass::StalePlan => {
                let is_first = !std::mem::replace(&mut self.prepared_anew, true);
                is_first && within_both && self.retries.charge()
            }
            RetryClass::Conflict if self.unit == RetryUnit::Statement => within_both,
            RetryClass::Conflict => within_own,
            RetryClass::InDoubt => {
                let is_harmless = matches!(self.unit, RetryUnit::Idempotent | RetryUnit::Keyed);
                within_own && (is_harmless || PlantedBug::RepeatedDoubt.is_planted())
            }
        }
    }
}
