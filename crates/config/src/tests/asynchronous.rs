//! Writes whose outcome comes later.

use std::time::Duration;

use super::{SHORTEST, check, good, with_app, with_more, with_tenant};
use crate::{Async, When};

const CALLOUTS: &str =
    "{public_url: https://callouts.example.com, username: zuora, password: hidden-word}";
const OTHER_APP: &str = "  batch:
    tenant: production
    client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d
    secret: hidden-batch
";

/// The shortest file with these entries of `rewrite`, in line 6, and another app, `batch`.
fn with_rewrite(entries: &str) -> String {
    let more = format!("async:\n  callouts: {CALLOUTS}\n  rewrite: {entries}");
    with_tenant(&more) + OTHER_APP
}

#[track_caller]
fn async_of(text: &str) -> Async {
    good(text).tenants[0].async_requests.clone()
}

#[track_caller]
fn check_rewrite(entries: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|told| format!("7:{told}")).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    check(&with_rewrite(entries), &expected);
}

#[test]
fn nothing_is_sent_there_unless_callouts_can_come_in() {
    let config = good(SHORTEST);

    let asynchronous = &config.tenants[0].async_requests;
    assert!(asynchronous.callouts.is_none());
    assert!(asynchronous.rewrite.is_empty());
    assert_eq!(asynchronous.reconcile_after, Duration::from_secs(300));
    assert_eq!(asynchronous.unknown_after, Duration::from_secs(86_400));
    assert_eq!(config.async_requests.keep, Duration::from_secs(7 * 86_400));
    assert_eq!(config.async_requests.max_records.get(), 1_000_000);
    assert_eq!(config.async_requests.max_pending.get(), 100_000);
    assert!(config.listen.callouts.is_none());
    assert!(config.apps[0].outcomes.is_none());
    check(
        &with_tenant("async: {rewrite: [{when: always}]}"),
        &[
            "5:22: tenants.production.async.rewrite: `rewrite` needs `callouts`: without them, nobody would hear of an outcome",
        ],
    );
}

#[test]
fn callouts_have_an_address_and_a_credential() {
    let callouts = async_of(&with_tenant(&format!("async: {{callouts: {CALLOUTS}}}"))).callouts;

    let callouts = callouts.unwrap();
    assert_eq!(callouts.public_url.to_string(), "https://callouts.example.com");
    assert_eq!(callouts.username, "zuora");
    assert_eq!(callouts.password.expose(), "hidden-word");
    assert!(callouts.previous_password.is_none());
    let shown = format!("{callouts:?}");
    assert!(!shown.contains("hidden"), "{shown}");
    check(
        &with_tenant("async: {callouts: {}}"),
        &[
            "5:13: tenants.production.async.callouts: the key `password` is missing",
            "5:13: tenants.production.async.callouts: the key `public_url` is missing",
            "5:13: tenants.production.async.callouts: the key `username` is missing",
        ],
    );
}

#[test]
fn a_callout_comes_encrypted_and_with_a_credential_that_basic_can_hold() {
    let asynchronous = |url: &str, name: &str, more: &str| {
        with_tenant(&format!(
            "async:\n  callouts:\n    public_url: {url}\n    username: {name}\n    password: hidden{more}"
        ))
    };
    let path = "tenants.production.async.callouts";
    let url = "expected scheme and host such as `https://zuora-callouts.example.com`";
    let privately = "it must begin with `https://`, unless the host is a loopback one";

    for (written, why) in [
        ("http://callouts.example.com", privately),
        ("http://10.0.0.1:8443", privately),
        ("callouts.example.com", "it must begin with `https://`"),
        (
            "https://callouts.example.com/zuora",
            "it must end after the host and its port: the path is no part of it",
        ),
    ] {
        check(
            &asynchronous(written, "zuora", ""),
            &[&format!("7:21: {path}.public_url: {url}, found `{written}`: {why}")],
        );
    }
    for written in
        ["http://127.0.0.1:8443", "http://[::1]", "http://localhost:80", "https://c:8443"]
    {
        good(&asynchronous(written, "zuora", ""));
    }
    check(
        &asynchronous("https://c", "\"zuora:x\"", "\n    previous_password: hidden"),
        &[
            &format!("8:19: {path}.username: expected a user name without colons, found `zuora:x`"),
            &format!(
                "10:28: {path}.previous_password: the previous password is the same as the one that takes its place"
            ),
        ],
    );
    check(
        &asynchronous("https://c", "z", "\n    previous_password: \"hidden\\u0007\""),
        &[&format!(
            "10:28: {path}.previous_password: expected a password: it has a control character"
        )],
    );
}

