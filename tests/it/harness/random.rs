//! Chance that can be repeated, and numbers that are not.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// Returns a number that no other test draws: of the operating system's, while fastrand seeds itself by the time, and two
/// tests that start in one instant draw the same.
pub(crate) fn unique_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A generator that needs no seed from outside: a failure can be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let bound = u64::try_from(from.len()).expect("it is small");
        from[usize::try_from(self.below(bound)).expect("it is small")]
    }
}
