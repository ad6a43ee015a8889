//! What metrics and the dashboard are shown.

use super::*;

#[tokio::test(start_paused = true)]
async fn everything_is_counted_for_who_caused_it() {
    let mut settings = one_pool(3);
    settings.pools[0].headroom = 1;
    let admission = admission(settings);
    let _a = at_once(&admission, ask_of(0)).unwrap();
    pass(secs(2)).await;
    let b = at_once(&admission, ask_of(1)).unwrap();
    b.observe(Said { limit: 100, remaining: None });
    let _waits = waiting(&admission, ask_of(2)).await;
    pass(secs(3)).await;
    let _waits_too = waiting(&admission, ask_of(2)).await;
    let resting = resting(ask_of(1), Instant::now() + secs(30));
    let _rests = waiting(&admission, resting).await;
    let _kept = admission.keep(POOL, app(2), 7).unwrap();
    pass(secs(1)).await;

    let snapshot = admission.snapshot();

    assert_eq!((snapshot.in_use, snapshot.queued, snapshot.kept_bytes), (2, 3, 7));
    let pool = &snapshot.pools[0];
    assert_eq!((&*pool.name, pool.entity.as_deref()), ("Default", None));
    assert_eq!((pool.configured, pool.observed), (3, Some(100)));
    assert_eq!((pool.ceiling, pool.capacity, pool.in_use), (3, 2, 2));
    assert_eq!((pool.queued, pool.kept_bytes, pool.paused_for), (3, 7, Duration::ZERO));
    let of = |index: usize| {
        let it = &pool.apps[index];
        (&*it.app, it.in_use, it.queued, it.kept_bytes, it.oldest_wait, it.permit_seconds.round())
    };
    assert_eq!(of(0), ("a", 1, 0, 0, Duration::ZERO, 6.0));
    assert_eq!(of(1), ("b", 1, 1, 0, secs(1), 4.0));
    assert_eq!(of(2), ("c", 0, 2, 7, secs(4), 0.0));
}

#[tokio::test(start_paused = true)]
async fn permit_seconds_never_fall() {
    let admission = admission(one_pool(4));
    let mut held = permits(&admission, 4);
    let mut before = 0.0;
    for _ in 0..8 {
        pass(millis(700)).await;
        held.pop();
        let now = admission.snapshot().pools[0].apps[0].permit_seconds;
        assert!(now >= before, "{now} after {before}");
        before = now;
    }
    assert_eq!((before * 10.0).round(), 70.0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_wait_of_a_call_that_asks_again_began_when_it_first_asked() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask()).unwrap();
    let again = Ask { place: Place::Front(held.ticket()), ..ask() };
    pass(secs(5)).await;
    let _again = waiting(&admission, again).await;

    assert_eq!(admission.snapshot().pools[0].apps[0].oldest_wait, secs(5));
}

#[tokio::test(start_paused = true)]
async fn capacity_that_time_gave_back_is_seen_without_a_decision() {
    let admission = admission(one_pool(4));
    let mut held = permits(&admission, 4);
    held.pop().unwrap().refused(crate::Refused::Concurrency { until: Instant::now() });
    assert_eq!(admission.snapshot().pools[0].capacity, 3);

    pass(secs(1)).await;

    assert_eq!(admission.snapshot().pools[0].capacity, 4);
}
