//! One life: apps that ask, hold permits, and ask again, and a judge who watches.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::books::{Books, Caller, PoolBooks, Promise};
use super::ideal::{Want, fill};
use super::*;
use crate::Priority;
use crate::tests::stage::{Hold, Outcome, Plan, Stage, poisson};

/// How far from the ideal an app that always waits may be.
///
/// A request is whole and is not cut off, so what an app has at the beginning and at the end of the
/// measured time is off by up to its permits and a few requests more. The time is such that [`REQUESTS`]
/// of the longest fit in the share of whoever is judged, and two of these are one part in twenty.
const TOLERANCE: f64 = 0.05;
const REQUESTS: f64 = 40.0;
/// No smaller share is judged: it would take too long.
const SMALLEST: f64 = 0.05;
/// More than that, and the life is thought of anew, with other dice: tests are to be quick.
const MOST_CALLS: f64 = 5000.0;

/// How many shares a life had to judge.
pub(super) struct Judged {
    pub(super) judged: usize,
    pub(super) users: usize,
}

/// How an app calls.
#[derive(Clone, Copy, Debug)]
enum Demand {
    /// So many callers of each user, each with one call after the other.
    Callers(u32),
    /// At random, so many in a second.
    Arrivals(f64),
}

#[derive(Clone, Debug)]
struct App {
    promise: Promise,
    priority: Priority,
    hold: Hold,
    demand: Demand,
    users: u64,
}

/// What a life is about.
#[derive(Clone, Debug)]
struct Script {
    apps: Vec<App>,
    /// The second pool is a copy of the first, with callers of its own.
    pools: usize,
    capacity: u32,
    /// The capacity in the second half of the time.
    lowered: u32,
    /// In seconds.
    time: f64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Arrives(usize, usize),
    Ends(u64),
    Says(u32),
    Measure,
}

struct Life {
    script: Script,
    dice: StdRng,
    stage: Stage,
    books: Books,
    plan: Plan<Event>,
    calls: u64,
    callers: BTreeMap<u64, Caller>,
    permits: BTreeMap<u64, Permit>,
}

pub(super) async fn live(seed: u64) -> Judged {
    let mut dice = StdRng::seed_from_u64(seed);
    let script = Script::some(&mut dice);
    let mut life = Life::new(script, dice, seed);
    life.play().await;
    life.judge()
}

impl Script {
    fn some(dice: &mut StdRng) -> Self {
        loop {
            let script = Self::draft(dice);
            if script.time > 0.0 && script.calls() < MOST_CALLS {
                return script;
            }
        }
    }

    fn draft(dice: &mut StdRng) -> Self {
        let capacity: u32 = dice.random_range(2..=24);
        let pools = if dice.random_bool(0.2) { 2 } else { 1 };
        let changes = dice.random_bool(0.25);
        let lowered = if changes { dice.random_range(1..=capacity) } else { capacity };
        let mut unreserved = lowered;
        let apps = (0..dice.random_range(2..7)).map(|nth| {
            let priority = match dice.random_range(0..10) {
                0..3 => Priority::Interactive,
                3..7 => Priority::Standard,
                _ if nth < 2 => Priority::Batch,
                7..9 => Priority::Batch,
                _ => Priority::Scavenger,
            };
            let scavenges = priority == Priority::Scavenger;
            let reserve = if dice.random_bool(0.3) && !scavenges {
                dice.random_range(0..=unreserved / 2)
            } else {
                0
            };
            unreserved -= reserve;
            let cap = if dice.random_bool(0.25) {
                dice.random_range(reserve.max(1)..=capacity)
            } else {
                u32::MAX
            };
            let times = if dice.random_bool(0.15) { 100 } else { dice.random_range(1..=8) };
            let hold = Hold::about(20 * times, dice);
            let users = if dice.random_bool(0.25) { dice.random_range(2..4) } else { 1 };
            let callers = dice.random_range(1..=capacity * 3);
            let load = dice.random_range(0.1..1.0) * f64::from(capacity) / 2.0;
            let demand = if dice.random_bool(0.3) && !changes && users == 1 {
                Demand::Arrivals(load / hold.mean() * 1000.0)
            } else {
                Demand::Callers(callers)
            };
            let weight = dice.random_range(1..=10);
            let promise = Promise { weight, reserve, cap, scavenges };
            App { promise, priority, hold, demand, users }
        });
        let mut script = Self { apps: apps.collect(), pools, capacity, lowered, time: 0.0 };
        script.time = script.time_needed();
        script
    }

    /// Everybody's share if they could use all that they ask for.
    fn shares(&self) -> Vec<f64> {
        let demands = self.apps.iter().map(App::demand);
        self.fair(&demands.collect::<Vec<_>>())
    }

