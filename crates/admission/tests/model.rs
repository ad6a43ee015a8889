//! The locking part, model-checked: threads that go on in every order, or in very many.
//!
//! Runs under the feature `model`, in which whatever threads meet at marks its steps and [shuttle]
//! decides who takes the next one. Time is one more thread. What is judged is counted here, outside.
//!
//! A failure prints its schedule. `SCHEDULE=<it> cargo test -p admission --features model --test model
//! <the test>` does the same again.
//!
//! [shuttle]: https://docs.rs/shuttle
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail the test")]

use std::env;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Count;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admission::{
    Admission, AppId, AppSettings, Ask, Circuit, Deadline, OnRefusal, Permit, Place, PoolId,
    PoolSettings, QueueBounds, RateLimits, Refused, Said, Settings, Shed, Snapshot, Start, Ticket,
};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicU32, Ordering::SeqCst};
use shuttle::{Config, Runner, future, thread};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{self, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than the clock ever runs: who waits for this was forgotten.
const NEVER: Duration = Duration::from_secs(86_400);
/// Far more than anybody needs to be served, however unlucky.
const PATIENCE: u32 = 1000;

/// Every order there is: a permit comes back while the call leaves that is to have it.
#[test]
fn a_call_may_leave_at_any_step_of_its_grant() {
    every_order(|_| {
        let scene = Scene::new(1);
        let held = scene.at_once();
        let [leaves, mut next] = scene.waiting();
        thread::scope(|threads| {
            threads.spawn(|| drop(held));
            threads.spawn(|| drop(leaves));
        });
        drop(next.poll_once().expect("it is its turn").unwrap());
        scene.nothing_is_left(1);
    });
}

#[test]
fn a_call_may_leave_while_several_are_told_that_they_may_go() {
    every_order(|_| {
        let scene = Scene::new(3);
        scene.admission.reconfigure(settings(1));
        let held = scene.at_once();
        let [mut first, leaves, mut next] = scene.waiting();
        thread::scope(|threads| {
            threads.spawn(|| scene.admission.reconfigure(settings(3)));
            threads.spawn(|| drop(leaves));
        });
        for call in [&mut first, &mut next] {
            drop(call.poll_once().expect("there is room for both").unwrap());
        }
        drop(held);
        scene.nothing_is_left(3);
    });
}

#[test]
fn a_call_that_looks_once_more_and_leaves_loses_nothing() {
    every_order(|_| {
        let scene = Scene::new(1);
        let held = scene.at_once();
        let [mut call] = scene.waiting();
        thread::scope(|threads| {
            threads.spawn(|| drop(held));
            threads.spawn(move || drop(call.poll_once()));
        });
        scene.nothing_is_left(1);
    });
}

#[test]
fn whoever_left_no_longer_waits() {
    every_order(|_| {
        let scene = Scene::new(1);
        let held = scene.at_once();
        let [leaves] = scene.waiting();
        thread::scope(|threads| {
            threads.spawn(|| drop(leaves));
            threads.spawn(|| scene.look());
        });
        scene.look();
        drop(held);
        scene.nothing_is_left(1);
    });
}

#[test]
fn what_a_call_that_left_was_given_goes_to_the_next() {
    many_orders(2000, |_| {
        let scene = Scene::new(2);
        let held = [scene.at_once(), scene.at_once()];
        let [first, second, third, fourth] = scene.waiting();
        thread::scope(|threads| {
            threads.spawn(|| drop(first));
            threads.spawn(|| drop(third));
            threads.spawn(|| drop(future::block_on(second).unwrap()));
            threads.spawn(|| drop(future::block_on(fourth).unwrap()));
            for held in held {
                threads.spawn(|| drop(held));
            }
        });
        scene.nothing_is_left(2);
    });
}

#[test]
fn whoever_asks_while_permits_come_back_is_served() {
    many_orders(2000, |_| {
        let scene = Scene::new(1);
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| drop(future::block_on(scene.call(scene.ask())).unwrap()));
            }
            threads.spawn(|| scene.look());
        });
        scene.nothing_is_left(1);
    });
}

