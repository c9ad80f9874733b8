//! How long a connection lives, and whether it may be lent. Pure.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::snapshot::CloseReason;

/// What the pool knows of one connection's life.
#[derive(Debug)]
pub(crate) struct Life {
    /// When it is to be closed; `None`: never for its age.
    pub(crate) expires: Option<Instant>,
    pub(crate) idle_since: Instant,
    /// The pool's generation when its opening began.
    pub(crate) generation: u64,
}

/// Which connections the pool trusts.
#[derive(Debug)]
pub(crate) struct Trust {
    generation: AtomicU64,
    doubts: Mutex<Doubts>,
}

#[derive(Debug)]
struct Doubts {
    /// Why the last generation was given up.
    reason: CloseReason,
    /// What was idle then is asked before it is lent: another one was found lost.
    suspect: Option<Instant>,
    /// What was idle then is closed: another one did not even say that it was lost.
    silent: Option<Instant>,
}

/// Whether an idle connection may be lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// As it is.
    Fit,
    /// Once it was asked.
    Doubtful,
    /// No.
    Unfit(CloseReason),
}

impl Trust {
    pub(crate) fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            doubts: Mutex::new(Doubts { reason: CloseReason::Admin, suspect: None, silent: None }),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Gives up everything that is open.
    pub(crate) fn give_up(&self, reason: CloseReason) {
        self.doubts.lock().reason = reason;
        self.generation.fetch_add(1, SeqCst);
    }

    /// Says that a connection was found lost.
    pub(crate) fn lost_one(&self, now: Instant) {
        self.doubts.lock().suspect = Some(now);
    }

    /// Says that a connection did not answer.
    pub(crate) fn silent_one(&self, now: Instant) {
        self.doubts.lock().silent = Some(now);
    }

    /// Whether a connection is of an earlier generation, and why that was given up.
    pub(crate) fn outlived(&self, life: &Life) -> Option<CloseReason> {
        (life.generation < self.generation()).then(|| self.doubts.lock().reason)
    }

    /// Whether an idle connection may be lent now.
    pub(crate) fn judge(&self, life: &Life, now: Instant, ask_after: Duration) -> Fitness {
        if let Some(reason) = self.outlived(life) {
            return Fitness::Unfit(reason);
        }
        let (suspect, silent) = {
            let doubts = self.doubts.lock();
            (doubts.suspect, doubts.silent)
        };
        let was_idle = |at: Option<Instant>| at.is_some_and(|at| life.idle_since <= at);
        if was_idle(silent) {
            return Fitness::Unfit(CloseReason::Broken);
        }
        if was_idle(suspect) || now.saturating_duration_since(life.idle_since) >= ask_after {
            return Fitness::Doubtful;
        }
        Fitness::Fit
    }
}

/// When a connection that opens now is to be closed: as late as `max_lifetime`, and earlier by up to
/// `jitter` of it, so that what was opened together is not closed together. `chance` is from 0 to 1.
pub(crate) fn expiry(
    now: Instant,
    max_lifetime: Duration,
    jitter: f64,
    chance: f64,
) -> Option<Instant> {
    let lifetime = max_lifetime.mul_f64((1.0 - jitter * chance).clamp(0.0, 1.0));
    (!max_lifetime.is_zero()).then(|| now + lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn life(idle_since: Instant) -> Life {
        Life { expires: None, idle_since, generation: 0 }
    }

    #[test]
    fn only_what_was_idle_for_long_is_asked() {
        let (trust, now) = (Trust::new(), Instant::now());
        let judge = |at| trust.judge(&life(now), at, 5 * SECOND);
        assert_eq!(judge(now + SECOND), Fitness::Fit);
        assert_eq!(judge(now + 5 * SECOND), Fitness::Doubtful);
    }

    #[test]
    fn what_was_idle_when_another_was_lost_is_asked_and_what_came_back_later_is_not() {
        let (trust, now) = (Trust::new(), Instant::now());
        trust.lost_one(now + SECOND);
        let judge = |since| trust.judge(&life(since), now + 2 * SECOND, 5 * SECOND);
        assert_eq!(judge(now), Fitness::Doubtful);
        assert_eq!(judge(now + 2 * SECOND), Fitness::Fit);
        trust.silent_one(now + SECOND);
        assert_eq!(judge(now), Fitness::Unfit(CloseReason::Broken));
        assert_eq!(judge(now + 2 * SECOND), Fitness::Fit);
    }

    #[test]
    fn an_earlier_generation_is_closed_for_the_reason_that_ended_it() {
        let (trust, now) = (Trust::new(), Instant::now());
        trust.give_up(CloseReason::Failover);
        let old = trust.judge(&life(now), now, SECOND);
        assert_eq!(old, Fitness::Unfit(CloseReason::Failover));
        let new = Life { generation: trust.generation(), ..life(now) };
        assert_eq!(trust.judge(&new, now, SECOND), Fitness::Fit);
    }

    #[test]
    fn lifetimes_differ_by_the_jitter_and_are_never_longer() {
        let now = Instant::now();
        let cases = [(0.0, 3600), (1.0, 3240), (0.5, 3420)];
        for (chance, seconds) in cases {
            let expected = Some(now + Duration::from_secs(seconds));
            assert_eq!(expiry(now, 3600 * SECOND, 0.1, chance), expected);
        }
        assert_eq!(expiry(now, Duration::ZERO, 0.1, 0.5), None);
    }
}
