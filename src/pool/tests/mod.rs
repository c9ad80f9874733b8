//! Tests of the pool; its connections are numbers.

mod fair;
mod life;
mod operate;
mod share;
mod simulation;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use super::call_context::CheckoutHolder;
use super::pool_state::transaction_limit;
use super::{CallContext, Checkout, CloseReason, Manager, Pool, PoolAdmin as _};
use crate::clock::now;
use crate::config::PoolSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::telemetry::Telemetry;

#[derive(Default)]
struct Numbers {
    next: AtomicUsize,
    down: Arc<AtomicBool>,
    stale: Arc<AtomicBool>,
    /// Attempts to connect hang.
    silent: Arc<AtomicBool>,
    script: Arc<Script>,
}

/// The fate of connections by their numbers.
#[derive(Default)]
struct Script {
    /// Those below it are lost, which is known.
    lost: AtomicUsize,
    /// Those below it are lost, which only a validation shows.
    silently_lost: AtomicUsize,
    /// Those below it do not answer.
    mute: AtomicUsize,
    /// The number of validations.
    validated: AtomicUsize,
    /// The largest number of connections that the server takes; 0 for any.
    limit: AtomicUsize,
    /// Open connections.
    alive: AtomicUsize,
    /// Connections that are being opened, and the most of them at once.
    opening: AtomicUsize,
    most_opening: AtomicUsize,
    /// It takes half a second to open a connection.
    slow: AtomicBool,
}

/// A connection.
struct Number(usize, Arc<Script>);

impl PartialEq<usize> for Number {
    fn eq(&self, other: &usize) -> bool {
        self.0 == *other
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Manager> std::fmt::Debug for Checkout<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkout").field("context", self.context()).finish_non_exhaustive()
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.1.alive.fetch_sub(1, SeqCst);
    }
}

impl Manager for Numbers {
    type Connection = Number;

    const BOUND_TO_WORKER: bool = true;

    async fn connect(&self) -> Result<Number> {
        let script = &self.script;
        let opening = script.opening.fetch_add(1, SeqCst) + 1;
        script.most_opening.fetch_max(opening, SeqCst);
        let opened = self.open().await;
        script.opening.fetch_sub(1, SeqCst);
        opened
    }

    fn is_full(&self, error: &Error) -> bool {
        error.message() == "full"
    }

    fn is_usable(&self, number: &Number) -> bool {
        !self.stale.load(Relaxed) && number.0 >= self.script.lost.load(SeqCst)
    }

    async fn validate(&self, number: &mut Number) -> bool {
        self.script.validated.fetch_add(1, SeqCst);
        if number.0 < self.script.mute.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        number.0 >= self.script.silently_lost.load(SeqCst)
    }
}

impl Numbers {
    async fn open(&self) -> Result<Number> {
        let script = &self.script;
        if self.silent.load(Relaxed) {
            std::future::pending::<()>().await;
        }
        if script.slow.load(SeqCst) {
            pass(Duration::from_millis(500)).await;
        }
        if self.down.load(Relaxed) {
            return Err(Error::new(ErrorKind::DatabaseUnavailable, "down"));
        }
        let limit = script.limit.load(SeqCst);
        if limit > 0 && script.alive.load(SeqCst) >= limit {
            return Err(Error::new(ErrorKind::DatabaseUnavailable, "full"));
        }
        script.alive.fetch_add(1, SeqCst);
        Ok(Number(self.next.fetch_add(1, Relaxed), Arc::clone(script)))
    }
}

fn settings(max: usize, max_waiting: usize) -> PoolSettings {
    PoolSettings {
        min: 1,
        max: NonZeroUsize::new(max).expect("not zero"),
        acquire_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(1),
        max_waiting,
        overflow: 0,
        idle_timeout: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(3600),
        lifetime_jitter: 0.1,
        validate_after_idle: Duration::from_secs(5),
        leak_threshold: Duration::from_secs(60),
        warm_up: true,
        lanes: 0,
        lane_timeout: Duration::from_millis(50),
        transaction_share: 1.0,
    }
}

fn nobody() -> Arc<CallContext> {
    CallContext::new(Arc::default(), "somebody".into(), "Query", Arc::default())
}

/// The reasons for which connections were closed, each once.
fn closed<M: Manager>(pool: &Pool<M>) -> Vec<CloseReason> {
    let snapshot = pool.snapshot();
    CloseReason::ALL.into_iter().filter(|reason| snapshot.closed_because(*reason) > 0).collect()
}

fn soon() -> Deadline {
    Deadline::at(Instant::now() + Duration::from_secs(5))
}

