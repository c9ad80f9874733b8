//! The requests of one connection: numbered as they are sent, and what each was answered.
//!
//! A request is all messages up to a Sync, or a Query. The driver also sends some that nobody asked for: the
//! Close of a statement whose last use is over, whenever it likes. Those are answered as any other, but
//! have no number: whoever counts from a number on, counts requests of his own.

use std::collections::VecDeque;

/// What a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text of ours (Query).
    Script,
    /// The prepared statement of a name (Bind, Execute); of any, while the name is not known.
    Statement(Option<Vec<u8>>),
    /// Anything else: something is prepared, say.
    Other,
}

impl Kind {
    /// By the first message of the request.
    fn of(message: u8) -> Self {
        match message {
            b'Q' => Self::Script,
            b'B' => Self::Statement(None),
            _ => Self::Other,
        }
    }

    /// Whether it is a statement of this name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        matches!(self, Self::Statement(Some(own)) if own == name.as_bytes())
    }

    /// Whether both can be the same.
    fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Statement(Some(one)), Self::Statement(Some(other))) => one == other,
            (Self::Statement(_), Self::Statement(_)) => true,
            (one, other) => one == other,
        }
    }
}

/// A request and what it was answered, as far as that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) kind: Kind,
    /// Whether its statement was about to run: its parameters were bound.
    pub(crate) bound: bool,
    /// The last command tag; empty: none.
    pub(crate) tag: String,
}

/// Whether what was sent is the beginning of what was meant to be.
pub(crate) fn fit(sent: &[Exchange], meant: &[Kind]) -> bool {
    sent.len() <= meant.len() && sent.iter().zip(meant).all(|(one, kind)| one.kind.fits(kind))
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: u64,
    answered: u64,
    /// Those without an answer, the oldest first: whether each has a number.
    waiting: VecDeque<bool>,
    /// The number of the first that is noted, and all from there on; `None`: none are.
    noted: Option<(u64, Vec<Exchange>)>,
}

impl Requests {
    /// The number of the last one of which something was sent, from 1.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// The number of the last one that was answered, from 1.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Starts to note the requests that are still to begin.
    pub(crate) fn note(&mut self) {
        self.noted = Some((self.begun + 1, Vec::new()));
    }

    /// What was noted; nothing more is.
    pub(crate) fn take_noted(&mut self) -> Vec<Exchange> {
        self.noted.take().map(|(_, exchanges)| exchanges).unwrap_or_default()
    }

    /// The first message of a request is sent.
    pub(crate) fn begin(&mut self, message: u8) {
        let is_numbered = message != b'C';
        self.waiting.push_back(is_numbered);
        if is_numbered {
            self.number(Kind::of(message));
        }
    }

    /// A further message of a request is sent: one that only closes something has no other.
    pub(crate) fn go_on(&mut self, message: u8) {
        if let Some(last) = self.waiting.back_mut()
            && !*last
            && !matches!(message, b'C' | b'S')
        {
            *last = true;
            self.number(Kind::Other);
        }
    }

    fn number(&mut self, kind: Kind) {
        self.begun += 1;
        if let Some((_, exchanges)) = &mut self.noted {
            exchanges.push(Exchange { kind, bound: false, tag: String::new() });
        }
    }

    /// The Bind of a request was sent whole; `None`: the name of its statement is not the driver's.
    pub(crate) fn bind(&mut self, name: Option<&[u8]>) {
        if let Some((_, exchanges)) = &mut self.noted
            && let Some(Exchange { kind: Kind::Statement(bound), .. }) = exchanges.last_mut()
        {
            *bound = Some(name.unwrap_or_default().to_vec());
        }
    }

    /// The oldest of those that wait is answered.
    pub(crate) fn answer(&mut self) {
        // The answer to the startup is to none of them.
        self.answered += u64::from(self.waiting.pop_front() == Some(true));
    }

    /// That one, where it is noted.
    pub(crate) fn current(&mut self) -> Option<&mut Exchange> {
        let number = self.answered + 1;
        if self.waiting.front() != Some(&true) {
            return None;
        }
        let (first, exchanges) = self.noted.as_mut()?;
        let place = usize::try_from(number.checked_sub(*first)?).ok()?;
        exchanges.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Exchange {
        Exchange { kind: Kind::Script, bound: false, tag: String::new() }
    }

    #[test]
    fn what_the_driver_closes_by_itself_has_no_number() {
        let mut requests = Requests::default();
        requests.answer();
        requests.note();
        for message in [b'C', b'Q', b'C', b'B'] {
            requests.begin(message);
            requests.go_on(b'S');
        }
        requests.bind(Some(b"s1"));
        assert_eq!((requests.begun(), requests.answered()), (2, 0));
        assert!(requests.current().is_none(), "a Close is answered first");
        requests.answer();
        requests.current().expect("the script is next").tag = "BEGIN".to_owned();
        requests.answer();
        requests.answer();
        assert_eq!(requests.answered(), 1);
        requests.current().expect("the statement is next").bound = true;
        requests.answer();
        assert_eq!(requests.answered(), 2);
        let statement = Kind::Statement(Some(b"s1".to_vec()));
        let noted = requests.take_noted();
        assert_eq!(noted[0], Exchange { tag: "BEGIN".to_owned(), ..script() });
        assert_eq!(noted[1], Exchange { kind: statement, bound: true, tag: String::new() });
    }

    #[test]
    fn a_request_that_does_more_than_close_has_one() {
        let mut requests = Requests::default();
        requests.begin(b'C');
        assert_eq!(requests.begun(), 0);
        requests.go_on(b'B');
        requests.go_on(b'E');
        assert_eq!(requests.begun(), 1);
        requests.answer();
        assert_eq!(requests.answered(), 1);
    }

    #[test]
    fn what_was_sent_is_compared_with_what_was_meant() {
        let named = |name: &str| Kind::Statement(Some(name.as_bytes().to_vec()));
        let sent = |kinds: Vec<Kind>| -> Vec<Exchange> {
            kinds.into_iter().map(|kind| Exchange { kind, ..script() }).collect()
        };
        let meant = [Kind::Script, named("s1"), Kind::Statement(None)];
        for (kinds, fits) in [
            (vec![], true),
            (vec![Kind::Script, named("s1"), named("s7")], true),
            (vec![Kind::Script, named("s2")], false),
            (vec![named("s1"), Kind::Script], false),
            (vec![Kind::Other, Kind::Script], false),
            (vec![Kind::Script, named("s1"), named("s7"), Kind::Script], false),
        ] {
            let sent = sent(kinds);
            assert_eq!(fit(&sent, &meant), fits, "{sent:?}");
        }
    }
}
