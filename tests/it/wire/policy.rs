//! What an app may call, whatever way it spells it: the path that is judged is the path that is sent.

use testkit::Yaml;

use super::attack::{Scene, get, request};

async fn scene() -> Scene {
    let allow = r#"allow: ["GET /v1/accounts/**", "POST /v1/accounts/*", "GET /v1/next"]"#;
    let deny = r#"deny: ["* /v1/accounts/secret/**", "GET /v1/accounts/*/summary"]"#;
    Scene::with(&Yaml { app: vec![allow.into(), deny.into()], ..Yaml::default() }).await
}

#[tokio::test]
async fn no_spelling_gets_around_policy() {
    let scene = scene().await;
    let targets = [
        // Dot segments, in any coding.
        "/v1/accounts/../payments",
        "/v1/accounts/./../payments",
        "/v1/accounts/%2e%2e/payments",
        "/v1/accounts/.%2E/payments",
        "/v1/accounts/%2E./payments",
        "/v1/accounts/..%2fpayments",
        "/v1/accounts/%2e%2e%2fpayments",
        "/v1/accounts/%2e%2e%2Fpayments",
        "/v1/accounts/x/..",
        "/v1/accounts/.",
        "/v1/accounts/%2e",
        "/../v1/payments",
        // Twice encoded, overlong, cut off by NUL, the other slash.
        "/v1/accounts/%252e%252e%252fpayments",
        "/v1/accounts/%252e%252e/payments",
        "/v1/accounts/%25252e%25252e/payments",
        "/v1/accounts/%c0%ae%c0%ae/payments",
        "/v1/accounts/..%c0%afpayments",
        "/v1/accounts/%e0%80%ae%e0%80%ae/payments",
        "/v1/payments%00/v1/accounts/x",
        "/v1/accounts/%00",
        "/v1/accounts/..%5cpayments",
        "/v1/accounts/..\\payments",
        "/v1/accounts/%5c..%5cpayments",
        "/v1/accounts/%0d%0aX: y",
        "/v1/accounts/%0a",
        // Path parameters.
        "/v1/accounts/..;/payments",
        "/v1/accounts/..;x=1/payments",
        "/v1/accounts;/../payments",
        "/v1/accounts/%2e%2e;/payments",
        "/v1/accounts/..%3b/payments",
        "/v1/accounts/.;/secret/x",
        // Empty segments, letters in another case or encoded.
        "//v1//payments",
        "/v1//payments",
        "//v1/payments",
        "/V1/PAYMENTS",
        "/V1/accounts/x",
        "/v1/%70ayments",
        "/%76%31/payments",
        "/v1/accounts/%73ecret/x",
        "/v1/accounts/SECRET/x",
        "/v1/accounts//secret/x",
        "/v1//accounts/secret/x",
        "/v1/accounts/secret%2fx",
        "/v1/accounts%2fsecret/x",
        "/v1/accounts/secret;a=b/x",
        "/v1/accounts/secret%3ba/x",
        "/v1/accounts/x/summary/",
        "/v1/accounts/x/Summary",
        "/rest/v1/accounts/secret/x",
        "/REST/V1/payments",
        // Names that only begin alike.
        "/v1/accounts-evil",
        "/v1/accountsx/y",
        "/v1/account",
        "/v2/accounts/x",
        "/",
        "",
        // The slow way to the same thing.
        "/v1/async/payments",
        "/v1/async/accounts/secret/x",
        "/rest/v1/async/accounts/secret/x",
        // What is denied under another spelling of the whole target.
        "http://gw/v1/payments",
        "http://gw/v1/accounts/../payments",
        "/v1/payments?x=/v1/accounts/y",
        "/v1/payments#/v1/accounts/y",
    ];
    for target in targets {
        scene.turns_away(target, get(target, ""), &[400, 403]).await;
    }
}

#[tokio::test]
async fn no_method_gets_around_policy() {
    let scene = scene().await;
    for method in ["DELETE", "PUT", "PATCH", "OPTIONS", "get", "POSTX"] {
        let asked = request(method, "/v1/accounts/x/y", "", "");
        scene.turns_away(method, asked, &[400, 403]).await;
    }
    let head = request("HEAD", "/v1/accounts/x/summary", "Connection: close\r\n", "");
    scene.turns_away("HEAD", head, &[403]).await;
    let overrides = [
        "X-HTTP-Method-Override: DELETE\r\n",
        "X-HTTP-Method: DELETE\r\n",
        "X-Method-Override: DELETE\r\n",
        "X-Original-URL: /v1/payments\r\n",
        "X-Rewrite-URL: /v1/payments\r\n",
    ];
    for field in overrides {
        let (answer, received) = scene.ask(field, get("/v1/accounts/x", field)).await;
        assert_eq!(answer.status, 200, "{field}");
        let name = field.split(':').next().unwrap();
        assert!(received.fields(name).is_empty(), "{}", received.text());
    }
}

#[tokio::test]
async fn odd_but_honest_targets_arrive_byte_for_byte() {
    let scene = scene().await;
    let targets = [
        "/v1/accounts/A%2FB%20C",
        "/v1/accounts/A%2fB",
        "/v1/accounts/x//y",
        "/v1/accounts/x/",
        "/v1/accounts/x?next=/../y",
        "/v1/accounts/x?q=%2e%2e%2f&r=%00&s=%zz",
        "/v1/accounts/x?filter[]=name.EQ:a%20b&sort[]=-x",
        "/v1/accounts/x?",
        "/v1/accounts/x?a?b",
        "/v1/accounts/%C3%A9",
        "/v1/accounts/a..b",
        "/v1/accounts/...",
        "/v1/accounts/~a-b_c!$&'()*+,=:@",
        "/v1/accounts/x;v=1",
        "/v1/accounts/%41",
        "/rest/v1/accounts/x",
    ];
    for target in targets {
        let (answer, received) = scene.ask(target, get(target, "")).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(received.line(), format!("GET {target} HTTP/1.1"));
    }
}

#[tokio::test]
async fn a_denial_comes_before_the_body_and_takes_no_turn() {
    let scene = scene().await;
    let denied = request("POST", "/v1/payments", "Content-Length: 900000\r\n", "{");

    scene.turns_away("denied", denied, &[403]).await;

    assert_eq!(scene.queued_and_in_use(), (0, 0));
}
