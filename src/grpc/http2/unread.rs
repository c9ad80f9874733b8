//! Answers that wait for their readers: what HTTP/2 has not asked for yet stays here, where it can be given up.
//!
//! hyper hands a frame of a body to h2 whole, which keeps it until the client takes it, for ever if need be. So
//! a large frame is handed over in pieces. Its rest is given up once its reader has taken nothing for
//! `stream.stall_timeout`, or when the answers of all calls together exceed `grpc.max_unread_bytes`, a quarter of which is
//! enough where the reader takes nothing at the moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tonic::Status;

use crate::clock::now;
use crate::error::{Error, ErrorKind, Outcome};
use crate::grpc::respond::answer;
use crate::telemetry::RpcCall;

/// The size of a piece, that of HTTP/2's frames by default. A smaller answer is a piece by itself.
pub(crate) const PIECE: usize = 16 << 10;

/// The time that a reader on a slow network needs from one piece to the next, with a lost packet.
const PAUSE: Duration = Duration::from_millis(250);

/// The large frames of all calls that were not taken whole.
pub(crate) struct UnreadAnswers {
    max_bytes: usize,
    stall_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: BTreeMap<u64, Unread>,
    next: u64,
    /// The bytes of all frames that wait. A frame counts whole until its last piece is taken, as its memory is
    /// free no sooner.
    bytes: usize,
    /// True while a task looks for stalled readers.
    is_watched: bool,
}

enum Unread {
    Waiting(Waiting),
    /// It was given up with this status.
    Lost(Status),
}

struct Waiting {
    call: Arc<RpcCall>,
    outcome: Outcome,
    bytes: Bytes,
    taken: usize,
    taken_at: Instant,
}

/// A piece of a frame.
pub(crate) enum Piece {
    Data(Bytes),
    /// The rest of the frame was given up.
    Lost(Status),
    /// There is none left.
    End,
}

impl UnreadAnswers {
    pub(crate) fn new(max_bytes: usize, stall_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { max_bytes, stall_timeout, state: Mutex::default() })
    }

    /// Keeps a frame of a call until its pieces are taken. `outcome` is that of the call's work, for the error if
    /// the frame is given up.
    pub(crate) fn keep(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        outcome: Outcome,
        bytes: Bytes,
    ) -> UnreadFrame {
        let call = Arc::clone(call);
        // Encoded bytes are a part of a larger buffer, which their encoder goes on to use.
        let bytes = Bytes::copy_from_slice(&bytes);
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.bytes += bytes.len();
        let waiting = Waiting { call, outcome, bytes, taken: 0, taken_at: now() };
        state.frames.insert(id, Unread::Waiting(waiting));
        let mut given_up = Vec::new();
        while let Some((oldest, taken_at)) = state.oldest()
            && oldest != id
            && state.bytes > self.room(taken_at)
        {
            given_up.extend(state.give_up(oldest, "too many answers wait for their readers"));
        }
        if !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(Arc::clone(self).watch());
        }
        drop(state);
        drop(given_up);
        UnreadFrame { answers: Arc::clone(self), id }
    }

    /// The bytes beyond which the frame goes from which nothing was taken for the longest time: few of readers that read
    /// nothing, lest they fill the memory, and all of those that only read slowly.
    fn room(&self, taken_at: Instant) -> usize {
        if now() >= taken_at + PAUSE { self.max_bytes / 4 } else { self.max_bytes }
    }

    /// Gives up the frames of stalled readers, until none waits.
    async fn watch(self: Arc<Self>) {
        let limit = humantime::format_duration(self.stall_timeout);
        let why = format!("the reader took nothing for {limit}");
        while let Some(due) = self.next_due() {
            tokio::time::sleep_until(due.into()).await;
            let mut given_up = Vec::new();
            let mut state = self.state.lock();
            while let Some((id, taken_at)) = state.oldest()
                && now() >= taken_at + self.stall_timeout
            {
                given_up.extend(state.give_up(id, &why));
            }
        }
    }

    /// The time at which the next reader will have stalled; with `None` the watch has ended.
    fn next_due(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let oldest = state.oldest();
        state.is_watched = oldest.is_some();
        oldest.map(|(_, taken_at)| taken_at + self.stall_timeout)
    }
}

impl State {
    /// The frame from which nothing was taken for the longest time.
    fn oldest(&self) -> Option<(u64, Instant)> {
        let waiting = self.frames.iter().filter_map(|(id, frame)| match frame {
            Unread::Waiting(waiting) => Some((*id, waiting.taken_at)),
            Unread::Lost(_) => None,
        });
        waiting.min_by_key(|(_, taken_at)| *taken_at)
    }

