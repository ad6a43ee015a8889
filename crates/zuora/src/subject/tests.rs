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
            "/v1/action/subscribe",
            r#"{"subscribes":[{"Account":{"Id":"2c","Name":"x"},"SubscriptionData":{"Subscription":{"Id":"2d"},"x":{"Id":"3"}}}]}"#,
            "Account 2c, Subscription 2d",
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

#[test]
fn a_subject_counts_once_and_eight_are_enough() {
    let body = r#"{"accountKey":"A1","accountNumber":"A1","subscriptionKey":"A1"}"#;
    assert_eq!(of(&Method::PUT, "/v1/accounts/A1", body), "Account A1, Subscription A1");

    let many: Vec<_> = (0..20).map(|n| format!(r#"{{"subscriptionNumber":"{n}"}}"#)).collect();
    let body = format!(r#"{{"existingAccountNumber":"A1","subscriptions":[{}]}}"#, many.join(","));
    let found = of(&Method::POST, "/v1/orders", &body);
    assert_eq!(found.split(", ").count(), MOST);
    assert!(found.starts_with("Account A1, Subscription 0,"), "{found}");

    let ids: Vec<_> = (0..20).map(|n| format!(r#""{n}""#)).collect();
    let body = format!(r#"{{"type":"Account","ids":[{}]}}"#, ids.join(","));
    assert_eq!(of(&Method::POST, "/v1/action/delete", &body).split(", ").count(), MOST);
}

#[test]
fn names_that_are_none_are_left_out() {
    let long = "x".repeat(LONGEST_NAME + 1);
    let body = |name: &str| format!(r#"{{"accountKey":"{name}","orderNumber":"O-1"}}"#);
    assert_eq!(of(&Method::POST, "/v1/x", &body(&long)), "Order O-1");
    assert_eq!(of(&Method::POST, "/v1/x", &body("")), "Order O-1");
    assert_eq!(of(&Method::PUT, &format!("/v1/accounts/{long}"), ""), "");
    assert_eq!(
        of(&Method::POST, "/v1/x", &body(&long[1..])),
        format!("Account {}, Order O-1", &long[1..])
    );
}

#[test]
fn only_the_beginning_of_a_json_body_is_read() {
    let name = r#""accountKey":"A1"}"#;
    let at = |start: usize| format!("{{{}{name}", " ".repeat(start - 1));
    assert_eq!(of(&Method::POST, "/v1/orders", &at(LOOK - name.len())), "Account A1");
    assert_eq!(of(&Method::POST, "/v1/orders", &at(LOOK)), "");
    // The name itself is cut: half a name is another one.
    assert_eq!(of(&Method::POST, "/v1/orders", &at(LOOK - 4)), "");

    let body = br#"{"accountKey":"A1"}"#;
    for (content_type, count) in [
        (Some("application/json"), 1),
        (None, 1),
        (Some("text/csv"), 0),
        (Some("multipart/form-data; boundary=x"), 0),
    ] {
        let value = content_type.map(HeaderValue::from_static);
        let found = subjects(None, "/v1/x", value.as_ref(), body);
        assert_eq!(found.len(), count, "{content_type:?}");
    }
}

#[test]
fn no_body_makes_it_stumble() {
    let bodies: [&[u8]; 8] = [
        b"{",
        b"[[[[",
        b"{\"accountKey\":",
        b"{\"accountKey\":{\"accountKey\":[\"a\"]}}",
        b"{\"accountKey\":1e400}",
        b"{\"\xff\":1}",
        b"{\"accountKey\":\"\\ud800\"}",
        b"\0",
    ];
    for body in bodies {
        for path in ["/v1/action/update", "/v1/orders", "", "//", "/v1/accounts/%", "/accounts/%ff"]
        {
            let _ = subjects(classify(&Method::POST, path), path, None, body);
        }
    }
    let deep = format!("{}1", r#"{"Account":["#.repeat(100_000));
    assert_eq!(of(&Method::POST, "/v1/orders", &deep), "");
}
