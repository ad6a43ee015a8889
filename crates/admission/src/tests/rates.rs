//! What a tenant and an app may send in a time, judged by somebody who counts what was sent.
//!
//! `SIM_SEED=49 cargo test -p admission rates` replays one life.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::stage::{Outcome, Plan, Stage, sweep};
use super::*;
use crate::AppRate;

const LIVES: u64 = 48;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Ends(u64),
    Leaves(u64),
}

/// Apps that always want to send, and all that was sent.
struct Greedy {
    dice: StdRng,
    stage: Stage,
    plan: Plan<Event>,
    calls: u64,
    waiting: BTreeMap<u64, Ask>,
    in_flight: BTreeMap<u64, (Ask, Permit)>,
    /// When, from which app, and to which pool.
    sent: Vec<(Instant, AppId, PoolId)>,
    impatient: f64,
}

impl Greedy {
    fn new(settings: Settings, seed: u64) -> Self {
        Self {
            dice: StdRng::seed_from_u64(seed),
            stage: Stage::new(settings, seed),
            plan: Plan::default(),
            calls: 0,
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sent: Vec::new(),
            impatient: 0.0,
        }
    }

    /// Some callers of an app, each with one call after the other.
    fn come(&mut self, callers: u32, app: usize, pool: PoolId) {
        let deadline = Deadline::Permit(Instant::now() + DAY * 1000);
        for _ in 0..callers {
            self.asks(Ask { pool, deadline, ..ask_of(app) });
        }
    }

    async fn play_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let next = self.plan.next_at().map_or(end, |next| next.min(end));
            self.stage.until(next).await;
            self.hear();
            while let Some(event) = self.plan.due(Instant::now()) {
                match event {
                    Event::Ends(call) => {
                        let (ask, permit) = self.in_flight.remove(&call).unwrap();
                        drop(permit);
                        self.hear();
                        self.asks(ask);
                    }
                    Event::Leaves(call) => {
                        self.stage.leaves(call);
                        self.waiting.remove(&call).into_iter().for_each(|ask| self.asks(ask));
                    }
                }
            }
            if end <= Instant::now() {
                return;
            }
        }
    }

    fn asks(&mut self, ask: Ask) {
        self.calls += 1;
        let call = self.calls;
        self.waiting.insert(call, ask);
        if self.dice.random_bool(self.impatient) {
            let patience = millis(self.dice.random_range(1..2000));
            self.plan.add(Instant::now() + patience, Event::Leaves(call));
        }
        if let Some(outcome) = self.stage.asks(call, ask) {
            self.goes(call, outcome);
        }
        self.hear();
    }

    fn hear(&mut self) {
        while let Some((call, outcome)) = self.stage.told() {
            self.goes(call, outcome);
        }
        // Whoever waits for a rate has nothing that others could use.
        let snapshot = self.stage.admission.snapshot();
        assert_eq!(snapshot.in_use as usize, self.in_flight.len());
    }

    fn goes(&mut self, call: u64, outcome: Outcome) {
        let ask = self.waiting.remove(&call).unwrap();
        self.sent.push((Instant::now(), ask.app, ask.pool));
        self.in_flight.insert(call, (ask, outcome.unwrap()));
        let takes = millis(self.dice.random_range(1..50));
        self.plan.add(Instant::now() + takes, Event::Ends(call));
    }

    /// Nowhere does a window of this length begin in which more were sent.
    fn no_window_has_more(&self, limit: Option<NonZeroU32>, span: Duration) {
        let Some(limit) = limit.map(|limit| limit.get() as usize) else { return };
        let times: Vec<_> = self.sent.iter().map(|(at, ..)| *at).collect();
        for (first, next) in times.iter().zip(times.iter().skip(limit)) {
            assert!(*first + span <= *next, "more than {limit} in {span:?}");
        }
    }

    fn sent_between(&self, from: Instant, to: Instant) -> usize {
        self.sent.iter().filter(|(at, ..)| from <= *at && *at < to).count()
    }
}

fn two_pools(rate: RateLimits) -> Settings {
    let mut settings = one_pool(10);
    settings.pools.push(pool("Object Query", None, 3));
    settings.rate = rate;
    settings
}

