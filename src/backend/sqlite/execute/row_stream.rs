//! A running statement, as the call sees it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use super::statement_run::Ran;
use crate::backend::sqlite::row_channel::{First, Header, RowReceiver, Stop, lost};
use crate::backend::{Completion, Fill, RowSink, RowStream};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::CallContext;
use crate::value::Column;

/// How long after the deadline the thread may still say how the statement ended. It notices the
/// deadline within microseconds unless a single step of SQLite's takes long (a sync of the file, a
/// pattern match over megabytes).
const GRACE: Duration = Duration::from_millis(40);

/// Waits for a thread, and not for ever.
pub(crate) struct Call<T> {
    inlet: RowReceiver<T>,
    overdue: Pin<Box<Sleep>>,
    /// Ready when an operator ends the call; `None`: nobody does, or it was told already.
    terminated: Option<BoxFuture<'static, ()>>,
}

impl<T> Call<T> {
    /// Waits at the end of a pipe.
    pub(crate) fn new(inlet: RowReceiver<T>, deadline: Deadline) -> Self {
        let overdue = tokio::time::sleep_until((deadline.instant() + GRACE).into());
        Self { inlet, overdue: Box::pin(overdue), terminated: None }
    }

    /// Stops when an operator ends the call.
    pub(crate) fn of(mut self, context: &Arc<CallContext>) -> Self {
        let context = Arc::clone(context);
        self.terminated = Some(Box::pin(async move { context.terminated().await }));
        self
    }

    /// The first thing that the job says.
    ///
    /// # Errors
    /// That it is overdue.
    pub(crate) async fn first(&mut self) -> Result<First<T>> {
        poll_fn(|cx| match self.inlet.poll_first(cx) {
            Poll::Ready(first) => Poll::Ready(Ok(first)),
            Poll::Pending => self.poll_overdue(cx).map(Err),
        })
        .await
    }

    /// How the job ends; its rows are thrown away.
    ///
    /// # Errors
    /// How it failed, or that it is overdue.
    pub(crate) async fn end(&mut self) -> Result<T> {
        poll_fn(|cx| match self.inlet.poll_end(cx) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => self.poll_overdue(cx).map(Err),
        })
        .await
    }

    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let mut told = self.terminated.as_mut().map(|told| told.as_mut().poll(cx));
        if told.take().is_some_and(|told| told.is_ready()) {
            self.terminated = None;
            self.inlet.give_up();
        }
        self.overdue.as_mut().poll(cx).map(|()| {
            if self.inlet.give_up() {
                let message = "the deadline passed and the commit has not answered";
                Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
            } else {
                Stop::Deadline.into()
            }
        })
    }
}

/// A statement that is running or has run.
pub(crate) enum Running {
    /// It returns rows, or did.
    Rows {
        /// Of which kind.
        header: Header,
        /// Where they come from.
        call: Call<Ran>,
    },
    /// It returned none and has ended.
    Over {
        /// How.
        completion: Completion,
        /// Whether it may have written.
        writes: bool,
    },
}

impl RowStream for Running {
    fn columns(&self) -> Option<&[Column]> {
        match self {
            Self::Rows { header, .. } => Some(&header.columns),
            Self::Over { .. } => None,
        }
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        match self {
            Self::Rows { call, .. } => match call.inlet.poll_rows(cx, sink) {
                Poll::Ready(filled) => Poll::Ready(filled),
                Poll::Pending => call.poll_overdue(cx).map(Err),
            },
            Self::Over { .. } => Poll::Ready(Ok(Fill::Done)),
        }
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            match *self {
                Self::Over { completion, .. } => Ok(completion),
                Self::Rows { mut call, .. } => match call.end().await? {
                    Ran::Done(completion) => Ok(completion),
                    Ran::Writes(_) => Err(lost()),
                },
            }
        })
    }

    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            match *self {
                Self::Over { writes: true, .. } => Outcome::Applied,
                Self::Over { writes: false, .. } => Outcome::NotApplied,
                Self::Rows { header, .. } if header.reads => Outcome::NotApplied,
                Self::Rows { mut call, .. } => match call.end().await {
                    Ok(_ran) => Outcome::Applied,
                    Err(error) => error.outcome(),
                },
            }
        })
    }
}
