//! How many permits a pool may use now, as a function of what happened and of the time.

use std::time::Duration;

use tokio::time::Instant;

use crate::outside::Outside;
use crate::{PoolSettings, Said};

/// A second without a refusal earns some permits back, and one doubling after a pause.
const CLEAN: Duration = Duration::from_secs(1);
/// After a pause a quarter may go; two doublings make it whole.
const DOUBLINGS: u32 = 2;
/// After a refusal this part of the capacity is given up: a seventh. With two steps a quarter is left to
/// others, which is what they usually take, and hardly more.
const LOST_PART: u32 = 7;
/// The clean seconds that make an empty pool whole, where Zuora does not say what remains.
const SECONDS_TO_WHOLE: u32 = 40;
/// What Zuora says remains may be a second old, and is compared with the most that was out lately. After
/// so long both are of a time after the refusal, and then what remains shows how much more fits.
const SETTLED: Duration = Duration::from_secs(3);
/// How many limits that Zuora names are remembered as told.
const MOST_TOLD: usize = 8;
/// With an unknown number of calls of an earlier life still at Zuora, a quarter is used at first.
const CAUTION: u32 = 4;

/// What a pool may use: `ceiling − headroom − outside use`, lowered by refusals, closed by pauses.
///
/// Nothing here runs by itself: [`advance`](Self::advance) works out what the time that passed has
/// earned, and [`next_change`](Self::next_change) says when it is worth asking again.
#[derive(Debug)]
pub(crate) struct Capacity {
    configured: u32,
    headroom: u32,
    /// Nobody configured this pool: whatever Zuora names is right.
    learnt: bool,
    /// The figures of Zuora's that were told: one that comes and goes is told once.
    told: Vec<u32>,
    observed: Option<u32>,
    outside: Outside,
    shrunk: Option<Shrunk>,
    ramp: Option<Ramp>,
    /// The latest moment that Zuora named for a pause, before jitter.
    named: Option<Instant>,
    closed_until: Option<Instant>,
}

/// What is left after a refusal under concurrency, or is used at first after an unclean stop. It grows
/// in clean seconds, and ends when Zuora's word is a better guide.
#[derive(Debug)]
struct Shrunk {
    permits: u32,
    clean_since: Instant,
    /// When it was lowered last. Requests that left before are no news when they are refused as well.
    lowered: Instant,
    /// From when on Zuora's word counts more.
    settled: Instant,
    /// How many fit, as Zuora showed it since.
    room: Option<Room>,
    /// When it ends in any case.
    ends: Option<Instant>,
}

/// How many permits fit by what Zuora said, the least of this second and of the one before. One word alone
/// is not enough: at the moment of a snapshot somebody may be between two requests.
#[derive(Clone, Copy, Debug)]
struct Room {
    since: Instant,
    least: u32,
    before: Option<u32>,
}

/// The way back from a pause: a quarter, then a half, then all.
#[derive(Debug)]
struct Ramp {
    doublings: u32,
    clean_since: Instant,
}

impl Capacity {
    pub(crate) fn new(settings: &PoolSettings, learnt: bool, now: Instant) -> Self {
        Self {
            configured: settings.ceiling.get(),
            headroom: settings.headroom,
            learnt,
            told: Vec::new(),
            observed: None,
            outside: Outside::new(now),
            shrunk: None,
            ramp: None,
            named: None,
            closed_until: None,
        }
    }

    /// Takes other figures from the configuration. What Zuora said stays.
    pub(crate) fn reconfigure(&mut self, settings: &PoolSettings) {
        if self.configured != settings.ceiling.get() {
            self.told.clear();
        }
        self.configured = settings.ceiling.get();
        self.headroom = settings.headroom;
        self.learnt = false;
    }

    /// Whether Zuora named it, configured or not.
    pub(crate) fn is_known_to_zuora(&self) -> bool {
        self.learnt || self.observed.is_some()
    }

    /// Nobody configures it any more: what Zuora names is right.
    pub(crate) fn leave_to_zuora(&mut self, headroom: u32) {
        self.learnt = true;
        self.headroom = headroom;
        self.configured = self.observed.unwrap_or(self.configured).max(1);
    }

    /// Begins low: for so long, calls that this process did not send may still be at Zuora.
    pub(crate) fn be_cautious(&mut self, now: Instant, time: Duration) {
        let permits = (self.full() / CAUTION).max(1);
        let ends = Some(now + time);
        self.shrunk = Some(Shrunk {
            permits,
            clean_since: now,
            lowered: now,
            settled: now,
            room: None,
            ends,
        });
    }

    /// Returns until when calls of an earlier life may still be at Zuora, while less is used for that.
    pub(crate) fn cautious_until(&self) -> Option<Instant> {
        self.shrunk.as_ref().and_then(|it| it.ends)
    }

    /// Returns how many permits may be out at `now`; [`advance`](Self::advance) must have been told.
    pub(crate) fn usable(&self, now: Instant) -> u32 {
        if self.is_closed(now) { 0 } else { self.current(now) }
    }

    /// Returns the capacity, leaving pauses aside. Never zero.
    pub(crate) fn current(&self, now: Instant) -> u32 {
        let permits = self.left_by_refusals().min(self.left_by_others(now));
        self.ramp.as_ref().map_or(permits, |it| it.share_of(permits))
    }

    /// Returns what may be used when nothing is wrong and nobody else uses the tenant.
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

    pub(crate) fn outside_use(&self, now: Instant) -> u32 {
        self.outside.permits(now)
    }

    pub(crate) fn is_learnt(&self) -> bool {
        self.learnt
    }

