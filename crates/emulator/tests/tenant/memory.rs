//! Connections in memory: no sockets, so a stopped clock can be believed.

use std::time::Duration;

use emulator::{Options, ServiceTime, Tenant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::wire::{bearer, request};

/// A tenant in memory that works a minute on every call.
pub(crate) fn slow_tenant() -> Tenant {
    let service_time = ServiceTime::Constant(Duration::from_secs(60));
    Tenant::in_memory(Options { service_time, ..Options::default() })
}

/// Sends a request on a connection in memory of its own; everything that comes back.
pub(crate) async fn ask(tenant: &Tenant, request: &str) -> String {
    let mut connection = tenant.connect();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A token, got over a connection in memory.
pub(crate) async fn token(tenant: &Tenant) -> String {
    let form = "client_id=a&client_secret=b&grant_type=client_credentials";
    let answer = ask(tenant, &request("POST", "/oauth/token", "", form)).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_exactly_its_time_under_a_stopped_clock() {
    let tenant = slow_tenant();
    let token = token(&tenant).await;
    let began = Instant::now();

    let call = request("GET", "/v1/accounts/A00000001", &bearer(&token), "");
    let answer = ask(&tenant, &call).await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(began.elapsed(), Duration::from_secs(60));
    assert_eq!(tenant.counters().executed_total, 1);
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_when_a_connection_in_memory_is_dropped() {
    let tenant = slow_tenant();
    let token = token(&tenant).await;

    let call =
        request("POST", "/v1/accounts", &bearer(&token), r#"{"name": "A", "currency": "USD"}"#);
    let mut connection = tenant.connect();
    connection.write_all(call.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(connection);

    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_eq!(tenant.counters().executed_writes, 0);
    assert_eq!(tenant.counters().in_flight["High-volume transactions"], 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(tenant.counters().executed_writes, 1);
    assert_eq!(tenant.counters().in_flight["High-volume transactions"], 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_connections_in_memory_too() {
    let tenant = Tenant::in_memory(Options::default());
    let mut open = tenant.connect();
    tenant.stop().await;

    assert_eq!(open.read(&mut [0]).await.unwrap(), 0);
}
