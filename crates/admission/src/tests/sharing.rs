//! Who goes next: reserves, caps, priorities, scavengers, users.

use super::*;
use crate::{AppRate, Priority, WaitReason};

/// One pool, and apps `a`, `b`, `c` as `change` makes them.
fn apps(ceiling: u32, change: impl FnOnce(&mut [AppSettings])) -> Arc<Admission> {
    let mut settings = one_pool(ceiling);
    change(&mut settings.apps);
    admission(settings)
}

/// Calls of these apps ask, in this order; permits come back one by one after `hold`. Returns whose
/// turn it was, in order.
async fn turns(admission: &Arc<Admission>, held: Vec<Permit>, asks: Vec<Ask>) -> Vec<usize> {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    for ask in asks {
        let (admission, order) = (Arc::clone(admission), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            let permit = admission.admit(ask).await.unwrap();
            order.lock().unwrap().push(ask.app.index());
            time::sleep(millis(100)).await;
            drop(permit);
        }));
    }
    settle().await;
    for permit in held {
        pass(millis(10)).await;
        drop(permit);
    }
    for call in calls {
        call.await.unwrap();
    }
    Arc::into_inner(order).unwrap().into_inner().unwrap()
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn taken(admission: &Arc<Admission>, index: usize, permits: usize) -> Vec<Permit> {
    (0..permits).map(|_| at_once(admission, ask_of(index)).unwrap()).collect()
}

fn in_use(admission: &Arc<Admission>) -> Vec<u32> {
    admission.snapshot().pools[0].apps.iter().map(|app| app.in_use).collect()
}

#[tokio::test(start_paused = true)]
async fn a_share_is_in_proportion_to_the_weight() {
    let admission = apps(8, |apps| apps[0].weight = count(3));
    let held = taken(&admission, 2, 8);
    let asks = [vec![ask_of(0); 30], vec![ask_of(1); 30]].concat();

    let order = turns(&admission, held, asks).await;

    let first = order[..32].iter().filter(|app| **app == 0).count();
    assert!((23..=25).contains(&first), "{first} of the first 32 turns");
}

