//! For whom a connection is lent, and how that call is told to stop.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::admin::CheckoutHolder;
use crate::error::{Error, ErrorKind, Outcome};
use crate::telemetry::RpcCall;

/// One call, as the pool knows it: for whom it borrows connections, and the way to end what it does with them.
#[derive(Debug)]
pub struct CallContext {
    telemetry: Arc<RpcCall>,
    caller: String,
    rpc: &'static str,
    tag: String,
    summary: OnceLock<Arc<str>>,
    terminated: AtomicBool,
    wake: Notify,
}

impl CallContext {
    /// A call by a caller, which is named by its identity or else by its address without the port.
    #[must_use]
    pub fn new(
        telemetry: Arc<RpcCall>,
        caller: String,
        rpc: &'static str,
        tag: String,
    ) -> Arc<Self> {
        Arc::new(Self {
            telemetry,
            caller,
            rpc,
            tag,
            summary: OnceLock::new(),
            terminated: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    /// The server itself, at work of its own; named in lower case, as in `sweep`.
    #[must_use]
    pub fn own(work: &'static str) -> Arc<Self> {
        Self::new(Arc::default(), String::new(), work, String::new())
    }

    /// Who calls. Empty: the server itself.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The call, as telemetry has it.
    #[must_use]
    pub fn telemetry(&self) -> &Arc<RpcCall> {
        &self.telemetry
    }

    /// Says what the call runs, without literals; what is said first stays.
    pub fn runs(&self, summary: &Arc<str>) {
        self.summary.get_or_init(|| Arc::clone(summary));
        self.telemetry.set_statement(summary);
    }

    /// What operators see of it.
    #[must_use]
    pub fn holder(&self) -> CheckoutHolder {
        CheckoutHolder {
            caller: self.caller.clone(),
            rpc: self.rpc,
            tag: self.tag.clone(),
            summary: self.summary.get().map(|summary| summary.to_string()).unwrap_or_default(),
        }
    }

    /// Tells the call to stop.
    pub fn terminate(&self) {
        self.terminated.store(true, SeqCst);
        self.wake.notify_waiters();
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.terminated.load(SeqCst)
    }

    /// Returns when it is told to stop.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn terminated(&self) {
        let mut woken = std::pin::pin!(self.wake.notified());
        woken.as_mut().enable();
        if !self.is_terminated() {
            woken.await;
        }
    }

    /// What the error of a call means that was told to stop: a statement that was stopped early ends as
    /// one that ran out of time.
    #[must_use]
    pub fn explain(&self, error: Error) -> Error {
        let stopped = matches!(error.kind(), ErrorKind::DeadlineExceeded | ErrorKind::Cancelled);
        if stopped && error.outcome() == Outcome::NotApplied && self.is_terminated() {
            return self.stopped().with_cause(error);
        }
        error
    }

    /// The error of a call that was told to stop.
    #[must_use]
    pub fn stopped(&self) -> Error {
        Error::new(ErrorKind::Terminated, "an operator ended this call; nothing of it was applied")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_told_to_stop_whenever_it_asks() {
        let call =
            CallContext::new(Arc::default(), "10.0.0.7".to_owned(), "Query", "nightly".to_owned());
        let mut early = Box::pin(call.terminated());
        assert!(futures_util::poll!(early.as_mut()).is_pending());
        call.terminate();
        early.await;
        call.terminated().await;
    }

    #[test]
    fn only_what_was_stopped_and_not_applied_is_called_terminated() {
        let call = CallContext::own("sweep");
        let late = || Error::new(ErrorKind::DeadlineExceeded, "late");
        assert_eq!(call.explain(late()).kind(), ErrorKind::DeadlineExceeded);
        call.terminate();
        assert_eq!(call.explain(late()).kind(), ErrorKind::Terminated);
        for kind in [ErrorKind::InvalidSql, ErrorKind::OutcomeUnknown] {
            let error = Error::new(kind, "other").with_outcome(Outcome::Unknown);
            assert_eq!(call.explain(error).kind(), kind);
        }
    }

    #[test]
    fn the_first_statement_is_what_operators_see() {
        let call =
            CallContext::new(Arc::default(), "10.0.0.7".to_owned(), "Transact", String::new());
        assert_eq!(call.holder().summary, "");
        call.runs(&"SELECT a".into());
        call.runs(&"SELECT b".into());
        assert_eq!(call.holder().summary, "SELECT a");
    }
}
