//! The face of the crate: one tenant's admission behind one lock.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{self, Instant};

use crate::jitter::Jitter;
use crate::pool::{Answer, End, Grant, Outbox, Pool};
use crate::queue::{Outcome, Spot};
use crate::state::State;
use crate::timer::Timer;
use crate::{
    AppId, AppSnapshot, Ask, Kept, Permit, PoolId, PoolSettings, PoolSnapshot, Settings, Shed,
    Snapshot,
};

/// Decides when a tenant's calls may go. See the [crate's documentation](crate) for how.
pub struct Admission {
    settings: Settings,
    state: Mutex<State>,
    /// One per pool: tells its timer to look at the clock again.
    nudges: Vec<Arc<Notify>>,
    /// A runtime that somebody waited on, for timers that a drop elsewhere makes necessary.
    runtime: OnceLock<Handle>,
}

impl Admission {
    /// Returns the admission of one tenant.
    pub fn new(settings: Settings, start: Start) -> Arc<Self> {
        let _ = start;
        Self::with_jitter(settings, Jitter::from_entropy())
    }

    /// Exchanges the settings while calls wait and go. Pools and apps keep their queues, counters and
    /// windows, by name; nothing that runs is cut off, a lowered limit drains.
    pub fn reconfigure(self: &Arc<Self>, settings: Settings) {
        let _ = settings;
    }

    /// Returns the pool of a limit type that Zuora named and nobody configured, made if there is none
    /// yet; `None` if there are too many already.
    pub fn learn(self: &Arc<Self>, entity: Option<&str>, name: &str, limit: u32) -> Option<PoolId> {
        let _ = limit;
        self.pool(entity, name)
    }

    /// Returns the app of this name, or `None` if the settings have none.
    pub fn app(&self, name: &str) -> Option<AppId> {
        let (_, id) = self.settings.apps.iter().zip(0..).find(|(app, _)| &*app.name == name)?;
        Some(AppId(id))
    }

    pub(crate) fn with_jitter(settings: Settings, jitter: Jitter) -> Arc<Self> {
        let state = Mutex::new(State::new(&settings, jitter, Instant::now()));
        let nudges = settings.pools.iter().map(|_| Arc::default()).collect();
        Arc::new(Self { settings, state, nudges, runtime: OnceLock::new() })
    }

    /// Returns the pool of `entity` for the limit type `name`, or `None` if there is no such pool.
    pub fn pool(&self, entity: Option<&str>, name: &str) -> Option<PoolId> {
        let is_it = |pool: &PoolSettings| &*pool.name == name && pool.entity.as_deref() == entity;
        let (_, id) = self.settings.pools.iter().zip(0..).find(|(pool, _)| is_it(pool))?;
        Some(PoolId(id))
    }

    /// Returns a permit as soon as it is this call's turn: at once if nobody waits and a permit may
    /// be used, otherwise in order within the app and in turn between apps.
    ///
    /// Dropping the future leaves the queue at once. If a permit was already on its way, it goes to
    /// the next in turn.
    ///
    /// # Errors
    ///
    /// - [`Shed::QueueFull`] at once, if as many wait as may;
    /// - [`Shed::Cooldown`] if the call, or the pool, must rest until the deadline or longer: at once,
    ///   or when a pause begins while the call waits;
    /// - [`Shed::Hopeless`] at once, if the measured wait clearly exceeds the deadline;
    /// - [`Shed::QueueTimeout`] at the deadline, and at once if that is already over.
    ///
    /// # Panics
    ///
    /// If `ask` names a pool or an app that this tenant's settings do not have.
    pub async fn admit(self: &Arc<Self>, ask: Ask) -> Result<Permit, Shed> {
        assert!(ask.app.index() < self.settings.apps.len(), "an app of another tenant's settings");
        let mut waiting = match self.decide(|state, now, outbox| state.ask(&ask, now, outbox))? {
            Answer::Granted(grant) => return Ok(Permit::new(Arc::clone(self), grant)),
            Answer::Waits(spot, told) => Waiting { admission: self, pool: ask.pool, spot, told },
        };
        waiting.until(ask.until()).await
    }

    /// Counts `bytes` of a request body that is kept in memory for `app`.
    ///
    /// # Errors
    ///
    /// [`Shed::QueueBytes`] if the pool's bound would be passed.
    pub fn keep(self: &Arc<Self>, pool: PoolId, app: AppId, bytes: u64) -> Result<Kept, Shed> {
        self.count_bytes(pool, app, bytes)?;
        Ok(Kept::new(Arc::clone(self), pool, app, bytes))
    }

    /// Returns how long a call of `app` would wait if it asked now, as far as measurements tell.
    #[cfg(test)]
    pub(crate) fn predicted_wait(&self, pool: PoolId, app: AppId) -> Duration {
        let mut state = self.lock();
        let now = Instant::now();
        let pool = state.pool(pool);
        pool.capacity.advance(now);
        pool.predicted_wait(app, now)
    }

