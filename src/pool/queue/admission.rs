//! A queue before a pool: bounded in length and time, fair between callers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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

/// The resource that a queue stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueKind {
    Connection,
    /// The share of connections that may be held for whole transactions, `pool.transaction_share`; its callers
    /// then wait for a connection.
    Transaction,
    /// A server, while a failover is in progress: its callers then wait for a connection.
    Server,
}

pub(crate) struct Admission {
    kind: QueueKind,
    state: Mutex<State>,
    max_waiting: usize,
    acquire_timeout: Duration,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct State {
    waiters: FairQueue<Waiter>,
    /// Permits that are held, and the most of them.
    admitted: usize,
    limit: usize,
    mode: AdmissionMode,
    wait_estimate: WaitEstimate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum AdmissionMode {
    #[default]
    Open,
    /// Callers wait until it is open again.
    Paused,
    /// Callers fail.
    Closed,
}

struct Waiter {
    since: Instant,
    sender: oneshot::Sender<Result<Permit, Displaced>>,
}

/// The place in the queue was given to a caller that has fewer.
struct Displaced;

/// The callers in a queue.
pub(crate) struct Waiting {
    pub(crate) callers: usize,
    /// The longest time that one of them has been waiting.
    pub(crate) oldest: Option<Duration>,
}

impl Admission {
    pub(crate) fn new(
        kind: QueueKind,
        limit: usize,
        settings: &PoolSettings,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let PoolSettings { max_waiting, acquire_timeout, .. } = *settings;
        let state = Mutex::new(State { limit, ..State::default() });
        Arc::new(Self { kind, state, max_waiting, acquire_timeout, counters })
    }

    /// Waits for a permit, for a caller that has `waited` elsewhere before.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        waited: Duration,
        deadline: Deadline,
        caller: &str,
    ) -> Result<Permit> {
        let (mut entry, receiver) = {
            let mut state = self.state.lock();
            if state.admit() {
                return Ok(Permit::new(self));
            }
            self.join(&mut state, deadline, caller)?
        };
        let until = deadline.within(entry.since, self.acquire_timeout.saturating_sub(waited));
        let waited = tokio::time::timeout_at(until.instant().into(), receiver).await;
        entry.finished = true;
        match waited {
            Ok(Ok(Ok(permit))) => Ok(permit),
            Ok(Ok(Err(Displaced))) => {
                self.counters.rejected.fetch_add(1, Relaxed);
                let mode = self.state.lock().mode;
                Err(self.queue_full(mode, self.max_waiting))
            }
            Ok(Err(_closed)) => Err(self.shutting_down()),
            Err(_elapsed) => {
                self.counters.timeouts.fetch_add(1, Relaxed);
                Err(if deadline <= until { self.late() } else { self.acquire_timed_out() })
            }
        }
    }

    /// Returns a permit if no caller waits for one.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        self.state.lock().admit().then(|| Permit::new(self))
    }

