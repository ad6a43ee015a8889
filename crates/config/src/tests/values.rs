//! What values mean.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::{SHORTEST, good, with, with_app, with_more, with_tenant};
use crate::{AppSecret, LogFormat};

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = good(SHORTEST);
    let spelled_out = good(
        &with_tenant(
            "environment: null
soap_url: null
hosts: null
path_prefix: null
ca_certificate: null
entities: null
concurrency:
  limits: {Default: 40, High-volume transactions: {limit: 200}, Object Query: {limit: 80, enforce: true}}
  headroom: 2
  on_refusal: shrink
  retry_after_cap: null
rate: {per_minute: 50000, per_hour: 2250000, per_day: 27000000, enforce: true}
queue: {max_requests: 10000, max_bytes: 256MiB, timeout: 30s}
retry: {attempts: 5, budget: 0.2, mint_idempotency_keys: true, contended_writes: repeat, replay_buffer: 1MiB}
lanes: off
timeouts: {connect: 5s, response: 125s}
track_id: {valid: keep, invalid: reject}",
        )
        .replace(
            "apps:",
            "listen: {address: 127.0.0.1:8080, public_url: null, tls: null, max_connections: 10000}\napps:",
        )
        .replace("apps:", "admin: {address: 127.0.0.1:9090, token: null}\napps:")
        .replace("apps:", "state_dir: ./state\nsigning_key: null\nanonymous: null\nsingle_use: null\napps:")
        .replace("apps:", "log: {format: json, level: info}\napps:")
        .replace(
            "secret: hidden-storefront",
            "secret: hidden-storefront
    priority: standard
    weight: 1
    reserve: 0
    max_in_flight: null
    rate: null
    fairness_key: null
    queue_timeout: null
    entities: null
    read_only: false
    allow: null
    deny: null",
        ),
    );

    assert_eq!(format!("{config:#?}"), format!("{spelled_out:#?}"));
}

#[test]
fn sections_without_content_are_as_if_left_out() {
    let config = good(&with_more("listen:\nadmin: {}\nlog: ~\nsigning_key:"));

    assert_eq!(format!("{config:#?}"), format!("{:#?}", good(SHORTEST)));
}

#[test]
fn durations_and_sizes_have_units() {
    let config = good(&with_tenant(
        "queue: {timeout: 500ms, max_bytes: 10MB}
retry: {replay_buffer: 512KiB}
timeouts: {connect: 2m, response: 1h}",
    ));

    let tenant = &config.tenants[0];
    assert_eq!(tenant.queue.timeout, Duration::from_millis(500));
    assert_eq!(tenant.queue.max_bytes, 10_000_000);
    assert_eq!(tenant.retry.replay_buffer, 512 * 1024);
    assert_eq!(tenant.timeouts.connect, Duration::from_secs(120));
    assert_eq!(tenant.timeouts.response, Duration::from_secs(3600));
}

#[test]
fn variables_are_filled_in_anywhere() {
    let config = good(
        &with_app("queue_timeout: ${N}s\nallow: [\"* /${NAME}/**\"]")
            .replace("id: id", "id: \"a-${NAME}-${N}$${N}$N$\"")
            .replace("secret: hidden-storefront", "secret: ${NAME}")
            .replace("apps:", "listen: {max_connections: \"${N}\"}\napps:"),
    );

    let app = &config.apps[0];
    assert_eq!(app.queue_timeout, Some(Duration::from_secs(77)));
    assert_eq!(app.allow[0].to_string(), "* /hidden-value/**");
    assert!(
        matches!(&app.secrets[0], AppSecret::Plain(secret) if secret.expose() == "hidden-value")
    );
    assert_eq!(config.listen.max_connections.get(), 77);
    let client_id = &config.tenants[0].credentials.main.current.id;
    assert_eq!(client_id, "a-hidden-value-77${N}$N$");
}

#[test]
fn what_is_filled_in_is_not_searched_again() {
    let environment = BTreeMap::from([("OUTER", "${INNER}")]);
    let text = with("hidden-storefront", "${OUTER}");

    let config = crate::parse(&text, "F".as_ref(), &environment).unwrap();

    let AppSecret::Plain(secret) = &config.apps[0].secrets[0] else { panic!("it is plain") };
    assert_eq!(secret.expose(), "${INNER}");
}

