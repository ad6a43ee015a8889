//! Keys that are wrong, and values that contradict each other.

use super::{SHORTEST, check, good, with, with_app, with_more, with_tenant};

#[test]
fn required_keys_are_missed_where_they_belong() {
    check("log: {}", &["1:1: the key `apps` is missing", "1:1: the key `tenants` is missing"]);
    check(
        "tenants: {p: {}}\napps: {a: {}}\n",
        &[
            "1:11: tenants.p: one of the keys `base_url` and `environment` is needed",
            "1:11: tenants.p: the key `credentials` is missing",
            "2:8: apps.a: one of the keys `secret`, `secret_sha256` and `certificate` is needed",
            "2:8: apps.a: the key `client_id` is missing",
            "2:8: apps.a: the key `tenant` is missing",
        ],
    );
    check(
        "tenants: {}\napps: {}\n",
        &["1:1: tenants: at least one tenant is needed", "2:1: apps: at least one app is needed"],
    );
    check(
        "tenants:\napps:\n",
        &["1:1: the key `apps` is missing", "1:1: the key `tenants` is missing"],
    );
    check(
        "tenants: {p: }\napps: {a: 5}\n",
        &[
            "1:12: tenants.p: expected a mapping with some of the keys `base_url`, `environment`, `soap_url`, `hosts`, `path_prefix`, `ca_certificate`, `credentials`, `entities`, `concurrency`, `rate`, `queue`, `retry`, `lanes`, `timeouts`, `track_id`, `async`, found nothing",
            "2:11: apps.a: expected a mapping with some of the keys `tenant`, `client_id`, `secret`, `secret_sha256`, `previous_secret`, `previous_secret_sha256`, `certificate`, `priority`, `weight`, `reserve`, `max_in_flight`, `rate`, `fairness_key`, `queue_timeout`, `entities`, `read_only`, `allow`, `deny`, `outcomes`, found a single value (a key ends with a colon and a space)",
        ],
    );
    check(
        &with("{client_id: id, client_secret: hidden-zuora}", "{}"),
        &[
            "4:19: tenants.production.credentials.oauth: the key `client_id` is missing",
            "4:19: tenants.production.credentials.oauth: the key `client_secret` is missing",
        ],
    );
    check(
        &with_more("listen: {tls: {}}"),
        &[
            "10:10: listen.tls: the key `certificate` is missing",
            "10:10: listen.tls: the key `key` is missing",
        ],
    );
}

#[test]
fn unknown_keys_are_all_told_with_the_nearest_known_one() {
    check(
        &with_tenant("base_uri: x\nqueue: {time_out: 30s, bogus: 1}\nconcurency: {}\nLimits: 1")
            .replace("tenant: production", "tennant: production"),
        &[
            "5:5: tenants.production: unknown key `base_uri`, did you mean `base_url`?",
            "6:13: tenants.production.queue: unknown key `time_out`, did you mean `timeout`?",
            "6:28: tenants.production.queue: unknown key `bogus`, known here: `max_requests`, `max_bytes`, `timeout`",
            "7:5: tenants.production: unknown key `concurency`, did you mean `concurrency`?",
            "8:5: tenants.production: unknown key `Limits`, known here: `base_url`, `environment`, `soap_url`, `hosts`, `path_prefix`, `ca_certificate`, `credentials`, `entities`, `concurrency`, `rate`, `queue`, `retry`, `lanes`, `timeouts`, `track_id`, `async`",
            "10:3: apps.storefront: the key `tenant` is missing",
            "11:5: apps.storefront: unknown key `tennant`, did you mean `tenant`?",
        ],
    );
    check(
        &with_more("<<: {}\nlisten: {secret: hidden}"),
        &[
            "10:1: unknown key `<<`, known here: `listen`, `admin`, `signing_key`, `state_dir`, `async_requests`, `tenants`, `apps`, `anonymous`, `single_use`, `log`",
            "11:10: listen: unknown key `secret`, known here: `address`, `public_url`, `tls`, `max_connections`, `callouts`",
        ],
    );
}

#[test]
fn half_a_secret_is_not_told_as_a_key() {
    check(
        &with("hidden-zuora", "hidden, hidden"),
        &[
            "4:65: tenants.production.credentials.oauth: unknown key, known here: `client_id`, `client_secret`, `previous`",
        ],
    );
}

#[test]
fn a_key_written_twice() {
    check(
        &with_tenant("retry: {}\nretry: {attempts: 0}"),
        &["6:5: tenants.production: `retry` is written twice, first in line 5"],
    );
    check(
        &with("apps:", "  production: {}\napps:"),
        &["5:3: tenants: `production` is written twice, first in line 2"],
    );
    check(
        &with_app("secret: hidden-again"),
        &["10:5: apps.storefront: `secret` is written twice, first in line 9"],
    );
}

