//! One life: calls that come, wait, go, are refused and leave, and an operator who cannot decide.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::books::{Books, Wish};
use super::*;
use crate::tests::outage::Outage;
use crate::tests::stage::{Outcome, Plan, Stage};
use crate::{AppRate, Circuit, Priority, Refused};

const POOLS: usize = 4;
const APPS: usize = 6;
const CALLS: u64 = 320;
/// One of so many events is a change.
const CHANGES: f64 = 0.13;

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) reconfigurations: u32,
    pub(super) waited: u32,
    pub(super) refused: u32,
    pub(super) left: u32,
    pub(super) full: u32,
    /// Calls that went although their pool or app was no longer named.
    pub(super) removed: u32,
    /// Calls that found a window more than half full.
    pub(super) windows: u32,
    pub(super) unreached: u32,
    pub(super) openings: u32,
    pub(super) probes: u32,
}

impl Seen {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            reconfigurations: self.reconfigurations + other.reconfigurations,
            waited: self.waited + other.waited,
            refused: self.refused + other.refused,
            left: self.left + other.left,
            full: self.full + other.full,
            removed: self.removed + other.removed,
            windows: self.windows + other.windows,
            unreached: self.unreached + other.unreached,
            openings: self.openings + other.openings,
            probes: self.probes + other.probes,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Ends(u64),
    Leaves(u64),
}

struct Life {
    dice: StdRng,
    pace: Option<u32>,
    settings: Settings,
    stage: Stage,
    books: Books,
    plan: Plan<Event>,
    calls: u64,
    wishes: BTreeMap<u64, Wish>,
    /// Each with its place in the story.
    permits: BTreeMap<u64, (Permit, u64)>,
    /// Zuora does not answer before this moment.
    silent_until: Instant,
    outage: Outage,
    seen: Seen,
}

pub(super) async fn live(seed: u64) -> Seen {
    let mut dice = StdRng::seed_from_u64(seed);
    let pace = dice.random_bool(0.5).then(|| dice.random_range(10..150));
    let longest_gap = if dice.random_bool(0.5) { 120 } else { 900 };
    let settings = any_settings(&mut dice, pace);
    let stage = Stage::new(settings.clone(), seed);
    let mut life = Life {
        dice,
        pace,
        settings,
        stage,
        books: Books::default(),
        plan: Plan::default(),
        calls: 0,
        wishes: BTreeMap::new(),
        permits: BTreeMap::new(),
        silent_until: Instant::now(),
        outage: Outage::default(),
        seen: Seen::default(),
    };
    life.books.read(&life.settings, Instant::now());
    while life.calls < CALLS {
        let gap = life.dice.random_range(0..longest_gap);
        life.play_for(millis(gap)).await;
        for _ in 0..life.dice.random_range(0..3) {
            life.somebody_asks();
        }
        if life.dice.random_bool(0.02) {
            let silence = millis(life.dice.random_range(100..9000));
            life.silent_until = Instant::now() + silence;
        }
        if life.dice.random_bool(CHANGES) {
            let settings = any_settings(&mut life.dice, life.pace);
            life.change(settings);
        }
    }
    life.comes_to_rest().await;
    let Outage { openings, probes, .. } = life.outage;
    Seen { openings, probes, ..life.seen }
}

