//! Whether connections to a database are tried at all: a circuit breaker.
//!
//! Closed, whoever needs a connection opens one. After some failures in a row it is open: nobody tries,
//! but for one probe at a time; the first success closes it. It counts failures to *connect* and nothing
//! else: what is connected may go on to serve, and no answer to a statement says anything about the next
//! connection.

use std::time::{Duration, Instant};

/// When it opens, and how often it is tried then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// So many failures in a row open it; at least 1.
    pub failures: u32,
    /// From the start of one probe to the next.
    pub interval: Duration,
    /// The same after the login was refused: whoever tries often has the account locked.
    pub refused_interval: Duration,
}

/// Why no connection was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The database cannot be reached, or takes no connections.
    Away,
    /// It does not let us in.
    Refused,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The first connection of all was opened.
    Reached,
    /// Nobody tries any more.
    Opened,
    /// Connections are opened again, after so long.
    Closed(Duration),
}

/// The state of one database's breaker. Pure: it is told the time.
///
/// | state | an attempt succeeds | an attempt fails | a probe |
/// |---|---|---|---|
/// | closed | the count is 0 | one more; at `failures` it opens | is an attempt |
/// | open | it closes | nothing | may begin when its time has come |
/// | probing | it closes | nothing | open again when it fails or is given up |
///
/// Until it was reached for the first time, a single failure opens it: nothing speaks for a database
/// that never answered.
#[derive(Debug)]
pub struct CircuitBreaker {
    limits: BreakerLimits,
    state: State,
    /// Since when it is open, or closed.
    since: Instant,
    reached: bool,
    opened: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { next: Instant },
    Probing { began: Instant },
}

impl CircuitBreaker {
    /// A closed one, of a database that was not reached yet.
    #[must_use]
    pub fn new(limits: BreakerLimits, now: Instant) -> Self {
        let state = State::Closed { failures: limits.failures.saturating_sub(1) };
        Self { limits, state, since: now, reached: false, opened: 0 }
    }