/// Everything that there is to call, in any mixture.
#[test]
fn whatever_is_done_in_whatever_order_nothing_is_lost() {
    many_orders(1500, |clock| {
        let scene = Scene::new(2);
        let busy = AtomicU32::new(3);
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    (0..2).for_each(|_| scene.do_anything());
                    busy.fetch_sub(1, SeqCst);
                });
            }
            threads.spawn(|| {
                scene.look();
                scene.admission.reconfigure(settings(1));
                scene.look();
                scene.admission.reconfigure(settings(2));
            });
            threads.spawn(|| clock.run_until(|| busy.load(SeqCst) == 0));
        });
        scene.recover(clock);
        scene.nothing_is_left(2);
    });
}

#[test]
fn a_moment_lets_go_who_waits_for_nothing_else() {
    many_orders(1000, |clock| {
        let scene = Scene::new(1);
        let held = scene.at_once();
        let waits = AtomicU32::new(1);
        thread::scope(|threads| {
            threads.spawn(|| {
                // The pool is closed for a second, and this call rests for much longer.
                let until = Instant::now() + NEVER / 2;
                let ticket = held.refused(Refused::Concurrency { until });
                let mut rests = scene.call(Ask { place: Place::Front(ticket), ..scene.ask() });
                assert!(rests.poll_once().is_none());
                while waits.load(SeqCst) > 0 {
                    thread::yield_now();
                }
            });
            threads.spawn(|| {
                drop(future::block_on(scene.call(scene.ask())).unwrap());
                waits.store(0, SeqCst);
            });
            threads.spawn(|| clock.run_until(|| waits.load(SeqCst) == 0));
        });
        scene.nothing_is_left(1);
    });
}

#[test]
fn a_deadline_may_cross_with_a_grant() {
    many_orders(1000, |clock| {
        let scene = Scene::new(1);
        let held = scene.at_once();
        let deadline = Deadline::Permit(Instant::now() + SECOND);
        let busy = AtomicU32::new(2);
        thread::scope(|threads| {
            threads.spawn(|| drop(held));
            threads.spawn(|| {
                match future::block_on(scene.call(Ask { deadline, ..scene.ask() })) {
                    Ok(held) => drop(held),
                    Err(shed) => assert!(matches!(shed, Shed::QueueTimeout { .. }), "{shed}"),
                }
                busy.fetch_sub(1, SeqCst);
            });
            threads.spawn(|| {
                drop(future::block_on(scene.call(scene.ask())).unwrap());
                busy.fetch_sub(1, SeqCst);
            });
            threads.spawn(|| clock.run_until(|| busy.load(SeqCst) == 0));
        });
        scene.nothing_is_left(1);
    });
}

#[test]
fn a_permit_may_end_where_there_is_no_runtime_while_another_asks() {
    many_orders(1000, |clock| {
        let scene = Scene::new(1);
        let held = scene.at_once();
        let busy = AtomicU32::new(1);
        let elsewhere = thread::Builder::new().name("no runtime".into());
        let refuses = elsewhere.spawn(move || held.refused(refused_until_now()));
        thread::scope(|threads| {
            threads.spawn(|| {
                drop(future::block_on(scene.call(scene.ask())).unwrap());
                busy.store(0, SeqCst);
            });
            threads.spawn(|| clock.run_until(|| busy.load(SeqCst) == 0));
        });
        refuses.unwrap().join().unwrap();
        scene.nothing_is_left(1);
    });
}

/// Time stands still, so the lease that runs out wakes nobody.
#[test]
fn a_probe_that_comes_back_untold_lets_the_next_try_and_never_two_at_once() {
    many_orders(1500, |clock| {
        let scene = Scene::down(clock);
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| drop(future::block_on(scene.call(scene.ask())).unwrap()));
            }
            threads.spawn(|| scene.look());
        });
        scene.is_up_again(clock);
        scene.nothing_is_left(3);
    });
}

#[test]
fn a_probe_may_be_dropped_on_its_way_while_others_wait_and_ask() {
    many_orders(1500, |clock| {
        let scene = Scene::down(clock);
        let probe = scene.at_once();
        let [mut leaves, waits] = scene.waiting();
        thread::scope(|threads| {
            threads.spawn(|| drop(probe));
            threads.spawn(move || {
                let _ = (0..2).any(|_| leaves.poll_once().is_some());
            });
            for call in [waits, scene.call(scene.ask())] {
                threads.spawn(|| drop(future::block_on(call).unwrap()));
            }
        });
        scene.is_up_again(clock);
        scene.nothing_is_left(3);
    });
}

