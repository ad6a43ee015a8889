//! The judge: who waits, who is served and for how long, as seen from outside.

use std::collections::BTreeMap;

use super::*;

/// What an app was promised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) weight: u32,
    pub(super) reserve: u32,
    pub(super) cap: u32,
    pub(super) scavenges: bool,
}

/// The calls of one app in one pool, or of one of its users.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) in_flight: u32,
    pub(super) waiting: u32,
    /// Permit-seconds since the judge began to measure.
    pub(super) held: f64,
    /// Whether somebody of it has waited in every moment since.
    pub(super) always_waited: bool,
}

#[derive(Debug)]
pub(super) struct PoolBooks {
    pub(super) capacity: u32,
    pub(super) in_flight: u32,
    pub(super) flows: Vec<Flow>,
    pub(super) users: BTreeMap<(usize, u64), Flow>,
}

#[derive(Debug)]
pub(super) struct Books {
    promises: Vec<Promise>,
    pub(super) pools: Vec<PoolBooks>,
    written: Instant,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) pool: usize,
    pub(super) app: usize,
    pub(super) user: Option<u64>,
}

impl Flow {
    const NEW: Self = Self { in_flight: 0, waiting: 0, held: 0.0, always_waited: false };
}

impl Books {
    pub(super) fn new(promises: Vec<Promise>, capacities: &[u32]) -> Self {
        let flows = vec![Flow::NEW; promises.len()];
        let of_pool = |capacity: &u32| PoolBooks {
            capacity: *capacity,
            in_flight: 0,
            flows: flows.clone(),
            users: BTreeMap::new(),
        };
        let pools = capacities.iter().map(of_pool).collect();
        Self { promises, pools, written: Instant::now() }
    }

    /// From now on shares are measured.
    pub(super) fn begin_to_measure(&mut self, now: Instant) {
        self.time_passes(now);
        for flow in self.pools.iter_mut().flat_map(PoolBooks::all_flows) {
            flow.held = 0.0;
            flow.always_waited = flow.waiting > 0;
        }
    }

    pub(super) fn time_passes(&mut self, now: Instant) {
        let passed = (now - self.written).as_secs_f64();
        self.written = now;
        if passed > 0.0 {
            for flow in self.pools.iter_mut().flat_map(PoolBooks::all_flows) {
                flow.held += passed * f64::from(flow.in_flight);
            }
        }
    }

    pub(super) fn asks(&mut self, caller: Caller) {
        self.change(caller, |flow| flow.waiting += 1);
    }

    pub(super) fn leaves(&mut self, caller: Caller) {
        self.change(caller, |flow| flow.waiting -= 1);
    }

    pub(super) fn begins(&mut self, caller: Caller) {
        let Caller { pool, app, .. } = caller;
        let promise = self.promises[app];
        let here = &self.pools[pool];
        assert!(here.in_flight < here.capacity, "{} of {}", here.in_flight + 1, here.capacity);
        assert!(self.in_flight(app) < promise.cap, "{app} has more than its cap");

        self.change(caller, |flow| flow.waiting -= 1);
        let here = &self.pools[pool];
        let within_reserve = here.flows[app].in_flight < promise.reserve;
        for other in (0..self.promises.len()).filter(|other| self.may_go(pool, *other)) {
            let guaranteed = here.flows[other].in_flight < self.promises[other].reserve;
            assert!(within_reserve || !guaranteed, "{app} goes before {other} has its reserve");
            let wanted = !self.promises[other].scavenges;
            assert!(!promise.scavenges || !wanted, "{app} takes what {other} wants");
        }
        self.nobody_of_the_app_has_fewer(caller);
        self.change(caller, |flow| flow.in_flight += 1);
        self.pools[pool].in_flight += 1;
    }

    pub(super) fn ends(&mut self, caller: Caller) {
        self.change(caller, |flow| flow.in_flight -= 1);
        self.pools[caller.pool].in_flight -= 1;
    }

    /// True whenever all is quiet.
    pub(super) fn nobody_waits_for_nothing(&mut self) {
        for (number, pool) in self.pools.iter().enumerate() {
            let idle = pool.in_flight < pool.capacity;
            let waits = (0..self.promises.len()).find(|app| idle && self.may_go(number, *app));
            let (used, all) = (pool.in_flight, pool.capacity);
            assert_eq!(waits, None, "somebody waits while {used} of {all} are used");
        }
        for flow in self.pools.iter_mut().flat_map(PoolBooks::all_flows) {
            flow.always_waited &= flow.waiting > 0;
        }
    }

    /// Of an app's users who wait, one with the fewest permits goes.
    fn nobody_of_the_app_has_fewer(&self, caller: Caller) {
        let users = &self.pools[caller.pool].users;
        let Some(mine) = caller.user.map(|user| users[&(caller.app, user)].in_flight) else {
            return;
        };
        let others = users.iter().filter(|((app, _), user)| *app == caller.app && user.waiting > 0);
        for ((_, other), user) in others {
            assert!(mine <= user.in_flight, "{caller:?} with {mine} goes before user {other}");
        }
    }

    fn may_go(&self, pool: usize, app: usize) -> bool {
        let waits = self.pools[pool].flows[app].waiting > 0;
        waits && self.in_flight(app) < self.promises[app].cap
    }

    fn in_flight(&self, app: usize) -> u32 {
        self.pools.iter().map(|pool| pool.flows[app].in_flight).sum()
    }

    fn change(&mut self, caller: Caller, change: impl Fn(&mut Flow)) {
        let pool = &mut self.pools[caller.pool];
        change(&mut pool.flows[caller.app]);
        if let Some(user) = caller.user {
            change(pool.users.entry((caller.app, user)).or_insert(Flow::NEW));
        }
    }
}

impl PoolBooks {
    fn all_flows(&mut self) -> impl Iterator<Item = &mut Flow> {
        self.flows.iter_mut().chain(self.users.values_mut())
    }
}
