//! How long to wait before another attempt: exponential, with full jitter, capped.

use std::time::Duration;

/// A series of pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The longest first pause; it doubles from there.
    pub(crate) initial: Duration,
    /// The longest pause of all.
    pub(crate) max: Duration,
}

impl Backoff {
    /// The longest pause after `earlier` pauses.
    fn ceiling(self, earlier: u32) -> Duration {
        // 2^31 times anything is more than any pause that can be configured.
        self.initial.saturating_mul(1 << earlier.min(31)).min(self.max)
    }

    /// The pause after `earlier` pauses: the share `random`, from 0 up to 1, of the longest. Callers who
    /// failed together spread over all of it, which loads what is coming back least.
    pub(crate) fn pause(self, earlier: u32, random: f64) -> Duration {
        self.ceiling(earlier).mul_f64(random)
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
            let pause = backoff.pause(earlier, random);
            prop_assert!(pause <= backoff.max);
            prop_assert!(pause <= backoff.ceiling(earlier));
            prop_assert!(backoff.ceiling(earlier) <= backoff.ceiling(earlier.saturating_add(1)));
        }

        #[test]
        fn the_jitter_uses_the_whole_span(earlier in 0u32..8) {
            let backoff =
                Backoff { initial: Duration::from_millis(10), max: Duration::from_secs(10) };
            prop_assert_eq!(backoff.pause(earlier, 0.0), Duration::ZERO);
            prop_assert!(backoff.pause(earlier, 0.999) >= backoff.ceiling(earlier).mul_f64(0.99));
        }
    }
}
