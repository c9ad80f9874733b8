//! The circuit breaker of connection attempts to one database.
//!
//! Closed, every caller that needs a connection opens one. After some failures in a row it is open: no
//! connection is attempted but for one probe at a time; the first success closes it. It counts failures to
//! *connect* and nothing else: open connections go on to serve, and no answer to a statement says anything
//! about the next connection.

use std::time::{Duration, Instant};

/// The thresholds of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerLimits {
    /// The number of failures in a row that open it; at least 1.
    pub failures: u32,
    /// The time from the start of one probe to the next.
    pub interval: Duration,
    /// The same after the login was refused: frequent attempts have the account locked.
    pub refused_interval: Duration,
}

/// The reason for which no connection was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectFailureKind {
    /// The database cannot be reached, or takes no connections.
    Unreachable,
    /// The database refuses the login.
    Refused,
}

/// A change of a breaker's state by a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerTransition {
    /// The first connection of all was opened.
    Reached,
    /// Connections are attempted again, after so long.
    Closed(Duration),
}

/// The state of one database's breaker. Pure: callers pass the time.
///
/// | state | an attempt succeeds | an attempt fails | a probe |
/// |---|---|---|---|
/// | closed | the count is 0 | one more; at `failures` it opens | is an attempt |
/// | open | it closes | nothing | may begin when it is due |
/// | probing | it closes | nothing | open again when it fails or is dropped |
///
/// Until the database was reached for the first time, a single failure opens it.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    limits: BreakerLimits,
    state: State,
    /// The time at which it was opened or closed.
    pub since: Instant,
    /// The database was reached at least once.
    pub reached: bool,
    /// The number of times it was opened.
    pub opened: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { next_probe: Instant },
    Probing { began: Instant },
}

impl CircuitBreaker {
    /// Returns a closed breaker of a database that was not reached yet.
    pub(crate) fn new(limits: BreakerLimits, now: Instant) -> Self {
        let state = State::Closed { failures: limits.failures.saturating_sub(1) };
        Self { limits, state, since: now, reached: false, opened: 0 }
    }

