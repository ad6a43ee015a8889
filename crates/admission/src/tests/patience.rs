//! How long anybody waits while many who are in a hurry want everything.
//!
//! `SIM_SEED=49 cargo test -p admission patience` replays one life.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::stage::{Hold, Outcome, Plan, Stage, sweep};
use super::*;
use crate::Priority;

const LIVES: u64 = 32;

#[derive(Clone, Copy, Debug)]
enum Event {
    Ends(u64),
    Comes(usize),
}

struct Crowd {
    dice: StdRng,
    stage: Stage,
    plan: Plan<Event>,
    calls: u64,
    callers: BTreeMap<u64, (usize, Instant, Option<Permit>)>,
    holds: Vec<Hold>,
    /// The longest that anybody of an app may wait, if it is judged.
    bounds: Vec<Option<Duration>>,
    /// How long apps pause between two calls, in milliseconds.
    pauses: Vec<u64>,
    judged: usize,
}

/// How long a call of an app waits at most that has no other call of its own before it.
///
/// Let `C` be the permits, `W` the weights of all, `h` the mean hold and `H` the longest, `w` the app's
/// own weight, `p` how many turns of the whole pool the most urgent are ahead of it (1 for standard, 2
/// for batch). One turn of the whole pool is `h C / W` in virtual time.
///
/// When the call comes, its app is no further ahead in virtual time than the furthest behind of the
/// others, but for what its last call cost: `H / w`. An other app gets a permit only until it is `p`
/// turns ahead of that point, so all others together use no more than `W (p h C / W + H / w)`
/// permit-seconds before nobody of them goes any more. All `C` permits are in use meanwhile, so that
/// takes `p h + H W / (w C)`. What was begun last may take `H`. Then it is the call's turn.
///
/// The mean is one of the last 16 requests, and may be as long as the longest of them.
fn bound(permits: u32, weights: u32, weight: u32, turns: u32, longest: Duration) -> Duration {
    let own = longest.mul_f64(f64::from(weights) / f64::from(weight * permits));
    longest * turns + own + longest
}

async fn live(seed: u64) -> usize {
    let mut dice = StdRng::seed_from_u64(seed);
    let permits = dice.random_range(2..=10);
    let mut settings = one_pool(permits);
    settings.queue.max_requests = 10_000;
    settings.apps.clear();
    let mut holds = Vec::new();
    let times = dice.random_range(1..=6);
    for number in 0..dice.random_range(4..=8) {
        let priority = match number {
            0 => Priority::Batch,
            1 => Priority::Standard,
            _ => Priority::Interactive,
        };
        let weight = NonZeroU32::new(dice.random_range(1..=10)).unwrap();
        settings.apps.push(AppSettings {
            priority,
            weight,
            ..AppSettings::named(number.to_string())
        });
        holds.push(Hold::about(20 * times, &mut dice));
    }
    let longest = millis(holds.iter().map(|hold| hold.longest()).max().unwrap());
    let weights = settings.apps.iter().map(|app| app.weight.get()).sum();
    let turns = [Some(2), Some(1)].into_iter().chain(std::iter::repeat(None));
    let bounds = settings.apps.iter().zip(turns).map(|(app, turns)| {
        turns.map(|turns| bound(permits, weights, app.weight.get(), turns, longest))
    });
    let bounds: Vec<_> = bounds.collect();
    let pauses = settings.apps.iter().map(|_| dice.random_range(1..=2000)).collect();
    let stage = Stage::new(settings, seed);
    let (plan, callers) = (Plan::default(), BTreeMap::new());
    let mut crowd =
        Crowd { dice, stage, plan, calls: 0, callers, holds, bounds, pauses, judged: 0 };
    for app in 2..crowd.holds.len() {
        // As many as there are permits, and more.
        (0..permits * 2).for_each(|_| crowd.asks(app));
    }
    for app in 0..2 {
        crowd.plan.add(Instant::now() + millis(500), Event::Comes(app));
    }
    crowd.play_for(longest * 40).await;
    crowd.judged
}

impl Crowd {
    async fn play_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(next) = self.plan.next_at().filter(|at| *at < end) {
            self.stage.until(next).await;
            while let Some(event) = self.plan.due(Instant::now()) {
                self.happens(event);
            }
        }
        for (app, asked, permit) in self.callers.values() {
            if permit.is_none() {
                self.has_not_waited_too_long(*app, *asked);
            }
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Comes(app) => self.asks(app),
            Event::Ends(call) => {
                let (app, ..) = self.callers.remove(&call).unwrap();
                self.hear();
                if self.bounds[app].is_some() {
                    let pause = millis(self.dice.random_range(0..self.pauses[app]));
                    self.plan.add(Instant::now() + pause, Event::Comes(app));
                } else {
                    self.asks(app);
                }
            }
        }
    }

    fn asks(&mut self, app: usize) {
        self.calls += 1;
        let deadline = Deadline::Permit(Instant::now() + secs(1_000_000));
        self.callers.insert(self.calls, (app, Instant::now(), None));
        if let Some(outcome) = self.stage.asks(self.calls, Ask { deadline, ..ask_of(app) }) {
            self.goes(self.calls, outcome);
        }
        self.hear();
    }

    fn hear(&mut self) {
        while let Some((call, outcome)) = self.stage.told() {
            self.goes(call, outcome);
        }
    }

    fn goes(&mut self, call: u64, outcome: Outcome) {
        let (app, asked, permit) = self.callers.get_mut(&call).unwrap();
        *permit = Some(outcome.unwrap());
        let (app, asked) = (*app, *asked);
        self.has_not_waited_too_long(app, asked);
        self.judged += usize::from(self.bounds[app].is_some());
        let hold = self.holds[app].draw(&mut self.dice);
        self.plan.add(Instant::now() + hold, Event::Ends(call));
    }

    fn has_not_waited_too_long(&self, app: usize, asked: Instant) {
        let waited = asked.elapsed();
        if let Some(bound) = self.bounds[app] {
            assert!(waited <= bound, "app {app} waits for {waited:?}, and the bound is {bound:?}");
        }
    }
}

#[test]
fn whoever_is_in_no_hurry_still_goes_in_a_known_time() {
    let judged: Vec<usize> = sweep(LIVES, live);
    assert!(judged.len() == 1 || judged.iter().sum::<usize>() > 200, "too quiet: {judged:?}");
}