/// What a probe tells crosses with answers of an earlier time, with those who ask, and with a reload.
#[test]
fn whatever_a_probe_tells_everybody_goes_in_the_end() {
    many_orders(1000, |clock| {
        let scene = Scene::new(3);
        let before = [scene.at_once(), scene.at_once()];
        scene.fails(5);
        let busy = AtomicU32::new(3);
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    let held = future::block_on(scene.call(scene.ask())).unwrap();
                    match thread_rng().gen_range(0..3) {
                        0 => held.unreached(),
                        1 => held.reached(),
                        _ => {}
                    }
                    drop(held);
                    busy.fetch_sub(1, SeqCst);
                });
            }
            threads.spawn(|| {
                let [answered, failed] = before;
                answered.reached();
                failed.unreached();
            });
            threads.spawn(|| scene.admission.reconfigure(settings(3)));
            threads.spawn(|| clock.run_until(|| busy.load(SeqCst) == 0));
        });
        scene.is_up_again(clock);
        scene.nothing_is_left(3);
    });
}

/// The timer sleeps, nothing wakes it but the end; were it to sleep on, that would be a deadlock.
#[test]
fn the_timer_ends_with_whoever_drops_the_admission_last() {
    many_orders(1000, |_| {
        let scene = Scene::new(1);
        let held = scene.at_once();
        let until = Instant::now() + NEVER / 2;
        let ticket = held.refused(Refused::Concurrency { until });
        let mut rests = scene.call(Ask { place: Place::Front(ticket), ..scene.ask() });
        assert!(rests.poll_once().is_none());
        let others = [(); 2].map(|()| Arc::clone(&scene.admission));
        let kept = scene.admission.keep(scene.pool, scene.app, 10).unwrap();
        drop(rests);
        drop(scene);
        thread::spawn(move || drop(kept));
        for admission in others {
            thread::spawn(move || drop(admission));
        }
    });
}

/// One admission, and who judges it.
#[derive(Clone)]
struct Scene {
    admission: Arc<Admission>,
    pool: PoolId,
    app: AppId,
    judge: Arc<Judge>,
}

/// What can be told about an admission without it.
struct Judge {
    /// The most permits that are ever allowed.
    limit: u32,
    /// Permits that somebody holds.
    alive: AtomicU32,
    /// Whether the tenant is down, and nobody is told otherwise.
    one_at_a_time: Count,
    // Plain counts: they need no steps of their own.
    asked: Count,
    answered: Count,
    received: Count,
    returned: Count,
}

impl Scene {
    fn new(limit: u32) -> Self {
        let admission = Admission::new(settings(limit), Start::Full);
        let pool = admission.pool(None, "Default").unwrap();
        let app = admission.app("a").unwrap();
        let [asked, answered, received, returned] = [0; 4].map(Count::new);
        let alive = AtomicU32::new(0);
        let one_at_a_time = Count::new(0);
        let judge = Judge { limit, alive, one_at_a_time, asked, answered, received, returned };
        Self { admission, pool, app, judge: Arc::new(judge) }
    }

    /// A tenant that is down, and may be tried.
    fn down(clock: &Clock) -> Self {
        let scene = Self::new(3);
        scene.fails(5);
        (0..2).for_each(|_| clock.tick());
        scene.judge.one_at_a_time.store(1, SeqCst);
        scene
    }

    fn fails(&self, times: u32) {
        for _ in 0..times {
            self.at_once().unreached();
        }
    }

    /// Somebody is answered in the end, and time passes until all permits may be used.
    fn is_up_again(&self, clock: &Clock) {
        self.judge.one_at_a_time.store(0, SeqCst);
        for _ in 0..60 {
            clock.tick();
            if let Some(held) = self.call(self.ask()).poll_once() {
                held.unwrap().reached();
            }
        }
        assert_eq!(self.admission.snapshot().circuit, Circuit::Closed);
    }