    /// Puts an error in the place of a frame, which is returned to be dropped without the lock.
    fn give_up(&mut self, id: u64, why: &str) -> Option<Waiting> {
        let frame = self.frames.get_mut(&id)?;
        let Unread::Waiting(waiting) = frame else { return None };
        let error = Error::new(ErrorKind::StreamStalled, format!("the answer was given up: {why}"));
        let status = answer(&waiting.call, &error.with_outcome(waiting.outcome));
        let Unread::Waiting(waiting) = std::mem::replace(frame, Unread::Lost(status)) else {
            return None;
        };
        self.bytes -= waiting.bytes.len();
        Some(waiting)
    }

    fn remove(&mut self, id: u64) -> Option<Unread> {
        let frame = self.frames.remove(&id)?;
        if let Unread::Waiting(waiting) = &frame {
            self.bytes -= waiting.bytes.len();
        }
        Some(frame)
    }
}

/// A large frame of one body. Dropping it gives it up.
pub(crate) struct UnreadFrame {
    answers: Arc<UnreadAnswers>,
    id: u64,
}

impl UnreadFrame {
    /// Takes the next piece. It is a copy, so that it does not keep the whole frame in memory.
    pub(crate) fn take(&self) -> Piece {
        let mut state = self.answers.state.lock();
        let waiting = match state.frames.get_mut(&self.id) {
            Some(Unread::Waiting(waiting)) => waiting,
            Some(Unread::Lost(status)) => return Piece::Lost(status.clone()),
            None => return Piece::End,
        };
        let rest = &waiting.bytes[waiting.taken..];
        let piece = Bytes::copy_from_slice(&rest[..rest.len().min(PIECE)]);
        waiting.taken += piece.len();
        waiting.taken_at = now();
        if waiting.taken == waiting.bytes.len() {
            state.remove(self.id);
        }
        Piece::Data(piece)
    }
}

impl Drop for UnreadFrame {
    fn drop(&mut self) {
        let removed = self.answers.state.lock().remove(self.id);
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn keep(answers: &Arc<UnreadAnswers>, size: usize) -> UnreadFrame {
        answers.keep(&Arc::default(), Outcome::Applied, vec![7; size].into())
    }

    fn is_lost(frame: &UnreadFrame) -> bool {
        matches!(frame.take(), Piece::Lost(_))
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_is_taken_in_pieces_and_given_up_once_its_reader_stalls() {
        let answers = UnreadAnswers::new(usize::MAX, TIMEOUT);
        let frame = keep(&answers, 3 * PIECE + 1);
        for size in [PIECE, PIECE, PIECE] {
            tokio::time::sleep(TIMEOUT - Duration::from_millis(1)).await;
            assert!(matches!(frame.take(), Piece::Data(piece) if piece.len() == size));
        }
        tokio::time::sleep(TIMEOUT + Duration::from_millis(1)).await;
        assert!(is_lost(&frame));
        assert_eq!(answers.state.lock().bytes, 0);
        tokio::time::sleep(TIMEOUT).await;
        assert!(!answers.state.lock().is_watched);
        let next = keep(&answers, PIECE + 1);
        let sizes = std::iter::from_fn(|| match next.take() {
            Piece::Data(piece) => Some(piece.len()),
            Piece::Lost(_) | Piece::End => None,
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [PIECE, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_a_quarter_of_the_bound_answers_that_nobody_reads_are_given_up() {
        let answers = UnreadAnswers::new(400_000, TIMEOUT);
        let [unread, read] = [keep(&answers, 60_000), keep(&answers, 60_000)];
        tokio::time::sleep(PAUSE - Duration::from_millis(1)).await;
        assert!(matches!(read.take(), Piece::Data(_)));
        let next = keep(&answers, 60_000);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let last = keep(&answers, 60_000);
        assert!(is_lost(&unread) && !is_lost(&read) && !is_lost(&next) && !is_lost(&last));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_the_answer_is_given_up_that_waited_longest() {
        let answers = UnreadAnswers::new(100_000, TIMEOUT);
        let first = keep(&answers, 40_000);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let second = keep(&answers, 40_000);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(matches!(first.take(), Piece::Data(_)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let third = keep(&answers, 40_000);
        assert!(is_lost(&second) && !is_lost(&first) && !is_lost(&third));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let large = keep(&answers, 1_000_000);
        assert!(is_lost(&first) && is_lost(&third) && !is_lost(&large));
        drop((first, second, third, large));
        assert_eq!(answers.state.lock().bytes, 0);
        assert!(answers.state.lock().frames.is_empty());
    }
}
