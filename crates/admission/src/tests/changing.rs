//! Settings that change while calls wait and go, limits that are only observed, and limits that are learnt.

use super::*;
use crate::{AppRate, OnRefusal, Refused, WaitReason};

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lowered_limit_drains_and_a_raised_one_holds_at_once() {
    let admission = admission(one_pool(4));
    let mut held = permits(&admission, 4);
    let call = waiting(&admission, ask()).await;

    admission.reconfigure(one_pool(2));
    held.truncate(2);
    settle().await;
    assert!(!call.is_finished(), "two are still out");
    held.pop();
    settle().await;
    assert!(call.is_finished());

    let more = waiting(&admission, ask()).await;
    admission.reconfigure(one_pool(3));
    settle().await;
    assert!(more.is_finished());
}

#[tokio::test(start_paused = true)]
async fn apps_keep_their_places_whatever_their_order_in_the_settings() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask_of(2)).unwrap();
    let call = waiting(&admission, ask_of(2)).await;

    let mut settings = one_pool(1);
    settings.apps = ["new", "c", "a"].map(AppSettings::named).to_vec();
    admission.reconfigure(settings);

    assert_eq!(admission.app("c"), Some(app(2)));
    assert_eq!(admission.app("new"), Some(app(3)));
    let shown = admission.snapshot();
    let names: Vec<_> = shown.pools[0].apps.iter().map(|app| &*app.app).collect();
    assert_eq!(names, ["a", "c", "new"], "what is gone and idle is not shown");
    drop(held);
    settle().await;
    assert!(call.is_finished());
}