    fn ask(&self) -> Ask {
        let deadline = Deadline::Permit(Instant::now() + NEVER);
        Ask {
            pool: self.pool,
            app: self.app,
            user: None,
            deadline,
            place: Place::Back,
            may_probe: true,
        }
    }

    fn call(&self, ask: Ask) -> Call {
        self.judge.asked.fetch_add(1, SeqCst);
        let admission = Arc::clone(&self.admission);
        let future = Box::pin(async move { admission.admit(ask).await });
        Call { scene: self.clone(), future: Some(future) }
    }

    #[track_caller]
    fn at_once(&self) -> Held {
        self.call(self.ask()).poll_once().expect("nothing is in the way").unwrap()
    }

    /// Calls that stand in the queue.
    #[track_caller]
    fn waiting<const CALLS: usize>(&self) -> [Call; CALLS] {
        let mut calls = [(); CALLS].map(|()| self.call(self.ask()));
        assert!(calls.iter_mut().all(|call| call.poll_once().is_none()), "there is room");
        calls
    }

    /// One call's life, by chance.
    fn do_anything(&self) {
        let mut kept = self.admission.keep(self.pool, self.app, 10).unwrap();
        let mut call = self.call(self.ask());
        if thread_rng().gen_bool(0.4) {
            let polls = thread_rng().gen_range(0..3);
            if !(0..polls).any(|_| call.poll_once().is_some()) {
                return;
            }
            return self.look();
        }
        let held = future::block_on(&mut call).unwrap();
        kept.grow(5).unwrap();
        match thread_rng().gen_range(0..4) {
            0 => held.observe(Said { limit: thread_rng().gen_range(1..3), remaining: None }),
            1 => {
                let ticket = held.refused(refused_until_now());
                let again = self.call(Ask { place: Place::Front(ticket), ..self.ask() });
                return drop(future::block_on(again).unwrap());
            }
            _ => self.look(),
        }
        drop(kept);
        drop(held);
    }

    /// A snapshot is right whenever it is taken.
    fn look(&self) {
        let judge = &self.judge;
        let (received, answered) = (judge.received.load(SeqCst), judge.answered.load(SeqCst));
        let seen = self.admission.snapshot();
        let (returned, asked) = (judge.returned.load(SeqCst), judge.asked.load(SeqCst));

        let apps = || seen.pools.iter().flat_map(|pool| &pool.apps);
        let in_use = apps().map(|app| app.in_use).sum::<u32>();
        let queued = apps().map(|app| app.queued).sum::<usize>();
        let kept_bytes = apps().map(|app| app.kept_bytes).sum::<u64>();
        assert_eq!((seen.in_use, seen.queued, seen.kept_bytes), (in_use, queued, kept_bytes));
        assert!(seen.in_use <= judge.limit, "more permits out than there are");
        assert!(
            seen.in_use >= received.saturating_sub(returned),
            "a permit is out and not counted"
        );
        assert!(seen.queued <= (asked - answered) as usize, "somebody who left still waits");
    }

    /// Lets Zuora allow everything again, and time pass until a refusal is forgotten.
    fn recover(&self, clock: &Clock) {
        let limit = self.judge.limit;
        loop {
            clock.tick();
            let mut call = self.call(self.ask());
            if let Some(held) = call.poll_once() {
                return held.unwrap().observe(Said { limit, remaining: None });
            }
        }
    }

    /// Everything ended: every permit is to be had at once, and not one more.
    #[track_caller]
    fn nothing_is_left(self, permits: u32) {
        self.look();
        let Snapshot { in_use, queued, kept_bytes, .. } = self.admission.snapshot();
        assert_eq!((in_use, queued, kept_bytes), (0, 0, 0), "something is lost");
        let held: Vec<_> = (0..permits).map(|_| self.at_once()).collect();
        assert!(self.call(self.ask()).poll_once().is_none(), "a permit too many");
        drop(held);
    }
}

type Admit = Pin<Box<dyn Future<Output = Result<Permit, Shed>> + Send>>;

/// A call that asks. It may be dropped at any time.
struct Call {
    scene: Scene,
    future: Option<Admit>,
}

