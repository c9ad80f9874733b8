//! The framing of messages in a stream, wherever reads and writes cut it (protocol 3.0, "Message
//! Formats").

/// The kind that stands for the startup packet, which has none.
pub(crate) const STARTUP: u8 = 0;

/// The size of a header: the kind, and the length of the rest with itself.
const HEADER: usize = 5;

/// A visitor of messages.
pub(crate) trait FrameVisitor {
    /// Begins a message; `length` is that of its body, according to the header.
    fn begin(&mut self, kind: u8, length: usize);

    /// Takes the next bytes of the body, at least one.
    fn body(&mut self, bytes: &[u8]);

    /// Ends the message; `end` is the offset behind its last byte in the bytes that were fed.
    fn end(&mut self, kind: u8, end: usize);
}

/// The position in the stream of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FrameParser {
    header: [u8; HEADER],
    header_length: usize,
    /// The bytes left of the body, once the header is complete.
    left: usize,
}

impl FrameParser {
    /// Creates a parser of a stream that begins with a startup packet.
    pub(crate) fn from_startup() -> Self {
        Self { header: [STARTUP; HEADER], header_length: 1, left: 0 }
    }

    /// Returns the number of bytes that are missing of the message that has begun, as far as its header tells; 0
    /// between two messages.
    pub(crate) fn missing(&self) -> usize {
        match self.header_length {
            0 => 0,
            HEADER => self.left,
            begun => HEADER - begun,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], visitor: &mut impl FrameVisitor) {
        let mut at = 0;
        while at < bytes.len() {
            if self.header_length < HEADER {
                self.header[self.header_length] = bytes[at];
                self.header_length += 1;
                at += 1;
                if self.header_length < HEADER {
                    continue;
                }
                let [kind, length @ ..] = self.header;
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                // Less than 4 is invalid: the driver ends the connection.
                self.left = length.saturating_sub(4);
                visitor.begin(kind, self.left);
            }
            let body = &bytes[at..at + self.left.min(bytes.len() - at)];
            if !body.is_empty() {
                visitor.body(body);
            }
            at += body.len();
            self.left -= body.len();
            // Also a message without a body ends with its header, not when the next bytes arrive.
            if self.left == 0 {
                self.header_length = 0;
                visitor.end(self.header[0], at);
            }
        }
    }
}