#[test]
fn entries_say_whose_writes_are_sent_there_and_when() {
    let entries = "[{apps: [batch, storefront], operations: [POST /v1/accounts, operation POST_Order], when: on_request}, \
                   {operations: [\"PUT /v1/**\"], when_waiting: 5s}, {when: never}, {apps: [batch], when: always}]";

    let rewrite = async_of(&with_rewrite(entries)).rewrite;

    let apps: Vec<_> = rewrite.iter().map(|entry| &entry.apps[..]).collect();
    assert_eq!(apps, [&[1, 0][..], &[], &[], &[1]]);
    let when: Vec<_> = rewrite.iter().map(|entry| entry.when).collect();
    let waiting = When::Waiting(Duration::from_secs(5));
    assert_eq!(when, [When::OnRequest, waiting, When::Never, When::Always]);
    let orders: Vec<_> = rewrite.iter().map(|entry| entry.order_jobs).collect();
    assert_eq!(orders, [true, false, false, false]);
    let operations: Vec<_> =
        rewrite.iter().map(|entry| format!("{:?}", entry.operations)).collect();
    assert_eq!(
        operations,
        ["[`POST /v1/accounts`, `operation POST_Order`]", "[`PUT /v1/**`]", "[]", "[]"]
    );
}

#[test]
fn an_entry_that_nobody_could_mean() {
    let path = "tenants.production.async.rewrite";
    check_rewrite("{when: always}", &[&format!("16: {path}: expected a list, found a mapping")]);
    check_rewrite(
        "[{apps: [batch]}]",
        &[&format!("17: {path}[0]: one of the keys `when` and `when_waiting` is needed, not both")],
    );
    check_rewrite(
        "[{when: always, when_waiting: 5s}]",
        &[&format!("17: {path}[0]: one of the keys `when` and `when_waiting` is needed, not both")],
    );
    check_rewrite(
        "[{when: sometimes}]",
        &[&format!(
            "24: {path}[0].when: expected one of `always`, `on_request`, `never`, found `sometimes`"
        )],
    );
    check_rewrite(
        "[{apps: [batsh, batch, batch], operations: [], when: never}]",
        &[
            &format!("25: {path}[0].apps[0]: there is no app of this name, did you mean `batch`?"),
            &format!("39: {path}[0].apps[2]: this app is in the list already"),
            &format!(
                "59: {path}[0].operations: an empty list; leave `operations` out if all are meant"
            ),
        ],
    );
    check_rewrite(
        "[{apps: [], when: never}]",
        &[&format!("24: {path}[0].apps: an empty list; leave `apps` out if all are meant")],
    );
}

#[test]
fn an_entry_that_could_send_nothing_says_why() {
    let check = |operation: &str, when: &str, why: &str| {
        let entry = format!("[{{operations: [{operation}], when: {when}}}]");
        let told = format!("31: tenants.production.async.rewrite[0].operations[0]: {why}");
        check_rewrite(&entry, &[&told]);
    };
    let orders = "an order becomes a job, and only on request: write `when: on_request`";
    check("POST /v1/orders", "always", orders);
    check("operation POST_Order", "always", orders);
    check("SOAP create", "always", "no SOAP call can be sent to `/v1/async`");
    check("GET /v1/accounts/*", "always", "it is not for `/v1/async`: read");
    check("PATCH /v1/accounts/*", "never", "no operation that is known is named by it");
    check("POST /v1/action/query", "on_request", "it is not for `/v1/async`: Actions excluded");
    check(
        "operation POST_PreviewOrder",
        "on_request",
        "it is not for `/v1/async`: /v1/async/orders/preview is a separate operation (jobId + polling, no Async events)",
    );
    check(
        "PUT /v1/orders/*/activate",
        "on_request",
        "not known whether Zuora takes it at `/v1/async`: no JSON body declared",
    );
    check(
        "POST /v1/async/**",
        "on_request",
        "none of the 2 operations that it names is for `/v1/async`",
    );
    check("POST /v9/**", "always", "no operation that is known is named by it");
}