    /// The fair shares with these demands: what others leave goes to those who scavenge.
    fn fair(&self, demands: &[f64]) -> Vec<f64> {
        let capacities = [self.capacity, self.lowered].map(f64::from);
        let [high, low] = capacities.map(|capacity| {
            let of = |scavenge: bool, capacity: f64| {
                let wants = self.apps.iter().zip(demands).map(|(app, demand)| Want {
                    weight: f64::from(app.promise.weight),
                    reserve: f64::from(app.promise.reserve),
                    demand: if app.promise.scavenges == scavenge { *demand } else { 0.0 },
                });
                fill(capacity, &wants.collect::<Vec<_>>())
            };
            let wanted = of(false, capacity);
            let left = capacity - wanted.iter().sum::<f64>();
            let left_over = of(true, left.max(0.0));
            wanted.iter().zip(left_over).map(|(a, b)| a + b).collect::<Vec<_>>()
        });
        high.iter().zip(low).map(|(high, low)| (high + low) / 2.0).collect()
    }

    fn time_needed(&self) -> f64 {
        let longest = self.apps.iter().map(|app| app.hold.longest()).max().unwrap();
        let smallest = self.apps.iter().zip(self.shares()).map(|(app, share)| {
            let own = app.hold.longest() as f64;
            if share < SMALLEST { 0.0 } else { own / share * app.users as f64 }
        });
        let time = smallest.fold(0.0, f64::max).max(longest as f64) * REQUESTS / 1000.0;
        time.max(1.0)
    }

    fn calls(&self) -> f64 {
        let shares = self.shares();
        let rates = self.apps.iter().zip(shares).map(|(app, share)| share / app.hold.mean());
        rates.sum::<f64>() * 1000.0 * self.time * 1.2 * self.pools as f64
    }

    fn settings(&self) -> Settings {
        let apps = self.apps.iter().enumerate().map(|(nth, app)| AppSettings {
            weight: NonZeroU32::new(app.promise.weight).unwrap(),
            reserve: app.promise.reserve,
            max_in_flight: Some(app.promise.cap)
                .filter(|cap| *cap < u32::MAX)
                .and_then(NonZeroU32::new),
            priority: app.priority,
            ..AppSettings::named(format!("{nth}"))
        });
        let names = ["Default", "Object Query"].iter().take(self.pools);
        Settings {
            pools: names.map(|name| pool(name, None, self.capacity)).collect(),
            apps: apps.collect(),
            queue: QueueBounds { max_requests: 1_000_000, max_bytes: 0 },
            rate: RateLimits::NONE,
        }
    }
}

impl App {
    /// How many permits it could use on average.
    fn demand(&self) -> f64 {
        let wants = match self.demand {
            Demand::Callers(callers) => f64::from(callers) * self.users as f64,
            Demand::Arrivals(rate) => rate * self.hold.mean() / 1000.0,
        };
        wants.min(f64::from(self.promise.cap))
    }
}

impl Life {
    fn new(script: Script, dice: StdRng, seed: u64) -> Self {
        let promises = script.apps.iter().map(|app| app.promise).collect();
        let books = Books::new(promises, &vec![script.capacity; script.pools]);
        let stage = Stage::new(script.settings(), seed);
        let (callers, permits) = (BTreeMap::new(), BTreeMap::new());
        Self { script, dice, stage, books, plan: Plan::default(), calls: 0, callers, permits }
    }

    /// A fifth of the time before it is measured, nobody is judged yet.
    async fn play(&mut self) {
        let start = Instant::now();
        let time = Duration::from_secs_f64(self.script.time);
        let begin = start + time / 5;
        self.plan.add(begin, Event::Measure);
        if self.script.lowered < self.script.capacity {
            self.plan.add(begin + time / 2, Event::Says(self.script.lowered));
        }
        self.everybody_comes();
        while let Some(next) = self.plan.next_at().filter(|at| *at < begin + time) {
            self.stage.until(next).await;
            let now = Instant::now();
            self.books.time_passes(now);
            self.hear();
            while let Some(event) = self.plan.due(now) {
                self.happens(event, now);
            }
        }
        time::sleep_until(begin + time).await;
        self.books.time_passes(begin + time);
    }

    fn everybody_comes(&mut self) {
        for pool in 0..self.script.pools {
            for (number, app) in self.script.apps.clone().into_iter().enumerate() {
                match app.demand {
                    Demand::Callers(callers) => {
                        for user in (0..app.users).flat_map(|user| vec![user; callers as usize]) {
                            let user = (app.users > 1).then_some(user);
                            self.asks(Caller { pool, app: number, user });
                        }
                    }
                    Demand::Arrivals(rate) => {
                        let at = Instant::now() + poisson(rate, &mut self.dice);
                        self.plan.add(at, Event::Arrives(pool, number));
                    }
                }
            }
        }
    }

