//! How many at once, how many in a while, and with what credential.

use std::time::Duration;

use emulator::{Options, RateWindow, ServiceTime};
use futures_util::future::join_all;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::wire::{bearer, get, request, send, start, tenant, token, until};

#[tokio::test]
async fn exactly_the_limit_is_let_in_and_the_rest_is_refused_at_once() {
    let tenant = tenant(300).await;
    let token = token(tenant.address()).await;

    let call = request("GET", "/v1/accounts/A00000001", &bearer(&token), "");
    let answers = join_all((0..50).map(|_| send(tenant.address(), &call))).await;

    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused.len(), 10);
    let first = refused[0];
    assert_eq!(first.header("retry-after"), Some("120"));
    assert_eq!(first.header("concurrency-limit-limit"), Some("40"));
    assert_eq!(first.json()["reasons"][0]["code"], 50_000_070);
    let ledger = tenant.ledger();
    assert_eq!(ledger.most_in_flight["Default"], 40);
    assert_eq!((ledger.refused_concurrency, ledger.executed_total), (10, 40));
    assert!(ledger.mean_service_seconds >= 0.3);
}

#[tokio::test]
async fn the_ledger_tells_how_full_it_was_and_whose_calls_were_refused() {
    let tenant = tenant(100).await;
    let token = token(tenant.address()).await;
    tenant.set_limit("Default", Some(2));

    let call = |app: &str| {
        let headers = bearer(&token).replace("test-1", &format!("{app}-1"));
        request("GET", "/v1/accounts/A00000001", &headers, "")
    };
    let calls = ["a", "b", "c"].map(call);
    let answers = join_all(calls.iter().map(|call| send(tenant.address(), call))).await;

    let ledger = tenant.ledger();
    let refused = answers.iter().position(|answer| answer.status == 429).unwrap();
    assert_eq!(ledger.refusals.len(), 1);
    assert_eq!(ledger.refusals[0].app.as_deref(), Some(["a", "b", "c"][refused]));
    assert_eq!(ledger.refusals[0].limit_type, "Default");
    let in_flight: Vec<u32> = ledger.executed.iter().map(|one| one.in_flight).collect();
    assert!(in_flight == [1, 2] || in_flight == [2, 1], "{in_flight:?}");
    tenant.reset();
    assert!(tenant.ledger().refusals.is_empty());
}

#[tokio::test]
async fn work_goes_on_and_keeps_its_permit_when_the_caller_hangs_up() {
    let tenant = tenant(400).await;
    let token = token(tenant.address()).await;
    tenant.set_limit("High-volume transactions", Some(1));

    let body = r#"{"name": "A", "currency": "USD", "accountNumber": "GONE"}"#;
    let call = request("POST", "/v1/accounts", &bearer(&token), body);
    let mut caller = TcpStream::connect(tenant.address()).await.unwrap();
    caller.write_all(call.as_bytes()).await.unwrap();
    until(|| tenant.counters().in_flight["High-volume transactions"] == 1).await;
    drop(caller);
    sleep(Duration::from_millis(100)).await;

    assert_eq!(send(tenant.address(), &call).await.status, 429);
    assert_eq!(tenant.counters().executed_total, 0);
    until(|| tenant.counters().executed_total == 1).await;
    assert_eq!(tenant.counters().in_flight["High-volume transactions"], 0);
    assert_eq!(get(&tenant, "/v1/accounts/GONE").await.json()["basicInfo"]["name"], "A");
}

#[tokio::test]
async fn a_call_whose_body_never_ends_is_not_executed() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;

    let call = request("POST", "/v1/accounts", &bearer(&token), r#"{"name": "A"}"#);
    let mut caller = TcpStream::connect(tenant.address()).await.unwrap();
    caller.write_all(&call.as_bytes()[..call.len() - 1]).await.unwrap();
    until(|| tenant.counters().in_flight["High-volume transactions"] == 1).await;
    drop(caller);

    until(|| tenant.counters().in_flight["High-volume transactions"] == 0).await;
    assert_eq!(tenant.counters().executed_total, 0);
}

#[tokio::test]
async fn a_large_download_holds_its_permit_until_its_last_byte() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;

    let path = "/v1/files/size-50000000";
    let call = request("GET", path, &bearer(&token), "");
    let mut reader = TcpStream::connect(tenant.address()).await.unwrap();
    reader.write_all(call.as_bytes()).await.unwrap();
    until(|| tenant.counters().executed_total == 1).await;

    assert_eq!(tenant.counters().in_flight["Default"], 1);
    drop(reader);
    until(|| tenant.counters().in_flight["Default"] == 0).await;
    let whole = send(tenant.address(), &call).await;
    assert_eq!(whole.body.len(), 50_000_000);
    assert_eq!(whole.header("content-type"), Some("application/pdf;charset=UTF-8"));
}

