//! Faults do what they say, and the ledger tells whether the work was done.

use emulator::{Fault, FaultKind, Tenant};

use crate::wire::{Raw, bearer, exchange, get, request, send, tenant, token, write};

const ACCOUNT: &str = r#"{"name": "A", "currency": "USD"}"#;

async fn post(tenant: &Tenant) -> Raw {
    write(tenant, "POST", "/v1/accounts", ACCOUNT).await
}

#[tokio::test]
async fn an_answer_may_be_replaced_before_or_after_the_work() {
    let tenant = tenant(0).await;
    let answer = |executed| FaultKind::Answer {
        status: 502,
        body: "gone".into(),
        content_type: "text/plain".into(),
        headers: vec![("X-Edge".into(), "1".into())],
        executed,
    };

    tenant.fault(Fault::once("/v1/accounts", answer(false)));
    let before = post(&tenant).await;
    assert_eq!((before.status, before.body.as_slice()), (502, b"gone".as_slice()));
    assert_eq!(before.header("x-edge"), Some("1"));
    assert_eq!(tenant.counters().executed_writes, 0);

    tenant.fault(Fault::once("/v1/accounts", answer(true)));
    assert_eq!(post(&tenant).await.status, 502);
    assert_eq!(tenant.counters().executed_writes, 1);
    assert_eq!(post(&tenant).await.status, 200);
}

#[tokio::test]
async fn a_connection_may_be_cut_before_or_after_the_work_or_midway() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;
    let call = request("POST", "/v1/accounts", &bearer(&token), ACCOUNT);

    tenant.fault(Fault::once("/v1", FaultKind::Cut { executed: false }));
    assert!(exchange(tenant.address(), &call).await.is_empty());
    assert_eq!(tenant.counters().executed_writes, 0);
    tenant.fault(Fault::once("/v1", FaultKind::Cut { executed: true }));
    assert!(exchange(tenant.address(), &call).await.is_empty());
    assert_eq!(tenant.counters().executed_writes, 1);

    tenant.fault(Fault::once("/v1", FaultKind::CutBody { after: 7 }));
    let broken = send(tenant.address(), &call).await;
    assert_eq!((broken.status, broken.body.len()), (200, 7));
    let announced: usize = broken.header("content-length").unwrap().parse().unwrap();
    assert!(announced > 7);
}

#[tokio::test]
async fn refusals_come_when_asked_for_and_do_no_work() {
    let tenant = tenant(0).await;
    let statuses = [
        (FaultKind::RefuseConcurrency, 429),
        (FaultKind::RefuseRate { reset: 9 }, 429),
        (FaultKind::Unauthenticated, 401),
        (FaultKind::LimitInBody, 200),
        (FaultKind::HtmlUnavailable, 503),
    ];

    for (kind, status) in statuses {
        tenant.fault(Fault::once("/v1/accounts", kind.clone()));
        assert_eq!(post(&tenant).await.status, status, "{kind:?}");
    }

    let ledger = tenant.counters();
    assert_eq!(ledger.executed_writes, 0);
    assert_eq!((ledger.refused_concurrency, ledger.refused_rate), (2, 1));
    assert_eq!((ledger.unauthenticated_calls, ledger.faulted_calls), (1, 5));
}

#[tokio::test]
async fn contention_is_told_by_version_and_rolls_back() {
    let tenant = tenant(0).await;

    tenant.fault(Fault::once("/v1/accounts", FaultKind::Contended).method("POST"));
    let answer = post(&tenant).await;

    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["reasons"][0]["code"], 50_000_050);
    assert_eq!(get(&tenant, "/object-query/accounts/A00000101").await.status, 404);
}

#[tokio::test]
async fn a_body_may_have_any_size() {
    let tenant = tenant(0).await;

    for bytes in [0, 1, 999, 1_000_000] {
        tenant.fault(Fault::once("/v1", FaultKind::BodySize { bytes }));
        let token = token(tenant.address()).await;
        let call = request("GET", "/v1/accounts/A00000001", &bearer(&token), "")
            .replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(send(tenant.address(), &call).await.body.len() as u64, bytes);
    }
}

#[tokio::test]
async fn the_login_fails_like_any_call() {
    let tenant = tenant(0).await;
    let form = "client_id=a&client_secret=b&grant_type=client_credentials";
    let login = request("POST", "/oauth/token", "", form);

    tenant.fault(Fault::once("/oauth/token", FaultKind::HtmlUnavailable));
    assert_eq!(send(tenant.address(), &login).await.status, 503);
    tenant.fault(Fault::once("/oauth/token", FaultKind::Cut { executed: false }));
    assert!(exchange(tenant.address(), &login).await.is_empty());
    tenant.fault(Fault::once("/oauth/token", FaultKind::Delay { milliseconds: 50 }));
    let began = tokio::time::Instant::now();
    assert_eq!(send(tenant.address(), &login).await.status, 200);
    assert!(began.elapsed().as_millis() >= 50);
}
