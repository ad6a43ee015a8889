//! Single values that cannot be read.

use super::{check, good, with, with_app, with_more, with_tenant};

#[test]
fn a_value_of_the_wrong_kind() {
    check(
        &with("tenant: production", "tenant: {name: production}"),
        &["7:13: apps.storefront.tenant: expected a single value, found a mapping"],
    );
    check(
        &with_app("allow: GET /v1/**"),
        &["10:12: apps.storefront.allow: expected a list, found a single value"],
    );
    check(
        &with_app("secret_sha256: {a: 1}"),
        &[
            "6:3: apps.storefront: write `secret` or `secret_sha256`, not both",
            "10:20: apps.storefront.secret_sha256: expected a SHA-256 as 64 hexadecimal digits, found a mapping",
        ],
    );
    check(
        &with_more("listen: 127.0.0.1:8080"),
        &[
            "10:9: listen: expected a mapping with some of the keys `address`, `public_url`, `tls`, `max_connections`, `callouts`, found a single value (a key ends with a colon and a space)",
        ],
    );
    check(
        &with_more("log: [json]"),
        &["10:6: log: expected a mapping with some of the keys `format`, `level`, found a list"],
    );
}

#[test]
fn addresses() {
    let address = |text: &str| with_more(&format!("listen: {{address: \"{text}\"}}"));
    for (text, told) in [
        ("8080", ", found `8080`: both an address and a port are needed"),
        (
            "localhost:8080",
            ", found `localhost:8080`: the part before the port must be an IP address, not a name",
        ),
        ("127.0.0.1:70000", ", found `127.0.0.1:70000`: the port must be a number from 0 to 65535"),
        ("127.0.0.1:", ", found `127.0.0.1:`: the port must be a number from 0 to 65535"),
        ("", ", found empty text: both an address and a port are needed"),
        ("[::1]", ", found `[::1]`: the port must be a number from 0 to 65535"),
        (":8080", ", found `:8080`: the part before the port must be an IP address, not a name"),
    ] {
        check(
            &address(text),
            &[&format!(
                "10:19: listen.address: expected an IP address and a port such as `127.0.0.1:8080`{told}"
            )],
        );
    }
    check(
        &with_more("listen: {address: 127.0.0.1:9090}"),
        &["10:19: listen.address: `listen.address` and `admin.address` are both 127.0.0.1:9090"],
    );
    good(&with_more("listen: {address: 127.0.0.1:0}\nadmin: {address: 127.0.0.1:0}"));
}

