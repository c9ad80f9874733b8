//! The requests of a session that may be unanswered.

use crate::backend::postgres::protocol::requests::RequestKind;

/// The requests that may be unanswered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pending {
    #[default]
    None,
    Requests,
    /// The request of this number, whose rows are being read.
    RowsOf(u64),
}

/// The last requests of a session.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    pending: Pending,
    /// Scripts and prepared statements that were sent last; empty for anything else.
    sent: Vec<RequestKind>,
}

impl InFlight {
    /// Requests are about to be sent.
    pub(crate) fn begin(&mut self, sent: Vec<RequestKind>) {
        *self = Self { pending: Pending::Requests, sent };
    }

    /// The rows of a request are read from here on.
    pub(crate) fn reads_rows(&mut self, number: u64) {
        self.pending = Pending::RowsOf(number);
    }

    /// All requests were answered: returns the number of the one whose rows were being read.
    pub(crate) fn answered(&mut self) -> Option<u64> {
        match std::mem::take(&mut self.pending) {
            Pending::RowsOf(number) => Some(number),
            Pending::None | Pending::Requests => None,
        }
    }

    /// Returns true if a request may be unanswered.
    pub(crate) fn is_busy(&self) -> bool {
        self.pending != Pending::None
    }

    /// Returns true if a prepared statement of this name may be the session's own: one of those that were
    /// sent, or any while a statement is prepared or a query of our own runs.
    pub(crate) fn may_name(&self, name: &str) -> bool {
        self.sent.is_empty() || self.sent.iter().any(|kind| kind.is_named(name))
    }
}
