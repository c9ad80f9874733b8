//! A queue before a pool: bounded in length and time, fair between callers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fair_queue::FairQueue;
use super::wait_estimate::WaitEstimate;
use crate::clock::now;
use crate::config::PoolSettings;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::counters::Counters;

/// When a caller that found the pool exhausted may try again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A connection.
    Connection,
    /// The right to hold one for a whole transaction, `pool.transaction_share`; a connection is waited for
    /// after it.
    Transaction,
}

/// The queue.
pub(crate) struct Admission {
    awaited: Awaited,
    state: Mutex<State>,
    max_waiting: usize,
    acquire_timeout: Duration,
    counters: Arc<Counters>,
}

struct State {
    turns: FairQueue<Waiter>,
    /// Permits that are out.
    admitted: usize,
    /// Permits at most.
    limit: usize,
    paused: bool,
    closed: bool,
    wait_estimate: WaitEstimate,
}

struct Waiter {
    since: Instant,
    /// `Err`: another caller's turn was worth more.
    tell: oneshot::Sender<Result<Permit, Crowded>>,
}

struct Crowded;

impl Admission {
    pub(crate) fn new(
        awaited: Awaited,
        limit: usize,
        settings: &PoolSettings,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let PoolSettings { max_waiting, acquire_timeout, .. } = *settings;
        let state = State {
            turns: FairQueue::default(),
            admitted: 0,
            limit,
            paused: false,
            closed: false,
            wait_estimate: WaitEstimate::default(),
        };
        let state = Mutex::new(state);
        Arc::new(Self { awaited, state, max_waiting, acquire_timeout, counters })
    }

