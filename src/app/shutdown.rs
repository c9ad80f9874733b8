//! The shutdown sequence.
//!
//! NOT_SERVING, `shutdown.delay`, the listener closes and clients are asked to disconnect, calls end, open
//! transactions are rolled back, pools close. It takes `shutdown.grace` at most: a part of the grace is reserved
//! for aborting what does not end by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, timeout_at};

use super::workers::Workers;
use crate::config;
use crate::engine::Engine;

/// The most of the grace that is reserved for aborting, and the part of a short one.
const RESERVE: Duration = Duration::from_secs(2);
const RESERVED_PART: u32 = 5;

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

/// The listeners for SIGTERM and SIGINT; `None` if the system refused them.
pub(crate) struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn listen() -> Self {
        let terminate = signal(SignalKind::terminate());
        let interrupt = signal(SignalKind::interrupt());
        Self(terminate.ok().zip(interrupt.ok()))
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let Some((terminate, interrupt)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
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

/// Waits for SIGTERM or SIGINT; for ever if the system refuses listeners.
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
    /// Shuts down everything but the threads, within the grace.
    pub(crate) async fn run(self, settings: &config::Shutdown) {
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
        if timeout_at(end.into(), graceful).await.is_ok() {
            return;
        }
        let calls = workers.calls();
        tracing::warn!(calls, "shutdown grace expiring; aborting remaining calls");
        // Transactions whose clients listen get an error; the others are rolled back.
        engine.drain(end);
        drop(timeout(reserve / 2, until(|| is_idle(&engine))).await);
        workers.close_connections();
        // Their statements are cancelled in the database, too.
        drop(timeout(reserve / 4, until(|| is_idle(&engine))).await);
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
