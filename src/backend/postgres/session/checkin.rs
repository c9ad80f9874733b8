//! The state in which a session checks its connection in.

use super::effects::SessionEffect;

/// The use of a connection after its session, in rising order of caution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disposition {
    #[default]
    Reuse,
    /// It is reset, and the role of its server checked: a write was rejected that should have been allowed.
    CheckRole,
    Close,
}

/// The state in which a session checks its connection in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checkin {
    pub(crate) disposition: Disposition,
    /// The state that the caller's statements may have left.
    pub(crate) effect: SessionEffect,
    /// True if a statement ran that changes the meaning of others.
    pub(crate) redefined: bool,
    /// True if a statement ran that may change definitions of the database.
    pub(crate) changes_definitions: bool,
}

impl Checkin {
    /// Adds the effect of another statement.
    pub(crate) fn add(&mut self, effect: SessionEffect) {
        self.effect = self.effect.max(effect);
    }

    /// Raises the disposition to at least this one.
    pub(crate) fn at_least(&mut self, disposition: Disposition) {
        self.disposition = self.disposition.max(disposition);
    }
}
