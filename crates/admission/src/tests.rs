//! The promises of this crate, under a stopped clock.

mod capacity;
mod changes;
mod changing;
mod circuit;
mod deadlines;
mod dropping;
mod fairness;
mod outage;
mod pace;
mod patience;
mod prediction;
mod queue;
mod rates;
mod refusals;
mod resting;
mod sharing;
mod simulation;
mod size;
mod snapshot;
mod stage;
mod storm;
mod threads;

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{self, Instant};

use crate::jitter::Jitter;
use crate::{
    Admission, AppId, AppSettings, Ask, Deadline, OnRefusal, Permit, Place, PoolId, PoolSettings,
    QueueBounds, RateLimits, Said, Settings, Shed, Start, Ticket,
};

const POOL: PoolId = PoolId(0);

/// One pool called `Default`, and apps `a`, `b`, `c`.
fn one_pool(ceiling: u32) -> Settings {
    Settings {
        pools: vec![pool("Default", None, ceiling)],
        apps: ["a", "b", "c"].map(AppSettings::named).to_vec(),
        queue: QueueBounds { max_requests: 1000, max_bytes: 1000 },
        rate: RateLimits::NONE,
    }
}

fn pool(name: &str, entity: Option<&str>, ceiling: u32) -> PoolSettings {
    let ceiling = NonZeroU32::new(ceiling).unwrap();
    PoolSettings {
        name: name.into(),
        entity: entity.map(Arc::from),
        ceiling,
        headroom: 0,
        enforce: true,
        on_refusal: OnRefusal::Shrink,
        retry_after_cap: None,
    }
}

fn admission(settings: Settings) -> Arc<Admission> {
    Admission::with_jitter(settings, Start::Full, Jitter::from_seed(1))
}

fn app(index: usize) -> AppId {
    AppId(u32::try_from(index).unwrap())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A call of app `a` that waits for a minute at most.
fn ask() -> Ask {
    ask_of(0)
}

fn ask_of(index: usize) -> Ask {
    let deadline = Deadline::Permit(Instant::now() + secs(60));
    Ask { pool: POOL, app: app(index), user: None, deadline, place: Place::Back, may_probe: true }
}

/// As `ask`, but with a ticket that may not be used before `moment`; it stands before all others.
fn resting(ask: Ask, moment: Instant) -> Ask {
    let ticket = Ticket { number: 0, since: Instant::now(), not_before: None, is_chosen: false };
    let ticket = ticket.refused_until(moment);
    Ask { place: Place::Front(ticket), ..ask }
}

/// The outcome of a call that is expected not to wait.
#[track_caller]
fn at_once(admission: &Arc<Admission>, ask: Ask) -> Result<Permit, Shed> {
    let mut call = Box::pin(admission.admit(ask));
    match call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(outcome) => outcome,
        std::task::Poll::Pending => panic!("the call waits"),
    }
}

#[track_caller]
fn permits(admission: &Arc<Admission>, count: usize) -> Vec<Permit> {
    (0..count).map(|_| at_once(admission, ask()).unwrap()).collect()
}

/// Asks in a task of its own, and returns once the call stands in the queue.
async fn waiting(admission: &Arc<Admission>, ask: Ask) -> JoinHandle<Result<Permit, Shed>> {
    let admission = Arc::clone(admission);
    let call = tokio::spawn(async move { admission.admit(ask).await });
    settle().await;
    assert!(!call.is_finished(), "the call does not wait");
    call
}

/// Lets every task do what it can without time passing.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

async fn pass(time: Duration) {
    time::sleep(time).await;
    settle().await;
}

/// How long a future takes.
async fn timed<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let start = Instant::now();
    let output = future.await;
    (start.elapsed(), output)
}
