//! The listeners that have notifications and sleep: they are woken a few at a time.
//!
//! One notification may be for thousands of listeners. Woken all at once, their tasks and their sockets would be before
//! everything else that the machine has to do. What comes for a listener before its turn goes out with its first one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::backend::notification_queue::NotificationQueue;

/// The listeners that are woken at a time, at least: their work takes a fraction of a millisecond, for which others wait.
const WOKEN_TOGETHER: usize = 32;

/// The share of many that is woken at a time, so that the last one of thousands waits a fraction of a second.
const SHARE: usize = 32;

/// The pause behind each time, in which others are served.
const PAUSE: Duration = Duration::from_millis(1);

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
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Wakes the next few; returns false if there are none.
    fn wake_some(&self) -> bool {
        let mut queues = self.queues.lock();
        let count = (queues.len() / SHARE).max(WOKEN_TOGETHER).min(queues.len());
        queues.drain(..count).for_each(|queue| queue.wake());
        count > 0
    }

    /// Wakes all, as nobody polls [`Sleepers::wake`] any more.
    pub(super) fn wake_all(&self) {
        self.queues.lock().drain(..).for_each(|queue| queue.wake());
    }
}
