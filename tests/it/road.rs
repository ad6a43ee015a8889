//! The road of a request, end to end.

use std::time::Duration;

use emulator::{Options, ServiceTime};
use testkit::{House, Raw, SECRET, Yaml};

#[tokio::test]
async fn a_call_reaches_zuora_with_a_shared_token_and_a_track_id() {
    let house = House::plain(Duration::ZERO).await;

    let ask = format!(
        "GET /v1/accounts/A00000001 HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {SECRET}\r\n\r\n"
    );
    let answer = Raw::ask(house.address(), ask).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    let track_id = answer.field("zuora-track-id").unwrap();
    assert!(track_id.starts_with("app-"), "{track_id}");
    let ledger = house.tenant.ledger();
    assert_eq!(ledger.with_track_id(track_id).count(), 1);
    assert_eq!(ledger.token_calls, 1);
}

#[tokio::test]
async fn a_gateway_that_stops_finishes_what_is_at_zuora_and_sends_the_others_away() {
    let service_time = ServiceTime::Constant(Duration::from_millis(600));
    let one = "concurrency: {limits: {Default: 1}, headroom: 0}".to_owned();
    let yaml = Yaml { tenant: vec![one], ..Yaml::default() };
    let house = House::start(Options { service_time, ..Options::default() }, &yaml).await;
    let address = house.address();
    let ask = |account: u32| {
        let ask = format!(
            "GET /v1/accounts/A0000000{account} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {SECRET}\r\n\r\n"
        );
        tokio::spawn(Raw::ask(address, ask))
    };
    let at_zuora = ask(1);
    eventually(|| house.tenant.counters().in_flight.values().sum::<u32>() == 1).await;
    let waiting = ask(2);
    let (_, admission) = &house.gateway.admissions()[0];
    eventually(|| admission.snapshot().queued == 1).await;

    let House { gateway, tenant, .. } = house;
    assert!(gateway.stop(Duration::from_millis(100)).await, "nothing was cut off");

    assert_eq!(at_zuora.await.unwrap().status, 200);
    let sent_away = waiting.await.unwrap();
    assert_eq!(sent_away.status, 503);
    assert_eq!(sent_away.field("zuora-gateway-error"), Some("draining"));
    assert_eq!(tenant.ledger().executed_total, 1);
}

async fn eventually(is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about");
}
