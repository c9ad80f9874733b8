//! Each row of the table of retries, and their bounds.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const UNITS: [RetryUnit; 4] =
    [RetryUnit::Statement, RetryUnit::Idempotent, RetryUnit::Batch, RetryUnit::Keyed];

const CONNECT: Duration = Duration::from_secs(5);

fn settings() -> RetrySettings {
    RetrySettings {
        max_attempts: 3,
        initial_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(30),
        budget: 0.1,
        conflict_initial_backoff: Duration::from_millis(2),
        conflict_max_backoff: Duration::from_millis(100),
    }
}

fn retries() -> Retries {
    Retries::new(&settings(), CONNECT, Duration::ZERO, Arc::default())
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "test")
}

fn unknown() -> Error {
    error(ErrorKind::OutcomeUnknown).with_outcome(Outcome::Unknown)
}

/// The number of attempts made, at most `most`, when all fail in the same way and time stands still.
fn attempts(unit: RetryUnit, max: Option<u32>, most: u32, failure: impl Fn() -> Error) -> u32 {
    let retries = retries();
    let mut attempts = retries.start(unit, max);
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let mut made = 1;
    while made < most && attempts.after(&failure(), deadline, now).is_some() {
        made += 1;
    }
    made
}

const ENDLESS: u32 = 1_000;

#[test]
fn attempts_by_kind_and_unit() {
    use ErrorKind as K;
    // Of a statement, an idempotent unit, a batch, a keyed unit.
    let cases = [
        (K::DatabaseUnavailable, [3, 3, 3, 3]),
        (K::ConnectionLost, [3, 3, 3, 3]),
        (K::NotPrimary, [3, 3, 3, 3]),
        (K::PlanChanged, [2, 2, 2, 2]),
        (K::SerializationFailure, [3, ENDLESS, ENDLESS, ENDLESS]),
        (K::DeadlockDetected, [3, ENDLESS, ENDLESS, ENDLESS]),
        (K::KeyInProgress, [ENDLESS, ENDLESS, ENDLESS, ENDLESS]),
        (K::PoolExhausted, [1, 1, 1, 1]),
        (K::ShuttingDown, [1, 1, 1, 1]),
        (K::BackendMisconfigured, [1, 1, 1, 1]),
        (K::LockNotAvailable, [1, 1, 1, 1]),
        (K::DeadlineExceeded, [1, 1, 1, 1]),
        (K::Cancelled, [1, 1, 1, 1]),
        (K::ResultTooLarge, [1, 1, 1, 1]),
        (K::InvalidStatement, [1, 1, 1, 1]),
        (K::AlreadyExists, [1, 1, 1, 1]),
        (K::FailedPrecondition, [1, 1, 1, 1]),
        (K::OutOfRange, [1, 1, 1, 1]),
        (K::ResourceExhausted, [1, 1, 1, 1]),
        (K::DataLoss, [1, 1, 1, 1]),
        (K::DatabaseInternal, [1, 1, 1, 1]),
        (K::ExpectationFailed, [1, 1, 1, 1]),
        (K::KeyReused, [1, 1, 1, 1]),
        (K::ReadOnly, [1, 1, 1, 1]),
        (K::InvalidParameter, [1, 1, 1, 1]),
    ];
    for (kind, expected) in cases {
        let made = UNITS.map(|unit| attempts(unit, None, ENDLESS, || error(kind)));
        assert_eq!(made, expected, "{kind:?}");
    }
}

#[test]
fn what_may_have_been_applied_is_repeated_only_where_that_is_harmless() {
    let failures: [fn() -> Error; 3] = [
        unknown,
        || error(ErrorKind::ConnectionLost).with_outcome(Outcome::Unknown),
        || error(ErrorKind::SerializationFailure).with_outcome(Outcome::Unknown),
    ];
    for failure in failures {
        let made = UNITS.map(|unit| attempts(unit, None, ENDLESS, failure));
        assert_eq!(made, [1, ENDLESS, 1, ENDLESS], "{:?}", failure());
    }
}

