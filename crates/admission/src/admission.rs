//! The face of the crate: one tenant's admission behind one lock.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::{self, Instant};

use crate::jitter::Jitter;
use crate::live::Live;
use crate::pool::{Answer, Grant, Outbox, Wake};
use crate::queue::{Outcome, Spot};
use crate::state::State;
use crate::sync::{Handle, Mutex, MutexGuard, Notify, oneshot};
use crate::timer::Timer;
use crate::{AppId, Ask, Kept, Permit, PoolId, Refused, Said, Settings, Shed, Snapshot};

/// Decides when a tenant's calls may go. See the [crate's documentation](crate) for how.
pub struct Admission {
    state: Mutex<State>,
    /// Tells the timer to look at the clock again.
    nudge: Arc<Notify>,
    /// A runtime that somebody waited on, for timers that a drop elsewhere makes necessary.
    runtime: OnceLock<Handle>,
    pub(crate) live: Live,
    /// Whether an answer is news to the circuit: if not, telling it costs no lock.
    troubled: AtomicBool,
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

impl Admission {
    /// Returns the admission of one tenant.
    pub fn new(settings: Settings, start: Start) -> Arc<Self> {
        Self::with_jitter(settings, start, Jitter::from_entropy())
    }

    pub(crate) fn with_jitter(settings: Settings, start: Start, jitter: Jitter) -> Arc<Self> {
        let state = Mutex::new(State::new(settings, start, jitter, Instant::now()));
        Arc::new(Self {
            state,
            nudge: Arc::default(),
            runtime: OnceLock::new(),
            live: Live::default(),
            troubled: AtomicBool::new(false),
        })
    }

    /// Exchanges the settings while calls wait and go. Pools and apps keep their queues, counters and
    /// windows, by name. Nothing that runs is cut off: a lowered limit drains, and calls of an app that
    /// is named no longer end as they would have.
    pub fn reconfigure(self: &Arc<Self>, settings: Settings) {
        self.decide(|state, now, outbox| state.reconfigure(settings, now, outbox));
    }

    /// Returns the pool of `entity` for the limit type `name`, in whatever case, or `None` if there is
    /// no such pool.
    pub fn pool(&self, entity: Option<&str>, name: &str) -> Option<PoolId> {
        self.lock().find_pool(entity, name)
    }

    /// Returns the app of this name, or `None` if the settings never had one.
    pub fn app(&self, name: &str) -> Option<AppId> {
        self.lock().tenant.find(name)
    }

    /// Returns the pool of a limit type that Zuora named, made with this limit if nobody configured it.
    /// `None` if it is no name, or more limit types were learnt than there can be.
    pub fn learn(&self, entity: Option<&str>, name: &str, limit: u32) -> Option<PoolId> {
        self.lock().learn(entity, name, limit, Instant::now())
    }

