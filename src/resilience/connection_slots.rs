//! The open connections of a listener that must always have room for one more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::task::{AbortHandle, JoinSet};

/// A number of connections. A further one takes the place of the oldest that waits for its client: silent clients,
/// however many, never keep out one that speaks.
#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    max: usize,
    tasks: JoinSet<()>,
    /// The oldest first.
    open: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    task: AbortHandle,
    activity: Activity,
}

/// The state of a connection: it works for its client, or waits for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<AtomicBool>);

impl Activity {
    /// Runs the work for a client.
    pub(crate) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        self.0.store(true, Relaxed);
        let done = work.await;
        self.0.store(false, Relaxed);
        done
    }
}

impl ConnectionSlots {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, tasks: JoinSet::new(), open: VecDeque::new() }
    }

    /// Serves a connection in a task of its own, which is aborted when this is dropped.
    pub(crate) fn serve<F>(&mut self, connection: impl FnOnce(Activity) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|slot| !slot.task.is_finished());
        while self.open.len() >= self.max.max(1) {
            let waiting = self.open.iter().position(|slot| !slot.activity.0.load(Relaxed));
            if let Some(slot) = self.open.remove(waiting.unwrap_or_default()) {
                slot.task.abort();
            }
        }
        let activity = Activity::default();
        let task = self.tasks.spawn(connection(activity.clone()));
        self.open.push_back(Slot { task, activity });
    }

    /// Waits until all connections have ended.
    pub(crate) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    /// Opens a connection that lasts; the receiver learns of its end.
    fn open(slots: &mut ConnectionSlots, is_busy: bool) -> oneshot::Receiver<()> {
        let (sender, ended) = oneshot::channel();
        slots.serve(|activity| async move {
            let _sender = sender;
            if is_busy {
                activity.during(pending::<()>()).await;
            }
            pending::<()>().await;
        });
        ended
    }

    #[tokio::test]
    async fn the_oldest_that_waits_makes_room_and_one_at_work_only_if_all_are() {
        let mut slots = ConnectionSlots::new(2);
        let mut busy = open(&mut slots, true);
        let first = open(&mut slots, false);
        tokio::task::yield_now().await;
        let mut second = open(&mut slots, true);
        first.await.expect_err("it was closed");
        tokio::task::yield_now().await;
        assert!(busy.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        let _third = open(&mut slots, true);
        busy.await.expect_err("all were at work");
        assert!(second.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(slots.open.len(), 2);
    }
}