#[test]
fn files_are_filled_in_without_their_last_line_break() {
    let directory = tempfile::tempdir().unwrap();
    let read = |content: &str| {
        fs::write(directory.path().join("secret"), content).unwrap();
        let text = with("hidden-storefront", "<${file:secret}>");
        let config = crate::parse(&text, &directory.path().join("F"), &BTreeMap::new()).unwrap();
        let AppSecret::Plain(secret) = &config.apps[0].secrets[0] else { panic!("it is plain") };
        secret.expose().to_owned()
    };

    assert_eq!(read("s\n"), "<s>");
    assert_eq!(read("s\r\n"), "<s>");
    assert_eq!(read("s\n\n"), "<s\n>");
    assert_eq!(read(" s"), "< s>");
}

#[test]
fn paths_begin_at_the_directory_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ca.pem"), "").unwrap();
    let file = directory.path().join("gateway.yaml");
    let absolute = directory.path().join("absolute");
    let text = with_tenant("ca_certificate: ca.pem");
    let text = format!("{text}state_dir: {}\n", absolute.display());
    fs::write(&file, text).unwrap();

    let config = crate::load(&file).unwrap();

    assert_eq!(config.tenants[0].ca_certificate, Some(directory.path().join("ca.pem")));
    assert_eq!(config.state_dir, absolute);
}

#[test]
fn a_file_is_loaded_with_the_environment_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.yaml");
    fs::write(&file, with("id: id", "id: \"${PATH}\"")).unwrap();

    let config = crate::load(&file).unwrap();

    let client_id = &config.tenants[0].credentials.main.current.id;
    assert!(client_id.contains("/bin"), "{client_id}");
}

#[test]
fn a_file_that_is_not_there_has_no_place() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.yaml");

    let problems = crate::load(&missing).unwrap_err();

    let expected =
        format!("{}: the configuration cannot be read: there is no such file", missing.display());
    assert_eq!(problems.to_string(), expected);
    assert_eq!(problems.iter().next().unwrap().place(), None);
}

#[test]
fn text_stays_as_it_was_written() {
    // To other readers these are an octal number, a float, a boolean and a date.
    for text in ["007", "1.20", "no", "2026-11-21", "0x10", "1_000"] {
        let config = good(&with("hidden-storefront", text));
        let AppSecret::Plain(secret) = &config.apps[0].secrets[0] else { panic!("it is plain") };
        assert_eq!(secret.expose(), text);
    }
}

#[test]
fn a_base_url_may_have_a_port_and_a_last_slash() {
    for (written, meant) in [
        ("https://rest.zuora.com/", "https://rest.zuora.com"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("https://[::1]:443/", "https://[::1]:443"),
        ("HTTPS://rest.zuora.com", "https://rest.zuora.com"),
    ] {
        let config = good(&with("https://rest.zuora.com", written));
        assert_eq!(config.tenants[0].base_url.to_string(), meant);
    }
}

#[test]
fn patterns_have_a_method_and_a_path() {
    let config = good(&with_app("deny: [\"GET /v1/a*/b\", \"GET  /rest/v1/café/\", \"* /**\"]"));

    let app = &config.apps[0];
    let shown: Vec<_> = app.deny.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["GET /v1/a*/b", "GET /rest/v1/café/", "* /**"]);
    assert!(app.allow.is_empty(), "everything is allowed");
}

#[test]
fn things_refer_to_each_other_by_index() {
    let second = "  batch: {tenant: sandbox, client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, \
                  secret: other}\nanonymous: batch\nlog: {format: text}";
    let config = good(&with_more(second).replace(
        "apps:",
        "  sandbox: {base_url: http://s, credentials: {oauth: {client_id: i, client_secret: s}}}\napps:",
    ));

    assert_eq!(config.anonymous, Some(1));
    let called = |app: usize| -> Vec<_> {
        config.tenants_of(&config.apps[app]).map(|tenant| &*tenant.name).collect()
    };
    assert_eq!((called(0), called(1)), (vec!["production"], vec!["sandbox"]));
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn a_file_may_begin_with_a_mark_and_have_windows_line_ends() {
    good(&format!("\u{feff}---\n{SHORTEST}...\n"));
    good(&SHORTEST.replace('\n', "\r\n"));
}
