//! The lanes, model-checked: threads that go on in every order, or in very many.
//!
//! As `model.rs`, and with the same means; there is no time here. A failure prints its schedule.
//! `SCHEDULE=<it> cargo test -p admission --features model --test lanes_model <the test>` does the same
//! again.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::env;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admission::{
    Admission, AppId, AppSettings, Lane, LaneTicket, Lanes, LanesSnapshot, QueueBounds, RateLimits,
    Settings, Shed, Start,
};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicU32, Ordering::SeqCst};
use shuttle::{Config, Runner, future, thread};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// Longer than anybody waits here, where no time passes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every order there is: a lane comes free while the call leaves that is to have it.
#[test]
fn a_call_may_leave_at_any_step_of_being_let_in() {
    every_order(|| {
        let scene = Scene::new();
        let held = scene.at_once(0, &[1]);
        let leaves = scene.waiting(0, &[1]);
        let mut next = scene.waiting(0, &[1]);
        thread::scope(|threads| {
            threads.spawn(|| drop(held));
            threads.spawn(|| drop(leaves));
        });
        drop(next.poll_once().expect("it is its turn"));
        scene.nothing_is_left();
    });
}

#[test]
fn two_lanes_that_come_free_at_once_let_in_who_waits_for_both() {
    every_order(|| {
        let scene = Scene::new();
        let held = [scene.at_once(0, &[1]), scene.at_once(0, &[2])];
        let mut both = scene.waiting(1, &[1, 2]);
        thread::scope(|threads| {
            for held in held {
                threads.spawn(|| drop(held));
            }
        });
        drop(both.poll_once().expect("both are free"));
        scene.nothing_is_left();
    });
}

#[test]
fn a_call_that_looks_once_more_and_leaves_loses_nothing() {
    every_order(|| {
        let scene = Scene::new();
        let held = scene.at_once(0, &[1, 2]);
        let mut call = scene.waiting(0, &[2]);
        thread::scope(|threads| {
            threads.spawn(|| drop(held));
            threads.spawn(move || drop(call.poll_once()));
        });
        scene.nothing_is_left();
    });
}

#[test]
fn whoever_comes_while_lanes_come_free_is_let_in() {
    many_orders(2000, || {
        let scene = Scene::new();
        thread::scope(|threads| {
            for (app, keys) in [(0, [1, 2]), (1, [2, 1]), (0, [2, 3]), (1, [3, 1])] {
                let scene = &scene;
                threads.spawn(move || drop(scene.waits_for(app, &keys, None)));
            }
        });
        scene.nothing_is_left();
    });
}

/// Everything that there is to call, in any mixture. Whoever is forgotten sleeps for ever: a deadlock.
#[test]
fn whatever_is_done_in_whatever_order_nothing_is_lost() {
    many_orders(3000, || {
        let scene = Scene::new();
        thread::scope(|threads| {
            for app in [0, 1, 0] {
                let scene = &scene;
                threads.spawn(move || (0..2).for_each(|_| scene.do_anything(app)));
            }
            threads.spawn(|| {
                let LanesSnapshot { held, waiting } = scene.lanes.snapshot();
                assert!(held <= 3 && waiting <= 3, "{held} held, {waiting} waiting");
            });
        });
        scene.nothing_is_left();
    });
}

/// Lanes, and who is in each of them.
struct Scene {
    lanes: Arc<Lanes>,
    apps: [AppId; 2],
    inside: Arc<[AtomicU32; 4]>,
}

impl Scene {
    fn new() -> Self {
        Self { lanes: Lanes::new(100), apps: apps(), inside: Arc::default() }
    }

    fn enters(&self, app: usize, keys: &[u64], ticket: Option<LaneTicket>) -> Call {
        let (lanes, app, inside) =
            (Arc::clone(&self.lanes), self.apps[app], Arc::clone(&self.inside));
        let keys = keys.to_vec();
        let deadline = Instant::now() + PATIENCE;
        Call(Box::pin(async move {
            let lane = lanes.enter(&keys, app, ticket, deadline).await?;
            Ok(Held::new(inside, keys, lane))
        }))
    }

    #[track_caller]
    fn at_once(&self, app: usize, keys: &[u64]) -> Held {
        self.enters(app, keys, None).poll_once().expect("nobody is in the way")
    }

