//! A running job, as the call sees it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use crate::backend::sqlite::connection::ThreadWatch;
use crate::backend::sqlite::row_channel::{
    FirstEvent, ResultHeader, RowReceiver, StopReason, connection_lost,
};
use crate::backend::{Completion, Fill, RowSink, RowStream};
use crate::clock::now;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::CallContext;
use crate::value::Column;

/// The time after the deadline in which the thread may still send the result. It notices the
/// deadline within microseconds unless a single step of SQLite's takes long (a sync of the file, a
/// pattern match over megabytes).
const GRACE_PERIOD: Duration = Duration::from_millis(40);

/// A job whose result is waited for, with a time limit.
pub(crate) struct PendingJob<T> {
    receiver: RowReceiver<T>,
    overdue: Pin<Box<Sleep>>,
    /// Ready when an operator terminates the call; `None` if none can, or one has.
    terminated: Option<BoxFuture<'static, ()>>,
    /// The error of a job that does not stop.
    stop: StopReason,
    _watch: Option<ThreadWatch>,
}

impl<T> PendingJob<T> {
    /// A job whose result arrives on a channel.
    pub(crate) fn new(receiver: RowReceiver<T>, deadline: Deadline) -> Self {
        let overdue = tokio::time::sleep_until((deadline.instant() + GRACE_PERIOD).into());
        let stop = StopReason::Deadline;
        Self { receiver, overdue: Box::pin(overdue), terminated: None, stop, _watch: None }
    }

    /// Watches over the thread of the job.
    pub(crate) fn watched(mut self, watch: Option<ThreadWatch>) -> Self {
        self._watch = watch;
        self
    }

    /// Cancels the job when an operator terminates the call.
    pub(crate) fn terminated_by(mut self, context: &Arc<CallContext>) -> Self {
        let context = Arc::clone(context);
        self.terminated = Some(Box::pin(async move { context.terminated().await }));
        self
    }

    /// Waits for the result; rows are discarded.
    pub(crate) async fn end(&mut self) -> Result<T> {
        poll_fn(|cx| match self.receiver.poll_end(cx) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => self.poll_overdue(cx).map(Err),
        })
        .await
    }

    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Some(terminated) = &mut self.terminated
            && terminated.as_mut().poll(cx).is_ready()
        {
            self.terminated = None;
            if !self.receiver.cancel() {
                self.stop = StopReason::Cancelled;
                self.overdue.as_mut().reset((now() + GRACE_PERIOD).into());
            }
        }
        self.overdue.as_mut().poll(cx).map(|()| {
            if self.receiver.cancel() {
                let message = "the deadline passed before the commit was confirmed";
                Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
            } else {
                self.stop.into()
            }
        })
    }
}

/// A statement that is running or has run.
pub(crate) struct SqliteRowStream<'t> {
    state: StreamState,
    /// The flag of the statement's transaction that is true until the statement has ended.
    running: Option<&'t mut bool>,
}

enum StreamState {
    /// The statement returns rows.
    Rows { header: ResultHeader, job: PendingJob<Option<Completion>> },
    /// It returned none and has ended.
    Ended { completion: Completion, outcome: Outcome },
}

impl SqliteRowStream<'_> {
    /// Waits for the first row, or the end, whose outcome is given. Returns `None` for a statement that writes on a
    /// connection that only reads.
    pub(crate) async fn start(
        mut job: PendingJob<Option<Completion>>,
        outcome: Outcome,
    ) -> Result<Option<Self>> {
        let first = poll_fn(|cx| match job.receiver.poll_first(cx) {
            Poll::Ready(first) => Poll::Ready(Ok(first)),
            Poll::Pending => job.poll_overdue(cx).map(Err),
        });
        let state = match first.await? {
            FirstEvent::Rows(header) => Some(StreamState::Rows { header, job }),
            FirstEvent::End(end) => {
                end?.map(|completion| StreamState::Ended { completion, outcome })
            }
        };
        Ok(state.map(|state| Self { state, running: None }))
    }

    /// The same stream as part of a transaction, in which nothing is applied before the commit.
    pub(crate) fn within(self, running: &mut bool) -> SqliteRowStream<'_> {
        *running = matches!(self.state, StreamState::Rows { .. });
        SqliteRowStream { state: self.state, running: Some(running) }
    }

    fn set_ended(&mut self) {
        if let Some(running) = &mut self.running {
            **running = false;
        }
    }
}

impl RowStream for SqliteRowStream<'_> {
    fn columns(&self) -> Option<&[Column]> {
        match &self.state {
            StreamState::Rows { header, .. } => Some(&header.columns),
            StreamState::Ended { .. } => None,
        }
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        let StreamState::Rows { job, .. } = &mut self.state else {
            return Poll::Ready(Ok(Fill::Done));
        };
        let polled = match job.receiver.poll_rows(cx, sink) {
            Poll::Ready(filled) => Poll::Ready(filled),
            Poll::Pending => job.poll_overdue(cx).map(Err),
        };
        if let Poll::Ready(Err(_)) = &polled {
            self.set_ended();
        }
        polled
    }

    fn finish<'a>(mut self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let end = match &mut self.state {
                StreamState::Ended { completion, .. } => Ok(std::mem::take(completion)),
                StreamState::Rows { job, .. } => {
                    job.end().await.and_then(|end| end.ok_or_else(connection_lost))
                }
            };
            self.set_ended();
            end
        })
    }

    fn abandon<'a>(mut self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let outcome = match &mut self.state {
                StreamState::Ended { outcome, .. } => *outcome,
                StreamState::Rows { header, .. } if header.reads => Outcome::NotApplied,
                // A write runs to its end: SQLite rolls a transaction back when one is interrupted.
                StreamState::Rows { job, .. } => {
                    job.end().await.map_or_else(|error| error.outcome(), |_| Outcome::Applied)
                }
            };
            self.set_ended();
            if self.running.is_some() { Outcome::NotApplied } else { outcome }
        })
    }
}
