//! Never too many, and no permit lost.

use std::time::Duration;

use bytes::Bytes;
use emulator::{Fault, FaultKind, Options, ServiceTime};
use http::{Method, Request};
use http_body_util::Full;
use testkit::{House, Raw, SECRET, Yaml};
use tokio::time::sleep;

use super::load::{self, LEFT, Load};
use crate::caller::{ask, at_rest, connect, eventually, get, request, request_of, state};

const NIGHTLY: &str = "the-secret-of-the-nightly-job";
const CHECKOUT: &str = "the-secret-of-the-checkout";

/// A tenant that allows ten calls at a time, each of 20 ms, and three apps.
async fn narrow() -> House {
    let options = Options {
        limits: vec![
            ("Default".to_owned(), 10),
            ("High-volume transactions".to_owned(), 10),
            ("Object Query".to_owned(), 10),
        ],
        service_time: ServiceTime::Constant(Duration::from_millis(20)),
        retry_after: Duration::from_secs(1),
        ..Options::default()
    };
    let limits = r#"{Default: 10, "High-volume transactions": 10, "Object Query": 10}"#;
    let app = |name: &str, id: u8, secret: &str| {
        let id = format!("0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b00{id:02}");
        (name.to_owned(), format!("client_id: {id}, secret: {secret}"))
    };
    let yaml = Yaml {
        tenant: vec![
            format!("concurrency: {{limits: {limits}, headroom: 0}}"),
            "timeouts: {connect: 2s, response: 10s}".to_owned(),
        ],
        apps: vec![app("nightly", 1, NIGHTLY), app("checkout", 2, CHECKOUT)],
        ..Yaml::default()
    };
    House::start(options, &yaml).await
}

fn nightly(number: u32) -> Request<Full<Bytes>> {
    request_of(NIGHTLY, Method::GET, &format!("/v1/accounts/A{:08}", number % 100 + 1), "")
}

fn checkout(_: u32) -> Request<Full<Bytes>> {
    request_of(CHECKOUT, Method::GET, "/v1/accounts/A00000007", "")
}

/// Waits until so many calls are at Zuora, and so many wait for their turn, whatever they ask.
async fn busy_with(house: &House, in_flight: u32, queued: u64) {
    eventually("busy", async || {
        let state = state(house.gateway.admin_address()).await;
        let pools = state["tenants"][0]["pools"].as_array().unwrap().iter();
        let apps = pools.flat_map(|pool| pool["apps"].as_array().unwrap());
        let waiting: u64 = apps.map(|app| app["queued"].as_u64().unwrap()).sum();
        let there: u32 = house.tenant.counters().in_flight.values().sum();
        let told = (there, waiting) == (in_flight, queued);
        told.then_some(()).ok_or(format!("{there} at Zuora: {state:#}"))
    })
    .await;
}

#[tokio::test]
async fn the_limit_is_kept_and_used_while_callers_hang_up_at_random() {
    let house = narrow().await;
    let address = house.address();
    let load = |connections, request| {
        let lasting = Duration::from_secs(3);
        Load { address, request, connections, hang_ups: 0.2, lasting }
    };

    let tally =
        load::all(&[load(100, nightly), load(20, |_| get()), load(4, checkout)]).await.counts();

    at_rest(&house).await;
    let ledger = house.tenant.counters();
    assert_eq!(ledger.most_in_flight["Default"], 10);
    assert_eq!((ledger.refused_concurrency, ledger.token_calls), (0, 1));
    let others: Vec<_> = tally.keys().filter(|status| ![200, LEFT].contains(*status)).collect();
    assert!(others.is_empty(), "{tally:?}");
    assert!(tally[&200] > 500 && tally[&LEFT] > 100, "{tally:?}");
    // Ten permits for three seconds; the last calls end a little later. Loose, as tests share their cores.
    let used = ledger.busy_permit_seconds["Default"];
    assert!((20.0..32.0).contains(&used), "{used} permit-seconds");
}

#[tokio::test]
async fn a_call_whose_caller_left_keeps_its_permit_until_zuora_is_done() {
    let house = narrow().await;
    house.tenant.set_service_time(ServiceTime::Constant(Duration::from_millis(400)));
    let mut raw = Raw::connect(house.address()).await;
    let get = format!(
        "GET /v1/accounts/A00000001 HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {SECRET}\r\n\r\n"
    );
    raw.write(get).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(house.tenant.counters().in_flight["Default"], 1);

    drop(raw);
    sleep(Duration::from_millis(100)).await;

    let state = state(house.gateway.admin_address()).await;
    assert_eq!(state["legs_in_flight"], 1, "{state:#}");
    assert_eq!(house.tenant.counters().in_flight["Default"], 1);
    at_rest(&house).await;
    assert_eq!(house.tenant.counters().executed_total, 1);
}

