//! A tenant that is down: when it counts as down, who waits, who tries it, and how it comes back.

use super::*;
use crate::{Circuit, Refused, WaitReason};

/// A call of app `a` that does more than read.
fn write() -> Ask {
    Ask { may_probe: false, ..ask() }
}

fn patient(ask: Ask) -> Ask {
    Ask { deadline: Deadline::Permit(Instant::now() + secs(3600)), ..ask }
}

fn fail(admission: &Arc<Admission>, times: usize) {
    for _ in 0..times {
        at_once(admission, ask()).unwrap().unreached();
    }
}

/// An admission whose tenant has just gone down.
fn down(settings: Settings) -> Arc<Admission> {
    let admission = admission(settings);
    fail(&admission, 5);
    admission
}

fn circuit(admission: &Arc<Admission>) -> Circuit {
    admission.snapshot().circuit
}

#[track_caller]
fn pause(admission: &Arc<Admission>) -> Duration {
    match circuit(admission) {
        Circuit::Open { until } => until.saturating_duration_since(Instant::now()),
        other => panic!("{other:?}"),
    }
}

/// A call that goes as the probe as soon as it may.
async fn probe(admission: &Arc<Admission>) -> Permit {
    let permit = admission.admit(patient(ask())).await.unwrap();
    assert_eq!(circuit(admission), Circuit::Probing);
    permit
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_take_a_tenant_for_down_and_four_do_not() {
    let admission = admission(one_pool(10));

    fail(&admission, 4);
    assert_eq!(circuit(&admission), Circuit::Closed);
    fail(&admission, 1);

    assert!((secs(1)..=millis(1100)).contains(&pause(&admission)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_failures_starts_the_count_anew() {
    let admission = admission(one_pool(10));

    for _ in 0..3 {
        fail(&admission, 4);
        at_once(&admission, ask()).unwrap().reached();
    }

    assert_eq!(circuit(&admission), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer() {
    let admission = admission(one_pool(10));

    fail(&admission, 4);
    let until = Instant::now() + secs(1);
    at_once(&admission, ask()).unwrap().refused(Refused::Elsewhere { until });
    fail(&admission, 4);

    assert_eq!(circuit(&admission), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_while_the_tenant_is_down_whatever_comes_free() {
    let mut settings = one_pool(2);
    settings.pools.push(pool("Object Query", None, 5));
    let admission = admission(settings);
    let held = permits(&admission, 2);
    let other = Ask { pool: PoolId(1), ..ask() };
    for _ in 0..5 {
        at_once(&admission, other).unwrap().unreached();
    }

    let waits = waiting(&admission, ask()).await;
    let elsewhere = waiting(&admission, other).await;
    drop(held);
    pass(millis(999)).await;

    assert!(!waits.is_finished() && !elsewhere.is_finished());
    assert_eq!((admission.snapshot().in_use, admission.snapshot().queued), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_tenant_that_is_down_keeps_its_place_and_is_told_why() {
    let admission = down(one_pool(10));
    let mut calls = Vec::new();
    for _ in 0..6 {
        calls.push(waiting(&admission, ask()).await);
    }

    let mut told = Vec::new();
    while !calls.is_empty() {
        pass(millis(100)).await;
        let gone = calls.iter().position(|call| !call.is_finished()).unwrap_or(calls.len());
        assert!(calls[gone..].iter().all(|call| !call.is_finished()), "somebody was overtaken");
        for call in calls.drain(..gone) {
            let permit = call.await.unwrap().unwrap();
            told.push(permit.reason());
            permit.reached();
        }
    }

    assert_eq!(told, [Some(WaitReason::Down); 6]);
}

#[tokio::test(start_paused = true)]
async fn one_call_tries_a_tenant_that_is_down_and_only_one() {
    let admission = down(one_pool(10));
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(waiting(&admission, patient(ask())).await);
    }

    pass(secs(14)).await;

    assert_eq!(circuit(&admission), Circuit::Probing);
    assert_eq!(admission.snapshot().in_use, 1);
    let late = waiting(&admission, ask()).await;
    assert!(calls[0].is_finished() && !late.is_finished());
}

#[tokio::test(start_paused = true)]
async fn of_all_pools_together_only_one_call_tries() {
    let mut settings = one_pool(10);
    settings.pools.push(pool("Object Query", None, 5));
    let admission = down(settings);
    let _first = waiting(&admission, ask()).await;
    let _other = waiting(&admission, Ask { pool: PoolId(1), ..ask() }).await;

    pass(secs(2)).await;

    assert_eq!(admission.snapshot().in_use, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_reads_tries_before_one_that_writes_whose_turn_it_is() {
    let mut settings = one_pool(10);
    settings.pools.push(pool("Object Query", None, 5));
    // In the same line, in another app's, and in another pool.
    let reads = [ask(), ask_of(1), Ask { pool: PoolId(1), ..ask() }];
    for read in reads {
        let admission = down(settings.clone());
        let write = waiting(&admission, write()).await;
        let read = waiting(&admission, read).await;

        pass(secs(2)).await;
        assert!(!write.is_finished());
        read.await.unwrap().unwrap().reached();

        assert!(write.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn of_the_reads_the_one_whose_turn_it_is_tries() {
    let admission = down(one_pool(10));
    let user = |user, ask: Ask| Ask { user: Some(user), ..ask };
    let _write = waiting(&admission, user(1, write())).await;
    let later = waiting(&admission, user(2, ask())).await;
    let first = waiting(&admission, user(1, ask())).await;
    let last = waiting(&admission, user(1, ask())).await;
    let other = waiting(&admission, ask_of(1)).await;

    pass(secs(2)).await;

    // App `a` has just had five permits, so it is app `b`'s turn, and then that of the user who waits longest.
    assert!(other.is_finished());
    drop(other.await.unwrap());
    settle().await;
    assert!(first.is_finished() && !later.is_finished());
    drop(first.await.unwrap());
    settle().await;
    assert!(later.is_finished() && !last.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_writes_tries_if_none_waits_that_reads() {
    let admission = down(one_pool(10));
    let write = waiting(&admission, write()).await;
    // This one rests, and is not to be sent yet.
    let _rests = waiting(&admission, resting(ask(), Instant::now() + secs(20))).await;

    let (waited, permit) = timed(write).await;

    assert!((secs(1)..=millis(1101)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().unwrap().reason(), Some(WaitReason::Down));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_writes_tries_if_no_read_may_go() {
    let mut settings = one_pool(10);
    settings.apps[1].max_in_flight = NonZeroU32::new(1);
    let admission = admission(settings);
    let _held = at_once(&admission, ask_of(1)).unwrap();
    fail(&admission, 5);
    let read = waiting(&admission, ask_of(1)).await;
    let write = waiting(&admission, write()).await;

    pass(secs(2)).await;

    assert!(write.is_finished() && !read.is_finished());
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_after_the_pause_goes_at_once_to_try() {
    let admission = down(one_pool(10));
    pass(secs(50)).await;

    let probe = at_once(&admission, write()).unwrap();

    assert_eq!((circuit(&admission), probe.reason()), (Circuit::Probing, None));
    waiting(&admission, ask()).await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_to_reach_the_tenant_that_ends_untold_lets_the_next_try_at_once() {
    for is_sent in [true, false] {
        let admission = down(one_pool(10));
        let first = probe(&admission).await;
        let next = waiting(&admission, patient(ask())).await;

        if is_sent {
            drop(first);
        } else {
            first.unused();
        }
        settle().await;

        assert_eq!((circuit(&admission), next.is_finished()), (Circuit::Probing, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_call_leaves_before_it_hears_goes_to_the_next() {
    let admission = down(one_pool(10));
    let first = waiting(&admission, ask()).await;
    let next = waiting(&admission, ask()).await;

    time::sleep(pause(&admission)).await;
    first.abort();
    settle().await;

    assert_eq!(circuit(&admission), Circuit::Probing);
    assert!(next.is_finished());
}

#[tokio::test(start_paused = true)]
async fn of_a_probe_that_takes_long_nobody_waits_for_more_than_fifteen_seconds() {
    let admission = down(one_pool(10));
    let hangs = probe(&admission).await;

    let (waited, permit) = timed(admission.admit(patient(ask()))).await;

    assert_eq!(waited, secs(15));
    assert_eq!(circuit(&admission), Circuit::Probing);
    drop((hangs, permit));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_tenant_went_down_tells_nothing_of_it_later() {
    let admission = admission(one_pool(10));
    let sent_before = permits(&admission, 3);
    fail(&admission, 5);
    let before = pause(&admission);

    sent_before[0].reached();
    sent_before[1].unreached();
    assert_eq!(pause(&admission), before);

    let probe = probe(&admission).await;
    sent_before[1].unreached();
    sent_before[0].reached();
    drop(sent_before);
    assert_eq!(circuit(&admission), Circuit::Probing);
    probe.reached();
    assert_eq!(circuit(&admission), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_bad_time_are_not_counted_in_a_good_one() {
    let admission = admission(one_pool(20));
    let sent_before = permits(&admission, 10);
    fail(&admission, 5);
    probe(&admission).await.reached();

    for permit in sent_before.iter() {
        permit.unreached();
    }

    assert_eq!(circuit(&admission), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_a_probe_that_another_has_replaced_changes_nothing() {
    let admission = down(one_pool(10));
    let first = probe(&admission).await;
    let second = admission.admit(patient(ask())).await.unwrap();

    first.unreached();
    drop(first);
    assert_eq!(circuit(&admission), Circuit::Probing);
    second.unreached();

    assert!((secs(2)..=millis(2200)).contains(&pause(&admission)), "doubled once");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_to_a_probe_that_another_has_replaced_is_an_answer_all_the_same() {
    let admission = down(one_pool(10));
    let first = probe(&admission).await;
    let second = admission.admit(patient(ask())).await.unwrap();

    first.reached();

    assert_eq!(circuit(&admission), Circuit::Closed);
    second.unreached();
    assert_eq!(circuit(&admission), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_back_is_not_hit_by_all_who_waited() {
    let admission = down(one_pool(40));
    let probe = probe(&admission).await;
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(waiting(&admission, patient(ask())).await);
    }

    probe.reached();
    drop(probe);
    let mut served = Vec::new();
    for _ in 0..4 {
        settle().await;
        // Whoever is served is at Zuora for a long time: what is out shows what may be out.
        served.push(admission.snapshot().in_use);
        pass(secs(1)).await;
    }

    assert_eq!(served, [10, 20, 40, 40]);
}

#[tokio::test(start_paused = true)]
async fn each_failed_attempt_doubles_the_pause_up_to_half_a_minute() {
    let admission = down(one_pool(10));
    let mut pauses = vec![pause(&admission)];
    for _ in 0..7 {
        probe(&admission).await.unreached();
        pauses.push(pause(&admission));
    }

    for (pause, seconds) in pauses.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
        let most = secs(seconds) + millis(seconds * 100).min(secs(1));
        assert!((secs(seconds)..=most).contains(pause), "{pauses:?}");
    }
    probe(&admission).await.reached();
    fail(&admission, 5);
    assert!(pause(&admission) <= millis(1100), "and then it begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_wait_for_a_tenant_that_is_down_is_told_so_at_once() {
    let admission = admission(one_pool(10));
    let within = |time| Ask { deadline: Deadline::Permit(Instant::now() + time), ..ask() };
    let held = permits(&admission, 10);
    let [impatient, patient] = [secs(1), secs(20)].map(within);
    let (impatient, mut patient) =
        (waiting(&admission, impatient).await, waiting(&admission, patient).await);

    for permit in held.iter().take(5) {
        permit.unreached();
    }
    settle().await;
    let asks_now = at_once(&admission, within(millis(500)));

    let down = Shed::Down { retry_after: secs(2) };
    assert_eq!(impatient.await.unwrap().unwrap_err(), down);
    assert_eq!(asks_now.unwrap_err(), down);
    assert_eq!(down.retry_after(Instant::now()), secs(2));
    assert!(time::timeout(millis(900), &mut patient).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_while_the_tenant_is_being_tried_says_that_it_is_down() {
    let admission = down(one_pool(10));
    let _probe = probe(&admission).await;
    let deadline = Deadline::Permit(Instant::now() + secs(3));

    let (waited, shed) = timed(admission.admit(Ask { deadline, ..ask() })).await;

    assert_eq!(waited, secs(3));
    assert_eq!(shed.unwrap_err(), Shed::Down { retry_after: secs(1) });
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_a_tenant_that_is_down_is_as_long_as_ever() {
    let mut settings = one_pool(10);
    settings.queue.max_requests = 2;
    let admission = down(settings);
    let _first = waiting(&admission, ask()).await;
    let _second = waiting(&admission, ask()).await;

    let shed = at_once(&admission, ask()).unwrap_err();

    assert!(matches!(shed, Shed::QueueFull { .. }), "{shed}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_forget_that_the_tenant_is_down() {
    let admission = down(one_pool(10));
    let waits = waiting(&admission, ask()).await;
    let before = pause(&admission);

    let mut settings = one_pool(20);
    settings.pools.push(pool("Object Query", None, 5));
    admission.reconfigure(settings);
    let new = waiting(&admission, Ask { pool: PoolId(1), ..ask() }).await;

    assert_eq!(pause(&admission), before);
    pass(secs(2)).await;
    let gone = [waits.is_finished(), new.is_finished()];
    assert_eq!(gone.into_iter().filter(|gone| *gone).count(), 1, "one tries, whichever it is");
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_caller_hung_up_tells_all_the_same() {
    let admission = down(one_pool(10));
    let (hang_up, hung_up) = tokio::sync::oneshot::channel::<()>();
    let probe = probe(&admission).await;
    let leg = tokio::spawn(async move {
        hung_up.await.unwrap_err();
        time::sleep(secs(5)).await;
        probe.reached();
    });
    let waits = waiting(&admission, ask()).await;

    drop(hang_up);

    let (waited, permit) = timed(waits).await;
    assert_eq!(waited, secs(5));
    assert!(permit.unwrap().is_ok());
    leg.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_pauses_is_not_tried_before_its_moment() {
    let admission = admission(one_pool(10));
    let until = Instant::now() + secs(20);
    let held = permits(&admission, 6);
    for permit in held.iter().take(5) {
        permit.unreached();
    }
    held.into_iter().last().unwrap().refused(Refused::Rate { until });

    let (waited, permit) = timed(admission.admit(ask())).await;

    assert!((secs(20)..=secs(21)).contains(&waited), "{waited:?}");
    assert_eq!(circuit(&admission), Circuit::Probing);
    drop(permit);
}

/// What the refusal says holds before anybody else goes.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_refused_shows_that_the_tenant_is_up_and_lets_nobody_into_a_refusal() {
    let mut settings = one_pool(40);
    settings.pools[0].on_refusal = OnRefusal::Freeze;
    settings.pools.push(pool("Object Query", None, 8));
    let admission = down(settings);
    let probe = probe(&admission).await;
    let frozen = waiting(&admission, ask()).await;
    let goes_on = waiting(&admission, Ask { pool: PoolId(1), ..ask() }).await;

    probe.refused(Refused::Concurrency { until: Instant::now() + secs(5) });
    settle().await;

    assert_eq!(circuit(&admission), Circuit::Closed);
    assert!(goes_on.is_finished());
    let (waited, permit) = timed(frozen).await;
    assert!((secs(5)..=secs(6)).contains(&waited), "{waited:?}");
    assert_eq!(permit.unwrap().unwrap().reason(), Some(WaitReason::Cooldown));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_refused_lets_all_pools_go_on() {
    let mut settings = one_pool(40);
    settings.pools.push(pool("Object Query", None, 8));
    let admission = down(settings);
    let probe = probe(&admission).await;
    let elsewhere = waiting(&admission, Ask { pool: PoolId(1), ..ask() }).await;

    probe.refused(Refused::Elsewhere { until: Instant::now() + secs(5) });
    settle().await;

    assert!(elsewhere.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_wide_window_counts_the_attempts_to_reach_it() {
    let mut settings = one_pool(10);
    settings.rate.per_minute = NonZeroU32::new(60);
    let admission = admission(settings);
    // Three of sixty may go at once, and then one in about a second.
    let mut failed = 0;
    while failed < 5 {
        admission.admit(ask()).await.unwrap().unreached();
        failed += 1;
    }

    let (waited, probe) = timed(admission.admit(patient(ask()))).await;

    assert!((secs(1)..=millis(1200)).contains(&waited), "{waited:?}");
    probe.unwrap().reached();
    let (waited, next) = timed(admission.admit(patient(ask()))).await;
    assert!(waited > millis(800), "{waited:?}");
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn a_reserve_goes_first_to_try_as_it_goes_first_otherwise() {
    let mut settings = one_pool(10);
    settings.apps[2].reserve = 2;
    let admission = down(settings);
    let other = waiting(&admission, ask_of(1)).await;
    let reserved = waiting(&admission, ask_of(2)).await;

    pass(secs(2)).await;

    assert!(reserved.is_finished() && !other.is_finished());
}

/// Observing means that nobody waits; what would have happened is told.
#[tokio::test(start_paused = true)]
async fn a_pool_that_is_not_enforced_holds_nobody_and_its_calls_tell_as_well() {
    let mut settings = one_pool(10);
    settings.pools.push(PoolSettings { enforce: false, ..pool("Observed", None, 1) });
    let admission = admission(settings);
    let observed = || Ask { pool: PoolId(1), ..ask() };
    for _ in 0..5 {
        at_once(&admission, observed()).unwrap().unreached();
    }
    let waits = waiting(&admission, ask()).await;

    let permit = at_once(&admission, observed()).unwrap();
    assert_eq!(permit.would_have_waited().collect::<Vec<_>>(), [WaitReason::Down]);
    let before = pause(&admission);
    permit.unreached();
    assert_eq!(pause(&admission), before, "it was not the one to try");
    at_once(&admission, observed()).unwrap().reached();
    settle().await;

    assert_eq!(circuit(&admission), Circuit::Closed);
    assert!(waits.is_finished());
}

/// A permit of a pool that is not enforced must not be taken for the probe that went before.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_enforced_does_not_end_the_lease_of_one_that_tries() {
    let mut settings = one_pool(10);
    settings.pools.push(PoolSettings { enforce: false, ..pool("Observed", None, 1) });
    let admission = down(settings);
    let _probe = probe(&admission).await;

    let observed = at_once(&admission, Ask { pool: PoolId(1), ..ask() }).unwrap();
    observed.unreached();
    drop(observed);

    assert_eq!(circuit(&admission), Circuit::Probing);
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_lets_the_attempt_to_reach_the_tenant_wait_for_a_permit() {
    let admission = admission(one_pool(6));
    let mut held = permits(&admission, 6);
    for permit in held.iter().take(5) {
        permit.unreached();
    }
    let waits = waiting(&admission, patient(ask())).await;
    pass(secs(30)).await;
    assert!(!waits.is_finished(), "never more than the limit");

    drop(held.pop());
    settle().await;

    assert_eq!((circuit(&admission), waits.is_finished()), (Circuit::Probing, true));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_was_down_longs_for_no_timer_when_nobody_waits() {
    let admission = down(one_pool(10));
    drop(waiting(&admission, ask()).await);
    pass(secs(120)).await;

    assert_eq!(Arc::strong_count(&admission), 1);
}

/// Otherwise nobody would be let wait after an hour in which every request timed out.
#[tokio::test(start_paused = true)]
async fn how_long_no_answer_came_says_nothing_of_how_long_answers_take() {
    let admission = admission(one_pool(10));
    for unanswered in [false, true] {
        for _ in 0..20 {
            let permit = admission.admit(patient(ask())).await.unwrap();
            pass(if unanswered { secs(125) } else { millis(100) }).await;
            if unanswered {
                permit.unreached();
            }
        }
    }
    probe(&admission).await.reached();
    let _held = permits(&admission, 3);

    assert!(admission.predicted_wait(POOL, app(0)) < secs(1));
}
