//! What every answer has, and what it looks like in each family.

use std::io::Read;

use emulator::{Options, Reclassified, ServiceTime};
use flate2::read::GzDecoder;

use crate::wire::{bearer, get, request, send, start, tenant, token, write};

#[tokio::test]
async fn every_answer_names_its_request_and_echoes_the_track_id() {
    let tenant = tenant(0).await;

    let answer = get(&tenant, "/v1/accounts/A00000001").await;

    assert_eq!(answer.header("zuora-track-id"), Some("test-1"));
    assert_eq!(answer.header("zuora-request-id").map(str::len), Some(36));
    assert!(answer.header("set-cookie").unwrap().starts_with("ZSession="));
    assert_eq!(answer.header("concurrency-limit-remaining"), Some("40"));
}

#[tokio::test]
async fn each_family_fails_in_its_own_shape() {
    let tenant = tenant(0).await;
    let call = |path: &'static str| send_without_token(tenant.address(), path);

    let v1 = call("/v1/accounts/A1").await;
    assert_eq!((v1.status, v1.json()["success"].as_bool()), (401, Some(false)));
    let action = call("/v1/action/query").await;
    assert!(action.header("www-authenticate").unwrap().contains("Bearer realm=Zuora API"));
    let edge = call("/nothing/here").await;
    assert_eq!((edge.status, edge.header("content-type")), (404, Some("text/html")));

    tenant.set_limit("Default", Some(0));
    tenant.set_limit("Object Query", Some(0));
    assert_eq!(get(&tenant, "/v1/files/x").await.header("content-type"), Some("text/plain"));
    let object = get(&tenant, "/v1/object/account/1").await.json();
    assert_eq!(object["Errors"][0]["Code"], "REQUEST_EXCEEDED_LIMIT");
    let action = write(&tenant, "POST", "/v1/action/create", "{}").await.json();
    assert_eq!(action["FaultCode"], "REQUEST_EXCEEDED_LIMIT");
    let query = get(&tenant, "/object-query/accounts").await.json();
    assert_eq!(query["reasons"][0]["code"], 50_000_070);
    assert!(query["requestId"].is_string());
}

async fn send_without_token(address: std::net::SocketAddr, path: &str) -> crate::wire::Raw {
    send(address, &request("GET", path, "", "")).await
}

#[tokio::test]
async fn failures_hide_behind_200_unless_a_newer_version_is_asked_for() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;
    let old = request("GET", "/v1/accounts/nobody", &bearer(&token), "");
    let new = old.replace("Connection", "Zuora-Version: 2024-05-20\r\nConnection");

    let old = send(tenant.address(), &old).await;
    let new = send(tenant.address(), &new).await;

    assert_eq!((old.status, new.status), (200, 404));
    assert_eq!(old.json()["reasons"][0]["code"], 50_000_040);
    assert!(String::from_utf8(old.body).unwrap().contains("\"success\" : false"));
}

#[tokio::test]
async fn a_large_answer_is_compressed_for_who_asks() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;

    let headers = format!("{}Accept-Encoding: deflate, gzip\r\n", bearer(&token));
    let path = "/object-query/accounts?pageSize=20";
    let answer = send(tenant.address(), &request("GET", path, &headers, "")).await;

    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut plain = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut plain).unwrap();
    assert!(plain.starts_with("{\"data\":[{"));
}

#[tokio::test]
async fn a_limit_type_may_be_one_that_nobody_knows() {
    let mut options = Options { service_time: ServiceTime::ZERO, ..Options::default() };
    options.limits.push(("Bulk".into(), 3));
    options.reclassified.push(Reclassified {
        method: None,
        path: "/v1/bulk".into(),
        limit_type: "Bulk".into(),
    });
    let tenant = start(options).await;

    let answer = get(&tenant, "/v1/bulk/1").await;

    assert_eq!(answer.header("concurrency-limit-type"), Some("Bulk"));
    assert_eq!(answer.header("concurrency-limit-limit"), Some("3"));
}