#[tokio::test]
async fn limit_types_do_not_share_their_room() {
    let tenant = tenant(200).await;
    for limit_type in ["Default", "High-volume transactions", "Object Query"] {
        assert!(tenant.set_limit(limit_type, Some(1)));
    }
    assert!(!tenant.set_limit("Big Process", Some(1)));
    let token = token(tenant.address()).await;

    let calls = [
        request("GET", "/v1/accounts/A00000001", &bearer(&token), ""),
        request("POST", "/rest/v1//orders/preview/", &bearer(&token), "{}"),
        request("GET", "/object-query/accounts", &bearer(&token), ""),
    ];
    let answers = join_all(calls.iter().map(|call| send(tenant.address(), call))).await;

    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let types: Vec<_> =
        answers.iter().map(|answer| answer.header("concurrency-limit-type").unwrap()).collect();
    assert_eq!(types, ["Default", "High-volume transactions", "Object Query"]);
}

#[tokio::test]
async fn an_outsider_leaves_less_room() {
    let tenant = tenant(100).await;
    let token = token(tenant.address()).await;
    let outsider = tenant.occupy("Default", 38).unwrap();

    let call = request("GET", "/v1/accounts/A00000001", &bearer(&token), "");
    let answers = join_all((0..5).map(|_| send(tenant.address(), &call))).await;
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    drop(outsider);

    assert_eq!(refused, 3);
    assert_eq!(tenant.counters().outsiders["Default"], 0);
    assert_eq!(send(tenant.address(), &call).await.status, 200);
}

#[tokio::test]
async fn a_token_stops_working_when_its_time_is_over() {
    let tenant = start(Options {
        token_lifetime: Duration::from_secs(1),
        service_time: ServiceTime::ZERO,
        ..Options::default()
    })
    .await;
    let token = token(tenant.address()).await;

    let call = request("GET", "/v1/accounts/A00000001", &bearer(&token), "");
    assert_eq!(send(tenant.address(), &call).await.status, 200);
    sleep(Duration::from_millis(1050)).await;

    let late = send(tenant.address(), &call).await;
    assert_eq!((late.status, late.json()["reasons"][0]["code"].as_str()), (401, Some("90000011")));
    assert_eq!(tenant.counters().unauthenticated_calls, 1);
}

#[tokio::test]
async fn a_used_up_rate_window_refuses_with_a_bare_70_and_no_retry_after() {
    let tenant = start(Options {
        rate: vec![RateWindow { limit: 2, seconds: 60 }, RateWindow { limit: 100, seconds: 3600 }],
        service_time: ServiceTime::ZERO,
        ..Options::default()
    })
    .await;
    let token = token(tenant.address()).await;

    let call = request("GET", "/v1/accounts/A00000001", &bearer(&token), "");
    let first = send(tenant.address(), &call).await;
    assert_eq!(first.header("ratelimit-limit"), Some("2, 2;w=60, 100;w=3600"));
    assert_eq!(first.header("ratelimit-remaining"), Some("1"));
    send(tenant.address(), &call).await;
    let refused = send(tenant.address(), &call).await;

    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(refused.json()["reasons"][0]["code"], 70);
    assert!(refused.json().get("success").is_none());
    assert_eq!(tenant.counters().refused_rate, 1);
}

#[tokio::test]
async fn stopping_does_not_wait_for_long_work() {
    let tenant = tenant(60_000).await;
    let token = token(tenant.address()).await;
    let call = request("GET", "/v1/accounts/A00000001", &bearer(&token), "");
    let mut caller = TcpStream::connect(tenant.address()).await.unwrap();
    caller.write_all(call.as_bytes()).await.unwrap();
    until(|| tenant.counters().in_flight["Default"] == 1).await;

    let address = tenant.address();
    tokio::time::timeout(Duration::from_secs(3), tenant.stop()).await.unwrap();

    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_a_body_that_stays_away() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;
    tenant.set_limit("Default", Some(0));

    let headers = format!("{}Expect: 100-continue\r\n", bearer(&token));
    let call = request("POST", "/v1/usage", &headers, "").replace("Length: 0", "Length: 9");
    let answer = send(tenant.address(), &call).await;
    assert_eq!(answer.status, 429);

    let call = call.replace("Expect: 100-continue\r\n", "");
    assert_eq!(send(tenant.address(), &call).await.status, 429);
}
