//! How many permits a pool may use now, as a function of what happened and of the time.

use std::time::Duration;

use tokio::time::Instant;

use crate::PoolSettings;

/// A second without a refusal earns one permit back, and one doubling after a pause.
const CLEAN: Duration = Duration::from_secs(1);
/// After a pause a quarter may go; two doublings make it whole.
const DOUBLINGS: u32 = 2;

/// What a pool may use: `ceiling − headroom`, lowered by refusals, closed by pauses.
///
/// Nothing here runs by itself: [`advance`](Self::advance) works out what the time that passed has
/// earned, and [`next_change`](Self::next_change) says when it is worth asking again.
#[derive(Debug)]
pub(crate) struct Capacity {
    configured: u32,
    headroom: u32,
    /// The last figure of Zuora's that was worth telling.
    told: Option<u32>,
    observed: Option<u32>,
    shrunk: Option<Shrunk>,
    ramp: Option<Ramp>,
    /// The latest moment that Zuora named for a pause, before jitter.
    named: Option<Instant>,
    closed_until: Option<Instant>,
}

/// What is left after a refusal under concurrency; grows by one per clean second.
#[derive(Debug)]
struct Shrunk {
    permits: u32,
    clean_since: Instant,
}

/// The way back from a pause: a quarter, then a half, then all.
#[derive(Debug)]
struct Ramp {
    doublings: u32,
    clean_since: Instant,
}

impl Capacity {
    pub(crate) fn new(settings: &PoolSettings) -> Self {
        Self {
            configured: settings.ceiling.get(),
            headroom: settings.headroom,
            told: None,
            observed: None,
            shrunk: None,
            ramp: None,
            named: None,
            closed_until: None,
        }
    }

    /// Returns how many permits may be out at `now`; [`advance`](Self::advance) must have been told.
    pub(crate) fn usable(&self, now: Instant) -> u32 {
        if self.is_closed(now) { 0 } else { self.current() }
    }

    /// Returns the capacity, leaving pauses aside. Never zero.
    pub(crate) fn current(&self) -> u32 {
        let permits = self.shrunk.as_ref().map_or(u32::MAX, |it| it.permits).min(self.full());
        self.ramp.as_ref().map_or(permits, |it| it.share_of(permits))
    }

    /// Returns what may be used when nothing is wrong.
    pub(crate) fn full(&self) -> u32 {
        self.ceiling().saturating_sub(self.headroom).max(1)
    }

    pub(crate) fn ceiling(&self) -> u32 {
        self.observed.map_or(self.configured, |limit| limit.clamp(1, self.configured))
    }

    pub(crate) fn configured(&self) -> u32 {
        self.configured
    }

    pub(crate) fn observed(&self) -> Option<u32> {
        self.observed
    }

    /// Returns the end of the latest pause, be it over or not.
    pub(crate) fn closed_until(&self) -> Option<Instant> {
        self.closed_until
    }

    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    /// Takes Zuora's own figure, up or down, but never above the configured one. Says whether it
    /// is worth telling: neither the configured one nor the one told last.
    pub(crate) fn observe(&mut self, limit: u32) -> bool {
        self.observed = Some(limit);
        limit != self.configured && self.told.replace(limit) != Some(limit)
    }

    /// Gives back what the clean time up to `now` has earned.
    pub(crate) fn advance(&mut self, now: Instant) {
        let full = self.full();
        if let Some(shrunk) = &mut self.shrunk {
            let earned = whole_clean_seconds(&mut shrunk.clean_since, now);
            shrunk.permits = shrunk.permits.saturating_add(earned);
            if shrunk.permits >= full {
                self.shrunk = None;
            }
        }
        if let Some(ramp) = &mut self.ramp {
            let earned = whole_clean_seconds(&mut ramp.clean_since, now);
            ramp.doublings = ramp.doublings.saturating_add(earned);
            if ramp.doublings >= DOUBLINGS {
                self.ramp = None;
            }
        }
    }

    /// Returns when more may go than at `now`, if only time is needed for it.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        if self.is_closed(now) {
            return self.closed_until;
        }
        let grows = self.shrunk.as_ref().map(|it| it.clean_since + CLEAN);
        let doubles = self.ramp.as_ref().map(|it| it.clean_since + CLEAN);
        grows.into_iter().chain(doubles).min()
    }

    /// Lowers to what demonstrably fitted: the `fitted` requests that were at Zuora and not refused.
    ///
    /// If nothing of ours fitted, others hold everything. The next try would be refused as well, and
    /// each try costs a waiting call its turn, so the pool holds its breath for a moment first.
    pub(crate) fn shrink(&mut self, now: Instant, fitted: u32) {
        self.advance(now);
        if fitted == 0 {
            self.closed_until = self.closed_until.max(Some(now + CLEAN));
        }
        let clean_since = self.closed_until.map_or(now, |until| until.max(now));
        let before = self.shrunk.as_ref().map_or(u32::MAX, |it| it.permits).min(self.full());
        self.shrunk = Some(Shrunk { permits: before.min(fitted).max(1), clean_since });
        if let Some(ramp) = &mut self.ramp {
            ramp.clean_since = clean_since;
        }
    }

    /// Whether a pause until `named` says anything new: pauses only ever grow.
    pub(crate) fn is_news(&self, named: Instant) -> bool {
        self.named.is_none_or(|known| known < named)
    }

    /// Closes until `until`, which is `named` plus jitter; then begins with a quarter.
    pub(crate) fn pause(&mut self, now: Instant, named: Instant, until: Instant) {
        self.advance(now);
        self.named = self.named.max(Some(named));
        let until = self.closed_until.map_or(until, |closed| closed.max(until));
        self.closed_until = Some(until);
        self.ramp = Some(Ramp { doublings: 0, clean_since: until });
        if let Some(shrunk) = &mut self.shrunk {
            shrunk.clean_since = shrunk.clean_since.max(until);
        }
    }
}

impl Ramp {
    fn share_of(&self, permits: u32) -> u32 {
        permits.div_ceil(1 << (DOUBLINGS - self.doublings)).max(1)
    }
}

/// Returns the whole seconds from `since` to `now` and moves `since` past them.
fn whole_clean_seconds(since: &mut Instant, now: Instant) -> u32 {
    let seconds = now.saturating_duration_since(*since).as_secs();
    *since += CLEAN * u32::try_from(seconds).unwrap_or(u32::MAX);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
