//! Callers that share a pool.

use futures_util::future::{join_all, select_all};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn caller(name: &str) -> Arc<CallContext> {
    CallContext::new(Arc::default(), name.into(), "Query", Arc::default())
}

fn patient(max: usize, max_waiting: usize) -> PoolSettings {
    PoolSettings { acquire_timeout: Duration::from_secs(60), ..settings(max, max_waiting) }
}

fn late() -> Deadline {
    Deadline::at(now() + Duration::from_secs(60))
}

/// Uses the pool once; returns how long that took.
async fn work(pool: Pool<Numbers>, context: Arc<CallContext>, time: Duration) -> Duration {
    let start = now();
    let held = pool.acquire(late(), &context).await.expect("it is served");
    pass(time).await;
    drop(held);
    now() - start
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_sends_ten_times_as_much_does_not_slow_the_others() {
    let (pool, _) = scripted(&patient(4, 1000));
    let greedy = caller("10.0.0.1");
    let flood = (0..400).map(|_| tokio::spawn(work(pool.clone(), Arc::clone(&greedy), 10 * MS)));
    let flood: Vec<_> = flood.collect();
    pass(5 * MS).await;
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let modest = caller(if round % 2 == 0 { "10.0.0.2" } else { "10.0.0.3" });
        slowest = slowest.max(work(pool.clone(), modest, 10 * MS).await);
    }
    // 10 ms of its own; without turns it would have waited for up to a second.
    assert!(slowest <= 20 * MS, "{slowest:?}");
    join_all(flood).await;
    assert_eq!(pool.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_alone_may_use_all_connections() {
    let (pool, _) = scripted(&patient(4, 1000));
    let alone = caller("10.0.0.1");
    let start = now();
    join_all((0..40).map(|_| work(pool.clone(), Arc::clone(&alone), 10 * MS))).await;
    assert!(now() - start <= 101 * MS, "{:?}", now() - start);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_displaces_a_caller_with_more_places() {
    let (pool, _) = scripted(&patient(1, 4));
    let greedy = caller("10.0.0.1");
    let modest = caller("10.0.0.2");
    let held = pool.acquire(late(), &greedy).await.expect("one");
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(pool.acquire(late(), &greedy))).collect();
    for each in &mut waiting {
        assert!(futures_util::poll!(each.as_mut()).is_pending());
    }
    let mut other = Box::pin(pool.acquire(late(), &modest));
    assert!(futures_util::poll!(other.as_mut()).is_pending());
    let (refused, last, _rest) = select_all(waiting).await;
    assert_eq!((refused.expect_err("it went").kind(), last), (ErrorKind::PoolExhausted, 3));
    let own = pool.acquire(late(), &greedy).await.expect_err("it has most of the places");
    assert_eq!(own.kind(), ErrorKind::PoolExhausted);
    assert_eq!(pool.snapshot().rejected, 2);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_cannot_be_served_in_time_fails_at_once() {
    let (pool, _) = scripted(&patient(2, 1000));
    let busy = caller("10.0.0.1");
    let flood: Vec<_> =
        (0..300).map(|_| tokio::spawn(work(pool.clone(), Arc::clone(&busy), 10 * MS))).collect();
    pass(400 * MS).await;
    // Some 220 are before it: 1.1 s.
    let start = now();
    let hopeless = Deadline::at(now() + 100 * MS);
    let error = pool.acquire(hopeless, &busy).await.expect_err("its turn comes too late");
    assert_eq!((error.kind(), now() - start), (ErrorKind::PoolExhausted, Duration::ZERO));
    let enough = Deadline::at(now() + 1500 * MS);
    drop(pool.acquire(enough, &busy).await.expect("it was served"));
    // A caller without waiters of its own does not wait for the flood.
    let other = Deadline::at(now() + 100 * MS);
    drop(pool.acquire(other, &caller("10.0.0.2")).await.expect("its turn is near"));
    join_all(flood).await;
}
