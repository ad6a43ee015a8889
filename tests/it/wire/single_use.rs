//! Browsers that call with Zuora's single-use signature: what they send and get is nobody else's to touch.

use testkit::Yaml;

use super::attack::{Scene, get};
use super::upstream::Play;

const SIGNED: &str = "Signature: c2ln\r\nToken: b25jZQ==\r\nOrigin: https://shop.example.com\r\n";

/// An entity of the tenant, so that there is something that could be added.
const ENTITY: &str = "2c92c0f8-3720-4b6c-9d57-0a1b2c3d4e5f";

/// A gateway at which signed calls are the app's, which may post payment methods.
async fn scene() -> Scene {
    Scene::with(&Yaml {
        tenant: vec![format!("entities: [{ENTITY}]")],
        app: vec![
            r#"allow: ["POST /v1/payment-methods/**", "GET /v1/next"]"#.into(),
            "deny: [\"* /v1/payment-methods/secret\"]".into(),
        ],
        top: vec!["single_use: app".into()],
        ..Yaml::default()
    })
    .await
}

/// A request without a credential of an app.
fn bare(method: &str, target: &str, fields: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gw\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn signed(target: &str, fields: &str) -> String {
    bare("POST", target, &format!("{SIGNED}{fields}"), r#"{"cardNumber":"4111"}"#)
}

#[tokio::test]
async fn a_signed_call_passes_with_its_own_credential_and_no_other() {
    let scene = scene().await;
    let target = "/v1/payment-methods/credit-cards?a=b";
    let links = format!(r#"{{"nextPage":"{}/v1/x"}}"#, scene.upstream.url());
    let cors = "Access-Control-Allow-Origin: https://shop.example.com\r\n";
    let location = format!("{}/v1/payment-methods/1", scene.upstream.url());
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{cors}Set-Cookie: ZSession=x\r\nLocation: {location}\r\nContent-Length: {}\r\n\r\n{links}",
        links.len()
    );
    scene.upstream.forget();
    scene.upstream.play(Play::send(answer));

    let answer = scene.exchange("signed", signed(target, "Cookie: _ga=1\r\n")).await.answer;
    let received = scene.upstream.requests().remove(0);

    assert_eq!(received.line(), format!("POST {target} HTTP/1.1"));
    assert_eq!(received.fields("signature"), ["c2ln"]);
    assert_eq!(received.fields("token"), ["b25jZQ=="]);
    assert_eq!(received.fields("origin"), ["https://shop.example.com"]);
    for added in
        ["authorization", "cookie", "idempotency-key", "zuora-entity-ids", "apiaccesskeyid"]
    {
        assert!(received.fields(added).is_empty(), "{added}: {}", received.text());
    }
    assert_eq!(received.body(), br#"{"cardNumber":"4111"}"#);
    assert_eq!(answer.text(), links, "not a byte of it is another");
    assert_eq!(answer.field("location"), Some(&*location));
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://shop.example.com"));
    assert_eq!(answer.field("set-cookie"), None);
}

#[tokio::test]
async fn what_zuora_takes_once_is_sent_once() {
    let scene = scene().await;
    let json = |status: &str, fields: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let used = r#"{"success":false,"reasons":[{"code":90000011,"message":"used"}]}"#;
    let locked = r#"{"success":false,"reasons":[{"code":50000050,"message":"lock"}]}"#;
    let many = r#"{"success":false,"reasons":[{"code":50000070,"message":"limit"}]}"#;
    for (status, fields, body) in [
        ("401 Unauthorized", "", used),
        ("200 OK", "", used),
        ("200 OK", "", locked),
        ("429 Too Many Requests", "Retry-After: 1\r\n", many),
        ("503 Service Unavailable", "", "{}"),
    ] {
        scene.upstream.forget();
        scene.upstream.play(Play::send(json(status, fields, body)));
        let answer = scene.exchange(body, signed("/v1/payment-methods", "")).await.answer;
        assert_eq!(scene.upstream.requests().len(), 1, "{body}");
        assert_eq!(answer.text(), body, "as Zuora said it");
        assert_eq!(answer.field("zuora-gateway-attempts"), Some("1"));
    }

    // Its refusal says nothing of the tenant's token: the next call goes with the one that there was.
    scene.serves("a signed call that was refused").await;
}

#[tokio::test]
async fn policy_holds_for_signed_calls_and_what_browsers_ask_before_them() {
    let scene = scene().await;
    let asking = |method: &str| {
        format!("Origin: https://shop.example.com\r\nAccess-Control-Request-Method: {method}\r\n")
    };

    let preflight = bare("OPTIONS", "/v1/payment-methods/a", &asking("POST"), "");
    let (_, received) = scene.ask("preflight", preflight).await;
    assert_eq!(received.line(), "OPTIONS /v1/payment-methods/a HTTP/1.1");
    assert_eq!(received.fields("access-control-request-method"), ["POST"]);
    assert!(received.fields("authorization").is_empty());

    for (name, bytes) in [
        ("another path", signed("/v1/accounts", "")),
        ("a denied path", signed("/v1/payment-methods/Secret", "")),
        ("another method", bare("DELETE", "/v1/payment-methods/a", SIGNED, "")),
        (
            "asking for another method",
            bare("OPTIONS", "/v1/payment-methods/a", &asking("DELETE"), ""),
        ),
        (
            "asking for a denied path",
            bare("OPTIONS", "/v1/payment-methods/secret", &asking("POST"), ""),
        ),
    ] {
        scene.turns_away(name, bytes, &[403]).await;
    }
}

#[tokio::test]
async fn a_signature_beside_another_credential_is_neither() {
    let scene = scene().await;
    for (name, other) in [
        ("bearer", "Authorization: Bearer the-secret-of-the-app\r\n"),
        ("bearer of nobody", "Authorization: Bearer nobody\r\n"),
        ("keys", "apiAccessKeyId: app\r\napiSecretAccessKey: the-secret-of-the-app\r\n"),
        ("session", "Cookie: ZSession=x\r\n"),
    ] {
        scene.turns_away(name, signed("/v1/payment-methods", other), &[401]).await;
    }
    for (name, half) in [("signature", "Signature: s\r\n"), ("token", "Token: t\r\n")] {
        scene.turns_away(name, bare("POST", "/v1/payment-methods", half, "{}"), &[401]).await;
    }
}

#[tokio::test]
async fn a_signature_opens_no_envelope() {
    let yaml = Yaml {
        tenant: vec!["soap_url: http://127.0.0.1:1".into()],
        top: vec!["single_use: app".into()],
        ..Yaml::default()
    };
    let scene = Scene::with(&yaml).await;
    let envelope = r#"<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><query xmlns="http://api.zuora.com/"/></e:Body></e:Envelope>"#;
    let fields = format!("{SIGNED}Content-Type: text/xml\r\n");

    let call = bare("POST", "/apps/services/a/91.0", &fields, envelope);
    let answer = scene.exchange("an envelope", call).await.answer;

    assert_eq!(answer.field("zuora-gateway-error"), Some("unauthenticated"), "{answer:?}");
}

#[tokio::test]
async fn where_they_are_nobody_s_signed_calls_are_refused() {
    let nobody = Scene::start().await;
    nobody.turns_away("nobody's", signed("/v1/payment-methods", ""), &[401]).await;

    // Not even for somebody without a credential.
    let yaml = Yaml { top: vec!["anonymous: app".into()], ..Yaml::default() };
    let anonymous = Scene::with(&yaml).await;
    anonymous.ask("without a credential", bare("GET", "/v1/a", "", "")).await;
    for (name, fields) in [("nobody's", ""), ("two", "Token: other\r\n")] {
        anonymous.turns_away(name, signed("/v1/payment-methods", fields), &[401]).await;
    }
    let (_, received) = anonymous.ask("with its own", get("/v1/a", "")).await;
    assert_eq!(received.fields("authorization").len(), 1);
}
