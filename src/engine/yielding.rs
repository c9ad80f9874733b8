//! Whose rows are next on a worker: results that are large take turns, so that a call which comes meanwhile need
//! not wait for all of them.
//!
//! A worker runs what is ready in the order in which it became so. Rows of a hundred streams are ready at once when
//! they begin, and each has a millisecond of work: whoever comes behind them waits for a tenth of a second. So a
//! stream that is about to decode a batch passes here first, one after the other, and whatever else is ready runs
//! between two of them.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::runtime::{Handle, Id};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The turns of each worker.
#[derive(Debug, Default)]
pub(crate) struct Turns(RwLock<Vec<(Id, Turn)>>);

/// The turns of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Turn(Arc<Semaphore>);

impl Turns {
    /// Those of the worker that asks.
    pub(crate) fn here(&self) -> Turn {
        let worker = Handle::current().id();
        let known = |turns: &[(Id, Turn)]| {
            turns.iter().find(|(id, _)| *id == worker).map(|(_, turn)| turn.clone())
        };
        if let Some(turn) = known(&self.0.read()) {
            return turn;
        }
        let mut turns = self.0.write();
        known(&turns).unwrap_or_else(|| {
            let turn = Turn(Arc::new(Semaphore::new(1)));
            turns.push((worker, turn.clone()));
            turn
        })
    }
}

impl Turn {
    /// Returns when it is the caller's turn, or at `until`: a deadline is no turn's to miss.
    ///
    /// # Cancel safety
    /// May be dropped at any await: the turn is another's.
    pub(crate) async fn pass(&self, until: Instant) {
        let passing = async {
            // It is never closed.
            let _turn = self.0.acquire().await;
            tokio::task::yield_now().await;
        };
        drop(tokio::time::timeout_at(until, passing).await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_else_is_ready_runs_between_two_turns() {
        let (turns, done) = (Arc::new(Turns::default()), Arc::new(AtomicUsize::new(0)));
        let until = Instant::now() + Duration::from_secs(60);
        for _ in 0..100 {
            let (turn, done) = (turns.here(), Arc::clone(&done));
            tokio::spawn(async move {
                turn.pass(until).await;
                done.fetch_add(1, SeqCst);
            });
        }
        // A call has a few steps; each is behind what is ready.
        for step in 0..10 {
            tokio::task::yield_now().await;
            let done = done.load(SeqCst);
            assert!(done <= step + 1, "{done} turns in {step} steps");
        }
        let early = turns.here();
        early.pass(Instant::now()).await;
        while done.load(SeqCst) < 100 {
            tokio::task::yield_now().await;
        }
    }
}
