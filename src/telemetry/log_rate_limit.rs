//! Lines that say the same again and again, and how many of them are written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lines of one kind within [`WINDOW`].
const LINES: u64 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// What lines of one kind are about: a method, a reason, a database. Each is of a finite set.
pub(crate) type Kind = (&'static str, &'static str, Option<Arc<str>>);

/// What was said lately.
#[derive(Debug, Default)]
pub(crate) struct LogRateLimit(Mutex<HashMap<Kind, Said>>);

#[derive(Debug)]
struct Said {
    since: Instant,
    lines: u64,
    unsaid: u64,
}

impl LogRateLimit {
    /// Whether a line may be written now, and how many like it were not since the last one.
    pub(crate) fn admit(&self, kind: Kind, now: Instant) -> Option<u64> {
        let mut known = self.0.lock();
        let said = known.entry(kind).or_insert(Said { since: now, lines: 0, unsaid: 0 });
        if now.saturating_duration_since(said.since) >= WINDOW {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines >= LINES {
            said.unsaid += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_kind_are_few_and_the_next_tells_how_many_were_not_written() {
        let (log_rate_limit, start) = (LogRateLimit::default(), Instant::now());
        let admit = |kind, after| log_rate_limit.admit(("Query", kind, None), start + after);
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