/// Some of the pools and apps, each with any limits at all. Rates are about as large as `pace`, so that
/// it is seen whether a change adds to them.
fn any_settings(dice: &mut StdRng, pace: Option<u32>) -> Settings {
    let some = |dice: &mut StdRng, chance, most| {
        let number = dice.random_bool(chance).then(|| dice.random_range(1..=most));
        number.and_then(NonZeroU32::new)
    };
    let mut pools = Vec::new();
    for number in 0..POOLS {
        if dice.random_bool(0.7) || number == 0 {
            let settings = pool(&number.to_string(), None, dice.random_range(1..12));
            let on_refusal = [OnRefusal::Shrink, OnRefusal::Freeze][dice.random_range(0..2)];
            let (headroom, enforce) = (dice.random_range(0..3), dice.random_bool(0.9));
            pools.push(PoolSettings { headroom, enforce, on_refusal, ..settings });
        }
    }
    let mut apps = Vec::new();
    for number in 0..APPS {
        if dice.random_bool(0.7) || number == 0 {
            let all =
                [Priority::Interactive, Priority::Standard, Priority::Batch, Priority::Scavenger];
            let rate = some(dice, if pace.is_some() { 0.2 } else { 0.9 }, 5);
            let rate = rate.map(|per_second| AppRate {
                per_second,
                burst: NonZeroU32::new(dice.random_range(1..5)).unwrap(),
                enforce: dice.random_bool(0.95),
            });
            apps.push(AppSettings {
                weight: NonZeroU32::new(dice.random_range(1..10)).unwrap(),
                reserve: dice.random_range(0..3),
                max_in_flight: some(dice, 0.4, 8),
                priority: all[dice.random_range(0..4)],
                rate,
                ..AppSettings::named(number.to_string())
            });
        }
    }
    // Another order must not matter.
    if dice.random_bool(0.5) {
        pools.reverse();
        apps.reverse();
    }
    let rate = RateLimits {
        per_minute: pace.and_then(|pace| NonZeroU32::new(dice.random_range(pace / 2..pace))),
        per_hour: pace.and_then(|pace| some(dice, 0.9, pace * 2)),
        per_day: None,
        enforce: dice.random_bool(0.98),
    };
    let queue = QueueBounds { max_requests: dice.random_range(3..60), max_bytes: 0 };
    Settings { pools, apps, queue, rate }
}

impl Life {
    fn change(&mut self, settings: Settings) {
        self.books.read(&settings, Instant::now());
        self.settings = settings.clone();
        self.stage.admission.reconfigure(settings);
        self.seen.reconfigurations += 1;
        self.hear();
        self.all_agree();
    }

