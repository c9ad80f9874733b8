//! What is read of the messages that the driver sends, byte by byte and without keeping them: a Parse
//! may hold megabytes of text, a Bind of values.

use std::sync::Arc;

use super::framing::{FrameVisitor, STARTUP};
use super::state::ProtocolState;

/// A longer statement name is not the driver's, whose names are a letter and a number.
const NAME: usize = 32;

/// Tells the wire what was sent.
pub(crate) struct Sent {
    wire: Arc<ProtocolState>,
    message: Message,
    /// Whether a request has begun and its Sync is not sent yet.
    in_request: bool,
}

/// The message that is being sent.
#[derive(Debug, Clone)]
enum Message {
    Other,
    Parse(Parse),
    Bind(Bind),
    Close(Close),
}

impl Sent {
    pub(crate) fn new(wire: Arc<ProtocolState>) -> Self {
        Self { wire, message: Message::Other, in_request: false }
    }

    /// The Bind of which a part is sent.
    pub(crate) fn bind(&self) -> Option<Bind> {
        match &self.message {
            Message::Bind(bind) => Some(*bind),
            Message::Other | Message::Parse(_) | Message::Close(_) => None,
        }
    }
}

impl FrameVisitor for Sent {
    fn begin(&mut self, kind: u8, _: usize) {
        self.message = match kind {
            b'P' => {
                self.wire.expected().map_or(Message::Other, |text| Message::Parse(Parse::new(text)))
            }
            b'B' => Message::Bind(Bind::new()),
            b'C' => Message::Close(Close::default()),
            _ => Message::Other,
        };
        // Startup and authentication are answered by the first ReadyForQuery.
        if self.in_request {
            self.wire.request_goes_on(kind);
        } else if kind != STARTUP && kind != b'p' {
            self.in_request = true;
            self.wire.request_begins(kind);
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        match &mut self.message {
            Message::Other => {}
            Message::Parse(parse) => parse.feed(bytes),
            Message::Bind(bind) => bind.feed(bytes),
            Message::Close(close) => bytes.iter().for_each(|byte| close.take(*byte)),
        }
    }

    fn end(&mut self, kind: u8, _: usize) {
        match std::mem::replace(&mut self.message, Message::Other) {
            Message::Other => {}
            Message::Bind(bind) => self.wire.binds(bind.statement.get()),
            Message::Parse(parse) => {
                if let Some(name) = parse.name_of_expected() {
                    self.wire.parsed(name);
                }
            }
            Message::Close(close) => {
                if let Some(name) = close.statement() {
                    self.wire.closed(name);
                }
            }
        }
        if matches!(kind, b'S' | b'Q') {
            self.in_request = false;
        }
    }
}

/// Finds the Binds whose results are to come as text, in bytes that may not all be sent.
pub(crate) struct TextBinds<'a> {
    wire: &'a ProtocolState,
    bind: Option<Bind>,
    /// The offset of each result format to change: of its low byte.
    pub(crate) formats: Vec<usize>,
    /// Whether one of them asks for something else than binary results.
    pub(crate) unexpected: bool,
}

impl<'a> TextBinds<'a> {
    /// `bind`: the one of which a part is sent.
    pub(crate) fn new(wire: &'a ProtocolState, bind: Option<Bind>) -> Self {
        Self { wire, bind, formats: Vec::new(), unexpected: false }
    }
}

impl FrameVisitor for TextBinds<'_> {
    fn begin(&mut self, kind: u8, _: usize) {
        self.bind = (kind == b'B').then(Bind::new);
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(bind) = &mut self.bind {
            bind.feed(bytes);
        }
    }

    fn end(&mut self, _: u8, end: usize) {
        let Some(bind) = self.bind.take() else { return };
        if !bind.statement.get().is_some_and(|name| self.wire.sends_text(name)) {
            return;
        }
        // The body's last byte is in these bytes: with it the message ended.
        match bind.asks_for_binary() {
            true => self.formats.push(end - 1),
            false => self.unexpected = true,
        }
    }
}

/// A name of bounded length.
#[derive(Debug, Clone, Copy, Default)]
struct Name {
    bytes: [u8; NAME],
    length: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    /// `None`: it is too long to be the driver's.
    fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}

