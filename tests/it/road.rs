//! The road of a request, end to end.

use std::time::Duration;

use testkit::{House, Raw, SECRET};

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
