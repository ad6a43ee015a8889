//! Which tenants there are, how apps mean one, and what of it they may call.

use super::{SHORTEST, check, good, with, with_app, with_more, with_tenant};

const ONE: &str = "6f1f2c52-7d0c-4b57-9d4c-000000000001";
const TWO: &str = "6f1f2c52-7d0c-4b57-9d4c-000000000002";

/// The shortest file with a second tenant; both have these keys.
fn two_tenants(production: &str, sandbox: &str) -> String {
    with_tenant(production).replace(
        "apps:",
        &format!(
            "  sandbox:
    base_url: https://rest.test.zuora.com
    credentials: {{oauth: {{client_id: id, client_secret: hidden-zuora}}}}
{}apps:",
            super::indented(sandbox)
        ),
    )
}

#[test]
fn an_environment_says_where_both_apis_are() {
    let tenant = |text: &str| good(text).tenants.remove(0);
    let named =
        |name: &str| with("base_url: https://rest.zuora.com", &format!("environment: {name}"));

    for known in zuora::DATA_CENTRES {
        let tenant = tenant(&named(known.name));
        assert_eq!(tenant.base_url.to_string(), known.base_url);
        assert_eq!(tenant.soap_url.unwrap().to_string(), known.soap_url);
    }
    let eu = tenant(&named("eu-production"));
    assert_eq!(eu.base_url.to_string(), "https://rest.eu.zuora.com");
    let own = tenant(&named("eu-production\n    soap_url: https://soap.example.com"));
    assert_eq!(own.soap_url.unwrap().to_string(), "https://soap.example.com");
    assert!(tenant(SHORTEST).soap_url.is_none(), "nobody said where it is");
}

#[test]
fn an_unknown_environment_is_told_with_all_that_are_known() {
    let names = zuora::DATA_CENTRES.map(|known| format!("`{}`", known.name)).join(", ");
    let told = |found: &str, why: &str| {
        format!(
            "3:18: tenants.production.environment: expected one of Zuora's environments, {names}, found `{found}`{why}"
        )
    };
    let with_name =
        |name: &str| with("base_url: https://rest.zuora.com", &format!("environment: {name}"));

    check(&with_name("eu-prodution"), &[&told("eu-prodution", ": did you mean `eu-production`?")]);
    check(&with_name("mars"), &[&told("mars", "")]);
    check(
        &with_tenant("environment: eu-production"),
        &["2:3: tenants.production: write `base_url` or `environment`, not both"],
    );
}

#[test]
fn tenants_are_meant_by_host_and_by_prefix() {
    let config = good(&two_tenants(
        "hosts: [Zuora.Example.com., 127.0.0.1, \"[::1]\"]",
        "path_prefix: /test/sandbox",
    ));

    let hosts: Vec<_> = config.tenants[0].hosts.iter().map(|host| &**host).collect();
    assert_eq!(hosts, ["zuora.example.com", "127.0.0.1", "[::1]"]);
    assert_eq!(config.tenants[0].path_prefix, None);
    assert_eq!(config.tenants[1].path_prefix.as_deref(), Some("/test/sandbox"));
}

#[test]
fn two_tenants_cannot_be_meant_by_the_same() {
    check(
        &two_tenants("hosts: [a.example.com, A.example.com.]", "hosts: [A.EXAMPLE.COM]"),
        &[
            "5:28: tenants.production.hosts[1]: this host is in the list already",
            "9:13: tenants.sandbox.hosts[0]: this host means the tenant `production` already",
        ],
    );
    for (one, other) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a")] {
        check(
            &two_tenants(&format!("path_prefix: {one}"), &format!("path_prefix: {other}")),
            &[&format!(
                "9:18: tenants.sandbox.path_prefix: the tenant `production` has `{one}`: neither may be the beginning of the other"
            )],
        );
    }
    good(&two_tenants("path_prefix: /a", "path_prefix: /ab"));
}

