//! How the program ends, and what survives it.

use std::time::Duration;

use emulator::{Options, ServiceTime, Tenant};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{APP, Raw, SECRET, Yaml};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::caller::{ask, eventually, get, look, request, state, token_request};
use crate::running::Running;

/// A tenant that takes one call at a time, and a gateway that knows.
async fn one_at_a_time(service_time: Duration) -> (Tenant, Running, TempDir) {
    let options = Options {
        limits: vec![("Default".to_owned(), 1)],
        service_time: ServiceTime::Constant(service_time),
        ..Options::default()
    };
    let tenant = Tenant::start(options).await.unwrap();
    let directory = TempDir::new().unwrap();
    let yaml = Yaml {
        tenant: vec!["concurrency: {limits: {Default: 1}, headroom: 0}".to_owned()],
        ..Yaml::default()
    };
    let running = Running::before(&tenant, &yaml, &directory).await;
    (tenant, running, directory)
}

/// Waits until one call is at Zuora and `queued` wait.
async fn busy_with(running: &Running, queued: u64) {
    eventually("busy", async || {
        let state = state(running.admin).await;
        let pool = crate::caller::pool(&state, "Default");
        let app = &pool["apps"][0];
        let there = pool["in_use"] == 1 && app["queued"] == queued;
        there.then_some(()).ok_or(format!("{state:#}"))
    })
    .await;
}

