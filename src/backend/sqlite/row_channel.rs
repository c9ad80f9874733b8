//! The channel between the thread that runs a job and the call that waits for it.
//!
//! The thread has the [`RowSender`] and blocks, the call has the [`RowReceiver`] and polls. Rows wait in
//! between, bounded in bytes, so a slow reader stops SQLite itself. A call cancels by dropping the
//! receiver. Both ends see the same deadline, also while one waits for the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::backend::{Fill, RowSink};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Column;

/// The encoded bytes that may wait between the two ends; one row more than that at most.
const CAPACITY: usize = 128 * 1024;

/// The receiver is woken when this much waits, and the sender when no more than this does.
const CHUNK: usize = 64 * 1024;

/// The receiver is woken at least this often while rows wait. The first row wakes it at once.
const FLUSH: Duration = Duration::from_millis(5);

/// The reason why a statement must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The call was cancelled.
    Cancelled,
    /// Its deadline has passed.
    Deadline,
}

impl From<StopReason> for Error {
    fn from(stop: StopReason) -> Self {
        match stop {
            StopReason::Cancelled => Self::new(ErrorKind::Cancelled, "the statement was cancelled"),
            StopReason::Deadline => Self::new(
                ErrorKind::DeadlineExceeded,
                "the deadline passed before the statement ended",
            ),
        }
    }
}

/// Opens a channel that ends with a `T`.
pub(crate) fn row_channel<T>(deadline: Instant) -> (RowSender<T>, RowReceiver<T>) {
    let shared = Arc::new(Shared {
        deadline,
        cancelled: AtomicBool::new(false),
        changed: Condvar::new(),
        state: Mutex::new(ChannelState {
            header: None,
            rows: VecDeque::new(),
            bytes: 0,
            discard: false,
            committing: false,
            end: None,
            receiver: None,
            woken: None,
        }),
    });
    (RowSender(Arc::clone(&shared)), RowReceiver { shared, cancel_on_drop: true })
}

/// The announcement of a statement that returns rows.
pub(crate) struct ResultHeader {
    pub(crate) columns: Vec<Column>,
    /// True if the statement only reads.
    pub(crate) reads: bool,
}

struct Shared<T> {
    deadline: Instant,
    /// Set under the lock of `state`, so that nobody sleeps past it.
    cancelled: AtomicBool,
    changed: Condvar,
    state: Mutex<ChannelState<T>>,
}

struct ChannelState<T> {
    header: Option<ResultHeader>,
    /// Messages `Row`.
    rows: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Set when the call wants only the end, not the rows.
    discard: bool,
    /// Set once the job has begun to commit, which cannot be undone.
    committing: bool,
    end: Option<Result<T>>,
    receiver: Option<Waker>,
    woken: Option<Instant>,
}

impl<T> ChannelState<T> {
    /// Takes the receiver's waker, to be woken once the lock is released.
    fn take_receiver(&mut self, now: Instant) -> Option<Waker> {
        let receiver = self.receiver.take()?;
        self.woken = Some(now);
        Some(receiver)
    }

    /// The same when rows have waited for long enough.
    fn due_receiver(&mut self, now: Instant) -> Option<Waker> {
        let late = self.woken.is_none_or(|woken| now.duration_since(woken) >= FLUSH);
        let due = !self.rows.is_empty() && (late || self.bytes >= CHUNK);
        if due { self.take_receiver(now) } else { None }
    }
}

fn wake(receiver: Option<Waker>) {
    if let Some(receiver) = receiver {
        receiver.wake();
    }
}

impl<T> Shared<T> {
    fn check(&self, now: Instant) -> Result<(), StopReason> {
        if self.cancelled.load(Ordering::Acquire) {
            Err(StopReason::Cancelled)
        } else if now >= self.deadline {
            Err(StopReason::Deadline)
        } else {
            Ok(())
        }
    }
}

/// A view of a channel for SQLite's callbacks.
pub(crate) struct Watch<T> {
    shared: Arc<Shared<T>>,
    until: Instant,
}

impl<T> Watch<T> {
    /// Returns true if the statement must stop. Called all through a statement, so it also delivers rows
    /// that a slow statement found a while ago.
    pub(crate) fn must_stop(&self) -> bool {
        let now = Instant::now();
        let receiver = self.shared.state.lock().due_receiver(now);
        wake(receiver);
        now >= self.until || self.shared.check(now).is_err()
    }

