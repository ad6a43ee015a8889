//! What a tenant allows, and what its apps may have of it.

use std::time::Duration;

use super::{check, good, with_app, with_more, with_tenant};
use crate::{Config, OnRefusal, Priority};

/// A second app of the same tenant, from line 10 on, or after what the first one has besides.
const BATCH: &str = "  batch:
    tenant: production
    client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d
    secret: hidden-batch\n";

/// The names of the limit types, as a message lists them.
const NAMES: &str = "a limit type by Zuora's own name, such as `Default`, `High-volume transactions`, `Object Query`";

#[test]
fn a_partial_list_of_limits_changes_only_those() {
    assert_eq!(
        limits("{Object Query: 3}"),
        ["Default: 40", "High-volume transactions: 200", "Object Query: 3"]
    );
    assert_eq!(
        limits("{Object Query: {limit: 3}}"),
        ["Default: 40", "High-volume transactions: 200", "Object Query: 3"]
    );
    assert_eq!(
        limits("{Default: {}}"),
        ["Default: 40", "High-volume transactions: 200", "Object Query: 80"]
    );
}

#[test]
fn a_limit_that_is_only_counted_keeps_its_figure() {
    assert_eq!(
        limits("{Default: {enforce: false}, Object Query: {limit: 3, enforce: false}}"),
        [
            "Default: 40, not enforced",
            "High-volume transactions: 200",
            "Object Query: 3, not enforced"
        ]
    );
}

#[test]
fn zuora_may_have_limit_types_that_nobody_here_knows() {
    assert_eq!(
        limits(
            "{Billing Engine: 10, \"${not-filled-in}\": {limit: 4, enforce: false}, Charges: \"${N}\"}"
        ),
        [
            "${not-filled-in}: 4, not enforced",
            "Billing Engine: 10",
            "Charges: 77",
            "Default: 40",
            "High-volume transactions: 200",
            "Object Query: 80",
        ]
    );
}

#[test]
fn names_of_limit_types() {
    for (name, why) in [
        ("default", "found `default`: Zuora writes `Default`"),
        ("OBJECT QUERY", "found `OBJECT QUERY`: Zuora writes `Object Query`"),
        ("Defualt", "found `Defualt`: did you mean `Default`?"),
        ("Unlimited", "found `Unlimited`: it means that Zuora has no limit"),
        ("\"\"", "found empty text"),
        ("\" Charges\"", "found ` Charges`"),
        ("Gebühren", "found `Gebühren`"),
        ("\"Char\\nges\"", "found `Char\\nges`"),
    ] {
        check(
            &with_tenant(&format!("concurrency: {{limits: {{{name}: 1}}, headroom: 0}}")),
            &[&format!("5:28: tenants.production.concurrency.limits: expected {NAMES}, {why}")],
        );
    }
    let (longest, longer) = ("x".repeat(64), "x".repeat(65));
    good(&with_tenant(&format!("concurrency: {{limits: {{{longest}: 3}}}}")));
    check(
        &with_tenant(&format!("concurrency: {{limits: {{{longer}: 3}}}}")),
        &[&format!(
            "5:28: tenants.production.concurrency.limits: expected {NAMES}, found `{}…`",
            "x".repeat(60)
        )],
    );
}

#[test]
fn one_limit_type_under_two_names() {
    check(
        &with_tenant("concurrency: {limits: {Billing Engine: 10, billing engine: 9}}"),
        &[
            "5:48: tenants.production.concurrency.limits.\"billing engine\": `Billing Engine` and `billing engine` are the same limit type",
        ],
    );
}

#[test]
fn figures_of_limits() {
    const LIMIT: &str = "expected a whole number from 1 to 10000";
    for (written, told) in [
        ("0", format!("5:37: {{}}: {LIMIT}, found `0`")),
        ("many", format!("5:37: {{}}: {LIMIT}, found `many`")),
        ("10001", format!("5:37: {{}}: {LIMIT}, found `10001`")),
        ("{limit: 0}", format!("5:45: {{}}.limit: {LIMIT}, found `0`")),
        ("", "5:35: {}: expected a limit such as `40`, found nothing".into()),
        ("[40]", "5:37: {}: expected a limit such as `40`, found a list".into()),
        ("{limits: 40}", "5:38: {}: unknown key `limits`, did you mean `limit`?".into()),
        ("{enforce: no}", "5:47: {}.enforce: expected `true` or `false`, found `no`".into()),
        ("{enforce: False}", "5:47: {}.enforce: expected `true` or `false`, found `False`".into()),
    ] {
        let path = "tenants.production.concurrency.limits.Default";
        check(
            &with_tenant(&format!("concurrency: {{limits: {{Default: {written}}}}}")),
            &[&told.replace("{}", path)],
        );
    }
    check(
        &with_tenant("concurrency: {limits: {Charges: {enforce: false}}}"),
        &[
            "5:28: tenants.production.concurrency.limits.Charges: the key `limit` is missing: no default is known for this limit type",
        ],
    );
}