    fn happens(&mut self, event: Event, now: Instant) {
        match event {
            Event::Arrives(pool, app) => {
                if let Demand::Arrivals(rate) = self.script.apps[app].demand {
                    let next = now + poisson(rate, &mut self.dice);
                    self.plan.add(next, Event::Arrives(pool, app));
                }
                self.asks(Caller { pool, app, user: None });
            }
            Event::Ends(call) => {
                let caller = self.callers.remove(&call).unwrap();
                self.books.ends(caller);
                drop(self.permits.remove(&call));
                self.hear();
                if let Demand::Callers(_) = self.script.apps[caller.app].demand {
                    self.asks(caller);
                }
            }
            Event::Says(limit) => {
                for pool in 0..self.script.pools {
                    self.books.pools[pool].capacity = limit;
                    let here = |call: &&u64| self.callers[*call].pool == pool;
                    if let Some(call) = self.permits.keys().find(here) {
                        self.permits[call].observe(Said { limit, remaining: None });
                    }
                    self.hear();
                }
            }
            Event::Measure => self.books.begin_to_measure(now),
        }
    }

    fn asks(&mut self, caller: Caller) {
        self.calls += 1;
        let Caller { pool, app, user } = caller;
        let ask = Ask {
            pool: PoolId(u32::try_from(pool).unwrap()),
            app: crate::tests::app(app),
            user,
            deadline: Deadline::Permit(Instant::now() + secs(1_000_000)),
            place: Place::Back,
            may_probe: true,
        };
        self.callers.insert(self.calls, caller);
        self.books.asks(caller);
        if let Some(outcome) = self.stage.asks(self.calls, ask) {
            self.is_told(self.calls, outcome);
        }
        self.hear();
    }

    /// Everybody who was told something goes on, and then all is quiet.
    fn hear(&mut self) {
        while let Some((call, outcome)) = self.stage.told() {
            self.is_told(call, outcome);
        }
        self.books.nobody_waits_for_nothing();
    }

    fn is_told(&mut self, call: u64, outcome: Outcome) {
        let caller = self.callers[&call];
        self.books.begins(caller);
        self.permits.insert(call, outcome.expect("everybody waits as long as it takes"));
        let hold = self.script.apps[caller.app].hold.draw(&mut self.dice);
        self.plan.add(Instant::now() + hold, Event::Ends(call));
    }

    /// Everybody who always waited had a fair share, and so had their users.
    fn judge(&self) -> Judged {
        let (mut judged, mut users) = (0, 0);
        for pool in &self.books.pools {
            for (number, flow) in pool.flows.iter().enumerate() {
                if flow.always_waited && self.is_judged(number) {
                    self.is_fair(pool, number);
                    judged += 1;
                    users += self.users_are_even(pool, number);
                }
            }
        }
        Judged { judged, users }
    }

    /// What an app with a cap has of one pool depends on the other. And a request is a large part of a
    /// small share.
    fn is_judged(&self, app: usize) -> bool {
        let (app, share) = (&self.script.apps[app], self.script.shares()[app]);
        share > SMALLEST && (self.script.pools == 1 || app.promise.cap == u32::MAX)
    }

    /// At least what it would have if all others wanted all they could use, and at most what it would
    /// have if they wanted no more than they took.
    ///
    /// Whom its cap keeps from more cannot make up for moments in which others wanted a lot. So it has at
    /// least what would be its share if they always did, and others may have what it could not take.
    fn is_fair(&self, pool: &PoolBooks, number: usize) {
        let (apps, time) = (&self.script.apps, self.script.time);
        let had: Vec<_> = pool.flows.iter().map(|flow| flow.held / time).collect();
        let all = f64::from(apps[number].promise.cap);
        let (mut least, mut most) = (vec![all; apps.len()], vec![all; apps.len()]);
        for (other, app) in apps.iter().enumerate().filter(|(other, _)| *other != number) {
            let takes_all = pool.flows[other].always_waited && app.promise.cap == u32::MAX;
            let is_capped = apps[number].promise.cap < u32::MAX;
            least[other] = if is_capped { f64::INFINITY } else { had[other].max(app.demand()) };
            most[other] = if takes_all { f64::INFINITY } else { had[other] };
        }
        let least = self.script.fair(&least)[number];
        // What others took was not the same before and after a change.
        let changes = self.script.lowered < self.script.capacity;
        let most = if changes { f64::INFINITY } else { self.script.fair(&most)[number] };
        let fair = least * (1.0 - TOLERANCE)..=most * (1.0 + TOLERANCE);
        let is_fair = fair.contains(&had[number]);
        assert!(is_fair, "{number} had {} of {fair:?}; {had:?} {:#?}", had[number], self.script);
    }

    /// Returns how many of an app's users could be compared.
    ///
    /// At any moment no user has more than one permit more than another who waits: the books see to
    /// that. Where there is about one permit for each, that one is more than the tolerance.
    fn users_are_even(&self, pool: &PoolBooks, number: usize) -> usize {
        let users = pool.users.iter().filter(|((app, _), _)| *app == number);
        let users: Vec<_> = users.map(|(_, user)| user).collect();
        if users.is_empty() || !users.iter().all(|user| user.always_waited) {
            return 0;
        }
        let even = pool.flows[number].held / users.len() as f64;
        if (0.7..4.0).contains(&(even / self.script.time)) {
            return 0;
        }
        for user in &users {
            let is_even = (user.held / even - 1.0).abs() <= TOLERANCE;
            assert!(is_even, "a user had {} of {even}; {number} {:#?}", user.held, self.script);
        }
        users.len()
    }
}
