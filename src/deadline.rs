//! When a call must have ended. Pure: the clock is passed in.

use std::time::{Duration, Instant};

/// The moment at which a call's work in the database must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// The limits a database sets on calls.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    /// The time a call gets that sends no deadline.
    pub default: Duration,
    /// The most time any call gets.
    pub cap: Duration,
}

impl Deadline {
    /// A deadline at a moment.
    #[must_use]
    pub fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// The smallest of the caller's gRPC timeout less a reserve, its `timeout` option, and the cap;
    /// `limits.default` when the caller sent neither.
    ///
    /// The reserve is 5 % of the gRPC timeout, at least 5 ms and at most 250 ms, so that the answer
    /// arrives before the client's own timer fires.
    #[must_use]
    pub fn of_call(
        now: Instant,
        grpc_timeout: Option<Duration>,
        option: Option<Duration>,
        limits: CallLimits,
    ) -> Self {
        let from_grpc = grpc_timeout.map(|timeout| {
            let reserve =
                (timeout / 20).clamp(Duration::from_millis(5), Duration::from_millis(250));
            timeout.saturating_sub(reserve)
        });
        let budget = match (from_grpc, option) {
            (None, None) => limits.default,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) => one.min(other),
        };
        Self(now + budget.min(limits.cap))
    }

    /// The moment.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The time left at `now`; zero when it has passed.
    #[must_use]
    pub fn left(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// The earlier of this and `now + limit`.
    #[must_use]
    pub fn within(self, now: Instant, limit: Duration) -> Self {
        Self(self.0.min(now + limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_stops_at_the_smallest_of_what_bounds_it() {
        let ms = Duration::from_millis;
        let limits = CallLimits { default: ms(30_000), cap: ms(300_000) };
        let cases = [
            (None, None, 30_000),
            (Some(1_000), None, 950),
            (Some(20), None, 15),
            (Some(4), None, 0),
            (Some(60_000), None, 59_750),
            (Some(600_000), None, 300_000),
            (None, Some(200), 200),
            (Some(1_000), Some(200), 200),
            (Some(100), Some(200), 95),
            (None, Some(900_000), 300_000),
        ];
        let now = Instant::now();
        for (grpc, option, expected) in cases {
            let deadline = Deadline::of_call(now, grpc.map(ms), option.map(ms), limits);
            assert_eq!(deadline.left(now), ms(expected), "{grpc:?} {option:?}");
        }
    }
}
