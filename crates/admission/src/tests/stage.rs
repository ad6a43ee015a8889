//! A stage on which calls ask and are told one at a time: a judge who watches it sees every decision in
//! the moment when it is taken, and never has to guess what happened first.

use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Wake, Waker};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Notify;

use super::*;

pub(super) type Outcome = Result<Permit, Shed>;

/// An admission, and the calls that wait for it, each with a number of the story's.
pub(super) struct Stage {
    pub(super) admission: Arc<Admission>,
    waiting: BTreeMap<u64, Call>,
    bell: Arc<Bell>,
}

/// A call that waits, and whom to wake when it need not any more.
type Call = (Pin<Box<dyn Future<Output = Outcome>>>, Waker);

/// Who has been told something, in that order.
#[derive(Default)]
struct Bell {
    rung: Mutex<Vec<u64>>,
    any: Notify,
}

struct Ring {
    call: u64,
    bell: Arc<Bell>,
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.bell.rung.lock().unwrap().push(self.call);
        self.bell.any.notify_one();
    }
}

impl Stage {
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let admission = Admission::with_jitter(settings, Start::Full, Jitter::from_seed(seed));
        Self { admission, waiting: BTreeMap::new(), bell: Arc::default() }
    }

    /// A call asks; returns what it is told at once, if it is.
    pub(super) fn asks(&mut self, call: u64, ask: Ask) -> Option<Outcome> {
        let admission = Arc::clone(&self.admission);
        let waker = Waker::from(Arc::new(Ring { call, bell: Arc::clone(&self.bell) }));
        // All who are told something in one moment are to hear of it, however many.
        let future = tokio::task::unconstrained(async move { admission.admit(ask).await });
        self.waiting.insert(call, (Box::pin(future), waker));
        self.look_at(call)
    }

    /// A call that waits leaves.
    pub(super) fn leaves(&mut self, call: u64) {
        self.waiting.remove(&call);
    }

    /// Returns whoever was told something first, and what, as long as there is anybody.
    pub(super) fn told(&mut self) -> Option<(u64, Outcome)> {
        loop {
            let rung = std::mem::take(&mut *self.bell.rung.lock().unwrap());
            let mut rung = rung.into_iter();
            let call = rung.next()?;
            self.bell.rung.lock().unwrap().splice(0..0, rung);
            if let Some(outcome) = self.look_at(call) {
                return Some((call, outcome));
            }
        }
    }

    /// Waits for `at`, or until somebody is told something.
    pub(super) async fn until(&self, at: Instant) {
        tokio::select! {
            biased;
            () = self.bell.any.notified() => {}
            () = time::sleep_until(at) => {}
        }
    }

    fn look_at(&mut self, call: u64) -> Option<Outcome> {
        let (future, waker) = self.waiting.get_mut(&call)?;
        match future.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(outcome) => {
                self.waiting.remove(&call);
                Some(outcome)
            }
            Poll::Pending => None,
        }
    }
}

/// What is still to come, in order; what comes at the same moment in the order in which it was planned.
pub(super) struct Plan<E> {
    coming: BinaryHeap<std::cmp::Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, E>,
    planned: u64,
}

impl<E> Default for Plan<E> {
    fn default() -> Self {
        Self { coming: BinaryHeap::new(), events: BTreeMap::new(), planned: 0 }
    }
}

impl<E> Plan<E> {
    pub(super) fn add(&mut self, at: Instant, event: E) {
        self.planned += 1;
        self.coming.push(std::cmp::Reverse((at, self.planned)));
        self.events.insert(self.planned, event);
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.coming.peek().map(|next| next.0.0)
    }

    /// Returns the next event if its moment has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<E> {
        self.coming.peek().filter(|next| next.0.0 <= now)?;
        let std::cmp::Reverse((_, number)) = self.coming.pop()?;
        self.events.remove(&number)
    }
}

/// How long an app's requests take. Whole milliseconds, as Tokio's timers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hold {
    Constant(u64),
    Uniform(u64, u64),
    /// The median, and the standard deviation of the logarithm.
    LogNormal(u64, f64),
}

impl Hold {
    /// Some distribution with about this middle.
    pub(super) fn about(middle: u64, dice: &mut StdRng) -> Self {
        match dice.random_range(0..3) {
            0 => Self::Constant(middle),
            1 => Self::Uniform(middle / 2, middle * 3 / 2),
            _ => Self::LogNormal(middle, dice.random_range(0.3..1.0)),
        }
    }

    pub(super) fn draw(self, dice: &mut StdRng) -> Duration {
        let drawn = match self {
            Self::Constant(millis) => millis,
            Self::Uniform(least, most) => dice.random_range(least..=most),
            Self::LogNormal(median, sigma) => {
                let (a, b): (f64, f64) =
                    (dice.random_range(1e-9..1.0), dice.random_range(0.0..1.0));
                let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
                ((median as f64 * (sigma * normal).exp()) as u64).min(self.longest())
            }
        };
        millis(drawn.max(1))
    }

    /// In milliseconds.
    pub(super) fn mean(self) -> f64 {
        match self {
            Self::Constant(millis) => millis as f64,
            Self::Uniform(least, most) => (least + most) as f64 / 2.0,
            Self::LogNormal(median, sigma) => median as f64 * (sigma * sigma / 2.0).exp(),
        }
    }

    /// In milliseconds. A tail is cut where only one draw in a thousand is.
    pub(super) fn longest(self) -> u64 {
        match self {
            Self::Constant(millis) => millis,
            Self::Uniform(_, most) => most,
            Self::LogNormal(median, sigma) => (median as f64 * (3.1 * sigma).exp()) as u64,
        }
    }
}

/// The time until the next of events that come at random, so many in a second.
pub(super) fn poisson(per_second: f64, dice: &mut StdRng) -> Duration {
    let random: f64 = dice.random_range(1e-9..1.0);
    Duration::from_secs_f64(-random.ln() / per_second)
}

/// Goes through the lives of these seeds, or the one that `SIM_SEED` names.
pub(super) fn sweep<F: Future>(lives: u64, live: impl Fn(u64) -> F) -> Vec<F::Output> {
    #[expect(clippy::disallowed_methods, reason = "a test is replayed by hand")]
    let only = std::env::var("SIM_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = only.map_or(0..lives, |seed: u64| seed..seed + 1);
    let one = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        match catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(seed)))) {
            Ok(output) => output,
            Err(_) => panic!("replay with SIM_SEED={seed}"),
        }
    };
    seeds.map(one).collect()
}
