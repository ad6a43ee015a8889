//! Weighted max-min fairness over permit-seconds, judged by somebody who counts them.
//!
//! Seeded lives on a [`stage`](super::stage): apps with random weights, reserves, caps, priorities and
//! users ask in closed loops or at random times, and hold permits for times that differ a hundredfold.
//! The judge keeps books of what it sees and works out what would have been fair. It shares no code with
//! the scheduler. `SIM_SEED=49 cargo test -p admission fairness` replays one life.

mod books;
mod ideal;
mod life;
mod visits;

use super::stage::sweep;
use super::*;

/// Seeds of the lives that every run of the tests goes through.
const LIVES: u64 = 64;

#[test]
fn every_app_that_always_waits_gets_its_share() {
    let seen = sweep(LIVES, life::live);
    if seen.len() > 1 {
        let judged: usize = seen.iter().map(|life| life.judged).sum();
        let users: usize = seen.iter().map(|life| life.users).sum();
        assert!(judged > 150 && users > 20, "too quiet: {judged} apps, {users} users");
    }
}

/// Seeds of the lives with an app that comes and goes.
const VISITS: u64 = 48;

#[test]
fn nobody_is_owed_what_it_did_not_want_or_pays_for_what_nobody_else_wanted() {
    sweep(VISITS, visits::live);
}

#[tokio::test(start_paused = true)]
async fn the_pools_that_an_app_waits_for_at_its_cap_take_turns() {
    let mut settings = one_pool(10);
    settings.pools.push(pool("Object Query", None, 10));
    settings.apps[0].max_in_flight = NonZeroU32::new(1);
    let admission = admission(settings);
    let mut held = at_once(&admission, ask()).unwrap();
    let mut calls = Vec::new();
    for place in [0, 0, 0, 0, 1, 1, 1, 1] {
        calls.push((place, waiting(&admission, Ask { pool: PoolId(place), ..ask() }).await));
    }

    let mut order = Vec::new();
    while !calls.is_empty() {
        drop(held);
        settle().await;
        let next = calls.iter().position(|(_, call)| call.is_finished()).unwrap();
        let (place, call) = calls.remove(next);
        order.push(place);
        held = call.await.unwrap().unwrap();
    }

    assert_eq!(order, [1, 0, 1, 0, 1, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn permits_that_nobody_else_wanted_are_not_paid_for_later() {
    let admission = admission(one_pool(10));
    let mut long: Vec<_> = (0..10).map(|_| at_once(&admission, ask_of(0)).unwrap()).collect();
    pass(secs(59)).await;
    let later =
        |index| Ask { deadline: Deadline::Permit(Instant::now() + secs(600)), ..ask_of(index) };
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(waiting(&admission, later(1)).await);
    }
    pass(secs(1)).await;

    while let Some(permit) = long.pop() {
        drop(permit);
        calls.push(tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit(later(0)).await }
        }));
        settle().await;
    }

    let apps = &admission.snapshot().pools[0].apps;
    assert_eq!((apps[0].in_use, apps[1].in_use), (5, 5));
}

/// As many calls of `ask` as there are waiting, one after the other as permits come back, with a second
/// between them. Returns how many of the first `of` were `is_it`.
async fn turns_of(
    admission: &Arc<Admission>,
    asks: Vec<Ask>,
    of: usize,
    is_it: impl Fn(&Ask) -> bool,
) -> usize {
    let went = Arc::new(std::sync::Mutex::new(Vec::new()));
    for ask in asks {
        let (admission, went) = (Arc::clone(admission), Arc::clone(&went));
        tokio::spawn(async move {
            let permit = admission.admit(ask).await.unwrap();
            went.lock().unwrap().push(ask);
            time::sleep(secs(1)).await;
            drop(permit);
        });
        settle().await;
    }
    pass(secs(500)).await;
    let went = went.lock().unwrap();
    went[..of].iter().filter(|ask| is_it(ask)).count()
}

#[tokio::test(start_paused = true)]
async fn permits_had_in_a_quiet_time_are_not_paid_for_by_whoever_comes_second() {
    let admission = admission(one_pool(2));
    let alone: Vec<_> = (0..2).map(|_| at_once(&admission, ask_of(0)).unwrap()).collect();
    pass(secs(300)).await;
    drop(alone);
    let later =
        |index| Ask { deadline: Deadline::Permit(Instant::now() + secs(900)), ..ask_of(index) };
    let first: Vec<_> = (0..2).map(|_| at_once(&admission, later(1)).unwrap()).collect();
    let mut rivals = Vec::new();
    for _ in 0..20 {
        rivals.push(waiting(&admission, later(1)).await);
    }
    pass(secs(1)).await;
    drop(first);
    settle().await;

    let mut calls = vec![waiting(&admission, later(0)).await, waiting(&admission, later(0)).await];
    let permits = rivals.drain(..2).map(|call| async { call.await.unwrap().unwrap() });
    for permit in permits {
        let permit = permit.await;
        pass(secs(1)).await;
        drop(permit);
    }
    settle().await;

    assert!(calls.remove(0).is_finished(), "whoever had the pool before waits for it now");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_was_away_is_not_owed_the_time() {
    let admission = admission(one_pool(1));
    let deadline = Deadline::Permit(Instant::now() + secs(90_000));
    let of_user = |user| Ask { user: Some(user), deadline, ..ask() };
    let mut held = at_once(&admission, of_user(1)).unwrap();
    let mut calls = Vec::new();
    for _ in 0..40 {
        calls.push((1, waiting(&admission, of_user(1)).await));
    }

    let mut went = Vec::new();
    while went.len() < 40 {
        if went.len() == 20 {
            for _ in 0..20 {
                calls.push((2, waiting(&admission, of_user(2)).await));
            }
        }
        pass(secs(1)).await;
        drop(held);
        settle().await;
        let next = calls.iter().position(|(_, call)| call.is_finished()).unwrap();
        let (user, call) = calls.remove(next);
        held = call.await.unwrap().unwrap();
        went.push(user);
    }

    let newcomer = went[20..].iter().filter(|user| **user == 2).count();
    assert!((9..=11).contains(&newcomer), "{newcomer} of 20 turns");
}

#[tokio::test(start_paused = true)]
async fn what_was_used_at_another_weight_stays_used() {
    let admission = admission(one_pool(4));
    let _held = permits(&admission, 4);
    pass(secs(10)).await;
    let mut settings = one_pool(4);
    settings.apps[0].weight = NonZeroU32::new(5).unwrap();

    admission.reconfigure(settings);
    pass(secs(1)).await;

    assert_eq!(admission.snapshot().pools[0].apps[0].permit_seconds.round(), 44.0);
}

#[tokio::test(start_paused = true)]
async fn whoever_left_is_no_rival_any_more() {
    let admission = admission(one_pool(1));
    turns_of(&admission, vec![ask_of(2); 20], 20, |_| true).await;
    let _held = at_once(&admission, ask()).unwrap();
    let _next = waiting(&admission, ask()).await;
    let alone = admission.predicted_wait(POOL, app(0));

    let rival = waiting(&admission, ask_of(1)).await;
    assert!(admission.predicted_wait(POOL, app(0)) > alone);
    rival.abort();
    settle().await;

    assert_eq!(admission.predicted_wait(POOL, app(0)), alone);
}
