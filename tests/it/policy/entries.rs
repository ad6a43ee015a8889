//! The entries of `allow` and `deny` that name an operation, and the switch that leaves only reading.

use testkit::Yaml;

use crate::wire::attack::{Scene, request};

async fn scene(keys: &[&str]) -> Scene {
    let app = keys.iter().map(|it| (*it).to_owned()).collect();
    Scene::with(&Yaml { app, ..Yaml::default() }).await
}

fn call(line: &str) -> String {
    let (method, target) = line.split_once(' ').unwrap();
    let body = if method == "GET" { "" } else { "{}" };
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    request(method, target, if body.is_empty() { "" } else { &fields }, body)
}

async fn passes(scene: &Scene, line: &str) {
    let (answer, received) = scene.ask(line, call(line)).await;
    assert_eq!(answer.status, 200, "{line}: {answer:?}");
    assert_eq!(received.line(), format!("{line} HTTP/1.1"));
}

async fn is_denied(scene: &Scene, line: &str) {
    scene.upstream.forget();
    let answer = scene.exchange(line, call(line)).await.answer;
    assert!(matches!(answer.status, 400 | 403), "{line}: {answer:?}");
    assert_eq!(scene.upstream.received().len(), 0, "{line}");
}

/// Spellings of the same path. Zuora may read each as the operation.
fn spellings(path: &str) -> Vec<String> {
    let rest = path.strip_prefix("/v1/").unwrap();
    vec![
        path.to_owned(),
        format!("/rest{path}"),
        format!("{path}/"),
        format!("/v1//{rest}"),
        format!("//v1/{rest}"),
        format!("/V1/{rest}"),
        format!("/v1/{}", rest.to_uppercase()),
        format!("/%76%31/{rest}"),
        format!("/v1/%{:02x}{}", rest.as_bytes()[0], &rest[1..]),
        format!("{path};x=1"),
        format!("/v1;x/{rest}"),
        format!("/v1%2f{rest}"),
        format!("/REST{path}"),
        format!("/rest//v1/{rest}"),
        format!("/v1/async/{rest}"),
        format!("/rest/v1/async/{rest}"),
        format!("/v1/ASYNC/{rest}"),
        format!("{path}?x=/v1/catalog"),
    ]
}

#[tokio::test]
async fn a_denied_operation_is_denied_however_it_is_spelt() {
    let scene = scene(&[r#"deny: ["operation POST_Account", "operation PUT_Account"]"#]).await;
    for target in spellings("/v1/accounts") {
        is_denied(&scene, &format!("POST {target}")).await;
    }
    for target in spellings("/v1/accounts/A1") {
        is_denied(&scene, &format!("PUT {target}")).await;
    }
    for line in [
        "GET /v1/accounts/A1",
        "POST /v1/orders",
        "PUT /v1/accounts/A1/x",
        "POST /v1/accounts/A1",
        "POST /v1/accountsx",
        "PUT /v1/orders/A1",
    ] {
        passes(&scene, line).await;
    }
}

#[tokio::test]
async fn an_allowed_operation_lets_nothing_else_in() {
    let scene = scene(&[r#"allow: ["operation POST_Account", "operation GET_Account"]"#]).await;
    for line in [
        "POST /v1/accounts",
        "POST /rest/v1/accounts",
        "GET /v1/accounts/A1",
        "GET /v1/accounts/A1/",
    ] {
        passes(&scene, line).await;
    }
    for line in [
        "GET /v1/accounts",
        "GET /v1/accounts/A1/summary",
        "GET /v1/accounts/A1%2Fsummary",
        "GET /v1/accounts//A1/summary",
        "GET /v1/accounts/A1;/summary",
        "PUT /v1/accounts/A1",
        "POST /v1/orders",
        "POST /v1/accounts/A1",
        "POST /V1/Accounts",
        "GET /v1/payments/A1",
        "DELETE /v1/accounts/A1",
        "GET /",
        "GET /v1/accounts/A1/../../payments",
    ] {
        is_denied(&scene, line).await;
    }
}

#[tokio::test]
async fn who_may_only_read_changes_nothing() {
    let scene = scene(&["read_only: true"]).await;
    for line in [
        "GET /v1/accounts/A1",
        "GET /object-query/accounts",
        "GET /v1/something/new",
        "POST /v1/action/query",
        "POST /v1/action/queryMore",
        "POST /rest/v1/action/query",
    ] {
        passes(&scene, line).await;
    }
    for line in [
        "POST /v1/accounts",
        "PUT /v1/accounts/A1",
        "PATCH /v1/accounts/A1",
        "DELETE /v1/accounts/A1",
        "POST /v1/orders",
        "POST /v1/action/create",
        "POST /v1/action/delete",
        "POST /v1/action/query/../create",
        "POST /v1/action/queryx",
        "POST /v1/action/query%2f..%2fcreate",
        "POST /v1/something/new",
        "POST /v1/action/query/x",
        "DELETE /v1/action/query",
        "PUT /v1/action/query",
        "POST /v1/async/accounts",
    ] {
        is_denied(&scene, line).await;
    }
}

#[tokio::test]
async fn what_reading_needs_can_still_be_denied() {
    let scene = scene(&["read_only: true", r#"deny: ["GET /v1/accounts/**"]"#]).await;
    is_denied(&scene, "GET /v1/accounts/A1").await;
    passes(&scene, "GET /v1/orders/O1").await;

    let scene = self::scene(&["read_only: true", r#"allow: ["* /v1/accounts/**"]"#]).await;
    passes(&scene, "GET /v1/accounts/A1").await;
    is_denied(&scene, "PUT /v1/accounts/A1").await;
    is_denied(&scene, "GET /v1/orders/O1").await;
}
