//! The lifetime of connections: opening, validation, eviction and refill.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn later() -> Deadline {
    Deadline::at(now() + Duration::from_secs(5))
}

/// Acquires as many connections at once.
async fn acquire_many(pool: &Pool<Numbers>, count: usize) -> Vec<Checkout<Numbers>> {
    let nobody = nobody();
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(pool.acquire(later(), &nobody).await.expect("there is one"));
    }
    held
}

fn count(pool: &Pool<Numbers>, reason: CloseReason) -> u64 {
    pool.snapshot().closed_because(reason)
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_while_idle_is_replaced_within_a_second() {
    let (pool, script) = scripted(&PoolSettings { min: 3, ..settings(5, 10) });
    pool.warm_up(3).await.expect("they open");
    script.lost.store(3, SeqCst);
    pass(SECOND).await;
    let after = pool.snapshot();
    assert_eq!((after.open, after.idle, after.opened), (3, 3, 6));
    assert_eq!(count(&pool, CloseReason::Broken), 3);
    assert_eq!(*acquire_many(&pool, 1).await[0], 5, "the newest is used first");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_only_some_callers_used_is_filled_up_to_min() {
    let (pool, script) = scripted(&PoolSettings { min: 4, ..settings(5, 10) });
    let held = acquire_many(&pool, 1).await;
    pass(SECOND).await;
    assert_eq!((pool.snapshot().open, pool.snapshot().in_use), (4, 1));
    assert_eq!(script.most_opening.load(SeqCst), 1, "one after the other");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn connections_to_an_unreachable_database_are_attempted_rarely_and_one_at_a_time() {
    let manager = Numbers::default();
    let down = Arc::clone(&manager.down);
    let script = Arc::clone(&manager.script);
    let pool =
        Pool::new(&Telemetry::silent("db"), &PoolSettings { min: 4, ..settings(5, 10) }, manager);
    pool.warm_up(4).await.expect("they open");
    script.most_opening.store(0, SeqCst);
    down.store(true, Relaxed);
    script.lost.store(4, SeqCst);
    pass(30 * SECOND).await;
    let outage = pool.snapshot();
    assert_eq!(outage.open, 0);
    assert!((1..=12).contains(&outage.connect_failures), "{} attempts", outage.connect_failures);
    down.store(false, Relaxed);
    pool.reached();
    pass(SECOND / 10).await;
    assert_eq!((pool.snapshot().open, script.most_opening.load(SeqCst)), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_that_reaches_the_database_after_an_outage_refills_the_pool() {
    let manager = Numbers::default();
    let down = Arc::clone(&manager.down);
    let script = Arc::clone(&manager.script);
    let pool =
        Pool::new(&Telemetry::silent("db"), &PoolSettings { min: 4, ..settings(5, 10) }, manager);
    pool.warm_up(4).await.expect("they open");
    down.store(true, Relaxed);
    script.lost.store(4, SeqCst);
    pass(30 * SECOND).await;
    down.store(false, Relaxed);
    drop(acquire_many(&pool, 1).await);
    pass(SECOND / 10).await;
    assert_eq!(pool.snapshot().open, 4);
}

#[tokio::test(start_paused = true)]
async fn a_connection_above_max_is_closed_when_it_is_returned() {
    let (pool, _) = scripted(&PoolSettings { overflow: 2, ..settings(1, 10) });
    let mut held = acquire_many(&pool, 3).await;
    assert_eq!(pool.snapshot().open, 3);
    drop(held.pop());
    assert_eq!((pool.snapshot().open, count(&pool, CloseReason::Overflow)), (2, 1));
    drop(held);
    assert_eq!((pool.snapshot().open, count(&pool, CloseReason::Overflow)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_connection_above_max_is_kept_for_a_caller_that_waits() {
    let (pool, _) = scripted(&PoolSettings { overflow: 1, ..settings(1, 10) });
    let mut held = acquire_many(&pool, 2).await;
    let nobody = nobody();
    let mut waiting = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(held.pop());
    let third = waiting.await.expect("it came back");
    assert_eq!((*third == 1, pool.snapshot().opened), (true, 2));
    drop((held, third));
    assert_eq!(pool.snapshot().open, 1);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_down_to_min() {
    let (pool, _) = scripted(&PoolSettings { min: 2, ..settings(5, 10) });
    drop(acquire_many(&pool, 5).await);
    pass(59 * SECOND).await;
    assert_eq!(pool.snapshot().open, 5);
    pass(2 * SECOND).await;
    assert_eq!((pool.snapshot().open, count(&pool, CloseReason::Idle)), (2, 3));
    pass(300 * SECOND).await;
    assert_eq!(pool.snapshot().open, 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_connection_is_replaced_when_idle_and_closed_when_it_is_returned() {
    let (pool, _) = scripted(&PoolSettings { min: 2, ..settings(2, 10) });
    let mut held = acquire_many(&pool, 2).await;
    drop(held.pop());
    pass(3601 * SECOND).await;
    assert_eq!(count(&pool, CloseReason::Lifetime), 1, "the idle one");
    assert_eq!(pool.snapshot().open, 2, "and there is another");
    drop(held);
    assert_eq!(count(&pool, CloseReason::Lifetime), 2);
    pass(SECOND).await;
    assert_eq!((pool.snapshot().open, pool.snapshot().opened), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_was_idle_for_long_is_validated() {
    let (pool, script) = scripted(&settings(2, 10));
    for _ in 0..100 {
        drop(acquire_many(&pool, 1).await);
        pass(SECOND).await;
    }
    assert_eq!(script.validated.load(SeqCst), 0);
    pass(5 * SECOND).await;
    drop(acquire_many(&pool, 1).await);
    drop(acquire_many(&pool, 1).await);
    assert_eq!((script.validated.load(SeqCst), pool.snapshot().opened), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn once_a_connection_is_found_lost_the_idle_ones_are_validated() {
    let (pool, script) = scripted(&settings(5, 10));
    drop(acquire_many(&pool, 4).await);
    pass(SECOND).await;
    acquire_many(&pool, 1).await.remove(0).discard(CloseReason::Broken);
    // The server was restarted: the others are lost, too, without notice.
    script.silently_lost.store(4, SeqCst);
    let new = acquire_many(&pool, 1).await;
    assert_eq!((*new[0] == 4, script.validated.load(SeqCst)), (true, 3));
    assert_eq!(count(&pool, CloseReason::Broken), 4);
    pass(SECOND).await;
    drop(new);
    drop(acquire_many(&pool, 1).await);
    assert_eq!(script.validated.load(SeqCst), 3, "later ones are trusted");
}

#[tokio::test(start_paused = true)]
async fn an_unresponsive_connection_costs_a_second_once() {
    let (pool, script) = scripted(&settings(5, 10));
    drop(acquire_many(&pool, 5).await);
    script.mute.store(5, SeqCst);
    pass(10 * SECOND).await;
    let start = now();
    let new = acquire_many(&pool, 1).await;
    let took = now() - start;
    assert!((SECOND..SECOND * 3 / 2).contains(&took), "{took:?}");
    assert_eq!((*new[0] >= 5, script.validated.load(SeqCst)), (true, 1));
}

impl PartialOrd<usize> for Number {
    fn partial_cmp(&self, other: &usize) -> Option<std::cmp::Ordering> {
        self.0.partial_cmp(other)
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_waiting_for_a_validation_leaves_no_connection_behind() {
    let (pool, script) = scripted(&settings(1, 10));
    drop(acquire_many(&pool, 1).await);
    script.mute.store(1, SeqCst);
    pass(10 * SECOND).await;
    let soon = Deadline::at(now() + SECOND / 10);
    let error = pool.acquire(soon, &nobody()).await.expect_err("it does not answer");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(pool.snapshot().idle, 0);
    assert_eq!(*acquire_many(&pool, 1).await[0], 1, "a new one");
}

#[tokio::test(start_paused = true)]
async fn a_leak_is_reported_once_with_its_holder() {
    let (pool, _) = scripted(&settings(2, 10));
    let batch =
        CallContext::new(Arc::default(), "10.0.0.7".into(), "ExecuteBatch", "nightly".into());
    let held = pool.acquire(later(), &batch).await.expect("one");
    batch.runs(&"UPDATE t SET a = ?".into());
    pass(60 * SECOND).await;
    assert_eq!((pool.snapshot().leaks, pool.checkouts()[0].is_leak), (0, false));
    pass(2 * SECOND).await;
    assert_eq!((pool.snapshot().leaks, pool.checkouts()[0].is_leak), (1, true));
    pass(60 * SECOND).await;
    assert_eq!(pool.snapshot().leaks, 1, "it is reported once");
    assert_eq!(
        pool.checkouts()[0].holder,
        CheckoutHolder {
            caller: "10.0.0.7".into(),
            rpc: "ExecuteBatch",
            tag: "nightly".into(),
            summary: "UPDATE t SET a = ?".to_owned(),
        }
    );
    drop(held);
    assert_eq!(pool.checkouts(), []);
}

#[tokio::test(start_paused = true)]
async fn a_full_server_is_waited_for_while_some_of_its_connections_are_ours() {
    let patient = PoolSettings { acquire_timeout: 2 * SECOND, ..settings(4, 10) };
    let (pool, script) = scripted(&patient);
    script.limit.store(2, SeqCst);
    let mut held = acquire_many(&pool, 2).await;
    let start = now();
    let error = pool.acquire(later(), &nobody()).await.expect_err("nobody gives one back");
    assert_eq!(error.kind(), ErrorKind::PoolExhausted);
    let took = now() - start;
    assert!(took.abs_diff(2 * SECOND) < SECOND / 20, "{took:?}");
    let attempts = pool.snapshot().connect_failures;
    assert!((1..=5).contains(&attempts), "{attempts} attempts");
    let nobody = nobody();
    let mut waiting = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(held.pop());
    waiting.await.expect("one came back");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_full_of_others_fails_callers_at_once() {
    let (pool, script) = scripted(&PoolSettings { min: 0, ..settings(4, 10) });
    script.alive.store(2, SeqCst);
    script.limit.store(2, SeqCst);
    let start = now();
    let error = pool.acquire(later(), &nobody()).await.expect_err("none of them is ours");
    assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
    assert_eq!(now() - start, Duration::ZERO, "nothing that is waited for comes back");
}

#[tokio::test(start_paused = true)]
async fn connections_that_have_to_go_are_among_those_above_the_bounds() {
    let long = 60 * SECOND;
    for dead in [0, 4] {
        let (pool, script) = scripted(&PoolSettings { min: 2, ..settings(5, 10) });
        let mut held = acquire_many(&pool, 5).await;
        // The idle ones are looked at in the order in which they came back.
        if dead == 4 {
            held.reverse();
        }
        drop(held);
        script.lost.store(1, SeqCst);
        pool.resize(None, Some(4)).expect("it fits");
        let closed =
            [CloseReason::Broken, CloseReason::Overflow].map(|reason| count(&pool, reason));
        assert_eq!((closed, pool.snapshot().open), ([1, 0], 4), "the dead one is at {dead}");
        pass(long + SECOND).await;
        let after = pool.snapshot();
        assert_eq!((after.open, after.opened), (2, 5), "the dead one was at {dead}");
    }
    let (pool, _) = scripted(&PoolSettings { min: 2, ..settings(5, 10) });
    drop(acquire_many(&pool, 5).await);
    pass(long - SECOND / 10).await;
    // Both bounds are exceeded at the same moment.
    tokio::time::advance(SECOND).await;
    pool.resize(None, Some(3)).expect("it fits");
    let after = pool.snapshot();
    assert_eq!((after.open, after.opened), (2, 5), "never below min");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_opens_a_connection_takes_one_that_is_returned_first() {
    let manager = Numbers::default();
    let silent = Arc::clone(&manager.silent);
    let settings = PoolSettings { min: 0, ..settings(2, 10) };
    let pool = Pool::new(&Telemetry::silent("db"), &settings, manager);
    let held = acquire_many(&pool, 1).await;
    silent.store(true, Relaxed);
    let nobody = nobody();
    let mut opening = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(opening.as_mut()).is_pending());
    drop(held);
    let began = now();
    let first = opening.await.expect("the one that was returned");
    assert_eq!((*first == 0, now().saturating_duration_since(began)), (true, Duration::ZERO));
    pass(2 * SECOND).await;
    let after = pool.snapshot();
    assert_eq!((after.open, after.connecting, after.connect_failures), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_its_caller_no_longer_needs_is_idle_when_it_is_open() {
    let (pool, script) = scripted(&PoolSettings { min: 0, ..settings(2, 10) });
    let held = acquire_many(&pool, 1).await;
    let nobody = nobody();
    script.slow.store(true, SeqCst);
    let mut opening = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(opening.as_mut()).is_pending());
    drop(held);
    let first = opening.await.expect("the one that was returned");
    pass(SECOND).await;
    assert_eq!((*first == 0, pool.snapshot().open, pool.snapshot().idle), (true, 2, 1));
    assert_eq!(*acquire_many(&pool, 1).await[0], 1);
}

#[test]
fn a_connection_moves_to_the_worker_that_needs_it_until_both_have_as_many() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(4, 10), Numbers::default());
    let worker = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = worker().expect("a runtime");
    let two = worker().expect("a runtime");
    one.block_on(pool.warm_up(4)).expect("all connections on the first worker");
    let use_three = async || {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(pool.acquire(soon(), &nobody()).await.expect("there are four"));
        }
        let numbers: Vec<_> = held.iter().map(|number| number.0).collect();
        while let Some(checkout) = held.pop() {
            drop(checkout);
            while pool.snapshot().in_use > held.len() || pool.snapshot().connecting > 0 {
                tokio::task::yield_now().await;
            }
        }
        numbers
    };
    let first = two.block_on(use_three());
    assert!(first.iter().all(|number| *number < 4), "{first:?}");
    assert_eq!(pool.snapshot().closed_because(CloseReason::Rebalanced), 2);
    let own = |numbers: &[usize]| numbers.iter().filter(|number| **number >= 4).count();
    for _ in 0..3 {
        assert_eq!(
            own(&two.block_on(use_three())),
            2,
            "two of its own, and one of the other worker"
        );
    }
    assert_eq!((pool.snapshot().opened, pool.snapshot().open), (6, 4));
}

#[test]
fn a_connection_of_another_worker_is_kept_when_no_other_can_be_opened() {
    let manager = Numbers::default();
    let down = Arc::clone(&manager.down);
    let pool = Pool::new(&Telemetry::silent("db"), &settings(4, 10), manager);
    let worker = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = worker().expect("a runtime");
    let two = worker().expect("a runtime");
    one.block_on(pool.warm_up(4)).expect("all connections on the first worker");
    down.store(true, Relaxed);
    two.block_on(async {
        drop(pool.acquire(soon(), &nobody()).await.expect("one of the first worker"));
        while pool.snapshot().connect_failures == 0 || pool.snapshot().in_use > 0 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!((pool.snapshot().open, pool.snapshot().idle, closed(&pool)), (4, 4, vec![]));
}