    /// Returns true if only probes are made.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// The time at which the next probe is due; `None` while it is closed, or while a probe is in progress.
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        match self.state {
            State::Open { next_probe } => Some(next_probe),
            State::Closed { .. } | State::Probing { .. } => None,
        }
    }

    /// Begins a probe if one is due. It ends with [`CircuitBreaker::succeeded`] or
    /// [`CircuitBreaker::probe_failed`].
    pub(crate) fn begin_probe(&mut self, now: Instant) -> bool {
        let is_due = self.next_probe().is_some_and(|due| due <= now);
        if is_due {
            self.state = State::Probing { began: now };
        }
        is_due
    }

    /// Returns true if a probe is due for so long that the prober must have ended.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.next_probe().is_some_and(|due| due + self.limits.interval <= now)
    }

    /// Begins a probe that is overdue, for a caller that needs a connection.
    pub(crate) fn begin_probe_if_overdue(&mut self, now: Instant) -> bool {
        self.is_overdue(now) && self.begin_probe(now)
    }

    /// Lets the next probe begin now: something has changed that may help.
    pub(crate) fn probe_now(&mut self, now: Instant) {
        if let State::Open { next_probe } = &mut self.state {
            *next_probe = now.min(*next_probe);
        }
    }

    /// Notes that an attempt or a probe has opened a connection.
    pub(crate) fn succeeded(&mut self, now: Instant) -> Option<BreakerTransition> {
        let was_open = self.is_open();
        self.state = State::Closed { failures: 0 };
        let is_first = !std::mem::replace(&mut self.reached, true);
        if !was_open {
            return is_first.then_some(BreakerTransition::Reached);
        }
        let open_for = now.saturating_duration_since(self.since);
        self.since = now;
        Some(BreakerTransition::Closed(open_for))
    }

    /// Notes that an attempt that is no probe has failed; returns true if that opens the breaker. One that
    /// began before it opened adds nothing.
    pub(crate) fn failed(&mut self, failure: ConnectFailureKind, now: Instant) -> bool {
        let State::Closed { failures } = &mut self.state else { return false };
        *failures = failures.saturating_add(1);
        if *failures < self.limits.failures {
            return false;
        }
        self.state = State::Open { next_probe: now + self.interval_after(failure) };
        self.since = now;
        self.opened += 1;
        true
    }

    /// Notes that a probe has failed or was dropped.
    pub(crate) fn probe_failed(&mut self, failure: ConnectFailureKind, now: Instant) {
        if let State::Probing { began } = self.state {
            let next_probe = (began + self.interval_after(failure)).max(now);
            self.state = State::Open { next_probe };
        }
    }

    fn interval_after(&self, failure: ConnectFailureKind) -> Duration {
        match failure {
            ConnectFailureKind::Unreachable => self.limits.interval,
            ConnectFailureKind::Refused => self.limits.refused_interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    const LIMITS: BreakerLimits = BreakerLimits {
        failures: 3,
        interval: Duration::from_millis(250),
        refused_interval: Duration::from_secs(30),
    };

    fn reached(now: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(LIMITS, now);
        assert_eq!(breaker.succeeded(now), Some(BreakerTransition::Reached));
        breaker
    }

    fn open(failure: ConnectFailureKind, now: Instant) -> CircuitBreaker {
        let mut breaker = reached(now);
        let changes = [0; 3].map(|_| breaker.failed(failure, now));
        assert_eq!(changes, [false, false, true]);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_starts_the_row_anew() {
        let now = Instant::now();
        let mut breaker = reached(now);
        for _ in 0..10 {
            assert!(!breaker.failed(ConnectFailureKind::Unreachable, now));
            assert!(!breaker.failed(ConnectFailureKind::Refused, now));
            assert!(!breaker.is_open());
            assert_eq!(breaker.succeeded(now), None);
        }
        assert!(!breaker.failed(ConnectFailureKind::Unreachable, now));
        assert!(!breaker.failed(ConnectFailureKind::Unreachable, now));
        assert!(breaker.failed(ConnectFailureKind::Unreachable, now + MS));
        assert_eq!((breaker.is_open(), breaker.opened), (true, 1));
        assert!(!breaker.failed(ConnectFailureKind::Unreachable, now + MS), "it is open already");
        assert_eq!((breaker.opened, breaker.since), (1, now + MS));
    }

    #[test]
    fn a_database_that_was_never_reached_needs_one_failure() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(LIMITS, now);
        assert!(!breaker.is_open() && !breaker.reached);
        assert!(breaker.failed(ConnectFailureKind::Unreachable, now));
        let later = now + 700 * MS;
        assert_eq!(breaker.succeeded(later), Some(BreakerTransition::Closed(700 * MS)));
        assert!(breaker.reached);
        assert!(
            !breaker.failed(ConnectFailureKind::Unreachable, later),
            "from now on it needs three"
        );
    }

    #[test]
    fn one_probe_is_made_at_a_time_and_one_in_an_interval() {
        for (failure, interval) in [
            (ConnectFailureKind::Unreachable, 250 * MS),
            (ConnectFailureKind::Refused, 30_000 * MS),
        ] {
            let now = Instant::now();
            let mut breaker = open(failure, now);
            assert_eq!(breaker.next_probe(), Some(now + interval));
            assert!(!breaker.begin_probe(now + interval - MS), "too early");
            let began = now + interval;
            assert!(breaker.begin_probe(began));
            assert!(!breaker.begin_probe(began + 2 * interval), "one is on its way");
            assert_eq!((breaker.next_probe(), breaker.is_open()), (None, true));
            breaker.probe_failed(failure, began + MS);
            assert_eq!(breaker.next_probe(), Some(began + interval), "counted from its start");
            assert!(breaker.begin_probe(began + interval));
            // One that takes longer than the interval is followed at once.
            let end = began + 3 * interval;
            breaker.probe_failed(failure, end);
            assert_eq!(breaker.next_probe(), Some(end));
        }
    }

    #[test]
    fn the_first_success_closes_it_whoever_had_it() {
        let now = Instant::now();
        let mut probed = open(ConnectFailureKind::Unreachable, now);
        assert!(probed.begin_probe(now + 250 * MS));
        assert_eq!(probed.succeeded(now + 260 * MS), Some(BreakerTransition::Closed(260 * MS)));
        let mut late = open(ConnectFailureKind::Unreachable, now);
        assert_eq!(
            late.succeeded(now + 5 * MS),
            Some(BreakerTransition::Closed(5 * MS)),
            "began before"
        );
        for breaker in [probed, late] {
            assert!(!breaker.is_open());
            assert_eq!(breaker.next_probe(), None);
        }
    }

    #[test]
    fn a_failed_probe_says_how_soon_the_next_one_is() {
        let now = Instant::now();
        let mut breaker = open(ConnectFailureKind::Unreachable, now);
        let mut at = now + 250 * MS;
        for (failure, pause) in [
            (ConnectFailureKind::Unreachable, 250),
            (ConnectFailureKind::Refused, 30_000),
            (ConnectFailureKind::Unreachable, 250),
        ] {
            assert!(breaker.begin_probe(at));
            breaker.probe_failed(failure, at);
            at += pause * MS;
            assert_eq!(breaker.next_probe(), Some(at), "{failure:?}");
        }
    }

    #[test]
    fn a_change_that_may_help_brings_the_next_probe_forward() {
        let now = Instant::now();
        let mut breaker = open(ConnectFailureKind::Refused, now);
        breaker.probe_now(now + 7 * MS);
        assert!(breaker.begin_probe(now + 7 * MS));
        breaker.probe_now(now + 8 * MS);
        assert!(!breaker.begin_probe(now + 8 * MS), "one is on its way");
        breaker.succeeded(now + 9 * MS);
        breaker.probe_now(now + 10 * MS);
        assert!(!breaker.begin_probe(now + 10 * MS), "it is closed");
    }

    #[test]
    fn a_caller_probes_only_when_nobody_else_does() {
        let now = Instant::now();
        let mut breaker = open(ConnectFailureKind::Unreachable, now);
        assert!(!breaker.begin_probe_if_overdue(now + 250 * MS));
        assert!(!breaker.begin_probe_if_overdue(now + 499 * MS));
        assert!(breaker.begin_probe_if_overdue(now + 500 * MS));
        assert!(!breaker.begin_probe_if_overdue(now + 5_000 * MS), "one is on its way");
    }

    /// An event of a random history.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        Succeeded,
        Failed(ConnectFailureKind),
        Probe,
        ProbeFailed(ConnectFailureKind),
        ProbeNow,
    }

    fn event() -> impl Strategy<Value = (Event, u64)> {
        let failure = prop_oneof![5 => Just(ConnectFailureKind::Unreachable), 1 => Just(ConnectFailureKind::Refused)];
        let event = prop_oneof![
            1 => Just(Event::Succeeded),
            6 => failure.clone().prop_map(Event::Failed),
            6 => Just(Event::Probe),
            6 => failure.prop_map(Event::ProbeFailed),
            1 => Just(Event::ProbeNow),
        ];
        (event, 0u64..400)
    }

    proptest! {
        #[test]
        fn whatever_happens_probes_are_alone_and_rare_and_a_success_ends_it(
            events in prop::collection::vec(event(), 1..200),
        ) {
            let mut now = Instant::now();
            let mut breaker = reached(now);
            // Failures in a row; a probe in progress; the start of the last one; the next one may be early.
            let mut row = 0;
            let mut probing = false;
            let mut last = None;
            let mut is_early = false;
            for (event, pause) in events {
                now += Duration::from_millis(pause);
                let was_open = breaker.is_open();
                match event {
                    Event::Succeeded => {
                        let change = breaker.succeeded(now);
                        prop_assert_eq!(matches!(change, Some(BreakerTransition::Closed(_))), was_open);
                        row = 0;
                        probing = false;
                        last = None;
                        prop_assert!(!breaker.is_open());
                    }
                    Event::Failed(failure) => {
                        row += 1;
                        prop_assert_eq!(breaker.failed(failure, now), !was_open && row >= 3);
                    }
                    Event::Probe => if breaker.begin_probe(now) {
                        prop_assert!(was_open && !probing);
                        let rare = last.is_none_or(|last| now >= last + LIMITS.interval);
                        prop_assert!(rare || is_early);
                        probing = true;
                        last = Some(now);
                        is_early = false;
                    },
                    Event::ProbeFailed(failure) => {
                        breaker.probe_failed(failure, now);
                        probing = false;
                    }
                    Event::ProbeNow => {
                        breaker.probe_now(now);
                        is_early = true;
                    }
                }
                prop_assert_eq!(breaker.is_open(), row >= 3);
                prop_assert_eq!(breaker.next_probe().is_some(), breaker.is_open() && !probing);
            }
        }
    }
}
