//! Tables: what happened and how much time passed, against what may be used.

use tokio::time::Instant;

use super::{millis, pool, secs};
use crate::capacity::Capacity;

enum Event {
    Says(u32),
    RefusedWith(u32),
    Pause(u64),
}
use Event::{Pause, RefusedWith, Says};

/// Plays events at milliseconds, then compares what is usable at milliseconds.
#[track_caller]
fn check(ceiling: u32, headroom: u32, events: &[(u64, Event)], expected: &[(u64, u32)]) {
    let start = Instant::now();
    let mut capacity = Capacity::new(&crate::PoolSettings { headroom, ..pool("p", None, ceiling) });
    for (at, event) in events {
        let now = start + millis(*at);
        match event {
            Says(limit) => {
                capacity.observe(*limit);
            }
            RefusedWith(fitted) => capacity.shrink(now, *fitted),
            Pause(until) => {
                let until = start + millis(*until);
                capacity.pause(now, until, until);
            }
        }
    }
    for (at, usable) in expected {
        let now = start + millis(*at);
        capacity.advance(now);
        assert_eq!(capacity.usable(now), *usable, "after {at} ms");
    }
}

#[test]
fn capacity_is_ceiling_less_headroom_and_never_nothing() {
    check(40, 0, &[], &[(0, 40)]);
    check(40, 2, &[], &[(0, 38)]);
    check(2, 2, &[], &[(0, 1)]);
    check(1, 9, &[], &[(0, 1)]);
}

#[test]
fn zuoras_own_limit_lowers_and_raises_but_never_above_the_configured_one() {
    check(40, 2, &[(0, Says(20))], &[(0, 18)]);
    check(40, 2, &[(0, Says(20)), (1, Says(30))], &[(1, 28)]);
    check(40, 2, &[(0, Says(200))], &[(0, 38)]);
    check(40, 2, &[(0, Says(0))], &[(0, 1)]);
}

#[test]
fn a_refusal_leaves_what_fitted_and_each_clean_second_gives_one_back() {
    check(40, 0, &[(0, RefusedWith(30))], &[(0, 30), (999, 30), (1000, 31), (9999, 39)]);
    check(40, 0, &[(0, RefusedWith(30))], &[(10_000, 40), (99_000, 40)]);
    check(40, 0, &[(0, RefusedWith(50))], &[(0, 40)]);
}

#[test]
fn another_refusal_begins_the_clean_second_anew() {
    let events = [(0, RefusedWith(30)), (900, RefusedWith(30))];
    check(40, 0, &events, &[(1000, 30), (1899, 30), (1900, 31)]);
}

#[test]
fn later_refusals_only_lower() {
    check(40, 0, &[(0, RefusedWith(10)), (1, RefusedWith(35))], &[(1, 10)]);
}

#[test]
fn when_nothing_fitted_one_is_tried_after_a_second() {
    check(40, 0, &[(0, RefusedWith(0))], &[(0, 0), (999, 0), (1000, 1), (1999, 1), (2000, 2)]);
}

#[test]
fn a_pause_admits_nobody_then_a_quarter_then_twice_as_many_each_second() {
    let usable = [(0, 0), (4999, 0), (5000, 10), (5999, 10), (6000, 20), (7000, 40)];
    check(40, 0, &[(0, Pause(5000))], &usable);
    check(2, 0, &[(0, Pause(5000))], &[(5000, 1), (6000, 1), (7000, 2)]);
}

#[test]
fn a_refusal_on_the_way_back_begins_the_second_anew() {
    let events = [(0, Pause(1000)), (1900, RefusedWith(40))];
    check(40, 0, &events, &[(2000, 10), (2899, 10), (2900, 20), (3900, 40)]);
}

#[test]
fn pauses_only_grow() {
    check(40, 0, &[(0, Pause(5000)), (1, Pause(3000))], &[(4999, 0), (5000, 10)]);
    check(40, 0, &[(0, Pause(3000)), (1, Pause(5000))], &[(4999, 0), (5000, 10)]);
}

#[test]
fn nothing_grows_back_during_a_pause() {
    let events = [(0, RefusedWith(8)), (0, Pause(60_000))];
    check(40, 0, &events, &[(60_000, 2), (61_000, 5), (62_000, 10), (63_000, 11)]);
}

#[test]
fn what_was_earned_before_a_pause_is_kept() {
    let events = [(0, RefusedWith(8)), (5000, Pause(6000))];
    check(40, 0, &events, &[(6000, 4), (7000, 7), (8000, 15)]);
}

#[test]
fn a_long_time_is_no_trouble() {
    let start = Instant::now();
    let mut capacity = Capacity::new(&pool("p", None, 40));
    capacity.pause(start, start, start);
    capacity.shrink(start, 1);

    capacity.advance(start + secs(60 * 60 * 24 * 365));

    assert_eq!(capacity.current(), 40);
    assert_eq!(capacity.next_change(start + secs(60 * 60 * 24 * 365)), None);
}