#[tokio::test(start_paused = true)]
async fn calls_of_an_app_that_is_gone_end_as_they_would_have() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask_of(1)).unwrap();
    let call = waiting(&admission, ask_of(1)).await;

    let mut settings = one_pool(1);
    settings.apps.remove(1);
    admission.reconfigure(settings);
    assert_eq!(admission.snapshot().pools[0].apps.len(), 3, "it still has a call");
    drop(held);

    drop(call.await.unwrap().unwrap());
    assert_eq!(admission.snapshot().pools[0].apps.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_gone_is_shown_until_it_is_empty() {
    let admission = admission(one_pool(1));
    let held = at_once(&admission, ask()).unwrap();
    let mut settings = one_pool(1);
    settings.pools = vec![pool("Object Query", None, 5)];

    admission.reconfigure(settings);

    assert_eq!(admission.snapshot().pools.len(), 2);
    drop(held);
    assert_eq!(admission.snapshot().pools.len(), 1);
    drop(at_once(&admission, ask()).expect("a call that was on its way still finds it"));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_behind_stays_behind_when_other_things_change() {
    let admission = admission(one_pool(4));
    let mut held = permits(&admission, 4);
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(waiting(&admission, ask_of(0)).await);
        calls.push(waiting(&admission, ask_of(1)).await);
    }
    held.pop();
    pass(secs(10)).await;

    // For ten seconds `a` had three permits, and `b` one.
    admission.reconfigure(one_pool(4));
    held.clear();
    settle().await;

    let shown = admission.snapshot();
    let in_use: Vec<_> = shown.pools[0].apps.iter().map(|app| app.in_use).collect();
    assert_eq!(in_use, [1, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_changes_is_not_filled_anew() {
    let rate = |per_second| {
        let mut settings = one_pool(10);
        let burst = count(2);
        settings.apps[0].rate =
            Some(AppRate { per_second: count(per_second), burst, enforce: true });
        settings
    };
    let admission = admission(rate(1));
    let _burst = permits(&admission, 2);
    let call = waiting(&admission, ask()).await;

    for per_second in [2, 3, 2] {
        admission.reconfigure(rate(per_second));
        settle().await;
        assert!(!call.is_finished());
    }

    let (waited, _) = timed(call).await;
    assert_eq!(waited, millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_only_observed_lets_everything_pass_and_counts() {
    let mut settings = one_pool(1);
    settings.pools[0].enforce = false;
    let admission = admission(settings);

    let first = at_once(&admission, ask()).unwrap();
    let second = at_once(&admission, ask_of(1)).unwrap();

    assert_eq!(first.would_have_waited().count(), 0);
    assert_eq!(second.would_have_waited().collect::<Vec<_>>(), [WaitReason::Capacity]);
    assert_eq!((second.reason(), admission.snapshot().in_use), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_observed_together_are_counted_each() {
    let mut settings = one_pool(1);
    settings.pools[0].enforce = false;
    settings.apps[0].rate = Some(AppRate { per_second: count(1), burst: count(1), enforce: false });
    let admission = admission(settings);
    let _first = at_once(&admission, ask()).unwrap();

    let second = at_once(&admission, ask()).unwrap();

    let reasons: Vec<_> = second.would_have_waited().collect();
    assert_eq!(reasons, [WaitReason::Capacity, WaitReason::Rate]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_only_observed_keeps_nobody_but_the_refused_call() {
    let mut settings = one_pool(10);
    settings.pools[0].enforce = false;
    let admission = admission(settings);
    let until = Instant::now() + secs(30);

    let ticket = at_once(&admission, ask()).unwrap().refused(Refused::Rate { until });

    let other = at_once(&admission, ask_of(1)).unwrap();
    assert_eq!(other.would_have_waited().collect::<Vec<_>>(), [WaitReason::Capacity]);
    let again = Ask { place: Place::Front(ticket), ..ask() };
    let (waited, permit) = timed(admission.admit(again)).await;
    drop(permit.unwrap());
    assert!(secs(30) <= waited, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_enforced_limit_lets_those_go_who_wait_once_it_is_only_observed() {
    let admission = admission(one_pool(1));
    let _held = at_once(&admission, ask()).unwrap();
    let call = waiting(&admission, ask()).await;
    let mut settings = one_pool(1);
    settings.pools[0].enforce = false;

    admission.reconfigure(settings);
    settle().await;

    assert!(call.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_may_freeze_the_pool() {
    let mut settings = one_pool(10);
    settings.pools[0].on_refusal = OnRefusal::Freeze;
    let admission = admission(settings);
    let until = Instant::now() + secs(20);

    at_once(&admission, ask()).unwrap().refused(Refused::Concurrency { until });

    let (waited, permit) = timed(admission.admit(ask_of(1))).await;
    assert!((secs(20)..secs(22)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().reason(), Some(WaitReason::Cooldown));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_refused_call_may_be_capped_but_not_that_of_a_window() {
    let mut settings = one_pool(10);
    settings.pools[0].retry_after_cap = Some(secs(2));
    let admission = admission(settings);
    let until = Instant::now() + secs(50);
    let again = |ticket| Ask { place: Place::Front(ticket), ..ask() };

    let ticket = at_once(&admission, ask()).unwrap().refused(Refused::Concurrency { until });
    let (waited, permit) = timed(admission.admit(again(ticket))).await;
    assert!((secs(2)..millis(2300)).contains(&waited), "{waited:?}");

    let ticket = permit.unwrap().refused(Refused::Rate { until });
    let (waited, permit) = timed(admission.admit(again(ticket))).await;
    drop(permit.unwrap());
    assert!(secs(47) <= waited, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_permit_with_which_nothing_was_sent_uses_up_nothing() {
    let mut settings = one_pool(2);
    settings.rate = RateLimits { per_minute: Some(count(60)), ..RateLimits::NONE };
    settings.apps[0].rate = Some(AppRate { per_second: count(1), burst: count(3), enforce: true });
    let admission = admission(settings);

    for _ in 0..10 {
        let ticket = at_once(&admission, ask()).expect("the rate counts what was sent").unused();
        assert_eq!(ticket.not_before, None);
    }

    assert_eq!(admission.snapshot().in_use, 0);
    let held = permits(&admission, 2);
    let call = waiting(&admission, ask()).await;
    assert_eq!(admission.predicted_wait(POOL, app(1)), Duration::ZERO, "no time was measured");
    drop((held, call));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_nobody_takes_any_more_uses_up_nothing() {
    let mut settings = one_pool(1);
    settings.apps[0].rate = Some(AppRate { per_second: count(1), burst: count(2), enforce: true });
    let admission = admission(settings);
    let held = at_once(&admission, ask()).unwrap();
    let mut late = Box::pin(admission.admit(ask()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(late.as_mut().poll(&mut context).is_pending());

    drop(held);
    drop(late);

    drop(at_once(&admission, ask()).expect("the second of the burst"));
}

#[tokio::test(start_paused = true)]
async fn what_zuora_named_goes_on_as_learnt_when_the_settings_name_it_no_longer() {
    let with_engine = || {
        let mut settings = one_pool(10);
        settings.pools.push(pool("Billing Engine", None, 2));
        settings
    };
    let admission = admission(with_engine());
    let engine = admission.pool(None, "Billing Engine").unwrap();
    let there = || Ask { pool: engine, ..ask() };
    at_once(&admission, there()).unwrap().observe(Said { limit: 5, remaining: None });

    let mut settings = one_pool(10);
    settings.pools[0].headroom = 1;
    admission.reconfigure(settings);

    let shown = &admission.snapshot().pools[1];
    assert_eq!((shown.learnt, shown.configured, shown.capacity), (true, 5, 4));
    admission.reconfigure(with_engine());
    let shown = &admission.snapshot().pools[1];
    assert_eq!((shown.learnt, shown.configured, shown.capacity), (false, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_learnt_limit_is_enforced_whatever_is_said_of_others() {
    let mut settings = one_pool(10);
    settings.pools[0].enforce = false;
    let admission = admission(settings.clone());
    let learnt = admission.learn(None, "Billing Engine", 1).unwrap();
    settings.pools[0].retry_after_cap = Some(secs(3));

    admission.reconfigure(settings);

    let there = || Ask { pool: learnt, ..ask() };
    let held = at_once(&admission, there()).unwrap();
    let _waits = waiting(&admission, there()).await;
    let until = Instant::now() + secs(50);
    let ticket = held.refused(Refused::Concurrency { until });
    assert_eq!(ticket.not_before, Some(Instant::now() + secs(3)), "it follows the settings");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_refused_elsewhere_rests_and_nothing_else_changes() {
    let mut settings = one_pool(10);
    settings.pools[0].retry_after_cap = Some(secs(2));
    let admission = admission(settings);
    let until = Instant::now() + secs(50);

    let ticket = at_once(&admission, ask()).unwrap().refused(Refused::Elsewhere { until });

    let shown = admission.snapshot();
    assert_eq!((shown.in_use, shown.pools[0].capacity), (0, 10));
    drop(at_once(&admission, ask_of(1)).expect("others go on"));
    let (waited, permit) =
        timed(admission.admit(Ask { place: Place::Front(ticket), ..ask() })).await;
    assert!((secs(2)..millis(2300)).contains(&waited), "{waited:?}");
    drop(permit.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_limit_type_gets_a_pool_of_its_own() {
    let admission = admission(one_pool(10));

    let learnt = admission.learn(None, "Billing Engine", 2).unwrap();

    assert_eq!(admission.learn(None, "billing engine", 7), Some(learnt));
    let there = || Ask { pool: learnt, ..ask() };
    let held = [at_once(&admission, there()).unwrap(), at_once(&admission, there()).unwrap()];
    let call = waiting(&admission, there()).await;
    // Nobody configured it, so it follows Zuora up as well.
    assert!(
        !held[0].observe(Said { limit: 3, remaining: None }),
        "there is nothing to compare with"
    );
    settle().await;
    assert!(call.is_finished());
    let shown = admission.snapshot();
    assert!(shown.pools[1].learnt && !shown.pools[0].learnt);
}

#[tokio::test(start_paused = true)]
async fn a_learnt_pool_stays_when_settings_change_and_can_be_configured() {
    let admission = admission(one_pool(10));
    let learnt = admission.learn(None, "Billing Engine", 2).unwrap();

    admission.reconfigure(one_pool(10));
    assert_eq!(admission.pool(None, "Billing Engine"), Some(learnt));

    let mut settings = one_pool(10);
    settings.pools.push(pool("Billing Engine", None, 1));
    admission.reconfigure(settings);
    let shown = admission.snapshot();
    assert_eq!((shown.pools[1].ceiling, shown.pools[1].learnt), (1, false));
}

#[tokio::test(start_paused = true)]
async fn names_that_cannot_be_are_not_learnt() {
    let admission = admission(one_pool(10));

    assert_eq!(admission.learn(None, "", 1), None);
    assert_eq!(admission.learn(None, &"x".repeat(65), 1), None);
    assert_eq!(admission.learn(None, "a\nb", 1), None);
    assert_eq!(admission.learn(Some("elsewhere"), "Billing Engine", 1), None);
    let learnt = (0..100).filter_map(|n| admission.learn(None, &format!("type {n}"), 1)).count();
    assert_eq!(learnt, 64);
}

#[tokio::test(start_paused = true)]
async fn after_an_unclean_stop_a_quarter_is_used_until_zuora_shows_room() {
    let settings = one_pool(8);
    let admission =
        Admission::with_jitter(settings, Start::Cautious(secs(60)), Jitter::from_seed(1));
    let held = [at_once(&admission, ask()).unwrap(), at_once(&admission, ask()).unwrap()];
    let call = waiting(&admission, ask()).await;

    assert_eq!(admission.snapshot().pools[0].cautious_for, secs(60));

    held[0].observe(Said { limit: 8, remaining: Some(1) });
    settle().await;

    assert!(call.is_finished());
    assert_eq!(admission.snapshot().pools[0].outside_use, 5);
}
