//! Calls that are repeated after a pause of our own choice.

use super::*;
use crate::{Refused, WaitReason};

fn again(ticket: Ticket, ask: Ask) -> Ask {
    Ask { place: Place::Front(ticket), ..ask }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_backs_off_rests_and_is_told_why() {
    let admission = admission(one_pool(2));
    let until = Instant::now() + secs(4);
    let ticket = at_once(&admission, ask()).unwrap().ticket().resting_until(until);

    let (waited, permit) = timed(admission.admit(again(ticket, ask()))).await;

    assert!((secs(4)..=millis(4401)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().reason(), Some(WaitReason::Retry));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_backs_off_holds_nothing_and_keeps_nobody_waiting() {
    let admission = admission(one_pool(1));
    let permit = at_once(&admission, ask()).unwrap();
    let ticket = permit.ticket().resting_until(Instant::now() + secs(10));
    drop(permit);
    let rests = waiting(&admission, again(ticket, ask())).await;

    for _ in 0..3 {
        drop(at_once(&admission, ask()).unwrap());
    }

    let seen = &admission.snapshot().pools[0];
    assert_eq!((seen.in_use, seen.permits_out, seen.queued), (0, 0, 1));
    assert!(!rests.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_backed_off_goes_before_all_that_came_after_it() {
    let admission = admission(one_pool(1));
    let permit = at_once(&admission, ask()).unwrap();
    let ticket = permit.ticket().resting_until(Instant::now() + secs(1));
    let later = waiting(&admission, ask()).await;
    let last = waiting(&admission, ask()).await;
    drop(permit);
    settle().await;
    let rested = waiting(&admission, again(ticket, ask())).await;
    pass(secs(2)).await;

    drop(later.await.unwrap());
    settle().await;

    assert!(rested.is_finished() && !last.is_finished());
}

#[tokio::test(start_paused = true)]
async fn whatever_moment_is_later_holds_and_says_whose_word_it_was() {
    let start = Instant::now();
    let moments = [(2, 5, WaitReason::Retry), (5, 2, WaitReason::Cooldown)];
    for (named, chosen, reason) in moments {
        let admission = admission(one_pool(2));
        let now = Instant::now();
        let refused = Refused::Elsewhere { until: now + secs(named) };
        let ticket = at_once(&admission, ask()).unwrap().refused(refused);
        let ticket = ticket.resting_until(now + secs(chosen));

        let (waited, permit) = timed(admission.admit(again(ticket, ask()))).await;

        assert!((secs(5)..=millis(5501)).contains(&waited), "{waited:?}");
        assert_eq!(permit.unwrap().reason(), Some(reason));
    }
    assert!(start.elapsed() >= secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_is_over_keeps_nobody() {
    let admission = admission(one_pool(2));
    let ticket = at_once(&admission, ask()).unwrap().ticket().resting_until(Instant::now());

    assert_eq!(at_once(&admission, again(ticket, ask())).unwrap().reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_rest_beyond_its_deadline_is_told_at_once() {
    let admission = admission(one_pool(2));
    let permit = at_once(&admission, ask()).unwrap();
    let ticket = permit.ticket().resting_until(Instant::now() + secs(60));
    drop(permit);

    let shed = at_once(&admission, again(ticket, ask())).unwrap_err();

    assert!(matches!(shed, Shed::Hopeless { .. }), "Zuora named nothing: {shed}");
    assert_eq!(shed.retry_after(Instant::now()), secs(30));
}

#[tokio::test(start_paused = true)]
async fn calls_that_back_off_to_one_moment_do_not_wake_in_one() {
    let admission = admission(one_pool(40));
    let held = permits(&admission, 40);
    let until = Instant::now() + secs(5);
    let mut calls = Vec::new();
    for permit in held {
        let ticket = permit.ticket().resting_until(until);
        drop(permit);
        calls.push(waiting(&admission, again(ticket, ask())).await);
    }

    let mut most = 0;
    let mut before = 0;
    while before < 40 {
        pass(millis(10)).await;
        let gone = admission.snapshot().in_use;
        most = most.max(gone - before);
        before = gone;
    }

    assert!(Instant::now() < until + millis(520));
    assert!(most < 8, "{most} of 40 in a hundredth of a second");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_backs_off_while_the_tenant_is_down_waits_for_both() {
    let admission = admission(one_pool(10));
    let held = permits(&admission, 5);
    let ticket = held[0].ticket().resting_until(Instant::now() + millis(300));
    for permit in &held {
        permit.unreached();
    }
    drop(held);

    let (waited, permit) = timed(admission.admit(again(ticket, ask()))).await;

    assert!((secs(1)..=millis(1101)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().reason(), Some(WaitReason::Down));
}
