//! So many calls in a time, evenly: the generic cell rate algorithm.
//!
//! Not a library's, because a decision takes several of these together or none of them, and because a
//! limit that is changed must keep what was used of it: for both one must be able to look at a bucket
//! without taking from it.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::{AppRate, RateLimits};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The part of a window's calls that may go at once, as its inverse. What may go at once must be left
/// out of the steady pace, or a window that begins at the right moment would see too many. A minute
/// is short, and nearly all of it is for the pace. An hour's and a day's calls come in heaps, above all
/// in small sandboxes, and a quarter of them may go at once; even so half a day leaves a third of it.
const BURST_OF_MINUTE: u32 = 20;
const BURST_OF_OTHERS: u32 = 4;

/// Several paces that are kept together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    paces: Vec<Pace>,
    enforce: bool,
}

/// One pace: a call each `interval`, and some ahead of it.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The time that the limit is of, which tells it apart from others.
    span: Duration,
    interval: Duration,
    burst: u32,
    /// When the calls so far would have been due, had each kept to the interval.
    due: Option<Instant>,
}

impl Paces {
    pub(crate) fn of_tenant(limits: &RateLimits) -> Self {
        let windows = [
            (limits.per_minute, MINUTE, BURST_OF_MINUTE),
            (limits.per_hour, HOUR, BURST_OF_OTHERS),
            (limits.per_day, DAY, BURST_OF_OTHERS),
        ];
        let paces = windows
            .map(|(limit, span, part)| Some(Pace::window(limit?, span, limit?.get() / part)));
        Self { paces: paces.into_iter().flatten().collect(), enforce: limits.enforce }
    }

    pub(crate) fn of_app(rate: Option<AppRate>) -> Self {
        let pace = rate.map(|rate| Pace::bucket(rate.per_second, rate.burst));
        Self { paces: pace.into_iter().collect(), enforce: rate.is_some_and(|rate| rate.enforce) }
    }

    /// Takes over what was used of `former`, so that a changed limit is not a fresh one. A window that
    /// nobody counted before begins unused. However much less is allowed now, after the time that the
    /// limit is of nothing counts any more that went before.
    pub(crate) fn after(mut self, former: &Self, now: Instant) -> Self {
        for pace in &mut self.paces {
            let same = former.paces.iter().find(|it| it.span == pace.span);
            if let Some(same) = same {
                let most = pace.span + pace.interval * (pace.burst - 1);
                pace.due = Some(now + pace.interval.mul_f64(same.used(now)).min(most));
            }
        }
        self
    }

    /// Whether there is nothing to keep to.
    pub(crate) fn is_free(&self) -> bool {
        self.paces.is_empty()
    }

    /// Returns when a call may go that must not go at `now`.
    pub(crate) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        if self.enforce { self.behind_until(now) } else { None }
    }

    /// Whether a call that goes at `now` would have had to wait, were this enforced.
    pub(crate) fn would_block(&self, now: Instant) -> bool {
        !self.enforce && self.behind_until(now).is_some()
    }

    /// Returns when the last of `calls` may go, if not at `now`.
    pub(crate) fn blocked_for(&self, calls: usize, now: Instant) -> Duration {
        if !self.enforce {
            return Duration::ZERO;
        }
        let waits = self.paces.iter().map(|pace| pace.ready_for(calls, now));
        waits.max().unwrap_or_default()
    }

    /// Counts a call that goes at `now`.
    pub(crate) fn take(&mut self, now: Instant) {
        if self.would_block(now) {
            return;
        }
        for pace in &mut self.paces {
            pace.due = Some(pace.due.map_or(now, |due| due.max(now)) + pace.interval);
        }
    }

    /// Takes a call out of the count that did not go after all.
    pub(crate) fn refund(&mut self) {
        for pace in &mut self.paces {
            pace.due = pace.due.and_then(|due| due.checked_sub(pace.interval));
        }
    }

    fn behind_until(&self, now: Instant) -> Option<Instant> {
        let ready = self.paces.iter().filter_map(Pace::ready_at);
        ready.max().filter(|at| now < *at)
    }
}

impl Pace {
    /// Never more than `limit` in any window of `span`, wherever it begins: of a steady pace `T / i` fit
    /// in it, and `burst - 1` more were ahead.
    fn window(limit: NonZeroU32, span: Duration, burst: u32) -> Self {
        let burst = burst.max(1);
        let steady = limit.get() - burst + 1;
        // Rounded up, so that rounding never lets one more through.
        let nanos = span.as_nanos().div_ceil(u128::from(steady));
        let interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Self { span, interval, burst, due: None }
    }

    fn bucket(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let (span, burst) = (Duration::from_secs(1), burst.get());
        // A billion a second and more are as good as none.
        let interval = (span / per_second.get()).max(Duration::from_nanos(1));
        Self { span, interval, burst, due: None }
    }

    fn ready_at(&self) -> Option<Instant> {
        self.due?.checked_sub(self.interval * (self.burst - 1))
    }

    /// Returns how long it takes until `calls` more may have gone.
    fn ready_for(&self, calls: usize, now: Instant) -> Duration {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let ahead = self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        let last = self.interval.saturating_mul(calls.saturating_sub(1));
        ahead.saturating_add(last).saturating_sub(self.interval * (self.burst - 1))
    }

    /// Returns how many calls are still counted at `now`.
    fn used(&self, now: Instant) -> f64 {
        let ahead = self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        ahead.as_secs_f64() / self.interval.as_secs_f64()
    }
}
