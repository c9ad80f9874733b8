//! The caller's work on a session: the writes that may be applied, and the retries that are allowed.

/// The caller's work on a session.
#[derive(Debug)]
pub(crate) struct SessionWork {
    /// True if the caller asked the database to forbid writes.
    pub(crate) forbids_writes: bool,
    pub(crate) plans: PlanUse,
    pub(crate) writes: WriteState,
    /// True if, by the catalogs, all statements so far can only read.
    pub(crate) only_reads: bool,
    /// True once a statement has begun to run.
    pub(crate) has_begun: bool,
    /// The retry that is allowed after the failure of the attempt.
    pub(crate) retry: RetryScope,
}

impl SessionWork {
    /// Work of which nothing is done yet.
    pub(crate) const NEW: Self = Self {
        forbids_writes: false,
        plans: PlanUse::Cached,
        writes: WriteState::NONE,
        only_reads: true,
        has_begun: false,
        retry: RetryScope::None,
    };
}

/// The use of statements that the connection has prepared: again, or prepared anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanUse {
    Cached,
    Fresh,
}

/// The writes that may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteState {
    /// The number of the request that applies the writes; `None` while nothing can be applied: there is no
    /// write, or its commit is still to be sent.
    pub(crate) applied_by: Option<u64>,
    /// True if a statement may have committed a part of its writes before it failed.
    pub(crate) is_partial: bool,
}

impl WriteState {
    /// Nothing can be applied.
    pub(crate) const NONE: Self = Self { applied_by: None, is_partial: false };

    /// Returns true if nothing can be applied.
    pub(crate) fn is_none(self) -> bool {
        self.applied_by.is_none()
    }
}

/// The retry that is allowed at once and unseen by the caller: nothing of the failed attempt has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryScope {
    None,
    /// Another connection: this one was ended while it was idle.
    OtherConnection,
    /// Statements that are prepared anew.
    FreshPlans,
}
