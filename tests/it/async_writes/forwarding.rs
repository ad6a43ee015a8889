//! Outcomes that are brought to the app's own address, signed, until it has them.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Raw, Yaml};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::stage::{
    BODY, OTHER_SECRET, Stage, accepts, asking, deliver, failed, metric, on_the_wire, succeeded,
    write_of, yaml,
};
use crate::running::Running;
use crate::wire::upstream::{Message, Play, RawUpstream};

const SIGNED_WITH: &str = "the-secret-that-outcomes-are-signed-with";

/// Checks a delivery in another language, as an app would: the signature, over the bytes as they came.
const CHECK: &str = "
import hashlib, hmac, sys
secret, timestamp, signature = sys.argv[1:]
body = sys.stdin.buffer.read()
expected = hmac.new(secret.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()
sys.exit(0 if hmac.compare_digest('v1=' + expected, signature) else 1)
";

fn with_receivers(url: &str, theirs: &str) -> Yaml {
    let outcomes = |url: &str| format!("outcomes: {{url: \"{url}\", secret: {SIGNED_WITH}}}");
    let mut yaml = yaml("", "");
    yaml.app.push(outcomes(url));
    yaml.apps[0].1.push_str(&format!(", {}", outcomes(theirs)));
    yaml
}

/// Whether another reading of the documents comes to the same signature.
async fn is_signed(delivery: &Message, secret: &str) -> bool {
    let [timestamp] = &delivery.fields("zuora-gateway-timestamp")[..] else { return false };
    let [signature] = &delivery.fields("zuora-gateway-signature")[..] else { return false };
    let mut python = Command::new(testkit::component("python3"))
        .args(["-c", CHECK, secret, timestamp, signature])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(delivery.body()).await.unwrap();
    drop(stdin);
    python.wait().await.unwrap().success()
}

/// Waits until so many deliveries have come.
async fn deliveries(receiver: &RawUpstream, count: usize) -> Vec<Message> {
    let end = Instant::now() + Duration::from_secs(40);
    while receiver.requests().len() < count {
        assert!(Instant::now() < end, "{count}: {:?}", receiver.lines());
        sleep(Duration::from_millis(10)).await;
    }
    receiver.requests()
}

fn data(delivery: &Message) -> Value {
    serde_json::from_slice(delivery.body()).unwrap()
}

#[tokio::test]
async fn an_outcome_is_brought_signed_and_once() {
    let receiver = RawUpstream::start().await;
    let url = format!("{}/outcomes?of=zuora", receiver.url());
    let stage = Stage::with(&with_receivers(&url, "http://127.0.0.1:9/")).await;
    stage.accepted("t-1", "r-1").await;
    stage.accepted("t-2", "r-2").await;

    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "id-1")).await.status, 200);
    let first = deliveries(&receiver, 1).await.remove(0);
    assert_eq!(stage.deliver("n-2", &failed("r-2", "t-2", "Caf\u{e9} \"why\"")).await.status, 200);
    let second = deliveries(&receiver, 2).await.remove(1);

    assert_eq!(first.line(), "POST /outcomes?of=zuora HTTP/1.1");
    assert!(first.fields("content-type")[0].starts_with("application/json"), "{}", first.text());
    let told = data(&first);
    let expected = [("trackId", "t-1"), ("requestId", "r-1"), ("state", "succeeded")];
    for (name, value) in expected {
        assert_eq!(told[name], value, "{told:#}");
    }
    assert_eq!(told["data"], json!({"id": "id-1"}), "{told:#}");
    assert!(told["submittedOn"].is_string() && told["endedOn"].is_string(), "{told:#}");
    assert!(told["operation"].is_string(), "{told:#}");
    let told = data(&second);
    assert_eq!((&told["trackId"], &told["state"]), (&json!("t-2"), &json!("failed")));
    assert_eq!(told["reasons"][0]["message"], "Caf\u{e9} \"why\"");
    assert_eq!(told["processId"], "3F7EA3FD706C7E7C");
    for delivery in [&first, &second] {
        assert!(is_signed(delivery, SIGNED_WITH).await, "{}", delivery.text());
        assert!(!is_signed(delivery, "another-secret-that-is-as-long-as-it").await);
        assert_eq!(delivery.fields("zuora-gateway-delivery").len(), 1);
        // It brings no credential of anybody.
        for field in ["authorization", "cookie", "apiaccesskeyid", "zuora-track-id"] {
            let values = delivery.fields(field);
            assert!(values.is_empty() || field == "zuora-track-id", "{field}: {values:?}");
        }
        assert!(!delivery.text().contains(SIGNED_WITH));
    }
    assert_ne!(first.fields("zuora-gateway-delivery"), second.fields("zuora-gateway-delivery"));
    // Neither a duplicate nor a second look brings it again.
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "id-1")).await.status, 200);
    assert_eq!(stage.deliver("n-3", &failed("r-1", "t-1", "later")).await.status, 200);
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(receiver.requests().len(), 2, "{:?}", receiver.lines());
}

