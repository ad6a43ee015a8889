//! What metrics and the dashboard see: one tenant at one moment, all of it under one lock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::AppId;
use crate::live::Live;
use crate::pool::Pool;
use crate::tenant::{App, Tenant};

/// One tenant's pools at one moment. Numbers of different pools belong to the same moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Those that are configured or learnt, and those that still hold anything.
    pub pools: Vec<PoolSnapshot>,
    /// Permits out, over all pools.
    pub in_use: u32,
    /// Calls that wait, over all pools.
    pub queued: usize,
    /// Bytes of kept bodies, over all pools.
    pub kept_bytes: u64,
    /// Whether the tenant answers, as far as is known.
    pub circuit: Circuit,
}

/// Whether a tenant answers, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// It does, or nobody knows otherwise.
    Closed,
    /// It is down: nobody goes before this moment, and then one call, to find out.
    Open {
        /// The moment; over, if nobody has asked since.
        until: Instant,
    },
    /// One call has gone to find out, and all others wait for what becomes of it.
    Probing,
}

/// One pool at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSnapshot {
    /// The limit type.
    pub name: Arc<str>,
    /// The entity, or `None` where the tenant has one only.
    pub entity: Option<Arc<str>>,
    /// The ceiling as configured.
    pub configured: u32,
    /// The limit that Zuora last named; unequal to `configured` means that one of them is wrong.
    pub observed: Option<u32>,
    /// What Zuora allows: the smaller of the two.
    pub ceiling: u32,
    /// Permits that others take, as far as Zuora tells.
    pub outside_use: u32,
    /// How many permits may be used now: ceiling less headroom and outside use, lowered after refusals
    /// and while a pause is being ramped out of. While `paused_for` is not zero none is given all the
    /// same.
    pub capacity: u32,
    /// Whether calls wait for a permit; if not, they are only counted.
    pub enforced: bool,
    /// Whether nobody configured it: Zuora named it.
    pub learnt: bool,
    /// Permits out: given, and not back. More than `capacity` only while a lowered pool drains, or if
    /// it is not enforced.
    pub in_use: u32,
    /// Permits that are alive, counted apart. Less than `in_use` only while some are on their way to
    /// whoever waited for them.
    pub permits_out: u32,
    /// Calls that wait, those that rest until a named moment included.
    pub queued: usize,
    /// Bytes of kept bodies.
    pub kept_bytes: u64,
    /// How much longer, at most, less is used because of calls of an earlier life; zero if not.
    pub cautious_for: Duration,
    /// How long no permit will be given; zero if not paused.
    pub paused_for: Duration,
    /// Those that are configured, and those that still hold anything.
    pub apps: Vec<AppSnapshot>,
}

/// One app's part of a pool at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct AppSnapshot {
    /// The app's name.
    pub app: Arc<str>,
    /// Permits out.
    pub in_use: u32,
    /// Calls that wait.
    pub queued: usize,
    /// Bytes of kept bodies.
    pub kept_bytes: u64,
    /// How long ago the first of the waiting calls asked for the first time; zero if none waits.
    pub oldest_wait: Duration,
    /// Seconds that permits were held so far, those still out included. Never falls.
    pub permit_seconds: f64,
}

impl Pool {
    /// Returns what there is to see of it, or `None` if it is gone from the settings and empty.
    pub(crate) fn snapshot(
        &self,
        tenant: &Tenant,
        live: &Live,
        now: Instant,
    ) -> Option<PoolSnapshot> {
        if !self.is_wanted && self.in_use == 0 && self.queue.is_empty() {
            return None;
        }
        let resting = self.queue.oldest_resting();
        let apps = tenant.apps.iter().zip(0..);
        let apps = apps.filter_map(|(app, id)| {
            let oldest = self.queue.oldest_ready(AppId(id));
            let oldest = oldest.into_iter().chain(resting.get(&AppId(id)).copied()).min();
            self.app_snapshot(app, AppId(id), oldest, now)
        });
        Some(PoolSnapshot {
            name: Arc::clone(&self.name),
            entity: self.entity.clone(),
            configured: self.capacity.configured(),
            observed: self.capacity.observed(),
            ceiling: self.capacity.ceiling(),
            outside_use: self.capacity.outside_use(now),
            capacity: self.capacity.current(now),
            enforced: self.enforced,
            learnt: self.capacity.is_learnt(),
            in_use: self.in_use,
            permits_out: live.of(self.id),
            queued: self.queue.len(),
            kept_bytes: self.kept_bytes,
            cautious_for: self
                .capacity
                .cautious_until()
                .map_or(Duration::ZERO, |until| until.saturating_duration_since(now)),
            paused_for: self.paused_for(now),
            apps: apps.collect(),
        })
    }

    fn app_snapshot(
        &self,
        app: &App,
        id: AppId,
        oldest: Option<Instant>,
        now: Instant,
    ) -> Option<AppSnapshot> {
        let (in_use, queued) = (self.shares.in_use(id.index()), self.queue.len_of(id));
        if !app.is_configured && in_use == 0 && queued == 0 {
            return None;
        }
        Some(AppSnapshot {
            app: Arc::clone(&app.name),
            in_use,
            queued,
            kept_bytes: self.kept_bytes_of(id),
            oldest_wait: oldest.map_or(Duration::ZERO, |it| now.saturating_duration_since(it)),
            permit_seconds: self.shares.held(id.index(), now),
        })
    }
}
