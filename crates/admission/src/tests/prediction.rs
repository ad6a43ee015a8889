//! Who is told to wait, for how long, and who is told that it is hopeless.

use super::*;
use crate::Refused;

/// A pool in which a request is known to take `hold`.
async fn measured(ceiling: u32, hold: Duration) -> Arc<Admission> {
    let admission = admission(one_pool(ceiling));
    for _ in 0..8 {
        let permit = at_once(&admission, ask()).unwrap();
        pass(hold).await;
        drop(permit);
    }
    admission
}

#[tokio::test(start_paused = true)]
async fn a_free_permit_means_no_wait() {
    let admission = measured(2, secs(10)).await;

    assert_eq!(admission.predicted_wait(POOL, app(0)), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_wait_counts_those_ahead_in_fair_order() {
    let admission = measured(2, secs(10)).await;
    let _held = permits(&admission, 2);
    assert_eq!(admission.predicted_wait(POOL, app(0)), secs(5));

    let mut calls = Vec::new();
    for _ in 0..6 {
        calls.push(waiting(&admission, ask_of(0)).await);
    }

    assert_eq!(admission.predicted_wait(POOL, app(0)), secs(35));
    // The other app is below its share, so the next permit is its.
    assert_eq!(admission.predicted_wait(POOL, app(1)), secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_call_is_shed_at_once() {
    let admission = measured(1, secs(10)).await;
    let _held = permits(&admission, 1);
    let patient =
        |seconds| Ask { deadline: Deadline::Permit(Instant::now() + secs(seconds)), ..ask() };
    let _one = waiting(&admission, patient(60)).await;

    // Twenty seconds are predicted: clearly more than 13, not clearly more than 14.
    let shed = at_once(&admission, patient(13)).unwrap_err();
    assert_eq!(shed, Shed::Hopeless { retry_after: secs(20) });
    let _two = waiting(&admission, patient(14)).await;
}

#[tokio::test(start_paused = true)]
async fn a_user_is_not_sent_away_for_what_another_has_in_line() {
    let admission = measured(1, secs(10)).await;
    let of_user = |user, seconds| Ask {
        user: Some(user),
        deadline: Deadline::Permit(Instant::now() + secs(seconds)),
        ..ask()
    };
    let _held = at_once(&admission, of_user(1, 60)).unwrap();
    let mut busy = Vec::new();
    for _ in 0..5 {
        busy.push(waiting(&admission, of_user(1, 600)).await);
    }

    // Its turn comes after one of the other's, so twenty seconds are predicted, and not sixty.
    let _quiet = waiting(&admission, of_user(2, 20)).await;

    let shed = at_once(&admission, of_user(1, 20)).unwrap_err();
    assert!(matches!(shed, Shed::Hopeless { .. }), "{shed:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_sent_away_on_a_guess() {
    let admission = admission(one_pool(1));
    for _ in 0..7 {
        let permit = at_once(&admission, ask()).unwrap();
        pass(secs(50)).await;
        drop(permit);
    }
    let _held = permits(&admission, 1);

    let _waits =
        waiting(&admission, Ask { deadline: Deadline::Permit(Instant::now() + secs(1)), ..ask() })
            .await;
}

#[tokio::test(start_paused = true)]
async fn refused_requests_are_no_measurement() {
    let admission = measured(1, secs(10)).await;
    for _ in 0..50 {
        let permit = at_once(&admission, ask()).unwrap();
        permit.refused(Refused::Concurrency { until: Instant::now() });
        pass(secs(2)).await;
    }
    let _held = permits(&admission, 1);

    assert_eq!(admission.predicted_wait(POOL, app(0)), secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_shrunken_pool_is_not_hopeless_if_it_may_recover_in_time() {
    let admission = measured(10, secs(10)).await;
    let mut held = permits(&admission, 3);
    held.pop().unwrap().refused(Refused::Concurrency { until: Instant::now() });
    held.pop().unwrap().refused(Refused::Concurrency { until: Instant::now() });
    assert_eq!(admission.snapshot().pools[0].capacity, 1);

    let soon = Ask { deadline: Deadline::Permit(Instant::now() + secs(3)), ..ask() };

    assert!(admission.admit(soon).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn advice_is_whole_seconds_between_one_and_thirty() {
    let timeout = |admission: Arc<Admission>| async move {
        let _held = permits(&admission, 1);
        let soon = Ask { deadline: Deadline::Permit(Instant::now() + secs(60)), ..ask() };
        admission.admit(soon).await.unwrap_err().retry_after(Instant::now())
    };

    assert_eq!(timeout(measured(1, millis(30)).await).await, secs(1));
    assert_eq!(timeout(measured(1, millis(2300)).await).await, secs(3));
    assert_eq!(timeout(measured(1, secs(59)).await).await, secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_part_of_the_prediction() {
    let admission = admission(one_pool(1));
    at_once(&admission, ask()).unwrap().refused(Refused::Rate { until: Instant::now() + secs(9) });

    assert!(admission.predicted_wait(POOL, app(0)) >= secs(9));
}
