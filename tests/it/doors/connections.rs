//! `POST /v1/connections`: a session of ours, and nothing of it at Zuora.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use testkit::Answer;

use super::{Door, THE_APP, THE_OTHER, is_let_in, scene, with};
use crate::wire::attack::Scene;
use crate::wire::upstream::Play;

fn keys(id: &str, secret: &str) -> String {
    format!("apiAccessKeyId: {id}\r\napiSecretAccessKey: {secret}\r\n")
}

/// Asks for a session with `fields`; the tenant must hear nothing.
async fn connect(scene: &Scene, target: &str, fields: &str) -> Answer {
    scene.upstream.forget();
    let fields = format!("{fields}Content-Length: 0\r\n");
    let answer = scene.exchange(target, with(&format!("POST {target}"), &fields)).await.answer;
    assert_eq!(scene.upstream.received().len(), 0, "{target} {fields}: {answer:?}");
    answer
}

#[tokio::test]
async fn a_session_is_given_at_every_address_that_clients_ask() {
    let scene = scene(&[]).await;
    let basic = BASE64_STANDARD.encode(format!("{}:{}", THE_APP.name, THE_APP.secret));
    let proofs = [
        keys(THE_APP.id, THE_APP.secret),
        keys(THE_APP.name, THE_APP.secret),
        format!("Authorization: Basic {basic}\r\n"),
        format!("Authorization: Bearer {}\r\n", THE_APP.secret),
    ];
    for target in
        ["/v1/connections", "/rest/v1/connections", "/v1/connections/", "/rest/v1/connections/"]
    {
        for proof in &proofs {
            let answer = connect(&scene, target, proof).await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, r#"{"success":true}"#),
                "{target} {proof}"
            );
            let cookies: Vec<_> = answer
                .fields
                .iter()
                .filter(|(name, _)| name == "set-cookie")
                .map(|(_, it)| it)
                .collect();
            let [cookie] = cookies[..] else { panic!("{answer:?}") };
            // Over plain HTTP, a client would not send a `Secure` cookie back.
            let (pair, attributes) = cookie.split_once(';').unwrap();
            assert!(pair.starts_with("ZSession=") && pair.len() > 40, "{cookie}");
            assert_eq!(attributes.replace(' ', "").to_lowercase(), "path=/;httponly", "{cookie}");
            let secret = pair.strip_prefix("ZSession=").unwrap();
            for inner in [THE_APP.secret, THE_APP.id] {
                assert!(!secret.contains(inner), "{cookie}");
            }
            let door = Door::new("as it came", format!("Cookie: {cookie}\r\n"), &[secret]);
            is_let_in(&scene, &door, &THE_APP).await;
        }
    }
}

#[tokio::test]
async fn no_session_is_given_for_a_wrong_proof() {
    let scene = scene(&["anonymous: app"]).await;
    let wrong = [
        keys(THE_APP.id, "wrong"),
        keys("wrong", THE_APP.secret),
        keys(THE_OTHER.id, THE_APP.secret),
        format!("apiAccessKeyId: {}\r\n", THE_APP.id),
        format!("{}Authorization: Bearer wrong\r\n", keys(THE_APP.id, THE_APP.secret)),
        format!(
            "{}Authorization: Bearer {}\r\n",
            keys(THE_APP.id, THE_APP.secret),
            THE_OTHER.secret
        ),
    ];
    for target in ["/v1/connections", "/rest/v1/connections"] {
        for proof in &wrong {
            let answer = connect(&scene, target, proof).await;
            assert_eq!(answer.status, 401, "{proof}: {answer:?}");
            assert!(answer.field("set-cookie").is_none(), "{proof}: {answer:?}");
            assert_eq!(answer.field("zuora-gateway-error"), Some("unauthenticated"));
            assert!(answer.text().contains("90000011"), "{answer:?}");
        }
    }
}

/// However it is spelt: Zuora must not be made to open a session for an app, or at least the app must not get it.
#[tokio::test]
async fn no_spelling_of_it_gets_a_session_of_zuora() {
    let scene = scene(&[]).await;
    let targets = [
        "/v1/connections?x=1",
        "/v1//connections",
        "//v1/connections",
        "/v1/%63onnections",
        "/%76%31/connections",
        "/v1/Connections",
        "/V1/connections",
        "/REST/v1/connections",
        "/rest/v1//connections",
        "/v1/connections;x=1",
        "/v1/connections%2f",
        "/v1/connections/x/..",
        "/v1/async/connections",
        "http://gw/v1/connections",
    ];
    for target in targets {
        scene.upstream.forget();
        let body = "HTTP/1.1 200 OK\r\nSet-Cookie: ZSession=of-zuora; Path=/\r\nContent-Length: 2\r\n\r\n{}";
        scene.upstream.play(Play::send(body));
        let fields = format!("{}Content-Length: 0\r\n", keys(THE_APP.id, THE_APP.secret));
        let answer = scene.exchange(target, with(&format!("POST {target}"), &fields)).await.answer;
        let told = format!("{answer:?}");
        assert!(answer.status != 0 && !told.contains("of-zuora"), "{target}: {told}");
        for received in scene.upstream.requests() {
            assert!(!received.text().contains(THE_APP.secret), "{target}: {}", received.text());
        }
    }
}
