//! Order, bounds, deadlines.

use super::*;
use crate::{Refused, WaitReason};

#[tokio::test(start_paused = true)]
async fn a_free_permit_is_given_at_once() {
    let admission = admission(one_pool(2));

    let permit = at_once(&admission, ask()).unwrap();

    assert_eq!(permit.reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_back_goes_to_whoever_waits() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask()).unwrap();
    let next = waiting(&admission, ask()).await;
    pass(secs(3)).await;

    drop(held);

    let permit = next.await.unwrap().unwrap();
    assert_eq!(permit.reason(), Some(WaitReason::Capacity));
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask()).unwrap();
    let first = waiting(&admission, ask()).await;
    drop(held);

    // The permit is on its way to `first`, which has not run yet.
    let second = waiting(&admission, ask()).await;

    assert!(first.is_finished());
    drop(first.await.unwrap().unwrap());
    drop(second.await.unwrap().unwrap());
}

/// Lets calls of these apps wait, then hands one permit round and returns who got it when.
async fn served(admission: &Arc<Admission>, asks: Vec<Ask>) -> Vec<usize> {
    let held = at_once(admission, ask()).unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    for (number, ask) in asks.into_iter().enumerate() {
        let (admission, order) = (Arc::clone(admission), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            let permit = admission.admit(ask).await.unwrap();
            order.lock().unwrap().push(number);
            drop(permit);
        }));
        settle().await;
    }
    drop(held);
    for call in calls {
        call.await.unwrap();
    }
    Arc::into_inner(order).unwrap().into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_app_go_in_order() {
    let admission = admission(one_pool(1));

    let order = served(&admission, vec![ask(); 5]).await;

    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn apps_take_turns_however_many_calls_each_has() {
    let admission = admission(one_pool(1));
    let apps = [0, 0, 0, 0, 1, 1, 2];

    let order = served(&admission, apps.map(ask_of).to_vec()).await;

    // The first app had the permit while all others waited.
    assert_eq!(order, [4, 6, 0, 5, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_ask_again_keep_their_order_before_later_ones() {
    let admission = admission(one_pool(2));
    let (first, second) =
        (at_once(&admission, ask()).unwrap(), at_once(&admission, ask()).unwrap());
    let (first, second) = ((first.ticket(), first), (second.ticket(), second));
    let late = waiting(&admission, ask()).await;
    let again = |ticket| Ask { place: Place::Front(ticket), ..ask() };
    let second_again = waiting(&admission, again(second.0)).await;
    let first_again = waiting(&admission, again(first.0)).await;

    drop(first.1);
    settle().await;
    assert!(first_again.is_finished() && !second_again.is_finished() && !late.is_finished());
    drop(second.1);
    settle().await;
    assert!(second_again.is_finished() && !late.is_finished());
}

#[tokio::test(start_paused = true)]
async fn one_ticket_used_twice_is_two_calls() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask()).unwrap();
    let again = Ask { place: Place::Front(held.ticket()), ..ask() };
    let (one, two) = (waiting(&admission, again).await, waiting(&admission, again).await);

    drop(held);

    drop(one.await.unwrap().unwrap());
    drop(two.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_exactly_at_the_deadline() {
    let admission = admission(one_pool(1));
    let _held = at_once(&admission, ask()).unwrap();

    let (waited, outcome) = timed(admission.admit(ask())).await;

    assert_eq!(waited, secs(60));
    assert_eq!(outcome.unwrap_err(), Shed::QueueTimeout { retry_after: secs(1) });
    assert_eq!(admission.snapshot().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_over_takes_no_permit() {
    let admission = admission(one_pool(1));

    let shed = at_once(&admission, Ask { deadline: Deadline::Permit(Instant::now()), ..ask() })
        .unwrap_err();

    assert_eq!(shed, Shed::QueueTimeout { retry_after: secs(1) });
    assert_eq!(admission.snapshot().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_at_the_deadline_goes_to_the_next_and_costs_no_turn() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask_of(2)).unwrap();
    let late = Ask { deadline: Deadline::Permit(Instant::now() + secs(1)), ..ask() };
    let mut late = Box::pin(admission.admit(late));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(late.as_mut().poll(&mut context).is_pending());
    let next = waiting(&admission, ask_of(0)).await;
    let other = waiting(&admission, ask_of(1)).await;
    pass(secs(1)).await;

    drop(held);
    settle().await;

    assert!(next.is_finished() && !other.is_finished());
    assert!(matches!(late.await, Err(Shed::QueueTimeout { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_sheds() {
    let mut settings = one_pool(1);
    settings.queue.max_requests = 2;
    let admission = admission(settings);
    let _held = at_once(&admission, ask()).unwrap();
    let _one = waiting(&admission, ask()).await;
    let resting = resting(ask(), Instant::now() + secs(9));
    let two = waiting(&admission, resting).await;

    let shed = at_once(&admission, ask_of(1)).unwrap_err();
    assert_eq!(shed, Shed::QueueFull { retry_after: secs(1) });

    two.abort();
    settle().await;
    let _two = waiting(&admission, ask_of(1)).await;
}

#[tokio::test(start_paused = true)]
async fn kept_bytes_are_bounded_and_come_back() {
    let admission = admission(one_pool(1));
    let mut kept = admission.keep(POOL, app(0), 600).unwrap();
    let full = Shed::QueueBytes { retry_after: secs(1) };

    assert_eq!(admission.keep(POOL, app(1), 401).unwrap_err(), full);
    assert_eq!(kept.grow(401), Err(full));
    assert_eq!(kept.grow(u64::MAX), Err(full));
    assert_eq!(admission.snapshot().kept_bytes, 600);
    kept.grow(400).unwrap();
    assert_eq!(admission.snapshot().pools[0].apps[0].kept_bytes, 1000);

    drop(kept);
    assert_eq!(admission.snapshot().kept_bytes, 0);
    let _kept = admission.keep(POOL, app(1), 1000).unwrap();
    assert_eq!(admission.snapshot().kept_bytes, 1000);
}

#[tokio::test(start_paused = true)]
async fn pools_are_found_by_entity_and_limit_type_and_do_not_share_permits() {
    let mut settings = one_pool(1);
    settings.pools.push(pool("Object Query", None, 1));
    settings.pools.push(pool("Default", Some("e1"), 1));
    let admission = admission(settings);
    assert_eq!(admission.pool(None, "Default"), Some(PoolId(0)));
    assert_eq!(admission.pool(None, "Object Query"), Some(PoolId(1)));
    assert_eq!(admission.pool(Some("e1"), "Default"), Some(PoolId(2)));
    assert_eq!(admission.pool(Some("e1"), "Object Query"), None);

    let _held: Vec<_> =
        (0..3).map(|id| at_once(&admission, Ask { pool: PoolId(id), ..ask() }).unwrap()).collect();

    assert_eq!(admission.snapshot().in_use, 3);
}

#[tokio::test(start_paused = true)]
async fn a_resting_call_lets_others_go_and_then_goes_first() {
    let admission = admission(one_pool(1));
    let named = Instant::now() + secs(5);
    let resting = waiting(&admission, resting(ask(), named)).await;
    assert_eq!(admission.snapshot().pools[0].apps[0].queued, 1);

    let held = at_once(&admission, ask()).unwrap();
    let later = waiting(&admission, ask()).await;
    pass(secs(6)).await;
    drop(held);
    settle().await;

    assert!(resting.is_finished() && !later.is_finished());
    let permit = resting.await.unwrap().unwrap();
    assert_eq!(permit.reason(), Some(WaitReason::Cooldown));
}

#[tokio::test(start_paused = true)]
async fn a_resting_call_goes_at_its_moment_with_nothing_else_happening() {
    let admission = admission(one_pool(1));
    let resting = resting(ask(), Instant::now() + secs(5));

    let (waited, permit) = timed(admission.admit(resting)).await;

    assert!((secs(5)..=millis(5501)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().reason(), Some(WaitReason::Cooldown));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_moment_wakes_the_timer_earlier() {
    let admission = admission(one_pool(2));
    let at = |seconds| resting(ask(), Instant::now() + secs(seconds));
    let late = waiting(&admission, at(50)).await;
    let early = waiting(&admission, at(5)).await;

    pass(secs(6)).await;
    assert!(early.is_finished() && !late.is_finished());
    pass(secs(46)).await;
    assert!(late.is_finished());
}

#[tokio::test(start_paused = true)]
async fn resting_until_the_deadline_is_refused_at_once_with_the_moment() {
    let admission = admission(one_pool(1));
    let ask = ask();
    let deadline = Instant::now() + secs(60);
    for until in [deadline, deadline + secs(1)] {
        let shed = at_once(&admission, resting(ask, until)).unwrap_err();

        assert_eq!(shed, Shed::Cooldown { until });
        assert!(shed.retry_after(Instant::now()) >= secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_on_a_rest_never_carries_it_beyond_the_deadline() {
    let admission = admission(one_pool(1));
    let named = Instant::now() + secs(59);
    let ask = resting(Ask { deadline: Deadline::Permit(named + millis(2)), ..ask() }, named);

    let (waited, permit) = timed(admission.admit(ask)).await;

    assert!(permit.is_ok() && waited >= secs(59), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn more_from_zuora_lets_more_go_at_once() {
    let admission = admission(one_pool(3));
    let held = at_once(&admission, ask()).unwrap();
    held.observe(Said { limit: 1, remaining: None });
    let (one, two) = (waiting(&admission, ask()).await, waiting(&admission, ask()).await);

    held.observe(Said { limit: 9, remaining: None });
    settle().await;

    assert!(one.is_finished() && two.is_finished());
    assert_eq!(admission.snapshot().pools[0].ceiling, 3);
}

#[tokio::test(start_paused = true)]
async fn a_lowered_pool_drains() {
    let admission = admission(one_pool(3));
    let mut held = permits(&admission, 3);
    held[0].observe(Said { limit: 2, remaining: None });
    let next = waiting(&admission, ask()).await;

    held.pop();
    settle().await;
    assert!(!next.is_finished());
    held.pop();
    settle().await;
    assert!(next.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_keeps_nobody_from_going() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask()).unwrap();
    let mut calls = Vec::new();
    for index in [0, 0, 1, 2, 2] {
        calls.push(waiting(&admission, ask_of(index)).await);
    }
    for gone in [0, 1, 2] {
        calls[gone].abort();
    }
    settle().await;
    assert_eq!(admission.snapshot().queued, 2);

    held.refused(Refused::Concurrency { until: Instant::now() });
    pass(secs(1)).await;

    assert!(calls[3].is_finished() && !calls[4].is_finished());
}
