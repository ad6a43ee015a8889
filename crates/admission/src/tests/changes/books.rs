//! The judge: what the settings allow, and what happened.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::Snapshot;

const SECOND: Duration = Duration::from_secs(1);

/// A limit in a sliding window of time, as it was changed, and what was started.
#[derive(Debug, Default)]
struct Window {
    /// From when on so many were allowed, and so many at once besides; `None` is any number.
    limits: VecDeque<(Instant, Option<[u32; 2]>)>,
    starts: VecDeque<Instant>,
}

impl Window {
    fn is_set(&mut self, limit: Option<[u32; 2]>, now: Instant) {
        if self.limits.back().is_none_or(|(_, last)| *last != limit) {
            self.limits.push_back((now, limit));
        }
    }

    /// No more started in the last `span` than the largest limit of that time allows. Returns whether
    /// there was one, and it is more than half full.
    fn starts(&mut self, span: Duration, now: Instant) -> bool {
        self.starts.push_back(now);
        self.starts.retain(|at| now < *at + span);
        while self.limits.get(1).is_some_and(|(since, _)| *since + span <= now) {
            self.limits.pop_front();
        }
        let limits: Option<Vec<_>> = self.limits.iter().map(|(_, limit)| *limit).collect();
        let Some(limits) = limits else { return false };
        let most = [0, 1].map(|part| limits.iter().map(|limit| limit[part]).max().unwrap());
        let most: u32 = most.iter().sum();
        let began = self.starts.len();
        assert!(began <= most as usize, "{began} of {most} in {span:?}: {:?}", self.limits);
        began * 2 > most as usize
    }
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) pool: usize,
    pub(super) app: usize,
    /// In the order of first asking.
    pub(super) number: u64,
    pub(super) asked: Instant,
    pub(super) not_before: Option<Instant>,
}

impl Wish {
    /// Whether it stands in line at `now`, and does not rest. Jitter is a tenth, and a second at most.
    fn is_in_line(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|named| named + SECOND + millis(2) < now)
    }
}

/// What pools and apps may have, by number, as last named in the settings.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// The capacity, if it is enforced.
    capacities: BTreeMap<usize, Option<u32>>,
    caps: BTreeMap<usize, u32>,
    in_flight: BTreeMap<(usize, usize), u32>,
    waiting: BTreeMap<u64, Wish>,
    tenant: [Window; 2],
    apps: BTreeMap<usize, Window>,
}

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

impl Books {
    /// Pools and apps are named by their numbers.
    pub(super) fn read(&mut self, settings: &Settings, now: Instant) {
        for pool in &settings.pools {
            let capacity = pool.ceiling.get().saturating_sub(pool.headroom).max(1);
            self.capacities.insert(pool.name.parse().unwrap(), pool.enforce.then_some(capacity));
        }
        for app in &settings.apps {
            let number = app.name.parse().unwrap();
            self.caps.insert(number, app.max_in_flight.map_or(u32::MAX, NonZeroU32::get));
            let rate = app.rate.filter(|rate| rate.enforce);
            // In a second as many go as fit in the bucket, and a second's refill.
            let limit = rate.map(|rate| [rate.per_second.get(), rate.burst.get()]);
            self.apps.entry(number).or_default().is_set(limit, now);
        }
        let rate = settings.rate;
        for (window, limit) in self.tenant.iter_mut().zip([rate.per_minute, rate.per_hour]) {
            window.is_set(limit.filter(|_| rate.enforce).map(|limit| [limit.get(), 0]), now);
        }
    }

    pub(super) fn keeps_waiting(&self, pool: usize) -> bool {
        self.capacities[&pool].is_some()
    }

    pub(super) fn asks(&mut self, call: u64, wish: Wish) {
        self.waiting.insert(call, wish);
    }

    pub(super) fn leaves(&mut self, call: u64) -> Wish {
        self.waiting.remove(&call).unwrap()
    }

    /// Returns how many windows are more than half full now.
    pub(super) fn begins(&mut self, call: u64, now: Instant) -> u32 {
        let wish = self.leaves(call);
        assert!(wish.not_before.is_none_or(|named| named <= now), "{wish:?} goes too early");
        if let Some(capacity) = self.capacities[&wish.pool] {
            let before = self.in_flight_of(|pool, _| pool == wish.pool);
            assert!(before < capacity, "{} of {capacity} in {}", before + 1, wish.pool);
        }
        let before = self.in_flight_of(|_, app| app == wish.app);
        assert!(before < self.caps[&wish.app], "{} has more than its cap", wish.app);
        for other in self.waiting.values() {
            let is_before = other.number < wish.number && other.asked < now;
            let same = (other.pool, other.app) == (wish.pool, wish.app);
            assert!(!(same && is_before && other.is_in_line(now)), "{wish:?} overtook {other:?}");
        }
        *self.in_flight.entry((wish.pool, wish.app)).or_default() += 1;
        let [minute, hour] = &mut self.tenant;
        let app = self.apps.get_mut(&wish.app).unwrap();
        let full = [minute.starts(MINUTE, now), hour.starts(HOUR, now), app.starts(SECOND, now)];
        full.map(u32::from).iter().sum()
    }

    pub(super) fn ends(&mut self, pool: usize, app: usize) {
        *self.in_flight.get_mut(&(pool, app)).unwrap() -= 1;
    }

    pub(super) fn agree_with(&self, snapshot: &Snapshot) {
        let in_flight = self.in_flight_of(|_, _| true);
        assert_eq!((snapshot.in_use, snapshot.queued), (in_flight, self.waiting.len()));
        for shown in &snapshot.pools {
            let number: usize = shown.name.parse().unwrap();
            let in_flight = self.in_flight_of(|pool, _| pool == number);
            let waiting = self.waiting.values().filter(|wish| wish.pool == number).count();
            assert_eq!((shown.in_use, shown.queued), (in_flight, waiting), "pool {number}");
            assert_eq!(shown.permits_out, in_flight, "pool {number}");
            for app in &shown.apps {
                let number = (number, app.app.parse().unwrap());
                let waits = |wish: &&Wish| (wish.pool, wish.app) == number;
                let waiting = self.waiting.values().filter(waits).count();
                let in_flight = self.in_flight.get(&number).copied().unwrap_or_default();
                assert_eq!((app.in_use, app.queued), (in_flight, waiting), "{number:?}");
            }
        }
    }

    fn in_flight_of(&self, of: impl Fn(usize, usize) -> bool) -> u32 {
        let in_flight = self.in_flight.iter().filter(|((pool, app), _)| of(*pool, *app));
        in_flight.map(|(_, in_flight)| *in_flight).sum()
    }
}
