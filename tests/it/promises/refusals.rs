//! A refusal for a limit is waited out, or answered at once when it cannot be.

use std::time::Duration;

use emulator::{Fault, FaultKind, Options, RateWindow, ServiceTime};
use futures_util::future::join_all;
use http::Method;
use testkit::{House, Yaml};

use crate::caller::{Answer, ask, at_rest, eventually, get, request};

const SECOND: Duration = Duration::from_secs(1);

/// A tenant that asks refused callers to wait a second, and a gateway whose calls wait at most for `timeout`.
async fn house(timeout: &str) -> House {
    let options = Options {
        retry_after: SECOND,
        service_time: ServiceTime::Constant(Duration::from_millis(5)),
        ..Options::default()
    };
    let yaml = Yaml { tenant: vec![format!("queue: {{timeout: {timeout}}}")], ..Yaml::default() };
    House::start(options, &yaml).await
}

/// Category 70 behind HTTP 200, with the wait that `refuse` would have.
fn limit_in_body() -> FaultKind {
    let message =
        "The total number of concurrent requests has exceeded the limit allowed by the system.";
    FaultKind::Answer {
        status: 200,
        body: format!(
            r#"{{"success": false, "reasons": [{{"code": 50000070, "message": "{message}"}}]}}"#
        ),
        content_type: "application/json".to_owned(),
        headers: vec![("retry-after".to_owned(), "1".to_owned())],
        executed: false,
    }
}

/// Every shape in which Zuora says that a limit is reached: what goes wrong, for which call.
fn refusals() -> Vec<(FaultKind, Method, &'static str)> {
    let refuse = || FaultKind::RefuseConcurrency;
    vec![
        (refuse(), Method::GET, "/v1/accounts/A00000001"),
        (refuse(), Method::POST, "/v1/accounts"),
        (refuse(), Method::PUT, "/v1/accounts/A00000001"),
        (refuse(), Method::POST, "/v1/object/account"),
        (refuse(), Method::POST, "/v1/action/create"),
        (refuse(), Method::GET, "/v1/files/size-1000"),
        (refuse(), Method::GET, "/object-query/accounts"),
        (FaultKind::RefuseRate { reset: 1 }, Method::POST, "/v1/accounts"),
        (FaultKind::RefuseRate { reset: 1 }, Method::GET, "/v1/accounts/A00000001"),
        (limit_in_body(), Method::POST, "/v1/accounts"),
        (limit_in_body(), Method::GET, "/v1/accounts/A00000001"),
    ]
}

fn call(method: &Method, path: &str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let body = match (method.as_str(), path) {
        ("GET", _) => "",
        (_, "/v1/action/create") => {
            r#"{"type": "Account", "objects": [{"Name": "A", "Currency": "USD"}]}"#
        }
        _ => r#"{"name": "A", "Name": "A", "currency": "USD", "Currency": "USD"}"#,
    };
    request(method.clone(), path, body)
}

#[tokio::test]
async fn a_refusal_is_waited_out_and_the_call_executed_once() {
    join_all(refusals().into_iter().map(async |(kind, method, path)| {
        let house = house("30s").await;
        assert_eq!(ask(house.address(), get()).await.status, 200);
        let before = house.tenant.counters();
        house.tenant.fault(Fault::once(path, kind.clone()));

        let answer = ask(house.address(), call(&method, path)).await;

        let what = format!("{kind:?} {method} {path}: {answer:?}");
        assert_eq!(answer.status, 200, "{what}");
        assert_eq!(answer.header("retry-after"), None, "{what}");
        assert_eq!(answer.header("zuora-gateway-attempts"), Some("2"), "{what}");
        assert_eq!(answer.header("zuora-gateway-waited"), Some("cooldown"), "{what}");
        assert!((SECOND..4 * SECOND).contains(&answer.took), "{what}");
        let ledger = house.tenant.ledger();
        assert_eq!(ledger.executed_total, before.executed_total + 1, "{what}");
        let track_id = answer.header("zuora-track-id").unwrap();
        assert_eq!(ledger.with_track_id(track_id).count(), 1, "{what}");
        at_rest(&house).await;
    }))
    .await;
}

