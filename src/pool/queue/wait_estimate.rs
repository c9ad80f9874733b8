//! An estimate of the shortest wait in a queue, by how long connections are held. Pure.

use std::time::{Duration, Instant};

/// The least number of observations.
const MIN_OBSERVATIONS: u32 = 64;
/// The age at which observations are discarded.
const MAX_AGE: Duration = Duration::from_secs(1);
/// The least number of callers ahead: with fewer, a single slow or quick one would decide.
const MIN_AHEAD: usize = 16;
/// The inverse weight of a new observation in the mean.
const WEIGHT: u32 = 32;

/// The mean time for which connections are held.
#[derive(Debug, Default)]
pub(crate) struct WaitEstimate {
    mean: Duration,
    observed: u32,
    last: Option<Instant>,
}

impl WaitEstimate {
    /// Notes the time for which a connection was held.
    pub(crate) fn note(&mut self, held: Duration, now: Instant) {
        if !self.is_recent(now) {
            *self = Self { mean: held, observed: 0, last: None };
        }
        self.mean = self.mean * (WEIGHT - 1) / WEIGHT + held / WEIGHT;
        self.observed = self.observed.saturating_add(1);
        self.last = Some(now);
    }

    /// The shortest wait behind `ahead` callers for one of `connections`: half of the expected one. `None` if
    /// that is not certain.
    pub(crate) fn wait(&self, ahead: usize, connections: usize, now: Instant) -> Option<Duration> {
        if !self.is_recent(now)
            || self.observed < MIN_OBSERVATIONS
            || ahead < connections.max(MIN_AHEAD)
        {
            return None;
        }
        let rounds = u32::try_from(ahead / connections.max(1)).ok()?;
        Some(self.mean.saturating_mul(rounds) / 2)
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) <= MAX_AGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn steady(held: Duration) -> (WaitEstimate, Instant) {
        let mut wait_estimate = WaitEstimate::default();
        let now = Instant::now();
        for _ in 0..MIN_OBSERVATIONS {
            wait_estimate.note(held, now);
        }
        (wait_estimate, now)
    }

    #[test]
    fn the_estimate_is_half_of_the_expected_wait() {
        let (wait_estimate, now) = steady(10 * MS);
        let near = |wait: Option<Duration>, expected: Duration| {
            wait.is_some_and(|wait| wait.abs_diff(expected) < MS)
        };
        assert!(near(wait_estimate.wait(100, 10, now), 50 * MS));
        assert!(near(wait_estimate.wait(1000, 10, now), 500 * MS));
    }

    #[test]
    fn there_is_no_estimate_that_is_not_certain() {
        let (wait_estimate, now) = steady(10 * MS);
        assert_eq!(wait_estimate.wait(MIN_AHEAD - 1, 1, now), None, "few are ahead");
        assert_eq!(wait_estimate.wait(19, 20, now), None, "all that wait are served at once");
        assert_eq!(wait_estimate.wait(100, 10, now + MAX_AGE + MS), None, "it is long ago");
        let mut few = WaitEstimate::default();
        few.note(10 * MS, now);
        assert_eq!(few.wait(100, 1, now), None, "one was observed");
    }

    #[test]
    fn a_change_of_the_mean_is_followed() {
        let (mut wait_estimate, now) = steady(100 * MS);
        for _ in 0..200 {
            wait_estimate.note(MS, now);
        }
        assert!(wait_estimate.wait(100, 10, now).is_some_and(|wait| wait < 10 * MS));
        wait_estimate.note(MS, now + MAX_AGE + MS);
        assert_eq!(wait_estimate.wait(100, 10, now + MAX_AGE + MS), None, "it begins anew");
    }
}