#[test]
fn numbers() {
    let connections = |text: &str| with_more(&format!("listen: {{max_connections: {text}}}"));
    for (text, told) in [
        ("0", ", found `0`"),
        ("-1", ", found `-1`"),
        ("+5", ", found `+5`"),
        ("1.5", ", found `1.5`"),
        ("many", ", found `many`"),
        ("1000001", ", found `1000001`"),
        ("99999999999999999999", ", found `99999999999999999999`"),
        ("10_000", ", found `10_000`"),
        (r#""""#, ", found empty text"),
        ("${NAME}", ", found `${NAME}`"),
    ] {
        check(
            &connections(text).replace("${NAME}", "\"${NAME}\""),
            &[&format!(
                "10:27: listen.max_connections: expected a whole number from 1 to 1000000{told}"
            )],
        );
    }
}

#[test]
fn durations() {
    let timeout = |text: &str| with_tenant(&format!("queue: {{timeout: {text}}}"));
    for (text, told) in [
        ("30", ", found `30`: write the unit behind the number (ms, s, m, h)"),
        ("0s", ", found `0s`: it must be longer than nothing"),
        ("30 s", ", found `30 s`: the unit must be one of ms, s, m, h"),
        ("30sec", ", found `30sec`: the unit must be one of ms, s, m, h"),
        ("1.5s", ", found `1.5s`: the unit must be one of ms, s, m, h"),
        ("-1s", ", found `-1s`"),
        ("25h", ", found `25h`: it must be at most 24h"),
        ("99999999999999999999s", ", found `99999999999999999999s`"),
        ("9999999999999999999h", ", found `9999999999999999999h`: it is too large"),
        ("s", ", found `s`"),
    ] {
        check(
            &timeout(text),
            &[&format!(
                "5:22: tenants.production.queue.timeout: expected a duration such as `30s`{told}"
            )],
        );
    }
    check(
        &with_app("queue_timeout: 0s"),
        &[
            "10:20: apps.storefront.queue_timeout: expected a duration such as `30s`, found `0s`: it must be longer than nothing",
        ],
    );
    check(
        &with_tenant("timeouts: {connect: 5, response: soon}"),
        &[
            "5:25: tenants.production.timeouts.connect: expected a duration such as `30s`, found `5`: write the unit behind the number (ms, s, m, h)",
            "5:38: tenants.production.timeouts.response: expected a duration such as `30s`, found `soon`",
        ],
    );
}

#[test]
fn sizes() {
    let bytes = |text: &str| with_tenant(&format!("queue: {{max_bytes: {text}}}"));
    for (text, told) in [
        (
            "1048576",
            ", found `1048576`: write the unit behind the number (B, KiB, MiB, GiB, KB, MB, GB)",
        ),
        ("1mib", ", found `1mib`: the unit must be one of B, KiB, MiB, GiB, KB, MB, GB"),
        ("1 MiB", ", found `1 MiB`: the unit must be one of B, KiB, MiB, GiB, KB, MB, GB"),
        ("2TiB", ", found `2TiB`: the unit must be one of B, KiB, MiB, GiB, KB, MB, GB"),
        ("2048GiB", ", found `2048GiB`: it must be at most 1024GiB"),
        ("big", ", found `big`"),
    ] {
        check(
            &bytes(text),
            &[&format!(
                "5:24: tenants.production.queue.max_bytes: expected a size such as `1MiB`{told}"
            )],
        );
    }
}

#[test]
fn base_urls() {
    for (url, told) in [
        ("rest.zuora.com", ", found `rest.zuora.com`: it must begin with `https://`"),
        (
            "ftp://rest.zuora.com",
            ", found `ftp://rest.zuora.com`: the scheme must be `https` or `http`",
        ),
        ("https://", ", found `https://`: it is not a URL"),
        ("https://u:hidden@h", ": credentials do not belong into it"),
        ("https://h:99999", ", found `https://h:99999`: the port must be a number from 1 to 65535"),
        ("https://h:0", ", found `https://h:0`: the port must be a number from 1 to 65535"),
        (
            "https://h/v1",
            ", found `https://h/v1`: it must end after the host and its port: the path is no part of it",
        ),
        (
            "https://h?x=1",
            ", found `https://h?x=1`: it must end after the host and its port: the path is no part of it",
        ),
        (
            "https://h#x",
            ", found `https://h#x`: it must end after the host and its port: the path is no part of it",
        ),
        ("https://h:", ", found `https://h:`: the port must be a number from 1 to 65535"),
        ("https:///v1", ", found `https:///v1`: it is not a URL"),
        ("https://a b", ", found `https://a b`: it is not a URL"),
        (
            "https://h/?",
            ", found `https://h/?`: it must end after the host and its port: the path is no part of it",
        ),
        ("https://[::1", ", found `https://[::1`: it is not a URL"),
    ] {
        check(
            &with("https://rest.zuora.com", &format!("\"{url}\"")),
            &[&format!(
                "3:15: tenants.production.base_url: expected scheme and host such as `https://rest.zuora.com`{told}"
            )],
        );
    }
}

#[test]
fn entities() {
    check(
        &with_tenant("entities: 5"),
        &["5:15: tenants.production.entities: expected a list, found a single value"],
    );
    check(
        &with_tenant(
            "entities: [x, 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, 6F1F2C52-7d0c-4b57-9d4c-0b8f5f6f7a11]",
        ),
        &["5:16: tenants.production.entities[0]: expected a UUID of 36 characters, found `x`"],
    );
    check(
        &with_tenant("entities: []"),
        &[
            "5:15: tenants.production.entities: an empty list; leave `entities` out if there is only one",
        ],
    );
}

#[test]
fn words() {
    check(
        &with_tenant("track_id: {valid: kept, invalid: keep}"),
        &[
            "5:23: tenants.production.track_id.valid: expected one of `keep`, `prefix`, `replace`, found `kept`",
            "5:38: tenants.production.track_id.invalid: expected one of `reject`, `replace`, found `keep`",
        ],
    );
    check(
        &with_more("log: {format: yaml, level: INFO}"),
        &[
            "10:15: log.format: expected one of `json`, `text`, found `yaml`",
            "10:28: log.level: expected one of `trace`, `debug`, `info`, `warn`, `error`, found `INFO`",
        ],
    );
}

#[test]
fn names() {
    check(
        &with("storefront:", "store-front:"),
        &[
            "6:3: apps: expected an app name of 1 to 24 lower-case letters, digits and `_`, beginning with a letter or digit, found `store-front`: no hyphen, because the name begins the app's track ids and Zuora groups those by what stands before the first hyphen",
        ],
    );
    check(
        &with("storefront:", "Storefront:"),
        &[
            "6:3: apps: expected an app name of 1 to 24 lower-case letters, digits and `_`, beginning with a letter or digit, found `Storefront`",
        ],
    );
    check(
        &with("storefront:", "an_app_name_of_25_letters:"),
        &[
            "6:3: apps: expected an app name of 1 to 24 lower-case letters, digits and `_`, beginning with a letter or digit, found `an_app_name_of_25_letters`",
        ],
    );
    check(
        &with("storefront:", "_store:"),
        &[
            "6:3: apps: expected an app name of 1 to 24 lower-case letters, digits and `_`, beginning with a letter or digit, found `_store`",
        ],
    );
    check(
        &with("  production:\n", "  pro duction:\n"),
        &[
            "2:3: tenants: expected a tenant name of 1 to 64 letters, digits, `_`, `-` and `.`, beginning with a letter or digit, found `pro duction`",
            "7:13: apps.storefront.tenant: there is no tenant of this name, did you mean `pro duction`?",
        ],
    );
}

#[test]
fn credentials_of_the_wrong_form() {
    check(
        &with("client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11", "client_id: hidden"),
        &[
            "8:16: apps.storefront.client_id: expected a UUID of 36 characters (official SDKs take no other client id)",
        ],
    );
    check(
        &with(
            "client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11",
            "client_id: 6f1f2c5207d0c04b5709d4c00b8f5f6f7a11",
        ),
        &[
            "8:16: apps.storefront.client_id: expected a UUID of 36 characters (official SDKs take no other client id)",
        ],
    );
    check(
        &with("secret: hidden-storefront", "secret_sha256: hidden"),
        &["9:20: apps.storefront.secret_sha256: expected a SHA-256 as 64 hexadecimal digits"],
    );
    check(
        &with("secret: hidden-storefront", "secret: \"\""),
        &["9:13: apps.storefront.secret: expected a secret: it is empty"],
    );
    check(
        &with("client_secret: hidden-zuora", "client_secret: \"${EMPTY}\""),
        &[
            "4:57: tenants.production.credentials.oauth.client_secret: expected a secret: it is empty",
        ],
    );
    check(
        &with_more("signing_key: hidden-but-short"),
        &["10:14: signing_key: expected a secret of at least 32 characters: it is shorter"],
    );
}

#[test]
fn patterns() {
    const SHAPE: &str = "it needs a method and a path, with a space between them";
    const METHOD: &str =
        "the method must be `*`, GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in capitals";
    const LAST: &str =
        "`**` stands for any rest, so it must be the whole last segment: write `*` within one";
    const DOTS: &str =
        "no call with a `.` or `..` segment is ever sent: write the path that it leads to";
    for (pattern, why) in [
        ("/v1/**", SHAPE),
        ("GET", SHAPE),
        ("GET /v1 /v2", SHAPE),
        ("GET v1", "the path must begin with `/`"),
        ("get /v1", METHOD),
        ("FETCH /v1", METHOD),
        ("GET /**/x", LAST),
        ("GET /v1/a**", LAST),
        ("GET /v1/***", LAST),
        ("GET /v1/accounts/{key}", "a parameter in braces is not read: write `*` in its place"),
        ("GET /v1//x", "the path has an empty segment: write one `/` between segments"),
        ("GET /v1/../x", DOTS),
        ("GET /v1/./x", DOTS),
        (
            "GET /v1/a%2Fb",
            "paths are compared decoded: write the character itself instead of `%` and its digits",
        ),
        ("GET /v1/a;b", "paths are compared without what `;` begins: leave it out"),
        ("GET /v1?x=1", "paths are compared without what `?` begins: leave it out"),
        ("GET /v1#x", "paths are compared without what `#` begins: leave it out"),
    ] {
        check(
            &with_app(&format!("deny: [\"{pattern}\"]")),
            &[&format!(
                "10:12: apps.storefront.deny[0]: expected a method and a path such as `GET /v1/accounts/**`, `operation POST_Account` or `SOAP query`, found `{pattern}`: {why}"
            )],
        );
    }
    check(
        &with_app("allow: [\"\", \"GET /${NAME};x\"]"),
        &[
            "10:13: apps.storefront.allow[0]: expected a method and a path such as `GET /v1/accounts/**`, `operation POST_Account` or `SOAP query`, found empty text: it needs a method and a path, with a space between them",
            "10:17: apps.storefront.allow[1]: expected a method and a path such as `GET /v1/accounts/**`, `operation POST_Account` or `SOAP query`, found `GET /${NAME};x`: paths are compared without what `;` begins: leave it out",
        ],
    );
    check(
        &with_app("allow: []"),
        &[
            "10:12: apps.storefront.allow: an empty list would allow nothing; leave `allow` out to allow all",
        ],
    );
}

#[test]
fn files_that_cannot_be_read() {
    check(
        &with_more("listen: {tls: {certificate: no/such.pem, key: /}}"),
        &[
            "10:29: listen.tls.certificate: expected the path of a readable file, found `no/such.pem`: there is no such file",
            "10:47: listen.tls.key: expected the path of a readable file, found `/`: it is not a file",
        ],
    );
    check(
        &with_tenant("ca_certificate: no/such.pem"),
        &[
            "5:21: tenants.production.ca_certificate: expected the path of a readable file, found `no/such.pem`: there is no such file",
        ],
    );
    check(
        &with_more("state_dir: /dev/null"),
        &["10:12: state_dir: there is a file of this name, not a directory"],
    );
    check(
        &with("secret: hidden-storefront", "secret: \"${file:/no/such}\""),
        &[
            "9:13: apps.storefront.secret: the file of `${file:/no/such}` cannot be read: there is no such file",
        ],
    );
}

#[test]
fn variables() {
    check(
        &with("secret: hidden-storefront", "secret: ${MISSING}-${ALSO_MISSING}"),
        &[
            "9:13: apps.storefront.secret: the environment variable `ALSO_MISSING` is not set",
            "9:13: apps.storefront.secret: the environment variable `MISSING` is not set",
        ],
    );
    check(
        &with("secret: hidden-storefront", "secret: ${NAME"),
        &[
            "9:13: apps.storefront.secret: `${` without a `}`; write `$${` for these characters themselves",
        ],
    );
    check(
        &with("secret: hidden-storefront", "secret: ${NAME:-default}"),
        &[
            "9:13: apps.storefront.secret: `${…}` must hold the name of an environment variable, or `file:` and a path; write `$${` for the characters themselves",
        ],
    );
    check(
        &with("secret: hidden-storefront", "secret: ${}"),
        &[
            "9:13: apps.storefront.secret: `${…}` must hold the name of an environment variable, or `file:` and a path; write `$${` for the characters themselves",
        ],
    );
    check(
        &with("tenant: production", "tenant: ${NAME}"),
        &["7:13: apps.storefront.tenant: there is no tenant of this name; there is `production`"],
    );
}
