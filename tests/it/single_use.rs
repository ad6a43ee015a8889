//! Calls of browsers with Zuora's single-use `signature` and `token` (Zuora: CORS REST). They are Zuora's to judge, so
//! they pass untouched where they are allowed, and are a way to nothing else.

use testkit::{SECRET, Yaml};

use crate::wire::attack::Scene;
use crate::wire::upstream::{Play, SHARED_TOKEN};

const SIGNED: &str = "signature: c2lnbmF0dXJl\r\ntoken: of-zuora-for-once\r\n";
const PREFLIGHT: &str = "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: signature,token\r\n";

async fn scene(single_use: &str) -> Scene {
    let keys =
        "client_id: 22222222-2222-4333-8444-555555555555, secret: the-secret-of-the-browsers";
    let policy = r#"allow: ["POST /v1/payment-methods/credit-cards", "OPTIONS /v1/payment-methods/credit-cards", "GET /v1/files/*"]"#;
    let apps = vec![("browsers".to_owned(), format!("{keys}, {policy}"))];
    Scene::with(&Yaml { apps, top: vec![single_use.to_owned()], ..Yaml::default() }).await
}

fn call(line: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: gw\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

const CARD: &str = "POST /v1/payment-methods/credit-cards";

#[tokio::test]
async fn a_signed_call_passes_untouched() {
    let scene = scene("single_use: browsers").await;
    let own = scene.upstream.url();
    let body = format!(r#"{{"uri":"{own}/v1/x","accountKey":"A1"}}"#);
    scene.upstream.forget();
    let told = format!(r#"{{"nextPage":"{own}/v1/x"}}"#);
    let length = told.len();
    scene.upstream.play(Play::send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: https://shop.example\r\nContent-Length: {length}\r\n\r\n{told}"
    )));
    let fields =
        format!("{SIGNED}Origin: https://shop.example\r\nContent-Type: application/json\r\n");

    let answer = scene.exchange("signed", call(CARD, &fields, &body)).await.answer;

    assert_eq!((answer.status, answer.text()), (200, told), "{answer:?}");
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://shop.example"));
    let [received] = &scene.upstream.requests()[..] else {
        panic!("{:?}", scene.upstream.requests())
    };
    assert_eq!(received.line(), format!("{CARD} HTTP/1.1"));
    assert_eq!(received.fields("signature"), ["c2lnbmF0dXJl"]);
    assert_eq!(received.fields("token"), ["of-zuora-for-once"]);
    assert_eq!(received.fields("origin"), ["https://shop.example"]);
    assert_eq!(received.body(), body.as_bytes());
    let text = received.text();
    assert!(!text.contains(SHARED_TOKEN), "a single-use call has its own proof: {text}");
    for field in ["authorization", "cookie", "zuora-entity-ids"] {
        assert!(received.fields(field).is_empty(), "{text}");
    }
    assert!(received.fields("idempotency-key").is_empty(), "nothing is added: {text}");
}

#[tokio::test]
async fn a_preflight_passes_untouched() {
    let scene = scene("single_use: browsers").await;
    scene.upstream.forget();
    scene.upstream.play(Play::send(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://shop.example\r\nAccess-Control-Allow-Methods: POST\r\nContent-Length: 0\r\n\r\n",
    ));
    let asked = call("OPTIONS /v1/payment-methods/credit-cards", PREFLIGHT, "");

    let answer = scene.exchange("preflight", asked).await.answer;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("access-control-allow-methods"), Some("POST"));
    let [received] = &scene.upstream.requests()[..] else {
        panic!("{:?}", scene.upstream.requests())
    };
    assert_eq!(received.fields("access-control-request-headers"), ["signature,token"]);
    assert!(received.fields("authorization").is_empty(), "{}", received.text());
}

#[tokio::test]
async fn a_signed_call_goes_where_its_app_may_and_nowhere_else() {
    let scene = scene("single_use: browsers").await;
    for line in [
        "POST /v1/accounts",
        "GET /v1/accounts/A1",
        "DELETE /v1/files/1",
        "POST /v1/payment-methods/credit-cards/x",
    ] {
        scene.turns_away(line, call(line, SIGNED, ""), &[403]).await;
    }
    scene.turns_away("climbing", call("GET /v1/files/../accounts", SIGNED, ""), &[400, 403]).await;
    let elsewhere = call("OPTIONS /v1/accounts", PREFLIGHT, "");
    scene.turns_away("a preflight elsewhere", elsewhere, &[403]).await;
}

#[tokio::test]
async fn where_nobody_said_so_a_signature_is_no_credential() {
    let scene = scene("single_use: null").await;
    scene.turns_away("signed", call(CARD, SIGNED, ""), &[401]).await;
    let preflight = call("OPTIONS /v1/payment-methods/credit-cards", PREFLIGHT, "");
    scene.turns_away("a preflight", preflight, &[401]).await;
}

#[tokio::test]
async fn half_of_a_signature_is_no_credential() {
    let scene = scene("single_use: browsers").await;
    let halves = [
        "signature: c2lnbmF0dXJl\r\n",
        "token: of-zuora-for-once\r\n",
        "signature: \r\ntoken: \r\n",
        "signature: a\r\nsignature: b\r\ntoken: c\r\n",
        "signature: a\r\ntoken: b\r\ntoken: c\r\n",
        "Origin: https://shop.example\r\n",
        "Access-Control-Request-Method: POST\r\n",
    ];
    for fields in halves {
        scene.turns_away(fields, call(CARD, fields, ""), &[400, 401]).await;
    }
    // A preflight is an OPTIONS.
    scene.turns_away("no preflight", call(CARD, PREFLIGHT, ""), &[401]).await;
}

#[tokio::test]
async fn a_wrong_credential_beside_a_signature_is_wrong() {
    let scene = scene("single_use: browsers").await;
    for wrong in [
        "Authorization: Bearer wrong\r\n",
        "apiAccessKeyId: app\r\napiSecretAccessKey: wrong\r\n",
        "Cookie: ZSession=wrong\r\n",
    ] {
        let fields = format!("{SIGNED}{wrong}");
        scene.turns_away(wrong, call(CARD, &fields, ""), &[401]).await;
    }
    // With a good one, the call is that app's, which Zuora must be able to tell.
    scene.upstream.forget();
    let fields = format!("Authorization: Bearer {SECRET}\r\n");
    let answer = scene.exchange("good", call("GET /v1/accounts/A1", &fields, "")).await.answer;
    assert_eq!(answer.status, 200, "{answer:?}");
}
