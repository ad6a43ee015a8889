//! How long a permit is held, measured.

use std::time::Duration;

use tokio::time::Instant;

/// How long permits are held: an exponentially weighted mean.
#[derive(Debug, Default)]
pub(crate) struct HoldTime {
    mean: Duration,
    measured: u32,
    last: Option<Instant>,
}

impl HoldTime {
    /// The share of the newest measurement in the mean, as its inverse.
    const INERTIA: u32 = 16;
    /// Fewer measurements than this are a guess, and nobody is sent away on a guess.
    const ENOUGH: u32 = 8;
    /// What was measured longer ago says little about now, if nothing was since.
    const STALE: Duration = Duration::from_secs(60);

    /// Takes in that a permit was held from `granted` until `now`.
    pub(crate) fn measure(&mut self, granted: Instant, now: Instant) {
        if !self.is_recent(granted) {
            self.measured = 0;
        }
        self.last = Some(now);
        let held = now.saturating_duration_since(granted);
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

    /// Whether anything was measured shortly before `now`.
    pub(crate) fn is_recent(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now < last + Self::STALE)
    }
}
