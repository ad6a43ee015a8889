//! Zuora refuses everything for a while, or is down, and two thousand calls wait.
//!
//! Whatever else holds: few are sent in vain, nobody comes back before its time, a Zuora that recovers is
//! not hit by all who waited, and in the end everybody is served.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::stage::{Outcome, Plan, Stage, sweep};
use super::*;
use crate::Refused;

const LIMIT: u32 = 40;
const CALLS: u64 = 2000;
const LASTS: Duration = Duration::from_secs(20);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a call rests of its own that got no answer.
const BACKOFF: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
struct Weather {
    strikes: Strikes,
    on_refusal: OnRefusal,
    /// Whether those who are served hear how many permits remain.
    says_what_remains: bool,
}

/// What happens to requests in a storm.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Strikes {
    Concurrency,
    Rate,
    Silence,
}

struct Storm {
    weather: Weather,
    dice: StdRng,
    stage: Stage,
    plan: Plan<u64>,
    start: Instant,
    permits: BTreeMap<u64, Permit>,
    /// When each call may be sent again that was refused.
    not_before: BTreeMap<u64, Instant>,
    in_vain: u32,
    served: u64,
    /// When the first went that was served, and the most that were at Zuora in each second since.
    cleared: Option<Instant>,
    at_once: Vec<u32>,
}

/// How it went.
#[derive(Debug)]
struct Course {
    in_vain: u32,
    /// From the end of the storm until the first was served, and until the last was.
    idle: Duration,
    took: Duration,
    /// The most that were at Zuora in each second, from the first that was served.
    at_once: Vec<u32>,
}

async fn storm(weather: Weather, seed: u64) -> Course {
    let mut settings = one_pool(LIMIT);
    settings.pools[0].on_refusal = weather.on_refusal;
    settings.queue.max_requests = 10_000;
    let mut storm = Storm {
        weather,
        dice: StdRng::seed_from_u64(seed),
        stage: Stage::new(settings, seed),
        plan: Plan::default(),
        start: Instant::now(),
        permits: BTreeMap::new(),
        not_before: BTreeMap::new(),
        in_vain: 0,
        served: 0,
        cleared: None,
        at_once: Vec::new(),
    };
    (0..CALLS).for_each(|call| storm.asks(call, Place::Back));
    while storm.served < CALLS {
        let patience = Instant::now() + secs(600);
        let next = storm.plan.next_at().unwrap_or(patience);
        assert!(next <= patience, "nothing happens any more: {} served", storm.served);
        storm.stage.until(next).await;
        storm.hear();
        while let Some(call) = storm.plan.due(Instant::now()) {
            storm.is_answered(call);
            storm.hear();
        }
        let seen = &storm.stage.admission.snapshot().pools[0];
        assert_eq!((seen.in_use, seen.permits_out), (storm.at_zuora(), storm.at_zuora()));
    }
    storm.course()
}

impl Storm {
    fn asks(&mut self, call: u64, place: Place) {
        let ask = Ask {
            deadline: Deadline::Permit(self.start + secs(3600)),
            place,
            ..ask_of(usize::try_from(call % 3).unwrap())
        };
        if let Some(outcome) = self.stage.asks(call, ask) {
            self.is_told(call, outcome);
        }
    }

    fn hear(&mut self) {
        while let Some((call, outcome)) = self.stage.told() {
            self.is_told(call, outcome);
        }
    }

    fn is_told(&mut self, call: u64, outcome: Outcome) {
        let now = Instant::now();
        let permit = outcome.expect("everybody has time");
        if let Some(named) = self.not_before.get(&call) {
            assert!(*named <= now, "sent {:?} before its time", *named - now);
        }
        self.permits.insert(call, permit);
        assert!(self.at_zuora() <= LIMIT, "too many");
        if !self.rages() {
            let second = (now - *self.cleared.get_or_insert(now)).as_secs();
            self.at_once.resize(usize::try_from(second).unwrap() + 1, 0);
            let (at_zuora, most) = (self.at_zuora(), self.at_once.last_mut().unwrap());
            *most = at_zuora.max(*most);
        }
        let takes = if self.rages() { 10..20 } else { 50..150 };
        self.plan.add(now + millis(self.dice.random_range(takes)), call);
    }