    /// Admits no more callers, and fails those that wait.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.mode = AdmissionMode::Closed;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        drop(waiters);
    }

    pub(crate) fn pause(&self) {
        self.state.lock().switch(AdmissionMode::Paused);
    }

    pub(crate) fn resume(self: &Arc<Self>) {
        self.state.lock().switch(AdmissionMode::Open);
        self.admit_waiters();
    }

    pub(crate) fn resize(self: &Arc<Self>, limit: usize) {
        self.state.lock().limit = limit;
        self.admit_waiters();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().mode == AdmissionMode::Open
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state.lock().mode == AdmissionMode::Paused
    }

    pub(crate) fn waiting(&self, now: Instant) -> Waiting {
        let state = self.state.lock();
        let first = state.waiters.heads().map(|waiter| waiter.since).min();
        Waiting {
            callers: state.waiters.len(),
            oldest: first.map(|since| now.saturating_duration_since(since)),
        }
    }

    /// The number of permits that are held.
    pub(crate) fn admitted(&self) -> usize {
        self.state.lock().admitted
    }

    pub(crate) fn shutting_down(&self) -> Error {
        let database = &self.counters.database;
        Error::new(ErrorKind::ShuttingDown, format!("database \"{database}\" is shutting down"))
    }

    pub(crate) fn deadline_passed(&self, doing: &str) -> Error {
        let database = &self.counters.database;
        let message = format!("the deadline passed while {doing} to database \"{database}\"");
        Error::new(ErrorKind::DeadlineExceeded, message)
    }

    fn join<'a>(
        &'a self,
        state: &mut State,
        deadline: Deadline,
        caller: &'a str,
    ) -> Result<(QueueEntry<'a>, oneshot::Receiver<Result<Permit, Displaced>>)> {
        if state.mode == AdmissionMode::Closed {
            return Err(self.shutting_down());
        }
        let now = now();
        let waiting = state.waiters.len();
        let ahead = state.waiters.before(caller);
        let wait = state.wait_estimate.wait(ahead, state.limit, now);
        if state.mode == AdmissionMode::Open && wait.is_some_and(|wait| wait > deadline.left(now)) {
            self.counters.rejected.fetch_add(1, Relaxed);
            return Err(self.exhausted(&format!(
                "{waiting} callers are waiting, and the deadline would pass first"
            )));
        }
        if waiting >= self.max_waiting {
            // A caller that fills the queue must not keep the others out.
            let own = state.waiters.of(caller);
            let Some(last) = state.waiters.displace(own + 1) else {
                self.counters.rejected.fetch_add(1, Relaxed);
                return Err(self.queue_full(state.mode, waiting));
            };
            // If it has just left, its place is free as well.
            drop(last.sender.send(Err(Displaced)));
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = state.waiters.join(caller, Waiter { since: now, sender });
        let entry = QueueEntry { queue: self, caller, ticket, since: now, finished: false };
        Ok((entry, receiver))
    }

    /// Admits as many waiters as the limit allows.
    fn admit_waiters(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            if !state.has_capacity() {
                return;
            }
            let Some(waiter) = state.waiters.next() else { return };
            state.admitted += 1;
            drop(state);
            // One that has left meanwhile returns its permit.
            drop(waiter.sender.send(Ok(Permit::new(self))));
        }
    }

    /// Takes a permit back and passes it on, unless the limit was lowered.
    fn release(self: &Arc<Self>, since: Instant) {
        let now = now();
        let mut state = self.state.lock();
        // Those that come after a server was reached again do not wait as the first one did.
        if self.kind != QueueKind::Server {
            state.wait_estimate.note(now.saturating_duration_since(since), now);
        }
        loop {
            let may_pass_on = state.mode == AdmissionMode::Open && state.admitted <= state.limit;
            let next = if may_pass_on { state.waiters.next() } else { None };
            let Some(waiter) = next else {
                state.admitted -= 1;
                return;
            };
            drop(state);
            match waiter.sender.send(Ok(Permit { queue: Some(Arc::clone(self)), since: now })) {
                Ok(()) | Err(Err(Displaced)) => return,
                Err(Ok(mut unused)) => unused.queue = None,
            }
            state = self.state.lock();
        }
    }

    fn queue_full(&self, mode: AdmissionMode, waiting: usize) -> Error {
        let why = format!("{waiting} callers are waiting");
        if mode == AdmissionMode::Paused { self.paused(&why) } else { self.exhausted(&why) }
    }

    fn late(&self) -> Error {
        if self.is_paused() {
            return self.paused("the deadline passed first");
        }
        self.deadline_passed("waiting for a connection")
    }

    fn acquire_timed_out(&self) -> Error {
        let limit = humantime::format_duration(self.acquire_timeout);
        if self.is_paused() {
            return self.paused(&format!("it was not resumed within {limit}"));
        }
        self.exhausted(&match self.kind {
            QueueKind::Connection | QueueKind::Server => format!("none became free within {limit}"),
            QueueKind::Transaction => format!("open transactions held their share for {limit}"),
        })
    }

    fn paused(&self, why: &str) -> Error {
        let database = &self.counters.database;
        let message = format!("the pool of database \"{database}\" is paused: {why}");
        Error::new(ErrorKind::PoolPaused, message)
            .with_hint("An operator paused it; `rowgate pool resume` ends that.")
    }

    fn exhausted(&self, why: &str) -> Error {
        let (purpose, hint) = match self.kind {
            QueueKind::Connection | QueueKind::Server => {
                ("", "Raise pool.max or lower the number of callers.")
            }
            QueueKind::Transaction => (
                " for a transaction",
                "Raise pool.max or pool.transaction_share, or keep transactions short.",
            ),
        };
        let database = &self.counters.database;
        let message = format!("no connection to database \"{database}\"{purpose}: {why}");
        Error::new(ErrorKind::PoolExhausted, message).with_hint(hint)
    }
}

impl State {
    /// Admits a newcomer, after those that wait; returns false if it has to wait.
    fn admit(&mut self) -> bool {
        let is_free = self.has_capacity() && self.waiters.len() == 0;
        self.admitted += usize::from(is_free);
        is_free
    }

    fn has_capacity(&self) -> bool {
        self.mode == AdmissionMode::Open && self.admitted < self.limit
    }

    /// Switches the mode; a closed queue stays closed.
    fn switch(&mut self, mode: AdmissionMode) {
        if self.mode != AdmissionMode::Closed {
            self.mode = mode;
        }
    }
}

/// The permit to hold a connection; released when dropped.
pub(crate) struct Permit {
    queue: Option<Arc<Admission>>,
    /// The time since which it is held.
    pub(crate) since: Instant,
}

impl Permit {
    fn new(queue: &Arc<Admission>) -> Self {
        Self { queue: Some(Arc::clone(queue)), since: now() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.release(self.since);
        }
    }
}

/// The entry of a waiting caller, removed when dropped. Before it has finished, its caller has disconnected or
/// was cancelled.
struct QueueEntry<'a> {
    queue: &'a Admission,
    caller: &'a str,
    ticket: u64,
    since: Instant,
    finished: bool,
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        let removed = self.queue.state.lock().waiters.leave(self.caller, self.ticket);
        drop(removed);
        let counters = &self.queue.counters;
        counters.waited(now().saturating_duration_since(self.since));
        if !self.finished {
            counters.cancelled_waits.fetch_add(1, Relaxed);
        }
    }
}