#[tokio::test(start_paused = true)]
async fn a_reserve_is_lent_while_unused_and_given_back_as_permits_end() {
    let admission = apps(4, |apps| apps[1].reserve = 2);
    let mut held = taken(&admission, 0, 4);
    let _greedy = waiting(&admission, ask_of(0)).await;
    let reserved = [waiting(&admission, ask_of(1)).await, waiting(&admission, ask_of(1)).await];
    assert_eq!(in_use(&admission), [4, 0, 0]);

    held.pop();
    settle().await;
    assert_eq!(in_use(&admission), [3, 1, 0]);
    held.pop();
    settle().await;
    assert_eq!(in_use(&admission), [2, 2, 0]);

    for call in reserved {
        assert_eq!(call.await.unwrap().unwrap().reason(), Some(WaitReason::Capacity));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_reserve_of_another_is_told_so() {
    let admission = apps(2, |apps| apps[1].reserve = 1);
    let mut held = taken(&admission, 0, 2);
    let passed_over = waiting(&admission, ask_of(0)).await;
    let reserved = waiting(&admission, ask_of(1)).await;
    let beyond = waiting(&admission, ask_of(1)).await;

    held.pop();
    settle().await;
    held.pop();

    assert_eq!(passed_over.await.unwrap().unwrap().reason(), Some(WaitReason::Reserve));
    drop(reserved.await.unwrap());
    assert_eq!(beyond.await.unwrap().unwrap().reason(), Some(WaitReason::Capacity), "its own");
}

#[tokio::test(start_paused = true)]
async fn where_others_leave_less_of_the_pool_reserves_are_less_too() {
    let admission = apps(10, |apps| apps[1].reserve = 8);
    let held = taken(&admission, 2, 10);
    // Others take all but two: of a reserve of eight two are left, which is no more than the share.
    held[0].observe(Said { limit: 10, remaining: Some(0) });
    let refused = Instant::now() + secs(1);
    for permit in held.into_iter().skip(2) {
        permit.refused(crate::Refused::Concurrency { until: refused });
    }
    pass(secs(5)).await;

    let order = turns(&admission, Vec::new(), [vec![ask_of(1); 40], vec![ask_of(0); 40]].concat());
    let order = order.await;

    assert!(order[..40].contains(&0), "nobody starves: {order:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_app_had_of_its_reserve_is_not_held_against_it() {
    let admission = apps(4, |apps| apps[1].reserve = 3);
    let asks = [vec![ask_of(1); 40], vec![ask_of(0); 40]].concat();
    let held = taken(&admission, 2, 4);
    // The reserve is three quarters of the pool, its share by weight a half.
    turns(&admission, held, asks).await;

    let mut settings = one_pool(4);
    settings.apps[1].reserve = 0;
    admission.reconfigure(settings);
    let held = taken(&admission, 2, 4);
    let order = turns(&admission, held, [vec![ask_of(0); 12], vec![ask_of(1); 12]].concat()).await;

    let later = order[..12].iter().filter(|app| **app == 1).count();
    assert!((5..=7).contains(&later), "{later} of 12 turns: {order:?}");
}

#[tokio::test(start_paused = true)]
async fn an_app_never_has_more_permits_than_it_may_over_all_pools() {
    let mut settings = one_pool(10);
    settings.pools.push(pool("Object Query", None, 10));
    settings.apps[0].max_in_flight = Some(count(3));
    let admission = admission(settings);
    let other = admission.pool(None, "Object Query").unwrap();
    let mut held = taken(&admission, 0, 3);

    let here = waiting(&admission, ask()).await;
    let there = waiting(&admission, Ask { pool: other, ..ask() }).await;
    drop(at_once(&admission, ask_of(1)).expect("others may go"));
    assert_eq!(admission.snapshot().in_use, 3);

    held.pop();
    settle().await;
    assert!(here.is_finished() ^ there.is_finished(), "one of them may go now");
    held.pop();
    settle().await;
    let reasons = [here.await, there.await].map(|call| call.unwrap().unwrap().reason());
    assert_eq!(reasons, [Some(WaitReason::MaxInFlight); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_priority_is_a_head_start_and_no_larger_share() {
    let admission = apps(4, |apps| {
        apps[0].priority = Priority::Batch;
        apps[1].priority = Priority::Interactive;
    });
    // How long a permit is held must be known, or a head start means nothing.
    turns(&admission, Vec::new(), vec![ask_of(2); 8]).await;
    let held = taken(&admission, 2, 4);
    let asks = [vec![ask_of(0); 40], vec![ask_of(1); 40]].concat();

    let order = turns(&admission, held, asks).await;

    assert_eq!(order[..4], [1; 4], "whoever is in a hurry goes first");
    let share = order[..40].iter().filter(|app| **app == 1).count();
    assert!((20..=25).contains(&share), "{share} of 40 turns");
}

#[tokio::test(start_paused = true)]
async fn a_scavenger_goes_only_when_nobody_else_wants_to() {
    let admission = apps(1, |apps| apps[0].priority = Priority::Scavenger);
    let held = taken(&admission, 2, 1);
    let asks = [vec![ask_of(0); 2], vec![ask_of(1); 20]].concat();

    let order = turns(&admission, held, asks).await;

    assert_eq!(order[20..], [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_was_away_is_not_owed_the_time() {
    let admission = apps(2, |_| {});
    let held = taken(&admission, 2, 2);
    turns(&admission, held, vec![ask_of(0); 40]).await;
    let held = taken(&admission, 2, 2);

    let order = turns(&admission, held, [vec![ask_of(0); 20], vec![ask_of(1); 20]].concat()).await;

    let newcomer = order[..20].iter().filter(|app| **app == 1).count();
    assert!((9..=11).contains(&newcomer), "{newcomer} of 20 turns");
}

#[tokio::test(start_paused = true)]
async fn the_users_of_an_app_take_turns() {
    let admission = apps(1, |_| {});
    let held = at_once(&admission, ask_of(1)).unwrap();
    let of_user = |user| Ask { user: Some(user), ..ask() };
    let users = [1, 1, 1, 1, 2, 3, 3];
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    for user in users {
        let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            let permit = admission.admit(of_user(user)).await.unwrap();
            order.lock().unwrap().push(user);
            drop(permit);
        }));
        settle().await;
    }

    drop(held);
    for call in calls {
        call.await.unwrap();
    }

    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 1, 3, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_some_used_while_nobody_waited_is_not_held_against_them() {
    let admission = apps(1, |_| {});
    let alone = at_once(&admission, ask()).unwrap();
    pass(secs(3600)).await;
    drop(alone);
    let held = at_once(&admission, ask_of(1)).unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    for user in [Some(1), Some(1), Some(1), None, None] {
        let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            let permit = admission.admit(Ask { user, ..ask() }).await.unwrap();
            order.lock().unwrap().push(user);
            drop(permit);
        }));
        settle().await;
    }

    drop(held);
    for call in calls {
        call.await.unwrap();
    }

    assert_eq!(*order.lock().unwrap(), [Some(1), None, Some(1), None, Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_user_with_many_permits_out_goes_after_one_with_few() {
    let admission = apps(4, |_| {});
    let of_user = |user| Ask { user: Some(user), ..ask() };
    let mut busy: Vec<_> = (0..3).map(|_| at_once(&admission, of_user(1)).unwrap()).collect();
    let _quiet = at_once(&admission, of_user(2)).unwrap();
    let more = waiting(&admission, of_user(1)).await;
    let second = waiting(&admission, of_user(2)).await;

    busy.pop();
    settle().await;

    assert!(second.is_finished() && !more.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_app_over_its_rate_waits_and_others_do_not() {
    let admission = apps(10, |apps| {
        apps[0].rate = Some(AppRate { per_second: count(2), burst: count(1), enforce: true });
    });
    let _first = at_once(&admission, ask()).unwrap();
    let start = Instant::now();
    let second = waiting(&admission, ask()).await;
    let third = waiting(&admission, ask()).await;
    drop(at_once(&admission, ask_of(1)).expect("others may go"));

    let permit = second.await.unwrap().unwrap();
    assert_eq!((start.elapsed(), permit.reason()), (millis(500), Some(WaitReason::Rate)));
    drop(third.await.unwrap().unwrap());
    assert_eq!(start.elapsed(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_rate_keeps_beyond_the_deadline_is_turned_away_at_once() {
    let admission = apps(10, |apps| {
        apps[0].rate = Some(AppRate { per_second: count(1), burst: count(1), enforce: true });
    });
    let _first = at_once(&admission, ask()).unwrap();
    let until =
        |seconds| Ask { deadline: Deadline::Permit(Instant::now() + secs(seconds)), ..ask() };
    let _second = waiting(&admission, until(60)).await;

    let shed = at_once(&admission, until(2)).unwrap_err();

    assert_eq!(shed, Shed::RateLimited { retry_after: secs(2) });
    assert_eq!(admission.snapshot().queued, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_a_window_kept_until_the_deadline_is_told_when_it_opens_again() {
    let mut settings = one_pool(10);
    settings.rate = RateLimits { per_minute: Some(count(1)), ..RateLimits::NONE };
    let admission = admission(settings);
    let _first = at_once(&admission, ask()).unwrap();
    // For either of them the window opens in time, and not for both.
    let deadline = Deadline::Permit(Instant::now() + secs(70));
    let here = waiting(&admission, Ask { deadline, ..ask_of(1) }).await;
    let there = waiting(&admission, Ask { deadline, ..ask_of(2) }).await;

    let outcomes = [here.await.unwrap(), there.await.unwrap()];

    let shed = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
    assert_eq!(*shed, Shed::RateLimited { retry_after: secs(50) });
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_window_goes_on_in_every_pool() {
    let mut settings = one_pool(10);
    settings.pools.push(pool("Object Query", None, 10));
    settings.rate = RateLimits { per_minute: Some(count(60)), ..RateLimits::NONE };
    let admission = admission(settings);
    let other = admission.pool(None, "Object Query").unwrap();
    let _burst = taken(&admission, 0, 3);
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(waiting(&admission, ask()).await);
        calls.push(waiting(&admission, Ask { pool: other, ..ask_of(1) }).await);
    }

    pass(secs(5)).await;

    let went: Vec<_> = calls.iter().map(JoinHandle::is_finished).collect();
    let here = went.iter().step_by(2).filter(|went| **went).count();
    let there = went.iter().skip(1).step_by(2).filter(|went| **went).count();
    assert_eq!((here + there, here.abs_diff(there)), (4, 0), "{went:?}");
}
