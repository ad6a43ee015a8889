//! Credentials and track ids: whose reach whom.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use testkit::{APP, SECRET};

use super::attack::{Scene, get, post};
use super::upstream::SHARED_TOKEN;

/// A request with these fields as its only credentials.
fn with(fields: &str) -> String {
    format!("GET /v1/accounts HTTP/1.1\r\nHost: gw\r\n{fields}\r\n")
}

#[tokio::test]
async fn who_is_not_known_gets_no_further() {
    let scene = Scene::start().await;
    let short = &SECRET[..SECRET.len() - 1];
    let basic = |pair: &str| BASE64_STANDARD.encode(pair);
    let strangers = [
        ("nothing", String::new()),
        ("nothing in it", "Authorization: \r\n".into()),
        ("no scheme", format!("Authorization: {SECRET}\r\n")),
        ("another scheme", format!("Authorization: Token {SECRET}\r\n")),
        ("nobody", "Authorization: Bearer nobody\r\n".into()),
        ("a prefix", format!("Authorization: Bearer {short}\r\n")),
        ("a suffix", format!("Authorization: Bearer {}\r\n", &SECRET[1..])),
        ("one byte more", format!("Authorization: Bearer {SECRET}x\r\n")),
        ("another case", format!("Authorization: Bearer {}\r\n", SECRET.to_uppercase())),
        ("a list", format!("Authorization: Bearer {SECRET}, Bearer {SECRET}\r\n")),
        ("two words", format!("Authorization: Bearer {SECRET} {SECRET}\r\n")),
        (
            "two, good first",
            format!("Authorization: Bearer {SECRET}\r\nAuthorization: Bearer x\r\n"),
        ),
        (
            "two, good last",
            format!("Authorization: Bearer x\r\nAuthorization: Bearer {SECRET}\r\n"),
        ),
        (
            "two, both good",
            format!("Authorization: Bearer {SECRET}\r\nAuthorization: Bearer {SECRET}\r\n"),
        ),
        ("the shared token", format!("Authorization: Bearer {SHARED_TOKEN}\r\n")),
        ("basic, wrong", format!("Authorization: Basic {}\r\n", basic(&format!("{APP}:x")))),
        ("basic, empty", format!("Authorization: Basic {}\r\n", basic(&format!("{APP}:")))),
        ("basic, no colon", format!("Authorization: Basic {}\r\n", basic(APP))),
        ("basic, not base64", "Authorization: Basic %%%\r\n".into()),
        (
            "basic, another app",
            format!("Authorization: Basic {}\r\n", basic(&format!("other:{SECRET}"))),
        ),
        ("in a cookie", format!("Cookie: ZSession={SECRET}\r\n")),
        ("of the proxy", format!("Proxy-Authorization: Bearer {SECRET}\r\n")),
        ("with an underscore", format!("X_Authorization: Bearer {SECRET}\r\n")),
    ];
    for (name, fields) in strangers {
        let bytes = with(&fields);
        scene.upstream.forget();
        let answer = scene.exchange(name, &bytes).await.answer;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        assert!(answer.field("www-authenticate").is_some(), "{name}: {answer:?}");
        assert_eq!(answer.field("zuora-gateway-error"), Some("unauthenticated"), "{name}");
        assert_eq!(scene.upstream.received().len(), 0, "{name}");
        assert_eq!(scene.queued_and_in_use(), (0, 0), "{name}");
    }
    let query = format!("/v1/accounts?access_token={SECRET}&apiAccessKeyId={APP}");
    let asked = get(&query, "").replace(&format!("Authorization: Bearer {SECRET}\r\n"), "");
    scene.turns_away("in the query", asked, &[401]).await;
}

