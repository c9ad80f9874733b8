//! The messages from the driver, parsed byte by byte and not kept: a Parse may hold megabytes of text, a
//! Bind of values.

use std::sync::Arc;

use super::framing::{FrameVisitor, STARTUP};
use super::protocol_state::ProtocolState;
use super::text_results::TextResults;

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

    /// Returns the Bind of which a part is sent.
    pub(crate) fn bind(&self) -> Option<Bind> {
        if let Message::Bind(bind) = &self.message { Some(*bind) } else { None }
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
        if matches!(kind, b'S' | b'Q') {
            self.in_request = false;
        }
    }
}

/// The visitor that finds the Binds of statements for text results, in bytes that may not all be sent.
pub(crate) struct TextBinds<'a> {
    text_results: &'a TextResults,
    bind: Option<Bind>,
    /// The offset of each result format to change: of its low byte.
    pub(crate) formats: Vec<usize>,
    /// True if one of them requests other formats than binary.
    pub(crate) unexpected: bool,
}

impl<'a> TextBinds<'a> {
    /// Creates the visitor; `bind` is the one of which a part is sent.
    pub(crate) fn new(text_results: &'a TextResults, bind: Option<Bind>) -> Self {
        Self { text_results, bind, formats: Vec::new(), unexpected: false }
    }
}

impl FrameVisitor for TextBinds<'_> {
    fn begin(&mut self, kind: u8, _: usize) {
        self.bind = (kind == b'B').then(Bind::default);
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(bind) = &mut self.bind {
            bind.feed(bytes);
        }
    }

    fn end(&mut self, _: u8, end: usize) {
        let Some(bind) = self.bind.take() else { return };
        if !bind.statement.get().is_some_and(|name| self.text_results.contains(name)) {
            return;
        }
        if bind.part == BindPart::Binary {
            // The body's last byte is in these bytes: with it the message ended.
            self.formats.push(end - 1);
        } else {
            self.unexpected = true;
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

/// A Bind: portal, statement, the formats of parameters, their values, the formats of results.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bind {
    part: BindPart,
    statement: Name,
    /// The number that is being read, and the count of its bytes so far.
    number: u32,
    digits: u8,
    /// The values that follow.
    values: u32,
    /// The bytes to skip before the part.
    skip: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum BindPart {
    #[default]
    Portal,
    Statement,
    FormatCount,
    ValueCount,
    ValueLength,
    ResultCount,
    ResultFormat,
    /// All is read, and a single format code requests binary results.
    Binary,
    /// The driver does not send such a message.
    Unexpected,
}

impl Bind {
    fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (skipped, others) = rest.split_at(self.skip.min(rest.len()));
            self.skip -= skipped.len();
            rest = others;
            if let Some((byte, others)) = rest.split_first() {
                rest = others;
                self.take(*byte);
            }
        }
    }

    fn take(&mut self, byte: u8) {
        match (self.part, byte) {
            (BindPart::Portal, 0) => self.part = BindPart::Statement,
            (BindPart::Portal, _) => {}
            (BindPart::Statement, 0) => self.part = BindPart::FormatCount,
            (BindPart::Statement, byte) => self.statement.push(byte),
            (BindPart::ValueLength, byte) => self.digit(byte, 4),
            // A byte behind the end.
            (BindPart::Binary | BindPart::Unexpected, _) => self.part = BindPart::Unexpected,
            (_, byte) => self.digit(byte, 2),
        }
    }

    fn digit(&mut self, byte: u8, width: u8) {
        self.number = self.number << 8 | u32::from(byte);
        self.digits += 1;
        if self.digits == width {
            self.digits = 0;
            let number = std::mem::take(&mut self.number);
            self.part = self.after(number);
        }
    }

    /// Returns the part behind a number, which is the current part.
    fn after(&mut self, number: u32) -> BindPart {
        let size = usize::try_from(number).unwrap_or(usize::MAX);
        match (self.part, number) {
            (BindPart::FormatCount, _) => {
                self.skip = size.saturating_mul(2);
                BindPart::ValueCount
            }
            (BindPart::ValueCount, _) => {
                self.values = number;
                self.next_value()
            }
            (BindPart::ValueLength, _) => {
                // -1 is NULL, which has no bytes.
                self.skip = if number == u32::MAX { 0 } else { size };
                self.values -= 1;
                self.next_value()
            }
            (BindPart::ResultCount, 1) => BindPart::ResultFormat,
            (BindPart::ResultFormat, 1) => BindPart::Binary,
            (_, _) => BindPart::Unexpected,
        }
    }

    fn next_value(&self) -> BindPart {
        if self.values == 0 { BindPart::ResultCount } else { BindPart::ValueLength }
    }
}