    fn is_answered(&mut self, call: u64) {
        let (now, at_zuora) = (Instant::now(), self.at_zuora());
        let permit = self.permits.remove(&call).unwrap();
        if self.rages() {
            let until = now + RETRY_AFTER;
            let (until, ticket) = match self.weather.strikes {
                Strikes::Rate => (until, permit.refused(Refused::Rate { until })),
                Strikes::Concurrency => (until, permit.refused(Refused::Concurrency { until })),
                Strikes::Silence => {
                    permit.unreached();
                    (now + BACKOFF, permit.ticket().resting_until(now + BACKOFF))
                }
            };
            self.in_vain += 1;
            self.not_before.insert(call, until);
            self.asks(call, Place::Front(ticket));
        } else {
            permit.reached();
            let remaining = self.weather.says_what_remains.then_some(LIMIT - at_zuora);
            permit.observe(Said { limit: LIMIT, remaining });
            drop(permit);
            self.served += 1;
        }
    }

    fn at_zuora(&self) -> u32 {
        u32::try_from(self.permits.len()).unwrap()
    }

    fn rages(&self) -> bool {
        self.start.elapsed() < LASTS
    }

    fn course(self) -> Course {
        let end = self.start + LASTS;
        let (idle, took) = (self.cleared.unwrap() - end, end.elapsed());
        Course { in_vain: self.in_vain, idle, took, at_once: self.at_once }
    }
}

#[track_caller]
fn check(weather: Weather, judge: impl Fn(&Course)) {
    for course in sweep(4, |seed| storm(weather, seed)) {
        judge(&course);
    }
}

const CONCURRENCY: Weather = Weather {
    strikes: Strikes::Concurrency,
    on_refusal: OnRefusal::Shrink,
    says_what_remains: false,
};

/// Forty find out together, and then one in a second whether it is over.
#[test]
fn a_pool_that_shrinks_tries_with_one_at_a_time_and_grows_by_one_in_a_second() {
    check(CONCURRENCY, |course| {
        assert!(course.in_vain <= 60, "{course:?}");
        assert!(course.idle <= secs(1), "{course:?}");
        assert!(course.at_once.iter().zip(2..).all(|(most, second)| *most <= second), "{course:?}");
        assert!(course.took < secs(22), "{course:?}");
    });
}

/// What remains shows that there is room, as soon as it can be newer than the storm.
#[test]
fn a_pool_that_shrank_is_whole_as_soon_as_zuora_shows_room() {
    check(Weather { says_what_remains: true, ..CONCURRENCY }, |course| {
        assert!(course.in_vain <= 60, "{course:?}");
        assert!(course.at_once.iter().take(3).zip(2..).all(|(most, second)| *most <= second));
        assert_eq!(course.at_once.iter().max(), Some(&LIMIT));
        assert!(course.took < secs(10), "{course:?}");
    });
}

/// Each pause ends with a quarter: ten, and not one after the other, because nothing is known of it.
#[test]
fn a_pool_that_freezes_tries_with_a_quarter_after_each_pause_and_doubles_it() {
    let freeze = Weather { on_refusal: OnRefusal::Freeze, ..CONCURRENCY };
    for weather in [freeze, Weather { strikes: Strikes::Rate, ..CONCURRENCY }] {
        check(weather, |course| {
            assert!(course.in_vain <= 40 + 3 * 10, "{course:?}");
            assert_eq!(course.at_once[..4], [10, 20, 40, 40], "{course:?}");
            assert!(course.idle <= millis(5600) && course.took < secs(12), "{course:?}");
        });
    }
}

/// Five would be enough, but forty are at Zuora by then, and the first four to fail are replaced; then one
/// goes after each pause.
#[test]
fn a_tenant_that_is_down_is_tried_less_and_less_and_begins_with_a_quarter() {
    check(Weather { strikes: Strikes::Silence, ..CONCURRENCY }, |course| {
        assert!(course.in_vain <= 40 + 4 + 4, "{course:?}");
        assert!(course.idle <= secs(16), "{course:?}");
        assert_eq!(course.at_once[..4], [10, 20, 40, 40], "{course:?}");
        assert!(course.took < secs(24), "{course:?}");
    });
}
