//! Wrong credentials are counted, told to the log and slowed down, and nobody else notices.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use emulator::{Options, Tenant};
use futures_util::future::join_all;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{APP, House, Raw, SECRET, Yaml};
use tokio::time::Instant;

use crate::caller::{ask, get, look, token_request};
use crate::running::Running;

fn with(field: &str) -> String {
    format!("GET /v1/accounts/A00000001 HTTP/1.1\r\nHost: gw\r\n{field}\r\n")
}

/// Asks with this field, and tells the status and how long it took.
async fn timed(house: &House, field: &str) -> (u16, Duration) {
    let began = Instant::now();
    let answer = Raw::ask(house.address(), with(field)).await;
    (answer.status, began.elapsed())
}

#[tokio::test]
async fn who_guesses_waits_longer_and_longer_and_who_knows_does_not() {
    let house = House::plain(Duration::ZERO).await;
    let began = Instant::now();

    let guesses =
        join_all((0..20).map(|_| timed(&house, "Authorization: Bearer a-guess\r\n"))).await;

    assert!(guesses.iter().all(|(status, _)| *status == 401));
    // Ten at once, and the tenth of those beyond after two seconds.
    assert!(began.elapsed() >= Duration::from_millis(1900), "{guesses:?}");
    let at_once = guesses.iter().filter(|(_, took)| *took < Duration::from_millis(150)).count();
    assert!(at_once <= 10, "{guesses:?}");

    let (next, (right, nothing)) =
        tokio::join!(timed(&house, "Authorization: Bearer another-guess\r\n"), async {
            let right = ask(house.address(), get()).await;
            (right, timed(&house, "").await)
        },);
    assert!(next.1 > right.took, "{next:?} {right:?}");
    assert_eq!(right.status, 200);
    assert_eq!(nothing.0, 401);
    assert!(right.took < Duration::from_millis(150), "a right one waits for no guess: {right:?}");
    assert!(nothing.1 < Duration::from_millis(150), "and none is no guess: {nothing:?}");
}

#[tokio::test]
async fn guesses_at_every_door_count_together() {
    let house = House::plain(Duration::ZERO).await;
    for _ in 0..10 {
        assert_eq!(timed(&house, "Cookie: ZSession=a-guess\r\n").await.0, 401);
    }

    let began = Instant::now();
    let form = ask(house.address(), token_request(APP, "a-guess"));
    let basic = timed(&house, "Authorization: Basic YTpi\r\n");
    let keys = timed(&house, "apiAccessKeyId: a\r\n");
    let connect = Raw::ask(
        house.address(),
        "POST /v1/connections HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\napiAccessKeyId: a\r\n\r\n",
    );
    let (form, basic, keys, connect) = tokio::join!(form, basic, keys, connect);

    assert_eq!((form.status.as_u16(), basic.0, keys.0, connect.status), (401, 401, 401, 401));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_log_and_the_metrics_say_whose_credential_was_wrong_and_never_which() {
    let (tenant, directory) =
        (Tenant::start(Options::default()).await.unwrap(), TempDir::new().unwrap());
    let yaml = Yaml { top: vec!["log: {level: debug}".to_owned()], ..Yaml::default() };
    let running = Running::before(&tenant, &yaml, &directory).await;
    let address = running.address;
    // As a token of the gateway is written, for `app`, and signed by nobody.
    let unsigned = [&[1][..], &[0; 24], b"app", &[0; 32]].concat();
    let forged = format!("zgw_{}", BASE64_URL_SAFE_NO_PAD.encode(unsigned));
    let attempts = [
        (
            format!("apiAccessKeyId: {APP}\r\napiSecretAccessKey: guess-one\r\n"),
            "unknown",
            Some("app"),
        ),
        ("Authorization: Basic YXBwOmd1ZXNzLXR3bw==\r\n".to_owned(), "unknown", Some("app")),
        (format!("Cookie: ZSession={forged}\r\n"), "unknown", Some("app")),
        ("Authorization: Bearer guess-three\r\n".to_owned(), "unknown", None),
        ("Authorization: guess-four\r\n".to_owned(), "malformed", None),
        ("apiAccessKeyId: guess-five\r\n".to_owned(), "unknown", None),
        (
            format!("Authorization: Bearer {SECRET}\r\nCookie: ZSession=guess-six\r\n"),
            "unknown",
            None,
        ),
        (String::new(), "missing", None),
    ];
    for (fields, _, _) in &attempts {
        assert_eq!(Raw::ask(address, with(fields)).await.status, 401, "{fields}");
    }
    assert_eq!(ask(address, token_request(APP, "guess-seven")).await.status, 401);

    let metrics = look(running.admin, "/metrics").await.text();
    let ended = running.stop().await;

    let counted = [
        (r#"app="app",reason="unknown""#, 4),
        (r#"app="unknown",reason="unknown""#, 3),
        (r#"app="unknown",reason="malformed""#, 1),
        (r#"app="unknown",reason="missing""#, 1),
    ];
    for (labels, number) in counted {
        let sample = format!("zuora_gateway_rejected_credentials_total{{{labels}}} {number}\n");
        assert!(metrics.contains(&sample), "no `{sample}` in\n{metrics}");
    }
    let lines = ended.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let calls: Vec<_> = lines.filter(|line| line["target"] == "access").collect();
    let told = calls.iter().map(|call| (&call["status"], &call["cause"], &call["claimed_app"]));
    let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
    let expected = attempts.iter().map(|(_, reason, claimed)| (*reason, *claimed));
    let expected = expected.chain([("unknown", Some("app"))]);
    let expected: Vec<_> =
        expected.map(|(cause, claimed)| (401.into(), Value::from(cause), text(claimed))).collect();
    let expected: Vec<_> = expected.iter().map(|(a, b, c)| (a, b, c)).collect();
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(calls.iter().all(|call| call["app"] == ""), "nobody is known: {calls:?}");
    let all = ended.lines.join("\n") + &ended.errors + &metrics;
    for secret in ["guess-", "YXBwOmd1ZXNzLXR3bw", &forged, SECRET] {
        assert!(!all.contains(secret), "`{secret}` in {all}");
    }
}
