//! Defects that check the checkers: each must make a run of the tests under faults fail.
//!
//! They exist in builds with debug assertions only, where the variable `ROWGATE_PLANTED_BUG` names one.

/// A defect that a test build can be told to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlantedBug {
    /// A COMMIT that was answered with ROLLBACK counts as committed.
    IgnoredTag,
    /// A unit whose outcome is in doubt is retried.
    RepeatedDoubt,
    /// A connection returns to the pool with its transaction open.
    RecycledTransaction,
    /// A connection is used again before the server has acted on the cancel request for it.
    UnawaitedCancel,
    /// A connection returns to the pool without a reset.
    KeptSession,
    /// A commit of MariaDB without an answer counts as committed.
    AssumedCommit,
}

impl PlantedBug {
    /// Tells whether the environment asks for this defect; never in release builds.
    #[expect(
        clippy::disallowed_methods,
        reason = "the variable selects a defect for one test run and is no configuration key"
    )]
    pub(crate) fn is_planted(self) -> bool {
        let name = match self {
            Self::IgnoredTag => "ignored-tag",
            Self::RepeatedDoubt => "repeated-doubt",
            Self::RecycledTransaction => "recycled-transaction",
            Self::UnawaitedCancel => "unawaited-cancel",
            Self::KeptSession => "kept-session",
            Self::AssumedCommit => "assumed-commit",
        };
        cfg!(debug_assertions)
            && std::env::var_os("ROWGATE_PLANTED_BUG").is_some_and(|planted| planted == name)
    }
}