    #[track_caller]
    fn waiting(&self, app: usize, keys: &[u64]) -> Call {
        let mut call = self.enters(app, keys, None);
        assert!(call.poll_once().is_none(), "the lane is free");
        call
    }

    fn waits_for(&self, app: usize, keys: &[u64], ticket: Option<LaneTicket>) -> Held {
        future::block_on(self.enters(app, keys, ticket).0).unwrap()
    }

    /// One call's life, by chance.
    fn do_anything(&self, app: usize) {
        let first = thread_rng().gen_range(1..4_u64);
        let keys = [first, thread_rng().gen_range(1..4_u64)];
        if thread_rng().gen_bool(0.3) {
            let mut leaves = self.enters(app, &keys, None);
            let polls = thread_rng().gen_range(0..3);
            let _ = (0..polls).any(|_| leaves.poll_once().is_some());
            return;
        }
        let held = self.waits_for(app, &keys, None);
        if thread_rng().gen_bool(0.3) {
            let ticket = held.lane.as_ref().unwrap().ticket();
            drop(held);
            drop(self.waits_for(app, &keys, Some(ticket)));
        }
    }

    /// Everybody left: every lane is to be had at once.
    #[track_caller]
    fn nothing_is_left(self) {
        assert_eq!(self.lanes.snapshot(), LanesSnapshot { held: 0, waiting: 0 });
        drop(self.at_once(1, &[1, 2, 3]));
    }
}

type Entering = Pin<Box<dyn Future<Output = Result<Held, Shed>> + Send>>;

/// A call that enters. It may be dropped at any time.
struct Call(Entering);

impl Call {
    fn poll_once(&mut self) -> Option<Held> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome.unwrap()),
            Poll::Pending => None,
        }
    }
}

/// A lane, and the count of who is in it.
struct Held {
    inside: Arc<[AtomicU32; 4]>,
    keys: Vec<u64>,
    lane: Option<Lane>,
}

impl Held {
    fn new(inside: Arc<[AtomicU32; 4]>, mut keys: Vec<u64>, lane: Lane) -> Self {
        keys.dedup();
        for key in &keys {
            assert_eq!(inside[*key as usize].fetch_add(1, SeqCst), 0, "two in one lane");
        }
        Self { inside, keys, lane: Some(lane) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for key in &self.keys {
            self.inside[*key as usize].fetch_sub(1, SeqCst);
        }
        drop(self.lane.take());
    }
}

/// Two apps, which only an admission can name.
fn apps() -> [AppId; 2] {
    let settings = Settings {
        pools: Vec::new(),
        apps: ["a", "b"].map(AppSettings::named).to_vec(),
        queue: QueueBounds { max_requests: 1, max_bytes: 1 },
        rate: RateLimits::NONE,
    };
    let admission = Admission::new(settings, Start::Full);
    ["a", "b"].map(|name| admission.app(name).unwrap())
}

/// Explores a scene of a few steps to the end.
fn every_order(scene: fn()) {
    explore(DfsScheduler::new(None, false), scene);
}

/// Explores so many orders by pure chance, and as many in which few threads are overtaken.
fn many_orders(orders: usize, scene: fn()) {
    explore(RandomScheduler::new_from_seed(1, orders), scene);
    explore(PctScheduler::new_from_seed(1, 3, orders), scene);
}

#[expect(clippy::disallowed_methods, reason = "a test is replayed by hand")]
fn explore(scheduler: impl Scheduler + 'static, scene: fn()) {
    let mut config = Config::new();
    config.stack_size = 0x40000;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    // Never dropped: whom a failed model leaves asleep cannot be woken by its end.
    let clock: &Runtime = Box::leak(Box::new(
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap(),
    ));
    // All threads of a model are one to the system, so all of them are on this runtime.
    let _runtime = clock.enter();
    match env::var("SCHEDULE") {
        Ok(schedule) => {
            let mut replay = ReplayScheduler::new_from_encoded(&schedule);
            replay.set_allow_incomplete();
            Runner::new(replay, config).run(scene)
        }
        Err(_) => Runner::new(scheduler, config).run(scene),
    };
}