/// Parse: name, text, types of parameters.
#[derive(Debug, Clone)]
struct Parse {
    name: Name,
    named: bool,
    expected: Arc<[u8]>,
    /// How much of the text was compared; `None`: it is another.
    compared: Option<usize>,
    over: bool,
}

impl Parse {
    fn new(expected: Arc<[u8]>) -> Self {
        Self { name: Name::default(), named: false, expected, compared: Some(0), over: false }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.named {
            let Some((byte, others)) = rest.split_first() else { return };
            rest = others;
            match byte {
                0 => self.named = true,
                byte => self.name.push(*byte),
            }
        }
        if self.over {
            return;
        }
        let end = rest.iter().position(|byte| *byte == 0);
        let text = &rest[..end.unwrap_or(rest.len())];
        self.over = end.is_some();
        self.compared = self.compared.filter(|at| self.expected[*at..].starts_with(text));
        self.compared = self.compared.map(|at| at + text.len());
    }

    fn name_of_expected(&self) -> Option<&[u8]> {
        let same = self.over && self.compared == Some(self.expected.len());
        self.name.get().filter(|_| same)
    }
}

/// Close: of a statement or a portal, and its name.
#[derive(Debug, Clone, Copy, Default)]
struct Close {
    of: Option<u8>,
    name: Name,
    over: bool,
}

impl Close {
    fn take(&mut self, byte: u8) {
        match (self.of, byte) {
            (None, byte) => self.of = Some(byte),
            (Some(_), 0) => self.over = true,
            (Some(_), byte) => self.name.push(byte),
        }
    }

    fn statement(&self) -> Option<&[u8]> {
        self.name.get().filter(|_| self.of == Some(b'S') && self.over)
    }
}

/// Bind: portal, statement, the formats of parameters, their values, the formats of results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bind {
    part: Part,
    statement: Name,
    /// The number that is being read, and how many of its bytes are.
    number: u32,
    digits: u8,
    /// Values that are yet to come.
    values: u32,
    /// Bytes that are passed over before the part.
    skip: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Portal,
    Statement,
    FormatCount,
    ValueCount,
    ValueLength,
    ResultCount,
    ResultFormat,
    /// All is read, and it asks for binary results with a single code.
    Binary,
    /// It is not what the driver sends.
    Unexpected,
}

impl Bind {
    fn new() -> Self {
        let statement = Name::default();
        Self { part: Part::Portal, statement, number: 0, digits: 0, values: 0, skip: 0 }
    }

    fn asks_for_binary(&self) -> bool {
        self.part == Part::Binary
    }

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
            (Part::Portal, 0) => self.part = Part::Statement,
            (Part::Portal, _) => {}
            (Part::Statement, 0) => self.part = Part::FormatCount,
            (Part::Statement, byte) => self.statement.push(byte),
            (Part::ValueLength, byte) => self.digit(byte, 4),
            (
                Part::FormatCount | Part::ValueCount | Part::ResultCount | Part::ResultFormat,
                byte,
            ) => self.digit(byte, 2),
            // More than the driver sends.
            (Part::Binary | Part::Unexpected, _) => self.part = Part::Unexpected,
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

    /// The part behind a number, which is the current part.
    fn after(&mut self, number: u32) -> Part {
        let size = usize::try_from(number).unwrap_or(usize::MAX);
        match self.part {
            Part::FormatCount => {
                self.skip = size.saturating_mul(2);
                Part::ValueCount
            }
            Part::ValueCount => {
                self.values = number;
                self.next_value()
            }
            Part::ValueLength => {
                // -1 is NULL, which has no bytes.
                self.skip = if number == u32::MAX { 0 } else { size };
                self.values -= 1;
                self.next_value()
            }
            Part::ResultCount if number == 1 => Part::ResultFormat,
            Part::ResultFormat if number == 1 => Part::Binary,
            Part::ResultCount
            | Part::ResultFormat
            | Part::Portal
            | Part::Statement
            | Part::Binary
            | Part::Unexpected => Part::Unexpected,
        }
    }

    fn next_value(&self) -> Part {
        if self.values == 0 { Part::ResultCount } else { Part::ValueLength }
    }
}
