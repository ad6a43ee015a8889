//! What Zuora's two kinds of refusal do to the call, to its pool, and to everybody else.

use super::*;
use crate::{Refused, WaitReason};

#[tokio::test(start_paused = true)]
async fn a_refused_call_waits_for_its_moment_even_if_nobody_reminds_it() {
    let admission = admission(one_pool(2));
    let until = Instant::now() + secs(20);
    let ticket = at_once(&admission, ask()).unwrap().refused(Refused::Concurrency { until });

    let (waited, permit) =
        timed(admission.admit(Ask { place: Place::Front(ticket), ..ask() })).await;

    assert!((secs(20)..=secs(21)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().reason(), Some(WaitReason::Cooldown));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_whose_deadline_comes_first_is_told_the_moment_at_once() {
    let admission = admission(one_pool(2));
    let until = Instant::now() + secs(120);
    let ticket = at_once(&admission, ask()).unwrap().refused(Refused::Concurrency { until });

    let shed = at_once(&admission, Ask { place: Place::Front(ticket), ..ask() }).unwrap_err();

    assert_eq!(shed, Shed::Cooldown { until });
    assert_eq!(shed.retry_after(Instant::now()), secs(120));
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_refusal_shrinks_the_pool_and_the_others_go_on() {
    let admission = admission(one_pool(4));
    let mut held = permits(&admission, 4);
    let until = Instant::now() + secs(120);
    held.pop().unwrap().refused(Refused::Concurrency { until });
    held.pop().unwrap().refused(Refused::Concurrency { until });
    let next = waiting(&admission, ask()).await;
    assert_eq!(admission.snapshot().pools[0].capacity, 2);

    drop(held.pop());

    assert!(next.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_clean_second_wakes_somebody_with_nothing_else_happening() {
    let admission = admission(one_pool(4));
    let mut held = permits(&admission, 4);
    let until = Instant::now() + secs(120);
    held.pop().unwrap().refused(Refused::Concurrency { until });

    let (waited, permit) = timed(admission.admit(ask())).await;

    assert_eq!(waited, secs(1));
    assert_eq!(permit.unwrap().reason(), Some(WaitReason::Capacity));
}

#[tokio::test(start_paused = true)]
async fn when_nothing_of_ours_fits_the_queue_is_not_burnt() {
    let admission = admission(one_pool(4));
    let until = Instant::now() + secs(120);
    at_once(&admission, ask()).unwrap().refused(Refused::Concurrency { until });

    let (waited, permit) = timed(admission.admit(ask())).await;

    assert_eq!(waited, secs(1));
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn a_rate_refusal_pauses_every_pool_of_the_tenant() {
    let mut settings = one_pool(4);
    settings.pools.push(pool("Object Query", Some("e1"), 4));
    let admission = admission(settings);
    let until = Instant::now() + secs(10);
    at_once(&admission, ask()).unwrap().refused(Refused::Rate { until });

    for pool in [0, 1] {
        let ask = Ask { pool: PoolId(pool), ..ask() };
        let soon = Ask { deadline: Deadline::Permit(until), ..ask };
        assert!(
            matches!(at_once(&admission, soon), Err(Shed::Cooldown { until: end }) if until <= end)
        );
        assert!(admission.snapshot().pools[pool as usize].paused_for >= secs(10));
    }
    let other = Ask { pool: PoolId(1), ..ask() };
    let (waited, permit) = timed(admission.admit(other)).await;

    assert!((secs(10)..=secs(11)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().reason(), Some(WaitReason::Cooldown));
}

#[tokio::test(start_paused = true)]
async fn a_pause_sends_those_away_at_once_who_cannot_wait_for_its_end() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask()).unwrap();
    let short =
        waiting(&admission, Ask { deadline: Deadline::Permit(Instant::now() + secs(20)), ..ask() })
            .await;
    let patient = Ask { deadline: Deadline::Permit(Instant::now() + secs(30)), ..ask() };
    let resting = resting(patient, Instant::now() + secs(25));
    let resting = waiting(&admission, resting).await;
    let long = waiting(&admission, ask()).await;

    held.refused(Refused::Rate { until: Instant::now() + secs(30) });
    settle().await;

    assert!(matches!(short.await.unwrap(), Err(Shed::Cooldown { .. })));
    assert!(matches!(resting.await.unwrap(), Err(Shed::Cooldown { .. })));
    assert!(!long.is_finished());
    assert_eq!(admission.snapshot().queued, 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_a_quarter_goes_then_twice_as_many_each_second() {
    let admission = admission(one_pool(8));
    let start = Instant::now();
    let until = start + secs(10);
    at_once(&admission, ask()).unwrap().refused(Refused::Rate { until });
    let mut calls = Vec::new();
    for _ in 0..9 {
        calls.push(waiting(&admission, ask()).await);
    }
    let reopens = start + admission.snapshot().pools[0].paused_for;
    assert!((until..=until + secs(1)).contains(&reopens));

    let mut in_use = Vec::new();
    for offset in [0, 990, 1010, 1990, 2010, 9000] {
        time::sleep_until(reopens + millis(offset)).await;
        settle().await;
        in_use.push(admission.snapshot().in_use);
    }
    // Timers round up to a millisecond, so the first look may come just before the first grants.
    assert!(in_use[0] == 0 || in_use[0] == 2);
    assert_eq!(in_use[1..], [2, 4, 4, 8, 8]);
}

#[tokio::test(start_paused = true)]
async fn many_refusals_of_one_window_add_jitter_once() {
    let admission = admission(one_pool(40));
    let until = Instant::now() + secs(10);
    let mut held = permits(&admission, 40);
    held.pop().unwrap().refused(Refused::Rate { until });
    let paused_for = admission.snapshot().pools[0].paused_for;

    for permit in held {
        permit.refused(Refused::Rate { until });
    }

    assert_eq!(admission.snapshot().pools[0].paused_for, paused_for);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_moment_never_shortens_a_pause() {
    let admission = admission(one_pool(2));
    let mut held = permits(&admission, 2);
    held.pop().unwrap().refused(Refused::Rate { until: Instant::now() + secs(10) });
    let paused_for = admission.snapshot().pools[0].paused_for;

    held.pop().unwrap().refused(Refused::Rate { until: Instant::now() + secs(2) });

    assert_eq!(admission.snapshot().pools[0].paused_for, paused_for);
}

#[tokio::test(start_paused = true)]
async fn jitter_differs_and_is_only_ever_added() {
    let mut jitter = Jitter::from_seed(7);
    let added: Vec<_> = (0..1000).map(|_| jitter.on(secs(120))).collect();

    assert!(added.iter().all(|it| *it <= crate::jitter::MAX_JITTER));
    assert!(added.iter().any(|it| *it < millis(100)) && added.iter().any(|it| *it > millis(900)));
    assert!((0..1000).all(|_| jitter.on(millis(100)) <= millis(10)));
    assert_eq!(jitter.on(Duration::ZERO), Duration::ZERO);
}
