use std::collections::HashSet;

use super::*;

#[track_caller]
fn check(method: &str, path: &str, expected: Option<&str>) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    assert_eq!(classify(&method, path).map(|operation| operation.id), expected, "{method} {path}");
}

#[test]
fn the_table_has_every_line_of_the_file() {
    assert_eq!(operations().len(), 993);
    assert!(operations().is_sorted_by_key(|operation| (operation.path, operation.method.as_str())));
}

#[test]
fn the_columns_hold_what_was_counted_in_the_documents() {
    let of_type = |limit_type| operations().iter().filter(|o| o.limit_type == limit_type).count();
    let keys = |keys| operations().iter().filter(|o| o.idempotency_keys == keys).count();
    let eligible = operations().iter().filter(|o| o.async_form == AsyncForm::Eligible).count();
    let unknown =
        operations().iter().filter(|o| matches!(o.async_form, AsyncForm::Unknown(_))).count();

    let types =
        [LimitType::Default, LimitType::HighVolume, LimitType::ObjectQuery, LimitType::Unlimited];
    assert_eq!(types.map(of_type), [716, 9, 266, 2]);
    assert_eq!(keys(IdempotencyKeys::Accepted), 265);
    assert_eq!((eligible, unknown), (257, 45));
}

#[test]
fn ids_are_unique_labels() {
    let ids: HashSet<_> = operations().iter().map(|operation| operation.id).collect();

    assert_eq!(ids.len(), operations().len());
    assert!(!ids.contains("other"), "the label for unknown paths is taken");
    for id in ids {
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{id}");
    }
}

#[test]
fn every_template_finds_its_own_operation() {
    for operation in operations() {
        let path = operation.path.replace('{', "").replace('}', "-0");

        assert_eq!(classify(&operation.method, &path), Some(operation), "{path}");
    }
}

#[test]
fn an_idempotency_key_is_never_accepted_where_zuora_answers_it_with_400() {
    for operation in operations() {
        if operation.idempotency_keys != IdempotencyKeys::NotAccepted {
            assert!(matches!(operation.method, Method::POST | Method::PATCH), "{}", operation.id);
        }
    }
}

#[test]
fn literal_segments_win_over_parameters() {
    check("GET", "/v1/accounts/A00000001", Some("GET_Account"));
    check("POST", "/v1/orders/preview", Some("POST_PreviewOrder"));
    check("POST", "/v1/async/orders/preview", Some("POST_PreviewOrderAsynchronously"));
    check("DELETE", "/v1/async/orders/O-1", Some("deleteOrderAsynchronously"));
}

#[test]
fn a_literal_that_leads_nowhere_gives_way_to_the_parameter() {
    // `preview` is a literal under POST only, `{orderNumber}` has the GET.
    check("GET", "/v1/orders/preview", Some("GET_Order"));
    // There is no `/v1/subscriptions/accounts/preview`, but a subscription may have that key.
    check("POST", "/v1/subscriptions/accounts/preview", Some("PreviewExistingSubscription"));
}

#[test]
fn slashes_too_many_and_the_older_prefix_change_nothing() {
    check("POST", "/v1/batch-query/", Some("POST_BatchQueryJob"));
    check("GET", "/v1/batch-query//jobs/42", Some("GET_BatchQueryJob"));
    check("POST", "//v1///accounts//", Some("POST_Account"));
    check("POST", "/rest/v1/connections", Some("POST_Connections"));
    check("GET", "/rest/v1/accounts/A1", Some("GET_Account"));
    check("POST", "/rest/v2/plans", None);
}

#[test]
fn head_is_classified_like_get_and_other_methods_not_at_all() {
    check("HEAD", "/v1/accounts/A1", Some("GET_Account"));
    check("OPTIONS", "/v1/accounts/A1", None);
    check("PURGE", "/v1/accounts/A1", None);
    check("PATCH", "/v1/accounts/A1", None);
}

#[test]
fn unknown_paths_are_nobodys() {
    for path in
        ["", "/", "/v1", "/v1/accounts-evil", "/v1/async/accounts", "/scim/v2/Users", "accounts"]
    {
        check("GET", path, None);
        check("POST", path, None);
    }
    check("GET", &"/x".repeat(10_000), None);
    check("GET", &format!("/v1/accounts/{}", "x".repeat(10_000)), Some("GET_Account"));
}