#[tokio::test]
async fn a_long_answer_to_a_write_that_nobody_reads_holds_no_permit() {
    let house = narrow().await;
    let address = house.address();
    house.tenant.set_service_time(ServiceTime::Constant(Duration::from_millis(200)));
    let account = r#"{"name": "Long", "currency": "USD"}"#;
    let create = || request(Method::POST, "/v1/accounts", account);
    let long = FaultKind::BodySize { bytes: 5_000_000 };

    // One caller leaves before the answer begins, another within it.
    house.tenant.fault(Fault::once("/v1/accounts", long.clone()).times(2));
    let early = tokio::spawn(ask(address, create()));
    busy_with(&house, 1, 0).await;
    early.abort();
    let mut late = connect(address).await;
    let begun = late.send_request(create()).await.unwrap();
    assert_eq!(begun.status(), 200);
    drop((begun, late));

    at_rest(&house).await;
    assert_eq!(house.tenant.counters().executed_writes, 2);
}

#[tokio::test]
async fn a_caller_who_leaves_the_queue_leaves_no_trace() {
    let house = narrow().await;
    house.tenant.set_service_time(ServiceTime::Constant(Duration::from_secs(1)));
    let address = house.address();
    let busy: Vec<_> = (0..10).map(|_| tokio::spawn(ask(address, get()))).collect();
    busy_with(&house, 10, 0).await;

    let waiting: Vec<_> = (0..30)
        .map(|_| tokio::spawn(ask(address, request(Method::PUT, "/v1/accounts/A00000001", "{}"))))
        .collect();
    busy_with(&house, 10, 30).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);

    for call in busy {
        assert_eq!(call.await.unwrap().status, 200);
    }
    at_rest(&house).await;
    let ledger = house.tenant.counters();
    assert_eq!((ledger.executed_total, ledger.executed_writes), (10, 0));
}

#[tokio::test]
async fn every_permit_comes_back_from_chaos() {
    let house = narrow().await;
    house.tenant.set_service_time(ServiceTime::Constant(Duration::from_millis(5)));
    let kinds = [
        FaultKind::Cut { executed: false },
        FaultKind::Cut { executed: true },
        FaultKind::CutBody { after: 20 },
        FaultKind::Unauthenticated,
        FaultKind::RefuseConcurrency,
        FaultKind::Contended,
        FaultKind::HtmlUnavailable,
        FaultKind::BodySize { bytes: 3_000_000 },
        FaultKind::Delay { milliseconds: 200 },
    ];
    for _ in 0..8 {
        for kind in kinds.clone() {
            let skipped = rand::random_range(0..4);
            house.tenant.fault(Fault::once("/v1", kind).after(skipped));
        }
    }
    let address = house.address();
    let load = |connections, request| {
        let lasting = Duration::from_secs(2);
        Load { address, request, connections, hang_ups: 0.3, lasting }
    };
    let create: fn(u32) -> _ =
        |_| request(Method::POST, "/v1/accounts", r#"{"name": "Chaos", "currency": "USD"}"#);
    let download: fn(u32) -> _ = |_| request(Method::GET, "/v1/files/size-5000000", "");

    load::all(&[load(20, nightly), load(10, create), load(5, download)]).await;
    half_an_upload(&house).await;

    at_rest(&house).await;
    house.tenant.clear_faults();
    let ledger = house.tenant.counters();
    assert!(ledger.faulted_calls >= 30, "{}", ledger.faulted_calls);
    assert!(ledger.most_in_flight.values().all(|most| *most <= 10), "{:?}", ledger.most_in_flight);
    // Refusals made the pools small for a while; what is left of them works.
    assert_eq!(ask(address, get()).await.status, 200);
}

/// A caller that announces more than it sends, and leaves.
async fn half_an_upload(house: &House) {
    let mut raw = Raw::connect(house.address()).await;
    raw.write(format!(
        "POST /v1/usage HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {SECRET}\r\n\
         content-type: text/csv\r\ncontent-length: 5000000\r\n\r\n"
    ))
    .await;
    raw.write(vec![b'x'; 2_000_000]).await;
    sleep(Duration::from_millis(50)).await;
}