    /// Sleeps until `until`, the deadline or the cancellation; may return early.
    pub(crate) fn pause(&self, until: Instant) {
        let mut state = self.shared.state.lock();
        if !self.shared.cancelled.load(Ordering::Acquire) {
            let until = until.min(self.until).min(self.shared.deadline);
            self.shared.changed.wait_until(&mut state, until);
        }
    }
}

/// The thread's end.
pub(crate) struct RowSender<T>(Arc<Shared<T>>);

impl<T> RowSender<T> {
    /// A view for SQLite's callbacks, which also stop at `until`.
    pub(crate) fn watch(&self, until: Instant) -> Watch<T> {
        Watch { shared: Arc::clone(&self.0), until }
    }

    /// The time at which the job must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// Fails if the call was cancelled or its deadline passed.
    pub(crate) fn check(&self) -> Result<(), StopReason> {
        self.0.check(Instant::now())
    }

    /// Announces a COMMIT, unless the call was cancelled or its deadline passed.
    ///
    /// From here on the job goes on whatever the call does; a call that cancels before knows that
    /// nothing will be applied. One lock decides between the two.
    pub(crate) fn start_commit(&self) -> Result<(), StopReason> {
        let mut state = self.0.state.lock();
        self.check()?;
        state.committing = true;
        Ok(())
    }

    /// Announces that the statement returns rows; before its first row.
    pub(crate) fn start(&self, header: ResultHeader) {
        let mut state = self.0.state.lock();
        state.header = Some(header);
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
    }

    /// Sends a row, a message `Row`; blocks while too many wait.
    pub(crate) fn push(&self, row: &[u8]) -> Result<(), StopReason> {
        let mut state = self.0.state.lock();
        while state.bytes >= CAPACITY && !state.discard {
            self.check()?;
            self.0.changed.wait_until(&mut state, self.0.deadline);
        }
        if !state.discard {
            state.bytes += row.len();
            state.rows.push_back(row.into());
            let receiver = state.due_receiver(Instant::now());
            drop(state);
            wake(receiver);
        }
        Ok(())
    }

    /// Sends the result of the job.
    pub(crate) fn end(&self, end: Result<T>) {
        let mut state = self.0.state.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
        let receiver = state.take_receiver(Instant::now());
        drop(state);
        wake(receiver);
    }
}

impl<T> Drop for RowSender<T> {
    /// Ends the job of a thread that ended before it, so that no call waits for ever.
    fn drop(&mut self) {
        if self.0.state.lock().end.is_none() {
            self.end(Err(connection_lost()));
        }
    }
}

/// The error of a call whose connection's thread ended before the statement ran.
pub(crate) fn connection_lost() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the connection to the database was closed")
}

/// The call's end. Dropping it cancels the statement.
pub(crate) struct RowReceiver<T> {
    shared: Arc<Shared<T>>,
    cancel_on_drop: bool,
}

/// The first event of a channel.
pub(crate) enum FirstEvent<T> {
    Rows(ResultHeader),
    End(Result<T>),
}

impl<T> RowReceiver<T> {
    /// Lets the job finish when this is dropped: only its deadline ends it.
    pub(crate) fn let_finish(mut self) -> Self {
        self.cancel_on_drop = false;
        self
    }

    /// Cancels the job unless it is committing; returns true if it is.
    pub(crate) fn cancel(&self) -> bool {
        let state = self.shared.state.lock();
        if !state.committing {
            self.shared.cancelled.store(true, Ordering::Release);
            self.shared.changed.notify_one();
        }
        state.committing
    }

