//! Writes on one account that meet, and failures as each family tells them.

use std::{io::Read, time::Duration};

use emulator::{Category, ErrorShape, Fault, FaultKind, Options, ServiceTime, Tenant};
use flate2::read::GzDecoder;
use futures_util::future::join;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    memory::{ask, token},
    wire::{bearer, get, request, tenant, write},
};

async fn set_up(lock_contention: bool) -> (Tenant, String) {
    let service_time = ServiceTime::Constant(Duration::from_millis(100));
    let options = Options { service_time, lock_contention, ..Options::default() };
    let tenant = Tenant::in_memory(options);
    let token = token(&tenant).await;
    (tenant, token)
}

/// Two calls, the second 40 ms after the first: the statuses and the bodies.
async fn meet(tenant: &Tenant, first: &str, second: &str) -> [(String, Value); 2] {
    let later = async {
        sleep(Duration::from_millis(40)).await;
        ask(tenant, second).await
    };
    let (first, second) = join(ask(tenant, first), later).await;
    [first, second].map(|answer| {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().to_owned();
        (status, serde_json::from_str(body).unwrap())
    })
}

fn call(token: &str, version: &str, method: &str, path: &str, body: &str) -> String {
    let headers = format!("{}Zuora-Version: {version}\r\n", bearer(token));
    request(method, path, &headers, body)
}

