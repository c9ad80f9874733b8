//! How much of a pool interactive transactions may hold: a slow caller must not take it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::PoolSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// When a caller that found the share taken may try again; as for the pool itself.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The connections that interactive transactions may hold at once. It is waited for as the pool is: in
/// the order of coming, for as long, and by as many. What is waited here is not waited there again.
#[derive(Debug)]
pub(in crate::engine) struct Share {
    database: String,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    acquire_timeout: Duration,
}

impl Share {
    pub(in crate::engine) fn new(database: &str, pool: &PoolSettings) -> Self {
        Self {
            database: database.to_owned(),
            permits: Arc::new(Semaphore::new(connections(pool))),
            waiting: AtomicUsize::new(0),
            max_waiting: pool.max_waiting,
            acquire_timeout: pool.acquire_timeout,
        }
    }

    /// Waits for the right to hold a connection.
    pub(super) async fn acquire(&self, deadline: Deadline) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.queue()?;
        let now = Instant::now().into_std();
        let until = deadline.within(now, self.acquire_timeout);
        let permit = Arc::clone(&self.permits).acquire_owned();
        if let Ok(Ok(permit)) = tokio::time::timeout_at(until.instant().into(), permit).await {
            return Ok(permit);
        }
        if until < deadline {
            return Err(self.exhausted());
        }
        let message = format!(
            "the deadline passed while waiting for a connection to database \"{}\"",
            self.database
        );
        Err(Error::new(ErrorKind::DeadlineExceeded, message))
    }

    fn queue(&self) -> Result<Place<'_>> {
        let place = Place(&self.waiting);
        // The place counts from here on, also while it is being refused.
        if self.waiting.fetch_add(1, Relaxed) >= self.max_waiting {
            return Err(self.exhausted());
        }
        Ok(place)
    }

    fn exhausted(&self) -> Error {
        let message =
            format!("open transactions hold their share of database \"{}\"", self.database);
        Error::new(ErrorKind::PoolExhausted, message)
            .with_hint("Raise pool.max or pool.transaction_share, or keep transactions short.")
            .with_retry_after(RETRY_AFTER)
    }
}

/// A caller's place among those that wait.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn connections(pool: &PoolSettings) -> usize {
    let max = pool.max.get();
    // The largest count within the share, compared as the fractions that people write: 0.3 of 10 is 3.
    (1..=max).rev().find(|held| fraction(*held, max) <= pool.transaction_share).unwrap_or(1)
}

fn fraction(part: usize, whole: usize) -> f64 {
    let small = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    small(part) / small(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn share(settings: &[(&str, &str)]) -> Share {
        let config = config::load_from(settings).expect("the settings are right");
        Share::new("main", &config.databases["main"].pool)
    }

    fn in_time() -> Deadline {
        Deadline::at(Instant::now().into_std() + Duration::from_secs(60))
    }

    #[test]
    fn the_share_is_whole_connections_and_at_least_one() {
        let cases =
            [("10", "0.8", 8), ("10", "0.3", 3), ("3", "0.5", 1), ("7", "1.0", 7), ("5", "0.0", 1)];
        for (max, of, expected) in cases {
            let settings =
                [("databases.main.pool.max", max), ("databases.main.pool.transaction_share", of)];
            assert_eq!(share(&settings).permits.available_permits(), expected, "{of} of {max}");
        }
    }

    const ONE: (&str, &str) = ("databases.main.pool.transaction_share", "0");

    #[tokio::test(start_paused = true)]
    async fn it_is_waited_for_in_order_and_no_longer_than_for_the_pool() {
        let share = share(&[ONE, ("databases.main.pool.acquire_timeout", "200ms")]);
        let held = share.acquire(in_time()).await.expect("it is free");
        let (first, second) = (share.acquire(in_time()), share.acquire(in_time()));
        tokio::pin!(first, second);
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(held);
        assert!(futures_util::poll!(&mut second).is_pending());
        let _held = first.await.expect("it came first");
        let error = second.await.expect_err("nobody gives it back");
        assert_eq!(
            (error.kind(), error.retry_after()),
            (ErrorKind::PoolExhausted, Some(RETRY_AFTER))
        );
        assert_eq!(share.waiting.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_comes_first_is_the_error() {
        let share = share(&[ONE]);
        let _held = share.acquire(in_time()).await.expect("it is free");
        let soon = Deadline::at(Instant::now().into_std() + Duration::from_millis(10));
        let error = share.acquire(soon).await.expect_err("nobody gives it back");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_may_wait_for_the_pool() {
        let share = share(&[ONE, ("databases.main.pool.max_waiting", "1")]);
        let held = share.acquire(in_time()).await.expect("it is free");
        let waiting = share.acquire(in_time());
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let error = share.acquire(in_time()).await.expect_err("one waits already");
        assert_eq!(error.kind(), ErrorKind::PoolExhausted);
        drop(held);
        drop(waiting.await.expect("its place was not touched"));
    }
}
