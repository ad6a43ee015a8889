//! Whose turn it is.

use std::time::Duration;

use bytes::Bytes;
use emulator::{Options, ServiceTime};
use http::{Method, Request};
use http_body_util::Full;
use testkit::{House, Yaml};
use tokio::time::sleep;

use super::load::{self, Load};
use crate::caller::{ask, at_rest, get, request, request_of};

const SMALL: &str = "the-secret-of-the-small-app";

/// A tenant that allows `limit` calls at a time, each of `service_time`, and a second app.
async fn house(limit: u32, service_time: Duration) -> House {
    let options = Options {
        limits: vec![("Default".to_owned(), limit)],
        service_time: ServiceTime::Constant(service_time),
        ..Options::default()
    };
    let small = format!("client_id: 0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b0009, secret: {SMALL}");
    let yaml = Yaml {
        tenant: vec![format!("concurrency: {{limits: {{Default: {limit}}}, headroom: 0}}")],
        apps: vec![("small".to_owned(), small)],
        ..Yaml::default()
    };
    House::start(options, &yaml).await
}

fn small(_: u32) -> Request<Full<Bytes>> {
    request_of(SMALL, Method::GET, "/v1/accounts/A00000002", "")
}

#[tokio::test]
async fn an_app_with_few_connections_gets_as_many_turns_as_one_with_many() {
    let house = house(2, Duration::from_millis(20)).await;
    let load = |connections, request| {
        let lasting = Duration::from_secs(2);
        Load { address: house.address(), request, connections, hang_ups: 0.0, lasting }
    };

    load::all(&[load(100, |_| get()), load(4, small)]).await;

    at_rest(&house).await;
    let ledger = house.tenant.counters();
    // The many calls that wait at the end are served alone, so only half of two seconds' worth is the small app's.
    let (many, few) = (ledger.apps["app"].executed, ledger.apps["small"].executed);
    let contested = (many + few).saturating_sub(100);
    let share = few as f64 / contested as f64;
    // By connections it would be one in 26.
    assert!((0.4..0.6).contains(&share), "{few} of {contested} turns");
}

#[tokio::test]
async fn the_calls_of_an_app_go_in_the_order_in_which_they_came() {
    let house = house(1, Duration::from_millis(30)).await;
    let address = house.address();
    let mut calls = Vec::new();
    for number in 0..12 {
        let mut call = request(Method::GET, "/v1/accounts/A00000001", "");
        let track_id = format!("order-{number:02}");
        call.headers_mut().insert("zuora-track-id", track_id.parse().unwrap());
        calls.push(tokio::spawn(ask(address, call)));
        sleep(Duration::from_millis(10)).await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }

    let ledger = house.tenant.ledger();
    let order: Vec<_> = ledger.executed.iter().map(|call| call.track_id.clone().unwrap()).collect();
    assert!(order.is_sorted() && order.len() == 12, "{order:?}");
}

#[tokio::test]
async fn apps_that_wait_take_turns() {
    let house = house(1, Duration::from_millis(20)).await;
    let address = house.address();
    // Ten of one app wait when three of the other come.
    let mut calls: Vec<_> = (0..10).map(|_| tokio::spawn(ask(address, get()))).collect();
    sleep(Duration::from_millis(30)).await;
    calls.extend((0..3).map(|_| tokio::spawn(ask(address, small(0)))));
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }

    let ledger = house.tenant.ledger();
    let apps: Vec<_> = ledger.executed.iter().map(|call| call.app.clone().unwrap()).collect();
    let first = apps.iter().position(|app| app == "small").unwrap();
    assert!(first <= 4, "{apps:?}");
    // What is shared is time, and no two calls take quite the same.
    let last = apps.iter().rposition(|app| app == "small").unwrap();
    assert!(last <= first + 6, "{apps:?}");
}