#[test]
fn what_was_applied_is_never_repeated() {
    let kinds = [ErrorKind::ConnectionLost, ErrorKind::OutcomeUnknown, ErrorKind::ResultTooLarge];
    for kind in kinds {
        let applied = || error(kind).with_outcome(Outcome::Applied);
        assert_eq!(UNITS.map(|unit| attempts(unit, None, ENDLESS, applied)), [1; 4], "{kind:?}");
    }
}

#[test]
fn the_callers_bound_holds_and_does_not_lift_the_servers() {
    use ErrorKind as K;
    // The caller's bound; then as above.
    let cases = [
        (K::ConnectionLost, 1, [1, 1, 1, 1]),
        (K::ConnectionLost, 2, [2, 2, 2, 2]),
        (K::ConnectionLost, 9, [3, 3, 3, 3]),
        (K::SerializationFailure, 1, [1, 1, 1, 1]),
        (K::SerializationFailure, 9, [3, 9, 9, 9]),
        (K::PlanChanged, 1, [1, 1, 1, 1]),
        (K::OutcomeUnknown, 2, [1, 2, 1, 2]),
        // Nothing ran: it waits for who has the key.
        (K::KeyInProgress, 1, [ENDLESS, ENDLESS, ENDLESS, ENDLESS]),
    ];
    for (kind, max, expected) in cases {
        let made = UNITS.map(|unit| attempts(unit, Some(max), ENDLESS, || error(kind)));
        assert_eq!(made, expected, "{kind:?} {max}");
    }
}

#[test]
fn no_pause_reaches_the_deadline() {
    let retries = retries();
    let now = Instant::now();
    let kinds =
        [ErrorKind::SerializationFailure, ErrorKind::KeyInProgress, ErrorKind::ConnectionLost];
    for kind in kinds {
        let mut attempts = retries.start(RetryUnit::Keyed, None);
        assert_eq!(attempts.after(&error(kind), Deadline::at(now), now), None);
        let deadline = Deadline::at(now + Duration::from_millis(1));
        let mut clock = now;
        while let Some(pause) = attempts.after(&error(kind), deadline, clock) {
            clock += pause.max(Duration::from_nanos(1));
            assert!(clock < deadline.instant(), "{kind:?}");
        }
    }
}

#[test]
fn outages_are_charged_to_the_budget_and_nothing_else_is() {
    use ErrorKind as K;
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let cases = [
        (K::ConnectionLost, RetryUnit::Batch, true),
        (K::NotPrimary, RetryUnit::Keyed, true),
        (K::PlanChanged, RetryUnit::Statement, true),
        (K::SerializationFailure, RetryUnit::Statement, false),
        (K::DeadlockDetected, RetryUnit::Batch, false),
        (K::KeyInProgress, RetryUnit::Keyed, false),
        (K::OutcomeUnknown, RetryUnit::Keyed, false),
    ];
    for (kind, unit, charged) in cases {
        let retries = retries();
        let retried =
            |_: &usize| retries.start(unit, None).after(&error(kind), deadline, now).is_some();
        let retried = (0..100).filter(retried).count();
        // The reserve of 10, and a tenth of 100 calls, of which the last token is not whole.
        let expected = if charged { 18..=20 } else { 100..=100 };
        assert!(expected.contains(&retried), "{kind:?}: {retried}");
    }
}

#[test]
fn a_retry_that_cannot_be_made_is_not_charged() {
    let retries = retries();
    let now = Instant::now();
    for _ in 0..100 {
        let mut late = retries.start(RetryUnit::Statement, None);
        assert_eq!(late.after(&error(ErrorKind::ConnectionLost), Deadline::at(now), now), None);
    }
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let paid = |_: &usize| {
        let mut call = retries.start(RetryUnit::Statement, None);
        call.after(&error(ErrorKind::ConnectionLost), deadline, now).is_some()
    };
    assert_eq!((0..15).filter(paid).count(), 15);
}

