//! The listeners that have notifications and sleep: they are woken a few at a time.
//!
//! One notification may be for thousands of listeners. Woken all at once, their tasks would be before everything else that
//! their threads have to do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::backend::notification_queue::NotificationQueue;

/// The listeners that are woken at a time: their work takes a fraction of a millisecond, for which others wait.
const WOKEN_TOGETHER: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Sleepers {
    queues: Mutex<VecDeque<Arc<NotificationQueue>>>,
    /// Notified when there are some.
    added: Notify,
}

impl Sleepers {
    /// Adds the listener of a queue.
    pub(super) fn add(&self, queue: &Arc<NotificationQueue>) {
        self.queues.lock().push_back(Arc::clone(queue));
        self.added.notify_one();
    }

    /// Wakes listeners for as long as it is polled, in the order in which they were added.
    pub(super) async fn wake(&self) -> Infallible {
        loop {
            self.added.notified().await;
            while self.wake_some() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Wakes the next few; returns false if there are none.
    fn wake_some(&self) -> bool {
        let mut queues = self.queues.lock();
        let count = queues.len().min(WOKEN_TOGETHER);
        queues.drain(..count).for_each(|queue| queue.wake());
        count > 0
    }
}
