//! Waiting for an event, with a deadline: the one place in the tests where time passes.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `look` sees something; fails the test after `within`.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < within, "{what}: not within {within:?}");
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
