//! A little time added to a moment that many wait for, so that they do not all go at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The most that is added: enough to part a herd, too little to matter after a cooldown.
pub(crate) const MAX_JITTER: Duration = Duration::from_secs(1);

/// Adds up to a tenth of the wait, never more than [`MAX_JITTER`], and never takes any away.
///
/// A generator of its own (SplitMix64) rather than a dependency: spreading needs no more, and a
/// simulation can replay it.
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn from_entropy() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    #[cfg(test)]
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns what to add to a wait.
    pub(crate) fn on(&mut self, wait: Duration) -> Duration {
        let most = (wait / 10).min(MAX_JITTER);
        let share = self.next() >> 32;
        most.mul_f64(share as f64 / f64::from(u32::MAX))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
