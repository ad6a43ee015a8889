//! Apps that come and go: what somebody did before does not change what is fair now.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::books::{Books, Caller, Promise};
use super::*;
use crate::Priority;
use crate::tests::stage::{Hold, Outcome, Plan, Stage};

/// One app is always here. The other comes, stays for a while, and goes again.
const HOST: usize = 0;
const GUEST: usize = 1;

struct Visits {
    dice: StdRng,
    stage: Stage,
    books: Books,
    plan: Plan<u64>,
    calls: u64,
    callers: BTreeMap<u64, (Caller, Option<Permit>)>,
    holds: [Hold; 2],
    guest_is_here: bool,
}

/// While both want all they can get, each has its share by weight, from the moment that the guest comes.
///
/// Alone, the host had every permit, with or without calls of its own that waited: it does not pay for
/// that. The guest had none: it is not owed that time. The books of a visit may be off by
///
/// - what is out when the guest comes, and must come back first: every permit for the longest hold;
/// - the same once more at the end of the time, as requests are whole;
/// - a head start, which is two turns of the whole pool at most.
pub(super) async fn live(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let capacity: u32 = dice.random_range(2..=8);
    let holds = [(); 2].map(|()| {
        let times = if dice.random_bool(0.2) { 20 } else { dice.random_range(1..=4) };
        Hold::about(25 * times, &mut dice)
    });
    let weights = [(); 2].map(|()| dice.random_range(1..=4));
    let longest = holds.map(Hold::longest).into_iter().max().unwrap();
    let time = millis(longest * 25);
    let mut visits = Visits::new(capacity, weights, holds, dice, seed);
    // As many as there are permits, or so many that some always wait.
    let alone = capacity * if visits.dice.random_bool(0.5) { 1 } else { 3 };

    for _ in 0..2 {
        while visits.callers.values().filter(|(caller, _)| caller.app == HOST).count()
            < alone as usize
        {
            visits.asks(HOST);
        }
        let turns = visits.dice.random_range(1..=20);
        visits.play_for(millis(longest * turns / 4)).await;

        visits.guest_is_here = true;
        (0..capacity * 3).for_each(|_| visits.asks(GUEST));
        (alone..capacity * 3).for_each(|_| visits.asks(HOST));
        visits.books.begin_to_measure(Instant::now());
        visits.play_for(time).await;

        let all = f64::from(capacity) * time.as_secs_f64();
        let slack = f64::from(capacity) * millis(longest).as_secs_f64() * 4.0;
        for (app, flow) in visits.books.pools[0].flows.iter().enumerate() {
            let fair = all * f64::from(weights[app]) / f64::from(weights[0] + weights[1]);
            let off = (flow.held - fair).abs();
            assert!(off <= slack, "{app} had {} of {fair}, off by {off} of {slack}", flow.held);
        }
        visits.everybody_leaves();
    }
}

impl Visits {
    fn new(
        capacity: u32,
        weights: [u32; 2],
        holds: [Hold; 2],
        mut dice: StdRng,
        seed: u64,
    ) -> Self {
        let mut settings = one_pool(capacity);
        settings.queue.max_requests = 10_000;
        for (app, weight) in settings.apps.iter_mut().zip(weights) {
            app.weight = NonZeroU32::new(weight).unwrap();
            let all = [Priority::Interactive, Priority::Standard, Priority::Batch];
            app.priority = all[dice.random_range(0..3)];
        }
        let promise = |weight| Promise { weight, reserve: 0, cap: u32::MAX, scavenges: false };
        let books = Books::new(weights.map(promise).to_vec(), &[capacity]);
        let (stage, plan) = (Stage::new(settings, seed), Plan::default());
        let callers = BTreeMap::new();
        Self { dice, stage, books, plan, calls: 0, callers, holds, guest_is_here: false }
    }

    async fn play_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(next) = self.plan.next_at().filter(|at| *at < end) {
            self.stage.until(next).await;
            let now = Instant::now();
            self.books.time_passes(now);
            while let Some(call) = self.plan.due(now) {
                let (caller, permit) = self.callers.remove(&call).unwrap();
                self.books.ends(caller);
                drop(permit);
                self.hear();
                if caller.app == HOST || self.guest_is_here {
                    self.asks(caller.app);
                }
            }
        }
        time::sleep_until(end).await;
        self.books.time_passes(end);
    }

    /// All calls that wait leave, and the guest's that are served are not followed by others.
    fn everybody_leaves(&mut self) {
        self.guest_is_here = false;
        let waiting = self.callers.extract_if(.., |_, (_, permit)| permit.is_none());
        for (call, (caller, _)) in waiting {
            self.books.leaves(caller);
            self.stage.leaves(call);
        }
    }

    fn asks(&mut self, app: usize) {
        self.calls += 1;
        let caller = Caller { pool: 0, app, user: None };
        let deadline = Deadline::Permit(Instant::now() + secs(1_000_000));
        self.books.asks(caller);
        self.callers.insert(self.calls, (caller, None));
        if let Some(outcome) = self.stage.asks(self.calls, Ask { deadline, ..ask_of(app) }) {
            self.is_told(self.calls, outcome);
        }
        self.hear();
    }

    fn hear(&mut self) {
        while let Some((call, outcome)) = self.stage.told() {
            self.is_told(call, outcome);
        }
        self.books.nobody_waits_for_nothing();
    }

    fn is_told(&mut self, call: u64, outcome: Outcome) {
        let (caller, permit) = self.callers.get_mut(&call).unwrap();
        self.books.begins(*caller);
        *permit = Some(outcome.unwrap());
        let hold = self.holds[caller.app].draw(&mut self.dice);
        self.plan.add(Instant::now() + hold, call);
    }
}
