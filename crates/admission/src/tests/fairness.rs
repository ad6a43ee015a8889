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
