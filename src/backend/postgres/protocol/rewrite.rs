//! The messages from the driver, with the names of statements that the server knows.
//!
//! An unnamed statement is parsed again before each Bind, within the same request: so it is the statement of
//! this text that runs, whichever server connection it is. A Describe follows: the answer must have the
//! columns that rows are decoded by, or the connection ends.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::driver_queries::qualified;
use super::framing::{FrameVisitor, STARTUP};
use super::statement_names::{Route, SentStatement, StatementNames, columns};

/// The visitor that writes the messages to send into `out`.
#[derive(Debug)]
pub(crate) struct Rewriter {
    names: Arc<StatementNames>,
    part: Part,
    /// The length of the body, according to the header.
    length: usize,
    /// The bytes of the message that are held back.
    held: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// True between the first message of a request and its Sync.
    in_request: bool,
    requests: UnansweredRequests,
    /// True if the current message is a Bind of a statement that was parsed with it.
    describes: bool,
}

/// The requests without an answer, the oldest first.
pub(super) type UnansweredRequests = Arc<Mutex<VecDeque<UnansweredRequest>>>;

#[derive(Debug, Clone)]
pub(super) enum UnansweredRequest {
    /// Prepares the statement of this name.
    Prepare(Vec<u8>),
    /// Parses a statement again and executes it, whose rows must have these columns.
    Execute(Arc<[u8]>),
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Bytes are sent as they come.
    Copied,
    /// The message is held until it is complete.
    Held,
    /// The names of portal and statement in a Bind, of which so many are complete.
    BindNames(u8),
}

impl Rewriter {
    pub(super) fn new(names: Arc<StatementNames>, requests: UnansweredRequests) -> Self {
        Self {
            names,
            part: Part::Copied,
            length: 0,
            held: Vec::new(),
            out: Vec::new(),
            in_request: false,
            requests,
            describes: false,
        }
    }

    /// Notes what the request that is being sent is.
    fn note(&self, request: UnansweredRequest) {
        if let Some(last) = self.requests.lock().back_mut() {
            *last = request;
        }
    }

    fn header(&mut self, kind: u8, length: usize) {
        if kind != STARTUP {
            self.out.push(kind);
        }
        let length = u32::try_from(length + 4).unwrap_or(u32::MAX);
        self.out.extend(length.to_be_bytes());
    }