#[test]
fn headroom_that_leaves_nothing() {
    check(
        &with_tenant("concurrency: {headroom: 40}"),
        &[
            "5:29: tenants.production.concurrency.headroom: `headroom` must leave at least 1 of every limit, but it is 40, and the limit of `Default` is 40",
        ],
    );
    check(
        &with_tenant("concurrency: {limits: {Default: 2, Object Query: {limit: 1}}}"),
        &[
            "5:37: tenants.production.concurrency.limits.Default: `headroom` must leave at least 1 of every limit, but it is 2, and the limit of `Default` is 2",
            "5:62: tenants.production.concurrency.limits.\"Object Query\".limit: `headroom` must leave at least 1 of every limit, but it is 2, and the limit of `Object Query` is 1",
        ],
    );
    check(
        &with_tenant("concurrency: {headroom: -1}"),
        &[
            "5:29: tenants.production.concurrency.headroom: expected a whole number from 0 to 9999, found `-1`",
        ],
    );
}

#[test]
fn what_a_refusal_does() {
    let config = good(&with_tenant("concurrency: {on_refusal: freeze, retry_after_cap: 2s}"));

    let concurrency = &config.tenants[0].concurrency;
    assert_eq!(concurrency.on_refusal, OnRefusal::Freeze);
    assert_eq!(concurrency.retry_after_cap, Some(Duration::from_secs(2)));

    check(
        &with_tenant("concurrency: {on_refusal: wait, retry_after_cap: 2}"),
        &[
            "5:31: tenants.production.concurrency.on_refusal: expected one of `shrink`, `freeze`, found `wait`",
            "5:54: tenants.production.concurrency.retry_after_cap: expected a duration such as `30s`, found `2`: write the unit behind the number (ms, s, m, h)",
        ],
    );
}

#[test]
fn windows_are_production_s_unless_the_file_says_otherwise() {
    assert_eq!(windows(""), "50000, 2250000, 27000000");
    assert_eq!(
        windows("rate: {per_minute: 12500, per_hour: 25000, per_day: 50000}"),
        "12500, 25000, 50000"
    );
    assert_eq!(windows("rate: {per_minute: null, per_hour:, per_day: ~}"), "none, none, none");
    assert_eq!(windows("rate: {per_hour: null}"), "50000, none, 27000000");
    assert_eq!(windows("rate: {enforce: false}"), "50000, 2250000, 27000000, not enforced");
    // As every section without content, it is as if left out.
    assert_eq!(windows("rate: null"), "50000, 2250000, 27000000");
}

#[test]
fn windows_that_contradict_each_other() {
    check(
        &with_tenant("rate: {per_minute: 5000, per_hour: 2500, per_day: 10000}"),
        &[
            "5:40: tenants.production.rate.per_hour: `per_minute` is 5000 and `per_hour` only 2500: write what Zuora allows in each, or `null` where it has no such limit",
        ],
    );
    // Of the sandbox's figures, one was forgotten.
    check(
        &with_tenant("rate: {per_hour: 25000, per_day: 50000}"),
        &[
            "5:22: tenants.production.rate.per_hour: `per_minute` is 50000 and `per_hour` only 25000: write what Zuora allows in each, or `null` where it has no such limit",
        ],
    );
    check(
        &with_tenant("rate: {per_hour: null, per_day: 40000}"),
        &[
            "5:37: tenants.production.rate.per_day: `per_minute` is 50000 and `per_day` only 40000: write what Zuora allows in each, or `null` where it has no such limit",
        ],
    );
    check(
        &with_tenant("rate: {per_hour: 30000000}"),
        &[
            "5:22: tenants.production.rate.per_hour: `per_hour` is 30000000 and `per_day` only 27000000: write what Zuora allows in each, or `null` where it has no such limit",
        ],
    );
    good(&with_tenant("rate: {per_minute: 5, per_hour: 5, per_day: 5}"));
    check(
        &with_tenant("rate: {per_minute: 0, per_hour: 1.5, enforce: 1}"),
        &[
            "5:24: tenants.production.rate.per_minute: expected a whole number from 1 to 1000000000, found `0`",
            "5:37: tenants.production.rate.per_hour: expected a whole number from 1 to 1000000000, found `1.5`",
            "5:51: tenants.production.rate.enforce: expected `true` or `false`, found `1`",
        ],
    );
}

