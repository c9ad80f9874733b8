//! Deadlines of calls. Pure: the clock is passed in.

use std::time::{Duration, Instant};

/// The moment at which a call's work in the database must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline {
    moment: Instant,
    /// The time after it in which the answer may still arrive.
    slack: Duration,
}

const MAX_SLACK: Duration = Duration::from_millis(50);

/// The limits a database sets on calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallLimits {
    /// The time of a call that sends no deadline.
    pub default: Duration,
    /// The longest time of any call.
    pub cap: Duration,
}

impl Deadline {
    pub(crate) fn at(moment: Instant) -> Self {
        Self { moment, slack: MAX_SLACK }
    }

    /// Returns the smallest of the caller's gRPC timeout less a reserve, its `timeout` option, and the cap;
    /// `limits.default` when the caller sent neither.
    ///
    /// The reserve is 5 % of the gRPC timeout, at least 5 ms and at most 250 ms, so that the answer
    /// arrives before the client's own timer fires.
    pub(crate) fn of_call(
        now: Instant,
        grpc_timeout: Option<Duration>,
        option: Option<Duration>,
        limits: CallLimits,
    ) -> Self {
        let reserve = |timeout: Duration| {
            (timeout / 20).clamp(Duration::from_millis(5), Duration::from_millis(250))
        };
        let from_grpc = grpc_timeout.map(|timeout| timeout.saturating_sub(reserve(timeout)));
        let wanted = [from_grpc, option].into_iter().flatten().min();
        let budget = wanted.unwrap_or(limits.default).min(limits.cap);
        let slack = grpc_timeout.map_or(MAX_SLACK, |timeout| timeout.saturating_sub(budget));
        Self { moment: now + budget, slack: slack.min(MAX_SLACK) }
    }

    pub(crate) fn instant(self) -> Instant {
        self.moment
    }

    /// The moment plus so many hundredths of the slack, which is 50 ms, or less if the caller's own timer fires
    /// before.
    pub(crate) fn late(self, hundredths: u32) -> Instant {
        self.moment + self.slack * hundredths / 100
    }

    /// The time left at `now`; zero when it has passed.
    pub(crate) fn left(self, now: Instant) -> Duration {
        self.moment.saturating_duration_since(now)
    }

    /// The earlier of this and `now + limit`.
    pub(crate) fn within(self, now: Instant, limit: Duration) -> Self {
        self.no_later_than(now + limit)
    }

    /// The earlier of this and a moment. The caller's own timer stays where it is.
    pub(crate) fn no_later_than(self, moment: Instant) -> Self {
        let earlier = self.moment.saturating_duration_since(moment);
        Self { moment: self.moment.min(moment), slack: (self.slack + earlier).min(MAX_SLACK) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_at_the_smallest_of_its_bounds() {
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

    #[test]
    fn an_answer_may_be_as_late_as_the_callers_own_timer_allows() {
        let ms = Duration::from_millis;
        let limits = CallLimits { default: ms(30_000), cap: ms(300_000) };
        let cases = [
            (None, None, 50),
            (Some(100), None, 5),
            (Some(400), None, 20),
            (Some(1_000), None, 50),
            (Some(60_000), None, 50),
            (Some(1_000), Some(200), 50),
            (Some(1_000), Some(980), 50),
            (Some(1), None, 1),
        ];
        let now = Instant::now();
        for (grpc, option, expected) in cases {
            let deadline = Deadline::of_call(now, grpc.map(ms), option.map(ms), limits);
            let late = deadline.late(100).duration_since(deadline.instant());
            assert_eq!(late, ms(expected), "{grpc:?} {option:?}");
            assert_eq!(deadline.late(20).duration_since(deadline.instant()), late / 5);
            let earlier = deadline.no_later_than(deadline.instant() - ms(2).min(late));
            assert_eq!(earlier.late(100), earlier.instant() + (late + ms(2).min(late)).min(ms(50)));
            assert_eq!(deadline.no_later_than(deadline.instant() + ms(1)), deadline);
        }
    }
}
