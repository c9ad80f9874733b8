//! The listeners of a database and their channels: who gets a notification, and who waits for the server.
//!
//! Knows no connection. Everything happens under one lock, so that a listener that was told that it listens misses nothing
//! that is delivered afterwards, and gets nothing before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::sleepers::Sleepers;
use crate::backend::notification_queue::{
    ListenCounts, ListenEvent, Notification, NotificationQueue, Pushed, QueueBound, Subscription,
};
use crate::backend::postgres::protocol::notifications::NotificationSink;
use crate::clock::now;
use crate::config::ListenSettings;
use crate::error::{Error, ErrorKind, Result};

/// The time by which a gap begins before the last sign of life: what the server was about to send then is in it.
const MARGIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct ListenHub {
    pub(super) database: String,
    pub(super) settings: ListenSettings,
    state: Mutex<HubState>,
    /// Notified when channels were added or removed, and when the hub was closed.
    pub(super) changed: Notify,
    /// Those that have notifications and were not woken for them yet.
    pub(super) sleepers: Sleepers,
    /// The last sign of life of the connection.
    heard: Mutex<Instant>,
    notifications: AtomicU64,
    gaps: AtomicU64,
    too_slow: AtomicU64,
}

#[derive(Debug, Default)]
struct HubState {
    channels: HashMap<Arc<str>, Channel>,
    /// Those that are not live: until the server has confirmed all of their channels.
    waiting: Vec<Arc<Listener>>,
    listeners: usize,
    /// True while the task runs that listens for them.
    is_running: bool,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Channel {
    listeners: Vec<Arc<Listener>>,
    /// True if the present connection listens to it.
    is_confirmed: bool,
}

#[derive(Debug)]
struct Listener {
    channels: Vec<Arc<str>>,
    queue: Arc<NotificationQueue>,
    /// Changed under the lock of the hub alone.
    phase: Mutex<Phase>,
}

/// The phase of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It was not told yet that it listens.
    Starting,
    Live,
    /// The connection was lost, and what came since this moment may be missing.
    Lost(SystemTime),
    /// It has left, or was ended.
    Gone,
}

/// The channels that the connection must be told of.
#[derive(Debug, Default)]
pub(super) struct ChannelChanges {
    pub(super) listen: Vec<Arc<str>>,
    pub(super) unlisten: Vec<Arc<str>>,
}

/// The place of a listener that joins.
pub(super) struct Joined {
    pub(super) subscription: Subscription,
    /// True for the first one: its caller starts the task that listens.
    pub(super) starts_task: bool,
}

impl ListenHub {
    pub(super) fn new(database: &str, settings: ListenSettings) -> Self {
        Self {
            database: database.to_owned(),
            settings,
            state: Mutex::default(),
            changed: Notify::new(),
            sleepers: Sleepers::default(),
            heard: Mutex::new(now()),
            notifications: AtomicU64::default(),
            gaps: AtomicU64::default(),
            too_slow: AtomicU64::default(),
        }
    }