#[test]
fn what_an_app_may_have() {
    let config = good(&with_app(
        "priority: interactive
weight: 4
reserve: 5
max_in_flight: 5
rate: {per_second: 50, burst: 100, enforce: false}
fairness_key: X-End-User",
    ));

    let app = &config.apps[0];
    assert_eq!(app.priority, Priority::Interactive);
    assert_eq!(app.weight.get(), 4);
    assert_eq!(app.reserve, 5);
    assert_eq!(app.max_in_flight.map(std::num::NonZero::get), Some(5));
    let rate = app.rate.unwrap();
    assert_eq!((rate.per_second.get(), rate.burst.get(), rate.enforce), (50, 100, false));
    assert_eq!(app.fairness_key.as_deref(), Some("x-end-user"));
}

#[test]
fn an_app_may_burst_a_second_s_calls_and_waits_for_more() {
    let config = good(&with_app("rate: {per_second: 50}"));

    let rate = config.apps[0].rate.unwrap();
    assert_eq!((rate.burst.get(), rate.enforce), (50, true));
}

#[test]
fn values_that_no_app_can_have() {
    for (written, told) in [
        (
            "priority: high",
            "10:15: apps.storefront.priority: expected one of `interactive`, `standard`, `batch`, `scavenger`, found `high`",
        ),
        (
            "weight: 0",
            "10:13: apps.storefront.weight: expected a whole number from 1 to 1000, found `0`",
        ),
        (
            "weight: 1.5",
            "10:13: apps.storefront.weight: expected a whole number from 1 to 1000, found `1.5`",
        ),
        (
            "reserve: -1",
            "10:14: apps.storefront.reserve: expected a whole number from 0 to 9999, found `-1`",
        ),
        (
            "max_in_flight: 0",
            "10:20: apps.storefront.max_in_flight: expected a whole number from 1 to 1000000, found `0`",
        ),
        (
            "rate: 50",
            "10:11: apps.storefront.rate: expected a mapping with some of the keys `per_second`, `burst`, `enforce`, found a single value (a key ends with a colon and a space)",
        ),
        ("rate: {burst: 5}", "10:5: apps.storefront.rate: the key `per_second` is missing"),
        (
            "rate: {per_second: 0}",
            "10:24: apps.storefront.rate.per_second: expected a whole number from 1 to 1000000, found `0`",
        ),
        (
            "rate: {per_second: 5, burst: 0}",
            "10:34: apps.storefront.rate.burst: expected a whole number from 1 to 1000000, found `0`",
        ),
        (
            "rate: {per_minute: 5, per_second: 1}",
            "10:12: apps.storefront.rate: unknown key `per_minute`, known here: `per_second`, `burst`, `enforce`",
        ),
    ] {
        check(&with_app(written), &[told]);
    }
}

#[test]
fn fields_that_cannot_say_for_whom_a_call_is() {
    const HOP: &str = ": this one speaks of a single connection, and ends with it";
    const CREDENTIAL: &str = ": this one holds a credential";
    const OTHER: &str = ": this one has another meaning, and Zuora would not get it";
    for (name, why) in [
        ("Connection", HOP),
        ("transfer-encoding", HOP),
        ("TE", HOP),
        ("Proxy-Authorization", HOP),
        ("Authorization", CREDENTIAL),
        ("cookie", CREDENTIAL),
        ("apiSecretAccessKey", CREDENTIAL),
        ("Host", OTHER),
        ("Content-Length", OTHER),
        ("Content-Type", OTHER),
        ("Accept-Encoding", OTHER),
        ("Zuora-Track-Id", OTHER),
        ("X-Zuora-WSDL-Version", OTHER),
        ("Idempotency-Key", OTHER),
        ("entityId", OTHER),
        ("Prefer", OTHER),
        ("end user", ""),
        ("x-user:", ""),
    ] {
        check(
            &with_app(&format!("fairness_key: \"{name}\"")),
            &[&format!(
                "10:19: apps.storefront.fairness_key: expected a header field of your own such as `X-End-User`, found `{name}`{why}"
            )],
        );
    }
    check(
        &with_app("fairness_key: \"\""),
        &[
            "10:19: apps.storefront.fairness_key: expected a header field of your own such as `X-End-User`, found empty text",
        ],
    );
}

