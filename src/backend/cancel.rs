//! Cancels a statement, and tells when that is over.
//!
//! A cancel names a connection and not a statement: one that arrives late kills the next. So nothing else may run on
//! the connection before the server has shown that it has acted on the cancel: PostgreSQL closes the cancel's own
//! socket then, and MySQL answers KILL QUERY. A cancel that arrives early is forgotten by the server, although
//! the request may be in its socket already: so it is sent until the request is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use crate::deadline::Deadline;
use crate::planted_bug::PlantedBug;
use crate::pool::CallContext;

/// The time a cancelled statement has to answer before its caller gets an error without its answer.
const CANCEL_GRACE: Duration = Duration::from_millis(40);
/// The same for one that is ended before its deadline, by an operator or a shutdown: its outcome is worth more than the time.
const TERMINATION_GRACE: Duration = Duration::from_millis(400);
/// The time a commit has to answer past its deadline, in hundredths of the time that is left to the caller
/// then, who must learn in time that the commit goes on.
const COMMIT_GRACE: u32 = 20;

/// The first and the longest pause between two cancels of one statement.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// Returns the moment until which a statement that is cancelled now has to answer.
pub(crate) fn grace_end(context: &CallContext, deadline: Deadline) -> Instant {
    let now = Instant::now();
    if context.is_terminated() {
        let late = deadline.instant().max(now) + CANCEL_GRACE;
        late.min(now + TERMINATION_GRACE)
    } else {
        now + CANCEL_GRACE
    }
}

/// A connection whose running statement can be cancelled from outside.
pub(crate) trait Cancellable {
    /// Cancels the statement that runs. Returns true once the server has acted on it, and no cancel can arrive any more.
    fn cancel(&self) -> BoxFuture<'static, bool>;

    /// The number of the last request that was answered.
    fn last_answered(&self) -> u64;
}

pub(crate) struct Cancel<C> {
    connection: C,
    /// The caller whose statements run: an operator may terminate its call.
    context: Arc<CallContext>,
    /// The number of the request that commits: while it runs, nothing is cancelled. Under synchronous
    /// replication a cancelled commit is a commit that no other server has.
    pub(crate) commit: Option<u64>,
    /// The last cancel; returns true once the server has acted on it, before which nothing else may run on
    /// the connection.
    sent: Option<JoinHandle<bool>>,
    /// True if a cancel failed: it may still arrive.
    is_lost: bool,
    /// True if a cancel was sent for the current request.
    was_sent: bool,
}

impl<C: Cancellable> Cancel<C> {
    pub(crate) fn new(connection: C, context: Arc<CallContext>) -> Self {
        Self { connection, context, commit: None, sent: None, is_lost: false, was_sent: false }
    }

    /// Returns true if a cancel may still arrive.
    pub(crate) fn is_pending(&self) -> bool {
        self.sent.is_some() || self.is_lost
    }

    /// Returns true if the current request was cancelled, or the last one.
    pub(crate) fn was_requested(&self) -> bool {
        self.was_sent || self.is_pending()
    }

    /// Notes that another request runs from here on.
    pub(crate) fn begin_request(&mut self) {
        self.was_sent = false;
    }

    fn is_committing(&self) -> bool {
        self.commit.is_some_and(|number| self.connection.last_answered() + 1 >= number)
    }

    /// Starts a cancel, without waiting for it, unless a commit runs.
    pub(crate) fn send(&mut self) {
        // A cancel on its way may still hit: it must not be forgotten over another.
        if self.sent.is_some() || self.is_committing() {
            return;
        }
        self.was_sent = true;
        self.sent = Some(tokio::spawn(self.connection.cancel()));
    }

    /// Waits for a request; at the deadline, or when an operator terminates the call, cancels it and gives
    /// it a moment to answer. Returns `None` when it did not.
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
        let end = if self.is_pending() {
            grace_end(&self.context, deadline)
        } else {
            deadline.late(COMMIT_GRACE)
        };
        tokio::time::timeout_at(end.into(), self.repeat_until(request)).await.ok()
    }

    /// Repeats the cancel until the request is answered; a commit is only waited for.
    pub(crate) async fn repeat_until<F: Future>(&mut self, request: F) -> F::Output {
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

    /// Waits until the last cancel has had time to take effect.
    async fn missed(&mut self, pause: Duration) {
        if self.sent.is_none() {
            return std::future::pending().await;
        }
        self.settled().await;
        tokio::time::sleep(pause).await;
    }

    /// Waits for the last cancel; returns true when none can arrive any more.
    pub(crate) async fn settled(&mut self) -> bool {
        if let Some(sent) = &mut self.sent
            && !PlantedBug::UnawaitedCancel.is_planted()
        {
            self.is_lost |= !matches!(sent.await, Ok(true));
            self.sent = None;
        }
        !self.is_lost
    }
}
