//! The commands of operators.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn later() -> Deadline {
    Deadline::at(now() + Duration::from_secs(60))
}

fn patient(max: usize) -> PoolSettings {
    PoolSettings { acquire_timeout: 10 * SECOND, ..settings(max, 100) }
}

#[tokio::test(start_paused = true)]
async fn a_paused_pool_admits_nobody_and_checkouts_go_on() {
    let (pool, _) = scripted(&patient(2));
    let nobody = nobody();
    let held = pool.acquire(later(), &nobody).await.expect("one");
    pool.pause();
    assert!(pool.snapshot().paused);
    let (mut first, mut second) =
        (Box::pin(pool.acquire(later(), &nobody)), Box::pin(pool.acquire(later(), &nobody)));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(held);
    pass(SECOND).await;
    assert_eq!((pool.snapshot().in_use, pool.snapshot().waiting), (0, 2));
    assert!(futures_util::poll!(first.as_mut()).is_pending(), "it is at rest");
    pool.resume();
    assert!(!pool.snapshot().paused);
    let first = first.await.expect("admitted");
    let second = second.await.expect("admitted");
    assert_eq!((*first == 0, *second == 1), (true, true), "in the order in which they came");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_a_paused_pool_does_not_admit_is_told_of_the_pause_whatever_comes_first() {
    let (pool, _) = scripted(&patient(2));
    pool.pause();
    let error = pool.acquire(later(), &nobody()).await.expect_err("nobody resumes it");
    assert_eq!(error.kind(), ErrorKind::PoolPaused);
    assert!(error.retry_after().is_some());
    let soon = || Deadline::at(now() + SECOND);
    let error = pool.acquire(soon(), &nobody()).await.expect_err("nobody resumes it");
    assert_eq!(error.kind(), ErrorKind::PoolPaused, "{error:?}");
    // More transactions than their share: what keeps them out is the pause.
    let nobody = nobody();
    let attempts = (0..3).map(|_| pool.acquire_for_transaction(soon(), &nobody));
    for refused in futures_util::future::join_all(attempts).await {
        assert_eq!(refused.expect_err("nobody resumes it").kind(), ErrorKind::PoolPaused);
    }
    pool.resume();
    drop(pool.acquire_for_transaction(later(), &nobody).await.expect("it is resumed"));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_before_a_paused_pool_is_said_to_be_paused() {
    let (pool, _) = scripted(&PoolSettings { max_waiting: 1, ..patient(2) });
    pool.pause();
    let nobody = nobody();
    let mut first = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    let error = pool.acquire(later(), &nobody).await.expect_err("the queue is full");
    assert_eq!(error.kind(), ErrorKind::PoolPaused, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_flush_no_older_connection_is_checked_out() {
    let (pool, _) = scripted(&patient(3));
    let nobody = nobody();
    let held = pool.acquire(later(), &nobody).await.expect("one");
    drop(pool.acquire(later(), &nobody).await.expect("another"));
    pool.flush(CloseReason::Failover);
    assert_eq!(pool.snapshot().open, 1, "what was idle is closed");
    assert_eq!(*pool.acquire(later(), &nobody).await.expect("a new one"), 2);
    drop(held);
    let after = pool.snapshot();
    assert_eq!((after.open, after.closed_because(CloseReason::Failover)), (1, 2));
    assert_eq!(pool.0.context.health.generation(), 1);
    assert_eq!(*pool.acquire(later(), &nobody).await.expect("the new one"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_being_opened_during_a_flush_is_not_checked_out_later() {
    let manager = Numbers::default();
    let silent = Arc::clone(&manager.silent);
    let script = Arc::clone(&manager.script);
    silent.store(true, Relaxed);
    let pool = Pool::new(&Telemetry::silent("db"), &PoolSettings { min: 0, ..patient(1) }, manager);
    let nobody = nobody();
    // Its opening began before the flush.
    let mut opening = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(opening.as_mut()).is_pending());
    pool.flush(CloseReason::Admin);
    silent.store(false, Relaxed);
    drop(opening);
    assert_eq!(script.alive.load(SeqCst), 0);
    assert_eq!(*pool.acquire(later(), &nobody).await.expect("a new one"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_higher_max_admits_waiters_at_once() {
    let (pool, _) = scripted(&patient(1));
    let nobody = nobody();
    let _held = pool.acquire(later(), &nobody).await.expect("one");
    let mut waiting = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    pool.resize(Some(3), Some(4)).expect("it fits");
    let _second = waiting.await.expect("there is room");
    pass(SECOND).await;
    let after = pool.snapshot();
    assert_eq!((after.min, after.max, after.open, after.idle), (3, 4, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn connections_above_a_lower_max_are_closed_when_they_are_returned() {
    let (pool, _) = scripted(&patient(4));
    let nobody = nobody();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire(later(), &nobody).await.expect("one"));
    }
    drop(held.pop());
    pool.resize(None, Some(2)).expect("it fits");
    assert_eq!(pool.snapshot().open, 3, "what is idle is closed at once");
    let mut waiting = Box::pin(pool.acquire(later(), &nobody));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(held.pop());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "two are out still");
    drop(held.pop());
    waiting.await.expect("its turn");
    drop(held);
    assert!(pool.snapshot().open <= 2);
}

#[tokio::test]
async fn invalid_bounds_fail_and_change_nothing() {
    let (pool, _) = scripted(&patient(4));
    for (min, max) in [(None, Some(0)), (Some(5), None), (Some(3), Some(2)), (None, Some(10_001))] {
        let error = pool.resize(min, max).expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{min:?} {max:?}");
        assert!(error.violation().is_some());
    }
    assert_eq!((pool.snapshot().min, pool.snapshot().max), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_terminated_call_is_woken_and_gets_no_other_connection() {
    let (pool, _) = scripted(&patient(2));
    let one = nobody();
    let other = nobody();
    let held = pool.acquire(later(), &one).await.expect("one");
    let _other = pool.acquire(later(), &other).await.expect("another");
    let ids: Vec<u64> = pool.checkouts().iter().map(|checkout| checkout.id).collect();
    assert_eq!(ids, [1, 2], "the oldest first");
    assert!(pool.terminate(ids[0], crate::pool::Termination::Operator));
    one.terminated().await;
    assert!(!other.is_terminated());
    drop(held);
    assert!(!pool.terminate(ids[0], crate::pool::Termination::Operator), "it is over");
    let error = pool.acquire(later(), &one).await.expect_err("it was terminated");
    assert_eq!(error.kind(), ErrorKind::Terminated);
}