#[tokio::test]
async fn it_comes_again_until_it_is_taken_and_is_the_same_delivery() {
    let receiver = RawUpstream::start().await;
    let stage =
        Stage::with(&with_receivers(&format!("{}/o", receiver.url()), "http://127.0.0.1:9/")).await;
    let elsewhere = RawUpstream::start().await;
    let moved = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/x\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url()
    );
    // Not taken: an error, another place, no answer at all, an answer without an end.
    receiver.play(Play::send(on_the_wire("500 Internal Server Error", "")));
    receiver.play(Play::send(moved));
    receiver.play(Play::close());
    stage.accepted("t-1", "r-1").await;
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    let began = Instant::now();

    let came = deliveries(&receiver, 4).await;

    // A second, two, four, each with some jitter.
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    let ids: Vec<_> = came.iter().map(|it| it.fields("zuora-gateway-delivery")).collect();
    assert!(ids.iter().all(|it| *it == ids[0]), "{ids:?}");
    for delivery in &came {
        assert!(is_signed(delivery, SIGNED_WITH).await, "{}", delivery.text());
        assert_eq!(data(delivery), data(&came[0]));
    }
    assert!(elsewhere.requests().is_empty(), "an address that is not the app's own");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn one_apps_dead_address_holds_up_no_other() {
    let receiver = RawUpstream::start().await;
    let silent = RawUpstream::start().await;
    for _ in 0..100 {
        silent.play(Play::default().pause(Duration::from_secs(60)));
    }
    let stage = Stage::with(&with_receivers(&receiver.url(), &silent.url())).await;
    for at in 0..40 {
        stage.scene.upstream.play(accepts(&json!({"requestId": format!("o-{at}")}).to_string()));
        let fields = format!("Prefer: respond-async\r\nZuora-Track-Id: o-{at}\r\n");
        let told = Raw::ask(
            stage.address(),
            write_of(OTHER_SECRET, "POST", "/v1/accounts", &fields, BODY),
        )
        .await;
        assert_eq!(told.status, 202, "{told:?}");
        let body = succeeded(&format!("o-{at}"), &format!("o-{at}"), "x");
        assert_eq!(stage.deliver(&format!("m-{at}"), &body).await.status, 200);
    }
    for at in 0..10 {
        stage.accepted(&format!("t-{at}"), &format!("r-{at}")).await;
        let body = succeeded(&format!("r-{at}"), &format!("t-{at}"), "x");
        assert_eq!(stage.deliver(&format!("n-{at}"), &body).await.status, 200);
    }
    let began = Instant::now();
    let came = deliveries(&receiver, 10).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let mut known: Vec<_> =
        came.iter().map(|it| data(it)["trackId"].as_str().unwrap().to_owned()).collect();
    known.sort();
    assert_eq!(known, (0..10).map(|at| format!("t-{at}")).collect::<Vec<_>>());
    assert!(silent.requests().len() <= 40, "{}", silent.requests().len());
}

#[tokio::test]
async fn what_was_not_brought_is_brought_in_the_next_life() {
    let (upstream, directory) = (RawUpstream::start().await, TempDir::new().unwrap());
    let receiver = RawUpstream::start().await;
    let url = format!("{}/o", receiver.url());
    let text = with_receivers(&url, "http://127.0.0.1:9/")
        .text(&upstream.url(), &directory.path().join("state"));
    let first = Running::start(&text, &directory).await;
    for at in 0..3 {
        upstream.play(accepts(&json!({"requestId": format!("r-{at}")}).to_string()));
        assert_eq!(Raw::ask(first.address, asking(&format!("t-{at}"))).await.status, 202);
    }
    for _ in 0..3 {
        receiver.play(Play::default().pause(Duration::from_secs(60)));
    }
    for at in 0..3 {
        let body = succeeded(&format!("r-{at}"), &format!("t-{at}"), "x");
        assert_eq!(deliver(first.address, &format!("n-{at}"), &body).await.status, 200);
    }
    deliveries(&receiver, 1).await;
    let before = receiver.requests();
    first.signal("KILL").await;
    let ended = first.ended().await;
    assert!(!ended.lines.join("\n").contains(SIGNED_WITH));
    receiver.forget();

    let second = Running::start(&text, &directory).await;
    let came = deliveries(&receiver, 3).await;
    let mut known: Vec<_> =
        came.iter().map(|it| data(it)["trackId"].as_str().unwrap().to_owned()).collect();
    known.sort();
    assert_eq!(known, ["t-0", "t-1", "t-2"]);
    // What may have been taken before is known by its id.
    let id_of = |all: &[Message], track_id: &Value| {
        let one = all.iter().find(|it| data(it)["trackId"] == *track_id);
        one.map(|it| it.fields("zuora-gateway-delivery"))
    };
    for delivery in &before {
        let track_id = &data(delivery)["trackId"];
        assert_eq!(id_of(&came, track_id), id_of(&before, track_id), "{track_id}");
    }
    let metrics = crate::caller::look(second.admin, "/metrics").await.text();
    assert!(metric(&metrics, "outcome_deliveries_total", &[("app", "app")]) >= 3.0, "{metrics}");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.requests().len(), 3);
    second.stop().await;
}
