//! The one queue before a pool: first come, first served, bounded in length and time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::stats::Counters;
use crate::config::PoolSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// When a caller that found the pool exhausted may try again.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(100);

pub(super) struct Queue {
    permits: Arc<Semaphore>,
    waiters: Mutex<BTreeMap<u64, Instant>>,
    next_ticket: AtomicU64,
    max_waiting: usize,
    acquire_timeout: Duration,
    counters: Arc<Counters>,
}

impl Queue {
    pub(super) fn new(settings: &PoolSettings, counters: Arc<Counters>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(settings.max.get())),
            waiters: Mutex::new(BTreeMap::new()),
            next_ticket: AtomicU64::new(0),
            max_waiting: settings.max_waiting,
            acquire_timeout: settings.acquire_timeout,
            counters,
        }
    }

    /// Waits for the right to hold a connection; the caller has waited elsewhere before.
    pub(super) async fn enter(
        &self,
        waited: Duration,
        deadline: Deadline,
    ) -> Result<OwnedSemaphorePermit> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(self.shutting_down()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let started = Instant::now();
        let mut place = self.join(started)?;
        let until = deadline.within(started, self.acquire_timeout.saturating_sub(waited));
        let permit = Arc::clone(&self.permits).acquire_owned();
        let waited = tokio::time::timeout_at(until.instant().into(), permit).await;
        place.finished = true;
        match waited {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(self.shutting_down()),
            Err(_elapsed) => {
                self.counters.timeouts.fetch_add(1, Relaxed);
                Err(self.waited_too_long(deadline <= until))
            }
        }
    }

    /// The right to hold a connection, if nobody need wait for it.
    pub(super) fn enter_at_once(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    pub(super) fn close(&self) {
        self.permits.close();
    }

    /// How many wait, and how long the first of them has.
    pub(super) fn waiting(&self, now: Instant) -> (usize, Option<Duration>) {
        let waiters = self.waiters.lock();
        let oldest = waiters.values().next().map(|since| now.saturating_duration_since(*since));
        (waiters.len(), oldest)
    }

    pub(super) fn shutting_down(&self) -> Error {
        super::shutting_down(&self.counters.database)
    }

    pub(super) fn deadline_passed(&self, doing: &str) -> Error {
        let database = &self.counters.database;
        Error::new(
            ErrorKind::DeadlineExceeded,
            format!("the deadline passed while {doing} to database \"{database}\""),
        )
    }

    fn join(&self, now: Instant) -> Result<Place<'_>> {
        let mut waiters = self.waiters.lock();
        if waiters.len() >= self.max_waiting {
            self.counters.rejected.fetch_add(1, Relaxed);
            let database = &self.counters.database;
            let message = format!(
                "{} callers wait for a connection to database \"{database}\"",
                waiters.len()
            );
            return Err(exhausted(message));
        }
        let ticket = self.next_ticket.fetch_add(1, Relaxed);
        waiters.insert(ticket, now);
        Ok(Place { queue: self, ticket, since: now, finished: false })
    }

    fn waited_too_long(&self, deadline_came_first: bool) -> Error {
        if deadline_came_first {
            return self.deadline_passed("waiting for a connection");
        }
        let database = &self.counters.database;
        let limit = humantime::format_duration(self.acquire_timeout);
        exhausted(format!("no connection to database \"{database}\" became free within {limit}"))
    }
}

fn exhausted(message: String) -> Error {
    Error::new(ErrorKind::PoolExhausted, message)
        .with_hint("Raise pool.max or lower the number of callers.")
        .with_retry_after(RETRY_AFTER)
}

/// A caller's place in the queue.
struct Place<'a> {
    queue: &'a Queue,
    ticket: u64,
    since: Instant,
    finished: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.waiters.lock().remove(&self.ticket);
        let counters = &self.queue.counters;
        counters.waited.fetch_add(1, Relaxed);
        let waited = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.wait_micros.fetch_add(waited, Relaxed);
        if !self.finished {
            counters.cancelled_waits.fetch_add(1, Relaxed);
        }
    }
}
