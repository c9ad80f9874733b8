//! The requests of one connection: numbered as they are sent, and recorded with their answers.
//!
//! A request is all messages up to a Sync, or a Query. At any time the driver also closes statements
//! that are not used any more. These requests are answered like any other but have no number, so that
//! the numbers count the requests of the session alone.

use std::collections::VecDeque;

/// The kind of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A script (Query).
    Script,
    /// The prepared statement of a name (Bind, Execute); `None` while the name is unknown.
    Statement(Option<Vec<u8>>),
    /// Any other request, as a Parse.
    Other,
}

impl RequestKind {
    /// Returns the kind by the first message of the request.
    fn of(message: u8) -> Self {
        match message {
            b'Q' => Self::Script,
            b'B' => Self::Statement(None),
            _ => Self::Other,
        }
    }

    /// Returns true if the request is a statement of this name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        matches!(self, Self::Statement(Some(own)) if own == name.as_bytes())
    }

    /// Returns true if both can be the same request.
    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Statement(Some(one)), Self::Statement(Some(other))) => one == other,
            (Self::Statement(_), Self::Statement(_)) => true,
            (one, other) => one == other,
        }
    }
}

/// A request and its answer so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) kind: RequestKind,
    /// Tells whether the parameters were bound, so that the statement was about to run.
    pub(crate) bound: bool,
    /// The last command tag, or nothing.
    pub(crate) tag: String,
    /// The status of the transaction after it: `I`, `T` or `E`; 0 without an answer.
    pub(crate) status: u8,
}

/// Returns true if the requests that were sent are the first of the intended ones.
pub(crate) fn is_prefix(sent: &[Exchange], intended: &[RequestKind]) -> bool {
    sent.len() <= intended.len()
        && sent.iter().zip(intended).all(|(one, kind)| one.kind.matches(kind))
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// The number of the last request of which a part was sent, from 1.
    pub(crate) last_sent: u64,
    /// The number of the last request that was answered, from 1.
    pub(crate) last_answered: u64,
    /// For each request without an answer, the oldest first: true if it has a number.
    unanswered: VecDeque<bool>,
    /// True once the startup is answered.
    has_started: bool,
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Recording {
    /// The number of the first request.
    first: u64,
    exchanges: Vec<Exchange>,
}

impl Requests {
    /// Starts recording the requests that begin from now on.
    pub(crate) fn record(&mut self) {
        self.recording = Some(Recording { first: self.last_sent + 1, exchanges: Vec::new() });
    }

    /// Stops recording, and returns the requests.
    pub(crate) fn take_recorded(&mut self) -> Vec<Exchange> {
        self.recording.take().map(|recording| recording.exchanges).unwrap_or_default()
    }

    /// Adds a request, whose first message is sent.
    pub(crate) fn begin(&mut self, message: u8) {
        let is_numbered = message != b'C';
        self.unanswered.push_back(is_numbered);
        if is_numbered {
            self.number(RequestKind::of(message));
        }
    }

    /// Adds a further message to the request: one that only closes a statement has no other.
    pub(crate) fn go_on(&mut self, message: u8) {
        if let Some(is_numbered @ false) = self.unanswered.back_mut()
            && !matches!(message, b'C' | b'S')
        {
            *is_numbered = true;
            self.number(RequestKind::Other);
        }
    }

    fn number(&mut self, kind: RequestKind) {
        self.last_sent += 1;
        if let Some(recording) = &mut self.recording {
            recording.exchanges.push(Exchange {
                kind,
                bound: false,
                tag: String::new(),
                status: 0,
            });
        }
    }

    /// Sets the name of the last request's statement, whose Bind was sent; `None` for a name that is
    /// not the driver's.
    pub(crate) fn bind(&mut self, name: Option<&[u8]>) {
        let last = self.recording.as_mut().and_then(|recording| recording.exchanges.last_mut());
        if let Some(Exchange { kind: RequestKind::Statement(bound), .. }) = last {
            *bound = Some(name.unwrap_or_default().to_vec());
        }
    }

    /// Removes the oldest unanswered request; the answer to the startup belongs to none.
    pub(crate) fn answer(&mut self) {
        self.has_started = true;
        self.last_answered += u64::from(self.unanswered.pop_front() == Some(true));
    }

    /// Returns true if the startup and all requests are answered.
    pub(crate) fn all_answered(&self) -> bool {
        self.has_started && self.unanswered.is_empty()
    }

    /// Returns the oldest unanswered request, if it is recorded.
    pub(crate) fn current(&mut self) -> Option<&mut Exchange> {
        if self.unanswered.front() != Some(&true) {
            return None;
        }
        let number = self.last_answered + 1;
        let recording = self.recording.as_mut()?;
        let index = usize::try_from(number.checked_sub(recording.first)?).ok()?;
        recording.exchanges.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Exchange {
        Exchange { kind: RequestKind::Script, bound: false, tag: String::new(), status: 0 }
    }

    #[test]
    fn the_close_of_a_statement_has_no_number() {
        let mut requests = Requests::default();
        requests.answer();
        requests.record();
        for message in [b'C', b'Q', b'C', b'B'] {
            requests.begin(message);
            requests.go_on(b'S');
        }
        requests.bind(Some(b"s1"));
        assert_eq!((requests.last_sent, requests.last_answered), (2, 0));
        assert!(requests.current().is_none(), "a Close is answered first");
        requests.answer();
        requests.current().expect("the script is next").tag = "BEGIN".to_owned();
        requests.answer();
        requests.answer();
        assert_eq!(requests.last_answered, 1);
        requests.current().expect("the statement is next").bound = true;
        requests.answer();
        assert_eq!(requests.last_answered, 2);
        let statement = RequestKind::Statement(Some(b"s1".to_vec()));
        let recorded = requests.take_recorded();
        assert_eq!(recorded[0], Exchange { tag: "BEGIN".to_owned(), ..script() });
        assert_eq!(recorded[1], Exchange { kind: statement, bound: true, ..script() });
    }

    #[test]
    fn a_request_that_does_more_than_close_has_a_number() {
        let mut requests = Requests::default();
        requests.begin(b'C');
        assert_eq!(requests.last_sent, 0);
        requests.go_on(b'B');
        requests.go_on(b'E');
        assert_eq!(requests.last_sent, 1);
        requests.answer();
        assert_eq!(requests.last_answered, 1);
    }

    #[test]
    fn sent_requests_are_compared_with_the_intended_ones() {
        let named = |name: &str| RequestKind::Statement(Some(name.as_bytes().to_vec()));
        let sent = |kinds: Vec<RequestKind>| -> Vec<Exchange> {
            kinds.into_iter().map(|kind| Exchange { kind, ..script() }).collect()
        };
        let intended = [RequestKind::Script, named("s1"), RequestKind::Statement(None)];
        for (kinds, expected) in [
            (vec![], true),
            (vec![RequestKind::Script, named("s1"), named("s7")], true),
            (vec![RequestKind::Script, named("s2")], false),
            (vec![named("s1"), RequestKind::Script], false),
            (vec![RequestKind::Other, RequestKind::Script], false),
            (vec![RequestKind::Script, named("s1"), named("s7"), RequestKind::Script], false),
        ] {
            let sent = sent(kinds);
            assert_eq!(is_prefix(&sent, &intended), expected, "{sent:?}");
        }
    }
}
