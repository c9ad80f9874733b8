//! Pauses before further attempts: exponential, capped, with full jitter.

use std::time::Duration;

/// The bounds of a series of pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The longest first pause; it doubles from there.
    pub(crate) initial: Duration,
    /// The longest pause of all.
    pub(crate) max: Duration,
}

impl Backoff {
    /// The longest pause after `earlier` pauses.
    pub(crate) fn ceiling(self, earlier: u32) -> Duration {
        // 2^31 times anything is more than any pause that can be configured.
        self.initial.saturating_mul(1 << earlier.min(31)).min(self.max)
    }

    /// Starts a series of pauses.
    pub(crate) fn series(self) -> BackoffSeries {
        BackoffSeries { backoff: self, earlier: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct BackoffSeries {
    backoff: Backoff,
    earlier: u32,
}

impl BackoffSeries {
    /// Returns the next pause: the share `random`, from 0 up to 1, of the longest. Callers that failed together
    /// spread over all of it, which puts the least load on a database that is recovering.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let ceiling = self.backoff.ceiling(self.earlier);
        self.earlier = self.earlier.saturating_add(1);
        ceiling.mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_pause_doubles_up_to_the_cap() {
        let ms = Duration::from_millis;
        let backoff = Backoff { initial: ms(100), max: ms(1_000) };
        let ceilings: Vec<_> = (0..6).map(|earlier| backoff.ceiling(earlier)).collect();
        assert_eq!(ceilings, [ms(100), ms(200), ms(400), ms(800), ms(1_000), ms(1_000)]);
        assert_eq!(backoff.ceiling(u32::MAX), ms(1_000));
    }

    #[test]
    fn a_cap_below_the_first_pause_holds() {
        let backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(1) };
        assert_eq!(backoff.ceiling(0), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn a_pause_is_within_its_bounds(
            initial in 0u64..3_600_000,
            max in 0u64..3_600_000,
            earlier in any::<u32>(),
            random in 0.0..1.0f64,
        ) {
            let backoff =
                Backoff { initial: Duration::from_millis(initial), max: Duration::from_millis(max) };
            let pause = BackoffSeries { backoff, earlier }.next(random);
            prop_assert!(pause <= backoff.max);
            prop_assert!(pause <= backoff.ceiling(earlier));
            prop_assert!(backoff.ceiling(earlier) <= backoff.ceiling(earlier.saturating_add(1)));
        }

        #[test]
        fn the_jitter_uses_the_whole_span(earlier in 0u32..8) {
            let backoff =
                Backoff { initial: Duration::from_millis(10), max: Duration::from_secs(10) };
            let pause = |random| BackoffSeries { backoff, earlier }.next(random);
            prop_assert_eq!(pause(0.0), Duration::ZERO);
            prop_assert!(pause(0.999) >= backoff.ceiling(earlier).mul_f64(0.99));
        }
    }
}
