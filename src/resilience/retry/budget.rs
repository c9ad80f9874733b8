//! The retry budget of a database: a token bucket, so that retries never multiply the load on a database in
//! trouble.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Tokens at first: a server that has just started may retry, too.
const RESERVE: f64 = 10.0;

/// Tokens at most: calm hours save nothing up for an outage.
const CAPACITY: f64 = 100.0;

/// Tokens: each call adds a share of one, each retry takes one.
#[derive(Debug)]
pub(crate) struct Budget {
    share: f64,
    /// The tokens, as the bits of an `f64`: no lock, whatever the number of threads.
    tokens: AtomicU64,
}

impl Budget {
    /// A budget of `share` retries for each call; with 0 there are none at all.
    pub(crate) fn new(share: f64) -> Self {
        let reserve = if share > 0.0 { RESERVE } else { 0.0 };
        Self { share, tokens: AtomicU64::new(reserve.to_bits()) }
    }

    /// Counts a call.
    pub(crate) fn add(&self) {
        // A full bucket, as it is nearly always, is only read: workers share its cache line.
        self.change(|tokens| (tokens < CAPACITY).then(|| (tokens + self.share).min(CAPACITY)));
    }

    /// Takes a token for a retry; returns false if there is none.
    pub(crate) fn take(&self) -> bool {
        self.change(|tokens| (tokens >= 1.0).then_some(tokens - 1.0))
    }

    fn change(&self, change: impl Fn(f64) -> Option<f64>) -> bool {
        let change = |bits| change(f64::from_bits(bits)).map(f64::to_bits);
        self.tokens.fetch_update(Relaxed, Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_budget_pays_for_its_reserve_alone() {
        let budget = Budget::new(0.1);
        let paid = (0..100).filter(|_| budget.take()).count();
        assert_eq!(paid, 10);
    }

    #[test]
    fn in_the_long_run_retries_are_a_tenth_of_the_calls_at_most() {
        let budget = Budget::new(0.1);
        let mut paid = 0;
        for _ in 0..100_000 {
            budget.add();
            // Each call fails and wants two more attempts.
            paid += usize::from(budget.take()) + usize::from(budget.take());
        }
        assert!((9_990..=10_010).contains(&paid), "{paid}");
    }

    #[test]
    fn many_threads_get_no_more_than_one() {
        let budget = Budget::new(0.1);
        let work = || {
            (0..20_000).map(|_| {
                budget.add();
                usize::from(budget.take())
            })
        };
        let paid: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| work().sum::<usize>())).collect();
            threads.into_iter().map(|thread| thread.join().expect("it counts")).sum()
        });
        assert!((7_900..=8_010).contains(&paid), "{paid}");
    }

    #[test]
    fn calm_saves_up_no_more_than_the_capacity() {
        let budget = Budget::new(1.0);
        (0..10_000).for_each(|_| budget.add());
        assert_eq!((0..10_000).filter(|_| budget.take()).count(), 100);
    }

    #[test]
    fn a_budget_of_nothing_pays_for_nothing() {
        let budget = Budget::new(0.0);
        (0..10_000).for_each(|_| budget.add());
        assert!(!budget.take());
    }
}
