//! What a tenant has from the start.

use serde_json::json;

use super::{Store, object};

const NAMES: [&str; 8] =
    ["Amber", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Garnet", "Harbour"];

/// Fills an empty tenant: a catalogue, and accounts with a subscription each.
pub(super) fn fill(store: &mut Store, accounts: usize, products: usize) {
    for number in 0..products {
        let name = NAMES[number % NAMES.len()];
        let product = object(&json!({
            "sku": format!("SKU-{:08}", number + 1),
            "name": format!("{name} Service {}", number + 1),
            "description": "A service for the emulated tenant",
            "category": "Base Products",
            "effectiveStartDate": "2020-01-01",
            "effectiveEndDate": "2099-12-31",
        }));
        let product = store.insert("product", product);
        store.add_rate_plan(&product, "Monthly", 49.99);
    }
    for number in 0..accounts {
        let name = NAMES[number % NAMES.len()];
        let account = object(&json!({
            "accountNumber": format!("A{:08}", number + 1),
            "name": format!("{name} Trading {}", number + 1),
            "currency": "USD",
            "billCycleDay": 1,
            "billToContact": {
                "firstName": name, "lastName": "Example", "country": "United States",
                "state": "California", "workEmail": format!("billing{}@example.com", number + 1),
            },
        }));
        let made = store.create_account(&account);
        let subscription = object(&json!({
            "subscriptionNumber": format!("A-S{:08}", number + 1), "termType": "TERMED",
        }));
        store.create_subscription(&made.id, &subscription);
    }
}
