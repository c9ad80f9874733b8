//! Stopping a statement, and knowing when that is over.
//!
//! A cancel names a connection and not a statement: one that arrives late kills the next. The server
//! closes the cancel's own socket once it has acted on it, so nothing else may run on the connection
//! before that was read.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::connect::Connector;
use super::wire::Wire;
use crate::config::Planted;
use crate::deadline::Deadline;

/// How long a cancelled statement may take to answer before its caller is told without its answer.
pub(super) const CANCEL_GRACE: Duration = Duration::from_millis(40);
/// How long a commit may take to answer past its deadline; then the database is asked elsewhere.
const COMMIT_GRACE: Duration = Duration::from_millis(10);

/// Stops what one connection runs.
pub(super) struct Cancel {
    connector: Arc<Connector>,
    wire: Arc<Wire>,
    /// The number of the request that commits: while it runs, nothing is cancelled. Under synchronous
    /// replication a cancelled commit is a commit that nobody else has.
    pub(super) commit: Option<u64>,
    /// The last cancel: whether the server has acted on it, which must be known before anything else
    /// runs on the connection.
    sent: Option<JoinHandle<bool>>,
}

impl Cancel {
    pub(super) fn new(connector: Arc<Connector>, wire: Arc<Wire>) -> Self {
        Self { connector, wire, commit: None, sent: None }
    }

    /// This one, with what it has sent; another takes its place.
    pub(super) fn take(&mut self) -> Self {
        let next = Self::new(Arc::clone(&self.connector), Arc::clone(&self.wire));
        std::mem::replace(self, next)
    }

    /// Whether a cancel may be on its way.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Starts a cancel, without waiting for it, unless a commit is what runs.
    pub(super) fn send(&mut self) {
        // One that is on its way may still hit: it must not be forgotten over another.
        if self.is_sent() {
            return;
        }
        if self.commit.is_some_and(|number| self.wire.answered() + 1 >= number) {
            return;
        }
        let (connector, wire) = (Arc::clone(&self.connector), Arc::clone(&self.wire));
        self.sent = Some(tokio::spawn(async move { connector.cancel(&wire).await.is_ok() }));
    }

    /// Waits for a request; at the deadline cancels it and gives it a moment to answer. `None`: it
    /// did not.
    pub(super) async fn watch<F: Future>(
        &mut self,
        deadline: Deadline,
        request: F,
    ) -> Option<F::Output> {
        let mut request = Box::pin(request);
        let until = deadline.instant().into();
        if let Ok(answer) = tokio::time::timeout_at(until, &mut request).await {
            return Some(answer);
        }
        self.send();
        let grace = if self.is_sent() { CANCEL_GRACE } else { COMMIT_GRACE };
        tokio::time::timeout(grace, request).await.ok()
    }

    /// Whether no cancel is on its way any more.
    pub(super) async fn settled(&mut self) -> bool {
        match &mut self.sent {
            None => true,
            Some(_) if Planted::UnawaitedCancel.is_there() => true,
            Some(sent) => {
                let settled = matches!(sent.await, Ok(true));
                if settled {
                    self.sent = None;
                }
                settled
            }
        }
    }
}
