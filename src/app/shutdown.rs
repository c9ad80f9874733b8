//! When to stop, and in which order.
//!
//! NOT_SERVING, `shutdown.delay`, the listener closes and clients are told to go, calls end, open
//! transactions are told and rolled back, pools close. Whatever clients do, it is over within
//! `shutdown.grace`: its last part is kept for those who would not go.

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

/// The most of the grace that is kept for an end by force, and its part of a short one.
const RESERVE: Duration = Duration::from_secs(2);
const RESERVED_PART: u32 = 5;

/// How long connections may take to close when there is no time left.
const CLOSING: Duration = Duration::from_millis(100);

/// Between two looks at what is still there.
const LOOK: Duration = Duration::from_millis(5);

/// What ends the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was asked to, by its owner.
    Asked,
    /// The next signal shall.
    Signal,
}

/// SIGTERM and SIGINT, each of them heard once; none when the system gives no signals.
pub(crate) struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn listen() -> Self {
        let listeners = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        Self(match listeners {
            (Ok(terminate), Ok(interrupt)) => Some((terminate, interrupt)),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => None,
        })
    }

    /// Returns at the next one.
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

/// Returns at SIGTERM or SIGINT; never when the system gives no signals.
pub async fn signalled() {
    Signals::listen().next().await;
}

/// Returns when the server shall stop, with what hears the next signal.
pub(crate) async fn wait(mut stopping: watch::Receiver<Option<Cause>>) -> Signals {
    let cause = stopping.wait_for(Option::is_some).await.map_or(Some(Cause::Asked), |cause| *cause);
    let mut signals = Signals::listen();
    if cause == Some(Cause::Signal) {
        signals.next().await;
    }
    signals
}

/// All that is brought to an end.
pub(crate) struct Ending<'a> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) workers: &'a mut Workers,
    /// Set to true, health says NOT_SERVING; then the prober ends.
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) probing: JoinHandle<()>,
    /// Dropped, the acceptor takes what has knocked and closes the listener.
    pub(crate) open: oneshot::Sender<()>,
    pub(crate) accepting: JoinHandle<()>,
}

impl Ending<'_> {
    /// Brings everything to its end within the grace, all but the threads.
    pub(crate) async fn run(self, settings: &config::Shutdown) {
        let reserve = RESERVE.min(settings.grace / RESERVED_PART);
        let end = Instant::now() + (settings.grace - reserve);
        let Self { engine, workers, draining, probing, open, accepting } = self;
        let gently = async {
            draining.send_replace(true);
            // It has told NOT_SERVING before anything else happens.
            drop(probing.await);
            sleep(settings.delay).await;
            drop(open);
            drop(accepting.await);
            // From here on clients know that they shall go, and new transactions are refused.
            workers.drain();
            until(|| workers.calls() == 0).await;
            engine.drain(end);
            workers.served().await;
            until(|| is_idle(&engine)).await;
        };
        if timeout_at(end.into(), gently).await.is_ok() {
            return;
        }
        let calls = workers.calls();
        tracing::warn!(calls, "the grace is nearly over: what still runs is cut off");
        // Those who listen are told, and those who do not are rolled back.
        engine.drain(end);
        drop(timeout(reserve / 2, until(|| is_idle(&engine))).await);
        workers.cut();
        // What was cut off is cancelled in the database, too.
        drop(timeout(reserve / 4, until(|| is_idle(&engine))).await);
    }
}

/// Waits until the connections that leave something behind are closed: what a database in a file keeps
/// beside it goes with the last one. For `patience`, or for a moment at least.
pub(crate) async fn closed(engine: &Engine, patience: Duration) {
    let all = join_all(engine.databases().map(|database| database.backend().closed()));
    if timeout(patience.max(CLOSING), all).await.is_err() {
        tracing::warn!("a connection to a database is stuck and was left behind");
    }
}

/// Whether no call holds a connection.
fn is_idle(engine: &Engine) -> bool {
    engine.databases().all(|database| database.backend().pool().in_use == 0)
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        sleep(LOOK).await;
    }
}
