//! Pauses between attempts to open connections that no caller waits for. Pure.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use crate::error::ErrorKind;

/// The pauses while the database is unreachable, at first and at most.
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a refused login: wrong passwords lock accounts.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Limits the opening of connections up to `pool.min`: one at a time, with pauses after failures.
#[derive(Debug, Default)]
pub(crate) struct Refill {
    in_progress: tokio::sync::Mutex<()>,
    pause: Mutex<Pause>,
}

#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Refill {
    /// Notes that the database was reached; returns true if that ends a pause.
    pub(crate) fn reached(&self) -> bool {
        std::mem::take(&mut *self.pause.lock()).until.is_some()
    }

    /// Notes that a connection could not be opened.
    pub(crate) fn failed(&self, kind: ErrorKind, now: Instant) {
        let mut pause = self.pause.lock();
        pause.length = if kind == ErrorKind::BackendMisconfigured {
            REFUSED_PAUSE
        } else {
            (pause.length * 2).clamp(MIN_PAUSE, MAX_PAUSE)
        };
        pause.until = Some(now + pause.length);
    }

    /// Returns the permit to open one connection now.
    pub(crate) fn begin(&self, now: Instant) -> Option<MutexGuard<'_, ()>> {
        if self.pause.lock().until.is_some_and(|until| now < until) {
            return None;
        }
        self.in_progress.try_lock().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_while_the_database_is_unreachable_become_rare_and_one_is_made_at_a_time() {
        let refill = Refill::default();
        let mut at = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(refill.begin(at).is_some());
            refill.failed(ErrorKind::DatabaseUnavailable, at);
            let pause = refill.pause.lock().length;
            assert!(refill.begin(at + pause - Duration::from_millis(1)).is_none());
            at += pause;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        refill.failed(ErrorKind::BackendMisconfigured, at);
        assert!(refill.begin(at + MAX_PAUSE).is_none(), "a wrong password is not tried often");
        assert!(refill.reached() && !refill.reached());
        let permit = refill.begin(at).expect("it was reached");
        assert!(refill.begin(at).is_none(), "one is being opened");
        drop(permit);
        assert!(refill.begin(at).is_some());
    }
}