#[test]
fn while_the_breaker_is_open_calls_fail_at_once() {
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let unreachable = Arc::new(AtomicBool::new(false));
    let retries = Retries::new(&settings(), CONNECT, Duration::ZERO, unreachable.clone());
    let made = |kind| {
        let mut call = retries.start(RetryUnit::Statement, None);
        while call.after(&error(kind), deadline, now).is_some() {}
        call.made
    };
    let outages = [ErrorKind::DatabaseUnavailable, ErrorKind::ConnectionLost];
    assert_eq!(outages.map(made), [3, 3]);
    unreachable.store(true, Relaxed);
    assert_eq!(outages.map(made), [1, 1]);
    assert_eq!(made(ErrorKind::DeadlockDetected), 3, "what is connected goes on to serve");
    unreachable.store(false, Relaxed);
    assert_eq!(outages.map(made), [3, 3]);
}

#[test]
fn where_another_server_may_take_over_calls_wait_and_are_not_charged() {
    let wait = Duration::from_secs(10);
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let open = Arc::new(AtomicBool::new(true));
    let retries = Retries::new(&settings(), CONNECT, wait, open);
    let away = error(ErrorKind::DatabaseUnavailable);
    for unit in UNITS.into_iter().chain([RetryUnit::Begin]) {
        let mut call = retries.start(unit, Some(1));
        call.begin(now);
        for second in 0..10 {
            let now = now + Duration::from_secs(second);
            assert!(call.after(&away, deadline, now).is_some(), "{unit:?} after {second} s");
            assert_eq!(call.made, 1, "nothing was sent");
        }
        assert_eq!(call.awaits_server_until, Some(now + wait), "since the first failure");
        assert_eq!(call.after(&away, deadline, now + wait), None, "{unit:?} has waited");
    }
    for kind in [ErrorKind::ConnectionLost, ErrorKind::NotPrimary] {
        let mut call = retries.start(RetryUnit::Statement, None);
        while call.after(&error(kind), deadline, now).is_some() {}
        assert_eq!(call.made, 3, "what was sent counts");
    }
    assert_eq!(retries.counts().refused, 0);
}

#[test]
fn nobody_waits_for_what_another_server_does_not_mend() {
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let retries = Retries::new(&settings(), CONNECT, Duration::from_secs(10), Arc::default());
    for kind in [ErrorKind::BackendMisconfigured, ErrorKind::PoolExhausted, ErrorKind::ShuttingDown]
    {
        let mut call = retries.start(RetryUnit::Statement, None);
        assert_eq!(call.after(&error(kind), deadline, now), None, "{kind:?}");
        assert_eq!(call.awaits_server_until, None, "{kind:?}");
    }
    let mut begin = retries.start(RetryUnit::Begin, None);
    let conflict = error(ErrorKind::SerializationFailure);
    assert_eq!(begin.after(&conflict, deadline, now), None, "its caller has to know");
    let mut write = retries.start(RetryUnit::Statement, None);
    assert_eq!(write.after(&unknown(), deadline, now), None, "it may have been applied");
}

#[test]
fn a_call_that_has_waited_for_as_long_as_connecting_may_take_is_not_retried() {
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let retries = retries();
    let is_retried = |kind, in_doubt: bool, after: u64| {
        let mut call = retries.start(RetryUnit::Keyed, None);
        call.begin(now);
        if in_doubt {
            call.after(&unknown(), deadline, now);
        }
        call.after(&error(kind), deadline, now + Duration::from_millis(after)).is_some()
    };
    assert!(is_retried(ErrorKind::DatabaseUnavailable, false, 3_900));
    assert!(!is_retried(ErrorKind::DatabaseUnavailable, false, 4_900));
    assert!(is_retried(ErrorKind::DatabaseUnavailable, true, 4_900), "only an answer resolves it");
    assert!(is_retried(ErrorKind::ConnectionLost, false, 4_900), "it was no wait for a connection");
}

