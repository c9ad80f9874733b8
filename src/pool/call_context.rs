//! The call for which connections are checked out, and its termination.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Outcome};
use crate::telemetry::RpcCall;

/// The operators' view of a call that holds a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CheckoutHolder {
    /// The caller: its identity if it has one, else its address without the port. Empty for the server itself.
    pub caller: Arc<str>,
    /// The RPC's name, as in `StreamQuery`; work of the server itself in lower case, as in `sweep`.
    pub rpc: &'static str,
    /// The caller's own label.
    pub tag: Arc<str>,
    /// The first statement, without literals and parameters. Empty while unknown.
    pub summary: String,
}

/// A call, as the pool knows it.
#[derive(Debug)]
pub(crate) struct CallContext {
    telemetry: Arc<RpcCall>,
    /// The operators' view of it, but for the statement.
    holder: CheckoutHolder,
    summary: OnceLock<Arc<str>>,
    termination: OnceLock<Termination>,
    wake: Notify,
}

/// The cause for which a call is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Termination {
    /// An operator, or the withdrawal of the caller's identity.
    Operator,
    /// The end of the server.
    Shutdown,
}

impl CallContext {
    /// Returns a call by a caller, which is named by its identity or else by its address without the port.
    pub(crate) fn new(
        telemetry: Arc<RpcCall>,
        caller: Arc<str>,
        rpc: &'static str,
        tag: Arc<str>,
    ) -> Arc<Self> {
        Arc::new(Self {
            telemetry,
            holder: CheckoutHolder { caller, rpc, tag, summary: String::new() },
            summary: OnceLock::new(),
            termination: OnceLock::new(),
            wake: Notify::new(),
        })
    }

    /// Returns a call by the server itself; its work is named in lower case, as in `sweep`.
    pub(crate) fn own(work: &'static str) -> Arc<Self> {
        Self::new(Arc::default(), Arc::default(), work, Arc::default())
    }

    /// The caller. Empty for the server itself.
    pub(crate) fn caller(&self) -> &str {
        &self.holder.caller
    }

    pub(crate) fn telemetry(&self) -> &Arc<RpcCall> {
        &self.telemetry
    }

    /// Notes a statement of the call, without literals; the first one is kept.
    pub(crate) fn runs(&self, summary: &Arc<str>) {
        self.summary.get_or_init(|| Arc::clone(summary));
        self.telemetry.set_statement(summary);
    }

    pub(crate) fn holder(&self) -> CheckoutHolder {
        let summary = self.summary.get().map(|summary| summary.to_string()).unwrap_or_default();
        CheckoutHolder { summary, ..self.holder.clone() }
    }

    /// Ends the call; the first cause counts.
    pub(crate) fn terminate(&self, cause: Termination) {
        self.termination.get_or_init(|| cause);
        self.wake.notify_waiters();
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.termination.get().is_some()
    }

    /// Waits until it is terminated; may be dropped at any time.
    pub(crate) async fn terminated(&self) {
        let mut woken = std::pin::pin!(self.wake.notified());
        woken.as_mut().enable();
        if !self.is_terminated() {
            woken.await;
        }
    }

    /// Replaces the error of a terminated call: its statement was cancelled, which looks like a timeout.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let is_cancelled =
            matches!(error.kind(), ErrorKind::DeadlineExceeded | ErrorKind::Cancelled);
        if is_cancelled && error.outcome() == Outcome::NotApplied && self.is_terminated() {
            return self.terminated_error().with_cause(error);
        }
        error
    }

    pub(crate) fn terminated_error(&self) -> Error {
        let (kind, message) = match self.termination.get() {
            Some(Termination::Shutdown) => (
                ErrorKind::ShuttingDown,
                "the server is shutting down and ended this call; nothing of it was applied",
            ),
            Some(Termination::Operator) | None => {
                (ErrorKind::Terminated, "an operator ended this call; nothing of it was applied")
            }
        };
        Error::new(kind, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_terminated_call_is_woken_whenever_it_waits() {
        let call = CallContext::new(Arc::default(), "10.0.0.7".into(), "Query", "nightly".into());
        let mut early = Box::pin(call.terminated());
        assert!(futures_util::poll!(early.as_mut()).is_pending());
        call.terminate(Termination::Operator);
        early.await;
        call.terminated().await;
    }

    #[test]
    fn only_a_terminated_call_that_was_not_applied_fails_as_terminated() {
        let call = CallContext::own("sweep");
        let late = || Error::new(ErrorKind::DeadlineExceeded, "late");
        assert_eq!(call.explain(late()).kind(), ErrorKind::DeadlineExceeded);
        call.terminate(Termination::Operator);
        assert_eq!(call.explain(late()).kind(), ErrorKind::Terminated);
        for kind in [ErrorKind::InvalidSql, ErrorKind::OutcomeUnknown] {
            let error = Error::new(kind, "other").with_outcome(Outcome::Unknown);
            assert_eq!(call.explain(error).kind(), kind);
        }
    }

    #[test]
    fn operators_see_the_first_statement() {
        let call = CallContext::new(Arc::default(), "10.0.0.7".into(), "Transact", Arc::default());
        assert_eq!(call.holder().summary, "");
        call.runs(&"SELECT a".into());
        call.runs(&"SELECT b".into());
        assert_eq!(call.holder().summary, "SELECT a");
    }
}
