//! What flows between the thread that runs a statement and the call that waits for it.
//!
//! The thread holds the [`RowSender`] and blocks, the call holds the [`RowReceiver`] and polls. Rows wait in
//! between, bounded in bytes, so a slow reader stops SQLite itself. Dropping the inlet is how a call
//! cancels. Both ends see the same deadline, also while one waits for the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::backend::{Fill, RowSink};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Column, Row};
use crate::wire_size::encoded_row_size;

/// Encoded rows that may wait between the two ends; one row more than that at most.
const CAPACITY: usize = 128 * 1024;

/// The reader is woken when this much waits, and the writer when no more than this does.
const CHUNK: usize = 64 * 1024;

/// The reader is woken at least this often while rows wait. The first row wakes it at once.
const FLUSH: Duration = Duration::from_millis(5);

/// Why a statement must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody waits for it any more.
    Cancelled,
    /// Its deadline has passed.
    Deadline,
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::new(ErrorKind::Cancelled, "the statement was cancelled"),
            Stop::Deadline => Self::new(
                ErrorKind::DeadlineExceeded,
                "the deadline passed before the statement had ended",
            ),
        }
    }
}

/// Opens a pipe that ends with a `T`.
pub(crate) fn pipe<T>(deadline: Instant) -> (RowSender<T>, RowReceiver<T>) {
    let shared = Arc::new(Shared {
        deadline,
        cancelled: AtomicBool::new(false),
        room: Condvar::new(),
        state: Mutex::new(State {
            header: None,
            rows: VecDeque::new(),
            bytes: 0,
            discard: false,
            decided: false,
            end: None,
            reader: None,
            woken: None,
        }),
    });
    (RowSender(Arc::clone(&shared)), RowReceiver { shared, cancels: true })
}

/// What a statement says before its first row, if it returns rows.
pub(crate) struct Header {
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// Whether it only reads.
    pub(crate) reads: bool,
}

struct Shared<T> {
    deadline: Instant,
    /// Set under the lock of `state`, so that nobody sleeps past it.
    cancelled: AtomicBool,
    room: Condvar,
    state: Mutex<State<T>>,
}

struct State<T> {
    header: Option<Header>,
    rows: VecDeque<Row>,
    bytes: usize,
    /// Whether nobody wants the rows, only the end.
    discard: bool,
    /// Whether the job has begun what cannot be undone.
    decided: bool,
    end: Option<Result<T>>,
    reader: Option<Waker>,
    woken: Option<Instant>,
}

impl<T> State<T> {
    /// Takes the reader's waker, to be woken once the lock is released.
    fn reader(&mut self, now: Instant) -> Option<Waker> {
        let reader = self.reader.take()?;
        self.woken = Some(now);
        Some(reader)
    }

