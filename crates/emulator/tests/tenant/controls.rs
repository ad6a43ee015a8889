//! The controls on the tenant's own port, for other languages.

use std::net::SocketAddr;

use emulator::{Ledger, Mishap};

use crate::wire::{Raw, get, request, send, tenant, write};

async fn control(address: SocketAddr, method: &str, path: &str, body: &str) -> Raw {
    send(address, &request(method, path, "Content-Type: application/json\r\n", body)).await
}

#[tokio::test]
async fn the_ledger_reads_back_as_the_type_it_was_written_from() {
    let tenant = tenant(0).await;
    get(&tenant, "/v1/accounts/A00000001").await;
    get(&tenant, "/v1/accounts/A00000002").await;

    let call = request("GET", "/emulator/ledger?executed=1", "", "").replace("1.1", "1.0");
    let ledger: Ledger =
        serde_json::from_value(send(tenant.address(), &call).await.json()).unwrap();

    assert_eq!(ledger.executed_total, 2);
    assert_eq!(ledger.executed.len(), 1);
    assert_eq!(ledger.executed[0].path, "/v1/accounts/A00000002");
    control(tenant.address(), "POST", "/emulator/reset", "").await;
    assert_eq!(tenant.ledger().executed_total, 0);
}

#[tokio::test]
async fn faults_limits_outsiders_and_tokens_are_in_reach() {
    let tenant = tenant(0).await;
    let address = tenant.address();

    let fault = r#"{"path": "/v1/accounts", "kind": {"answer": {"status": 500}}}"#;
    assert_eq!(control(address, "POST", "/emulator/faults", fault).await.status, 200);
    assert_eq!(get(&tenant, "/v1/accounts/A00000001").await.status, 500);

    let limits = r#"{"Default": 5, "Object Query": null}"#;
    assert_eq!(control(address, "POST", "/emulator/limits", limits).await.status, 200);
    let outsider = r#"{"limit_type": "Default", "permits": 5}"#;
    assert_eq!(control(address, "POST", "/emulator/outsider", outsider).await.status, 200);
    assert_eq!(get(&tenant, "/v1/accounts/A00000001").await.status, 429);
    let outsider = r#"{"limit_type": "Default", "permits": 0}"#;
    control(address, "POST", "/emulator/outsider", outsider).await;

    let token = crate::wire::token(address).await;
    control(address, "POST", "/emulator/revoke", "").await;
    let call = request("GET", "/v1/accounts/A00000001", &crate::wire::bearer(&token), "");
    assert_eq!(send(address, &call).await.status, 401);
}

#[tokio::test]
async fn who_may_log_in_changes_at_run_time() {
    let tenant = tenant(0).await;
    let address = tenant.address();
    let wish = r#"{"clients": [["old", "1"], ["new", "2"]], "api_keys": [["key", "3"]]}"#;
    assert_eq!(control(address, "POST", "/emulator/credentials", wish).await.status, 200);
    let login = async |id: &str, secret: &str| {
        let form = format!("client_id={id}&client_secret={secret}&grant_type=client_credentials");
        send(address, &request("POST", "/oauth/token", "", &form)).await
    };
    let works = async |token: &Raw| {
        let token = token.json()["access_token"].as_str().unwrap().to_owned();
        let call = request("GET", "/v1/accounts/A00000001", &crate::wire::bearer(&token), "");
        send(address, &call).await.status == 200
    };

    let (old, new) = (login("old", "1").await, login("new", "2").await);
    assert!(works(&old).await && works(&new).await, "both are valid at once");
    assert_eq!(login("old", "2").await.status, 401);
    assert_eq!(login("other", "1").await.status, 400);

    tenant.set_clients(&[("new", "2")]);
    assert!(!works(&old).await && works(&new).await, "the tokens of the old client end");
    assert_eq!(login("old", "1").await.status, 400);
    let users: Vec<_> = tenant.ledger().executed.into_iter().map(|one| one.user.unwrap()).collect();
    assert_eq!(users, ["old", "new", "new"]);
    let keys = "apiAccessKeyId: key\r\napiSecretAccessKey: 3\r\n";
    let call = request("GET", "/v1/accounts/A00000001", keys, "");
    assert_eq!(send(address, &call).await.status, 200);
    let connected = send(address, &request("POST", "/v1/connections", keys, "")).await;
    let cookie = format!("Cookie: {}\r\n", connected.header("set-cookie").unwrap());
    let with_cookie = request("GET", "/v1/accounts/A00000001", &cookie, "");
    assert_eq!(send(address, &with_cookie).await.status, 200);
    tenant.set_api_keys(&[]);
    assert_eq!(send(address, &call).await.status, 401);
    assert_eq!(send(address, &with_cookie).await.status, 401, "its session ends with the key");
}

#[tokio::test]
async fn a_control_that_cannot_be_read_says_what_is_wrong() {
    let tenant = tenant(0).await;
    let address = tenant.address();

    let typo = r#"{"limit_type": "Default", "permit": 5}"#;
    let answer = control(address, "POST", "/emulator/outsider", typo).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["message"].as_str().unwrap().contains("permit"));
    assert_eq!(control(address, "POST", "/emulator/limits", r#"{"Big": 1}"#).await.status, 404);
    assert_eq!(control(address, "GET", "/emulator/nothing", "").await.status, 404);
}

#[tokio::test]
async fn the_examples_of_the_documentation_are_understood() {
    let tenant = tenant(0).await;
    let documentation: Vec<&str> = include_str!("../../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .collect();
    let documentation = documentation.join("\n");
    let examples: Vec<&str> =
        documentation.split("-d '").skip(1).filter_map(|rest| rest.split('\'').next()).collect();

    for example in &examples {
        let answer = control(tenant.address(), "POST", "/emulator/faults", example).await;
        assert_eq!(answer.status, 200, "{example}: {}", answer.json());
    }

    assert_eq!(tenant.faults().len(), examples.len());
    assert_eq!(examples.len(), 6);
}

#[tokio::test]
async fn mishaps_and_pauses_of_asynchronous_writes_are_in_reach() {
    let tenant = tenant(0).await;
    let address = tenant.address();
    let mishaps = r#"{"chances": {"vanished": 1.0}, "next": ["fails", "lost"]}"#;
    assert_eq!(control(address, "POST", "/emulator/mishaps", mishaps).await.status, 200);
    let wrong = r#"{"next": ["explodes"]}"#;
    assert_eq!(control(address, "POST", "/emulator/mishaps", wrong).await.status, 400);
    assert_eq!(
        control(address, "POST", "/emulator/async", r#"{"paused": true}"#).await.status,
        200
    );

    for _ in 0..3 {
        let body = r#"{"name": "A", "currency": "USD"}"#;
        assert_eq!(write(&tenant, "POST", "/v1/async/accounts", body).await.status, 202);
    }
    assert_eq!(tenant.counters().async_pending, 3);
    control(address, "POST", "/emulator/async", r#"{"paused": false}"#).await;
    tenant.async_idle().await;

    let call = request("GET", "/emulator/ledger", "", "").replace("1.1", "1.0");
    let ledger: Ledger =
        serde_json::from_value(send(tenant.address(), &call).await.json()).unwrap();
    assert_eq!(ledger.async_requests, tenant.ledger().async_requests);
    let met: Vec<_> = ledger.async_requests.into_iter().map(|one| one.mishaps).collect();
    assert_eq!(met, [[Mishap::Fails], [Mishap::Lost], [Mishap::Vanished]]);
}
