//! What is said of repeats and lanes. The rest is asked of the program as a whole.

use std::path::Path;

use super::*;

/// What is said of a call of the only app, if its tenant has these keys more.
fn said(tenant: &str, method: &Method, path: &str) -> String {
    let oauth = "{oauth: {client_id: id, client_secret: secret}}";
    said_with(oauth, tenant, &Asked { method, path, host: None, soap: None })
}

/// As [`said`], of a tenant with these credentials.
fn said_with(credentials: &str, tenant: &str, asked: &Asked<'_>) -> String {
    let text = format!(
        "tenants:
  t:
    base_url: https://rest.zuora.com
    credentials: {credentials}
{}
apps:
  app: {{tenant: t, client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: s}}
",
        tenant.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    let config = config::parse(&text, Path::new("F"), &config::ProcessEnvironment);
    let config = config.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    explain(&config, &config.apps[0], asked)
}

/// Checks the lines that begin with a name of `expected`.
#[track_caller]
fn check(tenant: &str, method: &Method, path: &str, expected: &[(&str, &str)]) {
    let said = said(tenant, method, path);
    for (name, what) in expected {
        let line = format!("{name:<12} {what}");
        assert!(said.lines().any(|it| it == line), "no `{line}` in\n{said}");
    }
}

const AGAIN_AFTER_REFUSAL: &str =
    "sent again when Zuora's Retry-After is over; nothing was executed";

const AGAIN_IF_NOT_SENT: &str = "sent again: no byte of it left the gateway";

const IN_DOUBT: &str = "not sent again: Zuora may have executed it, and would do it twice; the caller is told `Zuora-Gateway-Executed: maybe`";

const OTHER_KEY: &str = "sent again with another key: Zuora rolled it back, and keeps that under the first one; with the app's own key, Zuora's answer is returned: only the app can choose another";

#[test]
fn a_read_is_sent_again_whatever_becomes_of_it() {
    let calls = [
        (&Method::GET, "/v1/accounts/A1"),
        (&Method::HEAD, "/v1/accounts/A1"),
        (&Method::GET, "/nowhere"),
        (&Method::POST, "/v1/action/query"),
    ];
    for (method, path) in calls {
        check(
            "",
            method,
            path,
            &[
                (
                    "attempts",
                    "up to 5 that Zuora may have executed, others while its time lasts, with a body of at most 1MiB; repeats in the pool are 0.2 of its calls at most, and 10 a second",
                ),
                ("if refused", AGAIN_AFTER_REFUSAL),
                ("if not sent", AGAIN_IF_NOT_SENT),
                ("if contended", "sent again: it only reads"),
                ("if cut off", "sent again: it only reads"),
                (
                    "if failed",
                    "Zuora's answer is returned; sent again first, at most twice, if the cause may pass by itself",
                ),
            ],
        );
    }
}

#[test]
fn a_write_with_a_key_is_sent_again_under_the_key_that_fits() {
    check(
        "",
        &Method::POST,
        "/v1/orders",
        &[
            (
                "idempotency",
                "Zuora takes an Idempotency-Key here; if the app sends none, the gateway makes one",
            ),
            ("if refused", AGAIN_AFTER_REFUSAL),
            ("if not sent", AGAIN_IF_NOT_SENT),
            ("if contended", OTHER_KEY),
            ("if cut off", "sent again with the same key, under which Zuora executes it once"),
        ],
    );
    check(
        "retry: {contended_writes: return}",
        &Method::POST,
        "/v1/orders",
        &[("if contended", "Zuora's answer is returned, says `retry.contended_writes`")],
    );
}

#[test]
fn the_rows_of_an_action_are_returned_as_they_are() {
    let rows = "sent again with another key: Zuora rolled it back, and keeps that under the first one; with the app's own key, Zuora's answer is returned: only the app can choose another; an answer with rows is returned, whatever became of each";
    check("", &Method::POST, "/v1/action/create", &[("if contended", rows)]);
}

#[test]
fn a_write_without_a_key_is_sent_again_only_where_nothing_was_executed() {
    let calls = [
        (&Method::PUT, "/v1/subscriptions/A-S1/cancel", "Zuora takes no Idempotency-Key here"),
        (&Method::DELETE, "/v1/accounts/A1", "Zuora takes no Idempotency-Key here"),
        (&Method::POST, "/nowhere", "not known whether Zuora takes an Idempotency-Key here"),
    ];
    for (method, path, idempotency) in calls {
        check(
            "",
            method,
            path,
            &[
                ("idempotency", idempotency),
                ("if refused", AGAIN_AFTER_REFUSAL),
                ("if not sent", AGAIN_IF_NOT_SENT),
                ("if contended", "sent again: Zuora rolled it back"),
                ("if cut off", IN_DOUBT),
                ("if failed", "Zuora's answer is returned"),
            ],
        );
    }
    check(
        "retry: {contended_writes: return}",
        &Method::DELETE,
        "/v1/accounts/A1",
        &[("if contended", "Zuora's answer is returned, says `retry.contended_writes`")],
    );
}

#[test]
fn where_no_key_is_made_the_app_s_own_makes_the_difference() {
    let own_key =
        "with the app's own key, Zuora's answer is returned: only the app can choose another";
    check(
        "retry: {mint_idempotency_keys: false}",
        &Method::POST,
        "/v1/orders",
        &[
            (
                "idempotency",
                "Zuora takes an Idempotency-Key here; only the app's own, says `retry.mint_idempotency_keys`",
            ),
            ("if contended", &format!("sent again: Zuora rolled it back; {own_key}")),
            ("if cut off", &format!("{IN_DOUBT}; with the app's own key, it is sent again")),
        ],
    );
    check(
        "retry: {mint_idempotency_keys: false, contended_writes: return}",
        &Method::POST,
        "/v1/orders",
        &[("if contended", "Zuora's answer is returned, says `retry.contended_writes`")],
    );
}

#[test]
fn a_soap_call_needs_credentials_that_have_a_form_in_it() {
    let path = "/apps/services/a/91.0";
    let asked = Asked { method: &Method::POST, path, host: None, soap: Some("query") };
    let said = |credentials| said_with(credentials, "soap_url: https://www.zuora.com", &asked);
    let refused = "refused      with 404: the tenant's `api_key` has no form in SOAP";
    let login = "{api_key: {id: i, secret: s}, soap_login: {username: u, password: p}}";

    let alone = said("{api_key: {id: i, secret: s}}");
    assert!(alone.contains(refused) && !alone.contains("sent to"), "{alone}");
    for other in [login, "{connection: {id: i, secret: s}}"] {
        let said = said(other);
        assert!(!said.contains("refused      with") && said.contains("sent to"), "{said}");
    }
}

#[test]
fn what_bounds_the_repeats_is_told() {
    let tenant = "retry: {attempts: 3, budget: 1.5, replay_buffer: 1536B}
concurrency: {retry_after_cap: 2s}";
    check(
        tenant,
        &Method::POST,
        "/v1/orders",
        &[
            (
                "attempts",
                "up to 3 that Zuora may have executed, others while its time lasts, with a body of at most 1536B; repeats in the pool are 1.5 of its calls at most, and 10 a second",
            ),
            (
                "if refused",
                "sent again when Zuora's Retry-After is over, for want of a permit after 2s; nothing was executed",
            ),
        ],
    );
    for (written, told) in
        [("0B", "only without a body"), ("512KiB", "with a body of at most 512KiB")]
    {
        let said = said(&format!("retry: {{replay_buffer: {written}}}"), &Method::GET, "/v1/a");
        assert!(said.contains(told), "no `{told}` in\n{said}");
    }

    let once = said("retry: {attempts: 1}", &Method::GET, "/v1/accounts/A1");
    let told = "attempts     one: nothing is sent again, says `retry.attempts`\n";
    assert!(once.contains(told) && !once.contains("\nif "), "{once}");
}

#[test]
fn lanes_are_told_as_far_as_the_path_tells_them() {
    const BODY: &str =
        "whatever account, subscription or order its JSON body names: one call at a time for each";
    let lanes = "lanes: account";
    check("", &Method::PUT, "/v1/accounts/A1", &[("lanes", "none, says `lanes`")]);
    check(lanes, &Method::GET, "/v1/accounts/A1", &[("lanes", "none: it only reads")]);
    check(
        lanes,
        &Method::PUT,
        "/v1/accounts/A%2F1",
        &[("lanes", &format!("account `A/1`, and {BODY}"))],
    );
    check(lanes, &Method::PUT, "/v1/orders/O-1", &[("lanes", &format!("order `O-1`, and {BODY}"))]);
    check(
        lanes,
        &Method::PUT,
        "/v1/subscriptions/A-S1/cancel",
        &[("lanes", &format!("subscription `A-S1`, and {BODY}"))],
    );
    check(lanes, &Method::POST, "/v1/orders", &[("lanes", BODY)]);
}
