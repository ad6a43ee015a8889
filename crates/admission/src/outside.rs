//! How many permits others take, worked out from what Zuora says remains.
//!
//! What Zuora says is a snapshot, up to about a second old (Zuora: rate limits guide), and what it
//! counts includes our own requests of that moment. So our own are taken at their highest of the last
//! seconds, which errs towards too little outside use: a refusal corrects that, while nothing would
//! correct permits that are left idle.

use std::time::Duration;

use tokio::time::Instant;

/// How many seconds are looked back upon.
const SECONDS: usize = 10;
/// The last seconds, full and begun, within which a snapshot that arrives now was taken.
const RECENT: usize = 3;
/// Others take turns as we do, and at the moment of a snapshot one of them may be between two
/// requests. So little less is believed only after all of [`SECONDS`].
const FLUTTER: u32 = 2;
/// Without an answer for so long nothing is known any more.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Permits that others take: what Zuora does not count as free, and is not ours.
#[derive(Debug)]
pub(crate) struct Outside {
    epoch: Instant,
    ours: Highest,
    theirs: Highest,
    estimate: u32,
    heard: Option<Instant>,
}

/// The highest of a figure in each of the last seconds.
#[derive(Debug, Default)]
struct Highest {
    second: u64,
    values: [u32; SECONDS],
}

impl Outside {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            ours: Highest::default(),
            theirs: Highest::default(),
            estimate: 0,
            heard: None,
        }
    }

    /// Notes that so many of our own permits are out, from `now` until told otherwise.
    pub(crate) fn ours(&mut self, in_use: u32, before: u32, now: Instant) {
        let second = self.second(now);
        self.ours.forget_until(second, before);
        self.ours.note(in_use);
    }

    /// Notes that of all our requests only so many fitted: more were out, but not at Zuora.
    pub(crate) fn fitted(&mut self, fitted: u32, now: Instant) {
        self.ours = Highest { second: self.second(now), values: [fitted; SECONDS] };
    }

    /// Takes in what an answer said of the free permits. Returns how many were taken to be ours.
    pub(crate) fn heard(&mut self, limit: u32, remaining: u32, in_use: u32, now: Instant) -> u32 {
        let second = self.second(now);
        self.ours.forget_until(second, in_use);
        let ours = self.ours.of_last(RECENT).max(in_use);
        let sample = limit.saturating_sub(remaining).saturating_sub(ours);
        self.theirs.forget_until(second, 0);
        self.theirs.note(sample);
        let (recent, all) = (self.theirs.of_last(RECENT), self.theirs.of_last(SECONDS));
        self.estimate = if recent.saturating_add(FLUTTER) < all { recent } else { all };
        self.heard = Some(now);
        ours
    }

    /// Returns how many permits others take.
    pub(crate) fn permits(&self, now: Instant) -> u32 {
        if self.is_known(now) { self.estimate } else { 0 }
    }

    /// Whether Zuora said anything lately.
    pub(crate) fn is_known(&self, now: Instant) -> bool {
        self.forgets_at().is_some_and(|at| now < at)
    }

    /// Returns when what is known is too old to go by.
    pub(crate) fn forgets_at(&self) -> Option<Instant> {
        self.heard.map(|heard| heard + FORGOTTEN)
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_secs()
    }
}

impl Highest {
    /// Begins the seconds up to `second`, in all of which the figure was `meanwhile`.
    fn forget_until(&mut self, second: u64, meanwhile: u32) {
        let passed = usize::try_from(second.saturating_sub(self.second)).unwrap_or(SECONDS);
        if passed == 0 {
            return;
        }
        self.second = second;
        let passed = passed.min(SECONDS);
        self.values.rotate_right(passed);
        self.values[..passed].fill(meanwhile);
    }

    fn note(&mut self, value: u32) {
        self.values[0] = self.values[0].max(value);
    }

    fn of_last(&self, seconds: usize) -> u32 {
        self.values[..seconds].iter().copied().max().unwrap_or(0)
    }
}
