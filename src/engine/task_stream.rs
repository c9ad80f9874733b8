//! Streams whose parts are sent by a task of their own.

use std::time::{Duration, Instant};

use futures_util::future::{FutureExt, ready};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;
use tokio::time::timeout_at;
use tokio_stream::wrappers::ReceiverStream;

use crate::clock::now;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// The sender of a stream's parts. One part waits for the reader at most.
pub(super) struct PartSender<T> {
    pub(super) channel: Sender<T>,
    pub(super) stall_timeout: Duration,
}

/// The reason why a part was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendFailure {
    /// The reader has disconnected.
    Disconnected,
    /// The reader took nothing within the stall timeout.
    Stalled,
    /// The reader took nothing before the caller's own limit.
    Late,
}

impl<T> PartSender<T> {
    /// Sends a part, which the reader must take within the stall timeout and before `latest`.
    pub(super) async fn send(&self, part: T, latest: Option<Instant>) -> Result<(), SendFailure> {
        let stalled = now() + self.stall_timeout;
        let until = latest.map_or(stalled, |latest| latest.min(stalled));
        match timeout_at(until.into(), self.channel.send(part)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(SendFailure::Disconnected),
            Err(_elapsed) if until < stalled => Err(SendFailure::Late),
            Err(_elapsed) => Err(SendFailure::Stalled),
        }
    }
}

/// Spawns a task and returns the parts that it sends, then the last item that it returns. The last item
/// does not pass through the channel: it needs no reader that takes the part before.
pub(super) fn spawn<T, F>(
    stall_timeout: Duration,
    task: impl FnOnce(PartSender<T>) -> F,
) -> impl Stream<Item = Result<T>> + Send
where
    T: Send + 'static,
    F: Future<Output = Option<Result<T>>> + Send + 'static,
{
    let (sender, receiver) = channel(1);
    let (end, ended) = oneshot::channel();
    let task = task(PartSender { channel: sender, stall_timeout });
    tokio::spawn(async move { end.send(task.await).unwrap_or_default() });
    let last = ended.map(|ended| ended.unwrap_or_else(|_closed| Some(Err(panicked()))));
    ReceiverStream::new(receiver).map(Ok).chain(last.into_stream().filter_map(ready))
}

fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "the task of the stream panicked")
        .with_outcome(Outcome::Unknown)
}