#[tokio::test]
async fn an_idempotency_key_brings_back_the_first_outcome() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;
    let headers = format!("{}Idempotency-Key: k1\r\n", bearer(&token));
    let call = |method: &str, path: &str| {
        request(method, path, &headers, r#"{"name": "A", "currency": "USD"}"#)
    };

    let first = send(tenant.address(), &call("POST", "/v1/accounts")).await;
    let again = send(tenant.address(), &call("POST", "/v1/accounts")).await;
    let elsewhere = send(tenant.address(), &call("POST", "/v1/orders")).await;
    let put = send(tenant.address(), &call("PUT", "/v1/accounts/A00000001")).await;

    assert_eq!(first.body, again.body);
    assert_eq!((elsewhere.status, put.status), (422, 400));
    let ledger = tenant.ledger();
    assert_eq!((ledger.executed_writes, ledger.idempotent_replays), (1, 1));
    assert_eq!(ledger.executed[0].idempotency_key.as_deref(), Some("k1"));
}

#[tokio::test]
async fn a_session_of_the_older_kind_is_a_credential_too() {
    let tenant = start(Options {
        api_key: Some(("user".into(), "word".into())),
        service_time: ServiceTime::ZERO,
        ..Options::default()
    })
    .await;

    let keys = "apiAccessKeyId: user\r\napiSecretAccessKey: word\r\n";
    let login = send(tenant.address(), &request("POST", "/v1/connections", keys, "")).await;
    let cookie = login.header("set-cookie").unwrap();
    let with_cookie =
        request("GET", "/v1/accounts/A00000001", &format!("Cookie: {cookie}\r\n"), "");
    let with_keys = request("GET", "/v1/accounts/A00000001", keys, "");

    assert_eq!(login.status, 200);
    let renewed = send(tenant.address(), &with_cookie).await;
    assert_eq!(renewed.status, 200);
    assert_eq!(send(tenant.address(), &with_keys).await.status, 200);
    let renewed = with_cookie.replace(cookie, renewed.header("set-cookie").unwrap());
    assert_eq!(send(tenant.address(), &renewed).await.status, 200);
    let made_up = with_cookie.replace("ZSession=", "ZSession=f");
    assert_eq!(send(tenant.address(), &made_up).await.status, 401);
    tenant.end_sessions();
    assert_eq!(send(tenant.address(), &with_cookie).await.status, 401);
    assert_eq!(send(tenant.address(), &renewed).await.status, 401);

    let wrong = request("POST", "/v1/connections", &keys.replace("word", "x"), "");
    assert_eq!(send(tenant.address(), &wrong).await.status, 401);
    let ledger = tenant.ledger();
    assert_eq!((ledger.connection_logins, ledger.connection_refused), (2, 1));
    assert_eq!(ledger.logins[0].user.as_deref(), Some("user"));
    assert_eq!(ledger.effective_writes, 0, "a login changes nothing");
}

#[tokio::test]
async fn the_cookie_of_an_answer_lives_as_long_as_somebody_calls() {
    let lifetime = std::time::Duration::from_millis(300);
    let tenant = start(Options {
        session_lifetime: lifetime,
        service_time: ServiceTime::ZERO,
        ..Options::default()
    })
    .await;
    let path = "/v1/accounts/A00000001";
    let token = token(tenant.address()).await;
    let with_token = request("GET", path, &bearer(&token), "");
    let status = async |cookie: &str| {
        let call = request("GET", path, &format!("Cookie: {cookie}\r\n"), "");
        send(tenant.address(), &call).await.status
    };

    // The session of the token has been idle for too long, the token has not.
    tokio::time::sleep(lifetime * 2).await;
    let answer = send(tenant.address(), &with_token).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert_eq!(status(cookie).await, 200);
    let answer = send(tenant.address(), &with_token).await;
    tenant.revoke_tokens();

    assert_eq!(status(answer.header("set-cookie").unwrap()).await, 401, "it goes with the token");
}
