//! What to do after a failure: pure decisions, which the engine carries out.
//!
//! Knows no database and no transport: it sees an [`Error`]'s kind and outcome, and the clock that it
//! is given.

mod accept_backoff;
mod backoff;
mod circuit_breaker;
pub(crate) mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub use accept_backoff::{AcceptBackoff, Pause};
pub use circuit_breaker::{BreakerLimits, Change, CircuitBreaker, Failure};

use backoff::Backoff;
use retry::budget::Budget;
use retry::classify::Verdict;

use crate::config::RetrySettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::planted_bug::PlantedBug;

/// The longest pause while it is open whether a unit was applied: its caller waits for the truth, and
/// shall have it soon after the database is back.
const LONGEST_DOUBT: Duration = Duration::from_secs(1);

/// What is run again when it is run again, and so what must hold before it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// One statement outside a transaction.
    Statement,
    /// A statement or a batch that its caller declared harmless to run twice.
    Idempotent,
    /// A batch: nothing of it is applied before its commit.
    Batch,
    /// A unit that runs once under its key, however often it is sent.
    Keyed,
}

impl Unit {
    /// Whether it may be sent again while it is open whether it was applied.
    fn may_repeat(self) -> bool {
        match self {
            Self::Idempotent | Self::Keyed => true,
            Self::Statement | Self::Batch => false,
        }
    }
}

/// Whether a database's breaker is open: said by who opens connections, read by who runs calls.
#[derive(Debug, Clone, Default)]
pub struct Away(Arc<AtomicBool>);

impl Away {
    /// Whether it is.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Says whether it is.
    pub fn set(&self, away: bool) {
        self.0.store(away, Relaxed);
    }
}

/// Attempts after the first of a call, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryCounts {
    /// Those that were made.
    pub made: u64,
    /// Those that the budget did not pay for.
    pub refused: u64,
}

/// The retries of one database: its settings and its budget.
#[derive(Debug)]
pub struct Retries {
    max_attempts: u32,
    outage: Backoff,
    conflict: Backoff,
    doubt: Backoff,
    budget: Budget,
    /// Who has waited so long for a database that is away has waited enough.
    patience: Duration,
    /// Pauses help over a moment; while the database is away for longer, calls fail in milliseconds.
    away: Away,
    made: AtomicU64,
    refused: AtomicU64,
}

impl Retries {
    /// The retries of a database, with a small reserve in its budget; `away` is its breaker's, and
    /// `connect_timeout` the time that one attempt to connect may take.
    #[must_use]
    pub fn new(settings: &RetrySettings, connect_timeout: Duration, away: Away) -> Self {
        let outage = Backoff { initial: settings.initial_backoff, max: settings.max_backoff };
        Self {
            max_attempts: settings.max_attempts,
            outage,
            conflict: Backoff {
                initial: settings.conflict_initial_backoff,
                max: settings.conflict_max_backoff,
            },
            doubt: Backoff { max: outage.max.min(LONGEST_DOUBT), ..outage },
            budget: Budget::new(settings.budget),
            // An attempt ends a little before, to say which server failed how.
            patience: connect_timeout / 5 * 4,
            away,
            made: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Starts a call. `max` is the caller's own bound on its attempts.
    #[must_use]
    pub fn start(&self, unit: Unit, max: Option<u32>) -> Attempts<'_> {
        self.budget.add();
        let (made, in_doubt) = (1, 0);
        Attempts {
            retries: self,
            unit,
            max,
            began: None,
            made,
            in_doubt,
            stale: false,
            pauses: Pauses::default(),
        }
    }

    /// What was retried.
    #[must_use]
    pub fn counts(&self) -> RetryCounts {
        RetryCounts { made: self.made.load(Relaxed), refused: self.refused.load(Relaxed) }
    }

    /// Pays for a retry, if the budget can.
    fn pays(&self) -> bool {
        let paid = self.budget.take();
        if !paid {
            self.refused.fetch_add(1, Relaxed);
        }
        paid
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Attempts<'a> {
    retries: &'a Retries,
    unit: Unit,
    max: Option<u32>,
    began: Option<Instant>,
    made: u32,
    /// Attempts that may have been applied.
    in_doubt: u32,
    /// Whether a stale plan was made anew.
    stale: bool,
    pauses: Pauses,
}

/// Pauses made, by their series.
#[derive(Debug, Default)]
struct Pauses {
    outage: u32,
    conflict: u32,
    doubt: u32,
}

impl Attempts<'_> {
    /// Says when the first attempt begins.
    pub fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// How many attempts were made, the present one included. Waiting for another run under the same key
    /// is none.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made
    }

