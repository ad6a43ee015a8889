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
    assert_eq!(policy.judge(&method, &target).is_ok(), expected, "{call} under {policy:?}");
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
fn a_path_is_bounded_as_it_is_read_in_many_ways() {
    let path = |length: usize| "/;".repeat(length / 2);
    check(&path(8 * 1024), Ok(()));
    check(&path(8 * 1024 + 2), Err(BadTarget::Long));
    check(&format!("/v1/accounts?{}", "x".repeat(60_000)), Ok(()));
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
fn a_pattern_is_shown_as_it_was_written() {
    for (written, shown) in [
        ("GET /v1/**", "GET /v1/**"),
        ("  *   /v1/accounts/*/ ", "* /v1/accounts/*/"),
        ("POST /rest/v1/accounts", "POST /rest/v1/accounts"),
        ("GET /", "GET /"),
        ("GET /**", "GET /**"),
    ] {
        assert_eq!(written.parse::<Pattern>().unwrap().to_string(), shown);
    }
}

#[test]
fn an_operation_is_its_paths_and_no_other_operation_s() {
    let memo = policy(&["operation GET_CreditMemo"], &[]);
    permits(&memo, "GET /v1/credit-memos/CM1", true);
    permits(&memo, "HEAD /rest/v1/credit-memos/CM1/", true);
    for call in [
        "GET /v1/credit-memos",
        "GET /v1/credit-memos/CM1/items",
        "POST /v1/credit-memos/CM1",
        "GET /V1/credit-memos/CM1",
        "GET /v1/credit-memos/CM1%2Fitems",
        "GET /v1/credit-memos//CM1",
        // Another operation, which has a literal where this one has a parameter.
        "GET /v1/credit-memos/pdf-status",
        "GET /v1/credit-memos/pdf-status;x",
    ] {
        permits(&memo, call, false);
    }

    let but_memo = policy(&[], &["operation GET_CreditMemo"]);
    for call in [
        "GET /v1/credit-memos/CM1",
        "HEAD /v1/credit-memos/CM1",
        "GET /V1/Credit-Memos/CM1",
        "GET //v1//credit-memos/CM1;x",
        "GET /v1%2Fcredit-memos/CM1",
        // Not the other one, to whoever is strict about letter case.
        "GET /v1/credit-memos/PDF-status",
    ] {
        permits(&but_memo, call, false);
    }
    permits(&but_memo, "GET /v1/credit-memos/pdf-status", true);
    permits(&but_memo, "PUT /v1/credit-memos/CM1", true);
}

#[test]
fn a_path_of_two_operations_is_allowed_by_neither_and_denied_by_both() {
    let call = "GET /v1/orders/term/ramp-metrics";
    for id in ["operation GET_SubscriptionTermInfo", "operation GET_RampMetricsByOrderNumber"] {
        permits(&policy(&[id], &[]), call, false);
        permits(&policy(&[], &[id]), call, false);
    }
}

#[test]
fn every_operation_is_permitted_by_its_own_id_and_denied_by_it() {
    for operation in crate::operations() {
        let path: String = operation
            .path
            .split('/')
            .skip(1)
            .map(|segment| if segment.starts_with('{') { "X1" } else { segment })
            .map(|segment| format!("/{segment}"))
            .collect();
        let call = format!("{} {path}", operation.method);
        let id = format!("operation {}", operation.id);
        let is_async = path.starts_with("/v1/async/");

        permits(&policy(&[], &[&id]), &call, false);
        // What is done later is done, so both must be allowed.
        permits(&policy(&[&id], &[]), &call, !is_async);
        let others = crate::operations().iter().filter(|other| other.id != operation.id);
        let next = others.skip(operation.place()).chain(crate::operations()).next().unwrap();
        let next = format!("operation {}", next.id);
        if next != id {
            permits(&policy(&[&next], &[]), &call, false);
            permits(&policy(&[], &[&next]), &call, true);
        }
    }
}

#[track_caller]
fn permits_soap(policy: &Policy, path: &str, name: &str, expected: bool) {
    let target = Target::read(path).unwrap();
    let got = policy.judge_soap(&Method::POST, &target, name).is_ok();
    assert_eq!(got, expected, "{name} at {path} under {policy:?}");
}

#[test]
fn soap_calls_are_allowed_by_name_or_path_and_denied_by_either() {
    const PATH: &str = "/apps/services/a/91.0";
    let by_name = policy(&["SOAP query", "GET /v1/**"], &[]);
    permits_soap(&by_name, PATH, "query", true);
    for name in ["Query", "queryMore", "delete", ""] {
        permits_soap(&by_name, PATH, name, false);
    }
    permits(&by_name, "POST /apps/services/a/91.0", false);

    let by_path = policy(&["POST /apps/services/**"], &["SOAP delete"]);
    permits_soap(&by_path, PATH, "query", true);
    permits_soap(&by_path, "/apps/services%2Fa/91.0", "query", false);
    for name in ["delete", "DELETE", "Delete"] {
        permits_soap(&by_path, PATH, name, false);
    }
    // Nobody has read what is in it.
    for call in ["POST /apps/services/a/91.0", "GET /APPS//services/a", "POST /apps%2Fservices/a"] {
        permits(&policy(&[], &["SOAP delete"]), call, false);
    }
    permits(&policy(&[], &["SOAP delete"]), "GET /apps/servlet/GenerateWsdl", true);

    permits_soap(&policy(&["SOAP *"], &[]), PATH, "anything", true);
    permits_soap(&policy(&["SOAP *"], &["SOAP *"]), PATH, "query", false);
    permits_soap(&policy(&["SOAP query"], &["* /apps/**"]), PATH, "query", false);
    permits_soap(&policy(&["SOAP query"], &["* /APPS/**"]), PATH, "query", false);
    permits_soap(&Policy::default(), PATH, "anything", true);
}

#[test]
fn whoever_only_reads_is_permitted_what_every_reading_only_reads() {
    let reads = Policy { read_only: true, ..Policy::default() };
    for call in [
        "GET /v1/accounts/A1",
        "HEAD /nowhere",
        "OPTIONS /v1/accounts",
        "POST /v1/action/query",
        "POST /rest/v1/action/queryMore/",
        "GET /apps/servlet/GenerateWsdl",
    ] {
        permits(&reads, call, true);
    }
    for call in [
        "POST /v1/accounts",
        "PUT /v1/accounts/A1",
        "PATCH /v1/accounts/A1",
        "DELETE /v1/accounts/A1",
        "POST /v1/action/update",
        "POST /V1/action/query",
        "POST /v1/action//query",
        "POST /v1/action/query;x",
        "POST /v1/action/%2Fquery",
        "POST /v1/async/action/query",
        "POST /apps/services/a/91.0",
        "GET /apps/services/a/91.0",
    ] {
        permits(&reads, call, false);
    }
    for (name, expected) in [
        ("query", true),
        ("queryMore", true),
        ("getUserInfo", true),
        ("Query", false),
        ("create", false),
        ("amend", false),
    ] {
        permits_soap(&reads, "/apps/services/a/91.0", name, expected);
    }
    let narrower = Policy { read_only: true, ..policy(&["POST /v1/**"], &[]) };
    permits(&narrower, "POST /v1/action/query", true);
    permits(&narrower, "GET /v1/accounts/A1", false);
}

#[test]
fn a_browser_may_ask_for_what_it_may_do() {
    #[track_caller]
    fn check(policy: &Policy, method: &Method, path: &str, expected: bool) {
        let target = Target::read(path).unwrap();
        assert_eq!(policy.judge_preflight(method, &target).is_ok(), expected, "{method} {path}");
    }

    let posts = policy(&["POST /v1/payment-methods/**"], &[]);
    check(&posts, &Method::POST, "/v1/payment-methods", true);
    check(&posts, &Method::GET, "/v1/payment-methods", false);
    check(&posts, &Method::POST, "/v1/accounts", false);
    let unasked = policy(&["POST /v1/**"], &["OPTIONS /v1/accounts"]);
    check(&unasked, &Method::POST, "/v1/orders", true);
    check(&unasked, &Method::POST, "/v1/Accounts", false);
    check(&Policy { read_only: true, ..Policy::default() }, &Method::POST, "/v1/accounts", false);
}

#[test]
fn a_refusal_says_which_rule_it_was() {
    const PATH: &str = "/apps/services/a/91.0";
    #[track_caller]
    fn check(policy: &Policy, call: &str, expected: &str) {
        let (method, path) = call.split_once(' ').unwrap();
        let target = Target::read(path).unwrap();
        let got = match method {
            "SOAP" => policy.judge_soap(&Method::POST, &Target::read(PATH).unwrap(), &path[1..]),
            "ASK" => policy.judge_preflight(&Method::POST, &target),
            _ => policy.judge(&Method::from_bytes(method.as_bytes()).unwrap(), &target),
        };
        assert_eq!(got.unwrap_err().to_string(), expected, "{call} under {policy:?}");
    }
    let denied = |entry: &str| format!("an entry of `deny` refuses it: `{entry}`");
    let not_allowed = "no entry of `allow` names it";
    let not_read = "`read_only` permits only what is known to change nothing";

    let both = policy(
        &["GET /v1/**", "SOAP query"],
        &["DELETE /**", "* /rest/v1/payments/", "operation GET_Order", "SOAP delete", "SOAP *"],
    );
    check(&both, "POST /v1/accounts", not_allowed);
    check(&both, "DELETE /v1/accounts/A1", &denied("DELETE /**"));
    check(&both, "GET /V1/Payments", &denied("* /rest/v1/payments/"));
    check(&both, "GET /v1/orders/O1", &denied("operation GET_Order"));
    check(&both, "SOAP /Delete", &denied("SOAP delete"));
    check(&both, "SOAP /query", &denied("SOAP *"));
    check(&both, &format!("GET {PATH}"), &denied("SOAP delete"));

    let some = policy(&["* /v1/async/**", "SOAP query"], &["OPTIONS /v1/**"]);
    let partly = "`allow` names it in some of the ways in which it could be read, not in all";
    check(&some, "POST /v1/async/accounts", partly);
    check(&some, "SOAP /create", not_allowed);
    let asked = policy(&[], &["OPTIONS /v1/**"]);
    check(&asked, "ASK /v1/accounts", &denied("OPTIONS /v1/**"));

    let reads = Policy { read_only: true, ..policy(&["* /v1/**", "SOAP *"], &["* /v1/x"]) };
    check(&reads, "POST /v1/accounts", not_read);
    check(&reads, "POST /v1/x", &denied("* /v1/x"));
    check(&reads, "POST /v2", not_allowed);
    check(&reads, "SOAP /create", not_read);
    check(&reads, &format!("GET {PATH}"), not_read);
}

#[test]
fn an_entry_that_names_only_writes_is_known() {
    for (entry, expected) in [
        ("GET /v1/accounts/**", false),
        ("HEAD /**", false),
        ("OPTIONS /v1/accounts", false),
        ("* /v1/accounts/**", false),
        ("POST /v1/action/query", false),
        ("POST /rest/v1/action/queryMore", false),
        ("POST /v1/action/*", false),
        ("POST /**", false),
        ("POST /apps/services/a/91.0", false),
        ("POST /apps/**", false),
        ("POST /*/services/**", false),
        ("POST /apps/servlet", true),
        ("POST /apps", true),
        ("POST /v1/accounts", true),
        ("POST /v1/action/update", true),
        ("POST /V1/action/query", true),
        ("POST /v1/async/action/query", true),
        ("PUT /**", true),
        ("PATCH /v1/**", true),
        ("DELETE /**", true),
        ("operation GET_Account", false),
        ("operation Action_POSTquery", false),
        ("operation POST_Account", true),
        ("SOAP *", false),
        ("SOAP query", false),
        ("SOAP create", true),
    ] {
        assert_eq!(Rule::parse(entry).unwrap().names_only_writes(), expected, "{entry}");
    }
}

#[test]
fn an_entry_that_is_none_says_what_to_write() {
    #[track_caller]
    fn check(entry: &str, part: &str) {
        let error = Rule::parse(entry).unwrap_err().to_string();
        assert!(error.contains(part), "{entry}: {error}");
    }

    check("operation", "a method and a path");
    check("operation no_such", "no operation has this id");
    check("Operation POST_Account", "the method must be");
    check("SOAP", "a method and a path");
    check("SOAP Query", "Zuora writes `query`");
    check(
        "SOAP login",
        "`login()` is answered by the gateway itself, for every app: leave it out, or write `SOAP *`",
    );
    check("SOAP 1", "the name of a call");
    check("SOAP a:query", "the name of a call");
    check("SOAP a b", "a method and a path");
    for entry in ["operation POST_Account", "SOAP query", "SOAP *", "SOAP somethingNew"] {
        assert_eq!(Rule::parse(entry).unwrap().to_string(), entry);
    }
}

#[test]
fn an_entry_tells_which_operations_it_names() {
    let check = |entry: &str, expected: &[&str]| {
        let rule = Rule::parse(entry).unwrap();
        let named: Vec<_> = rule.operations().map(|operation| operation.id).collect();
        assert_eq!(named, expected, "{entry}");
    };

    check("operation POST_Order", &["POST_Order"]);
    check("POST /v1/orders", &["POST_Order"]);
    check("POST /rest/v1/orders/", &["POST_Order"]);
    // Its last segment is what the template has a parameter for, unless another one names it.
    check("PUT /v1/orders/O-1", &["PUT_Order"]);
    check("POST /v1/orders/*", &["POST_PreviewOrder"]);
    check("PUT /v1/orders/*/can*", &["PUT_OrderCancel"]);
    check(
        "POST /v1/async/**",
        &["POST_CreateOrderAsynchronously", "POST_PreviewOrderAsynchronously"],
    );
    check(
        "* /v1/async/orders/*",
        &["POST_PreviewOrderAsynchronously", "deleteOrderAsynchronously"],
    );
    check("HEAD /v1/orders/O-1", &["GET_Order"]);
    check("PATCH /v1/orders", &[]);
    check("POST /V1/orders", &[]);
    check("POST /v9/**", &[]);
    check("SOAP query", &[]);
    check("SOAP *", &[]);
    assert_eq!(Rule::parse("* /**").unwrap().operations().count(), operations().len());
}