/// Calls that wait for something else, or leave, take nothing from a window: while somebody always
/// wants to send, all is sent that the steady pace allows.
async fn live(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut some = |most| dice.random_bool(0.6).then(|| count(dice.random_range(1..=most)));
    let minute = some(200);
    let rate = RateLimits { per_minute: minute, per_hour: some(3000), ..RateLimits::NONE };
    let mut settings = two_pools(rate);
    settings.apps[1].rate = Some(AppRate { per_second: count(1), burst: count(2), enforce: true });
    settings.apps[2].max_in_flight = Some(count(1));
    let mut greedy = Greedy::new(settings, seed);
    greedy.impatient = 0.3;
    let start = Instant::now();
    for app in 0..3 {
        greedy.come(2, app, PoolId(0));
        greedy.come(2, app, PoolId(1));
    }
    let minutes = if rate.per_minute.is_some() || rate.per_hour.is_some() { 5 } else { 0 };

    greedy.play_for(MINUTE * minutes).await;

    greedy.no_window_has_more(rate.per_minute, MINUTE);
    greedy.no_window_has_more(rate.per_hour, HOUR);
    if let (Some(limit), None) = (rate.per_minute, rate.per_hour) {
        for minute in 1..minutes {
            let begin = start + MINUTE * minute;
            let sent = greedy.sent_between(begin, begin + MINUTE);
            // A twentieth may go at once after a quiet time, and there was none.
            let steady = limit.get() - limit.get() / 20;
            assert!(sent + 1 >= steady as usize, "{sent} of {limit} in a minute");
        }
        let here = greedy.sent.iter().filter(|(.., pool)| *pool == PoolId(0)).count();
        let there = greedy.sent.len() - here;
        let far = here.abs_diff(there);
        assert!(far <= 3 + greedy.sent.len() / 10, "{here} went to one pool, {there} to the other");
    }
}

#[test]
fn no_window_sees_more_than_its_limit_and_none_of_it_is_lost() {
    sweep(LIVES, live);
}

#[tokio::test(start_paused = true)]
async fn a_small_days_budget_is_not_burnt_by_noon() {
    for limit in [1, 7, 40, 1000] {
        let rate = RateLimits { per_day: Some(count(limit)), ..RateLimits::NONE };
        let start = Instant::now();
        let mut greedy = Greedy::new(two_pools(rate), 1);
        greedy.come(1, 0, PoolId(0));
        greedy.come(1, 1, PoolId(1));

        greedy.play_for(DAY * 2).await;

        greedy.no_window_has_more(Some(count(limit)), DAY);
        // A quarter may go at once, and half of the other three by noon.
        let by_noon = greedy.sent_between(start, start + DAY / 2);
        assert!(by_noon <= (limit as usize * 5).div_ceil(8) + 1, "{by_noon} of {limit} by noon");
        let first = greedy.sent_between(start, start + DAY);
        assert!(first + 1 >= limit as usize, "{first} of {limit} on the first day");
        let second = greedy.sent_between(start + DAY, start + DAY * 2);
        assert!(
            second + 1 >= (limit as usize * 3).div_ceil(4),
            "{second} of {limit} on the second"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_sends_exactly_its_burst_and_then_its_rate() {
    for (per_second, burst) in [(1, 1), (2, 5), (10, 3), (50, 100)] {
        let mut settings = two_pools(RateLimits::NONE);
        settings.pools[0].ceiling = count(1000);
        let rate = AppRate { per_second: count(per_second), burst: count(burst), enforce: true };
        settings.apps[0].rate = Some(rate);
        let start = Instant::now();
        let mut greedy = Greedy::new(settings, 1);
        greedy.come(200, 0, PoolId(0));
        greedy.come(1, 0, PoolId(1));

        greedy.play_for(secs(10)).await;

        assert_eq!(greedy.sent_between(start, start + millis(1)), burst as usize);
        for second in 1..10 {
            let sent = greedy.sent_between(start, start + secs(second) + millis(2));
            assert_eq!(sent as u64, u64::from(burst) + second * u64::from(per_second));
        }
    }
}