    /// Adds a listener of channels, which are distinct.
    pub(super) fn join(self: &Arc<Self>, channels: Vec<Arc<str>>) -> Result<Joined> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(self.shutting_down());
        }
        if state.listeners >= self.settings.max_listeners {
            return Err(self.too_many());
        }
        let queue = Arc::new(NotificationQueue::new(&self.settings));
        let listener = Arc::new(Listener {
            channels,
            queue: Arc::clone(&queue),
            phase: Mutex::new(Phase::Starting),
        });
        for name in &listener.channels {
            let channel = state.channels.entry(Arc::clone(name)).or_default();
            channel.listeners.push(Arc::clone(&listener));
        }
        state.listeners += 1;
        state.waiting.push(Arc::clone(&listener));
        self.promote(&mut state);
        let starts_task = !std::mem::replace(&mut state.is_running, true);
        drop(state);
        self.changed.notify_one();
        let hub = Arc::clone(self);
        let subscription = Subscription::new(queue, move || hub.leave(&listener));
        Ok(Joined { subscription, starts_task })
    }

    fn leave(&self, listener: &Arc<Listener>) {
        remove(&mut self.state.lock(), listener);
        self.changed.notify_one();
    }

    /// Tells the listeners whose channels are all confirmed that they listen, or that they listen again.
    fn promote(&self, state: &mut HubState) {
        let HubState { channels, waiting, .. } = state;
        let is_confirmed =
            |name: &Arc<str>| channels.get(name).is_some_and(|channel| channel.is_confirmed);
        waiting.retain(|listener| {
            if !listener.channels.iter().all(is_confirmed) {
                return true;
            }
            let event = match std::mem::replace(&mut *listener.phase.lock(), Phase::Live) {
                Phase::Lost(since) => {
                    self.gaps.fetch_add(1, Relaxed);
                    ListenEvent::Gap(since)
                }
                Phase::Starting | Phase::Live | Phase::Gone => ListenEvent::Listening,
            };
            listener.queue.push(event).expect("only notifications are bounded");
            listener.queue.wake();
            false
        });
    }

    /// The channels that the connection lacks, and those that nobody listens to any more.
    pub(super) fn changes(&self, listened: &HashSet<Arc<str>>) -> ChannelChanges {
        let mut state = self.state.lock();
        let mut listen = Vec::new();
        for (name, channel) in &mut state.channels {
            if !listened.contains(name) {
                listen.push(Arc::clone(name));
            } else if !channel.is_confirmed {
                // Its last listener has left, and another one came before the server was told.
                channel.is_confirmed = true;
            }
        }
        let is_unused = |name: &&Arc<str>| !state.channels.contains_key(*name);
        let unlisten = listened.iter().filter(is_unused).cloned().collect();
        self.promote(&mut state);
        ChannelChanges { listen, unlisten }
    }

    /// Notes that the connection listens to channels.
    pub(super) fn confirm(&self, names: &[Arc<str>]) {
        self.hear();
        let mut state = self.state.lock();
        for name in names {
            if let Some(channel) = state.channels.get_mut(name) {
                channel.is_confirmed = true;
            }
        }
        self.promote(&mut state);
    }

    /// Notes that the connection is lost: its listeners will be told of a gap.
    pub(super) fn lose(&self) -> usize {
        let alive = now().saturating_duration_since(*self.heard.lock()) + MARGIN;
        let since = SystemTime::now().checked_sub(alive).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut state = self.state.lock();
        let HubState { channels, waiting, .. } = &mut *state;
        let mut lost = 0;
        for channel in channels.values_mut() {
            channel.is_confirmed = false;
            for listener in &channel.listeners {
                let mut phase = listener.phase.lock();
                if *phase == Phase::Live {
                    *phase = Phase::Lost(since);
                    waiting.push(Arc::clone(listener));
                    lost += 1;
                }
            }
        }
        lost
    }

    /// Ends those that do not listen yet: the connection cannot be opened.
    pub(super) fn fail_starting(&self, error: &Error) {
        let is_starting = |listener: &Listener| *listener.phase.lock() == Phase::Starting;
        self.end_waiting(is_starting, error);
    }

    /// Ends those that wait for a channel that the server refuses.
    pub(super) fn fail_channel(&self, name: &Arc<str>, error: &Error) {
        self.end_waiting(|listener| listener.channels.contains(name), error);
    }

    fn end_waiting(&self, is_meant: impl Fn(&Listener) -> bool, error: &Error) {
        let mut state = self.state.lock();
        let meant: Vec<_> =
            state.waiting.iter().filter(|listener| is_meant(listener)).cloned().collect();
        for listener in meant {
            listener.queue.end(copy(error));
            remove(&mut state, &listener);
        }
    }

    /// Returns true if nobody listens.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().listeners == 0
    }

    /// Ends the task that listens if nobody does; returns true if it is to end.
    pub(super) fn stop_if_idle(&self) -> bool {
        let mut state = self.state.lock();
        let stops = state.listeners == 0;
        state.is_running &= !stops;
        stops
    }

    /// Ends all listeners, and takes no more.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.end_all(&mut self.state.lock(), &self.shutting_down());
        self.changed.notify_one();
    }

    /// Ends all listeners: the task that listens has ended without them.
    pub(super) fn task_failed(&self) {
        let message = "the task that listens to the database has failed";
        // Under one lock: a listener that joins behind it starts a task.
        let mut state = self.state.lock();
        self.end_all(&mut state, &Error::new(ErrorKind::Internal, message));
        state.is_running = false;
    }

    fn end_all(&self, state: &mut HubState, error: &Error) {
        let all: Vec<_> =
            state.channels.values().flat_map(|channel| &channel.listeners).cloned().collect();
        for listener in all {
            // One of several channels is among them several times.
            if *listener.phase.lock() != Phase::Gone {
                listener.queue.end(copy(error));
                remove(state, &listener);
            }
        }
    }

    /// Notes a sign of life of the connection.
    pub(super) fn hear(&self) {
        *self.heard.lock() = now();
    }

    /// The time since the last sign of life.
    pub(super) fn silence(&self) -> Duration {
        now().saturating_duration_since(*self.heard.lock())
    }

    pub(super) fn counts(&self) -> ListenCounts {
        let state = self.state.lock();
        ListenCounts {
            listeners: state.listeners,
            channels: state.channels.len(),
            notifications: self.notifications.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            too_slow: self.too_slow.load(Relaxed),
        }
    }

    fn end_too_slow(&self, state: &mut HubState, listener: &Arc<Listener>, bound: QueueBound) {
        self.too_slow.fetch_add(1, Relaxed);
        let ListenSettings { queue, queue_size, .. } = self.settings;
        let (key, waits) = match bound {
            QueueBound::Notifications => ("queue", format!("{queue} notifications")),
            QueueBound::Bytes => ("queue_size", format!("{queue_size} bytes of notifications")),
        };
        let message = format!("the listener is too slow: {waits} wait for it already");
        let database = &self.database;
        let hint = format!(
            "Read faster, or raise databases.{database}.listen.{key}. What was missed is not known: read the state after \
             listening again."
        );
        listener.queue.end(Error::new(ErrorKind::ListenerTooSlow, message).with_hint(hint));
        remove(state, listener);
    }

    fn too_many(&self) -> Error {
        let Self { database, settings, .. } = self;
        let most = settings.max_listeners;
        let message = format!("database \"{database}\" has {most} listeners, and takes no more");
        let hint = format!("Raise databases.{database}.listen.max_listeners.");
        let error = Error::new(ErrorKind::ResourceExhausted, message).with_hint(hint);
        error.with_condition("TOO_MANY_LISTENERS")
    }

    fn shutting_down(&self) -> Error {
        let message = format!("database \"{}\" is shutting down", self.database);
        Error::new(ErrorKind::ShuttingDown, message)
    }
}

