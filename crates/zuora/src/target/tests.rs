mod model;

use super::*;

#[track_caller]
fn check(path: &str, expected: Result<(), BadTarget>) {
    assert_eq!(Target::read(path).map(drop), expected, "{path}");
}

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let parse = |patterns: &[&str]| patterns.iter().map(|p| Rule::parse(p).unwrap()).collect();
    Policy { allow: parse(allow), deny: parse(deny), read_only: false }
}

#[track_caller]
fn permits(policy: &Policy, call: &str, expected: bool) {
    let (method, path) = call.split_once(' ').unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let target = Target::read(path).unwrap();
    assert_eq!(policy.permits(&method, &target), expected, "{call} under {policy:?}");
}

#[test]
fn odd_paths_of_real_clients_are_read() {
    for path in [
        "/",
        "//",
        "/v1/accounts",
        "/v1/accounts/",
        "/v1/accounts/A%2FB%20C",
        "/v1/batch-query//jobs/42",
        "/v1/object/account/2c92c0f9",
        "/v1/accounts/caf%C3%A9",
        "/v1/products/100%25",
        "/v1/products/100%25%20off",
        "/apps/services/a/91.0",
        "/v1/files/a.b..c/...",
        "/v1/accounts/A;v=1",
        "/v1/x/(a)[b]{c}'!$&*+,=:@~_-",
        "/v1/accounts?next=/../x\\#",
    ] {
        check(path, Ok(()));
    }
    assert_eq!(Target::read("/v1/accounts?page=2").unwrap().path(), "/v1/accounts");
}

#[test]
fn dot_segments_are_refused_in_every_coding() {
    for path in [
        "/v1/accounts/../payments",
        "/..",
        "/v1/./accounts",
        "/v1/accounts/.",
        "/v1/accounts/%2e%2e/payments",
        "/v1/accounts/.%2E/payments",
        "/v1/accounts/%2e./payments",
        "/v1/accounts/..%2fpayments",
        "/v1/accounts/%2e%2e%2fpayments",
        "/v1/accounts%2F..%2Fpayments",
        "/v1/accounts/..;/payments",
        "/v1/accounts;/../payments",
        "/v1/accounts/..;v=1/payments",
        "/v1/accounts/..%3b/payments",
        "/v1/accounts/%2e%2e%3bx/payments",
        "/v1/accounts/.;/payments",
        "/v1/accounts/..%20/payments",
        "/v1/a%2F..;x%2Fb",
    ] {
        check(path, Err(BadTarget::DotSegment));
    }
}

#[test]
fn what_only_hides_something_is_refused_and_named() {
    check("", Err(BadTarget::NotAbsolute));
    check("v1/accounts", Err(BadTarget::NotAbsolute));
    check("*", Err(BadTarget::NotAbsolute));
    check("http://evil/", Err(BadTarget::NotAbsolute));
    check("?x", Err(BadTarget::NotAbsolute));
    check("/A1\\..\\x", Err(BadTarget::Backslash));
    check("/A1%5c..%5Cx", Err(BadTarget::Backslash));
    check("/A1#/../", Err(BadTarget::RawByte(b'#')));
    check("/A 1", Err(BadTarget::RawByte(b' ')));
    check("/A\t1", Err(BadTarget::RawByte(b'\t')));
    check("/A\x001", Err(BadTarget::RawByte(0)));
    check("/A\x7f", Err(BadTarget::RawByte(0x7f)));
    check("/A\u{e9}", Err(BadTarget::RawByte(0xc3)));
    check("/A%00", Err(BadTarget::Control(0)));
    check("/A%0d%0aX: y", Err(BadTarget::RawByte(b' ')));
    check("/A%0d%0aX:y", Err(BadTarget::Control(b'\r')));
    check("/A%7F", Err(BadTarget::Control(0x7f)));
    check("/A%zz", Err(BadTarget::BrokenEncoding));
    check("/A%", Err(BadTarget::BrokenEncoding));
    check("/A%2", Err(BadTarget::BrokenEncoding));
    check("/A%u002e", Err(BadTarget::BrokenEncoding));
    check("/%252e%252e%252f", Err(BadTarget::EncodedTwice));
    check("/v1/%2570ayments", Err(BadTarget::EncodedTwice));
    check("/%25%32%65", Err(BadTarget::EncodedTwice));
    check("/%c0%af", Err(BadTarget::NotUtf8));
    check("/%c0%ae%c0%ae/", Err(BadTarget::NotUtf8));
    check("/%e0%80%ae", Err(BadTarget::NotUtf8));
    check("/%ff", Err(BadTarget::NotUtf8));
}

#[test]
fn an_empty_policy_permits_everything() {
    for call in ["GET /", "DELETE //v1//x%2Fy;z", "PURGE /V1/PAYMENTS", "POST /rest/v1/connections"]
    {
        permits(&Policy::default(), call, true);
    }
}

#[test]
fn only_what_is_allowed_is_permitted() {
    let policy = policy(&["GET /v1/accounts/*", "POST /v1/accounts", "* /object-query/**"], &[]);

    for call in [
        "GET /v1/accounts/A1",
        "HEAD /v1/accounts/A1",
        "GET /v1/accounts/A1/",
        "GET /v1/accounts/A%2DB",
        "POST /v1/accounts",
        "POST /rest/v1/accounts",
        "POST /v1/%61ccounts",
        "GET /object-query",
        "DELETE /object-query/a/b/c",
    ] {
        permits(&policy, call, true);
    }
    for call in [
        "GET /v1/accounts",
        "GET /v1/accounts/",
        "GET /v1/accounts/A1/summary",
        "PUT /v1/accounts/A1",
        "GET /v1/accounts-evil",
        "GET /v1/accounts-evil/A1",
        "GET /V1/accounts/A1",
        "GET /v1/ACCOUNTS/A1",
        "GET //v1/accounts/A1",
        "GET /v1//accounts/A1",
        "GET /v1/accounts//",
        "GET /v1/accounts/A%2FB",
        "GET /v1/accounts/;v=1",
        "POST /v1/async/accounts",
        "POST /REST/v1/accounts",
        "POST /rest//v1/accounts",
        "GET /object-query-2",
    ] {
        permits(&policy, call, false);
    }
}