    pub(crate) fn poll_first(&self, cx: &mut Context<'_>) -> Poll<FirstEvent<T>> {
        let mut state = self.shared.state.lock();
        if let Some(header) = state.header.take() {
            return Poll::Ready(FirstEvent::Rows(header));
        }
        if let Some(end) = state.end.take() {
            return Poll::Ready(FirstEvent::End(end));
        }
        state.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Moves waiting rows into the sink, as [`crate::backend::RowStream::poll_rows`] says.
    pub(crate) fn poll_rows(&self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        let mut state = self.shared.state.lock();
        if let Some(end) = state.end.take_if(|end| end.is_err()) {
            return Poll::Ready(end.map(|_ended| Fill::Done));
        }
        while !sink.is_full()
            && let Some(row) = state.rows.pop_front()
        {
            state.bytes -= row.len();
            sink.push(&row);
        }
        if state.bytes <= CHUNK {
            self.shared.changed.notify_one();
        }
        if state.rows.is_empty() && state.end.is_some() {
            return Poll::Ready(Ok(Fill::Done));
        }
        if sink.is_full() {
            return Poll::Ready(Ok(Fill::Full));
        }
        state.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Polls the result; rows are discarded.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let mut state = self.shared.state.lock();
        if let Some(end) = state.end.take() {
            return Poll::Ready(end);
        }
        if !state.discard {
            state.discard = true;
            state.rows = VecDeque::new();
            state.bytes = 0;
            self.shared.changed.notify_one();
        }
        state.receiver = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for RowReceiver<T> {
    fn drop(&mut self) {
        if self.cancel_on_drop {
            self.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::value::{Row, Value};

    fn row(size: usize) -> Vec<u8> {
        Row { values: vec![Value::text("x".repeat(size))] }.encode_to_vec()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_full_channel_blocks_the_sender_until_the_receiver_takes_rows() {
        let (sender, receiver) = row_channel::<()>(soon());
        let writer = std::thread::spawn(move || {
            for _ in 0..100 {
                sender.push(&row(32 * 1024))?;
            }
            sender.end(Ok(()));
            Ok::<_, StopReason>(())
        });
        let mut cx = Context::from_waker(Waker::noop());
        let mut received = 0;
        let mut most = 0;
        loop {
            let mut sink = RowSink::of_result(CHUNK);
            let polled = receiver.poll_rows(&mut cx, &mut sink);
            received += sink.len();
            most = most.max(receiver.shared.state.lock().bytes);
            if let Poll::Ready(Ok(Fill::Done)) = polled {
                break;
            }
            std::thread::yield_now();
        }
        writer.join().expect("no panic").expect("not stopped");
        assert_eq!(received, 100);
        assert!(most < CAPACITY + 33 * 1024, "{most}");
    }

    #[test]
    fn a_blocked_sender_sees_the_cancellation_and_the_deadline() {
        let (sender, receiver) = row_channel::<()>(soon());
        let writer = std::thread::spawn(move || {
            loop {
                if let Err(stop) = sender.push(&row(CHUNK)) {
                    return stop;
                }
            }
        });
        drop(receiver);
        assert_eq!(writer.join().expect("no panic"), StopReason::Cancelled);

        let (sender, _receiver) = row_channel::<()>(Instant::now() + Duration::from_millis(20));
        let stop = loop {
            if let Err(stop) = sender.push(&row(CHUNK)) {
                break stop;
            }
        };
        assert_eq!(stop, StopReason::Deadline);
    }

    #[test]
    fn waiting_for_the_end_lets_the_sender_run_on() {
        let (sender, receiver) = row_channel::<u8>(soon());
        let mut cx = Context::from_waker(Waker::noop());
        let writer = std::thread::spawn(move || {
            for _ in 0..10 {
                sender.push(&row(CHUNK)).expect("never stopped");
            }
            sender.end(Ok(7));
        });
        loop {
            if let Poll::Ready(end) = receiver.poll_end(&mut cx) {
                assert_eq!(end.expect("it ended well"), 7);
                break;
            }
            std::thread::yield_now();
        }
        writer.join().expect("no panic");
    }

    #[test]
    fn a_job_is_either_cancelled_or_commits() {
        let (sender, receiver) = row_channel::<()>(soon());
        assert!(!receiver.cancel());
        assert_eq!(sender.start_commit(), Err(StopReason::Cancelled));

        let (sender, receiver) = row_channel::<()>(soon());
        assert_eq!(sender.start_commit(), Ok(()));
        assert!(receiver.cancel());
        assert_eq!(sender.check(), Ok(()), "it goes on");

        let (sender, receiver) = row_channel::<()>(soon());
        drop(receiver.let_finish());
        assert_eq!(sender.start_commit(), Ok(()));

        let (sender, _receiver) = row_channel::<()>(Instant::now());
        assert_eq!(sender.start_commit(), Err(StopReason::Deadline));
    }

    #[test]
    fn a_dropped_job_is_a_lost_connection() {
        let (sender, receiver) = row_channel::<()>(soon());
        drop(sender);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = receiver.poll_end(&mut cx) else {
            panic!("it has ended");
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    }
}
