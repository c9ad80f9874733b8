//! What is read of the messages that the server sends.

use std::sync::Arc;

use super::framing::FrameVisitor;
use super::state::ProtocolState;

/// A message is kept up to this many bytes: status, key and command tag fit.
const HEAD: usize = 128;
/// The same of a notice: what the server itself has to say fits, in any language.
const NOTICE: usize = 1024;

/// Tells the wire what was received.
pub(crate) struct Received {
    wire: Arc<ProtocolState>,
    max_row_size: usize,
    /// How much is kept of the message, in bytes.
    kept: usize,
    head: Vec<u8>,
    /// Whether a row was over the bound.
    pub(crate) refuses: bool,
}

impl Received {
    pub(crate) fn new(wire: Arc<ProtocolState>, max_row_size: usize) -> Self {
        Self { wire, max_row_size, kept: 0, head: Vec::with_capacity(HEAD), refuses: false }
    }
}

impl FrameVisitor for Received {
    fn begin(&mut self, kind: u8, length: usize) {
        self.head.clear();
        self.kept = match kind {
            b'Z' | b'K' | b'C' | b'I' | b'2' | b'G' | b'H' | b'W' | b'S' => HEAD,
            b'N' => NOTICE,
            _ => 0,
        };
        // Told by the header: the driver would hold the whole row in memory.
        self.refuses |= kind == b'D' && length > self.max_row_size;
    }

    fn body(&mut self, bytes: &[u8]) {
        let room = self.kept - self.head.len();
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn end(&mut self, kind: u8, _: usize) {
        if self.kept > 0 {
            self.wire.received(kind, &self.head);
        }
    }
}
