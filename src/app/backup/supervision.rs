//! Work that shows its progress, and that a signal stops.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::app::shutdown::signalled;
use crate::error::{Error, ErrorKind, Result};

/// The time between two reports of the progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// The progress of a backup or of a restoration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The bytes that are copied.
    pub done: u64,
    /// All of them; 0 if that is not known.
    pub total: u64,
}

/// The link between work and the task that watches over it.
#[derive(Debug, Clone)]
pub(super) struct Control {
    stop: Arc<watch::Sender<bool>>,
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Default for Control {
    fn default() -> Self {
        let (stop, _none_yet) = watch::channel(false);
        Self { stop: Arc::new(stop), done: Arc::default(), total: Arc::default() }
    }
}

impl Control {
    /// Returns true once the work is to stop.
    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the work is to stop.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is a part of this.
        drop(stop.wait_for(|is_stopped| *is_stopped).await);
    }

    /// Waits for the end of something that leaves nothing behind, unless the work is to stop.
    pub(super) async fn or_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            () = self.stopped() => Err(interrupted()),
            done = work => done,
        }
    }

    /// Tells of the progress.
    pub(super) fn reached(&self, done: u64, total: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Fails if the work is to stop.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_stopped() { Err(interrupted()) } else { Ok(()) }
    }

    fn progress(&self) -> Progress {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Progress { done: read(&self.done), total: read(&self.total) }
    }
}

/// The error of work that a signal has stopped.
pub(super) fn interrupted() -> Error {
    Error::new(ErrorKind::Cancelled, "interrupted by a signal")
}

/// Waits for the work, reports its progress, and tells it to stop on SIGINT or SIGTERM.
pub(super) async fn supervise<T>(
    work: impl Future<Output = Result<T>>,
    control: &Control,
    report: &mut dyn FnMut(Progress),
) -> Result<T> {
    let mut work = pin!(work);
    let mut signal = pin!(signalled());
    let mut reports = tokio::time::interval(REPORT_INTERVAL);
    loop {
        tokio::select! {
            // In this order the signals are listened for before the work begins.
            biased;
            () = &mut signal, if !control.is_stopped() => drop(control.stop.send_replace(true)),
            done = &mut work => {
                report(control.progress());
                // What it has left, its hint tells.
                return done.map_err(|error| {
                    let is_interrupted = error.kind() == ErrorKind::Cancelled;
                    if is_interrupted { error.with_message("interrupted by a signal") } else { error }
                });
            }
            _ = reports.tick() => report(control.progress()),
        }
    }
}
