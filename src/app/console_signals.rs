//! The signals that reach a command from its terminal.

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The listeners for SIGINT and SIGTERM, which end the process no more; `None` if the system refused them.
pub(crate) struct ConsoleSignals(Option<(Signal, Signal)>);

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsoleSignal {
    /// Ctrl-C.
    Interrupt,
    /// The request to end.
    Terminate,
}

impl ConsoleSignals {
    pub(crate) fn listen() -> Self {
        let interrupt = signal(SignalKind::interrupt());
        let terminate = signal(SignalKind::terminate());
        Self(interrupt.ok().zip(terminate.ok()))
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    /// No signal is lost by a cancellation.
    pub(crate) async fn next(&mut self) -> ConsoleSignal {
        let Some((interrupt, terminate)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => ConsoleSignal::Terminate,
            _ = interrupt.recv() => ConsoleSignal::Interrupt,
        }
    }

    /// Forgets a Ctrl-C that came while nothing was to be interrupted.
    pub(crate) fn forget_interrupt(&mut self) {
        if let Some((interrupt, _)) = &mut self.0 {
            interrupt.recv().now_or_never();
        }
    }
}
