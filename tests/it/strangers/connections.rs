//! `POST /v1/connections`, and the session that it gives.

use emulator::{Options, Tenant};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{APP, Answer, Raw, SECRET, Yaml};

use crate::running::Running;
use crate::wire::attack::Scene;
use crate::wire::upstream::SHARED_TOKEN;

/// A request with these fields, and no body.
fn bare(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n{fields}\r\n")
}

fn keys(secret: &str) -> String {
    format!("apiAccessKeyId: {APP}\r\napiSecretAccessKey: {secret}\r\n")
}

fn set_cookie(answer: &Answer) -> &str {
    answer.field("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer:?}"))
}

#[tokio::test]
async fn a_session_is_given_here_and_taken_for_the_app() {
    let scene = Scene::start().await;

    let given = scene.exchange("connect", bare("POST /v1/connections", &keys(SECRET))).await.answer;

    assert_eq!((given.status, &*given.text()), (200, r#"{"success":true}"#));
    assert_eq!(given.field("content-type"), Some("application/json"));
    assert_eq!(given.field("cache-control"), Some("no-store"));
    let line = set_cookie(&given).to_owned();
    let session =
        line.strip_prefix("ZSession=").and_then(|it| it.strip_suffix("; Path=/; HttpOnly"));
    let session = session.unwrap_or_else(|| panic!("{line}"));
    assert_eq!(scene.upstream.received().len(), 0, "Zuora hears nothing of it");

    let ways = [
        format!("Cookie: ZSession={session}\r\n"),
        format!("Cookie: {line}\r\n"),
        format!("cookie: a=b; ZSession=\"{session}\";\r\n"),
        format!("Cookie: a=b\r\nCookie: ZSession={session}\r\n"),
        format!("Authorization: ZSession {session}\r\n"),
        format!("Authorization: Bearer {session}\r\n"),
        format!("{}Cookie: ZSession={session}\r\n", keys(SECRET)),
        keys(SECRET),
    ];
    for fields in ways {
        let (answer, received) = scene.ask(&fields, bare("GET /v1/accounts/A1", &fields)).await;

        assert_eq!(answer.status, 200, "{fields}");
        assert_eq!(
            received.fields("authorization"),
            [format!("Bearer {SHARED_TOKEN}")],
            "{fields}"
        );
        let text = received.text();
        for secret in [session, SECRET, APP] {
            assert!(!text.contains(secret), "{fields} -> {text}");
        }
        assert!(received.fields("cookie").is_empty(), "{fields}");
    }
}

#[tokio::test]
async fn no_spelling_of_the_path_takes_the_secret_to_zuora() {
    let scene = Scene::start().await;
    let spellings = [
        "/v1/connections",
        "/rest/v1/connections",
        "/v1/connections/",
        "/v1//connections",
        "//rest/v1/connections",
        "/v1/connections?page=1",
        "http://gw/v1/connections",
    ];
    for spelling in spellings {
        scene.upstream.forget();
        let asked = bare(&format!("POST {spelling}"), &keys(SECRET));
        let answer = scene.exchange(spelling, asked).await.answer;

        assert_eq!(answer.status, 200, "{spelling}: {answer:?}");
        assert!(set_cookie(&answer).starts_with("ZSession=zgw_"), "{spelling}");
        assert_eq!(scene.upstream.received().len(), 0, "{spelling}");
    }
}

#[tokio::test]
async fn who_is_nobody_gets_no_session_and_learns_no_more_than_elsewhere() {
    let scene = Scene::start().await;
    let cases = [
        keys("wrong"),
        keys(""),
        format!("apiAccessKeyId: {APP}\r\n"),
        String::new(),
        format!("{}{}", keys(SECRET), keys(SECRET)),
        format!("{}Authorization: Basic bm9ib2R5Ong=\r\n", keys(SECRET)),
        "Authorization: Bearer wrong\r\n".to_owned(),
    ];
    for fields in cases {
        scene.upstream.forget();
        let asked = bare("POST /v1/connections", &fields);
        let answer = scene.exchange(&fields, asked).await.answer;

        assert_eq!(answer.status, 401, "{fields}: {answer:?}");
        assert_eq!(answer.field("zuora-gateway-error"), Some("unauthenticated"), "{fields}");
        assert_eq!(answer.field("set-cookie"), None, "{fields}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (&body["success"], &body["reasons"][0]["code"]),
            (&false.into(), &90_000_011.into())
        );
        assert_eq!(scene.upstream.received().len(), 0, "{fields}");
    }
}

#[tokio::test]
async fn a_stale_session_does_not_stand_in_the_way_of_a_new_one() {
    let scene = Scene::start().await;
    let stale = "Cookie: ZSession=of-zuora-itself\r\nAuthorization: Bearer zgw_old\r\n";

    let refused = scene.exchange("stale", bare("GET /v1/accounts/A1", stale)).await.answer;
    let cookie = "Cookie: ZSession=of-zuora-itself\r\n";
    let fields = format!("{}{cookie}", keys(SECRET));
    let given = scene.exchange("anew", bare("POST /v1/connections", &fields)).await.answer;

    assert_eq!(refused.status, 401);
    assert_eq!(given.status, 200);
    assert!(set_cookie(&given).starts_with("ZSession=zgw_"));
}

#[tokio::test]
async fn a_session_survives_a_restart_until_the_secret_it_was_got_for_is_gone() {
    const NEXT: &str = "the-next-secret-of-the-app";
    let (tenant, directory) =
        (Tenant::start(Options::default()).await.unwrap(), TempDir::new().unwrap());
    let text = Yaml::default().text(&tenant.base_url(), &directory.path().join("state"));
    let running = Running::start(&text, &directory).await;
    let given = Raw::ask(running.address, bare("POST /v1/connections", &keys(SECRET))).await;
    let cookie = format!("Cookie: {}\r\n", set_cookie(&given));
    running.stop().await;
    let now = |secrets: String| text.replace(&format!("secret: {SECRET}\n"), &secrets);
    let both = now(format!("secret: {NEXT}\n    previous_secret: {SECRET}\n"));
    let next = now(format!("secret: {NEXT}\n"));
    assert!(both != text && next != text);

    let get = |fields: &str| bare("GET /v1/accounts/A00000001", fields);
    let running = Running::start(&both, &directory).await;
    for fields in [&cookie, &keys(SECRET), &keys(NEXT)] {
        assert_eq!(Raw::ask(running.address, get(fields)).await.status, 200, "{fields}");
    }
    running.stop().await;

    let running = Running::start(&next, &directory).await;
    for fields in [&cookie, &keys(SECRET)] {
        assert_eq!(Raw::ask(running.address, get(fields)).await.status, 401, "{fields}");
    }
    assert_eq!(Raw::ask(running.address, get(&keys(NEXT))).await.status, 200);
}