#[test]
fn retries_are_counted_and_so_are_those_that_the_budget_refuses() {
    let retries = retries();
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let lost = || error(ErrorKind::ConnectionLost);
    for _ in 0..100 {
        let mut call = retries.start(RetryUnit::Statement, None);
        while call.after(&lost(), deadline, now).is_some() {}
    }
    let RetryCounts { made, refused } = retries.counts();
    // The reserve of 10, and a tenth of 100 calls.
    assert!((18..=20).contains(&made), "{made}");
    assert!((80..=100).contains(&refused), "{refused}");
    let mut call = retries.start(RetryUnit::Batch, None);
    assert!(call.after(&error(ErrorKind::DeadlockDetected), deadline, now).is_some());
    assert_eq!(retries.counts(), RetryCounts { made: made + 1, refused });
    assert!(call.after(&error(ErrorKind::AlreadyExists), deadline, now).is_none());
    assert_eq!(retries.counts(), RetryCounts { made: made + 1, refused });
}

#[test]
fn a_unit_in_doubt_is_retried_through_an_outage_whatever_the_budget() {
    let retries = retries();
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let mut attempts = retries.start(RetryUnit::Keyed, None);
    assert!(attempts.after(&unknown(), deadline, now).is_some());
    for made in 2..ENDLESS {
        assert_eq!(attempts.made, made);
        let pause = attempts.after(&error(ErrorKind::DatabaseUnavailable), deadline, now);
        assert!(pause.is_some_and(|pause| pause <= MAX_IN_DOUBT_PAUSE), "{pause:?}");
    }
    assert_eq!(attempts.in_doubt, 1);
}

#[test]
fn a_unit_is_in_doubt_until_a_later_attempt_had_claimed_the_key() {
    use ErrorKind as K;
    let retries = retries();
    let now = Instant::now();
    let deadline = Deadline::at(now + Duration::from_secs(3_600));
    let cases = [
        // The kind alone says nothing: the claim itself fails so, too. Then of one that had claimed its key.
        (RetryUnit::Keyed, K::AlreadyExists, [1, 0]),
        (RetryUnit::Keyed, K::FailedPrecondition, [1, 0]),
        (RetryUnit::Keyed, K::SerializationFailure, [1, 0]),
        (RetryUnit::Keyed, K::ConnectionLost, [1, 0]),
        (RetryUnit::Keyed, K::DeadlineExceeded, [1, 0]),
        (RetryUnit::Keyed, K::OutcomeUnknown, [2, 1]),
        (RetryUnit::Idempotent, K::AlreadyExists, [1, 1]),
        (RetryUnit::Idempotent, K::OutcomeUnknown, [2, 2]),
    ];
    for (unit, kind, expected) in cases {
        let failure = || if kind == K::OutcomeUnknown { unknown() } else { error(kind) };
        for (failure, expected) in
            [failure(), failure().with_claimed_key()].into_iter().zip(expected)
        {
            let mut attempts = retries.start(unit, None);
            attempts.after(&unknown(), deadline, now);
            attempts.after(&failure, deadline, now);
            assert_eq!(attempts.in_doubt, expected, "{unit:?} {failure:?}");
        }
    }
}

proptest! {
    #[test]
    fn pauses_stay_below_their_longest(kind in 0usize..4, rounds in 1usize..40) {
        let (kind, first, longest) = [
            (ErrorKind::SerializationFailure, 2, 100),
            (ErrorKind::KeyInProgress, 2, 100),
            (ErrorKind::OutcomeUnknown, 100, 1_000),
            (ErrorKind::ConnectionLost, 100, 30_000),
        ][kind];
        let ms = Duration::from_millis;
        let many = RetrySettings { max_attempts: 100, budget: 1.0, ..settings() };
        let retries = Retries::new(&many, CONNECT, Duration::ZERO, Arc::default());
        let now = Instant::now();
        let deadline = Deadline::at(now + Duration::from_secs(3_600));
        let mut attempts = retries.start(RetryUnit::Keyed, None);
        for round in 0..rounds {
            let Some(pause) = attempts.after(&error(kind), deadline, now) else { break };
            let doubled = ms(first).saturating_mul(1 << round.min(20));
            prop_assert!(pause <= doubled.min(ms(longest)), "{round}: {pause:?}");
        }
    }
}
