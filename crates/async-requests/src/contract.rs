//! What every store promises, as those see it who ask the registry.

use std::sync::Arc;
use std::time::Duration;

use crate::testing::*;
use crate::{Limits, NotBegun, State, Taken};

const NO_LIMITS: Limits =
    Limits { keep: Duration::from_secs(60), max_records: 1000, max_pending: 1000 };

#[tokio::test]
async fn a_report_is_matched_by_what_zuora_calls_the_request_first() {
    in_each(NO_LIMITS, async |registry| {
        registry.taken("batch", "a").await;
        registry.taken("batch", "b").await;

        let taken = registry.tell(told(Some("r-a"), Some("b"), succeeded("1"))).await;

        assert!(matches!(taken, Taken::News(record) if *record.key.track_id == *"a"));
        assert_eq!(registry.known("b").await.unwrap().state, State::Accepted);
    })
    .await;
}

#[tokio::test]
async fn a_report_is_matched_by_track_id_while_zuora_has_not_told_what_it_calls_the_request() {
    in_each(NO_LIMITS, async |registry| {
        let submission = registry.sent(named("a")).await;

        let taken = registry.tell(told(Some("r-1"), Some("a"), succeeded("1"))).await;

        assert!(matches!(taken, Taken::News(_)));
        // The answer to the submission comes last.
        let record = submission.accepted(Some("r-1")).await.unwrap().unwrap();
        assert_eq!(record.state, State::Succeeded);
        assert!(record.accepted.is_some());
        let again = registry.tell(told(Some("r-1"), None, failed("no"))).await;
        assert_eq!(again, Taken::Duplicate);
        assert_eq!(registry.known("a").await.unwrap().outcome, Some(succeeded("1")));
    })
    .await;
}

#[tokio::test]
async fn what_zuora_calls_otherwise_or_another_tenant_has_is_not_meant() {
    in_each(NO_LIMITS, async |registry| {
        registry.taken("batch", "a").await;

        for (zuora_id, track_id) in
            [(Some("r-b"), Some("a")), (Some("r-b"), None), (None, Some("b")), (None, None)]
        {
            let taken = registry.tell(told(zuora_id, track_id, succeeded("1"))).await;
            assert_eq!(taken, Taken::Unknown, "{zuora_id:?} {track_id:?}");
        }
        let report = told(Some("r-a"), Some("a"), succeeded("1"));
        let taken = registry.take_in(&"sandbox".into(), report).await.unwrap();

        assert_eq!(taken, Taken::Unknown);
        assert_eq!(registry.known("a").await.unwrap().state, State::Accepted);
    })
    .await;
}