    /// The same when rows have waited for long enough.
    fn due_reader(&mut self, now: Instant) -> Option<Waker> {
        let late = self.woken.is_none_or(|woken| now.duration_since(woken) >= FLUSH);
        let due = !self.rows.is_empty() && (late || self.bytes >= CHUNK);
        if due { self.reader(now) } else { None }
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl<T> Shared<T> {
    fn stopped(&self, now: Instant) -> Option<Stop> {
        if self.cancelled.load(Ordering::Acquire) {
            Some(Stop::Cancelled)
        } else if now >= self.deadline {
            Some(Stop::Deadline)
        } else {
            None
        }
    }
}

/// A view of a pipe for SQLite's callbacks.
pub(crate) struct Watch<T> {
    shared: Arc<Shared<T>>,
    until: Instant,
}

impl<T> Watch<T> {
    /// Why the statement must stop, if it must. Called all through a statement, so it also lets rows
    /// out that a slow statement found a while ago.
    pub(crate) fn check(&self) -> Option<Stop> {
        let now = Instant::now();
        let reader = self.shared.state.lock().due_reader(now);
        wake(reader);
        self.shared.stopped(now).or_else(|| (now >= self.until).then_some(Stop::Deadline))
    }

    /// Sleeps until `until`, the deadline or the cancellation; may return early.
    pub(crate) fn pause(&self, until: Instant) {
        let mut state = self.shared.state.lock();
        if !self.shared.cancelled.load(Ordering::Acquire) {
            let until = until.min(self.until).min(self.shared.deadline);
            self.shared.room.wait_until(&mut state, until);
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

    /// When the job must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// Why the statement must stop, if it must.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.0.stopped(Instant::now())
    }

    /// Says that what follows cannot be undone, such as a COMMIT.
    ///
    /// From here on the job goes on whatever the call does; before, a call that gives up knows that
    /// nothing will be applied. The two decide under one lock.
    ///
    /// # Errors
    /// When the call was cancelled or its deadline passed.
    pub(crate) fn decide(&self) -> Result<(), Stop> {
        let mut state = self.0.state.lock();
        match self.0.stopped(Instant::now()) {
            Some(stop) => Err(stop),
            None => {
                state.decided = true;
                Ok(())
            }
        }
    }

    /// Says that the statement returns rows, and of which columns; before its first row.
    pub(crate) fn start(&self, header: Header) {
        let mut state = self.0.state.lock();
        state.header = Some(header);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Sends a row; blocks while too many wait.
    ///
    /// # Errors
    /// When the call was cancelled or its deadline passed, also while it waited.
    pub(crate) fn push(&self, row: Row) -> Result<(), Stop> {
        let size = encoded_row_size(&row);
        let mut state = self.0.state.lock();
        while state.bytes >= CAPACITY && !state.discard {
            if let Some(stop) = self.0.stopped(Instant::now()) {
                return Err(stop);
            }
            self.0.room.wait_until(&mut state, self.0.deadline);
        }
        if !state.discard {
            state.bytes += size;
            state.rows.push_back(row);
            let reader = state.due_reader(Instant::now());
            drop(state);
            wake(reader);
        }
        Ok(())
    }

    /// Says how the statement ended.
    pub(crate) fn end(self, end: Result<T>) {
        self.set_end(end);
    }

    fn set_end(&self, end: Result<T>) {
        let mut state = self.0.state.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
        let reader = state.reader(Instant::now());
        drop(state);
        wake(reader);
    }
}

impl<T> Drop for RowSender<T> {
    /// A job that nobody took up leaves no caller waiting.
    fn drop(&mut self) {
        if self.0.state.lock().end.is_none() {
            self.set_end(Err(lost()));
        }
    }
}

/// The error of a call whose connection thread is gone before the statement ran.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the connection to the database was closed")
}

/// The call's end. Dropping it cancels the statement.
pub(crate) struct RowReceiver<T> {
    shared: Arc<Shared<T>>,
    cancels: bool,
}

/// The first thing a pipe says.
pub(crate) enum First<T> {
    /// The statement returns rows.
    Rows(Header),
    /// It has ended.
    End(Result<T>),
}

impl<T> RowReceiver<T> {
    /// Lets the job run on when this is dropped: only its deadline ends it.
    pub(crate) fn let_finish(mut self) -> Self {
        self.cancels = false;
        self
    }

    /// Stops waiting: cancels the job, unless it has decided; says whether it has.
    pub(crate) fn give_up(&self) -> bool {
        let state = self.shared.state.lock();
        if !state.decided {
            self.shared.cancelled.store(true, Ordering::Release);
            self.shared.room.notify_one();
        }
        state.decided
    }

    /// What the statement says first.
    pub(crate) fn poll_first(&self, cx: &mut Context<'_>) -> Poll<First<T>> {
        let mut state = self.shared.state.lock();
        if let Some(header) = state.header.take() {
            return Poll::Ready(First::Rows(header));
        }
        if let Some(end) = state.end.take() {
            return Poll::Ready(First::End(end));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Moves rows at hand into the sink, as [`crate::backend::RowStream::poll_rows`] says.
    pub(crate) fn poll_rows(&self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        let mut state = self.shared.state.lock();
        if let Some(end) = state.end.take_if(|end| end.is_err()) {
            return Poll::Ready(end.map(|_ended| Fill::Done));
        }
        while !sink.is_full()
            && let Some(row) = state.rows.pop_front()
        {
            state.bytes -= encoded_row_size(&row);
            sink.push(row);
        }
        if state.bytes <= CHUNK {
            self.shared.room.notify_one();
        }
        if state.rows.is_empty() && state.end.is_some() {
            return Poll::Ready(Ok(Fill::Done));
        }
        if sink.is_full() {
            return Poll::Ready(Ok(Fill::Full));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The end; rows that wait or come are thrown away.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let mut state = self.shared.state.lock();
        if let Some(end) = state.end.take() {
            return Poll::Ready(end);
        }
        if !state.discard {
            state.discard = true;
            state.rows = VecDeque::new();
            state.bytes = 0;
            self.shared.room.notify_one();
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for RowReceiver<T> {
    fn drop(&mut self) {
        if self.cancels {
            self.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn row(size: usize) -> Row {
        Row { values: vec![Value::text("x".repeat(size))] }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_full_pipe_stops_the_writer_until_the_reader_takes_rows() {
        let (outlet, inlet) = pipe::<()>(soon());
        let writer = std::thread::spawn(move || {
            for _ in 0..100 {
                outlet.push(row(32 * 1024))?;
            }
            outlet.end(Ok(()));
            Ok::<_, Stop>(())
        });
        let mut cx = Context::from_waker(Waker::noop());
        let mut received = 0;
        let mut most = 0;
        loop {
            let mut sink = RowSink::new(CHUNK);
            let polled = inlet.poll_rows(&mut cx, &mut sink);
            received += sink.len();
            most = most.max(inlet.shared.state.lock().bytes);
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
    fn a_writer_that_waits_sees_the_cancellation_and_the_deadline() {
        let (outlet, inlet) = pipe::<()>(soon());
        let writer = std::thread::spawn(move || {
            loop {
                if let Err(stop) = outlet.push(row(CHUNK)) {
                    return stop;
                }
            }
        });
        drop(inlet);
        assert_eq!(writer.join().expect("no panic"), Stop::Cancelled);

        let (outlet, _inlet) = pipe::<()>(Instant::now() + Duration::from_millis(20));
        let stop = loop {
            if let Err(stop) = outlet.push(row(CHUNK)) {
                break stop;
            }
        };
        assert_eq!(stop, Stop::Deadline);
    }

    #[test]
    fn whoever_waits_for_the_end_lets_the_writer_run_on() {
        let (outlet, inlet) = pipe::<u8>(soon());
        let mut cx = Context::from_waker(Waker::noop());
        let writer = std::thread::spawn(move || {
            for _ in 0..10 {
                outlet.push(row(CHUNK)).expect("never stopped");
            }
            outlet.end(Ok(7));
        });
        loop {
            if let Poll::Ready(end) = inlet.poll_end(&mut cx) {
                assert_eq!(end.expect("it ended well"), 7);
                break;
            }
            std::thread::yield_now();
        }
        writer.join().expect("no panic");
    }

    #[test]
    fn a_job_is_either_given_up_or_decided() {
        let (outlet, inlet) = pipe::<()>(soon());
        assert!(!inlet.give_up());
        assert_eq!(outlet.decide(), Err(Stop::Cancelled));

        let (outlet, inlet) = pipe::<()>(soon());
        assert_eq!(outlet.decide(), Ok(()));
        assert!(inlet.give_up());
        assert_eq!(outlet.stopped(), None, "it goes on");

        let (outlet, inlet) = pipe::<()>(soon());
        drop(inlet.let_finish());
        assert_eq!(outlet.decide(), Ok(()));

        let (outlet, _inlet) = pipe::<()>(Instant::now());
        assert_eq!(outlet.decide(), Err(Stop::Deadline));
    }

    #[test]
    fn a_job_that_is_thrown_away_is_a_lost_connection() {
        let (outlet, inlet) = pipe::<()>(soon());
        drop(outlet);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = inlet.poll_end(&mut cx) else {
            panic!("it has ended");
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    }
}
