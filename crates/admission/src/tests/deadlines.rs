//! When a call is wanted by, and what that means for its permit.

use super::*;
use crate::Refused;

/// A pool in which a request of app `a` is known to take two seconds, and one of app `b` ten.
async fn measured(ceiling: u32) -> Arc<Admission> {
    let admission = admission(one_pool(ceiling));
    for (app, hold) in [(0, secs(2)), (1, secs(10))] {
        for _ in 0..8 {
            let permit = at_once(&admission, ask_of(app)).unwrap();
            pass(hold).await;
            drop(permit);
        }
    }
    admission
}

fn answered_in(app: usize, time: Duration) -> Ask {
    Ask { deadline: Deadline::Answer(Instant::now() + time), ..ask_of(app) }
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_given_when_the_answer_would_come_too_late() {
    let admission = measured(2).await;

    let _in_time = at_once(&admission, answered_in(0, millis(2001))).unwrap();
    let shed = at_once(&admission, answered_in(0, secs(2))).unwrap_err();

    assert!(matches!(shed, Shed::Hopeless { .. }), "{shed:?}");
    let slower = at_once(&admission, answered_in(1, secs(9))).unwrap_err();
    assert!(matches!(slower, Shed::Hopeless { .. }), "{slower:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_answer_could_not_come_any_more() {
    let admission = measured(1).await;
    let _held = at_once(&admission, ask()).unwrap();

    let (waited, outcome) = timed(admission.admit(answered_in(0, secs(12)))).await;

    assert_eq!(waited, secs(10));
    assert!(matches!(outcome, Err(Shed::QueueTimeout { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_wanted_now_cannot_be() {
    let admission = admission(one_pool(1));

    let shed = at_once(&admission, answered_in(0, Duration::ZERO)).unwrap_err();

    assert!(matches!(shed, Shed::Hopeless { .. }), "{shed:?}");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_measured_the_answer_may_be_hoped_for() {
    let admission = admission(one_pool(1));

    drop(at_once(&admission, answered_in(0, millis(1))).unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_others_take_keeps_nobody_from_trying() {
    let admission = measured(1).await;

    drop(at_once(&admission, answered_in(2, secs(1))).unwrap());
}

#[tokio::test(start_paused = true)]
async fn whoever_was_slow_may_try_again_later_and_is_judged_by_that() {
    let admission = measured(2).await;
    assert!(at_once(&admission, answered_in(1, secs(5))).is_err());
    pass(secs(60)).await;

    // As long as it is out, it is what is known; then it is all that is known.
    let probe = at_once(&admission, answered_in(1, secs(5))).unwrap();
    assert!(at_once(&admission, answered_in(1, secs(5))).is_err());
    pass(secs(1)).await;
    drop(probe);

    for _ in 0..8 {
        drop(at_once(&admission, answered_in(1, secs(5))).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_does_not_make_an_answer_late_that_could_come_in_time() {
    let admission = measured(2).await;
    let until = Instant::now() + secs(20);
    for _ in 0..50 {
        let ticket = at_once(&admission, ask()).unwrap().refused(Refused::Elsewhere { until });
        // Ten seconds for the answer, and a tenth of one between Zuora's moment and the last one.
        let again = Ask { place: Place::Front(ticket), ..answered_in(1, millis(30_100)) };
        waiting(&admission, again).await.abort();
    }
}
