//! What to do after a failure: pure decisions, which the engine carries out.
//!
//! Knows no database and no transport: it sees an [`Error`]'s kind and outcome, and the clock that it
//! is given.

mod backoff;
mod budget;
mod knocking;
mod verdict;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub use knocking::{Knocking, Pause};

use backoff::Backoff;
use budget::Budget;
use verdict::Verdict;

use crate::config::{Planted, RetrySettings};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome};

/// The longest pause while it is open whether a unit was applied: its caller waits for the truth, and
/// shall have it soon after the database is back.
const LONGEST_DOUBT: Duration = Duration::from_secs(1);

/// Attempts in a row that found the database away, after which no call waits for it: pauses help over a
/// moment, and while it is away for longer, calls fail in milliseconds.
const AWAY: u32 = 5;

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

/// The retries of one database: its settings and its budget.
#[derive(Debug)]
pub struct Retries {
    max_attempts: u32,
    outage: Backoff,
    conflict: Backoff,
    doubt: Backoff,
    budget: Budget,
    /// Attempts in a row, of all calls, that found the database away.
    away: AtomicU32,
    made: AtomicU64,
}

impl Retries {
    /// The retries of a database, with a small reserve in its budget.
    #[must_use]
    pub fn new(settings: &RetrySettings) -> Self {
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
            away: AtomicU32::new(0),
            made: AtomicU64::new(0),
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
            made,
            in_doubt,
            stale: false,
            pauses: Pauses::default(),
        }
    }

    /// How many retries were made since the start.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// Says what a probe of the database found.
    pub fn probed(&self, reached: bool) {
        self.away.store(if reached { 0 } else { AWAY }, Relaxed);
    }

    /// Notes that the database has answered, or that it is away.
    fn note(&self, answered: bool) {
        let next = |away: u32| if answered { 0 } else { away.saturating_add(1) };
        // Workers share its cache line: what does not change is only read.
        let change = |away| Some(next(away)).filter(|next| *next != away);
        self.away.fetch_update(Relaxed, Relaxed, change).unwrap_or_default();
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Attempts<'a> {
    retries: &'a Retries,
    unit: Unit,
    max: Option<u32>,
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

    /// Says that the present attempt has succeeded.
    pub fn succeeded(&self) {
        self.retries.note(true);
    }

    /// How long to wait before the next attempt; `None`: the error is the call's answer.
    ///
    /// | the attempt failed with | attempts at most | by | charged to the budget |
    /// |---|---|---|---|
    /// | an outage, nothing applied, unless the database has been away for a while | `retry.max_attempts`, the caller's | `retry.*_backoff` | yes |
    /// | a stale plan | one more | `retry.conflict_*_backoff` | yes |
    /// | a conflict, of one statement | `retry.max_attempts`, the caller's | `retry.conflict_*_backoff` | no |
    /// | a conflict, of any other unit | the caller's, else the deadline | `retry.conflict_*_backoff` | no |
    /// | its key at work elsewhere | the deadline | `retry.conflict_*_backoff` | no |
    /// | in doubt, or after it was; idempotent or keyed | the caller's, else the deadline | `retry.*_backoff` up to 1 s | no |
    ///
    /// Everything else is final. A pause never reaches the deadline.
    pub fn after(&mut self, error: &Error, deadline: Deadline, now: Instant) -> Option<Duration> {
        if error.kind() == ErrorKind::DatabaseUnavailable {
            self.retries.note(false);
        } else if error.report().is_some() {
            self.retries.note(true);
        }
        let verdict = self.verdict(error);
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
        if self.unit == Unit::Keyed
            && error.outcome() == Outcome::NotApplied
            && verdict::had_its_key(error.kind())
        {
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
                let away = self.retries.away.load(Relaxed) >= AWAY;
                !away && self.made < own.min(server) && self.retries.budget.take()
            }
            Verdict::Stale => {
                let first = !std::mem::replace(&mut self.stale, true);
                first && self.made < own.min(server) && self.retries.budget.take()
            }
            Verdict::Conflict => {
                let most = if self.unit == Unit::Statement { own.min(server) } else { own };
                self.made < most
            }
            Verdict::Doubt => {
                let may_repeat = self.unit.may_repeat() || Planted::RepeatedDoubt.is_there();
                may_repeat && self.made < own
            }
        }
    }
}

#[cfg(test)]
mod tests;
