//! Finds the messages in a stream, wherever reads and writes cut it (protocol 3.0, "Message
//! Formats"). It knows no message but the first of the client's, which has no type.

/// The kind that the startup packet is given, which has none.
pub(crate) const STARTUP: u8 = 0;

/// A type and the length of the rest, itself included.
const HEADER: usize = 5;

/// Who is told what a walker meets.
pub(crate) trait FrameVisitor {
    /// A message begins; `length` is that of its body, as the header claims.
    fn begin(&mut self, kind: u8, length: usize);

    /// The next bytes of its body, at least one.
    fn body(&mut self, bytes: &[u8]);

    /// It is over; `end` is the offset behind its last byte, in what the walker was fed.
    fn end(&mut self, kind: u8, end: usize);
}

/// The place in the stream of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameWalker {
    header: [u8; HEADER],
    known: usize,
    /// Of the body, once the header is known.
    left: usize,
}

impl FrameWalker {
    /// A stream of messages.
    pub(crate) fn new() -> Self {
        Self { header: [STARTUP; HEADER], known: 0, left: 0 }
    }

    /// A stream that begins with a startup packet.
    pub(crate) fn from_startup() -> Self {
        Self { known: 1, ..Self::new() }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], visitor: &mut impl FrameVisitor) {
        let mut at = 0;
        while at < bytes.len() {
            if self.known < HEADER {
                self.header[self.known] = bytes[at];
                self.known += 1;
                at += 1;
                if self.known < HEADER {
                    continue;
                }
                let [kind, length @ ..] = self.header;
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                // Less than 4 is no length; the driver ends the connection when it sees one.
                self.left = length.saturating_sub(4);
                visitor.begin(kind, self.left);
            }
            let body = &bytes[at..at + self.left.min(bytes.len() - at)];
            if !body.is_empty() {
                visitor.body(body);
            }
            at += body.len();
            self.left -= body.len();
            // Also a message without a body is over in the round that completes its header: the next
            // bytes may be long in coming.
            if self.left == 0 {
                self.known = 0;
                visitor.end(self.header[0], at);
            }
        }
    }
}