#[test]
fn hosts_and_prefixes_that_no_call_has() {
    for (host, why) in [
        ("a.example.com:8080", ": write the host alone: calls to any of its ports count"),
        ("u@a.example.com", ": write the host alone: calls to any of its ports count"),
        ("\"*.example.com\"", ": write each name of the host: none stands for others"),
        ("https://a.example.com", ""),
        ("a b", ""),
    ] {
        let found = host.trim_matches('"');
        check(
            &with_tenant(&format!("hosts: [{host}]")),
            &[&format!(
                "5:13: tenants.production.hosts[0]: expected a host name such as `zuora-sandbox.example.com`, found `{found}`{why}"
            )],
        );
    }
    let segments = ": its segments are letters, digits, `-`, `_`, `.` and `~`";
    let taken = ": paths of Zuora's or of the gateway's own begin like that";
    for (prefix, why) in [
        ("sandbox", ""),
        ("/", segments),
        ("/a/", segments),
        ("//a", segments),
        ("/a/../b", segments),
        ("/a%20b", segments),
        ("/a;b", segments),
        ("/v1", taken),
        ("/V1/x", taken),
        ("/rest", taken),
        ("/apps", taken),
        ("/oauth", taken),
        ("/object-query", taken),
        ("/_gateway", taken),
    ] {
        check(
            &with_tenant(&format!("path_prefix: {prefix}")),
            &[&format!(
                "5:18: tenants.production.path_prefix: expected the beginning of a path such as `/sandbox`, found `{prefix}`{why}"
            )],
        );
    }
}

#[test]
fn an_app_may_call_several_tenants() {
    let both = |tenants: &str| {
        two_tenants("", "").replace("tenant: production", &format!("tenant: {tenants}"))
    };

    let config = good(&both("[sandbox, production]"));
    assert_eq!(config.apps[0].tenants, [1, 0]);
    assert!(config.apps[0].calls(0) && config.apps[0].calls(1));
    assert_eq!(good(&both("sandbox")).apps[0].tenants, [1]);

    check(&both("[]"), &["10:13: apps.storefront.tenant: at least one tenant is needed"]);
    check(
        &both("[sandbox, sandbok, sandbox]"),
        &[
            "10:23: apps.storefront.tenant[1]: there is no tenant of this name, did you mean `sandbox`?",
            "10:32: apps.storefront.tenant[2]: this tenant is in the list already",
        ],
    );
}

#[test]
fn what_an_app_reserves_it_reserves_at_each_of_its_tenants() {
    let text = two_tenants("", "concurrency: {limits: {Default: 4}}")
        .replace("tenant: production", "tenant: [production, sandbox]\n    reserve: 3");

    check(
        &text,
        &[
            "12:14: apps.storefront.reserve: the apps of `sandbox` reserve 3 permits together, and `Default` has 2 for them (its limit of 4, less `headroom`): reserve less",
        ],
    );
}

#[test]
fn entities_may_have_names() {
    let entities = format!("entities: [{ONE}, {{id: {TWO}, name: \"Acme Deutschland\"}}]");
    let config = good(&with_tenant(&entities));

    let shown: Vec<_> = config.tenants[0]
        .entities
        .iter()
        .map(|entity| (&*entity.id, entity.name.as_deref()))
        .collect();
    assert_eq!(shown, [(ONE, None), (TWO, Some("Acme Deutschland"))]);

    check(
        &with_tenant(&format!("entities: [{{id: {ONE}, name: A}}, {{id: {TWO}, name: A}}]")),
        &["5:118: tenants.production.entities[1].name: another entity has this name"],
    );
    check(
        &with_tenant("entities: [{name: A}]"),
        &["5:16: tenants.production.entities[0]: the key `id` is missing"],
    );
}

#[test]
fn an_app_may_be_kept_to_some_entities() {
    let written = |entities: &str| {
        with_tenant(&format!("entities: [{ONE}, {TWO}]"))
            .replace("tenant: production", &format!("tenant: production\n    entities: {entities}"))
    };

    let upper = TWO.to_ascii_uppercase();
    let config = good(&written(&format!("[{upper}]")));
    let shown: Vec<_> = config.apps[0].entities.iter().map(|id| &**id).collect();
    assert_eq!(shown, [TWO], "as the tenant writes it");

    check(
        &written("[]"),
        &["9:15: apps.storefront.entities: an empty list; leave `entities` out if it may name all"],
    );
    let strange = "6f1f2c52-7d0c-4b57-9d4c-000000000003";
    check(
        &written(&format!("[{TWO}, {upper}, {strange}]")),
        &[
            "9:54: apps.storefront.entities[1]: this entity is in the list already",
            "9:92: apps.storefront.entities[2]: no tenant of this app has this entity",
        ],
    );
    check(
        &with_app(&format!("entities: [{ONE}]")),
        &["10:16: apps.storefront.entities[0]: no tenant of this app has this entity"],
    );
}

