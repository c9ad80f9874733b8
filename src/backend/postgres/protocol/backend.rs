//! The messages from the server.

use std::sync::Arc;

use super::auth_guard::{AllowedAuth, AuthGuard};
use super::framing::{FrameVisitor, leading_rows};
use super::protocol_state::ProtocolState;

/// The bytes that are kept of a message: status, key and command tag fit.
const HEAD: usize = 128;
/// The bytes that are kept of a notice: those of the server itself fit, in any language.
const NOTICE: usize = 1024;

/// The largest messages that are taken from a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    /// A row, or data of a COPY.
    pub(crate) row: usize,
    /// An error or a notice that is passed on as it is.
    pub(crate) report: usize,
    /// Any other. The longest of an honest server is the description of 1,664 columns, or of 65,535 parameters.
    pub(crate) other: usize,
}

/// The visitor that updates the state by the messages from the server.
pub(crate) struct BackendMessages {
    state: Arc<ProtocolState>,
    limits: MessageLimits,
    /// The bytes to keep of the current message.
    limit: usize,
    head: Vec<u8>,
    /// True once a row was larger than `max_row_size`.
    pub(crate) row_too_large: bool,
    /// True once another message was larger than its limit.
    pub(crate) message_too_large: bool,
    pub(crate) auth: AuthGuard,
}

impl BackendMessages {
    pub(crate) fn new(state: Arc<ProtocolState>, limits: MessageLimits) -> Self {
        let head = Vec::with_capacity(HEAD);
        let auth = AuthGuard::new(AllowedAuth::ALL);
        Self { state, limits, limit: 0, head, row_too_large: false, message_too_large: false, auth }
    }
}

impl FrameVisitor for BackendMessages {
    fn skip(&self, bytes: &[u8]) -> usize {
        leading_rows(bytes, self.limits.row)
    }

    fn begin(&mut self, kind: u8, length: usize) {
        self.head.clear();
        if matches!(kind, b'T' | b'n') {
            self.state.text_results.described(kind);
        }
        self.limit = match kind {
            b'Z' | b'K' | b'C' | b'I' | b'2' | b'G' | b'H' | b'W' | b'S' | b'R' => HEAD,
            b'N' => NOTICE,
            _ => 0,
        };
        // Decided by the header: the driver would buffer the whole row.
        match kind {
            // Rows, and data of a COPY.
            b'D' | b'd' => self.row_too_large |= length > self.limits.row,
            // They are cut.
            b'E' => self.state.copies().error_received(),
            b'N' => {}
            _ => self.message_too_large |= length > self.limits.other,
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        let missing = self.limit - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
    }

    fn end(&mut self, kind: u8, _: usize) {
        if kind == b'R' {
            self.auth.received(&self.head);
        } else if self.limit > 0 {
            self.state.received(kind, &self.head);
        }
    }
}