    /// Returns the end of the latest pause, be it over or not.
    pub(crate) fn closed_until(&self) -> Option<Instant> {
        self.closed_until
    }

    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    /// Notes how many of our own permits are out.
    pub(crate) fn in_use(&mut self, in_use: u32, before: u32, now: Instant) {
        self.outside.ours(in_use, before, now);
    }

    /// Takes in what Zuora said. Its limit holds at once, up or down, but never above the configured
    /// one. Returns whether it is worth telling: neither the configured limit nor one
    /// that was told before.
    pub(crate) fn observe(&mut self, said: Said, in_use: u32, now: Instant) -> bool {
        if self.learnt {
            self.configured = said.limit.max(1);
        }
        self.observed = Some(said.limit);
        if let Some(remaining) = said.remaining {
            let ours = self.outside.heard(said.limit, remaining, in_use, now);
            if let Some(shrunk) = self.shrunk.as_mut().filter(|it| it.settled <= now) {
                // Where nothing remains, others may want more than they have, and no more is tried.
                let room = Room::shown(shrunk.room, ours.saturating_add(remaining), now);
                shrunk.room = Some(room);
                let fits = if shrunk.ends.is_some() { Some(room.least) } else { room.sure() };
                shrunk.permits = shrunk.permits.max(fits.unwrap_or(0));
            }
            self.advance(now);
        }
        said.limit != self.configured && self.is_untold(said.limit)
    }

    /// Gives back what the clean time up to `now` has earned.
    pub(crate) fn advance(&mut self, now: Instant) {
        let (full, step) = (self.full(), self.step(now));
        let known_until = self.outside.forgets_at().filter(|at| *at <= now);
        if let Some(shrunk) = &mut self.shrunk {
            if let Some(known_until) = known_until {
                shrunk.clean_since = shrunk.clean_since.max(known_until);
            }
            let earned = whole_clean_seconds(&mut shrunk.clean_since, now);
            shrunk.permits = shrunk.permits.saturating_add(earned.saturating_mul(step));
            if shrunk.permits >= full || shrunk.ends.is_some_and(|ends| ends <= now) {
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
        let grows = self.shrunk.as_ref().filter(|_| self.step(now) > 0);
        let grows = grows.map(|it| it.clean_since + CLEAN);
        let ends = self.shrunk.as_ref().and_then(|it| it.ends);
        let doubles = self.ramp.as_ref().map(|it| it.clean_since + CLEAN);
        let waits_for_word = self.outside.permits(now) > 0 || self.shrunk.is_some();
        let forgets = self.outside.forgets_at().filter(|at| waits_for_word && now < *at);
        [grows, ends, doubles, forgets].into_iter().flatten().min()
    }

    /// Lowers to what demonstrably fitted, the `fitted` requests that were at Zuora and not refused, and
    /// by a seventh if the refused request had left, at `sent`, after the last lowering: then those that
    /// fitted are leftovers of a better time.
    ///
    /// If nothing of ours fitted, others hold everything. The next try would be refused as well, and
    /// each try costs a waiting call its turn, so the pool holds its breath for a moment first.
    pub(crate) fn shrink(&mut self, now: Instant, fitted: u32, sent: Instant) {
        self.advance(now);
        self.outside.fitted(fitted, now);
        if fitted == 0 {
            self.closed_until = self.closed_until.max(Some(now + CLEAN));
        }
        let clean_since = self.closed_until.map_or(now, |until| until.max(now));
        let before = self.left_by_refusals().min(self.left_by_others(now));
        let (kept, lowered) = match &self.shrunk {
            Some(shrunk) if sent < shrunk.lowered => (before, shrunk.lowered),
            _ => (before - before.div_ceil(LOST_PART), now),
        };
        let permits = kept.min(fitted).max(1);
        let settled = now + SETTLED;
        self.shrunk =
            Some(Shrunk { permits, clean_since, lowered, settled, room: None, ends: None });
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

    /// Begins with a quarter, as after a pause.
    pub(crate) fn begin_slowly(&mut self, now: Instant) {
        self.advance(now);
        let clean_since = self.closed_until.map_or(now, |until| until.max(now));
        self.ramp = Some(Ramp { doublings: 0, clean_since });
    }

    /// Returns what a clean second earns: nothing while Zuora says what remains, because then there is
    /// no need to find out by being refused, and nothing while calls of an earlier life may be at Zuora,
    /// because time alone tells nothing of them.
    fn step(&self, now: Instant) -> u32 {
        let must_not_try = self.outside.is_known(now) || self.cautious_until().is_some();
        if must_not_try { 0 } else { self.full().div_ceil(SECONDS_TO_WHOLE) }
    }

    fn is_untold(&mut self, limit: u32) -> bool {
        let is_untold = !self.told.contains(&limit);
        if is_untold {
            // So many different ones are news in themselves.
            if self.told.len() >= MOST_TOLD {
                self.told.clear();
            }
            self.told.push(limit);
        }
        is_untold
    }

    fn left_by_refusals(&self) -> u32 {
        self.shrunk.as_ref().map_or(u32::MAX, |it| it.permits).min(self.full())
    }

    fn left_by_others(&self, now: Instant) -> u32 {
        self.full().saturating_sub(self.outside.permits(now)).max(1)
    }
}

impl Room {
    fn shown(former: Option<Self>, fits: u32, now: Instant) -> Self {
        match former {
            None => Self { since: now, least: fits, before: None },
            Some(former) if former.since + CLEAN <= now => {
                Self { since: now, least: fits, before: Some(former.least) }
            }
            Some(former) => Self { least: former.least.min(fits), ..former },
        }
    }

    fn sure(self) -> Option<u32> {
        Some(self.before?.min(self.least))
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
