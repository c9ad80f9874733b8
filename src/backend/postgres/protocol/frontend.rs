//! The messages from the driver, parsed byte by byte and not kept: a Parse may hold megabytes of text, a
//! Bind of values.

use std::sync::Arc;

use super::framing::{FrameVisitor, STARTUP};
use super::protocol_state::ProtocolState;

/// The bytes that are kept of a name: the driver's are a letter and a number, between a target and a
/// zero byte in a Close.
const NAME_LIMIT: usize = 32;

/// The visitor that updates the state by the messages that are sent.
pub(crate) struct FrontendMessages {
    state: Arc<ProtocolState>,
    message: Message,
    /// True between the first message of a request and its Sync.
    in_request: bool,
}

/// The message that is being sent.
#[derive(Debug, Clone)]
enum Message {
    Other,
    Parse(Parse),
    Bind(Bind),
    Close(Name),
}

impl FrontendMessages {
    pub(crate) fn new(state: Arc<ProtocolState>) -> Self {
        Self { state, message: Message::Other, in_request: false }
    }
}

impl FrameVisitor for FrontendMessages {
    fn begin(&mut self, kind: u8, _: usize) {
        self.message = match kind {
            b'P' => {
                let expected = self.state.text_results.expected_text();
                expected.map_or(Message::Other, |expected| {
                    let part = ParsePart::Name;
                    Message::Parse(Parse { part, name: Name::default(), expected })
                })
            }
            b'B' => Message::Bind(Bind::default()),
            b'C' => Message::Close(Name::default()),
            _ => Message::Other,
        };
        // Startup and authentication are answered by the first ReadyForQuery.
        if self.in_request {
            self.state.requests.lock().go_on(kind);
        } else if kind != STARTUP && kind != b'p' {
            self.in_request = true;
            self.state.begin_request(kind);
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        match &mut self.message {
            Message::Other => {}
            Message::Parse(parse) => parse.feed(bytes),
            Message::Bind(bind) => bind.feed(bytes),
            Message::Close(close) => bytes.iter().for_each(|byte| close.push(*byte)),
        }
    }

    fn end(&mut self, kind: u8, _: usize) {
        match std::mem::replace(&mut self.message, Message::Other) {
            Message::Bind(bind) => self.state.requests.lock().bind(bind.statement.get()),
            Message::Parse(Parse { part: ParsePart::Expected, name, .. }) => {
                if let Some(name) = name.get() {
                    self.state.text_results.parse_sent(name);
                }
            }
            Message::Parse(_) | Message::Other => {}
            Message::Close(close) => {
                // The target, a statement here and not a portal, and its name.
                if let Some([b'S', name @ .., 0]) = close.get() {
                    self.state.text_results.close_sent(name);
                }
            }
        }
        if matches!(kind, b'S' | b'Q') && !(kind == b'S' && self.state.copies().take_ignored_sync())
        {
            self.in_request = false;
        }
    }
}

/// A name of bounded length.
#[derive(Debug, Clone, Copy, Default)]
struct Name {
    bytes: [u8; NAME_LIMIT],
    length: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(next) = self.bytes.get_mut(self.length) {
            *next = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    /// Returns the name; `None` if it is too long to be the driver's.
    fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}

/// A Parse: name, text, types of parameters.
#[derive(Debug, Clone)]
struct Parse {
    part: ParsePart,
    name: Name,
    expected: Arc<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParsePart {
    Name,
    /// The text, of which so many bytes are equal to the expected one.
    Text(usize),
    /// All is read, and the text is the expected one.
    Expected,
    /// The text is another one.
    Other,
}

impl Parse {
    fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.part == ParsePart::Name {
            let Some((byte, others)) = rest.split_first() else { return };
            rest = others;
            match byte {
                0 => self.part = ParsePart::Text(0),
                byte => self.name.push(*byte),
            }
        }
        let ParsePart::Text(compared) = self.part else { return };
        let end = rest.iter().position(|byte| *byte == 0);
        let text = &rest[..end.unwrap_or(rest.len())];
        let equal = compared + text.len();
        let is_equal = self.expected[compared..].starts_with(text);
        self.part = match end {
            None if is_equal => ParsePart::Text(equal),
            Some(_) if is_equal && equal == self.expected.len() => ParsePart::Expected,
            None | Some(_) => ParsePart::Other,
        };
    }
}

/// A Bind, as far as the name of its statement, which follows that of its portal.
#[derive(Debug, Clone, Copy, Default)]
struct Bind {
    names_ended: u8,
    statement: Name,
}

impl Bind {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (self.names_ended, byte) {
                (2.., _) => return,
                (_, 0) => self.names_ended += 1,
                (0, _) => {}
                (1, byte) => self.statement.push(*byte),
            }
        }
    }
}