    /// Returns a permit as soon as it is this call's turn: at once if nobody waits and a permit may
    /// be used, otherwise in order within the app and by fair shares between apps.
    ///
    /// Dropping the future leaves the queue at once. If a permit was already on its way, it goes to
    /// the next in turn.
    ///
    /// # Errors
    ///
    /// - [`Shed::QueueFull`] at once, if as many wait as may;
    /// - [`Shed::Cooldown`] if the call, or the pool, must rest until the deadline or longer: at once,
    ///   or when a pause begins while the call waits;
    /// - [`Shed::Down`] if Zuora cannot be reached and is left alone until the deadline or longer: at
    ///   once, or when that is found out, and at the deadline if it is being tried then;
    /// - [`Shed::RateLimited`] at once if a rate certainly keeps the call until its deadline, and at the
    ///   deadline if it did;
    /// - [`Shed::Hopeless`] at once, if the measured wait clearly exceeds the deadline, or the call is to
    ///   rest until then by [our own choice](crate::Ticket::resting_until);
    /// - [`Shed::QueueTimeout`] at the deadline, and at once if that is already over.
    ///
    /// # Panics
    ///
    /// If `ask` names a pool or an app of another admission.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice in its future"
    )]
    pub fn admit(self: &Arc<Self>, ask: Ask) -> impl Future<Output = Result<Permit, Shed>> {
        async move {
            // Before anybody can know of the call: it may need a timer as soon as it waits.
            if self.runtime.get().is_none()
                && let Ok(handle) = Handle::try_current()
            {
                self.runtime.get_or_init(|| handle);
            }
            let answer = self.decide(|state, now, outbox| state.ask(&ask, now, outbox))?;
            let (mut waiting, deadline) = match answer {
                Answer::Granted(grant) => return Ok(Permit::new(Arc::clone(self), grant)),
                Answer::Waits(spot, told, deadline) => {
                    (Waiting { admission: self, spot, told }, deadline)
                }
            };
            match time::timeout_at(deadline, &mut waiting.told).await {
                Ok(told) => told.expect("whoever takes a waiter out tells it why"),
                Err(_) => Err(waiting.out_of_time()),
            }
        }
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

    /// Returns everything there is to see, all of it at one moment.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot(&self.live, Instant::now())
    }

    /// Returns how long a call of `app` would wait if it asked now, as far as measurements tell.
    #[cfg(test)]
    pub(crate) fn predicted_wait(&self, pool: PoolId, app: AppId) -> Duration {
        let state = &mut *self.lock();
        let now = Instant::now();
        let pool = &mut state.pools[pool.index()];
        pool.capacity.advance(now);
        pool.predicted_wait(app, &state.tenant, now)
    }

    pub(crate) fn finish(self: &Arc<Self>, grant: &Grant, answered: bool) {
        self.decide(|state, now, outbox| state.finish(grant, answered, now, outbox));
    }

    pub(crate) fn take_back_unused(self: &Arc<Self>, grant: &Grant) {
        self.decide(|state, now, outbox| state.take_back_unused(grant, now, outbox));
    }

    pub(crate) fn refuse(self: &Arc<Self>, grant: &Grant, refused: Refused) -> Instant {
        self.decide(|state, now, outbox| state.refuse(grant, refused, now, outbox))
    }

    pub(crate) fn reached(self: &Arc<Self>, grant: &Grant) -> bool {
        // Whoever was given a permit after a failure sees this set, or the failure was no older.
        let is_troubled = self.troubled.load(Ordering::Relaxed);
        is_troubled
            && self.decide(|state, now, outbox| {
                let is_up_again = state.reached(grant, now, outbox);
                self.troubled.store(!state.tenant.circuit.is_calm(), Ordering::Relaxed);
                is_up_again
            })
    }

    pub(crate) fn unreached(self: &Arc<Self>, grant: &Grant) -> Option<Instant> {
        self.decide(|state, now, outbox| {
            self.troubled.store(true, Ordering::Relaxed);
            state.unreached(grant, now, outbox)
        })
    }

    pub(crate) fn observe(self: &Arc<Self>, pool: PoolId, said: Said) -> bool {
        self.decide(|state, now, outbox| state.observe(pool, said, now, outbox))
    }

    pub(crate) fn count_bytes(&self, pool: PoolId, app: AppId, more: u64) -> Result<(), Shed> {
        self.lock().keep(pool, app, more, Instant::now())
    }

    pub(crate) fn forget_bytes(&self, pool: PoolId, app: AppId, bytes: u64) {
        self.lock().pools[pool.index()].forget(app, bytes);
    }

    /// Does what the passing of time makes due, and returns when to look again.
    pub(crate) fn tend(self: &Arc<Self>) -> Option<Instant> {
        self.decide(State::tend)
    }

    pub(crate) fn lose_timer(&self) {
        self.lock().lose_timer();
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
            if let Err(Ok(permit)) = tell.send(outcome) {
                permit.unused();
            }
        }
        match outbox.timer {
            Wake::InTime => {}
            Wake::Sooner => self.nudge.notify_one(),
            Wake::Start => self.start_timer(),
        }
    }

    fn start_timer(self: &Arc<Self>) {
        let timer = Timer::new(self, Arc::clone(&self.nudge));
        // A permit may be dropped where there is no runtime; those who wait have one.
        if let Some(runtime) = Handle::try_current().ok().or_else(|| self.runtime.get().cloned()) {
            runtime.spawn(timer.run());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    /// Lets a sleeping timer find out that it is no longer needed.
    fn drop(&mut self) {
        self.nudge.notify_one();
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

/// A call in the queue. Dropping it takes the call out.
#[derive(Debug)]
struct Waiting<'a> {
    admission: &'a Arc<Admission>,
    spot: Spot,
    told: oneshot::Receiver<Outcome>,
}

impl Waiting<'_> {
    /// Leaves the queue and returns when to come back: the wait of those who ask now.
    fn out_of_time(&self) -> Shed {
        let mut state = self.admission.lock();
        let left = state.leave(self.spot);
        let shed = state.too_late(self.spot, left.as_ref(), Instant::now());
        drop(state);
        drop(left);
        shed
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.admission.lock().leave(self.spot);
        // After the lock: whatever it takes to drop a waiter, nobody else waits for it.
        drop(left);
        // A permit that is already on its way comes no further.
        self.told.close();
        if let Ok(Ok(permit)) = self.told.try_recv() {
            permit.unused();
        }
    }
}
