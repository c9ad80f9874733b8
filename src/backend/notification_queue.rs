//! The queue of one listener's notifications, bounded by their number and by their bytes.
//!
//! The listeners of one channel share each notification. Whoever fills the queues never waits: a listener that is too
//! slow is ended, and its queue emptied.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::ListenSettings;
use crate::error::{Error, ErrorKind, Result};

/// A notification, as the database has sent it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) channel: Arc<str>,
    pub(crate) payload: Box<str>,
    /// The process of the session that has sent it.
    pub(crate) process_id: i32,
}

/// An event for one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenEvent {
    /// The database has confirmed all channels.
    Listening,
    Notification(Arc<Notification>),
    /// It listens again: what was committed since this moment may be missing.
    Gap(SystemTime),
}

/// The counts of the listeners of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ListenCounts {
    pub(crate) listeners: usize,
    pub(crate) channels: usize,
    /// Notifications that were received, since the start.
    pub(crate) notifications: u64,
    /// Gaps that listeners were told of, since the start.
    pub(crate) gaps: u64,
    /// Listeners that were ended because they were too slow, since the start.
    pub(crate) too_slow: u64,
}

/// The bound of a queue that an event would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueBound {
    /// `listen.queue`
    Notifications,
    /// `listen.queue_size`
    Bytes,
}

/// The place of an event in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The listener must be woken for it.
    First,
    Behind,
}

#[derive(Debug)]
pub(crate) struct NotificationQueue {
    max_events: usize,
    max_bytes: usize,
    state: Mutex<QueueState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<ListenEvent>,
    bytes: usize,
    /// The error behind the last event.
    end: Option<Error>,
}

impl NotificationQueue {
    pub(crate) fn new(settings: &ListenSettings) -> Self {
        Self {
            max_events: settings.queue,
            max_bytes: settings.queue_size,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Adds an event, unless a bound is reached; never waits. A listener that was not woken yet although half of its queue
    /// is full is woken here.
    pub(crate) fn push(&self, event: ListenEvent) -> Result<Pushed, QueueBound> {
        let mut state = self.state.lock();
        if let (ListenEvent::Gap(_), Some(ListenEvent::Gap(_))) = (&event, state.events.back()) {
            // The earlier one covers this one, too.
            return Ok(Pushed::Behind);
        }
        let bytes = state.bytes + size(&event);
        if matches!(event, ListenEvent::Notification(_)) {
            if state.events.len() >= self.max_events {
                return Err(QueueBound::Notifications);
            }
            if bytes > self.max_bytes {
                return Err(QueueBound::Bytes);
            }
        }
        state.bytes = bytes;
        let was_empty = state.events.is_empty();
        state.events.push_back(event);
        if state.events.len() > self.max_events / 2 || bytes > self.max_bytes / 2 {
            self.wake();
        }
        Ok(if was_empty { Pushed::First } else { Pushed::Behind })
    }

    /// Wakes the listener.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Throws away what waits, and ends the queue with an error.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.state.lock();
        state.events = VecDeque::new();
        state.bytes = 0;
        state.end = Some(error);
        drop(state);
        self.wake();
    }

    /// Waits for the next event, or for the error that ends the queue. Only one may wait.
    ///
    /// # Cancel safety
    /// May be dropped at any await: no event is lost.
    async fn next(&self) -> Result<ListenEvent> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(event) = state.events.pop_front() {
                    state.bytes -= size(&event);
                    return Ok(event);
                }
                if let Some(error) = state.end.take() {
                    return Err(error);
                }
            }
            self.changed.notified().await;
        }
    }
}

/// The error of a kind of database that has no notifications.
pub(super) fn cannot_listen(kind: &str) -> Error {
    let message = format!("a database of the kind {kind} has no notifications to listen to");
    let hint = "Read what is new from a table at intervals, by a column that grows, or keep what is to be \
        listened to in PostgreSQL.";
    Error::new(ErrorKind::Unsupported, message).with_hint(hint)
}

/// The bytes of an event's texts.
fn size(event: &ListenEvent) -> usize {
    match event {
        ListenEvent::Notification(one) => one.channel.len() + one.payload.len(),
        ListenEvent::Listening | ListenEvent::Gap(_) => 0,
    }
}

/// A listener of channels; dropped, it leaves them.
pub(crate) struct Subscription {
    queue: Arc<NotificationQueue>,
    /// Called once, when it is dropped.
    leave: Option<Box<dyn FnOnce() + Send>>,
}

impl Subscription {
    pub(crate) fn new(
        queue: Arc<NotificationQueue>,
        leave: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self { queue, leave: Some(Box::new(leave)) }
    }

    /// Waits for the next event, or for the error that ends the listener.
    ///
    /// # Cancel safety
    /// May be dropped at any await: no event is lost.
    pub(crate) async fn next(&mut self) -> Result<ListenEvent> {
        self.queue.next().await
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn queue(events: usize, bytes: usize) -> NotificationQueue {
        NotificationQueue {
            max_events: events,
            max_bytes: bytes,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn notification(payload: &str) -> ListenEvent {
        let channel = "c".into();
        let one = Notification { channel, payload: payload.into(), process_id: 1 };
        ListenEvent::Notification(Arc::new(one))
    }

    fn next(queue: &NotificationQueue) -> Option<Result<ListenEvent>> {
        queue.next().now_or_never()
    }

    #[test]
    fn events_come_in_order_and_then_the_end() {
        let queue = queue(10, 100);
        assert!(next(&queue).is_none(), "nothing waits");
        for event in [ListenEvent::Listening, notification("1"), notification("2")] {
            queue.push(event).expect("it fits");
        }
        for expected in [ListenEvent::Listening, notification("1"), notification("2")] {
            assert_eq!(next(&queue).expect("it waits").expect("it is an event"), expected);
        }
        queue.push(notification("3")).expect("it fits");
        queue.end(Error::new(ErrorKind::ListenerTooSlow, "slow"));
        let error = next(&queue).expect("it has ended").expect_err("what waited is thrown away");
        assert_eq!(error.kind(), ErrorKind::ListenerTooSlow);
    }

    #[test]
    fn both_bounds_hold_and_what_is_taken_makes_room() {
        let few = queue(2, 100);
        let small = queue(10, 5);
        for queue in [&few, &small] {
            queue.push(notification("a")).expect("it fits");
            queue.push(notification("b")).expect("it fits");
        }
        assert_eq!(few.push(notification("c")), Err(QueueBound::Notifications));
        assert_eq!(small.push(notification("c")), Err(QueueBound::Bytes));
        for queue in [&few, &small] {
            queue.push(ListenEvent::Gap(SystemTime::now())).expect("a gap is always told");
            drop(next(queue));
            drop(next(queue));
            queue.push(notification("c")).expect("there is room again");
        }
    }

    #[test]
    fn gaps_in_a_row_are_the_first_one() {
        let queue = queue(1, 1);
        let first = SystemTime::now();
        for later in 0..1000 {
            queue.push(ListenEvent::Gap(first + Duration::from_secs(later))).expect("it is told");
        }
        let told = next(&queue).expect("it waits").expect("it is an event");
        assert_eq!(told, ListenEvent::Gap(first));
        assert!(next(&queue).is_none());
    }
}
