//! Pauses of a listener that cannot accept connections.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::backoff::Backoff;

const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(10), max: Duration::from_secs(1) };
/// A failure after so long without one is logged.
const QUIET: Duration = Duration::from_secs(10);

/// A row of failures to accept a connection. While the system has no file descriptors left, say, clients stay
/// in the listener's queue; to accept again at once would only burn the processor.
#[derive(Debug, Default)]
pub(crate) struct AcceptBackoff {
    failures: u32,
    last_failure: Option<Instant>,
}

impl AcceptBackoff {
    /// Accepts a connection by a listener's `poll_accept`, with pauses after failures; `log` gets the first after a
    /// quiet time.
    pub(crate) async fn accept<T, A>(
        &mut self,
        poll_accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<(T, A)>>,
        log: impl Fn(&io::Error),
    ) -> T {
        loop {
            match poll_fn(&poll_accept).await {
                Ok((stream, _)) => {
                    self.accepted();
                    return stream;
                }
                Err(error) => {
                    let Some(pause) = self.failed(&error, Instant::now()) else { continue };
                    if pause.should_log {
                        log(&error);
                    }
                    tokio::time::sleep(pause.length).await;
                }
            }
        }
    }

    /// Notes that a connection was accepted, which ends the row.
    fn accepted(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause after a failure; `None` if it was one client's own.
    fn failed(&mut self, error: &io::Error, now: Instant) -> Option<AcceptPause> {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
            return None;
        }
        let last = self.last_failure.replace(now);
        let should_log = last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        let length = BACKOFF.ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        Some(AcceptPause { length, should_log })
    }
}

/// A pause in accepting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AcceptPause {
    length: Duration,
    /// The failure is the first after a quiet time, although connections may be accepted in between.
    should_log: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_a_row_and_only_the_first_is_logged() {
        let mut accept_backoff = AcceptBackoff::default();
        let error = io::Error::other("no file descriptors are left");
        let now = Instant::now();
        let mut pauses = || accept_backoff.failed(&error, now).expect("it is the system's error");
        let ms = Duration::from_millis;
        assert_eq!(pauses(), AcceptPause { length: ms(10), should_log: true });
        assert_eq!(pauses(), AcceptPause { length: ms(20), should_log: false });
        let longest = (0..20).map(|_| pauses().length).last();
        assert_eq!(longest, Some(BACKOFF.max));
        accept_backoff.accepted();
        let between = accept_backoff.failed(&error, now + QUIET / 2);
        assert_eq!(
            between,
            Some(AcceptPause { length: ms(10), should_log: false }),
            "one got in between"
        );
        accept_backoff.accepted();
        let later = accept_backoff.failed(&error, now + 2 * QUIET);
        assert_eq!(later, Some(AcceptPause { length: ms(10), should_log: true }));
    }

    #[test]
    fn a_client_that_has_disconnected_causes_no_pause() {
        let mut accept_backoff = AcceptBackoff::default();
        assert_eq!(
            accept_backoff.failed(&io::ErrorKind::ConnectionAborted.into(), Instant::now()),
            None
        );
    }
}
