//! Comparing the books.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use admission::{Admission, Circuit, Lanes, Snapshot};
use emulator::{Ledger, Tenant};
use gateway::Portless;
use tokio::time::{Duration, Instant};

use super::{Course, Soak, Wire};

/// More disagreements say no more than the first.
const MOST_TOLD: usize = 10;

/// So far apart are the moments that are kept for a picture.
const BETWEEN_MOMENTS: Duration = Duration::from_millis(5);

/// All pools together at the end of one instant.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// How long after the start.
    pub at: Duration,
    /// Permits that are given, and not back.
    pub in_use: u32,
    /// Legs alive.
    pub legs: u64,
    /// Calls that the tenant is working on.
    pub at_zuora: u32,
    /// Calls that wait for a permit.
    pub queued: usize,
}

/// Everybody who keeps books, and what was found in them.
pub(super) struct Watch {
    gateway: Arc<Portless>,
    admission: Arc<Admission>,
    lanes: Arc<Lanes>,
    tenant: Arc<Tenant>,
    began: Instant,
    /// Whether a connection that one side has closed is closed for the other at once.
    is_immediate: bool,
    most_moments: usize,
    seen: Mutex<Course>,
}

impl Watch {
    pub(super) fn new(gateway: Arc<Portless>, tenant: Arc<Tenant>, soak: &Soak) -> Self {
        let (_, admission) = gateway.admissions().swap_remove(0);
        let (_, lanes) = gateway.lanes().swap_remove(0);
        let (began, seen) = (Instant::now(), Mutex::default());
        let (is_immediate, most_moments) = (soak.wire == Wire::Pipes, soak.moments);
        Self { gateway, admission, lanes, tenant, began, is_immediate, most_moments, seen }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Course> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At the end of an instant, when nobody is on the way to anybody: everything agrees.
    pub(super) fn compare(&self) {
        let (snapshot, book) = (self.admission.snapshot(), self.tenant.counters());
        let legs = self.gateway.legs_in_flight();
        self.each_pool_agrees(&snapshot);
        let out: u32 = snapshot.pools.iter().map(|pool| pool.permits_out).sum();
        self.check(u64::from(out) == legs, || format!("{out} permits out, {legs} legs in flight"));
        if self.is_immediate {
            self.tenant_has_no_more(&snapshot, &book);
        }

        let lanes = self.lanes.snapshot();
        let mut seen = self.seen();
        seen.instants += 1;
        seen.most_legs = seen.most_legs.max(legs);
        seen.most_lanes = seen.most_lanes.max(lanes.held);
        seen.most_in_line = seen.most_in_line.max(lanes.waiting);
        seen.down += u64::from(snapshot.circuit != Circuit::Closed);
        for pool in &snapshot.pools {
            let most = seen.most_in_use.entry(pool.name.to_string()).or_default();
            *most = pool.in_use.max(*most);
        }
        let at = self.began.elapsed();
        let is_next = seen.moments.last().is_none_or(|last| at >= last.at + BETWEEN_MOMENTS);
        if is_next && seen.moments.len() < self.most_moments {
            let at_zuora = book.in_flight.values().sum();
            let (in_use, queued) = (snapshot.in_use, snapshot.queued);
            seen.moments.push(Moment { at, in_use, legs, at_zuora, queued });
        }
    }

    /// Within an instant, between the steps of calls: what is given is alive, and every leg has a permit of its own.
    /// What is beyond is on its way, to a caller or to its token.
    pub(super) fn glance(&self) {
        let snapshot = self.admission.snapshot();
        let legs = self.gateway.legs_in_flight();
        self.each_pool_agrees(&snapshot);
        let out: u32 = snapshot.pools.iter().map(|pool| pool.permits_out).sum();
        self.check(u64::from(out) >= legs, || {
            format!("within an instant {out} permits out, {legs} legs in flight")
        });
        let mut seen = self.seen();
        seen.glances += 1;
        seen.on_their_way += u64::from(u64::from(out) > legs);
    }

    /// What a pool has given is alive, belongs to its apps, and is no more than is allowed.
    fn each_pool_agrees(&self, snapshot: &Snapshot) {
        for pool in &snapshot.pools {
            let name = &pool.name;
            let (given, alive) = (pool.in_use, pool.permits_out);
            self.check(given == alive, || format!("{name}: {given} permits given, {alive} alive"));
            let of_apps: u32 = pool.apps.iter().map(|app| app.in_use).sum();
            self.check(given == of_apps, || format!("{name}: {given} given, {of_apps} to apps"));
            let most = pool.configured;
            self.check(given <= most, || format!("{name}: {given} permits given of {most}"));
        }
    }

    /// The tenant works on nothing without a permit, and never refused a call because there were too many.
    fn tenant_has_no_more(&self, snapshot: &Snapshot, book: &Ledger) {
        let pools = snapshot.pools.iter().map(|pool| (&*pool.name, pool.in_use));
        let in_use: BTreeMap<&str, u32> = pools.collect();
        for (limit_type, at_zuora) in &book.in_flight {
            let given = in_use.get(limit_type.as_str()).copied().unwrap_or(0);
            self.check(*at_zuora <= given, || {
                format!("{limit_type}: {at_zuora} calls at Zuora, {given} permits given")
            });
        }
        let too_many: u64 = book.refused_by_limit_type.values().sum();
        self.check(too_many == 0, || format!("{too_many} calls were one too many for Zuora"));
    }

    /// Whether all work is over.
    pub(super) fn is_at_rest(&self) -> bool {
        self.left().iter().all(|(_, number)| *number == 0)
    }

    /// Once all work is over, nothing is left.
    pub(super) fn nothing_is_left(&self) {
        for (what, number) in self.left() {
            self.check(number == 0, || format!("in the end {number} {what} are left"));
        }
        for twice in self.tenant.ledger().executed_twice() {
            self.tell(&format!("done more than once: {twice:?}"));
        }
    }

    fn left(&self) -> [(&'static str, u64); 8] {
        let snapshot = self.admission.snapshot();
        let lanes = self.lanes.snapshot();
        let out: u32 = snapshot.pools.iter().map(|pool| pool.permits_out).sum();
        let at_zuora: u32 = self.tenant.counters().in_flight.values().sum();
        [
            ("permits given", u64::from(snapshot.in_use)),
            ("permits alive", out.into()),
            ("legs", self.gateway.legs_in_flight()),
            ("calls in the queue", snapshot.queued as u64),
            ("bytes of bodies", snapshot.kept_bytes),
            ("lanes held", lanes.held as u64),
            ("calls before a lane", lanes.waiting as u64),
            ("calls at Zuora", at_zuora.into()),
        ]
    }

    fn check(&self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.tell(&why());
        }
    }

    pub(super) fn tell(&self, what: &str) {
        let mut seen = self.seen();
        if seen.disagreements.len() < MOST_TOLD {
            seen.disagreements.push(format!("{:?}: {what}", self.began.elapsed()));
        }
    }
}
