//! `config.example.yaml` cannot rot.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../../config.example.yaml");

const VARIABLES: [(&str, &str); 5] = [
    ("ZUORA_GATEWAY_ADMIN_TOKEN", "hidden-token"),
    ("ZUORA_GATEWAY_SIGNING_KEY", "hidden-signing-key-of-the-gateway"),
    ("ZUORA_CLIENT_ID", "zuora-client-id"),
    ("ZUORA_CLIENT_SECRET", "hidden-zuora-secret"),
    ("STOREFRONT_SECRET", "hidden-storefront-secret"),
];

#[test]
fn the_example_means_this() {
    let path = Path::new("/etc/zuora-gateway/config.yaml");

    let config = crate::parse(EXAMPLE, path, &BTreeMap::from(VARIABLES)).unwrap();

    let resolved = format!("{config:#?}");
    assert!(!resolved.contains("hidden"), "secrets do not show");
    insta::assert_snapshot!(resolved);
}

#[test]
fn a_variable_that_the_example_needs_is_missed_by_name() {
    for (missing, _) in VARIABLES {
        let mut variables = BTreeMap::from(VARIABLES);
        variables.remove(missing);

        let problems = crate::parse(EXAMPLE, Path::new("F"), &variables).unwrap_err();

        let told = problems.to_string();
        assert!(told.contains(&format!("variable `{missing}` is not set")), "{told}");
        assert_eq!(problems.iter().count(), 1, "{told}");
    }
}

#[test]
fn the_example_has_every_key() {
    let mut missing = Vec::new();
    keys_of(&crate::schema(), &mut |key| {
        // As a key, in a flow mapping, or in the comment on a null.
        let written = ["\n", " ", "{"].iter().any(|c| EXAMPLE.contains(&format!("{c}{key}:")));
        if !written {
            missing.push(key.to_owned());
        }
    });

    assert_eq!(missing, [""; 0]);
}

/// Calls `each` with every key that `schema` knows, at any depth.
fn keys_of(schema: &Value, each: &mut impl FnMut(&str)) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        each(key);
        keys_of(property, each);
    }
    for inner in schema["anyOf"].as_array().into_iter().flatten() {
        keys_of(inner, each);
    }
    if schema["additionalProperties"].is_object() {
        keys_of(&schema["additionalProperties"], each);
    }
}