    /// How many of the failed attempts may have been applied, as far as it is known now.
    #[must_use]
    pub fn in_doubt(&self) -> u32 {
        self.in_doubt
    }

    /// How long to wait before the next attempt; `None`: the error is the call's answer.
    ///
    /// | the attempt failed with | attempts at most | by | charged to the budget |
    /// |---|---|---|---|
    /// | an outage, nothing applied, unless the breaker is open or connecting took all of its time | `retry.max_attempts`, the caller's | `retry.*_backoff` | yes |
    /// | a stale plan | one more | `retry.conflict_*_backoff` | yes |
    /// | a conflict, of one statement | `retry.max_attempts`, the caller's | `retry.conflict_*_backoff` | no |
    /// | a conflict, of any other unit | the caller's, else the deadline | `retry.conflict_*_backoff` | no |
    /// | its key at work elsewhere | the deadline | `retry.conflict_*_backoff` | no |
    /// | in doubt, or after it was; idempotent or keyed | the caller's, else the deadline | `retry.*_backoff` up to 1 s | no |
    ///
    /// Everything else is final. A pause never reaches the deadline.
    pub fn after(&mut self, error: &Error, deadline: Deadline, now: Instant) -> Option<Duration> {
        let mut verdict = self.verdict(error);
        let waited =
            self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let is_away = verdict == Verdict::Outage && error.kind() == ErrorKind::DatabaseUnavailable;
        if is_away && waited >= self.retries.patience {
            verdict = Verdict::Final;
        }
        let pause = self.pause(verdict, fastrand::f64());
        let fits = pause < deadline.left(now);
        if !fits || !self.allows(verdict) {
            return None;
        }
        if verdict != Verdict::KeyTaken {
            self.made += 1;
            self.retries.made.fetch_add(1, Relaxed);
        }
        Some(pause)
    }

    /// What the error says, in the light of earlier attempts.
    fn verdict(&mut self, error: &Error) -> Verdict {
        if self.unit == Unit::Keyed && error.had_its_key() {
            self.in_doubt = 0;
        }
        let verdict = Verdict::of(error);
        self.in_doubt += u32::from(verdict == Verdict::Doubt);
        match verdict {
            // Only another attempt can tell what became of the earlier one.
            Verdict::Outage if self.in_doubt > 0 => Verdict::Doubt,
            Verdict::Final
            | Verdict::Outage
            | Verdict::Stale
            | Verdict::Conflict
            | Verdict::KeyTaken
            | Verdict::Doubt => verdict,
        }
    }

    fn pause(&mut self, verdict: Verdict, random: f64) -> Duration {
        let (backoff, pauses) = match verdict {
            Verdict::Final | Verdict::Outage => (self.retries.outage, &mut self.pauses.outage),
            Verdict::Stale | Verdict::Conflict | Verdict::KeyTaken => {
                (self.retries.conflict, &mut self.pauses.conflict)
            }
            Verdict::Doubt => (self.retries.doubt, &mut self.pauses.doubt),
        };
        let pause = backoff.pause(*pauses, random);
        *pauses = pauses.saturating_add(1);
        pause
    }

    /// Whether another attempt may be made; pays for it where it costs.
    fn allows(&mut self, verdict: Verdict) -> bool {
        let (own, server) = (self.max.unwrap_or(u32::MAX), self.retries.max_attempts);
        match verdict {
            Verdict::Final => false,
            Verdict::KeyTaken => true,
            Verdict::Outage => {
                let away = self.retries.away.get();
                !away && self.made < own.min(server) && self.retries.pays()
            }
            Verdict::Stale => {
                let first = !std::mem::replace(&mut self.stale, true);
                first && self.made < own.min(server) && self.retries.pays()
            }
            Verdict::Conflict => {
                let most = if self.unit == Unit::Statement { own.min(server) } else { own };
                self.made < most
            }
            Verdict::Doubt => {
                let may_repeat = self.unit.may_repeat() || PlantedBug::RepeatedDoubt.is_planted();
                may_repeat && self.made < own
            }
        }
    }
}

#[cfg(test)]
mod tests;
