//! The caller's work on a session: the writes that may be applied, and the retries that are allowed.

/// The caller's work on a session.
#[derive(Debug)]
pub(crate) struct SessionWork {
    pub(crate) access: Access,
    pub(crate) plans: PlanUse,
    pub(crate) writes: WriteState,
    /// True if, by the catalogs, all statements so far can only read.
    pub(crate) only_reads: bool,
    pub(crate) progress: Progress,
}

impl SessionWork {
    /// Work of which nothing is done yet.
    pub(crate) const NEW: Self = Self {
        access: Access::ReadWrite,
        plans: PlanUse::Cached,
        writes: WriteState::NONE,
        only_reads: true,
        progress: Progress::Preparing,
    };

    /// The retry that is allowed after a failure.
    pub(crate) fn retry_scope(&self) -> RetryScope {
        match self.progress {
            Progress::Failed(scope) => scope,
            Progress::Preparing | Progress::Running => RetryScope::None,
        }
    }
}

/// The access that the caller asked the database to grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

impl Access {
    /// The access of a transaction.
    pub(crate) fn of(mode: crate::backend::TransactionMode) -> Self {
        if mode.read_only { Self::ReadOnly } else { Self::ReadWrite }
    }
}

/// The use of statements that the connection has prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanUse {
    /// They are used again.
    Cached,
    /// They are prepared anew.
    Fresh,
}

/// The writes that may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteState {
    /// The number of the request that applies the writes; `None` while nothing can be applied: there is no
    /// write, or its commit is still to be sent.
    pub(crate) applied_by: Option<u64>,
    pub(crate) atomicity: Atomicity,
}

impl WriteState {
    /// Nothing can be applied.
    pub(crate) const NONE: Self = Self { applied_by: None, atomicity: Atomicity::Atomic };

    /// The request of this number applies all writes.
    pub(crate) const fn applied_by(number: u64) -> Self {
        Self { applied_by: Some(number), atomicity: Atomicity::Atomic }
    }

    /// Returns true if nothing can be applied.
    pub(crate) fn is_none(self) -> bool {
        self.applied_by.is_none()
    }

    /// Returns true if a statement may have committed a part of its writes before it failed.
    pub(crate) fn is_partial(self) -> bool {
        self.atomicity == Atomicity::Partial
    }
}

/// The parts of a statement that are committed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomicity {
    /// All.
    Atomic,
    /// Some may be committed before the statement fails.
    Partial,
}

/// The progress of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No statement has begun to run.
    Preparing,
    /// A statement has begun to run.
    Running,
    /// The attempt failed before a statement began to run.
    Failed(RetryScope),
}

/// The retry that is allowed at once and unseen by the caller: nothing of the failed attempt has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryScope {
    /// No retry.
    None,
    /// Another connection: this one was ended while it was idle.
    OtherConnection,
    /// Statements that are prepared anew.
    FreshPlans,
}
