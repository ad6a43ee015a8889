//! Who used the limit, and for how long a request usually does.

use std::time::Duration;

use tokio::time::Instant;

/// One app's use of one pool.
#[derive(Debug)]
pub(crate) struct Usage {
    in_use: u32,
    held: Duration,
    counted_until: Instant,
    pub(crate) kept_bytes: u64,
}

impl Usage {
    pub(crate) fn new(now: Instant) -> Self {
        Self { in_use: 0, held: Duration::ZERO, counted_until: now, kept_bytes: 0 }
    }

    pub(crate) fn take(&mut self, now: Instant) {
        self.count(now);
        self.in_use += 1;
    }

    pub(crate) fn give_back(&mut self, now: Instant) {
        self.count(now);
        self.in_use -= 1;
    }

    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Returns the time that permits were held, those still out included. Never falls.
    pub(crate) fn held(&self, now: Instant) -> Duration {
        self.held + now.saturating_duration_since(self.counted_until) * self.in_use
    }

    fn count(&mut self, now: Instant) {
        self.held = self.held(now);
        self.counted_until = self.counted_until.max(now);
    }
}

/// How long permits of a pool are held, measured: an exponentially weighted mean.
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

    /// Returns the mean, or `None` while too little is known.
    pub(crate) fn mean(&self) -> Option<Duration> {
        (self.measured >= Self::ENOUGH).then_some(self.mean)
    }
}
