//! The schema tells editors what the reader takes.

use serde_json::{Value, json};

#[test]
fn every_key_has_a_description() {
    fn check(path: &str, schema: &Value) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{path}: {description}");
            check(&path, property);
        }
        for inner in schema["anyOf"].as_array().into_iter().flatten() {
            check(path, inner);
        }
        if schema["additionalProperties"].is_object() {
            check(&format!("{path}.*"), &schema["additionalProperties"]);
        }
    }

    check("", &crate::schema());
}

#[test]
fn sections_say_what_must_and_what_may_be_there() {
    let schema = crate::schema();

    assert_eq!(schema["required"], json!(["tenants", "apps"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    let app = &schema["properties"]["apps"]["additionalProperties"];
    assert_eq!(app["required"], json!(["tenant", "client_id"]));
    let tenant = &schema["properties"]["tenants"]["additionalProperties"];
    let limits = &tenant["properties"]["concurrency"]["properties"]["limits"]["anyOf"][0];
    let names = json!({"enum": ["Default", "High-volume transactions", "Object Query"]});
    assert_eq!(limits["propertyNames"]["anyOf"][0], names);
    let [alone, keys] = &limits["additionalProperties"]["anyOf"].as_array().unwrap()[..] else {
        panic!("a limit is written in two ways: {limits}")
    };
    assert_eq!(alone["anyOf"][0], json!({"type": "integer", "minimum": 1, "maximum": 10_000}));
    assert_eq!(keys["required"], json!([]));
    let rate = &app["properties"]["rate"]["anyOf"][0];
    assert_eq!(rate["required"], json!(["per_second"]));
}

#[test]
fn values_say_what_they_may_hold() {
    let schema = crate::schema();
    let property =
        |path: &[&str]| path.iter().fold(&schema, |schema, key| &schema["properties"][key]).clone();

    assert_eq!(
        property(&["listen", "max_connections"]),
        json!({
            "description": "How many connections may be open at once; more wait in the system's \
                            backlog.",
            "default": 10000,
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 1_000_000},
                {"type": "string", "pattern": r"\$\{"},
            ],
        })
    );
    let tenant = &property(&["tenants"])["additionalProperties"];
    assert_eq!(
        tenant["properties"]["rate"]["properties"]["per_minute"],
        json!({
            "description": "In any minute; `null` for no such window.",
            "default": 50_000,
            "anyOf": [
                {"anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": 1_000_000_000},
                    {"type": "string", "pattern": r"\$\{"},
                ]},
                {"type": "null"},
            ],
        })
    );
    let enforce = &tenant["properties"]["rate"]["properties"]["enforce"];
    assert_eq!(enforce["anyOf"][0], json!({"type": "boolean"}));
    assert_eq!(enforce["default"], json!(true));
    let retry = &tenant["properties"]["retry"]["properties"];
    assert_eq!(retry["budget"]["anyOf"][0], json!({"type": "number", "minimum": 0, "maximum": 10}));
    assert_eq!(retry["budget"]["default"], json!(0.2));
    let lanes = &tenant["properties"]["lanes"];
    assert_eq!(lanes["anyOf"][0], json!({"enum": ["off", "account"]}));
    assert_eq!(lanes["default"], json!("off"));
    assert_eq!(property(&["log", "format"])["anyOf"][0], json!({"enum": ["json", "text"]}));
    assert_eq!(property(&["listen", "address"])["default"], json!("127.0.0.1:8080"));
}
