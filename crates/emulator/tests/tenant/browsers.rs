//! Calls that browsers make: preflights, and signatures that are good once.

use emulator::{Credential, Tenant};
use serde_json::json;

use crate::wire::{Raw, bearer, request, send, tenant, token, write};

/// The headers of a call that was signed for this method and address.
async fn signed(tenant: &Tenant, method: &str, uri: &str) -> String {
    let wish = json!({"uri": uri, "method": method, "accountKey": "A00000001"}).to_string();
    let signed = write(tenant, "POST", "/v1/hmac-signatures", &wish).await.json();
    let (signature, token) = (signed["signature"].as_str(), signed["token"].as_str());
    format!("signature: {}\r\ntoken: {}\r\n", signature.unwrap(), token.unwrap())
}

/// A call as a browser makes it, to the host that it knows.
async fn call(tenant: &Tenant, method: &str, path: &str, headers: &str) -> Raw {
    let headers = format!("Origin: https://shop.example\r\n{headers}");
    let body = if method == "POST" { r#"{"name": "A", "currency": "USD"}"# } else { "" };
    let host = format!("Host: {}", tenant.address());
    let call = request(method, path, &headers, body).replace("Host: tenant", &host);
    send(tenant.address(), &call).await
}

fn code(answer: &Raw) -> u64 {
    answer.json()["reasons"][0]["code"].as_u64().unwrap()
}

#[tokio::test]
async fn a_signature_is_good_once() {
    let tenant = tenant(0).await;
    let uri = format!("{}/v1/accounts?a=b", tenant.base_url());
    let headers = signed(&tenant, "POST", &uri).await;

    let first = call(&tenant, "POST", "/v1/accounts?a=b", &headers).await;
    let again = call(&tenant, "POST", "/v1/accounts?a=b", &headers).await;

    assert_eq!((first.status, first.json()["success"].as_bool()), (200, Some(true)));
    assert_eq!(first.header("access-control-allow-origin"), Some("*"));
    assert_eq!(first.header("set-cookie"), None);
    assert_eq!((again.status, code(&again)), (401, 90_000_011));
    assert_eq!(again.header("access-control-allow-origin"), Some("*"));
    let ledger = tenant.ledger();
    assert_eq!(ledger.executed.last().unwrap().credential, Some(Credential::SingleUse));
    assert_eq!((ledger.credentials["single_use"], ledger.effective_writes), (2, 1));
}

#[tokio::test]
async fn a_signature_is_good_for_the_call_that_was_signed() {
    let tenant = tenant(0).await;
    let uri = format!("{}/v1/accounts", tenant.base_url());
    let token = bearer(&token(tenant.address()).await);

    for (method, path, more, uri) in [
        ("POST", "/v1/rsa-signatures", "", uri.as_str()),
        ("POST", "/v1/accounts?a=b", "", &uri),
        ("POST", "/v1/accounts", "", "https://rest.zuora.com/v1/accounts"),
        ("POST", "/v1/accounts", token.as_str(), &uri),
        ("POST", "/v1/accounts", "Cookie: a=b\r\n", &uri),
        ("GET", "/v1/files/size-10", "", &uri),
    ] {
        let headers = signed(&tenant, "POST", uri).await + more;
        let answer = call(&tenant, method, path, &headers).await;
        assert_eq!((answer.status, code(&answer)), (401, 90_000_011), "{path} {more} {uri}");
    }
    let headers = signed(&tenant, "GET", &uri).await;
    assert_eq!(call(&tenant, "POST", "/v1/accounts", &headers).await.status, 401);
    let headers = signed(&tenant, "POST", &uri).await.replace("signature: ", "signature: x");
    assert_eq!(call(&tenant, "POST", "/v1/accounts", &headers).await.status, 401);
    let path = "/v1/files/size-10";
    let headers = signed(&tenant, "GET", &format!("{}{path}", tenant.base_url())).await;
    assert_eq!(call(&tenant, "GET", path, &headers).await.body, b"zzzzzzzzzz");
}

#[tokio::test]
async fn what_is_not_enabled_is_refused_though_it_was_signed() {
    let tenant = tenant(0).await;
    let path = "/v1/accounts/A00000001";
    let headers = signed(&tenant, "GET", &format!("{}{path}", tenant.base_url())).await;

    let answer = call(&tenant, "GET", path, &headers).await;

    assert_eq!((answer.status, code(&answer)), (403, 90_000_010));
    let wish = r#"{"uri": "/v1/accounts", "method": "POST"}"#;
    let unsigned = write(&tenant, "POST", "/v1/hmac-signatures", wish).await;
    assert_eq!(code(&unsigned), 59_010_220);
}

#[tokio::test]
async fn a_browser_may_ask_before_it_calls() {
    let tenant = tenant(0).await;
    let headers = "Access-Control-Request-Method: POST\r\n";

    let answer = call(&tenant, "OPTIONS", "/v1/accounts", headers).await;

    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(tenant.ledger().preflights, 1);
}
