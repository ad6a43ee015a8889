//! What is kept has an end: how many, how long, and who may take a place.

use std::time::Duration;

use testkit::Yaml;
use tokio::time::sleep;

use super::outcomes::records;
use super::stage::{
    BODY, Stage, accepts, asking, json_of, key, look, metric, on_the_wire, succeeded, write, yaml,
};
use crate::wire::upstream::Play;

const LIST: &str = "/_gateway/async-requests?limit=100";

async fn stage(keys: &str, rewrite: &str) -> Stage {
    let top = vec![format!("async_requests: {{{keys}}}")];
    Stage::with(&Yaml { top, tenant: vec![key(rewrite, "")], ..yaml("", "") }).await
}

#[tokio::test]
async fn more_than_may_be_pending_are_refused_before_they_are_sent() {
    let stage = stage("max_pending: 3", "").await;
    for at in 0..3 {
        stage.accepted(&format!("t-{at}"), &format!("r-{at}")).await;
    }

    let (told, received) = stage.ask("full", accepts("{\"id\":\"x\"}"), asking("t-3")).await;
    assert_eq!(told.status, 503, "{told:?}");
    assert_eq!(told.field("zuora-gateway-error"), Some("async-unavailable"));
    assert_eq!(told.field("zuora-gateway-executed"), Some("no"));
    assert_eq!(json_of(&told)["reasons"][0]["code"], 50_000_061);
    assert!(told.field("location").is_none(), "{told:?}");
    assert_eq!(received.len(), 0, "{received:?}");
    assert_eq!(stage.look("/_gateway/async-requests/t-3").await.status, 404);
    // Other calls go on, the same write among them.
    let plain = write("POST", "/v1/accounts", "", BODY);
    let (told, _) = stage.ask("plain", Play::send(on_the_wire("200 OK", "{}")), plain).await;
    assert_eq!(told.status, 200, "{told:?}");

    // One that ends makes room for one.
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    stage.accepted("t-4", "r-4").await;
    let (told, received) = stage.ask("full", accepts("{\"id\":\"x\"}"), asking("t-5")).await;
    assert_eq!((told.status, received.len()), (503, 0), "{told:?}");
    // So does one that Zuora refuses.
    assert_eq!(stage.deliver("n-2", &succeeded("r-2", "t-2", "x")).await.status, 200);
    let refusal = Play::send(on_the_wire("400 Bad Request", "{\"success\":false}"));
    assert_eq!(stage.ask("refused", refusal, asking("t-6")).await.0.status, 400);
    stage.accepted("t-7", "r-7").await;
}

#[tokio::test]
async fn of_those_that_ended_the_oldest_go_first_and_none_that_is_pending() {
    let stage = stage("max_records: 10, max_pending: 5", "").await;
    let pending = stage.accepted("pending", "r-p").await;
    for at in 0..40 {
        let (track, id) = (format!("t-{at:02}"), format!("r-{at}"));
        stage.accepted(&track, &id).await;
        assert_eq!(
            stage.deliver(&format!("n-{at}"), &succeeded(&id, &track, "x")).await.status,
            200
        );
    }
    let kept = super::stage::until(
        "few are kept",
        Duration::from_secs(10),
        async || stage.look(LIST).await,
        |it| records(it).len() <= 10,
    )
    .await;
    let kept: Vec<_> =
        records(&kept).iter().map(|it| it["trackId"].as_str().unwrap().to_owned()).collect();
    assert!(kept.len() >= 5, "{kept:?}");
    assert_eq!(kept[0], "t-39", "{kept:?}");
    assert!(kept.is_sorted_by(|a, b| a > b || b == "pending"), "{kept:?}");
    assert_eq!(stage.look(&pending).await.status, 202);
    assert_eq!(stage.look("/_gateway/async-requests/t-00").await.status, 404);
    assert_eq!(stage.deliver("n-p", &succeeded("r-p", "pending", "x")).await.status, 200);
    assert_eq!(stage.look(&pending).await.status, 200);
}

#[tokio::test]
async fn what_ended_is_kept_so_long_and_what_is_pending_longer() {
    let stage = stage("keep: 2s", "").await;
    let pending = stage.accepted("pending", "r-p").await;
    let place = stage.accepted("t-1", "r-1").await;
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    sleep(Duration::from_millis(1000)).await;
    assert_eq!(stage.look(&place).await.status, 200);
    // The registry is tidied up once a minute.
    super::stage::until(
        "gone",
        Duration::from_secs(80),
        async || look(stage.address(), &place, testkit::SECRET).await,
        |it| it.status == 404,
    )
    .await;
    assert_eq!(stage.look(&pending).await.status, 202);
    // A callout that comes again now is one of nobody, and is not sent again for that.
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    let metrics = crate::caller::look(stage.scene.house.gateway.admin_address(), "/metrics").await;
    assert_eq!(metric(&metrics.text(), "async_requests_pending", &[]), 1.0);
    // And its track id is free.
    stage.accepted("t-1", "r-2").await;
}

/// Where nobody asked for it, a full registry is no reason to refuse a write.
#[tokio::test]
async fn what_would_only_spill_over_goes_the_usual_way() {
    let spill = "{operations: [\"POST /v1/accounts\"], when_waiting: 1ms}";
    let yaml = Yaml {
        top: vec!["async_requests: {max_pending: 1}".to_owned()],
        tenant: vec![
            key(spill, ""),
            "concurrency: {limits: {\"High-volume transactions\": 1, Default: 1}, headroom: 0}"
                .to_owned(),
        ],
        ..yaml("", "")
    };
    let stage = Stage::with(&yaml).await;
    stage.accepted("t-1", "r-1").await;
    stage.scene.upstream.forget();
    let usual = on_the_wire("200 OK", "{\"success\":true}");
    for _ in 0..4 {
        stage.scene.upstream.play(Play::default().pause(Duration::from_millis(100)).then(&usual));
    }
    let address = stage.address();
    let four = (0..4)
        .map(|_| tokio::spawn(testkit::Raw::ask(address, write("POST", "/v1/accounts", "", BODY))));
    for one in four.collect::<Vec<_>>() {
        let told = one.await.unwrap();
        assert_eq!((told.status, told.field("location")), (200, None), "{told:?}");
    }
    assert_eq!(stage.scene.upstream.lines(), ["POST /v1/accounts HTTP/1.1"; 4]);
}
