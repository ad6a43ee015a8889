//! What kind of call it is: its family decides the shape of errors and
//! headers, its limit type which limit it counts against.
//!
//! Limit types after Zuora's rate limits guide of January 2026.

use http::Method;
use serde::{Deserialize, Serialize};

/// Everything that is not in one of the two lists below.
pub(crate) const DEFAULT: &str = "Default";
const HIGH_VOLUME: &str = "High-volume transactions";
const OBJECT_QUERY: &str = "Object Query";

/// Families of paths that exist beside `/v1`, each a first segment.
const ELSEWHERE: [&str; 20] = [
    "bulk-data",
    "catalog-query",
    "charge-metrics",
    "commerce",
    "commitments",
    "deployment-manager",
    "events",
    "fulfillments",
    "integration",
    "meters",
    "notifications",
    "objects",
    "open-payment-method-types",
    "query",
    "reporting",
    "settings",
    "system-health",
    "test-environments",
    "usage",
    "workflows",
];

/// Which part of the API a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V1,
    Crud,
    Action,
    Files,
    ObjectQuery,
    /// SOAP, and its description.
    Soap,
    /// Paths without `/v1` that Zuora has, which answer without limit headers.
    Other,
    /// Nothing there: the edge answers.
    Nowhere,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Reads, lists, downloads, queries: repeating it changes nothing.
    Read,
    /// Computes without keeping: previews and signatures.
    Preview,
    /// Makes something new.
    Create,
    /// Changes what is there.
    Update,
    /// Removes.
    Delete,
    /// `/v1/action/…` calls that write.
    Action,
    /// A usage file or another upload.
    Upload,
    /// Hands a write in under `/v1/async`. The write itself is another call,
    /// made by the tenant.
    Submission,
}

impl OperationKind {
    /// Whether executing it twice differs from executing it once.
    #[must_use]
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Read | Self::Preview | Self::Submission)
    }
}

/// A call, classified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) family: Family,
    pub(crate) kind: OperationKind,
    pub(crate) limit_type: &'static str,
}

/// Classifies a call. `segments` are the parts of the path, `/rest` before
/// `/v1`, doubled slashes and the trailing slash already taken away.
pub(crate) fn classify(method: &Method, segments: &[String]) -> Operation {
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let family = family(&parts);
    Operation { family, kind: kind(method, &parts), limit_type: limit_type(method, &parts) }
}

fn family(parts: &[&str]) -> Family {
    match parts {
        ["v1", "object", ..] => Family::Crud,
        ["v1", "action", ..] => Family::Action,
        ["v1", "files" | "file", ..] => Family::Files,
        ["v1", ..] => Family::V1,
        ["object-query", ..] => Family::ObjectQuery,
        ["v2", _, ..] => Family::Other,
        ["apps", "services", "a", _] | ["apps", "servlet", "GenerateWsdl"] => Family::Soap,
        [first, ..] if ELSEWHERE.contains(first) => Family::Other,
        _ => Family::Nowhere,
    }
}

fn limit_type(method: &Method, parts: &[&str]) -> &'static str {
    match (method.as_str(), parts) {
        ("POST", ["v1", "accounts" | "orders" | "subscriptions" | "rsa-signatures"])
        | ("POST", ["v1", "orders" | "subscriptions", "preview"])
        | ("PUT", ["v1", "subscriptions", _])
        | ("PUT", ["v1", "subscriptions", _, "cancel" | "renew"]) => HIGH_VOLUME,
        (_, ["object-query" | "v2", ..]) => OBJECT_QUERY,
        _ => DEFAULT,
    }
}

fn kind(method: &Method, parts: &[&str]) -> OperationKind {
    match (method.as_str(), parts) {
        (_, ["v1", "action", "query" | "queryMore"]) => OperationKind::Read,
        (_, ["v1", "connections"]) => OperationKind::Read,
        ("POST" | "PUT" | "DELETE", ["v1", "async", ..]) => OperationKind::Submission,
        (_, ["v1", "action", ..]) => OperationKind::Action,
        ("POST", ["v1", .., "preview"]) => OperationKind::Preview,
        ("POST", ["v1", "rsa-signatures" | "hmac-signatures", ..]) => OperationKind::Preview,
        ("POST", ["v1", "usage" | "bulk" | "attachments" | "uploads", ..]) => OperationKind::Upload,
        ("POST", _) => OperationKind::Create,
        ("PUT" | "PATCH", _) => OperationKind::Update,
        ("DELETE", _) => OperationKind::Delete,
        _ => OperationKind::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, limit_type: &str, family: Family, kind: OperationKind) {
        let segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();

        let operation = classify(&method.parse().unwrap(), &segments);

        assert_eq!(operation.limit_type, limit_type, "{method} {path}");
        assert_eq!(operation.family, family, "{method} {path}");
        assert_eq!(operation.kind, kind, "{method} {path}");
    }

    #[test]
    fn calls_count_against_the_limit_type_that_zuora_lists() {
        use OperationKind::{Action, Create, Delete, Preview, Read, Submission, Update};
        check("POST", "/v1/accounts", HIGH_VOLUME, Family::V1, Create);
        check("GET", "/v1/accounts/A1", DEFAULT, Family::V1, Read);
        check("POST", "/v1/orders/preview", HIGH_VOLUME, Family::V1, Preview);
        check("PUT", "/v1/subscriptions/S1", HIGH_VOLUME, Family::V1, Update);
        check("PUT", "/v1/subscriptions/S1/renew", HIGH_VOLUME, Family::V1, Update);
        check("PUT", "/v1/subscriptions/S1/suspend", DEFAULT, Family::V1, Update);
        check("POST", "/v1/rsa-signatures", HIGH_VOLUME, Family::V1, Preview);
        check("POST", "/v1/object/account", DEFAULT, Family::Crud, Create);
        check("DELETE", "/v1/object/account/1", DEFAULT, Family::Crud, Delete);
        check("POST", "/v1/action/create", DEFAULT, Family::Action, Action);
        check("POST", "/v1/action/query", DEFAULT, Family::Action, Read);
        check("POST", "/v1/async/accounts", DEFAULT, Family::V1, Submission);
        check("GET", "/v1/async-jobs/1", DEFAULT, Family::V1, Read);
        check("GET", "/object-query/accounts", OBJECT_QUERY, Family::ObjectQuery, Read);
        check("GET", "/v2/accounts", OBJECT_QUERY, Family::Other, Read);
        check("GET", "/workflows", DEFAULT, Family::Other, Read);
        check("POST", "/apps/services/a/91.0", DEFAULT, Family::Soap, Create);
        check("GET", "/robots.txt", DEFAULT, Family::Nowhere, Read);
    }
}