#[tokio::test]
async fn a_refusal_that_outlasts_the_deadline_is_answered_at_once() {
    join_all(refusals().into_iter().map(async |(kind, method, path)| {
        let house = house("900ms").await;
        assert_eq!(ask(house.address(), get()).await.status, 200);
        let before = house.tenant.counters().executed_total;
        house.tenant.fault(Fault::once(path, kind.clone()));

        let answer = ask(house.address(), call(&method, path)).await;

        let what = format!("{kind:?} {method} {path}: {answer:?}");
        assert_turned_away(&answer, &what);
        assert!(answer.took < Duration::from_millis(700), "{what}");
        assert_eq!(house.tenant.counters().executed_total, before, "{what}");
        at_rest(&house).await;
    }))
    .await;
}

#[track_caller]
fn assert_turned_away(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 429, "{what}");
    assert_eq!(answer.header("zuora-gateway-error"), Some("cooldown"), "{what}");
    assert_eq!(answer.header("zuora-gateway-executed"), Some("no"), "{what}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{what}");
    let body = answer.json();
    assert_eq!(body["success"], false, "{what}");
    assert_eq!(body["reasons"][0]["code"], 50_000_070, "{what}");
    assert_eq!(body["processId"], answer.header("zuora-track-id").unwrap(), "{what}");
}

#[tokio::test]
async fn a_refusal_for_rate_holds_everybody_until_the_reset() {
    let house = house("30s").await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);
    house.tenant.fault(Fault::once("/v1/accounts", FaultKind::RefuseRate { reset: 1 }));

    let refused = tokio::spawn(ask(address, get()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let other = ask(address, request(Method::GET, "/object-query/accounts", "")).await;

    assert_eq!((other.status.as_u16(), refused.await.unwrap().status.as_u16()), (200, 200));
    assert_eq!(other.header("zuora-gateway-waited"), Some("cooldown"));
    assert!(other.took > Duration::from_millis(700), "{:?}", other.took);
    // It waited here: it was not refused there.
    assert_eq!(other.header("zuora-gateway-attempts"), Some("1"));
    assert_eq!(house.tenant.counters().refused_rate, 1);
}

#[tokio::test]
async fn a_refusal_for_concurrency_holds_only_its_own_pool() {
    let house = house("30s").await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);
    house.tenant.fault(Fault::once("/v1/accounts", FaultKind::RefuseConcurrency));

    let refused = tokio::spawn(ask(address, get()));
    eventually("refused", async || {
        let refused = house.tenant.counters().refused_concurrency;
        (refused == 1).then_some(()).ok_or(format!("{refused} refusals"))
    })
    .await;
    let other = ask(address, request(Method::GET, "/object-query/accounts", "")).await;

    assert_eq!((other.status.as_u16(), refused.await.unwrap().status.as_u16()), (200, 200));
    assert!(other.took < Duration::from_millis(500), "{:?}", other.took);
}

#[tokio::test]
async fn a_tenant_whose_rate_is_used_up_is_waited_for() {
    let options = Options {
        rate: vec![RateWindow { limit: 25, seconds: 1 }],
        service_time: ServiceTime::Constant(Duration::from_millis(5)),
        ..Options::default()
    };
    let house = House::start(options, &Yaml::default()).await;

    let answers = join_all((0..60).map(|_| ask(house.address(), get()))).await;

    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200; 60]);
    let ledger = house.tenant.counters();
    assert!(ledger.refused_rate > 0);
    assert_eq!(ledger.executed_total, 60);
}

#[tokio::test]
async fn outsiders_who_take_the_permits_are_waited_out() {
    let house = house("30s").await;
    assert_eq!(ask(house.address(), get()).await.status, 200);
    let outsider = house.tenant.occupy("Default", 40).unwrap();

    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(ask(house.address(), get()))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(outsider);

    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(house.tenant.counters().executed_total, 6);
    assert!(house.tenant.counters().refused_concurrency > 0);
}
