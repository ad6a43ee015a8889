//! Libraries of Python and of Node, each doing a day's work of an app.

use emulator::OperationKind;
use serde_json::json;
use testkit::{APP, SECRET};

use super::table::{Deed, assert_row};
use super::{assert_clean, count, house, installed, script, seen_by};

/// What an app is told whose secret is wrong: the parts of a JSON answer that say so.
fn is_told_why(failure: &serde_json::Value) -> bool {
    failure["status"] == 401
        && failure["body"]["reasons"][0]["code"] == 90_000_011
        && failure["body"]["success"] == false
}

#[tokio::test]
async fn the_official_python_client_does_a_days_work() {
    let house = house().await;
    let mut sdk = script("zuora_sdk_workflow.py");
    sdk.args([&house.url(), APP, SECRET]);

    let mut seen = seen_by(sdk).await;

    let mut take = |name: &str| seen.as_object_mut().unwrap().remove(name).unwrap();
    let (track_id, created) = (take("track_id"), take("created"));
    assert!(track_id.as_str().unwrap().starts_with("app-"), "{track_id}");
    let refused = take("refused");
    assert!(is_told_why(&refused), "{refused}");
    assert!(take("request_id").is_string());
    assert_eq!(created["success"], true);
    let expected = json!({
        "has_token": true,
        "pages": [30, 30, 30, 10],
        "name": "Æther & Söhne", "updated": true, "renamed": "Renamed",
        "subscription": true, "subscription_status": "Active",
        "orders": 25, "order_pages": [10, 10, 5], "all_orders_listed": true, "order_deleted": true,
        "status": 200, "own_track_id": "app-my-own-id",
        "gzip": "gzip", "gzip_rows": 30,
        "uploaded": true, "downloaded": 300_000,
        "deleted": true, "gone": 404,
    });
    assert_eq!(seen, expected);

    let ledger = house.tenant.ledger();
    assert_clean(&ledger);
    let counts = [
        (OperationKind::Create, 1 + 1 + 25),
        (OperationKind::Update, 1),
        (OperationKind::Delete, 1 + 1),
        (OperationKind::Read, 4 + 2 + 1 + 3 + 2 + 1 + 1 + 1),
        (OperationKind::Upload, 1),
    ];
    for (kind, expected) in counts {
        assert_eq!(count(&ledger, kind), expected, "{kind:?}");
    }
    assert_eq!(ledger.with_track_id("app-my-own-id").count(), 1);
    assert_eq!(ledger.with_track_id(track_id.as_str().unwrap()).count(), 1);
    assert_row("zuora-sdk", &ledger, &[Deed::Pages, Deed::ToldWhy]);
}

#[tokio::test]
async fn a_client_generated_from_the_openapi_document_does_a_days_work() {
    let house = house().await;
    let mut swagger = script("swagger_workflow.js");
    swagger.args([&house.url(), APP, SECRET]).arg(installed("zuora.com.json"));

    let mut seen = seen_by(swagger).await;

    let mut take = |name: &str| seen.as_object_mut().unwrap().remove(name).unwrap();
    let (track_id, refused) = (take("trackId"), take("refused"));
    assert!(track_id.as_str().unwrap().starts_with("app-"), "{track_id}");
    assert_eq!(refused["status"], 401, "{refused}");
    assert_eq!(refused["body"]["error"], "invalid_client", "{refused}");
    let unknown = take("unknown");
    assert!(is_told_why(&unknown), "{unknown}");
    let expected = json!({
        "token": {"type": "bearer", "lives": true},
        "created": true, "name": "Æther & Söhne", "updated": true, "renamed": "Renamed",
        "ownTrackId": "app-my-own-id",
        "pages": [25, 25, 10], "linksLeadHere": true,
        "subscriptions": 60, "uploaded": true, "deleted": true, "gone": false,
    });
    assert_eq!(seen, expected);
    let ledger = house.tenant.ledger();
    assert_clean(&ledger);
    assert_eq!(ledger.effective_writes, 4);
    assert_row("swagger-client", &ledger, &[Deed::Pages, Deed::ToldWhy]);
}

#[tokio::test]
async fn the_zuora_package_of_npm_does_a_days_work() {
    let house = house().await;
    let mut zuora = script("zuora_npm_workflow.js");
    zuora.args([&house.url(), APP, SECRET]);

    let mut seen = seen_by(zuora).await;

    let refused = seen.as_object_mut().unwrap().remove("refused").unwrap();
    assert!(is_told_why(&refused), "{refused}");
    let expected = json!({
        "pages": [25, 25, 10],
        "created": true, "name": "Æther & Söhne", "updated": true, "renamed": "Renamed",
        "status": "Active", "renewed": true, "cancelled": true, "afterwards": "Cancelled",
        "removed": true, "together": 60,
    });
    assert_eq!(seen, expected);
    let ledger = house.tenant.ledger();
    assert_clean(&ledger);
    assert_eq!(ledger.effective_writes, 6);
    assert!(ledger.executed.iter().all(|call| call.path.starts_with("/rest/v1/")));
    assert_row("zuora", &ledger, &[Deed::Pages, Deed::ToldWhy]);
}
