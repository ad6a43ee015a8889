//! Tables: what happened and how much time passed, against what may be used.

use tokio::time::Instant;

use super::{millis, pool, secs};
use crate::Said;
use crate::capacity::Capacity;

#[derive(Clone)]
enum Event {
    Says(u32),
    /// Says its limit and what remains, while so many of ours are in flight.
    Remains(u32, u32, u32),
    /// What was sent just now is refused, while so many others are in flight.
    RefusedWith(u32),
    /// What was sent at this millisecond is refused.
    OldRefused(u64, u32),
    /// From now on so many of ours are in flight.
    InUse(u32),
    Pause(u64),
}
use Event::{InUse, OldRefused, Pause, RefusedWith, Remains, Says};

/// Plays events at milliseconds, then compares what is usable at milliseconds.
#[track_caller]
fn check(ceiling: u32, headroom: u32, events: &[(u64, Event)], expected: &[(u64, u32)]) {
    let start = Instant::now();
    let settings = crate::PoolSettings { headroom, ..pool("p", None, ceiling) };
    let mut capacity = Capacity::new(&settings, false, start);
    let mut in_use = 0;
    for (at, event) in events {
        let now = start + millis(*at);
        match event {
            Says(limit) => {
                capacity.observe(Said { limit: *limit, remaining: None }, 0, now);
            }
            Remains(limit, remaining, ours) => {
                capacity.advance(now);
                capacity.observe(Said { limit: *limit, remaining: Some(*remaining) }, *ours, now);
            }
            RefusedWith(fitted) => capacity.shrink(now, *fitted, now),
            OldRefused(sent, fitted) => capacity.shrink(now, *fitted, start + millis(*sent)),
            InUse(now_in_use) => {
                capacity.in_use(*now_in_use, in_use, now);
                in_use = *now_in_use;
            }
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
fn a_limit_that_comes_and_goes_is_told_once() {
    let now = Instant::now();
    let mut capacity = Capacity::new(&pool("p", None, 40), false, now);
    let mut says = |limit| capacity.observe(Said { limit, remaining: None }, 0, now);

    assert_eq!([20, 30, 20, 30, 40].map(&mut says), [true, true, false, false, false]);

    capacity.reconfigure(&pool("p", None, 35));
    assert!(capacity.observe(Said { limit: 20, remaining: None }, 0, now), "another comparison");
}

#[test]
fn a_refusal_leaves_what_fitted_and_each_clean_second_gives_some_back() {
    check(40, 0, &[(0, RefusedWith(30))], &[(0, 30), (999, 30), (1000, 31), (9999, 39)]);
    check(40, 0, &[(0, RefusedWith(30))], &[(10_000, 40), (99_000, 40)]);
    // A fortieth of the whole, at least one.
    check(200, 0, &[(0, RefusedWith(100))], &[(0, 100), (1000, 105), (19_999, 195), (20_000, 200)]);
    check(5, 0, &[(0, RefusedWith(2))], &[(0, 2), (1000, 3)]);
}

#[test]
fn what_fits_by_chance_is_not_taken_for_what_fits() {
    // Those in flight came before the others did. A seventh less is tried, and another.
    check(40, 0, &[(0, RefusedWith(39))], &[(0, 34)]);
    check(40, 0, &[(0, RefusedWith(39)), (50, RefusedWith(33))], &[(50, 29)]);
}

#[test]
fn many_refusals_at_once_are_one_event() {
    let burst = [(10, RefusedWith(39)), (11, OldRefused(5, 38)), (12, OldRefused(5, 30))];
    check(40, 0, &burst, &[(12, 30)]);
}

#[test]
fn what_others_take_is_left_to_them() {
    check(40, 0, &[(0, Remains(40, 10, 20))], &[(0, 30)]);
    check(40, 2, &[(0, Remains(40, 10, 20))], &[(0, 28)]);
    check(40, 0, &[(0, Remains(40, 0, 0))], &[(0, 1)]);
    check(40, 0, &[(0, Remains(40, 25, 20))], &[(0, 40)]);
}

#[test]
fn a_snapshot_from_before_we_grew_or_shrank_is_no_outside_use() {
    // Two seconds ago 40 of ours were in flight, and the snapshot may count them.
    check(40, 0, &[(0, InUse(40)), (1, InUse(5)), (1500, Remains(40, 0, 5))], &[(1500, 40)]);
    check(40, 0, &[(0, InUse(40)), (1, InUse(5)), (4000, Remains(40, 0, 5))], &[(4000, 5)]);
    check(40, 0, &[(0, InUse(40)), (1, Remains(40, 35, 40))], &[(1, 40)]);
}

#[test]
fn others_who_take_turns_are_left_their_most_of_ten_seconds() {
    let ours = (0, InUse(30));
    let dips = [ours, (100, Remains(40, 0, 30)), (5000, Remains(40, 2, 30))];
    check(40, 0, &dips, &[(5000, 30)]);
    let longer = [dips[0].clone(), dips[1].clone(), (10_000, Remains(40, 2, 30))];
    check(40, 0, &longer, &[(10_000, 32)]);
}

#[test]
fn others_who_leave_are_believed_after_three_seconds() {
    let leave = |at| [(0, InUse(30)), (100, Remains(40, 0, 30)), (at, Remains(40, 10, 30))];
    check(40, 0, &leave(2999), &[(2999, 30)]);
    check(40, 0, &leave(3000), &[(3000, 40)]);
}

#[test]
fn without_an_answer_for_half_a_minute_nothing_is_known_of_others() {
    check(40, 0, &[(0, Remains(40, 10, 20))], &[(29_999, 30), (30_000, 40)]);
}

#[test]
fn three_seconds_after_a_refusal_zuora_shows_how_much_more_fits() {
    let story = |at, words: &[u32]| {
        let before = [(0, InUse(24)), (0, Remains(40, 0, 24)), (0, RefusedWith(20))];
        let words =
            (0_u64..).zip(words).map(|(nth, left)| (at + nth * 1000, Remains(40, *left, 24)));
        before.into_iter().chain(words).collect::<Vec<_>>()
    };
    // An earlier word may be from before the refusal, and nothing is tried meanwhile.
    check(40, 0, &story(2999, &[16, 16]), &[(3999, 20)]);
    check(40, 0, &story(3000, &[0, 0]), &[(4000, 24)]);
    check(40, 0, &story(3000, &[6, 6]), &[(4000, 30)]);
    check(40, 0, &story(3000, &[16, 16]), &[(4000, 40)]);
    // Of two words the smaller one counts, as somebody may have been between two requests.
    check(40, 0, &story(3000, &[6, 7]), &[(4000, 30)]);
    check(40, 0, &story(3000, &[7, 6]), &[(4000, 30)]);
    check(40, 0, &story(3000, &[6]), &[(3000, 20)]);
}

#[test]
fn while_nothing_remains_others_may_want_more_than_they_have() {
    let refused = [(0, InUse(32)), (0, RefusedWith(31)), (1, InUse(25))];
    let full = refused.iter().cloned().chain((3..30).map(|at| (at * 1000, Remains(40, 0, 25))));
    check(40, 0, &full.collect::<Vec<_>>(), &[(29_000, 25)]);
}

#[test]
fn refused_requests_were_not_at_zuora() {
    // Forty were out, others took ten: thirty fitted, and nothing remains.
    let refused = |at: u64, left: u32| [(at, RefusedWith(left)), (at, InUse(left))];
    let story = [vec![(0, InUse(40))], refused(1000, 39).into(), refused(1000, 30).into()].concat();
    let story = [story, vec![(4000, Remains(40, 0, 30))]].concat();
    check(40, 0, &story, &[(4000, 30)]);
}

#[test]
fn a_cautious_start_trusts_what_zuora_says_remains() {
    let start = Instant::now();
    let cautious = || {
        let mut capacity = Capacity::new(&pool("p", None, 40), false, start);
        capacity.be_cautious(start, secs(125));
        capacity
    };
    assert_eq!(cautious().usable(start), 10);

    let mut told = cautious();
    told.observe(Said { limit: 40, remaining: Some(15) }, 5, start + millis(1));
    assert_eq!(told.usable(start + millis(1)), 20);

    let mut untold = cautious();
    for (after, usable) in [(1, 10), (124, 10), (125, 40)] {
        untold.advance(start + secs(after));
        assert_eq!(untold.usable(start + secs(after)), usable, "time alone tells nothing");
    }
    assert_eq!(cautious().next_change(start), Some(start + secs(125)), "whoever waits is woken");

    let mut short = cautious();
    short.be_cautious(start, secs(5));
    short.advance(start + secs(5));
    assert_eq!(short.usable(start + secs(5)), 40);
}

#[test]
fn where_zuora_falls_silent_a_shrunken_pool_grows_by_trying_again() {
    let story = [(0, Remains(40, 40, 0)), (0, RefusedWith(10))];
    check(40, 0, &story, &[(31_000, 11), (40_000, 20)]);

    let start = Instant::now();
    let mut capacity = Capacity::new(&pool("p", None, 40), false, start);
    capacity.observe(Said { limit: 40, remaining: Some(40) }, 0, start);
    capacity.shrink(start, 10, start);
    assert_eq!(capacity.next_change(start), Some(start + secs(30)), "whoever waits is woken");
}

#[test]
fn figures_that_cannot_be_are_no_trouble() {
    let start = Instant::now();
    let mut learnt = Capacity::new(&pool("p", None, 1), true, start);

    learnt.observe(Said { limit: u32::MAX, remaining: None }, 1, start);
    learnt.shrink(start, 7, start);
    assert_eq!(learnt.current(start), 7);

    // All but the seven that fitted are somebody else's.
    learnt.observe(Said { limit: u32::MAX, remaining: Some(0) }, 1, start);
    assert_eq!((learnt.outside_use(start), learnt.current(start)), (u32::MAX - 7, 7));
}

#[test]
fn another_refusal_begins_the_clean_second_anew() {
    let events = [(0, RefusedWith(30)), (900, RefusedWith(24))];
    check(40, 0, &events, &[(1000, 24), (1899, 24), (1900, 25)]);
}

#[test]
fn later_refusals_only_lower() {
    check(40, 0, &[(0, RefusedWith(10)), (1, RefusedWith(35))], &[(1, 8)]);
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
    check(40, 0, &events, &[(2000, 9), (2899, 9), (2900, 18), (3900, 36)]);
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
    let mut capacity = Capacity::new(&pool("p", None, 40), false, start);
    capacity.pause(start, start, start);
    capacity.shrink(start, 1, start);

    let later = start + secs(60 * 60 * 24 * 365);
    capacity.advance(later);

    assert_eq!(capacity.current(later), 40);
    assert_eq!(capacity.next_change(later), None);
}
