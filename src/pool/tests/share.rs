//! Transactions, which may hold only their share of a pool.

use super::*;

fn half(max: usize) -> PoolSettings {
    PoolSettings { transaction_share: 0.5, ..settings(max, 2) }
}

fn caller(name: &str) -> Arc<CallContext> {
    CallContext::new(Arc::default(), name.into(), "Transact", Arc::default())
}

#[test]
fn the_share_is_whole_connections_and_at_least_one() {
    let cases = [(10, 0.8, 8), (10, 0.3, 3), (3, 0.5, 1), (7, 1.0, 7), (5, 0.0, 1)];
    for (max, share, expected) in cases {
        assert_eq!(transaction_limit(max, share), expected, "{share} of {max}");
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_leave_the_rest_to_others_and_are_waited_for_no_longer_than_a_connection() {
    let (pool, _) = scripted(&half(2));
    let held = pool.acquire_for_transaction(soon(), &nobody()).await.expect("it is free");
    let start = now();
    let error = pool.acquire_for_transaction(soon(), &nobody()).await.expect_err("one is open");
    assert_eq!(error.kind(), ErrorKind::PoolExhausted);
    assert!(error.message().contains("open transactions"), "{error}");
    assert!(now() - start <= Duration::from_millis(201), "{:?}", now() - start);
    drop(pool.acquire(soon(), &nobody()).await.expect("a statement has the other"));
    drop(held);
    drop(pool.acquire_for_transaction(soon(), &nobody()).await.expect("it was given back"));
}

#[tokio::test(start_paused = true)]
async fn both_waits_together_are_no_longer_than_one() {
    let (pool, _) = scripted(&half(2));
    let open = pool.acquire_for_transaction(soon(), &nobody()).await.expect("it is free");
    let _other = pool.acquire(soon(), &nobody()).await.expect("the second");
    let caller = nobody();
    let waiting = pool.acquire_for_transaction(soon(), &caller);
    tokio::pin!(waiting);
    let start = now();
    pass(Duration::from_millis(150)).await;
    assert!(futures_util::poll!(&mut waiting).is_pending());
    // The share is free, and the connection somebody else's at once.
    let mut next = Box::pin(pool.acquire(soon(), &caller));
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(open);
    let _next = next.await.expect("it came first");
    waiting.await.expect_err("nothing more comes back");
    let waited = now() - start;
    assert!(waited <= Duration::from_millis(351), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_take_turns_and_no_more_wait_than_may() {
    let (pool, _) = scripted(&half(2));
    let greedy = caller("10.0.0.1");
    let modest = caller("10.0.0.2");
    let held = pool.acquire_for_transaction(soon(), &greedy).await.expect("it is free");
    let first = pool.acquire_for_transaction(soon(), &greedy);
    let second = pool.acquire_for_transaction(soon(), &greedy);
    tokio::pin!(first, second);
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    assert_eq!(pool.snapshot().waiting, 2);
    let other = pool.acquire_for_transaction(soon(), &modest);
    tokio::pin!(other);
    assert!(futures_util::poll!(&mut other).is_pending());
    let crowded = second.await.expect_err("its caller has another place");
    assert_eq!(crowded.kind(), ErrorKind::PoolExhausted);
    drop(held);
    drop(first.await.expect("it came first"));
    drop(other.await.expect("then the other caller"));
    assert_eq!(pool.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_grows_or_shrinks_has_a_share_of_its_new_size() {
    let (pool, _) = scripted(&half(2));
    let first = pool.acquire_for_transaction(soon(), &nobody()).await.expect("it is free");
    let caller = nobody();
    let waiting = pool.acquire_for_transaction(soon(), &caller);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    pool.resize(None, Some(4)).expect("it may grow");
    let second = waiting.await.expect("two may be open now");
    pool.resize(None, Some(2)).expect("it may shrink");
    drop(first);
    pool.acquire_for_transaction(soon(), &nobody()).await.expect_err("one is open");
    drop(second);
    drop(pool.acquire_for_transaction(soon(), &nobody()).await.expect("none is open"));
}
