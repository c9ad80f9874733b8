//! The shutdown sequence.
//!
//! NOT_SERVING, `shutdown.delay`, the listener closes and clients are asked to disconnect, calls end, open
//! transactions are rolled back, pools close. It takes `shutdown.grace` at most: a part of the grace is reserved
//! for aborting what does not end by itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, timeout_at};

use super::workers::Workers;
use crate::config;
use crate::engine::Engine;
use crate::pool::Termination;

/// The most of the grace that is reserved for aborting, and the part of a short one.
const RESERVE: Duration = Duration::from_secs(2);
const RESERVED_PART: u32 = 5;

/// The time for aborting after a second signal.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// The least time that connections have to close.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The cause of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The process has requested it.
    Requested,
    /// The next signal requests it.
    Signal,
}

/// The listeners for SIGTERM, SIGINT, and SIGHUP, which comes when a terminal closes; those that the system refused are
/// not there.
pub(crate) struct Signals(Vec<Signal>);

impl Signals {
    fn listen() -> Self {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        Self(kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect())
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        poll_fn(|cx| {
            let is_there = self.0.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
            if is_there { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Signals {
    /// Waits for one that arrives after the pause. Earlier ones are copies of the first.
    pub(crate) async fn next_after(&mut self, pause: Duration) {
        let start = Instant::now();
        loop {
            self.next().await;
            if start.elapsed() >= pause {
                return;
            }
            tracing::info!("signal repeated at once; ignoring it");
        }
    }
}

/// Waits for SIGTERM, SIGINT or SIGHUP; for ever if the system refuses listeners.
pub async fn signalled() {
    Signals::listen().next().await;
}

/// Waits for the cause of the shutdown; returns the listeners for the next signal.
pub(crate) async fn wait(mut stopping: watch::Receiver<Option<StopCause>>) -> Signals {
    let cause = stopping.wait_for(Option::is_some).await.map_or(None, |cause| *cause);
    let mut signals = Signals::listen();
    if cause == Some(StopCause::Signal) {
        signals.next().await;
    }
    signals
}

/// The parts that are shut down, in sequence.
pub(crate) struct ShutdownSequence<'a> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) workers: &'a mut Workers,
    /// Set to true, health reports NOT_SERVING; then the prober ends.
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) prober: JoinHandle<()>,
    /// Dropped, the acceptor takes the connections in the backlog and closes the listener.
    pub(crate) accept: oneshot::Sender<()>,
    pub(crate) acceptor: JoinHandle<()>,
}

impl ShutdownSequence<'_> {
    /// Shuts down everything but the threads, within the grace; once `abort` is ready, at once. Returns true if it was.
    pub(crate) async fn run(
        self,
        settings: &config::Shutdown,
        abort: impl Future<Output = ()>,
    ) -> bool {
        let reserve = RESERVE.min(settings.grace / RESERVED_PART);
        let end = Instant::now() + (settings.grace - reserve);
        let Self { engine, workers, draining, prober, accept, acceptor } = self;
        let graceful = async {
            draining.send_replace(true);
            // It reports NOT_SERVING before anything else happens.
            drop(prober.await);
            sleep(settings.delay).await;
            drop(accept);
            drop(acceptor.await);
            // From here on clients are asked to disconnect, and new transactions are rejected.
            workers.drain();
            until(|| workers.calls() == 0).await;
            engine.drain(end);
            workers.served().await;
            until(|| is_idle(&engine)).await;
        };
        let is_aborted = tokio::select! {
            ended = timeout_at(end.into(), graceful) => match ended {
                Ok(()) => return false,
                Err(_elapsed) => false,
            },
            () = abort => true,
        };
        let calls = workers.calls();
        let why = if is_aborted { "second signal received" } else { "shutdown grace expiring" };
        tracing::warn!(calls, "{why}; aborting remaining calls");
        let reserve = if is_aborted { reserve.min(ABORT_TIME) } else { reserve };
        // Statements are cancelled in the database and transactions rolled back; clients that listen are told.
        engine.drain(Instant::now());
        terminate_calls(&engine);
        drop(timeout(reserve * 5 / 8, until(|| is_idle(&engine) && workers.calls() == 0)).await);
        workers.close_connections();
        // What nobody listens to ends with its connection.
        drop(timeout(reserve / 8, until(|| is_idle(&engine))).await);
        is_aborted
    }
}

/// Ends the calls that hold connections. Work of the server's own goes on: it finds out what became of commits.
fn terminate_calls(engine: &Engine) {
    for database in engine.databases() {
        let control = database.backend().control();
        for checkout in control.checkouts() {
            if !checkout.holder.caller.is_empty() {
                control.terminate(checkout.id, Termination::Shutdown);
            }
        }
    }
}

/// Waits until database connections are closed: SQLite's files beside a database go with the last one. It takes
/// `limit` at most, but [`CLOSE_TIMEOUT`] at least.
pub(crate) async fn closed(engine: &Engine, limit: Duration) {
    let all = join_all(engine.databases().map(|database| database.backend().closed()));
    if timeout(limit.max(CLOSE_TIMEOUT), all).await.is_err() {
        tracing::warn!("database connection did not close; abandoning it");
    }
}

/// Returns true if no call holds a connection.
fn is_idle(engine: &Engine) -> bool {
    engine.databases().all(|database| database.backend().pool().in_use == 0)
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(POLL_INTERVAL).await;
    }
}
