//! The requests of a session that may be unanswered.

use crate::backend::postgres::protocol::requests::RequestKind;

/// The last requests of a session.
#[derive(Debug)]
pub(crate) struct InFlight {
    pending: PendingRequests,
    /// Scripts and prepared statements that were sent last; empty for anything else.
    sent: Vec<RequestKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingRequests {
    /// Every request was answered.
    Nothing,
    /// A request may be unanswered.
    Unanswered,
    /// The rows of the request with this number are being read.
    Rows(u64),
}

impl InFlight {
    pub(crate) const NOTHING: Self = Self { pending: PendingRequests::Nothing, sent: Vec::new() };

    /// Returns true if a request may be unanswered.
    pub(crate) fn is_busy(&self) -> bool {
        self.pending != PendingRequests::Nothing
    }

    /// Requests are about to be sent.
    pub(crate) fn begin(&mut self, requests: Vec<RequestKind>) {
        *self = Self { pending: PendingRequests::Unanswered, sent: requests };
    }

    /// The rows of a request are read from here on.
    pub(crate) fn reads_rows(&mut self, number: u64) {
        self.pending = PendingRequests::Rows(number);
    }

    /// All requests were answered.
    pub(crate) fn answered(&mut self) {
        self.pending = PendingRequests::Nothing;
    }

    /// The rows that were being read are over: returns the number of their request.
    pub(crate) fn end_rows(&mut self) -> Option<u64> {
        match std::mem::replace(&mut self.pending, PendingRequests::Nothing) {
            PendingRequests::Rows(number) => Some(number),
            PendingRequests::Nothing | PendingRequests::Unanswered => None,
        }
    }

    /// Returns true if a prepared statement of this name may be the session's own: one of those that were
    /// sent, or any while a statement is prepared or a query of our own runs.
    pub(crate) fn may_name(&self, name: &str) -> bool {
        self.sent.is_empty() || self.sent.iter().any(|kind| kind.is_named(name))
    }
}
