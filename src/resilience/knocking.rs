//! What a listener does when it cannot accept.

use std::io;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// A row of failures to accept a connection. While the system has no descriptors left, say, those who
/// knock stay in the listener's queue; to try again at once would only burn the processor.
#[derive(Debug, Default)]
pub struct Knocking {
    pause: Duration,
}

impl Knocking {
    /// A connection was accepted: the row is over.
    pub fn accepted(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// How long to wait after a failure; nothing when it was one client's own. `first` of its row is to be
    /// logged, the others are the same story.
    pub fn failed(&mut self, error: &io::Error) -> Option<Pause> {
        let kind = error.kind();
        if kind == io::ErrorKind::ConnectionAborted || kind == io::ErrorKind::Interrupted {
            return None;
        }
        let first = self.pause.is_zero();
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        Some(Pause { length: self.pause, first })
    }
}

/// A pause in accepting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How long.
    pub length: Duration,
    /// Whether the row of failures begins with it.
    pub first: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_a_row_and_only_the_first_is_told() {
        let mut knocking = Knocking::default();
        let error = io::Error::other("no file descriptors are left");
        let mut pauses = || knocking.failed(&error).expect("it is the system's error");
        let ms = Duration::from_millis;
        assert_eq!(pauses(), Pause { length: ms(10), first: true });
        assert_eq!(pauses(), Pause { length: ms(20), first: false });
        let longest = (0..20).map(|_| pauses().length).last();
        assert_eq!(longest, Some(LONGEST));
        knocking.accepted();
        assert_eq!(knocking.failed(&error), Some(Pause { length: ms(10), first: true }));
    }

    #[test]
    fn a_client_that_has_gone_already_is_nothing_to_wait_for() {
        let mut knocking = Knocking::default();
        assert_eq!(knocking.failed(&io::ErrorKind::ConnectionAborted.into()), None);
    }
}