    fn message(&mut self, kind: u8, parts: &[&[u8]]) {
        self.header(kind, parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
    }

    /// Sends a Parse. One without a name is not of a prepared statement.
    fn parse(&mut self, body: &[u8]) {
        match split_name(body) {
            Some((name, definition)) if !name.is_empty() => {
                self.note(UnansweredRequest::Prepare(name.to_vec()));
                let definition = qualified(definition);
                let name = self.names.parse(name, &definition);
                self.message(b'P', &[&name, b"\0", &definition]);
            }
            Some(_) | None => self.message(b'P', &[body]),
        }
    }

    /// Sends a Describe or a Close, of a statement or of a portal.
    fn target(&mut self, kind: u8, body: &[u8]) {
        let names = &self.names;
        let name = match body {
            [b'S', name @ .., 0] if !name.is_empty() => match kind {
                b'C' => names.close(name),
                _ => names.get(name).name,
            },
            _ => return self.message(kind, &[body]),
        };
        self.message(kind, &[b"S", &name, b"\0"]);
    }

    /// Sends the start of a Bind, whose two names are held.
    fn bind(&mut self) {
        self.part = Part::Copied;
        let held = std::mem::take(&mut self.held);
        let portal = split_name(&held).map_or(0, |(portal, _)| portal.len() + 1);
        let (portal, statement) = held.split_at(portal);
        let driver_name = statement.strip_suffix(b"\0").unwrap_or(statement);
        let SentStatement { name, definition, columns } = self.names.get(driver_name);
        self.describes = !definition.is_empty();
        if self.describes {
            self.note(UnansweredRequest::Execute(columns));
            self.message(b'P', &[b"\0", &definition]);
        }
        self.header(b'B', self.length + name.len() - driver_name.len());
        for part in [portal, &name, b"\0"] {
            self.out.extend_from_slice(part);
        }
    }
}

impl FrameVisitor for Rewriter {
    fn begin(&mut self, kind: u8, length: usize) {
        self.length = length;
        self.held.clear();
        let is_tracked = self.names.route == Route::Pooler;
        if is_tracked && !self.in_request && kind != STARTUP && kind != b'p' {
            self.in_request = true;
            self.requests.lock().push_back(UnansweredRequest::Other);
        }
        self.part = match kind {
            b'P' | b'D' | b'C' => Part::Held,
            b'B' => Part::BindNames(0),
            _ => Part::Copied,
        };
        if self.part == Part::Copied {
            self.header(kind, length);
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let (Part::BindNames(complete), Some((byte, others))) =
            (self.part, rest.split_first())
        {
            rest = others;
            self.held.push(*byte);
            match (byte, complete) {
                (0, 0) => self.part = Part::BindNames(1),
                (0, _) => self.bind(),
                _ => {}
            }
        }
        match self.part {
            Part::Copied => self.out.extend_from_slice(rest),
            Part::Held => self.held.extend_from_slice(rest),
            Part::BindNames(_) => {}
        }
    }

    fn end(&mut self, kind: u8, _: usize) {
        if matches!(kind, b'S' | b'Q') {
            self.in_request = false;
        }
        if self.part == Part::Copied {
            if std::mem::take(&mut self.describes) {
                self.message(b'D', &[b"P\0"]);
            }
            return;
        }
        self.part = Part::Copied;
        let body = std::mem::take(&mut self.held);
        match kind {
            b'P' => self.parse(&body),
            b'D' | b'C' => self.target(kind, &body),
            // A Bind without its names, which the driver does not send.
            _ => self.message(kind, &[&body]),
        }
    }
}

/// The visitor that leaves out the answers to what was added, and compares them.
#[derive(Debug)]
pub(crate) struct AnswerFilter {
    names: Arc<StatementNames>,
    requests: UnansweredRequests,
    /// The body of the message, where it is of use.
    body: Vec<u8>,
    use_of: Use,
    /// The types of the parameters of the statement that is prepared.
    parameters: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// True once rows have other columns than they are decoded by.
    pub(super) has_other_columns: bool,
}

/// The use of a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Forwarded,
    /// It describes a statement that is prepared.
    Kept,
    LeftOut,
    /// It describes the rows of an execution, and is left out.
    Compared,
}

impl AnswerFilter {
    pub(super) fn new(names: Arc<StatementNames>, requests: UnansweredRequests) -> Self {
        Self {
            names,
            requests,
            body: Vec::new(),
            use_of: Use::Forwarded,
            parameters: Vec::new(),
            out: Vec::new(),
            has_other_columns: false,
        }
    }
}

impl FrameVisitor for AnswerFilter {
    fn begin(&mut self, kind: u8, length: usize) {
        self.body.clear();
        self.use_of = match (self.requests.lock().front(), kind) {
            (Some(UnansweredRequest::Execute(_)), b'1') => Use::LeftOut,
            (Some(UnansweredRequest::Execute(_)), b'T' | b'n') => Use::Compared,
            (Some(UnansweredRequest::Prepare(_)), b't' | b'T') => Use::Kept,
            _ => Use::Forwarded,
        };
        if matches!(self.use_of, Use::Forwarded | Use::Kept) {
            let length = u32::try_from(length + 4).unwrap_or(u32::MAX);
            self.out.push(kind);
            self.out.extend(length.to_be_bytes());
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        if matches!(self.use_of, Use::Forwarded | Use::Kept) {
            self.out.extend_from_slice(bytes);
        }
        if matches!(self.use_of, Use::Compared | Use::Kept) {
            self.body.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, kind: u8, _: usize) {
        let mut requests = self.requests.lock();
        match (requests.front(), self.use_of, kind) {
            (Some(UnansweredRequest::Execute(expected)), Use::Compared, _) => {
                self.has_other_columns |= columns(&self.body) != *expected;
            }
            (Some(UnansweredRequest::Prepare(name)), Use::Kept, b't') => {
                self.parameters.clone_from(&self.body);
                self.names.described(name, &self.parameters, Arc::default());
            }
            (Some(UnansweredRequest::Prepare(name)), Use::Kept, _) => {
                self.names.described(name, &self.parameters, columns(&self.body));
            }
            // The first one answers the login.
            (_, _, b'Z') => drop(requests.pop_front()),
            (_, _, _) => {}
        }
    }
}

/// Splits a text that ends with a zero byte from what follows.
fn split_name(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = body.iter().position(|byte| *byte == 0)?;
    Some((&body[..end], &body[end + 1..]))
}
