//! What is said of repeats and lanes. The rest is asked of the program as a whole.

use std::path::Path;

use super::*;

/// What is said of a call of the only app, if its tenant has these keys more.
fn said(tenant: &str, method: &Method, path: &str) -> String {
    let oauth = "{oauth: {client_id: id, client_secret: secret}}";
    said_with(oauth, tenant, &Asked { method, path, host: None, soap: None, prefer: None })
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
    let asked =
        Asked { method: &Method::POST, path, host: None, soap: Some("query"), prefer: None };
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

/// Checks what is said of carrying a call out later: unasked, and if the app asks for it.
#[track_caller]
fn check_later(tenant: &str, method: &Method, path: &str, unasked: &str, asked: &str) {
    check(
        tenant,
        method,
        path,
        &[("async", unasked), ("on request", &format!("with Prefer: respond-async, {asked}"))],
    );
    let oauth = "{oauth: {client_id: id, client_secret: secret}}";
    let prefer = Some(Preference::RespondAsync);
    let said = said_with(oauth, tenant, &Asked { method, path, host: None, soap: None, prefer });
    assert!(said.lines().any(|it| it == format!("{:<12} {asked}", "async")), "{asked}\n{said}");
    assert!(!said.contains("on request"), "{said}");
}

const CALLOUTS: &str =
    "callouts: {public_url: https://gw.example.com, username: zuora, password: word}";

const AT_ONCE: &str = "carried out at once: the app does not ask for anything else";

#[test]
fn a_write_is_carried_out_later_if_its_outcome_would_be_heard_of() {
    check_later(
        "",
        &Method::POST,
        "/v1/accounts",
        AT_ONCE,
        "carried out at once (Zuora-Gateway-Not-Async: not-configured): the tenant has no `async.callouts`, so nobody would \
         hear of its outcome",
    );
    check_later(
        &format!("async: {{{CALLOUTS}}}"),
        &Method::POST,
        "/v1/accounts",
        AT_ONCE,
        "carried out later: sent to /v1/async/accounts, if its body is JSON, and answered 202",
    );
}

#[test]
fn the_entry_that_speaks_of_a_write_decides() {
    let now =
        "carried out later: sent to /v1/async/accounts, if its body is JSON, and answered 202";
    let never = "carried out at once (Zuora-Gateway-Not-Async: policy): the entry of `async.rewrite` that speaks of it says `never`";
    let waiting = "carried out later if it has waited 5s for its turn: sent to /v1/async/accounts then, if its body is JSON, and \
                   answered 202; else carried out at once";
    for (entry, unasked, asked) in [
        ("{when: always}", now, now),
        ("{when: on_request}", AT_ONCE, now),
        ("{when: never}", AT_ONCE, never),
        ("{when_waiting: 5s}", waiting, now),
        ("{apps: [app], operations: [operation POST_Account], when: never}", AT_ONCE, never),
        ("{operations: [\"PUT /v1/**\"], when: never}", AT_ONCE, now),
    ] {
        let tenant = format!("async: {{{CALLOUTS}, rewrite: [{entry}]}}");
        check_later(&tenant, &Method::POST, "/v1/accounts", unasked, asked);
    }
}

#[test]
fn a_call_that_zuora_does_not_take_there_says_why() {
    let tenant = format!("async: {{{CALLOUTS}, rewrite: [{{when: always}}]}}");
    for (method, path, why) in [
        (&Method::GET, "/v1/accounts/A1", "read"),
        (&Method::POST, "/v1/action/create", "Actions excluded"),
        (
            &Method::PUT,
            "/v1/orders/O-1/activate",
            "not known whether Zuora takes it at /v1/async: no JSON body declared",
        ),
        (&Method::POST, "/v1/nowhere", "not known whether Zuora takes it at /v1/async"),
    ] {
        let refused = format!("carried out at once (Zuora-Gateway-Not-Async: operation): {why}");
        check_later(&tenant, method, path, AT_ONCE, &refused);
    }
}

#[test]
fn an_order_becomes_a_job_where_an_entry_names_it() {
    let not_named = "carried out at once (Zuora-Gateway-Not-Async: operation): no entry of `async.rewrite` names POST /v1/orders for this app";
    let everything = format!("async: {{{CALLOUTS}, rewrite: [{{when: always}}]}}");
    check_later(&everything, &Method::POST, "/v1/orders", AT_ONCE, not_named);

    let entry = "{operations: [POST /v1/orders], when: on_request}";
    let named = format!("async: {{{CALLOUTS}, rewrite: [{{when: always}}, {entry}]}}");
    let job = "carried out later, as a job: sent to /v1/async/orders, if its body is JSON";
    check_later(&named, &Method::POST, "/v1/orders", AT_ONCE, job);
}

#[test]
fn a_write_that_the_app_sends_there_itself_is_remembered() {
    let direct = "carried out later as it stands; the gateway keeps its outcome for the app";
    let tenant = format!("async: {{{CALLOUTS}}}");
    check_later(&tenant, &Method::POST, "/v1/async/accounts", direct, direct);
}

#[test]
fn the_policy_of_an_app_is_asked_about_the_other_path_too() {
    let text = format!(
        "tenants:
  t:
    base_url: https://rest.zuora.com
    credentials: {{api_key: {{id: id, secret: secret}}}}
    async: {{{CALLOUTS}}}
apps:
  app:
    tenant: t
    client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11
    secret: s
    deny: [\"POST /v1/async/**\"]
"
    );
    let config = config::parse(&text, Path::new("F"), &config::ProcessEnvironment).unwrap();
    let asked = Asked {
        method: &Method::POST,
        path: "/v1/accounts",
        host: None,
        soap: None,
        prefer: Some(Preference::RespondAsync),
    };

    let said = explain(&config, &config.apps[0], &asked);

    let refused = "(Zuora-Gateway-Not-Async: policy): the app may not call /v1/async/accounts: an entry of `deny` refuses it: `POST /v1/async/**`";
    assert!(said.contains(refused), "{said}");
}

#[test]
fn a_write_that_is_carried_out_later_is_told_as_what_it_is_there() {
    let oauth = "{oauth: {client_id: id, client_secret: secret}}";
    let tenant = format!("async: {{{CALLOUTS}}}");
    let asked = |prefer| Asked {
        method: &Method::POST,
        path: "/v1/accounts",
        host: None,
        soap: None,
        prefer,
    };

    let at_once = said_with(oauth, &tenant, &asked(None));
    let later = said_with(oauth, &tenant, &asked(Some(Preference::RespondAsync)));

    assert!(at_once.contains("pool         High-volume transactions"), "{at_once}");
    assert!(at_once.contains("if cut off   sent again with the same key"), "{at_once}");
    assert!(later.contains("/v1/async/accounts\npool         Default"), "{later}");
    assert!(later.contains("if cut off   not sent again"), "{later}");
    assert!(!later.contains("the gateway makes one"), "{later}");
}

#[test]
fn what_the_gateway_itself_answers_about_async_requests_is_no_call_of_zuoras() {
    for (method, path, answer) in [
        (&Method::GET, "/_gateway/async-requests", "with the app's async requests"),
        (
            &Method::GET,
            "/_gateway/async-requests/app-1",
            "with what became of an async request of the app's",
        ),
        (
            &Method::POST,
            "/_gateway/callouts/t",
            "if it is a callout of Zuora's, by the password for those",
        ),
        (&Method::POST, "/_gateway/async-requests/a", "with 404: there is nothing at this path"),
    ] {
        let answered = format!("by the gateway itself, {answer}; Zuora sees nothing");
        check("", method, path, &[("answered", &answered)]);
    }
}