    /// Waits for the right to hold a connection; the caller has waited elsewhere before.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        waited: Duration,
        deadline: Deadline,
        caller: &str,
    ) -> Result<Permit> {
        let (mut place, told) = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(self.shutting_down());
            }
            if state.has_room() {
                state.admitted += 1;
                drop(state);
                return Ok(Permit::new(self));
            }
            self.join(&mut state, deadline, caller)?
        };
        let until = deadline.within(place.since, self.acquire_timeout.saturating_sub(waited));
        let waited = tokio::time::timeout_at(until.instant().into(), told).await;
        place.finished = true;
        match waited {
            Ok(Ok(Ok(permit))) => Ok(permit),
            Ok(Ok(Err(Crowded))) => {
                self.counters.rejected();
                Err(self.crowded(self.max_waiting))
            }
            Ok(Err(_closed)) => Err(self.shutting_down()),
            Err(_elapsed) => {
                self.counters.timed_out();
                Err(self.waited_too_long(deadline <= until))
            }
        }
    }

    /// The right to hold a connection, if nobody need wait for it.
    pub(crate) fn enter_at_once(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state.lock();
        if state.closed || !state.has_room() {
            return None;
        }
        state.admitted += 1;
        drop(state);
        Some(Permit::new(self))
    }

    /// Lets nobody in any more, and sends away who waits.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.turns);
        drop(state);
        drop(waiting);
    }

    pub(crate) fn pause(&self) {
        self.state.lock().paused = true;
    }

    pub(crate) fn resume(self: &Arc<Self>) {
        self.state.lock().paused = false;
        self.let_in();
    }

    pub(crate) fn resize(self: &Arc<Self>, limit: usize) {
        self.state.lock().limit = limit;
        self.let_in();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state.lock().paused
    }

    /// How many wait, and how long the first of them has.
    pub(crate) fn waiting(&self, now: Instant) -> (usize, Option<Duration>) {
        let state = self.state.lock();
        let first = state.turns.heads().map(|waiter| waiter.since).min();
        (state.turns.len(), first.map(|since| now.saturating_duration_since(since)))
    }

    /// Permits that are out.
    #[cfg(test)]
    pub(crate) fn admitted(&self) -> usize {
        self.state.lock().admitted
    }

    pub(crate) fn shutting_down(&self) -> Error {
        crate::pool::shutting_down(&self.counters.database)
    }

    pub(crate) fn deadline_passed(&self, doing: &str) -> Error {
        let database = &self.counters.database;
        Error::new(
            ErrorKind::DeadlineExceeded,
            format!("the deadline passed while {doing} to database \"{database}\""),
        )
    }

    fn join<'a>(
        &'a self,
        state: &mut State,
        deadline: Deadline,
        caller: &'a str,
    ) -> Result<(Place<'a>, oneshot::Receiver<Result<Permit, Crowded>>)> {
        let now = now();
        let ahead = state.turns.before(caller);
        let wait = state.wait_estimate.wait(ahead, state.limit, now);
        if !state.paused && wait.is_some_and(|wait| wait > deadline.left(now)) {
            self.counters.rejected();
            return Err(self.no_time(state.turns.len()));
        }
        if state.turns.len() >= self.max_waiting {
            // The place of one who has many: else a caller that fills the queue keeps the others out.
            let Some(last) = state.turns.crowd_out(state.turns.of(caller) + 1) else {
                self.counters.rejected();
                return Err(self.crowded(state.turns.len()));
            };
            // If it has just gone, there is room, too.
            drop(last.tell.send(Err(Crowded)));
        }
        let (tell, told) = oneshot::channel();
        let ticket = state.turns.join(caller, Waiter { since: now, tell });
        Ok((Place { queue: self, caller, ticket, since: now, finished: false }, told))
    }

    /// Lets in as many as there is room for.
    fn let_in(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            if state.closed || !state.has_space() {
                return;
            }
            let Some(waiter) = state.turns.next() else { return };
            state.admitted += 1;
            drop(state);
            // One that has gone meanwhile gives its permit back.
            drop(waiter.tell.send(Ok(Permit::new(self))));
        }
    }

    /// Takes a permit back: the next one gets it, unless there are to be fewer.
    fn give_back(self: &Arc<Self>, since: Instant) {
        let now = now();
        let mut state = self.state.lock();
        state.wait_estimate.note(now.saturating_duration_since(since), now);
        loop {
            let next = if state.may_pass_on() { state.turns.next() } else { None };
            let Some(waiter) = next else {
                state.admitted -= 1;
                return;
            };
            drop(state);
            match waiter.tell.send(Ok(Permit { queue: Some(Arc::clone(self)), since: now })) {
                Ok(()) | Err(Err(Crowded)) => return,
                Err(Ok(mut unused)) => unused.queue = None,
            }
            state = self.state.lock();
        }
    }

    fn crowded(&self, waiting: usize) -> Error {
        let what = self.what();
        self.exhausted(format!("{waiting} callers wait for {what}"))
    }

    fn no_time(&self, waiting: usize) -> Error {
        let what = self.what();
        self.exhausted(format!(
            "{waiting} callers wait for {what}, and the deadline comes before this one's turn"
        ))
    }

    fn waited_too_long(&self, deadline_came_first: bool) -> Error {
        if deadline_came_first {
            return self.deadline_passed("waiting for a connection");
        }
        let database = &self.counters.database;
        let limit = humantime::format_duration(self.acquire_timeout);
        if self.is_paused() {
            let message = format!("the pool of database \"{database}\" was paused for {limit}");
            return Error::new(ErrorKind::PoolPaused, message).with_retry_after(RETRY_AFTER);
        }
        self.exhausted(match self.awaited {
            Awaited::Connection => {
                format!("no connection to database \"{database}\" became free within {limit}")
            }
            Awaited::Transaction => {
                format!("open transactions held their share of database \"{database}\" for {limit}")
            }
        })
    }

    fn what(&self) -> String {
        let database = &self.counters.database;
        match self.awaited {
            Awaited::Connection => format!("a connection to database \"{database}\""),
            Awaited::Transaction => format!("a transaction on database \"{database}\""),
        }
    }

    fn exhausted(&self, message: String) -> Error {
        let hint = match self.awaited {
            Awaited::Connection => "Raise pool.max or lower the number of callers.",
            Awaited::Transaction => {
                "Raise pool.max or pool.transaction_share, or keep transactions short."
            }
        };
        let error = Error::new(ErrorKind::PoolExhausted, message);
        error.with_hint(hint).with_retry_after(RETRY_AFTER)
    }
}

impl State {
    /// Whether a newcomer may be let in: those that wait come first.
    fn has_room(&self) -> bool {
        self.has_space() && self.turns.len() == 0
    }

    fn has_space(&self) -> bool {
        !self.paused && self.admitted < self.limit
    }

    /// Whether a permit that comes back may go to another.
    fn may_pass_on(&self) -> bool {
        !self.closed && !self.paused && self.admitted <= self.limit
    }
}

/// The right to hold a connection; given back when dropped.
pub(crate) struct Permit {
    queue: Option<Arc<Admission>>,
    since: Instant,
}

impl Permit {
    fn new(queue: &Arc<Admission>) -> Self {
        Self { queue: Some(Arc::clone(queue)), since: now() }
    }

    /// Since when it is held.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.give_back(self.since);
        }
    }
}

/// A caller's place in the queue.
struct Place<'a> {
    queue: &'a Admission,
    caller: &'a str,
    ticket: u64,
    since: Instant,
    finished: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.queue.state.lock().turns.leave(self.caller, self.ticket);
        drop(left);
        let counters = &self.queue.counters;
        counters.waited(now().saturating_duration_since(self.since), !self.finished);
    }
}
