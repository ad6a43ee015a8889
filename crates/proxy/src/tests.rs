//! The whole road over in-memory pipes and a stopped clock: real hyper on both ends, a scripted Zuora as the judge.
//! Minutes of waiting take no time, and moments can be compared exactly.

mod callouts;
mod errands;
mod later;
mod limit_types;
mod links;
mod outcomes;
mod repeats;
mod scene;
mod shared;
mod soap;
mod wishes;

use std::sync::Arc;

use http::StatusCode;
use scene::{Reply, Scene, refusal};
use tokio::time::{Duration, Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_refusal_is_waited_out_and_the_caller_never_hears_of_it() {
    let scene = Scene::of([refusal(30), Reply::ok()]);

    let answer = scene.get("/v1/accounts/A1").await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("zuora-gateway-attempts"), "2");
    assert_eq!(answer.field("zuora-gateway-waited"), "cooldown");
    let asked = scene.asked();
    let pause = asked[1].at - asked[0].at;
    // Jitter is only ever added, and never more than a second.
    assert!(pause >= 30 * SECOND && pause <= 31 * SECOND + SECOND / 100, "{pause:?}");
    assert_eq!(asked[0].field("zuora-track-id"), asked[1].field("zuora-track-id"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_is_told_at_once() {
    let scene = Scene::of([refusal(120)]);
    let began = Instant::now();

    let answer = scene.get("/v1/accounts/A1").await;

    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.field("zuora-gateway-error"), "cooldown");
    assert_eq!(answer.field("zuora-gateway-executed"), "no");
    assert_eq!(answer.field("retry-after"), "120");
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_used_up_holds_everybody_until_its_reset() {
    let used_up = r#"{"reasons":[{"code":70,"message":"API Rate limit exceeded for the minute, retry after 20 seconds"}]}"#;
    let refused =
        Reply::new(429, used_up).with("ratelimit-remaining", "0").with("ratelimit-reset", "20");
    let scene = Scene::of([refused, Reply::ok(), Reply::ok()]);

    let (first, second) = tokio::join!(scene.get("/v1/accounts/A1"), async {
        sleep(SECOND).await;
        scene.get("/object-query/accounts").await
    });

    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    let asked = scene.asked();
    assert!(asked[1].at - asked[0].at >= 20 * SECOND);
    assert!(asked[2].at - asked[0].at >= 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_inside_a_200_is_one_too() {
    let inside =
        r#"{"success" : false, "reasons" : [ {"code" : 50000070, "message" : "concurrent"} ]}"#;
    let scene = Scene::of([Reply::new(200, inside).with("retry-after", "5"), Reply::ok()]);

    let answer = scene.post("/v1/accounts", r#"{"name":"a"}"#).await;

    assert_eq!(answer.status, StatusCode::OK);
    let asked = scene.asked();
    assert!(asked[1].at - asked[0].at >= 5 * SECOND);
    assert_eq!((&*asked[0].body, &*asked[1].body), (r#"{"name":"a"}"#, r#"{"name":"a"}"#));
}

#[tokio::test(start_paused = true)]
async fn a_silent_zuora_is_given_up_after_its_own_limit() {
    let scene = Scene::of([Reply::ok().after(600 * SECOND)]);
    let began = Instant::now();

    let answer = scene.post("/v1/accounts", "{}").await;

    assert_eq!(began.elapsed(), 125 * SECOND);
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.field("zuora-gateway-error"), "upstream-timeout");
    assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
    assert_eq!(scene.asked().len(), 1, "what may have been done is not sent again");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_left_keeps_its_permit_until_zuora_is_done() {
    let scene = Scene::of([Reply::ok().after(10 * SECOND)]);

    let left = tokio::time::timeout(SECOND, scene.post("/v1/accounts", "{}")).await;

    assert!(left.is_err());
    scene.settle().await;
    assert_eq!(scene.permits_in_use(), 1, "Zuora works on");
    sleep(8 * SECOND).await;
    assert_eq!(scene.permits_in_use(), 1, "Zuora works on");
    sleep(2 * SECOND).await;
    assert_eq!(scene.permits_in_use(), 0, "Zuora is done");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_the_queue_leaves_no_trace() {
    let scene = Scene::of([Reply::ok().after(10 * SECOND), Reply::ok()]).with_limit(1);

    let (first, ()) = tokio::join!(scene.get("/v1/accounts/A1"), async {
        sleep(SECOND).await;
        let left = tokio::time::timeout(SECOND, scene.get("/v1/accounts/A2")).await;
        assert!(left.is_err());
        scene.settle().await;
        assert_eq!(scene.queued(), 0);
    });

    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_no_permit() {
    let long = "x".repeat(512 * 1024);
    let scene = Scene::of([Reply::new(200, &long).with("content-type", "text/csv").in_chunks()]);

    let mut reader = scene.open("GET", "/v1/files/f1", "").await;
    sleep(SECOND).await;
    assert_eq!(scene.permits_in_use(), 0, "Zuora is done");

    // Only now does the caller read.
    assert_eq!(reader.rest().await, long);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_of_a_long_answer_loses_it_and_frees_its_permit() {
    let long = "x".repeat(4 * 1024 * 1024);
    let scene = Scene::of([Reply::new(200, &long).with("content-type", "text/csv").in_chunks()]);

    let mut reader = scene.open("GET", "/v1/files/f1", "").await;
    sleep(50 * SECOND).await;
    assert_eq!(scene.permits_in_use(), 1, "it may still go on");
    sleep(20 * SECOND).await;

    assert_eq!(scene.permits_in_use(), 0);
    assert!(reader.is_cut_off().await, "what is there must not pass for the whole");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waited_long_for_its_turn_may_still_begin() {
    let scene = Scene::of([Reply::ok().after(40 * SECOND), Reply::ok()]).with_limit(1);

    let (first, second) = tokio::join!(
        scene.get("/v1/accounts/A1"),
        // As with `Expect: 100-continue`: the body comes once somebody wants it, and a little later.
        scene.upload("/v1/usage", 3 * 1024 * 1024, 45 * SECOND),
    );

    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK), "{second:?}");
    assert_eq!(scene.asked()[1].body.len(), 3 * 1024 * 1024);
}

#[tokio::test(start_paused = true)]
async fn patience_with_zuora_begins_when_it_has_the_request() {
    let scene = Scene::of([Reply::ok().after(100 * SECOND)]);

    let answer = scene.upload("/v1/usage", 3 * 1024 * 1024, 29 * SECOND).await;

    assert_eq!(answer.status, StatusCode::OK, "129 seconds in all, 100 of them at Zuora");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_a_long_body_counts_while_it_waits() {
    let scene = Scene::of([Reply::ok().after(10 * SECOND), Reply::ok()]).with_limit(1);

    let (_, _, ()) = tokio::join!(
        scene.get("/v1/accounts/A1"),
        scene.upload_in_chunks("/v1/usage", 2 * 1024 * 1024),
        async {
            sleep(5 * SECOND).await;
            assert_eq!(scene.queued(), 1);
            assert!(scene.kept_bytes() > 1024 * 1024, "{}", scene.kept_bytes());
        }
    );

    assert_eq!(scene.kept_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_401_is_repeated_once_with_a_new_token() {
    let scene = Scene::of([Reply::new(401, ""), Reply::ok()]).with_tokens_of_age(60 * SECOND).await;

    let answer = scene.get("/v1/accounts/A1").await;

    assert_eq!(answer.status, StatusCode::OK);
    let asked = scene.asked();
    assert_eq!(asked[0].field("authorization"), "Bearer token-1");
    assert_eq!(asked[1].field("authorization"), "Bearer token-2");
}

#[tokio::test(start_paused = true)]
async fn a_second_401_is_for_the_caller_to_see() {
    let refused = || Reply::new(401, r#"{"message":"no"}"#);
    // So late that the second token is old enough to be replaced, if that were wanted.
    let scene =
        Scene::of([refused(), refused().after(30 * SECOND)]).with_tokens_of_age(60 * SECOND).await;

    let answer = scene.get("/v1/accounts/A1").await;

    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.body, r#"{"message":"no"}"#);
    assert_eq!(scene.asked().len(), 2);
}
