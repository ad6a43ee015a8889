//! Idempotency keys: failures kept, and work that goes on behind a cut.

use std::time::Duration;

use emulator::{Category, Fault, FaultKind, Options, ServiceTime, Tenant};
use tokio::time::{Instant, sleep};

use crate::{
    memory::{self, ask, token},
    wire::{bearer, request},
};

const ACCOUNT: &str = r#"{"name": "A", "currency": "USD"}"#;

async fn set_up() -> (Tenant, String) {
    let service_time = ServiceTime::Constant(Duration::from_millis(50));
    let tenant = Tenant::in_memory(Options { service_time, ..Options::default() });
    let token = token(&tenant).await;
    (tenant, token)
}

fn keyed(token: &str, method: &str, path: &str) -> String {
    let headers = format!("{}Idempotency-Key: k\r\nZuora-Version: 2025-08-12\r\n", bearer(token));
    request(method, path, &headers, ACCOUNT)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// What a stored outcome is made of: all but the cookie and the limits of the moment.
fn outcome(answer: &str) -> Vec<&str> {
    let passing = |line: &&str| {
        !["set-cookie", "concurrency-limit", "date"].iter().any(|name| line.starts_with(name))
    };
    answer.lines().filter(passing).collect()
}

#[tokio::test(start_paused = true)]
async fn behind_a_cut_a_key_is_in_progress_until_the_work_is_done() {
    let (tenant, token) = set_up().await;
    let call = keyed(&token, "POST", "/v1/accounts");
    let began = Instant::now();

    let kind = FaultKind::CutLater { milliseconds: 1000, reset: false };
    tenant.fault(Fault::once("/v1/accounts", kind));
    assert_eq!(ask(&tenant, &call).await, "");
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(Duration::from_millis(900)).await;
    let early = ask(&tenant, &call).await;
    assert_eq!(status(&early), "409");
    assert!(early.contains("still in progress"), "{early}");
    let elsewhere = ask(&tenant, &keyed(&token, "POST", "/v1/orders")).await;
    assert_eq!(status(&elsewhere), "422");

    sleep(Duration::from_millis(200)).await;
    let first = ask(&tenant, &call).await;
    assert_eq!(status(&first), "200");
    assert_eq!(outcome(&first), outcome(&ask(&tenant, &call).await));
    let ledger = tenant.ledger();
    assert_eq!(ledger.effects_by_key()["k"], 1);
    assert!(ledger.executed_twice().is_empty());
    assert_eq!((ledger.idempotent_replays, ledger.idempotent_in_progress), (2, 1));
    assert_eq!(ledger.idempotent_mismatches, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_under_its_key_and_a_new_key_gets_a_new_outcome() {
    let (tenant, token) = set_up().await;
    let call = keyed(&token, "POST", "/v1/accounts");
    let fail = |category| FaultKind::Fail { category, shape: None, message_bytes: 0 };

    for (kind, told) in [(FaultKind::Contended, "409"), (fail(Category::Temporary), "500")] {
        tenant.reset();
        tenant.fault(Fault::once("/v1/accounts", kind));
        let first = ask(&tenant, &call).await;
        let again = ask(&tenant, &call).await;
        assert_eq!(status(&first), told);
        assert_eq!(outcome(&first), outcome(&again));
        assert_eq!(tenant.counters().effective_writes, 0);
    }

    let renewed = ask(&tenant, &call.replace("Key: k", "Key: k-2")).await;
    assert_eq!(status(&renewed), "200");
    assert_eq!(tenant.ledger().effects_by_track_id()["test-1"], 1);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_cut_leaves_the_key_as_the_work_left_it() {
    let (tenant, token) = set_up().await;
    let call = keyed(&token, "PATCH", "/v1/some/thing");
    let cut = |after, executed| FaultKind::CutRequest { after, executed, reset: false };

    for kind in [cut(call.len() as u64 - 1, true), cut(10_000, false)] {
        tenant.fault(Fault::once("/v1/some", kind));
        assert_eq!(ask(&tenant, &call).await, "");
        assert_eq!(tenant.counters().executed_total, 0);
    }
    tenant.fault(Fault::once("/v1/some", FaultKind::CutAnswer { after: 0, reset: false }));
    assert_eq!(ask(&tenant, &call).await, "");
    assert_eq!(tenant.counters().effective_writes, 1);
    assert_eq!(status(&ask(&tenant, &call).await), "200");
    assert_eq!(status(&ask(&tenant, &keyed(&token, "PATCH", "/v1/some/thing?x=y")).await), "422");

    let ledger = tenant.counters();
    assert_eq!((ledger.effective_writes, ledger.idempotent_replays), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_edge_gives_up_while_the_work_goes_on_or_with_it() {
    let (tenant, token) = set_up().await;
    let call = keyed(&token, "POST", "/v1/accounts");
    let timeout = |completes_after_ms| {
        let kind = FaultKind::GatewayTimeout { after_ms: 120_000, completes_after_ms };
        Fault::once("/v1/accounts", kind)
    };

    tenant.fault(timeout(None));
    let began = Instant::now();
    let given_up = ask(&tenant, &call).await;
    assert_eq!(status(&given_up), "504");
    assert!(given_up.contains("<html>"));
    assert_eq!(began.elapsed(), Duration::from_secs(120));
    assert_eq!(tenant.counters().in_flight["High-volume transactions"], 0);
    assert_eq!(tenant.counters().executed_total, 0);

    tenant.fault(timeout(Some(5000)));
    assert_eq!(status(&ask(&tenant, &call).await), "504");
    assert_eq!(tenant.counters().in_flight["High-volume transactions"], 1);
    assert_eq!(status(&ask(&tenant, &call).await), "409");
    sleep(Duration::from_millis(5001)).await;
    assert_eq!(tenant.counters().in_flight["High-volume transactions"], 0);
    assert_eq!(status(&ask(&tenant, &call).await), "200");

    tenant.fault(timeout(Some(0)));
    let renewed = call.replace("Key: k", "Key: k-2");
    assert_eq!(status(&ask(&tenant, &renewed).await), "504");
    assert_eq!(tenant.counters().effective_writes, 2);
    assert_eq!(tenant.ledger().executed_twice()[0].path, "/v1/accounts");
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_before_the_edge_does_not_end_the_work() {
    let (tenant, token) = set_up().await;
    let kind = FaultKind::GatewayTimeout { after_ms: 1000, completes_after_ms: Some(0) };
    tenant.fault(Fault::once("/v1/accounts", kind));

    let call = keyed(&token, "POST", "/v1/accounts");
    let asked = tokio::time::timeout(Duration::from_millis(500), memory::ask(&tenant, &call));
    assert!(asked.await.is_err());
    sleep(Duration::from_millis(501)).await;

    assert_eq!(tenant.counters().effective_writes, 1);
}