    async fn play_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let next = self.plan.next_at().map_or(end, |next| next.min(end));
            self.stage.until(next).await;
            self.hear();
            self.all_agree();
            while let Some(event) = self.plan.due(Instant::now()) {
                self.happens(event);
            }
            if end <= Instant::now() {
                return;
            }
        }
    }

    /// Everybody goes once the limits are wide, and then everything is back.
    async fn comes_to_rest(&mut self) {
        let wide = Settings {
            pools: (0..POOLS).map(|number| pool(&number.to_string(), None, 50)).collect(),
            apps: (0..APPS).map(|number| AppSettings::named(number.to_string())).collect(),
            queue: QueueBounds { max_requests: 1000, max_bytes: 0 },
            rate: RateLimits::NONE,
        };
        self.change(wide);
        self.play_for(secs(120)).await;

        assert!(self.wishes.is_empty(), "{:?} never went", self.wishes);
        let snapshot = self.stage.admission.snapshot();
        assert_eq!((snapshot.in_use, snapshot.queued), (0, 0));
        settle().await;
        assert_eq!(Arc::strong_count(&self.stage.admission), 1, "a timer outlives its purpose");
    }

    /// Now and then somebody still asks for what is no longer named.
    fn somebody_asks(&mut self) {
        let pools: Vec<usize> =
            self.settings.pools.iter().map(|pool| pool.name.parse().unwrap()).collect();
        let apps: Vec<usize> =
            self.settings.apps.iter().map(|app| app.name.parse().unwrap()).collect();
        let (mut pool, mut app) = (
            pools[self.dice.random_range(0..pools.len())],
            apps[self.dice.random_range(0..apps.len())],
        );
        if self.dice.random_bool(0.2) {
            pool = self.dice.random_range(0..POOLS);
            app = self.dice.random_range(0..APPS);
        }
        let number = self.calls + 1;
        let wish = Wish { pool, app, number, asked: Instant::now(), not_before: None };
        self.asks(wish, Place::Back);
    }

    fn asks(&mut self, wish: Wish, place: Place) {
        let admission = &self.stage.admission;
        let pool = admission.pool(None, &wish.pool.to_string());
        let (Some(pool), Some(app)) = (pool, admission.app(&wish.app.to_string())) else { return };
        let deadline = Deadline::Permit(Instant::now() + secs(100_000));
        let ask = Ask { pool, app, user: None, deadline, place, may_probe: true };
        self.calls += 1;
        let call = self.calls;
        self.books.asks(call, wish);
        self.wishes.insert(call, wish);
        if self.dice.random_bool(0.1) {
            let patience = millis(self.dice.random_range(1..3000));
            self.plan.add(Instant::now() + patience, Event::Leaves(call));
        }
        let outcome = self.stage.asks(call, ask);
        // A moment may have come with the call; those for whom it had came first.
        self.hear();
        match outcome {
            Some(Err(shed)) => self.is_turned_away(call, shed),
            Some(Ok(permit)) => self.goes(call, permit),
            None => {}
        }
        self.hear();
    }

    /// Only who has not begun to wait is turned away, and only because of a full queue: deadlines are far.
    fn is_turned_away(&mut self, call: u64, shed: Shed) {
        assert!(matches!(shed, Shed::QueueFull { .. }), "{shed:?}");
        self.books.leaves(call);
        self.wishes.remove(&call);
        self.seen.full += 1;
    }

    fn goes(&mut self, call: u64, permit: Permit) {
        let wish = self.wishes[&call];
        self.seen.windows += self.books.begins(call, Instant::now());
        self.seen.waited += u32::from(permit.reason().is_some());
        let (pool, app) = (wish.pool.to_string(), wish.app.to_string());
        let pool = self.settings.pools.iter().any(|it| *it.name == *pool);
        let app = self.settings.apps.iter().any(|it| *it.name == *app);
        self.seen.removed += u32::from(!pool || !app);
        let keeps = self.books.keeps_waiting(wish.pool);
        let (number, _) = self.outage.goes(call, keeps, Instant::now());
        self.permits.insert(call, (permit, number));
        let takes = millis(self.dice.random_range(1..400));
        self.plan.add(Instant::now() + takes, Event::Ends(call));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Ends(call) => {
                let wish = self.wishes.remove(&call).unwrap();
                let (permit, number) = self.permits.remove(&call).unwrap();
                self.books.ends(wish.pool, wish.app);
                if Instant::now() < self.silent_until {
                    self.is_unreached(call, wish, permit, number);
                } else if self.dice.random_bool(0.05) {
                    self.outage.reached(number);
                    self.is_refused(wish, permit);
                } else {
                    if self.dice.random_bool(0.9) {
                        self.outage.reached(number);
                        permit.reached();
                    }
                    self.outage.comes_back(call, Instant::now());
                    drop(permit);
                }
            }
            Event::Leaves(call) if self.wishes.contains_key(&call) => {
                if !self.permits.contains_key(&call) {
                    self.stage.leaves(call);
                    self.books.leaves(call);
                    self.wishes.remove(&call);
                    self.seen.left += 1;
                }
            }
            Event::Leaves(_) => {}
        }
        self.hear();
    }

    /// Most who are refused ask again, and are not to go before their time.
    fn is_refused(&mut self, wish: Wish, permit: Permit) {
        let until = Instant::now() + millis(self.dice.random_range(1..4000));
        let ticket = permit.refused(Refused::Concurrency { until });
        self.seen.refused += 1;
        self.hear();
        if self.dice.random_bool(0.8) {
            let again = Wish { asked: Instant::now(), not_before: Some(until), ..wish };
            self.asks(again, Place::Front(ticket));
        }
    }

    /// Most who got no answer ask again after a while.
    fn is_unreached(&mut self, call: u64, wish: Wish, permit: Permit, number: u64) {
        let now = Instant::now();
        self.seen.unreached += 1;
        self.outage.unreached(call, number, now);
        permit.unreached();
        let until = now + millis(self.dice.random_range(1..3000));
        let ticket = permit.ticket().resting_until(until);
        self.outage.comes_back(call, now);
        drop(permit);
        self.hear();
        if self.dice.random_bool(0.8) {
            let again = Wish { asked: now, not_before: Some(until), ..wish };
            self.asks(again, Place::Front(ticket));
        }
    }

    fn hear(&mut self) {
        while let Some((call, outcome)) = self.stage.told() {
            self.is_told(call, outcome);
        }
    }

    fn all_agree(&self) {
        let snapshot = self.stage.admission.snapshot();
        self.books.agree_with(&snapshot);
        assert_eq!(snapshot.circuit != Circuit::Closed, self.outage.is_down());
    }

    fn is_told(&mut self, call: u64, outcome: Outcome) {
        let permit = outcome.expect("nobody who waits is turned away by a change");
        self.goes(call, permit);
    }
}
