//! The caller's work on a session: the writes that may be applied, and the retries that are allowed.

use std::borrow::Cow;

use crate::backend::attempt::{PlanUse, RetryScope};
use crate::backend::{IsolationLevel, Preamble};

/// The caller's work on a session.
#[derive(Debug, Default)]
pub(crate) struct SessionWork {
    /// True if the caller asked the database to forbid writes.
    pub(crate) forbids_writes: bool,
    /// The level that the caller asked for.
    pub(crate) isolation: Option<IsolationLevel>,
    pub(crate) plans: PlanUse,
    /// The settings of its transaction that give texts another meaning, before the key of a prepared statement; empty
    /// without.
    meaning: String,
    pub(crate) writes: WriteState,
    /// True if, by the catalogs, one of the statements so far may write.
    pub(crate) may_write: bool,
    /// True once a statement has begun to run.
    pub(crate) has_begun: bool,
    pub(crate) plan_origin: PlanOrigin,
    /// The retry that is allowed after the failure of the attempt.
    pub(crate) retry: RetryScope,
}

impl SessionWork {
    /// Notes the preamble of the transaction that comes next.
    pub(crate) fn begins_with(&mut self, preamble: &Preamble) {
        // A NUL is in no text of a statement, and in no value.
        let changes = preamble.settings.iter().filter(|setting| !setting.keeps_meaning());
        self.meaning = changes.map(|one| format!("{}={}\0", one.name, one.value)).collect();
    }

    /// The key under which a statement is kept prepared: its meaning depends on the settings before it.
    pub(crate) fn statement_key<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        if self.meaning.is_empty() {
            return Cow::Borrowed(sql);
        }
        Cow::Owned(format!("{}{sql}", self.meaning))
    }
}

/// The preparation of the statements that a command has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PlanOrigin {
    /// All of them were prepared for it.
    #[default]
    New,
    /// One had been prepared before, and may be out of date.
    Kept,
}

/// The writes that may be applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WriteState {
    /// The number of the request that applies the writes; `None` while nothing can be applied: there is no
    /// write, or its commit is still to be sent.
    pub(crate) applied_by: Option<u64>,
    /// True if a statement may have committed a part of its writes before it failed.
    pub(crate) is_partial: bool,
}

impl WriteState {
    /// Returns true if nothing can be applied.
    pub(crate) fn is_none(self) -> bool {
        self.applied_by.is_none()
    }
}
