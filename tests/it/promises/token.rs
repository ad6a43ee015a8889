//! One token for everybody, and never one too many.

use std::time::Duration;

use emulator::{Fault, FaultKind, Options, ServiceTime};
use futures_util::future::join_all;
use http::Method;
use http_body_util::BodyExt;
use testkit::{House, Yaml};

use super::skip;
use crate::caller::{ask, connect_h2, eventually, get, request};

/// How many calls wait for the token.
const CALLS: usize = 10_000;

/// How many requests one HTTP/2 connection carries here; the gateway allows a few more.
const STREAMS: usize = 250;

/// A token that is younger is not replaced because of a 401.
const YOUNG: Duration = Duration::from_secs(6);

#[tokio::test]
async fn ten_thousand_calls_that_wait_at_the_end_of_the_token_ask_for_one() {
    let life = Duration::from_secs(3600);
    let options = Options {
        token_lifetime: life,
        service_time: ServiceTime::Constant(Duration::ZERO),
        ..Options::default()
    };
    let yaml = Yaml {
        tenant: vec!["queue: {max_requests: 20000, timeout: 5m}".to_owned()],
        ..Yaml::default()
    };
    let house = House::start(options, &yaml).await;
    assert_eq!(ask(house.address(), get()).await.status, 200);
    let slow = FaultKind::Delay { milliseconds: 15_000 };
    house.tenant.fault(Fault::once("/oauth/token", slow));

    // The token expires, and the next one is slow to come.
    skip(life).await;
    let mut calls = Vec::new();
    for _ in 0..CALLS / STREAMS {
        let mut connection = connect_h2(house.address()).await;
        for _ in 0..STREAMS {
            let answer = connection.send_request(get());
            calls.push(tokio::spawn(async move {
                let response = answer.await.unwrap();
                let status = response.status();
                response.into_body().collect().await.unwrap();
                status
            }));
        }
    }
    eventually("are all there", async || {
        let snapshot = house.gateway.admissions()[0].1.snapshot();
        let pool = snapshot.pools.iter().find(|pool| &*pool.name == "Default").unwrap();
        let queued: usize = pool.apps.iter().map(|app| app.queued).sum();
        let there = queued + pool.in_use as usize;
        (there == CALLS).then_some(()).ok_or(format!("{there} calls"))
    })
    .await;
    assert_eq!(house.tenant.counters().executed_total, 1);
    skip(Duration::from_secs(15)).await;

    let statuses = join_all(calls).await;
    assert!(statuses.iter().all(|status| *status.as_ref().unwrap() == 200));
    let ledger = house.tenant.counters();
    assert_eq!(ledger.executed_total, 1 + CALLS as u64);
    assert_eq!((ledger.token_calls, ledger.unauthenticated_calls), (2, 0));
}

#[tokio::test]
async fn tokens_taken_back_are_replaced_once_for_all_callers() {
    let house = House::plain(Duration::from_millis(10)).await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);
    skip(YOUNG).await;
    house.tenant.revoke_tokens();

    let create = || request(Method::POST, "/v1/accounts", r#"{"name": "A", "currency": "USD"}"#);
    let reads = join_all((0..30).map(|_| ask(address, get())));
    let writes = join_all((0..30).map(|_| ask(address, create())));
    let (reads, writes) = tokio::join!(reads, writes);

    for answer in reads.iter().chain(&writes) {
        assert_eq!(answer.status, 200, "{answer:?}");
        let attempts = answer.header("zuora-gateway-attempts").unwrap();
        assert!(["1", "2"].contains(&attempts), "{answer:?}");
    }
    let ledger = house.tenant.counters();
    assert_eq!((ledger.token_calls, ledger.executed_writes), (2, 30));
    assert!((1..=60).contains(&ledger.unauthenticated_calls), "{}", ledger.unauthenticated_calls);
}

#[tokio::test]
async fn a_401_is_repeated_once_with_another_token() {
    let house = House::plain(Duration::ZERO).await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);
    skip(YOUNG).await;
    house.tenant.fault(Fault::once("/v1/accounts", FaultKind::Unauthenticated).method("POST"));

    let account = r#"{"name": "A", "currency": "USD"}"#;
    let answer = ask(address, request(Method::POST, "/v1/accounts", account)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("zuora-gateway-attempts"), Some("2"));
    let ledger = house.tenant.counters();
    assert_eq!(ledger.token_calls, 2);
    assert_eq!((ledger.unauthenticated_calls, ledger.executed_writes), (1, 1));
}

#[tokio::test]
async fn a_second_401_is_the_callers_to_see() {
    let house = House::plain(Duration::ZERO).await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);
    skip(YOUNG).await;
    house.tenant.fault(Fault::once("/v1/accounts", FaultKind::Unauthenticated).times(2));

    let answer = ask(address, get()).await;

    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.json()["reasons"][0]["code"], "90000011", "Zuora's own words");
    assert_eq!(answer.header("zuora-gateway-error"), None);
    assert_eq!(answer.header("zuora-gateway-attempts"), Some("2"));
    let ledger = house.tenant.counters();
    assert_eq!((ledger.token_calls, ledger.unauthenticated_calls), (2, 2));
    assert_eq!(ask(address, get()).await.status, 200);
}

#[tokio::test]
async fn a_401_for_a_token_just_fetched_is_not_repeated_with_it() {
    let house = House::plain(Duration::ZERO).await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);
    house.tenant.fault(Fault::once("/v1/accounts", FaultKind::Unauthenticated));

    let answer = ask(address, get()).await;

    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("zuora-gateway-attempts"), Some("1"));
    assert_eq!(house.tenant.counters().token_calls, 1);
}

#[tokio::test]
async fn a_token_that_still_serves_is_used_while_no_new_one_can_be_had() {
    let life = Duration::from_secs(3600);
    let options = Options { token_lifetime: life, ..Options::default() };
    let yaml = Yaml { tenant: vec!["queue: {timeout: 1s}".to_owned()], ..Yaml::default() };
    let house = House::start(options, &yaml).await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);
    house.tenant.fault(Fault::once("/oauth/token", FaultKind::HtmlUnavailable).times(1000));

    // Past the time to replace it, but not past its end.
    skip(life - Duration::from_secs(30)).await;
    eventually("asked in vain", async || {
        let asked = house.tenant.counters().faulted_calls;
        (asked > 0).then_some(()).ok_or(format!("asked {asked} times"))
    })
    .await;
    assert_eq!(ask(address, get()).await.status, 200);

    // Past its end: nothing goes out without a token.
    skip(Duration::from_secs(60)).await;
    let executed = house.tenant.counters().executed_total;
    let answer = ask(address, get()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("zuora-gateway-error")),
        (503, Some("token-unavailable"))
    );
    let ledger = house.tenant.counters();
    assert_eq!((ledger.executed_total, ledger.unauthenticated_calls), (executed, 0));
}
