//! What the gateway asks Zuora by itself.

use http::uri::PathAndQuery;

use super::*;
use crate::Errand;

fn job() -> Errand {
    Errand::get(PathAndQuery::from_static("/v1/async-jobs/j1"))
}

#[tokio::test(start_paused = true)]
async fn an_errand_has_the_token_of_its_tenant_and_a_track_id_of_the_gateway() {
    let scene = Scene::of([Reply::new(200, r#"{"status":"Processing"}"#)]);

    let reply = scene.run(job()).await.unwrap();

    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(&reply.body[..], br#"{"status":"Processing"}"#);
    let asked = scene.asked();
    assert_eq!(asked[0].path, "/v1/async-jobs/j1");
    assert_eq!(asked[0].field("authorization"), "Bearer token-1");
    assert!(asked[0].field("zuora-track-id").starts_with("gateway-"));
    assert_eq!(asked[0].fields("accept-encoding"), Vec::<&str>::new());
    let counted = r#"zuora_gateway_requests_total{app="gateway",operation="GET_JobStatusAndResponse",source="zuora",status="200",tenant="t"} 1"#;
    assert!(scene.counted().contains(counted), "{}", scene.counted());
    assert_eq!(scene.permits_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_errand_waits_until_no_app_wants_the_permit() {
    let slow = || Reply::ok().after(10 * SECOND);
    let scene = Scene::of([slow(), slow(), slow()]).with_limit(1);

    let late = async {
        sleep(SECOND).await;
        scene.run(job()).await.unwrap()
    };
    let later = async {
        sleep(2 * SECOND).await;
        scene.get("/v1/accounts/A2").await
    };
    tokio::join!(scene.get("/v1/accounts/A1"), late, later);

    let asked: Vec<_> = scene.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, ["/v1/accounts/A1", "/v1/accounts/A2", "/v1/async-jobs/j1"]);
}

#[tokio::test(start_paused = true)]
async fn an_errand_is_repeated_as_an_apps_call_would_be() {
    let scene = Scene::of([refusal(30), Reply::cut(), Reply::ok()]);

    let reply = scene.run(job()).await.unwrap();

    assert_eq!(reply.status, StatusCode::OK);
    let asked = scene.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].at - asked[0].at >= 30 * SECOND, "what Zuora asked for is kept");
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_read_to_its_end_with_its_permit() {
    let long = "x".repeat(300 * 1024);
    let scene = Scene::of([Reply::new(200, &long).in_chunks()]);

    let reply = scene.run(job()).await.unwrap();

    assert_eq!(reply.body.len(), long.len());
    assert_eq!(scene.permits_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_beyond_all_measure_is_given_up() {
    let scene = Scene::of([Reply::new(200, "x".repeat(9 * 1024 * 1024)).in_chunks()]);

    let failed = scene.run(job()).await.unwrap_err();

    assert_eq!(failed.reason, "upstream-broke");
    scene.settle().await;
    assert_eq!(scene.permits_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_errand_that_gets_no_turn_says_so() {
    let scene = Scene::of([Reply::ok().after(100 * SECOND)]).with_limit(1);

    let (_, failed) = tokio::join!(scene.get("/v1/accounts/A1"), async {
        sleep(SECOND).await;
        scene.run(job()).await.unwrap_err()
    });

    assert_eq!(failed.reason, "queue-timeout");
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_the_gateways_own_has_a_key_where_zuora_takes_one() {
    let scene = Scene::of([Reply::cut(), Reply::ok()]);
    let target = PathAndQuery::from_static("/notifications/callout-histories/resend");

    let reply = scene.run(Errand::post(target, r#"["h1"]"#)).await.unwrap();

    assert_eq!(reply.status, StatusCode::OK);
    let asked = scene.asked();
    assert_eq!(asked[0].body, r#"["h1"]"#);
    assert_eq!(asked[0].field("content-type"), "application/json");
    assert_eq!(asked[0].field("idempotency-key").len(), 32);
    assert_eq!(asked[0].field("idempotency-key"), asked[1].field("idempotency-key"));
}