#[test]
fn a_replay_buffer_larger_than_the_queue_may_hold() {
    check(
        &with_tenant("queue: {max_bytes: 512KiB}"),
        &[
            "5:24: tenants.production.queue.max_bytes: `retry.replay_buffer` must be at most `queue.max_bytes`",
        ],
    );
    check(
        &with_tenant("queue: {max_bytes: 1MiB}\nretry: {replay_buffer: 2MiB}"),
        &[
            "6:28: tenants.production.retry.replay_buffer: `retry.replay_buffer` must be at most `queue.max_bytes`",
        ],
    );
}

#[test]
fn apps_of_no_tenant() {
    check(
        &with("tenant: production", "tenant: prodution"),
        &[
            "7:13: apps.storefront.tenant: there is no tenant of this name, did you mean `production`?",
        ],
    );
    check(
        &with("tenant: production", "tenant: x"),
        &["7:13: apps.storefront.tenant: there is no tenant of this name; there is `production`"],
    );
    check(
        &with("tenant: production", "tenant: ${NAME}"),
        &["7:13: apps.storefront.tenant: there is no tenant of this name; there is `production`"],
    );
}

#[test]
fn an_app_with_both_secrets_or_none() {
    check(
        &with("    secret: hidden-storefront\n", ""),
        &[
            "6:3: apps.storefront: one of the keys `secret`, `secret_sha256` and `certificate` is needed",
        ],
    );
    check(
        &with("secret: hidden-storefront", "secret:"),
        &[
            "6:3: apps.storefront: one of the keys `secret`, `secret_sha256` and `certificate` is needed",
        ],
    );
    check(
        &with_app(&format!("secret_sha256: {}", "0a".repeat(32))),
        &["6:3: apps.storefront: write `secret` or `secret_sha256`, not both"],
    );
    check(
        &with("secret: hidden-storefront", "secret: ${MISSING}"),
        &["9:13: apps.storefront.secret: the environment variable `MISSING` is not set"],
    );
}

#[test]
fn two_apps_with_one_credential() {
    let second = "  batch:
    tenant: production
    client_id: 6F1F2C52-7d0c-4b57-9d4c-0b8f5f6f7a11
    secret: hidden-storefront";
    check(
        &with_more(second),
        &[
            "12:16: apps.batch.client_id: the apps `storefront` and `batch` have the same client id",
            "13:13: apps.batch.secret: the apps `storefront` and `batch` have the same secret",
        ],
    );
    let hashed = "  batch:
    tenant: production
    client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d
    secret_sha256: a3787f3865370a28264adb75859b8e705010185c3d0de37ce8ed27e9325da652";
    check(
        &with_more(hashed),
        &[
            "13:20: apps.batch.secret_sha256: the apps `storefront` and `batch` have the same secret",
        ],
    );
}

#[test]
fn the_anonymous_app() {
    check(
        &with_more("anonymous: storefont"),
        &["10:12: anonymous: there is no app of this name, did you mean `storefront`?"],
    );
    check(
        &with_more("anonymous: storefront\nlisten: {address: 0.0.0.0:80}"),
        &["10:12: anonymous: only allowed while `listen.address` is a loopback address"],
    );
}

#[test]
fn an_admin_port_that_everybody_reaches() {
    check(
        &with_more("admin: {address: 0.0.0.0:9090}"),
        &["10:18: admin.address: `admin.token` is needed, because this is not a loopback address"],
    );
    check(
        &with_more("admin: {address: 0.0.0.0:9090, token: \"${MISSING}\"}"),
        &["10:39: admin.token: the environment variable `MISSING` is not set"],
    );
    good(&with_more("admin: {address: 0.0.0.0:9090, token: t}"));
}

#[test]
fn everything_is_told_at_once_in_the_order_of_the_file() {
    check(
        &with_app("queue_timeout: 30")
            .replace("https://", "")
            .replace("id: id", "idd: id")
            .replace("tenant: production", "tenant: live"),
        &[
            "3:15: tenants.production.base_url: expected scheme and host such as `https://rest.zuora.com`, found `rest.zuora.com`: it must begin with `https://`",
            "4:19: tenants.production.credentials.oauth: the key `client_id` is missing",
            "4:27: tenants.production.credentials.oauth: unknown key `client_idd`, did you mean `client_id`?",
            "7:13: apps.storefront.tenant: there is no tenant of this name; there is `production`",
            "10:20: apps.storefront.queue_timeout: expected a duration such as `30s`, found `30`: write the unit behind the number (ms, s, m, h)",
        ],
    );
}

#[test]
fn the_shortest_file_is_good() {
    good(SHORTEST);
}