/// A pool, and the script of its connections.
fn scripted(settings: &PoolSettings) -> (Pool<Numbers>, Arc<Script>) {
    let manager = Numbers::default();
    let script = Arc::clone(&manager.script);
    (Pool::new(&Telemetry::silent("db"), settings, manager), script)
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test]
async fn a_returned_connection_is_checked_out_again() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(2, 10), Numbers::default());
    drop(pool.acquire(soon(), &nobody()).await.expect("one"));
    assert_eq!(*pool.acquire(soon(), &nobody()).await.expect("the same"), 0);
    assert_eq!((pool.snapshot().open, pool.snapshot().idle), (1, 1));
}

#[tokio::test]
async fn a_discarded_connection_is_not_checked_out_again_and_its_reason_is_counted() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), Numbers::default());
    pool.acquire(soon(), &nobody()).await.expect("one").discard(CloseReason::Dirty);
    assert_eq!(*pool.acquire(soon(), &nobody()).await.expect("a new one"), 1);
    assert_eq!(closed(&pool), [CloseReason::Dirty]);
}

#[tokio::test]
async fn a_stale_idle_connection_is_replaced() {
    let manager = Numbers::default();
    let stale = Arc::clone(&manager.stale);
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), manager);
    drop(pool.acquire(soon(), &nobody()).await.expect("one"));
    stale.store(true, Relaxed);
    assert_eq!(*pool.acquire(soon(), &nobody()).await.expect("a new one"), 1);
    assert_eq!(closed(&pool), [CloseReason::Broken]);
    assert_eq!(pool.snapshot().open, 1);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_pool_fails_after_the_acquire_timeout() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), Numbers::default());
    let held = pool.acquire(soon(), &nobody()).await.expect("one");
    let error = pool.acquire(soon(), &nobody()).await.expect_err("none is left");
    assert_eq!(error.kind(), ErrorKind::PoolExhausted);
    assert!(error.retry_after().is_some());
    drop(held);
    assert_eq!((pool.snapshot().timeouts, pool.snapshot().waited), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_has_waited_elsewhere_waits_for_the_rest() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), Numbers::default());
    let _held = pool.acquire(soon(), &nobody()).await.expect("one");
    let start = tokio::time::Instant::now();
    let caller = nobody();
    let waiting = pool.acquire_after(Duration::from_millis(150), soon(), &caller, None);
    assert_eq!(waiting.await.expect_err("none is left").kind(), ErrorKind::PoolExhausted);
    let waited = start.elapsed();
    assert!((Duration::from_millis(40)..Duration::from_millis(60)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_acquire_timeout_is_a_deadline() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), Numbers::default());
    let _held = pool.acquire(soon(), &nobody()).await.expect("one");
    let deadline = Deadline::at(Instant::now() + Duration::from_millis(50));
    let error = pool.acquire(deadline, &nobody()).await.expect_err("none is left");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_full_queue_fails_at_once() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 0), Numbers::default());
    let _held = pool.acquire(soon(), &nobody()).await.expect("one");
    let error = pool.acquire(soon(), &nobody()).await.expect_err("nobody may wait");
    assert_eq!(error.kind(), ErrorKind::PoolExhausted);
    assert_eq!(pool.snapshot().rejected, 1);
}

#[tokio::test]
async fn a_caller_that_leaves_the_queue_is_counted_and_loses_nothing() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), Numbers::default());
    let held = pool.acquire(soon(), &nobody()).await.expect("one");
    let mut waiting = Box::pin(async { pool.acquire(soon(), &nobody()).await });
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(pool.snapshot().waiting, 1);
    drop(waiting);
    assert_eq!((pool.snapshot().waiting, pool.snapshot().cancelled_waits), (0, 1));
    drop(held);
    pool.acquire(soon(), &nobody()).await.expect("the connection is there");
}

#[tokio::test]
async fn an_unreachable_database_takes_no_permits_of_the_pool() {
    let manager = Numbers::default();
    let down = Arc::clone(&manager.down);
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), manager);
    down.store(true, Relaxed);
    for _ in 0..3 {
        let error = pool.acquire(soon(), &nobody()).await.expect_err("down");
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
    }
    down.store(false, Relaxed);
    pool.acquire(soon(), &nobody()).await.expect("back");
    assert_eq!((pool.snapshot().connect_failures, pool.snapshot().opened), (3, 1));
}

#[tokio::test]
async fn a_closed_pool_closes_returned_connections_and_checks_none_out() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(2, 10), Numbers::default());
    let held = pool.acquire(soon(), &nobody()).await.expect("one");
    pool.close();
    let error = pool.acquire(soon(), &nobody()).await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::ShuttingDown);
    drop(held);
    assert_eq!((pool.snapshot().open, closed(&pool)), (0, vec![CloseReason::Shutdown]));
}