#[tokio::test]
async fn the_first_outcome_stays() {
    in_each(NO_LIMITS, async |registry| {
        let first = registry.done("batch", "a").await;

        let again = registry.tell(told(Some("r-a"), Some("a"), succeeded("a"))).await;
        let otherwise = registry.tell(told(Some("r-a"), Some("a"), failed("late"))).await;

        assert_eq!([again, otherwise], [Taken::Duplicate, Taken::Duplicate]);
        assert_eq!(registry.give_up(&key("a")).await.unwrap(), None);
        let known = registry.known("a").await.unwrap();
        assert_eq!((known.state, known.outcome), (State::Succeeded, first.outcome));
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_was_given_up_may_still_come_and_then_stays() {
    in_each(NO_LIMITS, async |registry| {
        registry.taken("batch", "a").await;
        let unknown = registry.give_up(&key("a")).await.unwrap().unwrap();
        registry.done("batch", "b").await;

        let taken = registry.tell(told(Some("r-a"), Some("a"), failed("no"))).await;
        let again = registry.tell(told(Some("r-a"), Some("a"), succeeded("1"))).await;

        assert_eq!((unknown.state, unknown.outcome), (State::Unknown, None));
        assert!(matches!(taken, Taken::News(record) if record.state == State::Failed));
        assert_eq!(again, Taken::Duplicate);
        // Whoever follows the outcomes and has seen "unknown" is told.
        let outcomes = registry.outcomes_after(&"batch".into(), 0, 9).await.unwrap();
        assert_eq!(track_ids(&outcomes), ["b", "a"]);
    })
    .await;
}

#[tokio::test]
async fn an_app_lists_its_own_the_newest_first_page_by_page() {
    in_each(NO_LIMITS, async |registry| {
        for number in 0..7 {
            registry.taken("batch", &format!("a{number}")).await;
            registry.taken("batches", &format!("b{number}")).await;
        }
        for number in [1, 4] {
            let zuora_id = format!("r-a{number}");
            registry.tell(told(Some(&zuora_id), None, failed("no"))).await;
        }
        let app = "batch".into();
        let list = async |state, before, most| {
            let records = registry.list(&app, state, before, most).await.unwrap();
            let (numbers, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
            assert!(numbers.is_sorted_by(|one, next| one > next), "{numbers:?}");
            (track_ids(&records).join(" "), numbers.last().copied())
        };
        let told = async |state, before, most| list(state, before, most).await.0;

        let (first, from) = list(None, None, 3).await;
        let (second, on) = list(None, from, 3).await;
        assert_eq!((&*first, &*second), ("a6 a5 a4", "a3 a2 a1"));
        let (third, end) = list(None, on, 3).await;
        assert_eq!((&*third, &*told(None, end, 3).await), ("a0", ""));
        assert_eq!(told(Some(State::Failed), None, 9).await, "a4 a1");
        assert_eq!(told(Some(State::Failed), from, 9).await, "a1");
        assert_eq!(told(Some(State::Accepted), from, 2).await, "a3 a2");
        assert_eq!(told(Some(State::Unknown), None, 9).await, "");
        assert_eq!(told(None, Some(0), 9).await, "");
    })
    .await;
}

#[tokio::test]
async fn outcomes_are_read_on_from_where_one_stopped() {
    in_each(NO_LIMITS, async |registry| {
        for track_id in ["a", "b", "c", "d"] {
            registry.taken("batch", track_id).await;
        }
        registry.done("other", "o").await;
        for track_id in ["c", "a", "d"] {
            registry.tell(told(Some(&format!("r-{track_id}")), None, succeeded("1"))).await;
        }
        let app = "batch".into();

        let two = registry.outcomes_after(&app, 0, 2).await.unwrap();
        let after = two[1].position.unwrap();
        let rest = registry.outcomes_after(&app, after, 9).await.unwrap();
        let none = registry.outcomes_after(&app, rest[0].position.unwrap(), 9).await.unwrap();

        assert_eq!(track_ids(&two), ["c", "a"]);
        assert_eq!(track_ids(&rest), ["d"]);
        assert_eq!(none, []);
        assert_eq!(Some(registry.last_position()), rest[0].position);
        assert_eq!(registry.outcomes_after(&app, u64::MAX, 9).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn those_that_are_waited_for_are_the_tenants_oldest_first() {
    in_each(NO_LIMITS, async |registry| {
        for track_id in ["b", "a", "c"] {
            registry.taken("batch", track_id).await;
        }
        registry.done("batch", "d").await;
        let on_its_way = registry.sent(of_app("other", "e")).await;

        let pending = registry.pending(&TENANT.into(), 9).await.unwrap();

        assert_eq!(track_ids(&pending), ["b", "a", "c", "e"]);
        assert_eq!(registry.pending(&TENANT.into(), 2).await.unwrap().len(), 2);
        assert_eq!(registry.pending(&"sandbox".into(), 9).await.unwrap(), []);
        drop(on_its_way);
    })
    .await;
}

#[tokio::test]
async fn no_more_is_begun_than_may_be_waited_for() {
    let limits = Limits { max_pending: 2, ..NO_LIMITS };
    in_each(limits, async |registry| {
        registry.taken("batch", "a").await;
        let second = registry.sent(named("b")).await;

        let third = registry.begin(named("c")).await;
        let taken = registry.begin(named("a")).await;
        second.withdrawn().await.unwrap();

        assert!(matches!(third, Err(NotBegun::Full { most: 2 })), "{third:?}");
        assert!(matches!(taken, Err(NotBegun::Taken { .. })), "{taken:?}");
        assert!(registry.begin(named("d")).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn the_request_that_ended_first_makes_room_and_none_that_is_waited_for_does() {
    let limits = Limits { max_records: 3, ..NO_LIMITS };
    in_each(limits, async |registry| {
        registry.taken("batch", "a").await;
        registry.done("other", "b").await;
        registry.done("batch", "c").await;

        registry.taken("batch", "d").await;
        assert_eq!(registry.known("b").await, None);
        registry.taken("batch", "e").await;
        assert_eq!(registry.known("c").await, None);
        let full = registry.begin(named("f")).await;

        assert!(matches!(full, Err(NotBegun::Full { most: 3 })), "{full:?}");
        assert!(registry.known("a").await.is_some());
        assert_eq!(registry.readings().records, 3);
        assert_eq!(registry.tell(told(Some("r-b"), None, failed(""))).await, Taken::Unknown);
    })
    .await;
}

#[tokio::test]
async fn what_was_withdrawn_leaves_no_trace() {
    in_each(NO_LIMITS, async |registry| {
        registry.sent(named("a")).await.withdrawn().await.unwrap();

        assert_eq!(registry.known("a").await, None);
        assert!(registry.list(&"batch".into(), None, None, 9).await.unwrap().is_empty());
        assert_eq!(registry.pending(&TENANT.into(), 9).await.unwrap(), []);
        assert_eq!((registry.readings().records, registry.readings().apps), (0, vec![]));
        registry.done("batch", "a").await;
    })
    .await;
}

#[tokio::test]
async fn what_zuora_has_told_of_cannot_be_withdrawn() {
    in_each(NO_LIMITS, async |registry| {
        let submission = registry.sent(named("a")).await;
        registry.tell(told(Some("r-a"), Some("a"), succeeded("1"))).await;

        submission.withdrawn().await.unwrap();

        assert_eq!(registry.known("a").await.unwrap().state, State::Succeeded);
    })
    .await;
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_nothing_else() {
    in_each(NO_LIMITS, async |registry| {
        registry.taken("batch", "pending").await;
        let mut old = tokio::task::JoinSet::new();
        for number in 0..400 {
            let registry = Arc::clone(&registry);
            old.spawn(async move { registry.done("batch", &format!("old{number}")).await });
        }
        old.join_all().await;
        registry.done("other", "old").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let moment = registry.now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        registry.done("batch", "new").await;

        registry.tend(registry.now().duration_since(moment).unwrap()).await;

        let left = registry.list(&"batch".into(), None, None, 999).await.unwrap();
        let left: Vec<_> = left.into_iter().map(|(_, record)| record).collect();
        assert_eq!(track_ids(&left), ["new", "pending"]);
        assert_eq!(registry.known("old").await, None);
        assert_eq!(registry.readings().records, 2);
    })
    .await;
}

#[tokio::test]
async fn deliveries_come_in_the_order_in_which_they_are_due() {
    in_each(NO_LIMITS, async |registry| {
        let app: Arc<str> = "batch".into();
        registry.forward_to([Arc::clone(&app)]);
        for track_id in ["a", "b", "c"] {
            registry.done("batch", track_id).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        registry.done("other", "o").await;

        let undelivered = registry.undelivered(&app, 9).await.unwrap();
        assert_eq!(track_ids(&undelivered), ["a", "b", "c"]);
        registry.not_delivered(&undelivered[0], "answered 500", 0.0).await.unwrap();
        registry.delivered(&undelivered[1]).await.unwrap();

        let undelivered = registry.undelivered(&app, 9).await.unwrap();
        assert_eq!(track_ids(&undelivered), ["c", "a"]);
        assert_eq!(track_ids(&registry.undelivered(&app, 1).await.unwrap()), ["c"]);
    })
    .await;
}

#[tokio::test]
async fn dead_letters_come_in_the_order_of_their_keys_page_by_page() {
    in_each(NO_LIMITS, async |registry| {
        registry.forward_to(["batch".into(), "other".into()]);
        for (app, track_id) in [("batch", "c"), ("other", "a"), ("batch", "ab"), ("batch", "d")] {
            let mut told = registry.done(app, track_id).await;
            let failures = if track_id == "d" { 9 } else { 10 };
            for _ in 0..failures {
                let delivery = registry.not_delivered(&told, "answered 500", 0.0).await.unwrap();
                told.delivery = Some(delivery);
            }
        }

        let all = registry.dead_letters(None, 9).await.unwrap();
        let first = registry.dead_letters(None, 1).await.unwrap();
        let rest = registry.dead_letters(Some(first[0].key.clone()), 9).await.unwrap();

        assert_eq!(track_ids(&all), ["a", "ab", "c"]);
        assert_eq!(track_ids(&rest), ["ab", "c"]);
        let dead = registry.readings().apps.into_iter().map(|it| (it.app, it.dead_letters));
        assert_eq!(dead.collect::<Vec<_>>(), [("batch".into(), 2), ("other".into(), 1)]);
        registry.revive(&key("ab")).await.unwrap().unwrap();
        assert_eq!(track_ids(&registry.dead_letters(None, 9).await.unwrap()), ["a", "c"]);
    })
    .await;
}

#[tokio::test]
async fn readings_tell_who_waits_and_since_when() {
    in_each(NO_LIMITS, async |registry| {
        let before = registry.now();
        registry.taken("batch", "a").await;
        let after = registry.now();
        registry.taken("batch", "b").await;
        registry.done("other", "c").await;

        let readings = registry.readings();

        assert_eq!(readings.records, 3);
        assert!(readings.is_writable);
        let [batch] = &readings.apps[..] else { panic!("{:?}", readings.apps) };
        assert_eq!((&*batch.tenant, &*batch.app, batch.pending), (TENANT, "batch", 2));
        let oldest = batch.oldest_pending.unwrap();
        assert!(before <= oldest && oldest <= after);
    })
    .await;
}

#[tokio::test]
async fn two_requests_that_zuora_calls_the_same_are_told_apart_by_track_id() {
    in_each(NO_LIMITS, async |registry| {
        for track_id in ["a", "b"] {
            registry.sent(named(track_id)).await.accepted(Some("r-1")).await.unwrap();
        }

        let first = registry.tell(told(Some("r-1"), Some("a"), succeeded("1"))).await;
        let second = registry.tell(told(None, Some("b"), succeeded("2"))).await;

        assert!(matches!(first, Taken::News(record) if *record.key.track_id == *"a"));
        assert!(matches!(second, Taken::News(record) if *record.key.track_id == *"b"));
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_asker_left_before_it_was_written_down_is_forgotten() {
    in_each(NO_LIMITS, async |registry| {
        {
            let mut beginning = std::pin::pin!(registry.begin(named("a")));
            // Once: it is asked for, and nobody takes the answer.
            std::future::poll_fn(|context| {
                let _ = beginning.as_mut().poll(context);
                std::task::Poll::Ready(())
            })
            .await;
        }

        let forgotten = async {
            while registry.known("a").await.is_some() || registry.readings().records > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // It may not even be written down yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::time::timeout(Duration::from_secs(10), forgotten).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_outcome_wakes_who_waits_also_if_who_told_it_has_left() {
    in_each(NO_LIMITS, async |registry| {
        registry.taken("batch", "a").await;
        let news = registry.news(&"batch".into());
        let until = tokio::time::Instant::now() + Duration::from_secs(30);
        let waiting = {
            let registry = Arc::clone(&registry);
            tokio::spawn(async move { registry.wait(&key("a"), until).await })
        };
        tokio::task::yield_now().await;
        {
            let tenant = TENANT.into();
            let report = told(Some("r-a"), None, succeeded("1"));
            let mut telling = std::pin::pin!(registry.take_in(&tenant, report));
            std::future::poll_fn(|context| {
                let _ = telling.as_mut().poll(context);
                std::task::Poll::Ready(())
            })
            .await;
        }

        let record = waiting.await.unwrap().unwrap().unwrap();

        assert!(tokio::time::Instant::now() < until, "it was not woken");
        assert_eq!(record.state, State::Succeeded);
        assert_eq!(*news.borrow(), record.position.unwrap());
    })
    .await;
}
