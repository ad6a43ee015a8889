//! Limit types that nobody had heard of, and operations that count against another one than published.

use std::time::Duration;

use emulator::{Options, Reclassified, ServiceTime};
use futures_util::future::join_all;
use http::Method;
use tempfile::TempDir;
use testkit::{House, Yaml};

use crate::caller::{ask, at_rest, get, look, pool, request, state};
use crate::running::Running;

const BILLING: &str = "Billing Engine";

/// A tenant that counts reads of accounts against a limit of three, under a name that no document has.
fn unheard_of() -> Options {
    Options {
        limits: vec![("Default".to_owned(), 10), (BILLING.to_owned(), 3)],
        reclassified: vec![Reclassified {
            method: Some("GET".to_owned()),
            path: "/v1/accounts".to_owned(),
            limit_type: BILLING.to_owned(),
        }],
        service_time: ServiceTime::Constant(Duration::from_millis(30)),
        retry_after: Duration::from_secs(1),
        ..Options::default()
    }
}

fn ten() -> Yaml {
    let limits = "concurrency: {limits: {Default: 10}, headroom: 0}".to_owned();
    Yaml { tenant: vec![limits], ..Yaml::default() }
}

#[tokio::test]
async fn a_limit_that_nobody_knew_is_kept_once_zuora_named_it() {
    let house = House::start(unheard_of(), &ten()).await;
    let address = house.address();
    assert_eq!(ask(address, get()).await.status, 200);

    let others = || request(Method::GET, "/v1/files/size-100", "");
    let (moved, unmoved) = tokio::join!(
        join_all((0..30).map(|_| ask(address, get()))),
        join_all((0..30).map(|_| ask(address, others()))),
    );

    assert!(moved.iter().chain(&unmoved).all(|answer| answer.status == 200));
    let ledger = house.tenant.counters();
    assert_eq!((ledger.most_in_flight[BILLING], ledger.refused_concurrency), (3, 0), "{ledger:?}");
    assert_eq!(ledger.most_in_flight["Default"], 10, "those that stayed have all of it");
    at_rest(&house).await;
    let state = state(house.gateway.admin_address()).await;
    assert_eq!(pool(&state, BILLING)["ceiling"], 3, "{state:#}");
    let metrics = look(house.gateway.admin_address(), "/metrics").await.text();
    let series =
        format!("attempts_total{{pool=\"{BILLING}\",tenant=\"production\",verdict=\"relay\"}} 30");
    assert!(metrics.contains(&series), "{metrics}");
}

#[tokio::test]
async fn a_burst_that_finds_out_does_not_shrink_the_pool_it_came_from() {
    let house = House::start(unheard_of(), &ten()).await;
    let address = house.address();

    let answers = join_all((0..10).map(|_| ask(address, get()))).await;

    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200; 10]);
    let ledger = house.tenant.counters();
    assert_eq!(ledger.executed_total, 10);
    // Up to ten went before anybody knew, and three of them fitted.
    assert!((1..=7).contains(&ledger.refused_concurrency), "{ledger:?}");
    let state = state(house.gateway.admin_address()).await;
    assert_eq!(pool(&state, "Default")["capacity"], 10, "{state:#}");
}

#[tokio::test]
async fn operators_are_told_once_of_a_type_and_of_each_operation() {
    let tenant = emulator::Tenant::start(unheard_of()).await.unwrap();
    let directory = TempDir::new().unwrap();
    let running = Running::before(&tenant, &ten(), &directory).await;
    for _ in 0..3 {
        assert_eq!(ask(running.address, get()).await.status, 200);
        let payments = "/v1/accounts/A00000001/summary";
        assert_eq!(ask(running.address, request(Method::GET, payments, "")).await.status, 200);
    }

    let ended = running.stop().await;

    let lines = ended.lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line));
    let lines: Vec<_> = lines.map(Result::unwrap).filter(|line| line["pool"] == BILLING).collect();
    let told = |level: &str, key: &str| -> Vec<_> {
        let told = lines.iter().filter(|line| line["level"] == level && line["target"] != "access");
        told.map(|line| line[key].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(told("WARN", "tenant"), ["production"], "{lines:#?}");
    assert_eq!(told("INFO", "operation"), ["GET_Account", "GET_AccountSummary"], "{lines:#?}");
    // The first call of each went to another pool.
    assert_eq!(lines.iter().filter(|line| line["target"] == "access").count(), 4, "{lines:#?}");
}