    /// Whether only probes are made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { .. } | State::Probing { .. } => true,
        }
    }

    /// Whether the database was ever reached.
    #[must_use]
    pub fn was_reached(&self) -> bool {
        self.reached
    }

    /// Since when it is open, or closed.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How often it was opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// When the next probe may begin; `None` while it is closed, or while one is on its way.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Open { next } => Some(next),
            State::Closed { .. } | State::Probing { .. } => None,
        }
    }

    /// Begins a probe, if it is open and one is due. Its end is told by [`CircuitBreaker::succeeded`] or
    /// [`CircuitBreaker::probe_failed`].
    pub fn begin_probe(&mut self, now: Instant) -> bool {
        let begins = self.due().is_some_and(|due| due <= now);
        if begins {
            self.state = State::Probing { began: now };
        }
        begins
    }

    /// Whether whoever should make the next probe does not.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due + self.limits.interval <= now)
    }

    /// Begins a probe that is overdue, for who needs a connection.
    pub fn begin_overdue(&mut self, now: Instant) -> bool {
        self.is_overdue(now) && self.begin_probe(now)
    }

    /// Lets the next probe begin now: something has changed that may help.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Open { next } = &mut self.state {
            *next = now.min(*next);
        }
    }

    /// An attempt or a probe has opened a connection.
    pub fn succeeded(&mut self, now: Instant) -> Option<Change> {
        let was_open = self.is_open();
        self.state = State::Closed { failures: 0 };
        let first = !std::mem::replace(&mut self.reached, true);
        if !was_open {
            return first.then_some(Change::Reached);
        }
        let after = now.saturating_duration_since(self.since);
        self.since = now;
        Some(Change::Closed(after))
    }

    /// An attempt that is no probe has failed.
    pub fn failed(&mut self, failure: Failure, now: Instant) -> Option<Change> {
        // One that began before it was opened says what is known.
        let State::Closed { failures } = &mut self.state else { return None };
        *failures = failures.saturating_add(1);
        if *failures < self.limits.failures {
            return None;
        }
        self.state = State::Open { next: now + self.interval_after(failure) };
        self.since = now;
        self.opened += 1;
        Some(Change::Opened)
    }

    /// A probe has failed, or was given up.
    pub fn probe_failed(&mut self, failure: Failure, now: Instant) {
        if let State::Probing { began } = self.state {
            let next = (began + self.interval_after(failure)).max(now);
            self.state = State::Open { next };
        }
    }

    fn interval_after(&self, failure: Failure) -> Duration {
        match failure {
            Failure::Away => self.limits.interval,
            Failure::Refused => self.limits.refused_interval,
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
        assert_eq!(breaker.succeeded(now), Some(Change::Reached));
        breaker
    }

    fn open(failure: Failure, now: Instant) -> CircuitBreaker {
        let mut breaker = reached(now);
        let changes = [0; 3].map(|_| breaker.failed(failure, now));
        assert_eq!(changes, [None, None, Some(Change::Opened)]);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_starts_the_row_anew() {
        let now = Instant::now();
        let mut breaker = reached(now);
        for _ in 0..10 {
            assert_eq!(breaker.failed(Failure::Away, now), None);
            assert_eq!(breaker.failed(Failure::Refused, now), None);
            assert!(!breaker.is_open());
            assert_eq!(breaker.succeeded(now), None);
        }
        assert_eq!(breaker.failed(Failure::Away, now), None);
        assert_eq!(breaker.failed(Failure::Away, now), None);
        assert_eq!(breaker.failed(Failure::Away, now + MS), Some(Change::Opened));
        assert_eq!((breaker.is_open(), breaker.opened()), (true, 1));
        assert_eq!(breaker.failed(Failure::Away, now + MS), None, "it is open already");
        assert_eq!((breaker.opened(), breaker.since()), (1, now + MS));
    }

    #[test]
    fn a_database_that_was_never_reached_needs_one_failure() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(LIMITS, now);
        assert!(!breaker.is_open() && !breaker.was_reached());
        assert_eq!(breaker.failed(Failure::Away, now), Some(Change::Opened));
        let later = now + 700 * MS;
        assert_eq!(breaker.succeeded(later), Some(Change::Closed(700 * MS)));
        assert!(breaker.was_reached());
        assert_eq!(breaker.failed(Failure::Away, later), None, "from now on it needs three");
    }

    #[test]
    fn one_probe_is_made_at_a_time_and_one_in_an_interval() {
        for (failure, interval) in [(Failure::Away, 250 * MS), (Failure::Refused, 30_000 * MS)] {
            let now = Instant::now();
            let mut breaker = open(failure, now);
            assert_eq!(breaker.due(), Some(now + interval));
            assert!(!breaker.begin_probe(now + interval - MS), "too early");
            let began = now + interval;
            assert!(breaker.begin_probe(began));
            assert!(!breaker.begin_probe(began + 2 * interval), "one is on its way");
            assert_eq!((breaker.due(), breaker.is_open()), (None, true));
            breaker.probe_failed(failure, began + MS);
            assert_eq!(breaker.due(), Some(began + interval), "counted from its start");
            assert!(breaker.begin_probe(began + interval));
            // One that takes longer than the interval is followed at once.
            let end = began + 3 * interval;
            breaker.probe_failed(failure, end);
            assert_eq!(breaker.due(), Some(end));
        }
    }

    #[test]
    fn the_first_success_closes_it_whoever_had_it() {
        let now = Instant::now();
        let mut probed = open(Failure::Away, now);
        assert!(probed.begin_probe(now + 250 * MS));
        assert_eq!(probed.succeeded(now + 260 * MS), Some(Change::Closed(260 * MS)));
        let mut late = open(Failure::Away, now);
        assert_eq!(late.succeeded(now + 5 * MS), Some(Change::Closed(5 * MS)), "began before");
        for breaker in [probed, late] {
            assert!(!breaker.is_open());
            assert_eq!(breaker.due(), None);
        }
    }

    #[test]
    fn a_failed_probe_says_how_soon_the_next_one_is() {
        let now = Instant::now();
        let mut breaker = open(Failure::Away, now);
        let mut at = now + 250 * MS;
        for (failure, pause) in
            [(Failure::Away, 250), (Failure::Refused, 30_000), (Failure::Away, 250)]
        {
            assert!(breaker.begin_probe(at));
            breaker.probe_failed(failure, at);
            at += pause * MS;
            assert_eq!(breaker.due(), Some(at), "{failure:?}");
        }
    }

    #[test]
    fn a_change_that_may_help_brings_the_next_probe_forward() {
        let now = Instant::now();
        let mut breaker = open(Failure::Refused, now);
        breaker.hurry(now + 7 * MS);
        assert!(breaker.begin_probe(now + 7 * MS));
        breaker.hurry(now + 8 * MS);
        assert!(!breaker.begin_probe(now + 8 * MS), "one is on its way");
        breaker.succeeded(now + 9 * MS);
        breaker.hurry(now + 10 * MS);
        assert!(!breaker.begin_probe(now + 10 * MS), "it is closed");
    }

    #[test]
    fn a_caller_probes_only_when_nobody_else_does() {
        let now = Instant::now();
        let mut breaker = open(Failure::Away, now);
        assert!(!breaker.begin_overdue(now + 250 * MS));
        assert!(!breaker.begin_overdue(now + 499 * MS));
        assert!(breaker.begin_overdue(now + 500 * MS));
        assert!(!breaker.begin_overdue(now + 5_000 * MS), "one is on its way");
    }

    /// What may happen, and how long after the last thing.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        Succeeded,
        Failed(Failure),
        Probe,
        ProbeFailed(Failure),
        Hurry,
    }

    fn event() -> impl Strategy<Value = (Event, u64)> {
        let failure = prop_oneof![5 => Just(Failure::Away), 1 => Just(Failure::Refused)];
        let event = prop_oneof![
            1 => Just(Event::Succeeded),
            6 => failure.clone().prop_map(Event::Failed),
            6 => Just(Event::Probe),
            6 => failure.prop_map(Event::ProbeFailed),
            1 => Just(Event::Hurry),
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
            // Failures in a row; the probe on its way; the last one's start; whether it was hurried.
            let (mut row, mut probing, mut last, mut hurried) = (0, false, None, false);
            for (event, pause) in events {
                now += Duration::from_millis(pause);
                let was_open = breaker.is_open();
                match event {
                    Event::Succeeded => {
                        let change = breaker.succeeded(now);
                        prop_assert_eq!(matches!(change, Some(Change::Closed(_))), was_open);
                        (row, probing, last) = (0, false, None);
                        prop_assert!(!breaker.is_open());
                    }
                    Event::Failed(failure) => {
                        row += 1;
                        let change = breaker.failed(failure, now);
                        prop_assert_eq!(change == Some(Change::Opened), !was_open && row >= 3);
                    }
                    Event::Probe => if breaker.begin_probe(now) {
                        prop_assert!(was_open && !probing);
                        let rare = last.is_none_or(|last| now >= last + LIMITS.interval);
                        prop_assert!(rare || hurried);
                        (probing, last, hurried) = (true, Some(now), false);
                    },
                    Event::ProbeFailed(failure) => {
                        breaker.probe_failed(failure, now);
                        probing = false;
                    }
                    Event::Hurry => {
                        breaker.hurry(now);
                        hurried = true;
                    }
                }
                prop_assert_eq!(breaker.is_open(), row >= 3);
                prop_assert_eq!(breaker.due().is_some(), breaker.is_open() && !probing);
            }
        }
    }
}
