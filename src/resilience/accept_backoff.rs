//! What a listener does when it cannot accept.

use std::io;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);
/// After so long without a failure the next one is news.
const QUIET: Duration = Duration::from_secs(10);

/// A row of failures to accept a connection. While the system has no descriptors left, say, those who
/// knock stay in the listener's queue; to try again at once would only burn the processor.
#[derive(Debug, Default)]
pub struct AcceptBackoff {
    pause: Duration,
    /// When it failed last.
    failed: Option<Instant>,
}

impl AcceptBackoff {
    /// A connection was accepted: the row is over.
    pub fn accepted(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// How long to wait after a failure; nothing when it was one client's own. The `first` after a quiet time
    /// is to be logged, the others are the same story, though one or the other gets in between.
    pub fn failed(&mut self, error: &io::Error, now: Instant) -> Option<Pause> {
        let kind = error.kind();
        if kind == io::ErrorKind::ConnectionAborted || kind == io::ErrorKind::Interrupted {
            return None;
        }
        let last = self.failed.replace(now);
        let first = last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        Some(Pause { length: self.pause, first })
    }
}

/// A pause in accepting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How long.
    pub length: Duration,
    /// Whether the story begins with it.
    pub first: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_a_row_and_only_the_first_is_told() {
        let mut accept_backoff = AcceptBackoff::default();
        let error = io::Error::other("no file descriptors are left");
        let now = Instant::now();
        let mut pauses = || accept_backoff.failed(&error, now).expect("it is the system's error");
        let ms = Duration::from_millis;
        assert_eq!(pauses(), Pause { length: ms(10), first: true });
        assert_eq!(pauses(), Pause { length: ms(20), first: false });
        let longest = (0..20).map(|_| pauses().length).last();
        assert_eq!(longest, Some(LONGEST));
        accept_backoff.accepted();
        let between = accept_backoff.failed(&error, now + QUIET / 2);
        assert_eq!(between, Some(Pause { length: ms(10), first: false }), "one got in between");
        accept_backoff.accepted();
        let later = accept_backoff.failed(&error, now + 2 * QUIET);
        assert_eq!(later, Some(Pause { length: ms(10), first: true }));
    }

    #[test]
    fn a_client_that_has_gone_already_is_nothing_to_wait_for() {
        let mut accept_backoff = AcceptBackoff::default();
        assert_eq!(
            accept_backoff.failed(&io::ErrorKind::ConnectionAborted.into(), Instant::now()),
            None
        );
    }
}
