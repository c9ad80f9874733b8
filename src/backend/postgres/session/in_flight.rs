//! The requests of a session that may be unanswered.

use crate::backend::postgres::protocol::requests::RequestKind;

/// The last requests of a session.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// True if a request may be unanswered.
    pub(crate) is_busy: bool,
    /// The number of the request whose rows are being read.
    reads_rows_of: Option<u64>,
    /// Scripts and prepared statements that were sent last; empty for anything else.
    sent: Vec<RequestKind>,
}

impl InFlight {
    /// Requests are about to be sent.
    pub(crate) fn begin(&mut self, sent: Vec<RequestKind>) {
        *self = Self { is_busy: true, reads_rows_of: None, sent };
    }

    /// The rows of a request are read from here on.
    pub(crate) fn reads_rows(&mut self, number: u64) {
        self.is_busy = true;
        self.reads_rows_of = Some(number);
    }

    /// All requests were answered: returns the number of the one whose rows were being read.
    pub(crate) fn answered(&mut self) -> Option<u64> {
        self.is_busy = false;
        self.reads_rows_of.take()
    }

    /// Returns true if a prepared statement of this name may be the session's own: one of those that were
    /// sent, or any while a statement is prepared or a query of our own runs.
    pub(crate) fn may_name(&self, name: &str) -> bool {
        self.sent.is_empty() || self.sent.iter().any(|kind| kind.is_named(name))
    }
}