impl Call {
    fn poll_once(&mut self) -> Option<Result<Held, Shed>> {
        match Pin::new(self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}

impl Future for Call {
    type Output = Result<Held, Shed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.future.as_mut().unwrap().as_mut().poll(context);
        outcome.map_ok(|permit| Held::new(self.scene.clone(), permit))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        drop(self.future.take());
        self.scene.judge.answered.fetch_add(1, SeqCst);
    }
}

/// A permit, and the count of it.
struct Held {
    scene: Scene,
    permit: Option<Permit>,
}

impl Held {
    fn new(scene: Scene, permit: Permit) -> Self {
        let others = scene.judge.alive.fetch_add(1, SeqCst);
        assert!(others < scene.judge.limit, "more permits are held than there are");
        let is_alone = scene.judge.one_at_a_time.load(SeqCst) == 0 || others == 0;
        assert!(is_alone, "two try a tenant that is down");
        scene.judge.received.fetch_add(1, SeqCst);
        Self { scene, permit: Some(permit) }
    }

    fn reached(&self) {
        self.permit.as_ref().unwrap().reached();
    }

    fn unreached(&self) {
        self.permit.as_ref().unwrap().unreached();
    }

    fn observe(&self, said: Said) {
        self.permit.as_ref().unwrap().observe(said);
    }

    fn refused(mut self, refused: Refused) -> Ticket {
        self.count_out();
        self.permit.take().unwrap().refused(refused)
    }

    fn count_out(&self) {
        self.scene.judge.alive.fetch_sub(1, SeqCst);
        self.scene.judge.returned.fetch_add(1, SeqCst);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.count_out();
            drop(permit);
        }
    }
}

/// Time, which passes when the clock has its turn.
struct Clock(Runtime);

impl Clock {
    fn new() -> Self {
        Self(Builder::new_current_thread().enable_time().start_paused(true).build().unwrap())
    }

    /// Lets a second pass, and wakes whom it wakes. A single step.
    fn tick(&self) {
        self.0.block_on(time::advance(SECOND));
    }

    fn run_until(&self, is_over: impl Fn() -> bool) {
        for _ in 0..PATIENCE {
            if is_over() {
                return;
            }
            self.tick();
            thread::yield_now();
        }
        panic!("time passes, and somebody is never served");
    }
}

fn settings(ceiling: u32) -> Settings {
    let pool = PoolSettings {
        name: "Default".into(),
        entity: None,
        ceiling: NonZeroU32::new(ceiling).unwrap(),
        headroom: 0,
        enforce: true,
        on_refusal: OnRefusal::Shrink,
        retry_after_cap: None,
    };
    Settings {
        pools: vec![pool],
        apps: vec![AppSettings::named("a")],
        queue: QueueBounds { max_requests: 100, max_bytes: 1000 },
        rate: RateLimits::NONE,
    }
}

fn refused_until_now() -> Refused {
    Refused::Concurrency { until: Instant::now() }
}

/// Explores a scene of a few steps to the end.
fn every_order(scene: fn(&Clock)) {
    explore(DfsScheduler::new(None, false), scene);
}

/// Explores so many orders by pure chance, and as many in which few threads are overtaken.
fn many_orders(orders: usize, scene: fn(&Clock)) {
    explore(RandomScheduler::new_from_seed(1, orders), scene);
    explore(PctScheduler::new_from_seed(1, 3, orders), scene);
}

#[expect(clippy::disallowed_methods, reason = "a test is replayed by hand")]
fn explore(scheduler: impl Scheduler + 'static, scene: fn(&Clock)) {
    let mut config = Config::new();
    config.stack_size = 0x40000;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    // Never dropped: whom a failed model leaves asleep cannot be woken by its end.
    let clock = Box::leak(Box::new(Clock::new()));
    let clock = &*clock;
    // All threads of a model are one to the system, so all of them are on this runtime.
    let _runtime = clock.0.enter();
    let play = move || scene(clock);
    match env::var("SCHEDULE") {
        Ok(schedule) => {
            let mut replay = ReplayScheduler::new_from_encoded(&schedule);
            replay.set_allow_incomplete();
            Runner::new(replay, config).run(play)
        }
        Err(_) => Runner::new(scheduler, config).run(play),
    };
}
