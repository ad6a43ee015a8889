//! What is sent again, with which key, and what the caller is told when it is not.

use super::*;

const CONTENDED: &str = r#"{"success":false,"reasons":[{"code":50000050,"message":"Operation failed due to a lock competition, please retry later."}]}"#;
const IN_PROGRESS: &str = r#"{"success":false,"reasons":[{"code":50000020,"message":"A request with the same idempotency key is still in progress."}]}"#;

fn contended() -> Reply {
    Reply::new(409, CONTENDED)
}

fn in_progress() -> Reply {
    Reply::new(409, IN_PROGRESS)
}

fn keys(scene: &Scene) -> Vec<String> {
    scene.asked().iter().map(|asked| asked.field("idempotency-key").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_cut_off_is_repeated_with_its_key_and_its_answer_is_marked() {
    let scene = Scene::of([Reply::cut(), Reply::ok()]);

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("idempotent-replayed"), "true");
    assert_eq!(answer.field("zuora-gateway-attempts"), "2");
    let keys = keys(&scene);
    assert_eq!(keys[0].len(), 32);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_rolled_back_is_repeated_with_a_new_key() {
    let scene = Scene::of([contended(), contended(), Reply::ok()]);

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("idempotent-replayed"), "");
    assert_eq!(answer.field("zuora-gateway-waited"), "retry");
    let mut keys = keys(&scene);
    keys.dedup();
    assert_eq!(keys.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_a_key_is_not_repeated_once_it_was_sent() {
    for reply in [Reply::cut(), Reply::new(503, "down"), Reply::new(504, "")] {
        let scene = Scene::of([reply.with("content-type", "text/plain")]);

        let answer = scene.put("/v1/subscriptions/A-S1/cancel", "{}").await;

        assert!(answer.status.is_server_error());
        assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
        assert_eq!(scene.asked().len(), 1);
        assert!(!scene.asked()[0].has("idempotency-key"), "Zuora answers that with 400");
        assert!(
            scene.counted().contains(
                r#"zuora_gateway_retries_abandoned_total{reason="ambiguous",tenant="t"} 1"#
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_is_repeated_whatever_cut_it_off() {
    let scene = Scene::of([Reply::cut(), Reply::new(500, ""), Reply::new(502, ""), Reply::ok()]);

    let answer = scene.get("/v1/accounts/A1").await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(scene.asked().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_edge_is_left_alone_for_as_long_as_it_asks() {
    let scene = Scene::of([Reply::new(503, "").with("retry-after", "7"), Reply::ok()]);

    let answer = scene.get("/v1/accounts/A1").await;

    assert_eq!(answer.status, StatusCode::OK);
    let asked = scene.asked();
    assert!(asked[1].at - asked[0].at >= 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_key_of_an_app_never_changes() {
    let scene = Scene::of([Reply::cut(), in_progress(), refusal(1), contended()]);

    let answer = scene.post_with("/v1/orders", &[("idempotency-key", "theirs")]).await;

    assert_eq!(answer.status, StatusCode::CONFLICT, "what is kept under it is the app's to see");
    assert_eq!(answer.body, CONTENDED);
    assert_eq!(answer.field("idempotent-replayed"), "true");
    assert_eq!(keys(&scene), ["theirs"; 4]);
}

#[tokio::test(start_paused = true)]
async fn what_is_still_in_progress_is_waited_for_under_its_key() {
    let scene = Scene::of([
        Reply::cut(),
        in_progress(),
        in_progress(),
        in_progress(),
        in_progress(),
        in_progress(),
        Reply::ok(),
    ]);

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(answer.status, StatusCode::OK, "asking how it went is no attempt");
    let mut keys = keys(&scene);
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_make_a_doubtful_write_safe_to_send_anew() {
    // Beyond the deadline, so that nothing more can be learnt.
    let scene = Scene::of([Reply::cut(), refusal(300)]);

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "a 429 would mean that it was not begun");
    assert_eq!(answer.field("zuora-gateway-error"), "upstream-broke");
    assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
    let keys = keys(&scene);
    assert_eq!(keys[0], keys[1], "a new key would do it twice");
    assert_eq!(answer.field("zuora-gateway-idempotency-key"), keys[0]);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_a_doubtful_write_does_not_pass_for_its_outcome() {
    let edge = || Reply::new(403, "<html>AkamaiGHost</html>").with("content-type", "text/html");
    let broken = || Reply::new(500, "We're sorry").with("content-type", "text/plain");
    let passing = || Reply::new(500, r#"{"reasons":[{"code":50000061,"message":"later"}]}"#);
    let locked_out = || Reply::new(403, r#"{"reasons":[{"code":50000010,"message":"no"}]}"#);
    for reply in [edge(), broken(), passing(), locked_out()] {
        let scene = Scene::of([Reply::cut(), reply]);

        let answer = scene.post("/v1/orders", "{}").await;

        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
        assert_eq!(answer.field("idempotent-replayed"), "");
        assert_eq!(answer.field("zuora-gateway-idempotency-key"), keys(&scene)[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_zuora_kept_is_the_outcome() {
    let kept = r#"{"success":false,"reasons":[{"code":53100020,"message":"no such account"}]}"#;
    for status in [200, 400] {
        let scene = Scene::of([Reply::cut(), Reply::new(status, kept)]);

        let answer = scene.post("/v1/orders", "{}").await;

        assert_eq!(answer.status, status);
        assert_eq!(answer.field("idempotent-replayed"), "true");
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_zuora_kept_is_the_outcome_though_it_comes_with_a_409() {
    let scene = Scene::of([Reply::cut(), Reply::new(409, r#"{"success":true,"id":"2c92"}"#)]);

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(
        (answer.status, &*answer.body),
        (StatusCode::CONFLICT, r#"{"success":true,"id":"2c92"}"#)
    );
    assert_eq!(answer.field("idempotent-replayed"), "true");
}

#[tokio::test(start_paused = true)]
async fn work_in_progress_is_not_contention_whatever_its_code() {
    let at_work = r#"{"reasons":[{"code":50000050,"message":"The original request is still being processed."}]}"#;
    let scene = Scene::of([Reply::cut(), Reply::new(409, at_work), Reply::ok()]);

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(answer.status, StatusCode::OK);
    let mut keys = keys(&scene);
    keys.dedup();
    assert_eq!(keys.len(), 1, "a new key would do it twice");
}

#[tokio::test(start_paused = true)]
async fn a_write_in_doubt_is_counted_though_its_caller_left() {
    let scene = Scene::of([Reply::cut().after(5 * SECOND)]);

    let left = tokio::time::timeout(SECOND, scene.put("/v1/accounts/A1", "{}")).await;
    sleep(10 * SECOND).await;

    assert!(left.is_err());
    let counted = r#"zuora_gateway_in_doubt_total{app="app",tenant="t"} 1"#;
    assert!(scene.counted().contains(counted));
}

#[tokio::test(start_paused = true)]
async fn a_write_in_doubt_is_counted_once() {
    let scene = Scene::of([Reply::cut().after(130 * SECOND)]);

    let answer = scene.put("/v1/accounts/A1", "{}").await;
    sleep(60 * SECOND).await;

    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    let counted = r#"zuora_gateway_in_doubt_total{app="app",tenant="t"} 1"#;
    assert!(scene.counted().contains(counted));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_lane_is_busy_is_told_at_once_that_it_must_rest_too_long() {
    let scene = Scene::of([refusal(300), Reply::ok().after(50 * SECOND)]).with_lanes();
    let began = Instant::now();

    let (first, second) = tokio::join!(
        async {
            let answer = scene.put("/v1/accounts/A1", "1").await;
            (answer, began.elapsed())
        },
        async {
            sleep(Duration::from_millis(1)).await;
            scene.put("/v1/accounts/A1", "2").await
        }
    );

    assert_eq!(first.0.field("zuora-gateway-error"), "cooldown");
    assert!(first.1 < SECOND, "{:?}", first.1);
    assert_eq!(second.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_budget_ends_with_the_answer_that_it_has_when_we_close() {
    const CALLS: usize = 150;
    let scene = Scene::of([(); CALLS + 130].map(|()| contended().after(SECOND))).with_limit(200);
    let calls = futures_util::future::join_all((0..CALLS).map(|_| scene.post("/v1/orders", "{}")));

    let (answers, ()) = tokio::join!(calls, async {
        sleep(2 * SECOND).await;
        scene.close();
    });

    let relayed = answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT).count();
    assert!(relayed >= CALLS - 130, "{relayed}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_only_refused_is_told_as_not_executed() {
    let scene = Scene::of([refusal(300)]);

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.field("zuora-gateway-executed"), "no");
    assert_eq!(answer.field("zuora-gateway-idempotency-key"), "");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_repeated_if_no_connection_could_be_had() {
    let scene = Scene::of([Reply::ok()]).refusing_connections(3);

    let answer = scene.put("/v1/subscriptions/A-S1/cancel", "{}").await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("zuora-gateway-attempts"), "4");
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_cannot_be_reached_is_told_as_such() {
    let scene = Scene::of([]).refusing_connections(u32::MAX);

    let answer = scene.put("/v1/subscriptions/A-S1/cancel", "{}").await;

    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.field("zuora-gateway-error"), "upstream-unreachable");
    assert_eq!(answer.field("zuora-gateway-executed"), "no");
    assert_eq!(scene.permits_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_reason_is_counted_from_zero() {
    let counted = Scene::of([]).counted();

    for why in crate::Why::ALL {
        let reason =
            format!(r#"retries_abandoned_total{{reason="{}",tenant="t"}} 0"#, why.as_str());
        assert!(counted.contains(&reason), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_may_have_been_executed_are_not_endless() {
    let scene = Scene::of([(); 5].map(|()| Reply::new(503, "down")));

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "down");
    assert_eq!(answer.field("zuora-gateway-attempts"), "5");
    assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_never_free_is_given_up_with_zuoras_word_when_time_is_over() {
    let scene = Scene::of([(); 100].map(|()| contended()));
    let began = Instant::now();

    let answer = scene.post("/v1/orders", "{}").await;

    assert_eq!((answer.status, &*answer.body), (StatusCode::CONFLICT, CONTENDED));
    assert!(began.elapsed() < 60 * SECOND);
    assert!((8..30).contains(&scene.asked().len()), "{}", scene.asked().len());
}

#[tokio::test(start_paused = true)]
async fn repetitions_beyond_the_budget_wait_for_room_and_succeed() {
    const CALLS: usize = 150;
    let replies = std::array::from_fn::<_, { 2 * CALLS }, _>(|nth| {
        if nth < CALLS { contended().after(SECOND) } else { Reply::ok() }
    });
    let scene = Scene::of(replies).with_limit(200);
    let began = Instant::now();

    let answers =
        futures_util::future::join_all((0..CALLS).map(|_| scene.post("/v1/orders", "{}"))).await;

    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    let repeated: Vec<_> = scene.asked()[CALLS..].iter().map(|asked| asked.at - began).collect();
    let soon = repeated.iter().filter(|at| **at < 5 * SECOND).count();
    // A fifth of the calls, and the floor of ten seconds.
    assert_eq!(soon, CALLS / 5 + 100);
    assert!(*repeated.last().unwrap() >= 5 * SECOND, "{repeated:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_about_one_account_go_one_after_another_and_others_beside_them() {
    let scene = Scene::of([(); 4].map(|()| Reply::ok().after(10 * SECOND))).with_lanes();
    let began = Instant::now();

    let (a, b, c, d) = tokio::join!(
        scene.put("/v1/accounts/A1", "{}"),
        scene.post("/v1/orders", r#"{"existingAccountNumber":"A1"}"#),
        scene.put("/v1/accounts/A2", "{}"),
        scene.get("/v1/accounts/A1"),
    );

    for answer in [&a, &b, &c, &d] {
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(b.field("zuora-gateway-waited"), "lane");
    let asked = scene.asked();
    let when = |path: &str| {
        let times: Vec<_> =
            asked.iter().filter(|asked| asked.path == path).map(|asked| asked.at - began).collect();
        times
    };
    assert_eq!(when("/v1/accounts/A2"), [Duration::ZERO]);
    assert_eq!(when("/v1/accounts/A1"), [Duration::ZERO, Duration::ZERO], "reads need no lane");
    assert_eq!(when("/v1/orders"), [10 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_held_as_long_as_zuora_works_though_the_caller_left() {
    let scene = Scene::of([Reply::ok().after(20 * SECOND), Reply::ok()]).with_lanes();
    let began = Instant::now();

    let left = tokio::time::timeout(SECOND, scene.put("/v1/accounts/A1", "{}")).await;
    let second = scene.put("/v1/accounts/A1", "{}").await;

    assert!(left.is_err());
    assert_eq!(second.status, StatusCode::OK);
    assert_eq!(began.elapsed(), 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_rests_leaves_its_lane_to_others() {
    let scene = Scene::of([refusal(30), Reply::ok(), Reply::ok()]).with_lanes();

    let (first, second) = tokio::join!(scene.put("/v1/accounts/A1", "1"), async {
        sleep(SECOND).await;
        scene.put("/v1/accounts/A1", "2").await
    });

    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    let bodies: Vec<_> = scene.asked().iter().map(|asked| asked.body.clone()).collect();
    assert_eq!(bodies, ["1", "2", "1"]);
}
