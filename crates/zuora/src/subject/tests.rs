use http::{HeaderValue, Method};

use super::*;
use crate::classify;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// What a call names, as `Account A1, Order O1`.
fn of(method: &Method, path: &str, body: &str) -> String {
    let found = subjects(classify(method, path), path, Some(&JSON), body.as_bytes());
    found.iter().map(|s| format!("{:?} {}", s.kind, s.name)).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_path_names_its_subject() {
    for (method, path, expected) in [
        (Method::PUT, "/v1/accounts/A1", "Account A1"),
        (Method::PUT, "/rest//v1/accounts/A%2F1%20b/", "Account A/1 b"),
        (Method::PUT, "/v1/subscriptions/A-S1/cancel", "Subscription A-S1"),
        (Method::DELETE, "/v1/orders/O-1", "Order O-1"),
        (Method::PUT, "/v1/object/account/2c92", "Account 2c92"),
        (Method::PUT, "/v1/object/subscription/2c92", "Subscription 2c92"),
        (Method::POST, "/v2/subscriptions/2c92/cancel", "Subscription 2c92"),
        (Method::DELETE, "/v1/async/orders/O-1", "Order O-1"),
        // Not in the table: by its words.
        (Method::PUT, "/v1/async/subscriptions/A-S1/cancel", "Subscription A-S1"),
        (Method::POST, "/v1/orders/preview", ""),
        (Method::POST, "/v1/subscriptions/preview", ""),
        (Method::PUT, "/v1/object/invoice/2c92", ""),
        (Method::GET, "/v1/accounts/A1", ""),
    ] {
        assert_eq!(of(&method, path, ""), expected, "{method} {path}");
    }
}

#[test]
fn a_body_names_its_subjects() {
    for (path, body, expected) in [
        ("/v1/subscriptions", r#"{"accountKey":"A1","termType":"TERMED"}"#, "Account A1"),
        ("/v1/invoices", r#"{"accountId":"2c","accountNumber":null}"#, "Account 2c"),
        ("/v1/object/payment", r#"{"AccountId":"2c","Amount":50000050}"#, "Account 2c"),
        (
            "/v1/orders",
            r#"{"existingAccountNumber":"A1","subscriptions":[{"subscriptionNumber":"A-S1","orderActions":
               [{"type":"OwnerTransfer","ownerTransfer":{"destinationAccountNumber":"A2"}}]},{"subscriptionNumber":"A-S2"}]}"#,
            "Account A1, Subscription A-S1, Account A2, Subscription A-S2",
        ),
        (
            "/v1/action/amend",
            r#"{"requests":[{"Amendments":[{"SubscriptionId":"2c"}]}]}"#,
            "Subscription 2c",
        ),
        (
            "/v1/action/update",
            r#"{"objects":[{"Id":"1"},{"Id":"2","Name":"x"}],"type":"Account"}"#,
            "Account 1, Account 2",
        ),
        ("/v1/action/delete", r#"{"type":"Invoice","ids":["1"]}"#, ""),
        ("/v1/action/delete", r#"{"type":"Account","ids":["1"]}"#, "Account 1"),
        ("/v1/payment-methods", r#"{"accountKey":"A1","accountNumber":"bank"}"#, "Account A1"),
        ("/v2/subscriptions", r#"{"account_number":"A1"}"#, "Account A1"),
        ("/v1/orders", r#"{"existingAccountNumber":7}"#, "Account 7"),
        ("/v1/orders", r#"{"note":"accountKey","accountKey":{"accountKey__c":"x"}}"#, ""),
        ("/v1/orders", r#"{"accountKey":"A1","subscriptions":[{"subscr"#, "Account A1"),
        ("/v1/orders", r#""accountKey""#, ""),
    ] {
        assert_eq!(of(&Method::POST, path, body), expected, "{path} {body}");
    }
}