#[test]
fn an_app_without_any_entity_of_a_tenant_could_not_call_it() {
    let text = two_tenants(&format!("entities: [{ONE}]"), &format!("entities: [{TWO}]")).replace(
        "tenant: production",
        &format!("tenant: [production, sandbox]\n    entities: [{ONE}]"),
    );

    check(
        &text,
        &[
            "11:3: apps.storefront: `entities` names none of the tenant `sandbox`, so the app could not call it",
        ],
    );
}

#[test]
fn an_entry_that_could_allow_nothing_is_told() {
    let refused = "`read_only` refuses every call that this names";
    check(
        &with_app(
            "allow: [GET /v1/**, POST /v1/action/*, PUT /v1/**, operation POST_Account]\nread_only: true",
        ),
        &[
            &format!("10:44: apps.storefront.allow[2]: {refused}"),
            &format!("10:56: apps.storefront.allow[3]: {refused}"),
        ],
    );
    // To deny what cannot be anyway does no harm.
    check(
        &with_app("allow: [GET /v1/**, SOAP query]\ndeny: [SOAP create, DELETE /**]"),
        &[
            "10:25: apps.storefront.allow[1]: no tenant of this app has a `soap_url`, so it makes no SOAP calls",
        ],
    );
}

#[test]
fn policy_speaks_of_paths_operations_and_soap_calls() {
    let config = good(
        &with_app(
            "allow: [GET /v1/**, operation GET_Account, SOAP query, \"SOAP *\"]\nread_only: true",
        )
        .replace("base_url: https://rest.zuora.com", "environment: us-cloud-1-production"),
    );

    let shown: Vec<_> = config.apps[0].allow.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["GET /v1/**", "operation GET_Account", "SOAP query", "SOAP *"]);
    assert!(config.apps[0].read_only);

    let expected = "expected a method and a path such as `GET /v1/accounts/**`, `operation POST_Account` or `SOAP query`";
    for (entry, why) in [
        ("operation POST_Acount", "did you mean `operation POST_Account`?"),
        (
            "operation frobnicate_everything",
            "no operation has this id: `zuora-gateway explain` tells the id of a call",
        ),
        ("SOAP querymore", "Zuora writes `queryMore`"),
        ("SOAP qeury", "did you mean `SOAP query`?"),
        ("SOAP 7", "after `SOAP` comes the name of a call such as `query`, or `*`"),
        ("operation", "it needs a method and a path, with a space between them"),
    ] {
        check(
            &with_app(&format!("deny: [{entry}]")),
            &[&format!("10:12: apps.storefront.deny[0]: {expected}, found `{entry}`: {why}")],
        );
    }
}

#[test]
fn the_app_of_single_use_calls_is_one_of_the_apps() {
    assert_eq!(good(&with_more("single_use: storefront")).single_use, Some(0));
    assert_eq!(good(SHORTEST).single_use, None);
    check(
        &with_more("single_use: storfront"),
        &["10:13: single_use: there is no app of this name, did you mean `storefront`?"],
    );
}

#[test]
fn a_public_url_is_scheme_and_host() {
    let config = good(&with_more("listen: {public_url: https://gateway.example.com:8443}"));
    assert_eq!(config.listen.public_url.unwrap().to_string(), "https://gateway.example.com:8443");
    check(
        &with_more("listen: {public_url: https://gateway.example.com/zuora}"),
        &[
            "10:22: listen.public_url: expected scheme and host such as `https://rest.zuora.com`, found `https://gateway.example.com/zuora`: it must end after the host and its port: the path is no part of it",
        ],
    );
}
