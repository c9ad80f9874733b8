//! Waiting for an event, with a deadline: the one place in the tests where time passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `look` sees something; fails the test after `within`.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    let Some(seen) = seen_within(within, look) else { panic!("{what}: not within {within:?}") };
    seen
}

/// Waits until `look` sees something; `None` after `within`.
pub(crate) fn seen_within<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let seen = look();
        if seen.is_some() || start.elapsed() >= within {
            return seen;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// As [`eventually`], where looking is itself a call.
pub(crate) async fn eventually_async<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lets time pass where time itself is what is tested: a reader that does not read, say.
pub(crate) async fn idle_for(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Watches how late this machine wakes whoever asked to be woken: what is measured beside it is late by as
/// much, and is not to blame.
pub(crate) struct Stutter {
    worst: Arc<AtomicU64>,
    watcher: Arc<()>,
}

impl Stutter {
    /// Watches until it is dropped.
    pub(crate) fn watch() -> Self {
        let (worst, watcher) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
        let (seen, watched) = (Arc::clone(&worst), Arc::downgrade(&watcher));
        std::thread::spawn(move || {
            while watched.strong_count() > 0 {
                let start = Instant::now();
                std::thread::park_timeout(PAUSE);
                let late = start.elapsed().saturating_sub(PAUSE);
                seen.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Relaxed);
            }
        });
        Self { worst, watcher }
    }

    /// The time that may be added to a limit: several processes take part in a call, each woken so late.
    pub(crate) fn allowance(&self) -> Duration {
        debug_assert!(Arc::strong_count(&self.watcher) > 0, "it is watched");
        4 * Duration::from_micros(self.worst.load(Relaxed))
    }
}

/// Time that is measured while this machine is watched.
pub(crate) struct Stopwatch {
    start: Instant,
    stutter: Stutter,
}

impl Stopwatch {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), stutter: Stutter::watch() }
    }

    /// The time since then.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Fails the test if more time has passed than `most` and what this machine was itself late by.
    #[track_caller]
    pub(crate) fn assert_within(&self, most: Duration, what: &str) {
        let (took, late) = (self.elapsed(), self.stutter.allowance());
        assert!(took < most + late, "{what}: it took {took:?}; the machine was late by {late:?}");
    }
}
