//! The admin port: metrics, health, state.

use std::process::Stdio;
use std::time::Duration;

use emulator::{Fault, FaultKind, Options, Reclassified, ServiceTime, Tenant};
use http::Method;
use tempfile::TempDir;
use testkit::Yaml;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::caller::{ask, eventually, get, look, pool, request, state};
use crate::running::Running;

/// Every family of the contract that applies, without its prefix.
const FAMILIES: [&str; 29] = [
    "requests_total",
    "request_duration_seconds",
    "queue_wait_seconds",
    "overhead_seconds",
    "upstream_duration_seconds",
    "permits_in_use",
    "permits_capacity",
    "permits_ceiling",
    "outside_use",
    "limit_mismatch",
    "queued",
    "queued_bytes",
    "permit_seconds_total",
    "attempts_total",
    "retries_total",
    "retries_abandoned_total",
    "refusals_total",
    "shed_total",
    "rejected_credentials_total",
    "cooldown_seconds",
    "token_refreshes_total",
    "token_expires_in_seconds",
    "circuit_open",
    "connections",
    "legs_in_flight",
    "config_loaded_timestamp_seconds",
    "config_in_sync",
    "config_reloads_total",
    "build_info",
];

async fn start(options: Options) -> (Tenant, Running, TempDir) {
    let tenant = Tenant::start(options).await.unwrap();
    let directory = TempDir::new().unwrap();
    let yaml = Yaml { tenant: vec!["queue: {timeout: 1500ms}".to_owned()], ..Yaml::default() };
    let running = Running::before(&tenant, &yaml, &directory).await;
    (tenant, running, directory)
}

fn quick() -> Options {
    Options {
        service_time: ServiceTime::Constant(Duration::from_millis(5)),
        retry_after: Duration::from_secs(1),
        ..Options::default()
    }
}

#[tokio::test]
async fn promtool_accepts_the_metrics_and_they_are_those_of_the_contract() {
    let (tenant, running, _directory) = start(quick()).await;
    let address = running.address;
    assert_eq!(ask(address, get()).await.status, 200);
    // Something of everything: waited out, turned away, failed, refused here.
    tenant.fault(Fault::once("/v1/accounts", FaultKind::RefuseConcurrency));
    assert_eq!(ask(address, get()).await.status, 200);
    tenant.fault(Fault::once("/v1/accounts", FaultKind::RefuseRate { reset: 60 }));
    assert_eq!(ask(address, get()).await.status, 429);
    let unheard_of = request(Method::GET, "/v9/a-path-with/a-secret-key", "");
    ask(address, unheard_of).await;
    let mut stranger = get();
    stranger.headers_mut().remove("authorization");
    assert_eq!(ask(address, stranger).await.status, 401);

    let metrics = look(running.admin, "/metrics").await;
    assert!(metrics.field("content-type").unwrap().starts_with("text/plain"), "{metrics:?}");
    let text = metrics.text();
    for family in FAMILIES {
        let described = format!("# TYPE zuora_gateway_{family} ");
        assert!(text.contains(&described), "no `{family}` in\n{text}");
    }
    assert!(!text.contains("a-secret-key"), "a path is no label");
    let samples = [
        r#"zuora_gateway_requests_total{app="app",operation="GET_Account",source="zuora",status="200",tenant="production"} 2"#,
        r#"zuora_gateway_refusals_total{kind="concurrency",pool="Default",tenant="production"} 1"#,
        r#"zuora_gateway_refusals_total{kind="rate",pool="Default",tenant="production"} 1"#,
        r#"zuora_gateway_retries_total{tenant="production",verdict="refused"} 1"#,
        r#"zuora_gateway_retries_abandoned_total{reason="cooldown",tenant="production"} 1"#,
        r#"zuora_gateway_token_refreshes_total{result="ok",tenant="production"} 1"#,
        r#"zuora_gateway_rejected_credentials_total{app="unknown",reason="missing"} 1"#,
        r#"zuora_gateway_permits_ceiling{pool="Object Query",tenant="production"} 80"#,
        r#"zuora_gateway_limit_mismatch{pool="Default",tenant="production"} 0"#,
    ];
    for sample in samples {
        assert!(text.contains(sample), "no `{sample}` in\n{text}");
    }

    let mut promtool = Command::new(testkit::component("promtool"));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).kill_on_drop(true);
    let mut promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    let verdict = promtool.wait_with_output().await.unwrap();
    assert!(verdict.status.success(), "{verdict:?}");
}