#[tokio::test(start_paused = true)]
async fn the_later_of_two_writes_on_one_account_is_rolled_back() {
    let (tenant, token) = set_up(true).await;
    let put = |notes| {
        let body = format!(r#"{{"notes": "{notes}"}}"#);
        call(&token, "2024-05-20", "PUT", "/v1/accounts/A00000001", &body)
    };

    let [first, second] = meet(&tenant, &put("first"), &put("second")).await;

    assert_eq!((first.0.as_str(), second.0.as_str()), ("200", "409"));
    assert_eq!(second.1["reasons"][0]["code"], 50_000_050);
    let found = call(&token, "2024-05-20", "GET", "/v1/accounts/A00000001", "");
    assert!(ask(&tenant, &found).await.contains(r#""notes":"first""#));
    let ledger = tenant.ledger();
    assert_eq!((ledger.contended_calls, ledger.effective_writes), (1, 1));
    let effects: Vec<bool> = ledger.writes().map(|one| one.took_effect).collect();
    assert_eq!(effects, [true, false]);
    assert!(ask(&tenant, &put("third")).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn an_account_is_met_through_what_belongs_to_it_in_each_familys_shape() {
    let (tenant, token) = set_up(true).await;
    let account = call(&token, "", "PUT", "/v1/accounts/A00000002", "{}");
    let found = call(&token, "", "GET", "/v1/accounts/A00000002", "");
    let found = ask(&tenant, &found).await;
    let found: Value = serde_json::from_str(found.split_once("\r\n\r\n").unwrap().1).unwrap();
    let id = found["basicInfo"]["id"].as_str().unwrap();

    let renew = call(&token, "", "PUT", "/v1/subscriptions/A-S00000002/renew", "{}");
    let [_, hidden] = meet(&tenant, &account, &renew).await;
    assert_eq!((hidden.0.as_str(), &hidden.1["success"]), ("200", &false.into()));
    let crud = call(&token, "2024-05-20", "PUT", &format!("/v1/object/account/{id}"), "{}");
    let [_, crud] = meet(&tenant, &renew, &crud).await;
    assert_eq!(
        (crud.0.as_str(), &crud.1["Errors"][0]["Code"]),
        ("200", &"LOCK_COMPETITION".into())
    );
    let rows = format!(r#"{{"type": "Account", "objects": [{{"Id": "{id}"}}, {{"Id": "x"}}]}}"#);
    let action = call(&token, "2024-05-20", "POST", "/v1/action/update", &rows);
    let [_, action] = meet(&tenant, &account, &action).await;
    assert_eq!(action.1.as_array().map(Vec::len), Some(2));
    assert_eq!(action.1[1]["Errors"][0]["Code"], "LOCK_COMPETITION");

    assert_eq!(tenant.counters().contended_calls, 3);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_meet_does_not_contend() {
    let (tenant, token) = set_up(true).await;
    let put = |account: &str| call(&token, "", "PUT", &format!("/v1/accounts/{account}"), "{}");
    let read = call(&token, "", "GET", "/v1/accounts/A00000001", "");
    let preview =
        call(&token, "", "POST", "/v1/subscriptions/preview", r#"{"accountKey": "A00000001"}"#);
    let create = call(&token, "", "POST", "/v1/accounts", r#"{"name": "A", "currency": "USD"}"#);

    meet(&tenant, &put("A00000001"), &put("A00000002")).await;
    meet(&tenant, &put("A00000001"), &read).await;
    meet(&tenant, &put("A00000001"), &preview).await;
    meet(&tenant, &create, &create).await;
    ask(&tenant, &put("A00000001")).await;
    ask(&tenant, &put("A00000001")).await;
    let (without, token) = set_up(false).await;
    let put = call(&token, "", "PUT", "/v1/accounts/A00000001", "{}");
    meet(&without, &put, &put).await;

    assert_eq!(tenant.counters().contended_calls, 0);
    assert_eq!(without.counters().contended_calls, 0);
    assert_eq!(without.counters().effective_writes, 2);
}

#[tokio::test(start_paused = true)]
async fn work_behind_a_cut_holds_its_account_until_it_is_done() {
    let (tenant, token) = set_up(true).await;
    let put = call(&token, "2024-05-20", "PUT", "/v1/accounts/A00000001", "{}");
    let kind = FaultKind::CutLater { milliseconds: 1000, reset: false };
    tenant.fault(Fault::once("/v1/accounts", kind));

    assert_eq!(ask(&tenant, &put).await, "");
    assert!(ask(&tenant, &put).await.starts_with("HTTP/1.1 409 "));
    sleep(Duration::from_millis(901)).await;

    assert!(ask(&tenant, &put).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(tenant.ledger().executed_twice()[0].times, 2);
}

#[tokio::test]
async fn every_category_has_its_status_from_the_newer_version_on() {
    let tenant = tenant(0).await;

    for category in Category::ALL {
        let fail = FaultKind::Fail { category, shape: None, message_bytes: 0 };
        tenant.fault(Fault::once("/v1/accounts", fail.clone()).times(2));
        let new = write(&tenant, "POST", "/v1/accounts", "{}").await;
        let old = get(&tenant, "/v1/accounts/A00000001").await;
        let status = match category.digits() {
            10 => 403,
            11 => 401,
            40 => 404,
            45 => 405,
            50 => 409,
            60 | 61 | 99 => 500,
            70 => 429,
            _ => 400,
        };
        assert_eq!((new.status, old.status), (status, 200), "{category:?}");
        let code = 50_000_000 + u32::from(category.digits());
        assert_eq!(old.json()["reasons"][0]["code"], code);
        tenant.fault(Fault::once("/v1/object", fail));
        let crud = write(&tenant, "PUT", "/v1/object/account/1", "{}").await;
        assert_eq!((crud.status, &crud.json()["Success"]), (200, &false.into()));
    }

    assert_eq!(tenant.counters().effective_writes, 0);
}

#[tokio::test]
async fn every_shape_of_a_failure_can_be_asked_for_and_is_compressed_when_large() {
    let tenant = tenant(0).await;
    let token = crate::wire::token(tenant.address()).await;
    let headers = format!("{}Accept-Encoding: gzip\r\n", bearer(&token));
    let call = request("POST", "/v1/accounts", &headers, "{}");

    for shape in ErrorShape::ALL {
        let kind =
            FaultKind::Fail { category: Category::Lock, shape: Some(shape), message_bytes: 2000 };
        tenant.fault(Fault::once("/v1", kind));
        let answer = crate::wire::send(tenant.address(), &call).await;
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{shape:?}");
        let mut text = String::new();
        GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
        let expected = match shape {
            ErrorShape::V1 => r#""code" : 50000050"#,
            ErrorShape::V1Text => r#""code":"50000050""#,
            ErrorShape::ObjectQuery => r#""requestId":"#,
            ErrorShape::Crud => r#"{"Errors":[{"Code":"LOCK_COMPETITION""#,
            ErrorShape::ActionRow => r#"[{"Errors":[{"Code":"LOCK_COMPETITION""#,
            ErrorShape::ActionFault => r#""FaultCode":"LOCK_COMPETITION""#,
            ErrorShape::SoapFault => "<faultcode>fns:LOCK_COMPETITION</faultcode>",
            ErrorShape::SoapRow => "<ns1:Success>false</ns1:Success>",
            ErrorShape::Aqua => r#""errorCode":90005"#,
            ErrorShape::DataQuery => r#""errorCode":"LINK_10000001""#,
            ErrorShape::Spring => r#""path":"/v1/accounts""#,
            ErrorShape::Message => "Operation failed due to a lock competition",
            ErrorShape::Edge => "<h1>409 Conflict",
        };
        assert!(text.contains(expected), "{shape:?}: {text}");
    }

    assert_eq!(tenant.ledger().effective().count(), 0);
}
