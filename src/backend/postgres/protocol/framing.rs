//! The framing of messages in a stream, wherever reads and writes cut it (protocol 3.0, "Message
//! Formats").

/// The kind that stands for the startup packet, which has none.
pub(crate) const STARTUP: u8 = 0;

/// The size of a header: the kind, and the length of the rest with itself.
const HEADER: usize = 5;

/// Returns the length of the whole rows at the begin of `bytes`, also as data of a COPY, each with a body of at most `limit`
/// bytes.
pub(super) fn leading_rows(bytes: &[u8], limit: usize) -> usize {
    let mut at = 0;
    while let Some([b'D' | b'd', length @ ..]) = bytes[at..].first_chunk::<HEADER>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let end = at.saturating_add(length).saturating_add(1);
        if length < 4 || length - 4 > limit || end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

/// A visitor of messages.
pub(crate) trait FrameVisitor {
    /// Returns the length of the whole messages at the begin of `bytes` that it need not visit.
    fn skip(&self, _bytes: &[u8]) -> usize {
        0
    }

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
                if self.header_length == 0 {
                    at += visitor.skip(&bytes[at..]);
                }
                let taken = (HEADER - self.header_length).min(bytes.len() - at);
                self.header[self.header_length..][..taken].copy_from_slice(&bytes[at..at + taken]);
                self.header_length += taken;
                at += taken;
                if self.header_length < HEADER {
                    break;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_rows_within_the_limit_lead() {
        let row = |kind: u8, body: &[u8]| {
            let length = u32::try_from(body.len() + 4).expect("it is short");
            [&[kind], &length.to_be_bytes()[..], body].concat()
        };
        let rows = [row(b'D', b""), row(b'D', b"12345678")].concat();
        assert_eq!(leading_rows(&rows, 8), rows.len());
        assert_eq!(leading_rows(&rows, 7), 5, "the second is over the limit");
        for cut in 0..rows.len() {
            assert_eq!(leading_rows(&rows[..cut], 8), if cut < 5 { 0 } else { 5 }, "{cut}");
        }
        let others = [rows.clone(), row(b'C', b"SELECT 2\0"), row(b'D', b"")].concat();
        assert_eq!(leading_rows(&others, 8), rows.len());
        for length in [0, 3, u32::MAX] {
            let bytes = [&b"D"[..], &length.to_be_bytes(), b"12345678"].concat();
            assert_eq!(leading_rows(&bytes, usize::MAX), 0, "{length}");
        }
    }
}