#[tokio::test]
async fn a_limit_that_zuora_names_otherwise_shows() {
    let options = Options { limits: vec![("Default".to_owned(), 25)], ..quick() };
    let (_tenant, running, _directory) = start(options).await;
    assert_eq!(ask(running.address, get()).await.status, 200);

    let text = look(running.admin, "/metrics").await.text();

    for (pool, mismatch) in [("Default", 1), ("Object Query", 0)] {
        let sample = format!(
            r#"zuora_gateway_limit_mismatch{{pool="{pool}",tenant="production"}} {mismatch}"#
        );
        assert!(text.contains(&sample), "no `{sample}` in\n{text}");
    }
    let state = state(running.admin).await;
    let shown = pool(&state, "Default");
    let told = (&shown["configured"], &shown["observed"], &shown["ceiling"]);
    assert_eq!(told, (&40.into(), &25.into(), &25.into()));
}

#[tokio::test]
async fn what_others_take_and_what_nobody_configured_shows() {
    let reclassified = Reclassified {
        method: None,
        path: "/v1/orders".to_owned(),
        limit_type: "Billing Engine".to_owned(),
    };
    let limits = vec![("Default".to_owned(), 40), ("Billing Engine".to_owned(), 10)];
    let options = Options { limits, reclassified: vec![reclassified], ..quick() };
    let (tenant, running, _directory) = start(options).await;
    let _outsider = tenant.occupy("Default", 7).unwrap();
    let order = || request(Method::GET, "/v1/orders/O-1", "");
    ask(running.address, order()).await;

    eventually("shown", async || {
        assert_eq!(ask(running.address, get()).await.status, 200);
        let text = look(running.admin, "/metrics").await.text();
        // What Zuora says of a moment may or may not count the call that it answers.
        let taken = 6..=8;
        let name = r#"zuora_gateway_outside_use{pool="Default",tenant="production"} "#;
        let shown = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        taken.contains(&shown.parse().unwrap()).then_some(()).ok_or(text)
    })
    .await;
    let text = look(running.admin, "/metrics").await.text();
    let ceiling = r#"zuora_gateway_permits_ceiling{pool="Billing Engine",tenant="production"} 10"#;
    assert!(text.contains(ceiling), "no `{ceiling}` in\n{text}");

    let state = state(running.admin).await;
    let (default, learnt) = (pool(&state, "Default"), pool(&state, "Billing Engine"));
    assert!(default["outside_use"].as_u64().is_some_and(|taken| taken >= 6), "{default}");
    assert_eq!((&default["learnt"], &default["enforced"]), (&false.into(), &true.into()));
    assert_eq!((&learnt["learnt"], &learnt["enforced"]), (&true.into(), &true.into()));
}

#[tokio::test]
async fn a_limit_that_is_only_watched_tells_whom_it_would_have_held_up() {
    let tenant = Tenant::start(quick()).await.unwrap();
    tenant.set_service_time(ServiceTime::Constant(Duration::from_millis(300)));
    let limits = "{limits: {Default: {limit: 2, enforce: false}}, headroom: 0}";
    let concurrency = vec![format!("concurrency: {limits}")];
    let (directory, yaml) =
        (TempDir::new().unwrap(), Yaml { tenant: concurrency, ..Yaml::default() });
    let running = Running::before(&tenant, &yaml, &directory).await;
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(ask(running.address, get()))).collect();

    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.took < Duration::from_millis(550), "nobody waits: {answer:?}");
    }
    let text = look(running.admin, "/metrics").await.text();
    let labels = r#"app="app",pool="Default",reason="capacity",tenant="production""#;
    let sample = format!("zuora_gateway_would_have_waited_total{{{labels}}} 3\n");
    assert!(text.contains(&sample), "no `{sample}` in\n{text}");
    assert_eq!(pool(&state(running.admin).await, "Default")["enforced"], false);
}