impl NotificationSink for ListenHub {
    fn notify(&self, notification: &tokio_postgres::Notification) -> usize {
        self.hear();
        self.notifications.fetch_add(1, Relaxed);
        let mut state = self.state.lock();
        let Some((name, channel)) = state.channels.get_key_value(notification.channel()) else {
            return 0;
        };
        let event = ListenEvent::Notification(Arc::new(Notification {
            channel: Arc::clone(name),
            payload: notification.payload().into(),
            process_id: notification.process_id(),
        }));
        let delivered = channel.listeners.len();
        let mut slow = Vec::new();
        for listener in &channel.listeners {
            if *listener.phase.lock() != Phase::Live {
                continue;
            }
            match listener.queue.push(event.clone()) {
                Ok(Pushed::First) => self.sleepers.add(&listener.queue),
                Ok(Pushed::Behind) => {}
                Err(bound) => slow.push((Arc::clone(listener), bound)),
            }
        }
        for (listener, bound) in slow {
            self.end_too_slow(&mut state, &listener, bound);
        }
        delivered
    }
}

/// Removes a listener, unless it is gone.
fn remove(state: &mut HubState, listener: &Arc<Listener>) {
    if std::mem::replace(&mut *listener.phase.lock(), Phase::Gone) == Phase::Gone {
        return;
    }
    state.listeners -= 1;
    state.waiting.retain(|other| !Arc::ptr_eq(other, listener));
    for name in &listener.channels {
        let Some(channel) = state.channels.get_mut(name) else { continue };
        channel.listeners.retain(|other| !Arc::ptr_eq(other, listener));
        if channel.listeners.is_empty() {
            state.channels.remove(name);
        }
    }
}

