//! Many that wait at once, without a task for each: what a decision costs shall not drown in what a
//! runtime does with tasks.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use admission::{
    Admission, AppId, AppSettings, Ask, Deadline, OnRefusal, Place, PoolId, PoolSettings,
    QueueBounds, RateLimits, Settings, Start,
};
use tokio::time::Instant;

/// Zuora's limit for most operations.
pub const CEILING: u32 = 40;

/// Long enough that nobody is told that waiting is in vain.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Those who wait, each in a slot of its own.
pub struct Line<F> {
    slots: Vec<Slot<F>>,
    woken: Arc<Woken>,
}

struct Slot<F> {
    future: Pin<Box<F>>,
    waker: Waker,
}

/// The slots that were woken, in that order.
#[derive(Default)]
struct Woken(Mutex<VecDeque<usize>>);

struct Mark {
    slot: usize,
    woken: Arc<Woken>,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.slot);
    }
}

impl<F: Future> Line<F> {
    /// A line of as many as `join` is called for, each with the number of its slot.
    ///
    /// # Panics
    /// When one does not have to wait.
    pub fn of(count: usize, mut join: impl FnMut(usize) -> F) -> Self {
        let woken = Arc::new(Woken::default());
        let slot = |slot| {
            let waker = Waker::from(Arc::new(Mark { slot, woken: Arc::clone(&woken) }));
            let mut new = Slot { future: Box::pin(join(slot)), waker };
            new.begin_to_wait();
            new
        };
        Self { slots: (0..count).map(slot).collect(), woken }
    }

    /// Takes the one whose turn has come out of the line, and puts the one that `join` makes in its
    /// slot.
    ///
    /// # Panics
    /// When it is nobody's turn, or the new one does not have to wait.
    pub fn next(&mut self, join: impl FnOnce(usize) -> F) -> F::Output {
        loop {
            let mut woken = self.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = woken.pop_front().expect("it is somebody's turn");
            drop(woken);
            if let Poll::Ready(output) = self.slots[slot].poll() {
                self.replace(slot, join(slot));
                return output;
            }
        }
    }

    /// The one in this slot leaves, and another comes.
    ///
    /// # Panics
    /// When the new one does not have to wait.
    pub fn replace(&mut self, slot: usize, new: F) {
        let slot = &mut self.slots[slot];
        slot.future = Box::pin(new);
        slot.begin_to_wait();
    }
}

impl<F: Future> Slot<F> {
    fn poll(&mut self) -> Poll<F::Output> {
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }

    fn begin_to_wait(&mut self) {
        assert!(self.poll().is_pending(), "whoever joins a line must wait");
    }
}

impl<F> fmt::Debug for Line<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

/// An admission with one pool, and what is needed to ask it.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Where permits are given.
    pub admission: Arc<Admission>,
    pool: PoolId,
    apps: Vec<AppId>,
}

impl Desk {
    /// An admission of [`CEILING`] permits and so many apps, alike in everything.
    ///
    /// # Panics
    /// When admission does not know what it was told.
    #[must_use]
    pub fn with_apps(apps: usize) -> Self {
        let pool = PoolSettings {
            name: "Default".into(),
            entity: None,
            ceiling: NonZeroU32::new(CEILING).expect("the ceiling is not zero"),
            headroom: 0,
            enforce: true,
            on_refusal: OnRefusal::Shrink,
            retry_after_cap: None,
        };
        let names: Vec<String> = (0..apps).map(|app| format!("app{app}")).collect();
        let settings = Settings {
            pools: vec![pool],
            apps: names.iter().map(|name| AppSettings::named(name.as_str())).collect(),
            queue: QueueBounds { max_requests: 1_000_000, max_bytes: 1 << 30 },
            rate: RateLimits::NONE,
        };
        let admission = Admission::new(settings, Start::Full);
        let pool = admission.pool(None, "Default").expect("the pool is in the settings");
        let app = |name: &String| admission.app(name).expect("the app is in the settings");
        let apps = names.iter().map(app).collect();
        Self { admission, pool, apps }
    }

    /// A wish of the app whose turn it is if they take turns.
    #[must_use]
    pub fn ask(&self, turn: usize) -> Ask {
        Ask {
            pool: self.pool,
            app: self.apps[turn % self.apps.len()],
            user: None,
            deadline: Deadline::Permit(Instant::now() + PATIENCE),
            place: Place::Back,
            may_probe: true,
        }
    }

    /// When those who wait give up.
    #[must_use]
    pub fn deadline() -> Instant {
        Instant::now() + PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn whoever_is_told_leaves_the_line_and_another_comes() {
        let (tell, told) = oneshot::channel();
        let mut told = Some(told);
        let mut rest = Vec::new();
        let mut silent = || {
            let (tell, told) = oneshot::channel();
            rest.push(tell);
            told
        };
        let mut line = Line::of(3, |slot| if slot == 1 { told.take().unwrap() } else { silent() });

        tell.send("go").unwrap();

        let mut slots = Vec::new();
        let told = line.next(|slot| {
            slots.push(slot);
            silent()
        });
        assert_eq!((told, slots), (Ok("go"), vec![1]));
    }

    #[tokio::test]
    async fn a_desk_gives_as_many_permits_as_there_are() {
        let desk = Desk::with_apps(3);
        let take = |turn| desk.admission.admit(desk.ask(turn)).now_or_never();

        let permits: Vec<_> = (0..CEILING as usize).map(take).collect();

        assert!(permits.iter().all(|permit| matches!(permit, Some(Ok(_)))));
        assert!(take(0).is_none());
    }
}
