//! Outcomes that no callout brings: the emulated tenant keeps callouts to itself, and its ledger says how writes ended.

use std::time::Duration;

use emulator::{
    AsyncOutcome, AsyncWrites, Definition, HistoryContext, Mishap, Options, ServiceTime, Tenant,
};
use http::{Method, StatusCode};
use serde_json::json;
use testkit::{House, Yaml};
use tokio::time::{Instant, sleep};

use crate::caller::{Answer, ask, request};

const ACCOUNT: &str = r#"{"name":"A","currency":"USD","billCycleDay":1,"billToContact":{"firstName":"A","lastName":"B","country":"US"}}"#;
const ORDER: &str = r#"{"orderDate":"2026-01-01","existingAccountNumber":"A00000001","subscriptions":[{"orderActions":[{"type":"CreateSubscription","createSubscription":{"terms":{"initialTerm":{"termType":"EVERGREEN"}}}}]}]}"#;

/// A gateway that looks up outcomes after two seconds, and gives up after ten.
async fn house(later: AsyncWrites) -> House {
    let service_time = ServiceTime::Constant(Duration::ZERO);
    let options = Options { service_time, async_writes: later, ..Options::default() };
    let tenant = Tenant::start(options).await.unwrap();
    let callouts = "callouts: {public_url: 'http://127.0.0.1:9', username: zuora, password: word}";
    let rewrite = "rewrite: [{operations: ['POST /v1/orders'], when: on_request}]";
    let times = "reconcile_after: 2s, unknown_after: 10s";
    let yaml = Yaml {
        tenant: vec![format!("async: {{{callouts}, {rewrite}, {times}}}")],
        ..Yaml::default()
    };
    let base_url = tenant.base_url();
    let house = House::before(tenant, &base_url, &yaml).await;
    let url = format!("{}/_gateway/callouts/production", house.url());
    house.tenant.set_definitions(&Definition::both(&url, "zuora", "word"));
    house
}

fn quick() -> AsyncWrites {
    AsyncWrites {
        submit_time: ServiceTime::Constant(Duration::ZERO),
        work_time: Some(ServiceTime::Constant(Duration::ZERO)),
        ..AsyncWrites::default()
    }
}

/// A write that may take its time. Returns where its outcome will be.
async fn write(house: &House, path: &str, body: &str) -> String {
    let mut write = request(Method::POST, path, body);
    write.headers_mut().insert("prefer", "respond-async".parse().unwrap());
    let answer = ask(house.address(), write).await;
    assert!(answer.status.is_success(), "{answer:?}");
    assert_eq!(answer.header("preference-applied"), Some("respond-async"), "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

async fn look(house: &House, place: &str) -> Answer {
    ask(house.address(), request(Method::GET, place, "")).await
}

/// The outcome, once there is one.
async fn outcome(house: &House, place: &str) -> Answer {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = look(house, place).await;
        if answer.status != StatusCode::ACCEPTED {
            return answer;
        }
        assert!(Instant::now() < until, "no outcome: {answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_outcome_whose_callout_was_lost_is_found_in_the_history() {
    for context in [HistoryContext::Object, HistoryContext::Text] {
        let house = house(AsyncWrites { history_context: context, ..quick() }).await;
        house.tenant.plan_mishap(Mishap::Lost, 1);

        let place = write(&house, "/v1/accounts", ACCOUNT).await;
        let shown = outcome(&house, &place).await.json();

        assert_eq!(shown["success"], true, "{shown:#}");
        let ledger = house.tenant.ledger();
        let [write] = &ledger.async_requests[..] else { panic!("{ledger:#?}") };
        assert!(write.callouts.iter().all(|it| it.status < 0 && !it.resent), "it never came");
        let Some(AsyncOutcome::Succeeded { id, .. }) = &write.outcome else { panic!("{write:#?}") };
        assert_eq!(shown["id"], id.as_str(), "{shown:#}");
    }
}

#[tokio::test]
async fn a_lost_callout_of_which_the_history_tells_nothing_is_sent_again() {
    let later = AsyncWrites { history_context: HistoryContext::Absent, ..quick() };
    let house = house(later).await;
    house.tenant.plan_mishap(Mishap::Lost, 1);

    let place = write(&house, "/v1/accounts", ACCOUNT).await;
    let shown = outcome(&house, &place).await.json();

    assert_eq!(shown["success"], true, "{shown:#}");
    let ledger = house.tenant.ledger();
    let [.., last] = &ledger.async_requests[0].callouts[..] else { panic!("{ledger:#?}") };
    assert_eq!((last.status, last.resent), (200, true), "{ledger:#?}");
}

#[tokio::test]
async fn an_outcome_of_which_nothing_is_left_is_unknown_in_time() {
    let house = house(quick()).await;
    house.tenant.plan_mishap(Mishap::Vanished, 1);
    let begun = Instant::now();

    let place = write(&house, "/v1/accounts", ACCOUNT).await;
    let answer = outcome(&house, &place).await;

    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(answer.header("zuora-gateway-error"), Some("outcome-unknown"), "{answer:?}");
    assert_eq!(answer.header("zuora-gateway-executed"), Some("maybe"));
}

#[tokio::test]
async fn an_order_is_a_job_whose_result_is_the_outcome() {
    let house = house(AsyncWrites { delay: Duration::from_secs(2), ..quick() }).await;

    let place = write(&house, "/v1/orders", ORDER).await;
    let shown = outcome(&house, &place).await.json();

    assert_eq!(shown["success"], true, "{shown:#}");
    assert!(shown["orderNumber"].is_string(), "{shown:#}");
    let ledger = house.tenant.ledger();
    let polls = ledger.executed.iter().filter(|one| one.path.starts_with("/v1/async-jobs/"));
    assert!((2..=4).contains(&polls.count()), "{ledger:#?}");
}

#[tokio::test]
async fn an_order_that_fails_is_told_with_its_reasons() {
    let house = house(quick()).await;

    let place =
        write(&house, "/v1/orders", r#"{"orderDate":"2026-01-01","existingAccountNumber":"none"}"#)
            .await;
    let shown = outcome(&house, &place).await.json();

    assert_eq!(shown["success"], false, "{shown:#}");
    let reason = &shown["reasons"][0];
    assert!(reason["code"].is_string() && reason["message"].is_string(), "{shown:#}");
}

#[tokio::test]
async fn twenty_who_poll_the_same_job_cost_one_permit() {
    let house = house(AsyncWrites { delay: Duration::from_secs(60), ..quick() }).await;
    let taken = ask(house.address(), request(Method::POST, "/v1/async/orders", ORDER)).await;
    let job = taken.json()["jobId"].as_str().unwrap().to_owned();
    // So long that all of them ask before the first has its answer.
    house.tenant.set_service_time(ServiceTime::Constant(Duration::from_secs(5)));

    let path = format!("/v1/async-jobs/{job}");
    let polls = (0..20).map(|_| ask(house.address(), request(Method::GET, &path, "")));
    let answers = futures_util::future::join_all(polls).await;

    let mut ids: Vec<_> =
        answers.iter().map(|answer| answer.header("zuora-track-id").unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20, "each has its own");
    for answer in &answers {
        assert_eq!(answer.json()["status"], json!("Processing"), "{answer:?}");
    }
    let ledger = house.tenant.ledger();
    let polled = ledger.executed.iter().filter(|one| one.path == path).count();
    assert_eq!(polled, 1, "{ledger:#?}");
}