/// The same error for one more listener.
fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message().to_owned()).with_cause(error.cause());
    if let Some(hint) = error.hint() {
        copy = copy.with_hint(hint.to_owned());
    }
    if let Some(report) = error.report() {
        copy = copy.with_report(report.clone());
    }
    if error.reason() != error.kind().reason() {
        copy = copy.with_condition(error.reason().to_owned());
    }
    match error.retry_after() {
        Some(pause) => copy.with_retry_after(pause),
        None => copy,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::config;

    fn hub(settings: &[(&str, &str)]) -> Arc<ListenHub> {
        let url = ("databases.main.url", "postgres://me@h/d");
        let config = config::load_from(&[&[url], settings].concat()).expect("it is right");
        Arc::new(ListenHub::new("main", config.databases["main"].listen))
    }

    fn join(hub: &Arc<ListenHub>, channels: &[&str]) -> Subscription {
        let channels = channels.iter().map(|name| Arc::from(*name)).collect();
        hub.join(channels).expect("there is room").subscription
    }

    fn confirm(hub: &ListenHub, channels: &[&str]) {
        let names: Vec<Arc<str>> = channels.iter().map(|name| Arc::from(*name)).collect();
        hub.confirm(&names);
    }

    fn next(listener: &mut Subscription) -> Option<Result<ListenEvent>> {
        listener.next().now_or_never()
    }

    fn event(listener: &mut Subscription) -> ListenEvent {
        next(listener).expect("it waits").expect("it is an event")
    }

    #[test]
    fn a_listener_is_told_once_all_of_its_channels_are_confirmed() {
        let hub = hub(&[]);
        let mut both = join(&hub, &["a", "b"]);
        let mut one = join(&hub, &["a"]);
        confirm(&hub, &["a"]);
        assert_eq!(event(&mut one), ListenEvent::Listening);
        assert!(next(&mut both).is_none());
        confirm(&hub, &["b"]);
        assert_eq!(event(&mut both), ListenEvent::Listening);
        let mut late = join(&hub, &["b", "a"]);
        assert_eq!(event(&mut late), ListenEvent::Listening, "the server listens already");
    }

    #[test]
    fn channels_are_counted_by_their_listeners() {
        let hub = hub(&[]);
        let [one, other] = [join(&hub, &["a"]), join(&hub, &["a", "b"])];
        let listened = HashSet::from(["a", "b"].map(Arc::from));
        assert!(hub.changes(&listened).unlisten.is_empty());
        drop(other);
        assert_eq!(hub.changes(&listened).unlisten, [Arc::from("b")]);
        drop(one);
        assert_eq!((hub.counts().listeners, hub.counts().channels), (0, 0));
        assert_eq!(hub.changes(&listened).unlisten.len(), 2);
        // One that comes before the server was told is told at once.
        let mut again = join(&hub, &["a"]);
        let changes = hub.changes(&listened);
        assert!(changes.listen.is_empty() && changes.unlisten == [Arc::from("b")]);
        assert_eq!(event(&mut again), ListenEvent::Listening);
    }

    #[test]
    fn a_loss_is_told_once_to_those_that_listened() {
        let hub = hub(&[]);
        let mut live = join(&hub, &["a", "b"]);
        confirm(&hub, &["a", "b"]);
        let mut starting = join(&hub, &["c"]);
        assert_eq!(event(&mut live), ListenEvent::Listening);
        assert_eq!((hub.lose(), hub.lose()), (1, 0));
        hub.fail_starting(&Error::new(ErrorKind::DatabaseUnavailable, "unreachable"));
        let error = next(&mut starting).expect("it has ended").expect_err("it never listened");
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
        assert!(next(&mut live).is_none(), "it waits for the server");
        confirm(&hub, &["a", "b"]);
        assert!(matches!(event(&mut live), ListenEvent::Gap(since) if since < SystemTime::now()));
        assert!(next(&mut live).is_none());
        assert_eq!((hub.counts().listeners, hub.counts().gaps), (1, 1));
    }

    #[test]
    fn a_channel_that_is_refused_ends_its_listeners_and_no_others() {
        let hub = hub(&[]);
        let mut refused = join(&hub, &["a", "b"]);
        let mut other = join(&hub, &["a"]);
        hub.fail_channel(&"b".into(), &Error::new(ErrorKind::InvalidStatement, "no"));
        assert!(next(&mut refused).expect("it has ended").is_err());
        confirm(&hub, &["a"]);
        assert_eq!(event(&mut other), ListenEvent::Listening);
    }

    #[test]
    fn the_listeners_are_bounded_and_end_with_the_server() {
        let hub = hub(&[("databases.main.listen.max_listeners", "1")]);
        let mut one = join(&hub, &["a"]);
        let error = hub.join(vec!["a".into()]).map(|_| ()).expect_err("there is one");
        assert_eq!(error.reason(), "TOO_MANY_LISTENERS");
        assert!(error.hint().is_some_and(|hint| hint.contains("main.listen.max_listeners")));
        hub.close();
        let error = next(&mut one).expect("it has ended").expect_err("with an error");
        assert_eq!(error.kind(), ErrorKind::ShuttingDown);
        assert!(hub.stop_if_idle());
        let error = hub.join(vec!["a".into()]).map(|_| ()).expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::ShuttingDown);
    }
}