#[test]
fn an_order_waits_for_nobody_to_become_a_job() {
    check_rewrite(
        "[{operations: [POST /v1/orders], when_waiting: 5s}]",
        &[
            "31: tenants.production.async.rewrite[0].operations[0]: an order becomes a job, and only on request: write `when: on_request`",
        ],
    );
    for when in ["on_request", "never"] {
        let text = with_rewrite(&format!("[{{operations: [POST /v1/orders], when: {when}}}]"));
        assert!(async_of(&text).rewrite[0].order_jobs);
    }
    // A pattern that names other writes, too, speaks of those.
    let text = with_rewrite("[{operations: [\"POST /v1/**\"], when: always}]");
    assert!(!async_of(&text).rewrite[0].order_jobs);
}

#[test]
fn an_entry_speaks_of_apps_that_call_the_tenant() {
    let elsewhere = with_rewrite("[{apps: [storefront, batch], when: always}]")
        .replace("  batch:\n    tenant: production", "  batch:\n    tenant: other")
        .replace(
            "apps:\n",
            "  other: {base_url: https://other.example.com, path_prefix: /o, credentials: {api_key: {id: i, secret: hidden-other}}}\napps:\n",
        );

    check(
        &elsewhere,
        &["7:37: tenants.production.async.rewrite[0].apps[1]: this app does not call this tenant"],
    );
}

#[test]
fn an_outcome_is_asked_for_before_it_is_given_up() {
    let path = "tenants.production.async.unknown_after";
    for (reconcile, unknown) in [("5m", "5m"), ("2h", "1h")] {
        let text = with_tenant(&format!(
            "async:\n  reconcile_after: {reconcile}\n  unknown_after: {unknown}"
        ));
        check(
            &text,
            &[&format!("7:22: {path}: `unknown_after` must be longer than `reconcile_after`")],
        );
    }
    good(&with_tenant("async: {reconcile_after: 1s, unknown_after: 30d}"));
    check(
        &with_tenant("async: {unknown_after: 2w}"),
        &[&format!(
            "5:28: {path}: expected a duration such as `24h` or `7d`, found `2w`: the unit must be one of ms, s, m, h, d"
        )],
    );
    check(
        &with_tenant("async: {unknown_after: 366d}"),
        &[&format!(
            "5:28: {path}: expected a duration such as `24h` or `7d`, found `366d`: it must be at most 365d"
        )],
    );
}

#[test]
fn what_is_pending_is_kept() {
    let requests = good(&with_more("async_requests: {keep: 90m, max_records: 5, max_pending: 5}"));

    assert_eq!(requests.async_requests.keep, Duration::from_secs(5400));
    assert_eq!(requests.async_requests.max_records.get(), 5);
    assert_eq!(requests.async_requests.max_pending.get(), 5);
    check(
        &with_more("async_requests: {max_records: 5, max_pending: 6}"),
        &["10:47: async_requests.max_pending: `max_pending` must be at most `max_records`"],
    );
    check(
        &with_more("async_requests: {max_records: 5}"),
        &["10:31: async_requests.max_records: `max_pending` must be at most `max_records`"],
    );
    check(
        &with_more("async_requests: {keep: 0d}"),
        &[
            "10:24: async_requests.keep: expected a duration such as `24h` or `7d`, found `0d`: it must be longer than nothing",
        ],
    );
}

