//! Tables: when the calls of a paced app or tenant may go.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::{millis, secs};
use crate::pace::Paces;
use crate::{AppRate, RateLimits};

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn per_minute(limit: u32) -> Paces {
    Paces::of_tenant(&RateLimits { per_minute: Some(count(limit)), ..RateLimits::NONE })
}

fn bucket(per_second: u32, burst: u32) -> Paces {
    let (per_second, burst) = (count(per_second), count(burst));
    Paces::of_app(Some(AppRate { per_second, burst, enforce: true }))
}

/// Takes as soon as may be, from `start`, and returns when each call went.
fn greedy(paces: &mut Paces, start: Instant, calls: usize) -> Vec<Duration> {
    let mut now = start;
    let mut went = Vec::new();
    for _ in 0..calls {
        now = paces.blocked_until(now).unwrap_or(now);
        paces.take(now);
        went.push(now - start);
    }
    went
}

#[test]
fn an_app_may_send_its_burst_at_once_and_then_its_rate() {
    let went = greedy(&mut bucket(10, 3), Instant::now(), 5);

    assert_eq!(went, [0, 0, 0, 100, 200].map(millis));
}

#[test]
fn a_quiet_time_earns_a_burst_but_no_more() {
    let start = Instant::now();
    let mut paces = bucket(10, 3);
    greedy(&mut paces, start, 3);

    let went = greedy(&mut paces, start + secs(3600), 5);

    assert_eq!(went, [0, 0, 0, 100, 200].map(millis));
}

#[test]
fn no_window_sees_more_than_its_limit_wherever_it_begins() {
    for limit in [1, 2, 19, 20, 21, 60, 100, 1000] {
        let went = greedy(&mut per_minute(limit), Instant::now(), limit as usize * 4);

        for (nth, began) in went.iter().enumerate() {
            let within = went[nth..].iter().take_while(|at| **at < *began + secs(60)).count();
            assert!(within <= limit as usize, "{within} of {limit} from call {nth}");
        }
    }
}

#[test]
fn a_window_is_used_to_within_a_twentieth_and_not_at_its_beginning() {
    let went = greedy(&mut per_minute(1000), Instant::now(), 1100);
    let until = |at: u64| went.iter().filter(|went| **went < secs(at)).count();

    assert!((995..=1000).contains(&until(60)), "{} in the first minute", until(60));
    assert!((520..=530).contains(&until(30)), "{} in its first half", until(30));
}

#[test]
fn of_a_day_a_quarter_may_go_at_once_and_a_third_is_left_at_noon() {
    let limits = RateLimits { per_day: Some(count(10_000)), ..RateLimits::NONE };

    let went = greedy(&mut Paces::of_tenant(&limits), Instant::now(), 10_010);

    let until = |hours: u64| went.iter().filter(|went| **went < secs(hours * 3600)).count();
    assert!(went[2499].is_zero() && !went[2500].is_zero());
    assert!((6240..=6260).contains(&until(12)), "{} by noon", until(12));
    assert!((9990..=10_000).contains(&until(24)), "{} in a day", until(24));
}

#[test]
fn the_slowest_window_decides_and_all_are_used_together() {
    let start = Instant::now();
    let limits =
        RateLimits { per_minute: Some(count(60)), per_day: Some(count(100)), ..RateLimits::NONE };
    let mut paces = Paces::of_tenant(&limits);

    let went = greedy(&mut paces, start, 101);

    assert!(went[24] < secs(60), "as many at once as the day allows, at the minute's pace");
    assert!(went[25] > secs(60), "the day's pace");
    assert!(went[100] >= secs(24 * 60 * 60), "the hundred and first waits for the next day");
}

#[test]
fn a_changed_limit_is_not_a_fresh_one() {
    let start = Instant::now();
    let mut paces = bucket(10, 20);
    greedy(&mut paces, start, 20);

    let mut paces = bucket(20, 20).after(&paces, start);

    assert_eq!(greedy(&mut paces, start, 2), [50, 100].map(millis));
}

#[test]
fn a_window_that_comes_anew_begins_unused_and_the_others_keep_theirs() {
    let start = Instant::now();
    let day = RateLimits { per_day: Some(count(4000)), ..RateLimits::NONE };
    let mut paces = Paces::of_tenant(&day);
    greedy(&mut paces, start, 1000);

    let both = RateLimits { per_minute: Some(count(2000)), ..day };
    let paces = Paces::of_tenant(&both).after(&paces, start);

    let wait = paces.blocked_until(start).unwrap() - start;
    assert!((secs(28)..secs(30)).contains(&wait), "{wait:?}: a call of a day of 3001");
}

#[test]
fn what_is_not_enforced_blocks_nobody_and_tells() {
    let now = Instant::now();
    let rate = AppRate { per_second: count(1), burst: count(1), enforce: false };
    let mut paces = Paces::of_app(Some(rate));

    assert!(!paces.would_block(now));
    paces.take(now);

    assert!(paces.would_block(now));
    assert_eq!(paces.blocked_until(now), None);
    assert_eq!(paces.blocked_for(100, now), Duration::ZERO);
}

#[test]
fn the_wait_of_the_last_in_line_is_known() {
    let now = Instant::now();
    let mut paces = bucket(10, 2);
    paces.take(now);

    assert_eq!(paces.blocked_for(1, now), Duration::ZERO);
    assert_eq!(paces.blocked_for(2, now), millis(100));
    assert_eq!(paces.blocked_for(11, now), secs(1));
}

#[test]
fn what_went_under_a_larger_limit_counts_no_longer_than_its_window() {
    let start = Instant::now();
    let mut paces = per_minute(1000);
    greedy(&mut paces, start, 50);

    let paces = per_minute(1).after(&paces, start);

    assert_eq!(paces.blocked_for(1, start), secs(60));
}
