//! The rate limit of log lines of one kind, and the number of those that it suppresses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The lines of one kind within [`WINDOW`].
const LINES: u64 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// The kind of a line, each part of a finite set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LineKind {
    pub(crate) method: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) database: Option<Arc<str>>,
}

#[derive(Debug, Default)]
pub(crate) struct LogRateLimit(Mutex<HashMap<LineKind, LineCount>>);

#[derive(Debug)]
struct LineCount {
    since: Instant,
    written: u64,
    suppressed: u64,
}

impl LogRateLimit {
    /// Returns the number of lines suppressed since the last one, if a line may be written now.
    pub(crate) fn admit(&self, kind: LineKind, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock();
        let count =
            kinds.entry(kind).or_insert(LineCount { since: now, written: 0, suppressed: 0 });
        if now.saturating_duration_since(count.since) >= WINDOW {
            count.since = now;
            count.written = 0;
        }
        if count.written >= LINES {
            count.suppressed += 1;
            return None;
        }
        count.written += 1;
        Some(std::mem::take(&mut count.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_kind_are_limited_and_the_next_counts_the_suppressed() {
        let log_rate_limit = LogRateLimit::default();
        let start = Instant::now();
        let admit = |reason, after| {
            let kind = LineKind { method: "Query", reason, database: None };
            log_rate_limit.admit(kind, start + after)
        };
        for _ in 0..LINES {
            assert_eq!(admit("DEADLINE", Duration::ZERO), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(admit("DEADLINE", WINDOW / 2), None);
        }
        assert_eq!(admit("INTERNAL", WINDOW / 2), Some(0), "another kind has lines of its own");
        assert_eq!(admit("DEADLINE", WINDOW), Some(7));
        assert_eq!(admit("DEADLINE", WINDOW), Some(0));
    }
}
