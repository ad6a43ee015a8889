//! What the program logs, and what it never does.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use emulator::{Fault, FaultKind, Options, ServiceTime, Tenant};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{APP, Raw, SECRET, Yaml};

use crate::caller::{ask, get, request, token_request};
use crate::running::Running;

async fn tenant() -> Tenant {
    let service_time = ServiceTime::Constant(Duration::from_millis(2));
    Tenant::start(Options { service_time, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn every_line_is_json_and_every_call_has_one() {
    let (tenant, directory) = (tenant().await, TempDir::new().unwrap());
    let running = Running::before(&tenant, &Yaml::default(), &directory).await;

    let answer = ask(running.address, get()).await;
    let unknown = Raw::ask(running.address, "GET /v1/accounts HTTP/1.1\r\nhost: gw\r\n\r\n").await;

    let ended = running.stop().await;
    assert_eq!(ended.errors, "");
    let lines: Vec<Value> =
        ended.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let calls: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    let [call, refused] = calls[..] else { panic!("{calls:#?}") };
    assert_eq!(call["track_id"], answer.header("zuora-track-id").unwrap());
    assert_eq!(call["zuora_request_id"], answer.header("zuora-request-id").unwrap());
    let expected = [
        ("app", "app"),
        ("tenant", "production"),
        ("method", "GET"),
        ("path", "/v1/accounts/A00000001"),
        ("operation", "GET_Account"),
        ("pool", "Default"),
        ("source", "zuora"),
        ("level", "INFO"),
    ];
    for (name, value) in expected {
        assert_eq!(call[name], value, "{name}: {call:#}");
    }
    assert_eq!((&call["status"], &call["attempts"]), (&200.into(), &1.into()));
    assert_eq!((&call["complete"], &call["bytes"]), (&true.into(), &answer.body.len().into()));
    assert!(call["upstream_us"].as_u64().unwrap() >= 2000, "{call:#}");

    assert_eq!(refused["track_id"], unknown.field("zuora-track-id").unwrap());
    assert_eq!((&refused["status"], &refused["error"]), (&401.into(), &"unauthenticated".into()));
}

#[tokio::test]
async fn an_answer_is_complete_only_if_it_was_taken_whole() {
    let (tenant, directory) = (tenant().await, TempDir::new().unwrap());
    let running = Running::before(&tenant, &Yaml::default(), &directory).await;

    let file = |bytes: u32| request(Method::GET, &format!("/v1/files/size-{bytes}"), "");
    assert_eq!(ask(running.address, file(500_000)).await.body.len(), 500_000);
    let mut leaving = Raw::connect(running.address).await;
    let ask = "GET /v1/files/size-50000000 HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer ";
    leaving.write(format!("{ask}{SECRET}\r\n\r\n")).await;
    leaving.some().await;
    drop(leaving);

    let ended = running.stop().await;
    let lines = ended.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let calls: Vec<_> = lines.filter(|line| line["target"] == "access").collect();
    let [whole, left] = &calls[..] else { panic!("{calls:#?}") };
    assert_eq!((&whole["complete"], &whole["bytes"]), (&true.into(), &500_000.into()));
    assert_eq!((&left["status"], &left["complete"]), (&200.into(), &false.into()));
}

#[tokio::test]
async fn a_handshake_that_fails_is_told_with_whose_it_was() {
    let (tenant, directory) = (tenant().await, TempDir::new().unwrap());
    let own = rcgen::generate_simple_self_signed(["gw".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = write("certificate.pem", own.cert.pem());
    let key = write("key.pem", own.signing_key.serialize_pem());
    let yaml = Yaml {
        top: vec!["log: {level: debug}".to_owned()],
        listen: vec![format!("tls: {{certificate: {certificate}, key: {key}}}")],
        ..Yaml::default()
    };
    let running = Running::before(&tenant, &yaml, &directory).await;

    let mut stranger = Raw::connect(running.address).await;
    stranger.write("GET / HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned()).await;
    stranger.some().await;

    let ended = running.stop().await;
    let lines = ended.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<_> = lines.filter(|line| line["message"] == "a TLS handshake failed").collect();
    let [line] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(line["peer"], "127.0.0.1", "{line:#}");
}

#[tokio::test]
async fn a_refusal_by_policy_is_told_with_its_rule() {
    let (tenant, directory) = (tenant().await, TempDir::new().unwrap());
    let policy = ["allow: [\"* /v1/accounts/**\"]", "deny: [DELETE /rest/v1/accounts/*/]"];
    let app = policy.map(String::from).into_iter().chain(["read_only: true".to_owned()]).collect();
    let running = Running::before(&tenant, &Yaml { app, ..Yaml::default() }, &directory).await;
    let calls = [
        (
            Method::DELETE,
            "/v1/accounts/A1",
            "an entry of `deny` refuses it: `DELETE /rest/v1/accounts/*/`",
        ),
        (Method::GET, "/v1/orders", "no entry of `allow` names it"),
        (
            Method::PUT,
            "/v1/accounts/A1",
            "`read_only` permits only what is known to change nothing",
        ),
    ];

    let mut answers = Vec::new();
    for (method, path, _) in &calls {
        answers.push(ask(running.address, request(method.clone(), path, "")).await);
    }

    let ended = running.stop().await;
    let lines = ended.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<_> = lines.filter(|line| line["target"] == "access").collect();
    assert_eq!(told.len(), calls.len(), "{told:#?}");
    for ((_, _, rule), (answer, line)) in calls.iter().zip(answers.iter().zip(&told)) {
        assert_eq!(answer.status, 403, "{rule}");
        let message = format!("this app is not allowed to call this operation: {rule}");
        assert_eq!(answer.json()["reasons"][0]["message"], message);
        assert_eq!((&line["error"], &line["cause"]), (&"forbidden".into(), &(*rule).into()));
    }
}

#[tokio::test]
async fn no_secret_is_in_the_log_however_much_it_tells() {
    const ADMIN: &str = "the-token-of-the-operators";
    const SIGNING: &str = "the-key-that-signs-tokens-for-apps-of-the-test";
    let (tenant, directory) = (tenant().await, TempDir::new().unwrap());
    let yaml = Yaml {
        top: vec!["log: {level: trace}".to_owned(), format!("signing_key: {SIGNING}")],
        ..Yaml::default()
    };
    let text = yaml.text(&tenant.base_url(), &directory.path().join("state"));
    let text = text.replace("admin: {", &format!("admin: {{token: {ADMIN}, "));
    let running = Running::start(&text, &directory).await;
    let address = running.address;

    // A workflow with everything that a secret could slip out of.
    let granted = ask(address, token_request(APP, SECRET)).await;
    let token = granted.json()["access_token"].as_str().unwrap().to_owned();
    let basic = BASE64_STANDARD.encode(format!("{APP}:{SECRET}"));
    let with = |authorization: String| {
        let mut call = request(Method::GET, "/v1/accounts/A00000001?secret=query-secret", "");
        call.headers_mut().insert("authorization", authorization.parse().unwrap());
        call.headers_mut().insert("cookie", "JSESSIONID=a-cookie-of-others".parse().unwrap());
        call
    };
    let without = |field: &'static str, value: &str| {
        let mut call = request(Method::GET, "/v1/accounts/A00000001", "");
        call.headers_mut().remove("authorization");
        call.headers_mut().insert(field, value.parse().unwrap());
        call
    };
    for authorization in [format!("Bearer {token}"), format!("Basic {basic}")] {
        assert_eq!(ask(address, with(authorization)).await.status, 200);
    }
    for wrong in ["Bearer wrong-secret-of-nobody", "Basic d3Jvbmc6d3Jvbmc=", "nonsense-secret"] {
        assert_eq!(ask(address, with(wrong.to_owned())).await.status, 401);
    }
    let olden = [("apiSecretAccessKey", "a-key-of-old"), ("cookie", "ZSession=a-session-of-old")];
    for (field, wrong) in olden {
        assert_eq!(ask(address, without(field, wrong)).await.status, 401);
    }
    let mut connect = without("apiAccessKeyId", APP);
    *connect.method_mut() = Method::POST;
    *connect.uri_mut() = "/v1/connections".parse().unwrap();
    connect.headers_mut().insert("apiSecretAccessKey", SECRET.parse().unwrap());
    let connected = ask(address, connect).await;
    let cookie = connected.headers["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(ask(address, without("cookie", &cookie)).await.status, 200);
    let session = cookie.split(['=', ';']).nth(1).unwrap();
    let refused = token_request(APP, "wrong-secret-in-form");
    assert_eq!(ask(address, refused).await.status, 401);
    let body = r#"{"name": "body-secret", "currency": "USD"}"#;
    assert_eq!(ask(address, request(Method::POST, "/v1/accounts", body)).await.status, 200);
    tenant.fault(Fault::once("/v1/accounts", FaultKind::Unauthenticated));
    ask(address, get()).await;
    tenant.fault(Fault::once("/v1/accounts", FaultKind::Cut { executed: true }));
    let change = || request(Method::PUT, "/v1/accounts/A00000001", body);
    assert_eq!(ask(address, change()).await.status, 502);
    tenant.fault(Fault::once("/v1/accounts", FaultKind::Cut { executed: true }));
    assert_eq!(ask(address, get()).await.status, 200);
    tenant.revoke_tokens();
    ask(address, get()).await;
    let metrics = "GET /metrics HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ";
    assert_eq!(Raw::ask(running.admin, format!("{metrics}{ADMIN}\r\n\r\n")).await.status, 200);
    assert_eq!(
        Raw::ask(running.admin, format!("{metrics}wrong-operator\r\n\r\n")).await.status,
        401
    );

    let ended = running.stop().await;
    let log = ended.lines.join("\n") + &ended.errors;
    assert!(log.contains(r#""level":"DEBUG""#), "it tells much: {log}");
    let secrets = [
        SECRET,
        ADMIN,
        SIGNING,
        &token,
        &basic,
        "the-secret-of-the-gateway",
        "a-key-of-old",
        "a-session-of-old",
        "a-cookie-of-others",
        session,
        "wrong-secret-of-nobody",
        "d3Jvbmc6d3Jvbmc=",
        "nonsense-secret",
        "wrong-secret-in-form",
        "wrong-operator",
        "query-secret",
        "body-secret",
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "`{secret}` is in the log:\n{log}");
    }
}

#[tokio::test]
async fn the_shared_token_is_not_in_the_log() {
    const TOKEN: &str = "the-shared-token-of-the-tenant";
    let (tenant, directory) = (tenant().await, TempDir::new().unwrap());
    let grant = FaultKind::Answer {
        status: 200,
        body: format!(
            r#"{{"access_token": "{TOKEN}", "token_type": "bearer", "expires_in": 3598}}"#
        ),
        content_type: "application/json".to_owned(),
        headers: Vec::new(),
        executed: false,
    };
    tenant.fault(Fault::once("/oauth/token", grant));
    let yaml = Yaml { top: vec!["log: {level: trace}".to_owned()], ..Yaml::default() };
    let running = Running::before(&tenant, &yaml, &directory).await;
    // The tenant does not know it, which is when somebody might be tempted to print it.
    assert_eq!(ask(running.address, get()).await.status, 401);
    assert_eq!(tenant.counters().unauthenticated_calls, 1);

    let ended = running.stop().await;

    let log = ended.lines.join("\n") + &ended.errors;
    assert!(log.contains("got a Zuora token"), "{log}");
    assert!(!log.contains(TOKEN), "{log}");
}
