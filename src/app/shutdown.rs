//! When to stop.

use tokio::signal::unix::{SignalKind, signal as listen};
use tokio::sync::watch;

/// What ends the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It was asked to, by its owner.
    Asked,
    /// The next signal shall.
    Signal,
}

/// Returns when the server shall stop.
pub(super) async fn wait(mut stopping: watch::Receiver<Option<Cause>>) {
    let cause = stopping.wait_for(Option::is_some).await.map_or(Some(Cause::Asked), |cause| *cause);
    if cause == Some(Cause::Signal) {
        signal().await;
    }
}

/// Returns at SIGTERM or SIGINT; never when the system gives no signals.
pub(super) async fn signal() {
    let listeners = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = listeners else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
