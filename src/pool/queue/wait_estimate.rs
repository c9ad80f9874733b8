//! How fast connections come back, and so how long a wait will be at the least. Pure.

use std::time::{Duration, Instant};

/// How many were seen before anything is said.
const FEWEST: u32 = 64;
/// What was seen longer ago says nothing.
const FRESH: Duration = Duration::from_secs(1);
/// Fewer than this ahead, and one that is slow or quick by chance makes all the difference.
const CROWD: usize = 16;
/// How much of the mean each new one makes.
const WEIGHT: u32 = 32;

/// How long connections are held.
#[derive(Debug, Default)]
pub(crate) struct WaitEstimate {
    mean: Duration,
    seen: u32,
    last: Option<Instant>,
}

impl WaitEstimate {
    /// Notes a connection that came back.
    pub(crate) fn note(&mut self, held: Duration, now: Instant) {
        let stale = self.last.is_none_or(|last| now.saturating_duration_since(last) > FRESH);
        if stale {
            *self = Self { mean: held, seen: 0, last: None };
        }
        self.mean = self.mean * (WEIGHT - 1) / WEIGHT + held / WEIGHT;
        self.seen = self.seen.saturating_add(1);
        self.last = Some(now);
    }

    /// The shortest wait behind `ahead` others for one of `connections`: half of what is to be expected.
    /// `None` whenever that is not certain.
    pub(crate) fn wait(&self, ahead: usize, connections: usize, now: Instant) -> Option<Duration> {
        let fresh = self.last.is_some_and(|last| now.saturating_duration_since(last) <= FRESH);
        if !fresh || self.seen < FEWEST || ahead < connections.max(CROWD) {
            return None;
        }
        let rounds = u32::try_from(ahead / connections.max(1)).ok()?;
        Some(self.mean.saturating_mul(rounds) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn steady(held: Duration) -> (WaitEstimate, Instant) {
        let (mut wait_estimate, now) = (WaitEstimate::default(), Instant::now());
        for _ in 0..FEWEST {
            wait_estimate.note(held, now);
        }
        (wait_estimate, now)
    }

    #[test]
    fn the_wait_is_said_to_be_half_of_what_is_to_be_expected() {
        let (wait_estimate, now) = steady(10 * MS);
        let near = |wait: Option<Duration>, expected: Duration| {
            wait.is_some_and(|wait| wait.abs_diff(expected) < MS)
        };
        assert!(near(wait_estimate.wait(100, 10, now), 50 * MS));
        assert!(near(wait_estimate.wait(1000, 10, now), 500 * MS));
    }

    #[test]
    fn nothing_is_said_that_is_not_certain() {
        let (wait_estimate, now) = steady(10 * MS);
        assert_eq!(wait_estimate.wait(CROWD - 1, 1, now), None, "few are ahead");
        assert_eq!(wait_estimate.wait(19, 20, now), None, "all that wait are served at once");
        assert_eq!(wait_estimate.wait(100, 10, now + FRESH + MS), None, "it is long ago");
        let mut few = WaitEstimate::default();
        few.note(10 * MS, now);
        assert_eq!(few.wait(100, 1, now), None, "one was seen");
    }

    #[test]
    fn a_pace_that_changes_is_noticed() {
        let (mut wait_estimate, now) = steady(100 * MS);
        for _ in 0..200 {
            wait_estimate.note(MS, now);
        }
        assert!(wait_estimate.wait(100, 10, now).is_some_and(|wait| wait < 10 * MS));
        wait_estimate.note(MS, now + FRESH + MS);
        assert_eq!(wait_estimate.wait(100, 10, now + FRESH + MS), None, "it begins anew");
    }
}