#[test]
fn workers_share_one_bound_and_take_connections_of_others_when_they_must() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(2, 10), Numbers::default());
    let worker = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let one = worker();
    let two = worker();
    one.block_on(pool.warm_up(2)).expect("two connections on the first worker");
    let held = two.block_on(pool.acquire(soon(), &nobody())).expect("of the other worker");
    let other = two.block_on(pool.acquire(soon(), &nobody())).expect("another");
    assert_eq!(pool.snapshot().opened, 2, "the bound holds over both workers");
    drop((held, other));
    assert_eq!((pool.snapshot().open, pool.snapshot().idle), (2, 2));
}

#[tokio::test]
async fn a_caller_whose_deadline_has_passed_gets_no_connection() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), Numbers::default());
    drop(pool.acquire(soon(), &nobody()).await.expect("one"));
    let error = pool.acquire(Deadline::at(Instant::now()), &nobody()).await.expect_err("too late");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::DeadlineExceeded, Outcome::NotApplied));
    pool.acquire(soon(), &nobody()).await.expect("nothing was lost");
}

#[tokio::test]
async fn a_connection_that_was_never_opened_is_not_counted_as_closed() {
    let manager = Numbers::default();
    let silent = Arc::clone(&manager.silent);
    silent.store(true, Relaxed);
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), manager);
    let mut connecting = Box::pin(async { pool.acquire(soon(), &nobody()).await });
    assert!(futures_util::poll!(connecting.as_mut()).is_pending());
    assert_eq!((pool.snapshot().connecting, pool.snapshot().open), (1, 0));
    drop(connecting);
    let left = pool.snapshot();
    assert_eq!(
        (left.connecting, left.open, left.opened, left.closed_because(CloseReason::Shutdown)),
        (0, 0, 0, 0)
    );
    silent.store(false, Relaxed);
    pool.acquire(soon(), &nobody()).await.expect("its permit is free");
}

#[tokio::test]
async fn callers_are_served_in_the_order_in_which_they_came() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), Numbers::default());
    let held = pool.acquire(soon(), &nobody()).await.expect("one");
    let caller = nobody();
    let (mut first, mut second) =
        (Box::pin(pool.acquire(soon(), &caller)), Box::pin(pool.acquire(soon(), &caller)));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(held);
    let newcomer =
        pool.acquire(Deadline::at(Instant::now() + Duration::from_millis(20)), &nobody()).await;
    assert_eq!(newcomer.expect_err("two are before it").kind(), ErrorKind::DeadlineExceeded);
    assert!(futures_util::poll!(second.as_mut()).is_pending(), "it overtook the first");
    drop(first.await.expect("its turn"));
    second.await.expect("its turn");
}

#[test]
fn a_stale_connection_of_another_worker_is_replaced_where_it_is_needed() {
    let manager = Numbers::default();
    let stale = Arc::clone(&manager.stale);
    let pool = Pool::new(&Telemetry::silent("db"), &settings(1, 10), manager);
    let worker = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = worker().expect("a runtime");
    let two = worker().expect("a runtime");
    one.block_on(pool.warm_up(1)).expect("a connection on the first worker");
    // Nothing drives the first worker any more: a connection that it had to open would never come.
    stale.store(true, Relaxed);
    let held = two.block_on(pool.acquire(soon(), &nobody())).expect("a new one");
    assert_eq!(*held, 1);
    assert_eq!((pool.snapshot().open, closed(&pool)), (1, vec![CloseReason::Broken]));
}

#[test]
fn an_idle_connection_of_another_worker_is_taken_before_one_is_opened() {
    let manager = Numbers::default();
    let silent = Arc::clone(&manager.silent);
    let pool = Pool::new(&Telemetry::silent("db"), &settings(3, 10), manager);
    let worker = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = worker().expect("a runtime");
    let two = worker().expect("a runtime");
    one.block_on(pool.warm_up(1)).expect("a connection on the first worker");
    silent.store(true, Relaxed);
    let soon = Deadline::at(Instant::now() + Duration::from_millis(500));
    let held = two.block_on(pool.acquire(soon, &nobody())).expect("that of the first worker");
    assert_eq!(*held, 0);
}

#[tokio::test]
async fn a_warm_up_never_waits_and_is_not_counted_as_a_caller() {
    let pool = Pool::new(&Telemetry::silent("db"), &settings(2, 10), Numbers::default());
    let held = pool.acquire(soon(), &nobody()).await.expect("one");
    pool.warm_up(2).await.expect("the one that is left");
    let both = pool.snapshot();
    assert_eq!((both.open, both.in_use, both.acquired, both.waited), (2, 1, 1, 0));
    drop(held);
}
