//! What a caller wishes: how long it waits, and for whom it calls.

use std::time::Duration;

use bytes::Bytes;
use emulator::{Options, ServiceTime};
use http::Request;
use http_body_util::Full;
use testkit::{House, Yaml};

use crate::caller::{ask, at_rest, eventually, get};

/// A tenant that serves one call at a time, each for a second and a half, and an app that waits for two seconds.
async fn house() -> House {
    let options = Options {
        limits: vec![("Default".to_owned(), 1)],
        service_time: ServiceTime::Constant(Duration::from_millis(1500)),
        ..Options::default()
    };
    let yaml = Yaml {
        tenant: vec!["concurrency: {limits: {Default: 1}, headroom: 0}".to_owned()],
        app: vec!["queue_timeout: 2s".to_owned()],
        ..Yaml::default()
    };
    House::start(options, &yaml).await
}

fn willing(seconds: u32) -> Request<Full<Bytes>> {
    let mut request = get();
    let prefer = format!("respond-async;q=\"1, 2\", wait={seconds}");
    request.headers_mut().insert("prefer", prefer.parse().unwrap());
    request
}

async fn busy(house: &House) {
    eventually("busy", async || {
        let in_flight = house.tenant.counters().in_flight.values().sum::<u32>();
        (in_flight == 1).then_some(()).ok_or(format!("{in_flight} at Zuora"))
    })
    .await;
}

#[tokio::test]
async fn a_caller_is_answered_when_it_wants_to_be() {
    let house = house().await;
    let address = house.address();
    let first = tokio::spawn(ask(address, get()));
    busy(&house).await;

    let answer = ask(address, willing(1)).await;

    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.took < Duration::from_millis(1300), "{answer:?}");
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{answer:?}");
    assert_eq!(first.await.unwrap().status, 200);
    at_rest(&house).await;
    assert_eq!(house.tenant.counters().executed_total, 1);
}

#[tokio::test]
async fn a_caller_that_can_wait_longer_than_its_app_gets_its_answer() {
    let house = house().await;
    let address = house.address();
    let first = tokio::spawn(ask(address, get()));
    busy(&house).await;
    let second = tokio::spawn(ask(address, get()));
    tokio::time::sleep(Duration::from_millis(200)).await;

    // Its turn comes after some three seconds.
    let answer = ask(address, willing(30)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.took > Duration::from_secs(2), "{answer:?}");
    assert_eq!(answer.header("zuora-gateway-waited"), Some("capacity"));
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!(
        (first.await.unwrap().status.as_u16(), second.await.unwrap().status.as_u16()),
        (200, 200)
    );
}

#[tokio::test]
async fn a_user_with_many_calls_does_not_hold_up_one_with_few() {
    let options = Options {
        limits: vec![("Default".to_owned(), 1)],
        service_time: ServiceTime::Constant(Duration::from_millis(40)),
        ..Options::default()
    };
    let yaml = Yaml {
        tenant: vec!["concurrency: {limits: {Default: 1}, headroom: 0}".to_owned()],
        app: vec!["fairness_key: X-End-User".to_owned()],
        ..Yaml::default()
    };
    let house = House::start(options, &yaml).await;
    let address = house.address();
    let call = |user: &str| {
        let mut request = get();
        request.headers_mut().insert("x-end-user", user.parse().unwrap());
        request.headers_mut().insert("zuora-track-id", track_id(user));
        tokio::spawn(ask(address, request))
    };

    let mut calls: Vec<_> = (0..20).map(|_| call("many")).collect();
    tokio::time::sleep(Duration::from_millis(60)).await;
    calls.extend((0..3).map(|_| call("few")));
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }

    let ledger = house.tenant.ledger();
    let users: Vec<_> = ledger.executed.iter().map(|call| call.track_id.clone().unwrap()).collect();
    let last = users.iter().rposition(|user| user.starts_with("few")).unwrap();
    assert!(last <= 11, "{users:?}");
}

/// A track id by which the ledger tells whose call it was.
fn track_id(user: &str) -> http::HeaderValue {
    format!("{user}-{}", rand::random::<u32>()).parse().unwrap()
}
