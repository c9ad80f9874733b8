//! Fairness between large results and everything else on a worker.
//!
//! A worker runs ready tasks in the order in which they became ready. The rows of a hundred streams become
//! ready at once, and decoding a batch takes a millisecond: a call behind them would wait for a tenth of a
//! second. A stream that is about to decode a batch therefore waits here first. One stream passes at a time,
//! and other ready tasks run between two of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::runtime::{Handle, Id};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

/// The semaphores of all workers.
#[derive(Debug, Default)]
pub(super) struct FairYields(RwLock<HashMap<Id, FairYield>>);

/// The semaphore of one worker: streams that decode a batch pass it one by one.
#[derive(Debug, Clone)]
pub(super) struct FairYield(Arc<Semaphore>);

impl FairYields {
    /// Returns the semaphore of the calling worker.
    pub(super) fn of_this_worker(&self) -> FairYield {
        let worker = Handle::current().id();
        if let Some(known) = self.0.read().get(&worker) {
            return known.clone();
        }
        let new = || FairYield(Arc::new(Semaphore::new(1)));
        self.0.write().entry(worker).or_insert_with(new).clone()
    }
}

impl FairYield {
    /// Waits for the earlier streams of the worker, at most until the deadline.
    ///
    /// # Cancel safety
    /// May be dropped at any await.
    pub(super) async fn wait(&self, deadline: std::time::Instant) {
        let passing = async {
            // The semaphore is never closed.
            let _permit = self.0.acquire().await;
            tokio::task::yield_now().await;
        };
        drop(timeout_at(deadline.into(), passing).await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn other_ready_tasks_run_between_two_streams() {
        let yields = Arc::new(FairYields::default());
        let done = Arc::new(AtomicUsize::new(0));
        let deadline = Instant::now() + Duration::from_secs(60);
        for _ in 0..100 {
            let fair_yield = yields.of_this_worker();
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                fair_yield.wait(deadline).await;
                done.fetch_add(1, SeqCst);
            });
        }
        // A call has a few steps; each is behind the ready tasks.
        for step in 0..10 {
            tokio::task::yield_now().await;
            let done = done.load(SeqCst);
            assert!(done <= step + 1, "{done} streams in {step} steps");
        }
        let early = yields.of_this_worker();
        early.wait(Instant::now()).await;
        while done.load(SeqCst) < 100 {
            tokio::task::yield_now().await;
        }
    }
}
