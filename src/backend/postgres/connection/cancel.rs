//! Stopping a statement, and knowing when that is over.
//!
//! A cancel names a connection and not a statement: one that arrives late kills the next. The server
//! closes the cancel's own socket once it has acted on it, so nothing else may run on the connection
//! before that was read. And one that arrives early hits nothing: the server forgets a cancel while it
//! waits for a request, which may be in its socket already. So it is sent until the request is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::backend::postgres::connect::Connector;
use crate::backend::postgres::protocol::state::ProtocolState;
use crate::deadline::Deadline;
use crate::planted_bug::PlantedBug;
use crate::pool::CallContext;

/// How long a cancelled statement may take to answer before its caller is told without its answer.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_millis(40);
/// How long a commit may take to answer past its deadline, in hundredths of what is left to the caller
/// then; whoever waits for it is told in time that it goes on.
const COMMITTED: u32 = 20;

/// How long a cancelled statement may take to answer before it is cancelled again, the first time and
/// at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// Stops what one connection runs.
pub(crate) struct Cancel {
    connector: Arc<Connector>,
    wire: Arc<ProtocolState>,
    /// Whose statement it is: an operator may stop it.
    context: Arc<CallContext>,
    /// The number of the request that commits: while it runs, nothing is cancelled. Under synchronous
    /// replication a cancelled commit is a commit that nobody else has.
    pub(crate) commit: Option<u64>,
    /// The last cancel: whether the server has acted on it, which must be known before anything else
    /// runs on the connection.
    sent: Option<JoinHandle<bool>>,
    /// Whether nobody knows what became of one: it may still come.
    lost: bool,
    /// Whether one was sent at what runs, be it on its way or not.
    aimed: bool,
}

impl Cancel {
    pub(crate) fn new(
        connector: Arc<Connector>,
        wire: Arc<ProtocolState>,
        context: Arc<CallContext>,
    ) -> Self {
        Self { connector, wire, context, commit: None, sent: None, lost: false, aimed: false }
    }

    /// This one, with what it has sent; another takes its place.
    pub(crate) fn take(&mut self) -> Self {
        let (connector, wire) = (Arc::clone(&self.connector), Arc::clone(&self.wire));
        let next = Self::new(connector, wire, Arc::clone(&self.context));
        std::mem::replace(self, next)
    }

    /// Whether a cancel may be on its way.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent.is_some() || self.lost
    }

    /// Whether what runs was cancelled, or what ran last.
    pub(crate) fn is_aimed(&self) -> bool {
        self.aimed || self.is_sent()
    }

    /// Says that something else runs from here on.
    pub(crate) fn begin(&mut self) {
        self.aimed = false;
    }

    /// Whether a commit is what runs.
    fn is_committing(&self) -> bool {
        self.commit.is_some_and(|number| self.wire.last_answered() + 1 >= number)
    }

    /// Starts a cancel, without waiting for it, unless a commit is what runs.
    pub(crate) fn send(&mut self) {
        // One that is on its way may still hit: it must not be forgotten over another.
        if self.sent.is_some() {
            return;
        }
        if self.is_committing() {
            return;
        }
        let (connector, wire) = (Arc::clone(&self.connector), Arc::clone(&self.wire));
        self.aimed = true;
        self.sent = Some(tokio::spawn(async move { connector.cancel(&wire).await.is_ok() }));
    }

    /// Waits for a request; at the deadline, or when an operator ends the call, cancels it and gives it a
    /// moment to answer. `None`: it did not.
    pub(crate) async fn watch<F: Future>(
        &mut self,
        deadline: Deadline,
        request: F,
    ) -> Option<F::Output> {
        let mut request = Box::pin(request);
        let until = deadline.instant().into();
        let timely = tokio::time::timeout_at(until, async {
            tokio::select! {
                biased;
                answer = &mut request => return Some(answer),
                () = self.context.terminated() => {}
            }
            // A commit that was sent is waited for, whoever ends the call.
            if self.is_committing() { Some((&mut request).await) } else { None }
        });
        if let Ok(Some(answer)) = timely.await {
            return Some(answer);
        }
        self.send();
        let end = match self.is_sent() {
            true => Instant::now() + CANCEL_GRACE,
            false => deadline.late(COMMITTED),
        };
        tokio::time::timeout_at(end.into(), self.insist(request)).await.ok()
    }

    /// Cancels, again and again, until the request is answered; a commit is only waited for.
    pub(crate) async fn insist<F: Future>(&mut self, request: F) -> F::Output {
        let mut request = std::pin::pin!(request);
        let [mut pause, longest] = PAUSES;
        loop {
            self.send();
            tokio::select! {
                biased;
                answer = &mut request => return answer,
                () = self.missed(pause) => pause = longest.min(2 * pause),
            }
        }
    }

    /// Waits until the last cancel has had time to show.
    async fn missed(&mut self, pause: Duration) {
        if self.sent.is_none() {
            return std::future::pending().await;
        }
        self.settled().await;
        tokio::time::sleep(pause).await;
    }

    /// Whether no cancel is on its way any more.
    pub(crate) async fn settled(&mut self) -> bool {
        if let Some(sent) = &mut self.sent
            && !PlantedBug::UnawaitedCancel.is_planted()
        {
            self.lost |= !matches!(sent.await, Ok(true));
            self.sent = None;
        }
        !self.lost
    }
}
