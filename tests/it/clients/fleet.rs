//! Two hundred programs that start at once.

use serde_json::json;
use testkit::{APP, SECRET};

use super::{assert_clean, house, script, seen_by};

#[tokio::test]
async fn two_hundred_clients_that_start_at_once_cost_zuora_no_login() {
    let house = house().await;
    let mut fleet = script("zuora_sdk_fleet.py");
    fleet.args([&house.url(), APP, SECRET, "8", "25"]);

    let seen = seen_by(fleet).await;

    assert_eq!(seen, json!({"instances": 200, "signed_in": 200, "read": 200}));
    let ledger = house.tenant.ledger();
    assert_eq!(ledger.executed_total, 200);
    // The gateway's own token is the only one that was asked for.
    assert_clean(&ledger);
}