#[tokio::test]
async fn a_signal_lets_open_and_waiting_calls_end_well() {
    let (tenant, running, _directory) = one_at_a_time(Duration::from_millis(500)).await;
    let address = running.address;
    let create = || request(Method::PUT, "/v1/accounts/A00000001", r#"{"name": "Last"}"#);
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(ask(address, create()))).collect();
    busy_with(&running, 2).await;

    running.signal("TERM").await;
    eventually("not ready", async || {
        let answer = look(running.admin, "/readyz").await;
        let drains = answer.status == 503 && answer.text().contains("draining");
        drains.then_some(()).ok_or(format!("{answer:?}"))
    })
    .await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody is let in any more");
    assert_eq!(look(running.admin, "/livez").await.status, 200);

    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let ended = running.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(tenant.ledger().executed_writes, 3);
    let accesses = ended.lines.iter().filter(|line| line.contains(r#""target":"access""#));
    assert_eq!(accesses.count(), 3, "{:#?}", ended.lines);
    assert!(ended.lines.last().unwrap().contains(r#""message":"stopped""#), "{:#?}", ended.lines);
}

#[tokio::test]
async fn a_call_whose_caller_left_is_seen_through_before_the_end() {
    let (tenant, running, _directory) = one_at_a_time(Duration::from_millis(600)).await;
    let call =
        tokio::spawn(ask(running.address, request(Method::PUT, "/v1/accounts/A00000001", "{}")));
    busy_with(&running, 0).await;
    call.abort();
    sleep(Duration::from_millis(100)).await;

    let ended = running.stop().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(tenant.ledger().executed_writes, 1);
    let seen = "Zuora answered an attempt that nobody waits for any more";
    assert!(ended.lines.iter().any(|line| line.contains(seen)), "{:#?}", ended.lines);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let (_tenant, running, _directory) = one_at_a_time(Duration::ZERO).await;
    let mut idle = Raw::connect(running.address).await;
    idle.write(format!(
        "GET /v1/accounts/A00000001 HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {SECRET}\r\n\r\n"
    ))
    .await;
    assert_eq!(idle.answer().await.status, 200);
    let _silent = Raw::connect(running.address).await;
    let _h2 = crate::caller::connect_h2(running.address).await;
    sleep(Duration::from_millis(50)).await;

    let began = Instant::now();
    let ended = running.stop().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (_tenant, running, directory) = one_at_a_time(Duration::from_secs(60)).await;
    let call = tokio::spawn(async move { Raw::ask(running.address, GET).await.status });
    busy_with(&running, 0).await;

    running.signal("INT").await;
    sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    running.signal("TERM").await;
    let ended = running.ended().await;

    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(ended.status.code(), Some(1), "a call was cut off: {ended:?}");
    assert_eq!(call.await.unwrap(), 0);
    // So that the next life begins low.
    let left = std::fs::read_dir(directory.path().join("state")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_str().unwrap().starts_with("alive.")), "{names:?}");
}

/// The permits of the pool `Default` that may be out now, as the metrics tell.
async fn capacity(running: &Running) -> u32 {
    let text = look(running.admin, "/metrics").await.text();
    let name = r#"zuora_gateway_permits_capacity{pool="Default",tenant="production"} "#;
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn after_being_killed_it_begins_low_and_after_a_good_end_it_does_not() {
    let options = Options {
        service_time: ServiceTime::Constant(Duration::from_secs(1)),
        ..Options::default()
    };
    let tenant = Tenant::start(options).await.unwrap();
    let (directory, yaml) = (TempDir::new().unwrap(), Yaml::default());
    let first = Running::before(&tenant, &yaml, &directory).await;
    assert_eq!(capacity(&first).await, 40);
    assert_eq!(first.stop().await.status.code(), Some(0));

    let second = Running::before(&tenant, &yaml, &directory).await;
    assert_eq!(capacity(&second).await, 40, "nothing was left at Zuora");
    let left = tokio::spawn(async move { Raw::ask(second.address, GET).await.status });
    busy_with_one(&second).await;
    second.signal("KILL").await;
    second.ended().await;
    assert_eq!(left.await.unwrap(), 0);

    let third = Running::before(&tenant, &yaml, &directory).await;
    let capacity = capacity(&third).await;
    assert!(capacity <= 10, "{capacity} may be out, and nobody knows what is at Zuora");
    // Whatever it could not know, it says, and it goes on.
    assert_eq!(ask(third.address, get()).await.status, 200);
    let ended = third.stop().await;
    let why = "an earlier life of this gateway ended without draining";
    assert!(ended.lines.iter().any(|line| line.contains(why)), "{:#?}", ended.lines);
}

#[tokio::test]
async fn two_with_one_state_directory_know_of_each_other() {
    let tenant = Tenant::start(Options::default()).await.unwrap();
    let (directory, yaml) = (TempDir::new().unwrap(), Yaml::default());
    let first = Running::before(&tenant, &yaml, &directory).await;

    let second = Running::before(&tenant, &yaml, &directory).await;

    assert!(capacity(&second).await <= 10);
    assert_eq!(capacity(&first).await, 40);
    let ended = second.stop().await;
    let why = "another gateway lives with the same `state_dir`";
    assert!(ended.lines.iter().any(|line| line.contains(why)), "{:#?}", ended.lines);
    assert_eq!(first.stop().await.status.code(), Some(0));
}

/// Waits until one call is at Zuora.
async fn busy_with_one(running: &Running) {
    eventually("busy", async || {
        let state = state(running.admin).await;
        let in_use = &crate::caller::pool(&state, "Default")["in_use"];
        (*in_use == 1).then_some(()).ok_or(format!("{state:#}"))
    })
    .await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_no_end() {
    let tenant = Tenant::start(Options::default()).await.unwrap();
    let directory = TempDir::new().unwrap();
    let top = vec!["signing_key: a key of at least thirty-two characters".to_owned()];
    // Nobody, root included, can make anything there.
    let text = Yaml { top, ..Yaml::default() }.text(&tenant.base_url(), "/proc/state".as_ref());

    let running = Running::start(&text, &directory).await;
    assert_eq!(capacity(&running).await, 40);
    let ended = running.stop().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let lost = "should this gateway be killed, the next one will not know";
    assert!(ended.lines.iter().any(|line| line.contains(lost)), "{:#?}", ended.lines);
}

const GET: &str = "GET /v1/accounts/A00000001 HTTP/1.1\r\nhost: gw\r\n\
                   authorization: Bearer the-secret-of-the-app\r\n\r\n";

#[tokio::test]
async fn a_token_given_to_an_app_survives_a_restart() {
    let options =
        Options { service_time: ServiceTime::Constant(Duration::ZERO), ..Options::default() };
    let tenant = Tenant::start(options).await.unwrap();
    let directory = TempDir::new().unwrap();
    let yaml = Yaml::default();
    let first = Running::before(&tenant, &yaml, &directory).await;
    let granted: Value = ask(first.address, token_request(APP, SECRET)).await.json();
    let token = granted["access_token"].as_str().unwrap().to_owned();
    assert!(granted["expires_in"].as_u64().unwrap() > 600, "{granted}");
    assert!(granted["token_type"].as_str().unwrap().eq_ignore_ascii_case("bearer"));
    let mut call = get();
    call.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(ask(first.address, call.clone()).await.status, 200);
    assert_eq!(first.stop().await.status.code(), Some(0));

    let second = Running::before(&tenant, &yaml, &directory).await;
    assert_eq!(ask(second.address, call.clone()).await.status, 200);
    second.stop().await;

    // And not a start with another key.
    let stranger = Running::before(&tenant, &yaml, &TempDir::new().unwrap()).await;
    assert_eq!(ask(stranger.address, call).await.status, 401);
}