#[test]
fn callouts_may_have_a_port_of_their_own() {
    let port =
        |address: &str| with_more(&format!("listen: {{callouts: {{address: \"{address}\"}}}}"));

    let callouts = good(&port("0.0.0.0:8443")).listen.callouts.unwrap();

    assert_eq!(callouts.address.to_string(), "0.0.0.0:8443");
    assert!(callouts.tls.is_none());
    check(
        &port("127.0.0.1:8080"),
        &[
            "10:30: listen.callouts.address: `listen.address` and `listen.callouts.address` are both 127.0.0.1:8080",
        ],
    );
    check(
        &port("127.0.0.1:9090"),
        &[
            "10:30: listen.callouts.address: `admin.address` and `listen.callouts.address` are both 127.0.0.1:9090",
        ],
    );
    good(&with_more("listen: {address: \"127.0.0.1:0\", callouts: {address: \"127.0.0.1:0\"}}"));
    check(
        &with_more("listen: {callouts: {tls: {certificate: \"\"}}}"),
        &[
            "10:10: listen.callouts: the key `address` is missing",
            "10:21: listen.callouts.tls: the key `key` is missing",
            "10:40: listen.callouts.tls.certificate: expected the path of a readable file, found empty text: there is no such file",
        ],
    );
}

#[test]
fn outcomes_are_forwarded_privately_and_signed() {
    let outcomes = |url: &str, secret: &str| {
        with_app(&format!("outcomes: {{url: \"{url}\", secret: {secret}}}"))
            .replace("apps:", &format!("    async: {{callouts: {CALLOUTS}}}\napps:"))
    };
    let secret = "hidden-secret-of-thirty-two-chars";

    let config = good(&outcomes("https://app.example.com/outcomes/hidden?x=hidden", secret));

    let found = config.apps[0].outcomes.clone().unwrap();
    assert_eq!(found.url, "https://app.example.com/outcomes/hidden?x=hidden");
    assert_eq!(found.secret.expose(), secret);
    let shown = format!("{found:?}");
    assert!(shown.contains("https://app.example.com/…") && !shown.contains("hidden"), "{shown}");
    for good_one in ["https://app.example.com", "http://127.0.0.1:9/x", "http://localhost/@x"] {
        good(&outcomes(good_one, secret));
    }
    for (url, why) in [
        (
            "http://app.example.com/hidden",
            "it must begin with `https://`, unless the host is a loopback one",
        ),
        (
            "https://hidden:hidden@app.example.com/",
            "credentials do not belong into it: outcomes are signed",
        ),
        ("/outcomes", "it must begin with `https://`"),
        ("ftp://app.example.com", "the scheme must be `https` or `http`"),
        ("https://app.example.com/#hidden", "what `#` begins is sent to nobody: leave it out"),
        ("https://app.example.com:0/", "the port must be a number from 1 to 65535"),
    ] {
        check(
            &outcomes(url, secret),
            &[&format!(
                "11:21: apps.storefront.outcomes.url: expected a URL such as `https://app.example.com/outcomes`: {why}"
            )],
        );
    }
    check(
        &outcomes("https://app.example.com", "hidden-short"),
        &[
            "11:56: apps.storefront.outcomes.secret: expected a secret of at least 32 characters: it is shorter",
        ],
    );
    check(
        &with_app(&format!("outcomes: {{url: \"https://c\", secret: {secret}}}")),
        &[
            "10:5: apps.storefront.outcomes: no tenant of this app has `async.callouts`, so there are no outcomes",
        ],
    );
}

#[test]
fn no_app_goes_by_the_name_of_the_gateways_own_calls() {
    check(
        &SHORTEST.replace("storefront:", "gateway:"),
        &[
            "6:3: apps: expected an app name of 1 to 24 lower-case letters, digits and `_`, beginning with a letter or digit, found `gateway`: the gateway's own calls go by this one",
        ],
    );
    good(&SHORTEST.replace("storefront:", "gateway2:"));
}