#[test]
fn a_reserve_that_the_app_can_never_use() {
    check(
        &with_app("max_in_flight: 4\nreserve: 5"),
        &[
            "11:14: apps.storefront.reserve: `reserve` is 5 and `max_in_flight` only 4: the app could never use what is reserved",
        ],
    );
    check(
        &with_app("reserve: 5\nmax_in_flight: 4"),
        &[
            "11:20: apps.storefront.max_in_flight: `reserve` is 5 and `max_in_flight` only 4: the app could never use what is reserved",
        ],
    );
    check(
        &with_app("priority: scavenger\nreserve: 1"),
        &[
            "11:14: apps.storefront.reserve: a `scavenger` has only what nobody else wants, so it cannot have a `reserve`: leave one of them out",
        ],
    );
    good(&with_app("priority: scavenger\nreserve: 0\nmax_in_flight: 1"));
}

#[test]
fn reserves_beyond_the_limit() {
    let two = |first: u32, second: u32| {
        with_app(&format!("reserve: {first}")) + BATCH + &format!("    reserve: {second}\n")
    };
    good(&two(30, 8));
    check(
        &two(30, 9),
        &[
            "15:14: apps.batch.reserve: the apps of `production` reserve 39 permits together, and `Default` has 38 for them (its limit of 40, less `headroom`): reserve less",
        ],
    );
    check(
        &two(39, 9),
        &[
            "10:14: apps.storefront.reserve: the apps of `production` reserve 48 permits together, and `Default` has 38 for them (its limit of 40, less `headroom`): reserve less",
        ],
    );
    let limits = "    concurrency: {limits: {Default: {limit: 10, enforce: false}}, headroom: 0}\n";
    good(&two(5, 5).replace("apps:", &format!("{limits}apps:")));
    check(
        &two(5, 6).replace("apps:", &format!("{limits}apps:")),
        &[
            "16:14: apps.batch.reserve: the apps of `production` reserve 11 permits together, and `Default` has 10 for them (its limit of 10, less `headroom`): reserve less",
        ],
    );
}

#[test]
fn reserves_are_counted_by_tenant() {
    let sandbox =
        "  sandbox: {base_url: http://s, credentials: {oauth: {client_id: i, client_secret: s}}}\n";
    let apart =
        with_app("reserve: 38") + &BATCH.replace("production", "sandbox") + "    reserve: 38\n";

    good(&apart.replace("apps:", &format!("{sandbox}apps:")));
}

#[test]
fn reserves_are_told_beside_everything_else() {
    check(
        &with_app("reserve: 39").replace("https://", ""),
        &[
            "3:15: tenants.production.base_url: expected scheme and host such as `https://rest.zuora.com`, found `rest.zuora.com`: it must begin with `https://`",
            "10:14: apps.storefront.reserve: the apps of `production` reserve 39 permits together, and `Default` has 38 for them (its limit of 40, less `headroom`): reserve less",
        ],
    );
    // What a limit is that cannot be read, nobody knows.
    check(
        &with_more("    reserve: 39")
            .replace("apps:", "    concurrency: {limits: {Default: forty}}\napps:"),
        &[
            "5:37: tenants.production.concurrency.limits.Default: expected a whole number from 1 to 10000, found `forty`",
        ],
    );
}

/// What the limits of the tenant are if the file says `written`.
#[track_caller]
fn limits(written: &str) -> Vec<String> {
    let config = good(&with_tenant(&format!("concurrency: {{limits: {written}}}")));
    let limits = &config.tenants[0].concurrency.limits;
    let shown = limits.iter().map(|(name, limit)| {
        format!("{name}: {}{}", limit.limit, if limit.enforce { "" } else { ", not enforced" })
    });
    shown.collect()
}

/// What the tenant allows in a minute, an hour and a day if the file says `written`.
#[track_caller]
fn windows(written: &str) -> String {
    let Config { tenants, .. } = good(&with_tenant(written));
    let rate = tenants[0].rate;
    let windows = [rate.per_minute, rate.per_hour, rate.per_day];
    let windows = windows.map(|calls| calls.map_or("none".to_owned(), |calls| calls.to_string()));
    format!("{}{}", windows.join(", "), if rate.enforce { "" } else { ", not enforced" })
}
