//! How long a permit is held, measured.

use std::time::Duration;

/// How long permits are held: an exponentially weighted mean.
#[derive(Debug, Default)]
pub(crate) struct HoldTime {
    mean: Duration,
    measured: u32,
}

impl HoldTime {
    /// The share of the newest measurement in the mean, as its inverse.
    const INERTIA: u32 = 16;
    /// Fewer measurements than this are a guess, and nobody is sent away on a guess.
    const ENOUGH: u32 = 8;

    pub(crate) fn measure(&mut self, held: Duration) {
        // The first few count equally, so that the very first does not linger.
        self.measured = (self.measured + 1).min(Self::INERTIA);
        self.mean = (self.mean * (self.measured - 1) + held) / self.measured;
    }

    /// Returns the mean as far as it is known, and something to begin with before.
    pub(crate) fn guess(&self) -> Duration {
        if self.measured == 0 { Duration::from_secs(1) } else { self.mean }
    }

    /// Returns the mean, or `None` while too little is known.
    pub(crate) fn mean(&self) -> Option<Duration> {
        (self.measured >= Self::ENOUGH).then_some(self.mean)
    }
}