#[test]
fn an_encoded_or_decorated_literal_counts_against_the_same_limit() {
    check("POST", "/v1/%61ccounts", Some("POST_Account"));
    check("POST", "/v1/accounts;v=1", Some("POST_Account"));
    check("GET", "/v1/accounts/A%2FB%20C", Some("GET_Account"));
    check("POST", "/v1/%zz", None);
    check("POST", &format!("/v1/%{}", "61".repeat(200)), None);
}

#[test]
fn the_limit_types_are_those_of_the_guide() {
    #[track_caller]
    fn check(method: &Method, path: &str, expected: LimitType) {
        assert_eq!(classify(method, path).unwrap().limit_type, expected, "{method} {path}");
    }

    check(&Method::POST, "/v1/accounts", LimitType::HighVolume);
    check(&Method::POST, "/v1/orders", LimitType::HighVolume);
    check(&Method::POST, "/v1/orders/preview", LimitType::HighVolume);
    check(&Method::POST, "/v1/subscriptions", LimitType::HighVolume);
    check(&Method::POST, "/v1/subscriptions/preview", LimitType::HighVolume);
    check(&Method::PUT, "/v1/subscriptions/A-S1", LimitType::HighVolume);
    check(&Method::PUT, "/v1/subscriptions/A-S1/cancel", LimitType::HighVolume);
    check(&Method::PUT, "/v1/subscriptions/A-S1/renew", LimitType::HighVolume);
    check(&Method::POST, "/v1/rsa-signatures", LimitType::HighVolume);
    check(&Method::GET, "/v1/accounts/A1", LimitType::Default);
    check(&Method::POST, "/v1/action/query", LimitType::Default);
    check(&Method::GET, "/object-query/accounts", LimitType::ObjectQuery);
    check(&Method::POST, "/v2/plans", LimitType::ObjectQuery);
    check(&Method::POST, "/oauth/token", LimitType::Unlimited);
    check(&Method::POST, "/v1/connections", LimitType::Unlimited);
    check(&Method::POST, "/apps/services/a/91.0", LimitType::Default);
}

#[test]
fn the_async_form_says_why_not() {
    let form = |method, path| classify(&method, path).unwrap().async_form;

    assert_eq!(form(Method::POST, "/v1/accounts"), AsyncForm::Eligible);
    assert_eq!(form(Method::GET, "/v1/accounts/A1"), AsyncForm::Ineligible("read"));
    assert_eq!(form(Method::POST, "/v1/action/create"), AsyncForm::Ineligible("Actions excluded"));
    assert_eq!(
        form(Method::POST, "/v1/subscriptions/preview"),
        AsyncForm::Ineligible("its answer is more than an id")
    );
    assert!(matches!(form(Method::POST, "/v1/orders"), AsyncForm::Ineligible(_)));
    assert!(matches!(form(Method::POST, "/v1/orders/preview"), AsyncForm::Ineligible(_)));
}

/// The same rule without a tree: of all templates that fit, the one whose literals come first.
fn by_comparing_all(method: &Method, path: &str) -> Option<&'static Operation> {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let fit = |operation: &&Operation| {
        let template: Vec<_> = operation.path.split('/').skip(1).collect();
        operation.method == method
            && template.len() == segments.len()
            && template.iter().zip(&segments).all(|(t, s)| t.starts_with('{') || t == s)
    };
    let literals = |operation: &&Operation| -> Vec<bool> {
        operation.path.split('/').map(|segment| segment.starts_with('{')).collect()
    };
    operations().iter().filter(fit).min_by_key(literals)
}

#[test]
fn the_tree_agrees_with_comparing_every_template() {
    let mut known = 0;
    for (index, operation) in operations().iter().enumerate() {
        // Each template with its parameters and some literals replaced by other templates' segments.
        for step in [1, 7, 131, 577] {
            let other = &operations()[(index + step) % operations().len()];
            let mut spare = other.path.split('/').skip(1).cycle();
            let path: String = operation
                .path
                .split('/')
                .skip(1)
                .enumerate()
                .map(|(at, segment)| {
                    let stranger = spare.next().unwrap();
                    let swap = segment.starts_with('{') || (index + at) % 5 == 0;
                    format!("/{}", if swap { stranger } else { segment })
                })
                .collect();
            for method in [&operation.method, &other.method] {
                let expected = by_comparing_all(method, &path);

                assert_eq!(classify(method, &path), expected, "{method} {path}");
                known += usize::from(expected.is_some());
            }
        }
    }
    assert!(known > 2_000, "{known}");
}
