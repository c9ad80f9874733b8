//! Durations that were measured, and the worst of them.

use std::fmt;
use std::time::Duration;

use crate::harness::wait::Stutter;

/// The worst of several durations that have a limit.
#[derive(Debug)]
pub(super) struct Worst {
    what: &'static str,
    limit: Duration,
    all: Vec<Duration>,
}

impl Worst {
    /// Nothing was measured yet.
    pub(super) fn new(what: &'static str, limit: Duration) -> Self {
        Self { what, limit, all: Vec::new() }
    }

    /// Takes a duration; fails the row when it is over the limit by more than this machine is late.
    pub(super) fn take(&mut self, took: Duration, stutter: &Stutter) {
        let (limit, allowance) = (self.limit, stutter.allowance());
        let what = self.what;
        assert!(took <= limit + allowance, "{what} {took:?} of {limit:?} + {allowance:?}");
        self.all.push(took);
    }

    /// Takes a duration that has its check elsewhere.
    pub(super) fn note(&mut self, took: Duration) {
        self.all.push(took);
    }

    /// The number of durations.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The 99th percentile.
    pub(super) fn p99(&self) -> Duration {
        let mut all = self.all.clone();
        all.sort_unstable();
        all.get(all.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, limit, all } = self;
        let worst = all.iter().max().copied().unwrap_or_default();
        write!(f, "{what} {:.3} s at worst (limit {} s)", worst.as_secs_f64(), limit.as_secs_f64())
    }
}
