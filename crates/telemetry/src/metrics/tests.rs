//! What a scrape shows.

use std::time::Duration;

use super::*;
use crate::{
    AsyncReading, CircuitReading, LanesReading, PoolReading, QueueReading, Refresh, Refused,
    RegistryReading, Source, TokenReading,
};

fn metrics() -> Arc<Metrics> {
    Metrics::new(&Inventory {
        tenants: vec!["production".to_owned()],
        apps: vec!["storefront".to_owned(), "batch".to_owned()],
    })
}

/// Asserts that the text has exactly this sample.
#[track_caller]
fn check(text: &str, sample: &str) {
    let line = format!("zuora_gateway_{sample}");
    assert!(text.lines().any(|it| it == line), "`{line}` is missing in:\n{text}");
}

#[test]
fn a_call_is_counted_in_every_family_it_touches() {
    let metrics = metrics();
    let app = metrics.app("production", "storefront");
    let pool = metrics.pool("production", "storefront", "Default");
    let tenant = metrics.tenant("production");

    app.answered("GET_Account", 200, Source::Zuora);
    app.answered("GET_Account", 200, Source::Zuora);
    app.answered("GET_Account", 429, Source::Gateway);
    app.shed("queue-full");
    pool.waited(Duration::ZERO);
    pool.attempt(Verdict::Refused, Duration::from_millis(20));
    pool.attempt(Verdict::NotSent, Duration::ZERO);
    pool.refused(Refused::Concurrency);
    pool.would_have_waited("reserve");
    pool.held(Duration::from_millis(1500));
    pool.finished(Duration::from_millis(60));
    tenant.overhead(Duration::from_micros(40));
    tenant.retried(Verdict::Refused);
    tenant.retry_abandoned("budget");
    tenant.token_refreshed(Refresh::Ok);
    tenant.token_refreshed(Refresh::Previous);

    let text = metrics.render(&Readings::default());
    let labels = r#"app="storefront",operation="GET_Account""#;
    check(
        &text,
        &format!(r#"requests_total{{{labels},source="zuora",status="200",tenant="production"}} 2"#),
    );
    check(
        &text,
        &format!(
            r#"requests_total{{{labels},source="gateway",status="429",tenant="production"}} 1"#
        ),
    );
    check(&text, r#"shed_total{app="storefront",reason="queue-full",tenant="production"} 1"#);
    let pool = r#"pool="Default",tenant="production""#;
    check(&text, &format!(r#"queue_wait_seconds_count{{app="storefront",{pool}}} 1"#));
    check(&text, &format!(r#"queue_wait_seconds_bucket{{app="storefront",{pool},le="0.001"}} 1"#));
    check(&text, &format!(r#"request_duration_seconds_count{{app="storefront",{pool}}} 1"#));
    check(&text, &format!(r#"upstream_duration_seconds_count{{{pool}}} 1"#));
    check(&text, &format!(r#"permit_seconds_total{{app="storefront",{pool}}} 1.5"#));
    let labels = r#"app="storefront",pool="Default",reason="reserve",tenant="production""#;
    check(&text, &format!("would_have_waited_total{{{labels}}} 1"));
    check(&text, &format!(r#"attempts_total{{{pool},verdict="refused"}} 1"#));
    check(&text, &format!(r#"attempts_total{{{pool},verdict="not_sent"}} 1"#));
    check(&text, &format!(r#"attempts_total{{{pool},verdict="relay"}} 0"#));
    check(&text, r#"refusals_total{kind="concurrency",pool="Default",tenant="production"} 1"#);
    check(&text, r#"overhead_seconds_bucket{tenant="production",le="0.00005"} 1"#);
    check(&text, r#"retries_total{tenant="production",verdict="refused"} 1"#);
    check(&text, r#"retries_abandoned_total{reason="budget",tenant="production"} 1"#);
    check(&text, r#"token_refreshes_total{result="ok",tenant="production"} 1"#);
    check(&text, r#"token_refreshes_total{result="previous",tenant="production"} 1"#);
    check(&text, r#"token_refreshes_total{result="error",tenant="production"} 0"#);
}

#[test]
fn every_verdict_counts_in_its_own_series() {
    let metrics = metrics();
    let pool = metrics.pool("production", "batch", "Default");
    let tenant = metrics.tenant("production");
    let of_pool = r#"pool="Default",tenant="production""#;

    for verdict in Verdict::ALL {
        let before = metrics.render(&Readings::default());
        pool.attempt(verdict, Duration::from_millis(20));
        tenant.retried(verdict);
        let after = metrics.render(&Readings::default());

        let name = verdict.as_str();
        let samples = [
            format!(r#"attempts_total{{{of_pool},verdict="{name}"}}"#),
            format!(r#"retries_total{{tenant="production",verdict="{name}"}}"#),
        ];
        for sample in samples {
            check(&before, &format!("{sample} 0"));
            check(&after, &format!("{sample} 1"));
        }
    }
}

#[test]
fn every_state_callout_and_delivery_counts_in_its_own_series_and_from_zero_on() {
    let metrics = metrics();
    let requests = metrics.async_requests("production", "batch");
    let callouts = metrics.callouts("production");
    let stranger = metrics.callouts("made-up");
    let registry = metrics.async_registry();
    let before = metrics.render(&Readings::default());

    for (n, state) in AsyncState::ALL.into_iter().enumerate() {
        (0..=n).for_each(|_| requests.entered(state));
    }
    for (n, result) in CalloutResult::ALL.into_iter().enumerate() {
        (0..=n).for_each(|_| callouts.came(result));
    }
    for (n, result) in Delivery::ALL.into_iter().enumerate() {
        (0..=n).for_each(|_| requests.delivery(result));
    }
    stranger.came(CalloutResult::Unauthenticated);
    registry.error();

    let after = metrics.render(&Readings::default());
    let of_app = r#"app="batch""#;
    let states = ["sending", "accepted", "succeeded", "failed", "unknown"];
    for (n, state) in states.into_iter().enumerate() {
        let sample =
            format!(r#"async_requests_total{{{of_app},state="{state}",tenant="production"}}"#);
        check(&before, &format!("{sample} 0"));
        check(&after, &format!("{sample} {}", n + 1));
    }
    let results = [
        "taken",
        "duplicate",
        "unknown",
        "malformed",
        "unauthenticated",
        "challenged",
        "too-large",
        "unstorable",
    ];
    for (n, result) in results.into_iter().enumerate() {
        let sample = format!(r#"callouts_total{{result="{result}",tenant="production"}}"#);
        check(&before, &format!("{sample} 0"));
        check(&after, &format!("{sample} {}", n + 1));
    }
    for (n, result) in ["delivered", "failed", "dead"].into_iter().enumerate() {
        let sample = format!(
            r#"outcome_deliveries_total{{{of_app},result="{result}",tenant="production"}}"#
        );
        check(&before, &format!("{sample} 0"));
        check(&after, &format!("{sample} {}", n + 1));
    }
    check(&after, r#"callouts_total{result="unauthenticated",tenant="unknown"} 1"#);
    check(&before, "async_registry_errors_total 0");
    check(&after, "async_registry_errors_total 1");
    assert!(!after.contains("made-up"), "{after}");
}

#[test]
fn a_retry_that_is_abandoned_for_the_first_time_is_seen_to_rise() {
    let metrics = metrics();
    let tenant = metrics.tenant("production");
    let sample = r#"retries_abandoned_total{reason="ambiguous",tenant="production"}"#;

    let before = metrics.render(&Readings::default());
    tenant.retry_abandoned("ambiguous");
    let after = metrics.render(&Readings::default());

    check(&before, &format!("{sample} 0"));
    check(&after, &format!("{sample} 1"));
}

#[test]
fn names_that_callers_made_up_never_become_a_series() {
    let metrics = metrics();

    metrics.app("production", "x\"} 1\nevil").answered("other", 401, Source::Gateway);
    let _ = metrics.pool("nowhere", "storefront", "Default");

    let text = metrics.render(&Readings::default());
    assert!(!text.contains("evil") && !text.contains("nowhere"), "{text}");
    let labels = r#"app="unknown",operation="other",source="gateway",status="401""#;
    check(&text, &format!(r#"requests_total{{{labels},tenant="production"}} 1"#));
}

#[test]
fn a_rejected_credential_counts_for_the_app_that_it_names_if_there_is_one() {
    let metrics = metrics();

    metrics.credential_rejected("storefront", "unknown");
    metrics.credential_rejected("made-up", "expired");

    let text = metrics.render(&Readings::default());
    check(&text, r#"rejected_credentials_total{app="storefront",reason="unknown"} 1"#);
    check(&text, r#"rejected_credentials_total{app="unknown",reason="expired"} 1"#);
    check(&text, r#"rejected_credentials_total{app="unknown",reason="unknown"} 0"#);
    assert!(!text.contains("made-up"), "{text}");
}

#[test]
fn two_handles_of_one_app_count_together() {
    let metrics = metrics();

    metrics.app("production", "batch").answered("other", 200, Source::Zuora);
    metrics.app("production", "batch").answered("other", 200, Source::Zuora);

    let text = metrics.render(&Readings::default());
    let labels = r#"app="batch",operation="other",source="zuora",status="200""#;
    check(&text, &format!(r#"requests_total{{{labels},tenant="production"}} 2"#));
}

#[test]
fn gauges_show_the_readings_and_nothing_older() {
    let metrics = metrics();
    let reading = |capacity, cooldown, limit_mismatch| PoolReading {
        tenant: "production",
        pool: "Default",
        in_use: 3,
        capacity,
        ceiling: 40,
        outside_use: 1,
        limit_mismatch,
        cooldown: Duration::from_secs(cooldown),
        queues: vec![QueueReading { app: "batch", requests: 7, bytes: 1024 }],
    };
    let requests = |pending, oldest, dead_letters| AsyncReading {
        tenant: "production",
        app: "batch",
        pending,
        oldest_pending: Duration::from_secs(oldest),
        unknown: pending + 1,
        dead_letters,
    };
    let readings = Readings {
        pools: vec![reading(38, 5, true), reading(20, 2, false)],
        tokens: vec![TokenReading { tenant: "production", expires_in_seconds: 60.0 }],
        circuits: vec![
            CircuitReading { tenant: "production", is_open: false },
            CircuitReading { tenant: "sandbox", is_open: true },
        ],
        lanes: vec![LanesReading { tenant: "production", held: 5, waiting: 9 }],
        async_requests: vec![requests(3, 40, 1), requests(0, 0, 2)],
        registry: Some(RegistryReading { bytes: 4096, records: 12 }),
    };

    let first = metrics.render(&readings);
    let second = metrics.render(&readings);
    let later = metrics.render(&Readings::default());

    for text in [first, second] {
        let pool = r#"pool="Default",tenant="production""#;
        check(&text, &format!("permits_in_use{{{pool}}} 6"));
        check(&text, &format!("permits_capacity{{{pool}}} 58"));
        check(&text, &format!("permits_ceiling{{{pool}}} 80"));
        check(&text, &format!("outside_use{{{pool}}} 2"));
        check(&text, &format!("limit_mismatch{{{pool}}} 1"));
        check(&text, &format!("cooldown_seconds{{{pool}}} 5"));
        check(&text, &format!(r#"queued{{app="batch",{pool}}} 14"#));
        check(&text, &format!(r#"queued_bytes{{app="batch",{pool}}} 2048"#));
        check(&text, r#"token_expires_in_seconds{tenant="production"} 60"#);
        check(&text, r#"circuit_open{tenant="production"} 0"#);
        check(&text, r#"circuit_open{tenant="sandbox"} 1"#);
        check(&text, r#"lanes_held{tenant="production"} 5"#);
        check(&text, r#"lanes_waiting{tenant="production"} 9"#);
        check(&text, r#"async_requests_pending{app="batch",tenant="production"} 3"#);
        check(&text, r#"async_requests_unknown{app="batch",tenant="production"} 5"#);
        check(&text, r#"async_oldest_pending_seconds{app="batch",tenant="production"} 40"#);
        check(&text, r#"outcome_dead_letters{app="batch",tenant="production"} 3"#);
        check(&text, "async_registry_bytes 4096");
        check(&text, "async_registry_records 12");
    }
    let names = [
        "permits_in_use{",
        "token_expires_in_seconds{",
        "circuit_open{",
        "lanes_",
        "async_requests_pending",
        "async_requests_unknown",
        "async_oldest_pending_seconds",
        "outcome_dead_letters",
        "async_registry_bytes",
        "async_registry_records",
    ];
    for name in names {
        assert!(!later.contains(&format!("\nzuora_gateway_{name}")), "{name}: {later}");
    }
}

#[test]
fn a_limit_type_that_nobody_configured_is_counted_whatever_it_is_called() {
    let metrics = metrics();
    let name = r#"Billing "Engine" \ é"#;
    let reading = PoolReading {
        tenant: "production",
        pool: name,
        in_use: 1,
        capacity: 2,
        ceiling: 3,
        outside_use: 1,
        limit_mismatch: false,
        cooldown: Duration::ZERO,
        queues: vec![QueueReading { app: "batch", requests: 4, bytes: 0 }],
    };

    metrics.pool("production", "batch", name).refused(Refused::Rate);

    let text = metrics.render(&Readings { pools: vec![reading], ..Readings::default() });
    let pool = r#"pool="Billing \"Engine\" \\ é",tenant="production""#;
    check(&text, &format!("permits_ceiling{{{pool}}} 3"));
    check(&text, &format!(r#"queued{{app="batch",{pool}}} 4"#));
    check(&text, &format!(r#"refusals_total{{kind="rate",{pool}}} 1"#));
}

#[test]
fn names_of_a_later_configuration_become_series_and_those_of_an_earlier_one_go_on() {
    let metrics = metrics();
    let leaving = metrics.app("production", "batch");

    metrics.know(&Inventory { tenants: vec!["sandbox".to_owned()], apps: vec!["new".to_owned()] });
    leaving.shed("deadline");
    metrics.app("production", "batch").shed("deadline");
    metrics.app("sandbox", "new").shed("deadline");

    let text = metrics.render(&Readings::default());
    check(&text, r#"shed_total{app="batch",reason="deadline",tenant="production"} 2"#);
    check(&text, r#"shed_total{app="new",reason="deadline",tenant="sandbox"} 1"#);
}

#[test]
fn what_lives_is_counted_until_it_is_dropped() {
    let metrics = metrics();

    let connection = metrics.connection();
    let legs = [metrics.leg(), metrics.leg()];

    let text = metrics.render(&Readings::default());
    check(&text, "connections 1");
    check(&text, "legs_in_flight 2");
    assert_eq!(metrics.legs_in_flight(), 2);
    drop((connection, legs));
    assert_eq!(metrics.legs_in_flight(), 0);
    check(&metrics.render(&Readings::default()), "connections 0");
}

#[test]
fn the_build_and_the_configuration_are_told() {
    let metrics = metrics();

    metrics.config_loaded(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics.config_in_sync(true);
    metrics.config_reloaded(Reload::Error);

    let text = metrics.render(&Readings::default());
    check(&text, "config_in_sync 1");
    check(&text, r#"config_reloads_total{result="error"} 1"#);
    check(&text, r#"config_reloads_total{result="ok"} 0"#);
    check(&text, "config_loaded_timestamp_seconds 1700000000");
    check(&text, &format!(r#"build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_panic_is_counted_and_the_process_goes_on() {
    // The hook is the process's: no other test of this binary panics.
    crate::log_panics();
    let before = panics::count();

    let outcome = std::thread::spawn(|| panic!("on purpose")).join();

    assert!(outcome.is_err());
    assert_eq!(panics::count(), before + 1);
    let text = metrics().render(&Readings::default());
    check(&text, &format!("panics_total {}", panics::count()));
}

#[test]
fn dashboards_and_alerts_ask_for_what_is_there() {
    const DEPLOYED: [&str; 2] = [
        include_str!("../../../../deploy/grafana-dashboard.json"),
        include_str!("../../../../deploy/prometheus-alerts.yaml"),
    ];
    let families = include_str!("../families.rs");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';

    let mut asked = 0;
    for text in DEPLOYED {
        for (_, rest) in
            text.match_indices("zuora_gateway_").map(|(at, it)| text.split_at(at + it.len()))
        {
            let name = rest.split(|c| !is_name(c)).next().unwrap();
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(families.contains(&format!("\"{name}\"")), "nobody counts `{name}`");
            asked += 1;
        }
    }
    assert!(asked > 50, "only {asked}");
}