#[tokio::test]
async fn what_an_app_proves_itself_with_never_reaches_zuora() {
    let scene = Scene::start().await;
    let basic = BASE64_STANDARD.encode(format!("{APP}:{SECRET}"));
    let bearer = format!("Authorization: Bearer {SECRET}\r\n");
    let known = [
        ("bearer", bearer.clone()),
        ("bearer, another case", format!("authorization: bEARER {SECRET}\r\n")),
        ("basic", format!("Authorization: Basic {basic}\r\n")),
        (
            "keys beside it",
            format!("{bearer}apiAccessKeyId: {APP}\r\nAPISecretAccessKey: {SECRET}\r\n"),
        ),
        ("cookies beside it", format!("{bearer}Cookie: a={SECRET}\r\nCookie: b=2\r\n")),
        ("a proxy's beside it", format!("{bearer}Proxy-Authorization: Basic {basic}\r\n")),
    ];
    for (name, fields) in known {
        let (answer, received) = scene.ask(name, with(&fields)).await;

        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(received.fields("authorization"), [format!("Bearer {SHARED_TOKEN}")], "{name}");
        let text = received.text();
        for secret in [SECRET, APP, &basic] {
            assert!(!text.contains(secret), "{name}: {text}");
        }
        assert!(received.fields("cookie").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_track_id_is_one_that_zuora_takes_or_is_refused() {
    let scene = Scene::start().await;
    let long = "x".repeat(65);
    let bad = ["a:b;c\"d'e", "a:b", "a;b", "a\"b", "a'b", &long, "caf\u{e9}", "a\tb", ""];
    for id in bad {
        let asked = get("/v1/a", &format!("Zuora-Track-Id: {id}\r\n"));
        scene.turns_away(&format!("{id:?}"), asked, &[400]).await;
    }
    let twice = get("/v1/a", "Zuora-Track-Id: a\r\nZuora-Track-Id: a\r\n");
    scene.turns_away("twice", twice, &[400]).await;
    let split = get("/v1/a", "Zuora-Track-Id: a\rX-Smuggled: 1\r\n");
    scene.refuses("a bare CR", split, &[400]).await;

    let longest = "x".repeat(64);
    for id in ["order-17", "%0d%0a", "a b", "a,b", "{a}/b?c#d", &longest] {
        let (answer, received) =
            scene.ask(id, get("/v1/a", &format!("Zuora-Track-Id: {id}\r\n"))).await;
        assert_eq!(received.fields("zuora-track-id"), [id]);
        assert_eq!(answer.field("zuora-track-id"), Some(id));
    }
    let (answer, received) = scene.ask("minted", get("/v1/a", "")).await;
    assert_eq!(received.fields("zuora-track-id"), [answer.field("zuora-track-id").unwrap()]);
}

#[tokio::test]
async fn an_app_gets_a_token_of_ours_and_zuora_hears_nothing_of_it() {
    let scene = Scene::start().await;
    let form = format!("grant_type=client_credentials&client_id={APP}&client_secret={SECRET}");
    let ask = |form: &str| {
        let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
        format!(
            "POST /oauth/token HTTP/1.1\r\nHost: gw\r\n{fields}Content-Length: {}\r\n\r\n{form}",
            form.len()
        )
    };
    scene.upstream.forget();

    let granted = scene.exchange("a token", ask(&form)).await.answer;

    assert_eq!(granted.status, 200, "{granted:?}");
    assert_eq!(granted.field("cache-control"), Some("no-store"));
    let json: serde_json::Value = serde_json::from_slice(&granted.body).unwrap();
    let token = json["access_token"].as_str().unwrap();
    assert!(scene.upstream.received().is_empty());
    let used = with(&format!("Authorization: Bearer {token}\r\n"));
    let (answer, received) = scene.ask("with it", used).await;
    assert_eq!(answer.status, 200);
    assert_eq!(received.fields("authorization"), [format!("Bearer {SHARED_TOKEN}")]);

    // A changed token is nobody's, whichever byte was changed.
    for at in [0, token.len() / 3, token.len() / 2, token.len() - 1] {
        let mut forged = token.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        let asked = with(&format!("Authorization: Bearer {forged}\r\n"));
        scene.turns_away(&format!("forged at {at}"), asked, &[401]).await;
    }
    for wrong in
        [form.replace(SECRET, "wrong"), form.replace(APP, "wrong"), "x".into(), "x".repeat(20_000)]
    {
        scene.upstream.forget();
        let refused = scene.exchange("wrong", ask(&wrong)).await.answer;
        assert!(matches!(refused.status, 400 | 401 | 413), "{refused:?}");
        assert!(scene.upstream.received().is_empty());
    }
}

#[tokio::test]
async fn a_body_is_nobodys_business() {
    let scene = Scene::start().await;
    let body = format!(r#"{{"secret":"{SECRET}","n":0E-9,"d":1,"d":2,"s":"\ud800"}}"#);
    let asked = post(&format!("Content-Length: {}\r\n", body.len()), &body);

    let (_, received) = scene.ask("a body", asked).await;

    assert_eq!(received.body(), body.as_bytes());
}