    /// Returns everything there is to see, all of it at one moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.lock();
        let now = Instant::now();
        let pools = state.pools_mut().iter_mut().zip(&self.settings.pools);
        let pools: Vec<_> = pools
            .map(|(pool, settings)| {
                pool.capacity.advance(now);
                self.pool_snapshot(pool, settings, now)
            })
            .collect();
        Snapshot {
            in_use: pools.iter().map(|pool| pool.in_use).sum(),
            queued: pools.iter().map(|pool| pool.queued).sum(),
            kept_bytes: pools.iter().map(|pool| pool.kept_bytes).sum(),
            pools,
        }
    }

    pub(crate) fn give_back(self: &Arc<Self>, grant: &Grant, end: End) {
        self.decide(|state, now, outbox| state.give_back(grant, end, now, outbox));
    }

    pub(crate) fn observe_limit(self: &Arc<Self>, pool: PoolId, limit: u32) -> bool {
        self.decide(|state, now, outbox| {
            let pool = state.pool(pool);
            let is_news = pool.capacity.observe(limit);
            pool.settle(now, outbox);
            is_news
        })
    }

    pub(crate) fn count_bytes(&self, pool: PoolId, app: AppId, more: u64) -> Result<(), Shed> {
        self.lock().pool(pool).keep(app, more, Instant::now())
    }

    pub(crate) fn forget_bytes(&self, pool: PoolId, app: AppId, bytes: u64) {
        self.lock().pool(pool).forget(app, bytes);
    }

    /// Does what the passing of time makes due in a pool, and returns when to look again.
    pub(crate) fn tend(self: &Arc<Self>, pool: PoolId) -> Option<Instant> {
        self.decide(|state, now, outbox| {
            let pool = state.pool(pool);
            pool.settle(now, outbox);
            pool.rearm(now)
        })
    }

    pub(crate) fn lose_timer(&self, pool: PoolId) {
        self.lock().pool(pool).lose_timer();
    }

    /// Takes one decision under the lock, then tells everybody concerned.
    fn decide<T>(
        self: &Arc<Self>,
        decision: impl FnOnce(&mut State, Instant, &mut Outbox) -> T,
    ) -> T {
        let mut outbox = Outbox::default();
        let result = decision(&mut self.lock(), Instant::now(), &mut outbox);
        self.deliver(outbox);
        result
    }

    /// Tells waiting calls their outcome. A call that left in the same moment does not take its
    /// permit; it is dropped here, without the lock, and so goes to the next in turn.
    fn deliver(self: &Arc<Self>, outbox: Outbox) {
        for (tell, answer) in outbox.answers {
            let outcome = answer.map(|grant| Permit::new(Arc::clone(self), grant));
            drop(tell.send(outcome));
        }
        for pool in outbox.nudge {
            self.nudges[pool.index()].notify_one();
        }
        for pool in outbox.start {
            self.start_timer(pool);
        }
    }

    fn start_timer(self: &Arc<Self>, pool: PoolId) {
        let timer = Timer::new(self, pool, Arc::clone(&self.nudges[pool.index()]));
        // A permit may be dropped where there is no runtime; those who wait have one.
        if let Some(runtime) = Handle::try_current().ok().or_else(|| self.runtime.get().cloned()) {
            runtime.spawn(timer.run());
        }
    }

    fn pool_snapshot(&self, pool: &Pool, settings: &PoolSettings, now: Instant) -> PoolSnapshot {
        let apps = self.settings.apps.iter().enumerate();
        let apps = apps.map(|(index, name)| {
            let (app, usage) = (AppId(u32::try_from(index).unwrap_or(u32::MAX)), &pool.apps[index]);
            let oldest = pool.queue.oldest(app);
            AppSnapshot {
                app: Arc::clone(&name.name),
                in_use: usage.in_use(),
                queued: pool.queue.len_of(app),
                kept_bytes: usage.kept_bytes,
                oldest_wait: oldest.map_or(Duration::ZERO, |it| now.saturating_duration_since(it)),
                permit_seconds: usage.held(now).as_secs_f64(),
            }
        });
        PoolSnapshot {
            name: Arc::clone(&settings.name),
            entity: settings.entity.clone(),
            configured: pool.capacity.configured(),
            observed: pool.capacity.observed(),
            ceiling: pool.capacity.ceiling(),
            capacity: pool.capacity.current(),
            in_use: pool.in_use,
            queued: pool.queue.len(),
            kept_bytes: pool.kept_bytes,
            paused_for: pool.closed_for(now),
            apps: apps.collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    /// Lets sleeping timers find out that they are no longer needed.
    fn drop(&mut self) {
        for nudge in &self.nudges {
            nudge.notify_one();
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How much of what a tenant allows is used at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All of it: nothing of ours can be at Zuora yet.
    Full,
    /// A quarter, because calls of an earlier life may still be at Zuora for this long; more as soon as
    /// Zuora says that there is room, and all of it after this time.
    Cautious(Duration),
}

/// A call in the queue. Dropping it takes the call out.
#[derive(Debug)]
struct Waiting<'a> {
    admission: &'a Arc<Admission>,
    pool: PoolId,
    spot: Spot,
    told: oneshot::Receiver<Outcome>,
}

impl Waiting<'_> {
    async fn until(&mut self, deadline: Instant) -> Outcome {
        if let Ok(handle) = Handle::try_current() {
            self.admission.runtime.get_or_init(|| handle);
        }
        match time::timeout_at(deadline, &mut self.told).await {
            Ok(told) => told.expect("whoever takes a waiter out tells it why"),
            Err(_) => Err(self.out_of_time()),
        }
    }

    /// Leaves the queue and returns when to come back: the wait of those who ask now.
    fn out_of_time(&self) -> Shed {
        let mut state = self.admission.lock();
        let pool = state.pool(self.pool);
        let left = pool.queue.remove(self.spot);
        let retry_after = pool.advice(self.spot.app, Instant::now());
        drop(state);
        drop(left);
        Shed::QueueTimeout { retry_after }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.admission.lock().pool(self.pool).queue.remove(self.spot);
        // After the lock: whatever it takes to drop a waiter, nobody else waits for it.
        drop(left);
    }
}