#[test]
fn inside_an_allowed_prefix_odd_paths_stay_permitted() {
    let policy = policy(&["GET /v1/**"], &[]);

    for call in [
        "GET /v1",
        "GET /v1/",
        "GET /v1/accounts/A%2FB%20C",
        "GET /v1/batch-query//jobs/42",
        "GET /v1/accounts/A;v=1",
        "GET /v1/async/orders",
        "GET /rest/v1/accounts/A1",
        "GET /v1/accounts/A1?next=/v2",
    ] {
        permits(&policy, call, true);
    }
    permits(&policy, "GET /v1evil", false);
    permits(&policy, "GET /v1%2Fevil", false);
    permits(&policy, "GET /v1;/evil", false);
}

#[test]
fn a_denial_wins_under_any_reading() {
    let policy = policy(&["* /**"], &["* /v1/payments/**", "GET /v1/files/*"]);

    for call in [
        "GET /v1/payments",
        "POST /v1/payments/",
        "GET /v1/payments/P1/parts",
        "GET //v1//payments",
        "GET /v1/%70ayments",
        "GET /V1/PAYMENTS",
        "GET /v1/payments;v=1/x",
        "GET /v1/payments%3bv/x",
        "GET /v1%2Fpayments",
        "GET /v1/;x/payments",
        "GET /rest/v1/payments",
        "GET /REST/V1/payments",
        "GET //rest//v1//payments",
        "POST /v1/async/payments",
        "POST /V1/Async/payments/P1",
        "HEAD /v1/files/F1",
    ] {
        permits(&policy, call, false);
    }
    for call in ["GET /v1/payments-x", "GET /v2/payments", "POST /v1/files/F1", "GET /v1/files"] {
        permits(&policy, call, true);
    }
}

#[test]
fn an_async_call_needs_both_its_forms_permitted() {
    permits(
        &policy(&["POST /v1/accounts", "POST /v1/async/*"], &[]),
        "POST /v1/async/accounts",
        true,
    );
    permits(&policy(&["POST /v1/async/*"], &[]), "POST /v1/async/accounts", false);
    permits(&policy(&["POST /v1/accounts"], &[]), "POST /v1/async/accounts", false);
    permits(&policy(&[], &["POST /v1/async/**"]), "POST /v1/accounts", true);
}

#[test]
fn stars_stand_for_characters_within_a_segment() {
    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        permits(&policy(&[&format!("GET {pattern}")], &[]), &format!("GET {path}"), expected);
    }

    check("/v1/*-memos/*", "/v1/credit-memos/CM1", true);
    check("/v1/*-memos/*", "/v1/memos/CM1", false);
    check("/v1/*memos", "/v1/memos", true);
    check("/v1/a*b*c", "/v1/aXbXbYc", true);
    check("/v1/a*b*c", "/v1/aXbXbY", false);
    check("/v1/a*", "/v1/a", true);
    check("/v1/*", "/v1/a/b", false);
    check("/**", "/", true);
    check("/", "/", true);
    check("/", "/v1", false);
    check("/v1/accounts/*/**", "/v1/accounts/A1", true);
    check("/v1/accounts/*/**", "/v1/accounts", false);
    check("/v1/caf\u{e9}", "/v1/caf%C3%A9", true);
    check("/v1/batch-query/", "/v1/batch-query", true);
    check("/rest/v1/accounts", "/v1/accounts", true);
}

#[test]
fn a_pattern_that_is_not_one_says_what_to_write() {
    #[track_caller]
    fn check(pattern: &str, part: &str) {
        let error = Pattern::parse(pattern).unwrap_err().to_string();
        assert!(error.contains(part), "{pattern}: {error}");
    }

    check("", "a method and a path");
    check("/v1/accounts", "a method and a path");
    check("GET", "a method and a path");
    check("GET /v1 /v2", "a method and a path");
    check("get /v1", "in capitals");
    check("GTE /v1", "the method must be");
    check("GET v1", "must begin with `/`");
    check("GET /v1//x", "empty segment");
    check("GET /v1/../x", "`..` segment");
    check("GET /v1/**/x", "the whole last segment");
    check("GET /v1/a**", "the whole last segment");
    check("GET /v1/accounts/{id}", "write `*` in its place");
    check("GET /v1?x", "what `?` begins");
    check("GET /v1/a;b", "what `;` begins");
    check("GET /v1/a%20b", "instead of `%`");
    check("GET /v1\\a", r"the character '\\'");
    check("GET /v1/\u{7f}", "the character '\\u{7f}'");
}

#[test]
fn a_pattern_is_shown_as_it_is_understood() {
    for (written, shown) in [
        ("GET /v1/**", "GET /v1/**"),
        ("  *   /v1/accounts/*/ ", "* /v1/accounts/*"),
        ("POST /rest/v1/accounts", "POST /v1/accounts"),
        ("GET /", "GET /"),
        ("GET /**", "GET /**"),
    ] {
        assert_eq!(written.parse::<Pattern>().unwrap().to_string(), shown);
    }
}