#[tokio::test]
async fn it_is_alive_but_not_ready_while_no_token_can_be_had() {
    let options = Options { client_secret: Some("another".to_owned()), ..quick() };
    let (tenant, running, _directory) = start(options).await;
    eventually("has asked", async || {
        (tenant.counters().token_refused > 0).then_some(()).ok_or("not yet".to_owned())
    })
    .await;

    let ready = look(running.admin, "/readyz").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    let why = "no valid token for tenant `production`: Zuora refuses the credentials";
    assert!(ready.text().contains(why), "{ready:?}");
    assert_eq!(look(running.admin, "/livez").await.status, 200);
    assert_eq!(state(running.admin).await["ready"], false);

    let answer = ask(running.address, get()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("zuora-gateway-error"), Some("token-unavailable"));
    let ended = running.stop().await;
    let why = ended.lines.iter().any(|line| line.contains("got no Zuora token"));
    assert!(why, "{:#?}", ended.lines);
}

#[tokio::test]
async fn throttling_is_not_unready() {
    let (tenant, running, _directory) = start(quick()).await;
    assert_eq!(ask(running.address, get()).await.status, 200);
    tenant.fault(Fault::once("/v1/accounts", FaultKind::RefuseRate { reset: 60 }));
    assert_eq!(ask(running.address, get()).await.status, 429);

    let ready = look(running.admin, "/readyz").await;

    assert_eq!((ready.status, &*ready.text()), (200, "ready\n"));
    let state = state(running.admin).await;
    let paused = pool(&state, "Default")["paused_seconds"].as_f64().unwrap();
    assert!((50.0..100.0).contains(&paused), "{state:#}");
}

#[tokio::test]
async fn the_state_shows_who_holds_permits_and_who_waits() {
    let options = Options {
        limits: vec![("Default".to_owned(), 40)],
        service_time: ServiceTime::Constant(Duration::from_secs(1)),
        ..Options::default()
    };
    let (_tenant, running, _directory) = start(options).await;
    let calls: Vec<_> = (0..45).map(|_| tokio::spawn(ask(running.address, get()))).collect();

    eventually("all there", async || {
        let state = state(running.admin).await;
        let (pool, shown) = (pool(&state, "Default"), &state["tenants"][0]);
        let app = &pool["apps"][0];
        let told = pool["in_use"] == 40
            && (pool["ceiling"] == 40 && pool["capacity"] == 40)
            && (app["app"] == "app" && app["in_use"] == 40 && app["queued"] == 5)
            && app["oldest_wait_seconds"].as_f64().unwrap() > 0.0
            && state["legs_in_flight"] == 40
            && (shown["tenant"] == "production" && state["ready"] == true)
            && shown["token_expires_in_seconds"].as_u64().unwrap() > 3500;
        told.then_some(()).ok_or(format!("{state:#}"))
    })
    .await;
    for call in calls {
        call.abort();
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_nothing_can_be_changed() {
    let (_tenant, running, _directory) = start(quick()).await;
    assert_eq!(look(running.admin, "/").await.status, 200);
    assert_eq!(look(running.admin, "/v1/accounts").await.status, 404);
    let post = "POST /readyz HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let refused = testkit::Raw::ask(running.admin, post).await;
    assert_eq!((refused.status, refused.field("allow")), (405, Some("GET, HEAD")));
}
