//! A histogram of durations: eight buckets for each doubling, so that a percentile is at most 7 % wrong.

use std::time::Duration;

/// The buckets for each doubling, as a power of two.
const PRECISION: u32 = 3;
/// The buckets up to 2^32 µs, an hour and twelve minutes; longer durations are in the last one.
const BUCKETS: usize = 31 << PRECISION;

/// The number of durations by bucket, since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Latencies([u64; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0[bucket(duration)] += 1;
    }

    /// The duration that so many of a thousand of those since `earlier` did not exceed; `None` if there are none.
    pub(crate) fn permille_since(&self, earlier: &Self, permille: u64) -> Option<Duration> {
        let added = || self.0.iter().zip(&earlier.0).map(|(now, before)| now - before);
        let rank = (added().sum::<u64>() * permille).div_ceil(1000);
        let mut below = 0;
        let found = added().position(|count| {
            below += count;
            below >= rank
        });
        found.filter(|_| rank > 0).map(middle)
    }
}

fn bucket(duration: Duration) -> usize {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    let Some(doublings) = micros.checked_ilog2().and_then(|log| log.checked_sub(PRECISION)) else {
        return usize::try_from(micros).unwrap_or_default();
    };
    // The leading bit, which is 1, counts the doubling.
    let index = (doublings << PRECISION) + (micros >> doublings);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The middle of a bucket.
fn middle(index: usize) -> Duration {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let doublings = (index >> PRECISION).saturating_sub(1);
    let least = u64::from(index - (doublings << PRECISION)) << doublings;
    Duration::from_micros(least + (1 << doublings) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_bucket_is_near_every_duration_in_it() {
        let mut micros = 1_u64;
        while micros < u64::from(u32::MAX) {
            let found = middle(bucket(Duration::from_micros(micros)));
            let wrong = found.abs_diff(Duration::from_micros(micros));
            assert!(wrong.as_micros() * 15 <= u128::from(micros), "{micros} µs are {found:?}");
            micros += micros / 7 + 1;
        }
        for extreme in [Duration::ZERO, Duration::MAX] {
            assert!(bucket(extreme) < BUCKETS);
        }
    }

    #[test]
    fn percentiles_are_of_what_was_added_since() {
        let mut latencies = Latencies::default();
        latencies.add(Duration::from_secs(60));
        let earlier = latencies.clone();
        assert_eq!(latencies.permille_since(&earlier, 990), None);
        for number in 1..=100 {
            latencies.add(Duration::from_millis(number));
        }
        let near = |permille, millis: u64| {
            let found = latencies.permille_since(&earlier, permille).expect("some were added");
            let wrong = found.abs_diff(Duration::from_millis(millis));
            assert!(wrong <= Duration::from_millis(millis / 14), "{found:?} is not {millis} ms");
        };
        near(500, 50);
        near(990, 99);
    }
}
