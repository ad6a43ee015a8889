//! Connections that end between any two bytes.

use std::time::Duration;

use emulator::{Fault, FaultKind, Options, ServiceTime, Tenant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    memory::{self, ask},
    wire::{Raw, bearer, exchange, request, send, tenant},
};

const ACCOUNT: &str = r#"{"name": "A", "currency": "USD"}"#;

/// A tenant in memory that takes its time, and a write as it goes on the wire.
async fn set_up() -> (Tenant, String) {
    let service_time = ServiceTime::Constant(Duration::from_millis(50));
    let tenant = Tenant::in_memory(Options { service_time, ..Options::default() });
    let token = memory::token(&tenant).await;
    let call = request("POST", "/v1/accounts", &bearer(&token), ACCOUNT);
    (tenant, call)
}

fn cut_request(after: usize, executed: bool) -> Fault {
    let after = after as u64;
    Fault::once("/v1", FaultKind::CutRequest { after, executed, reset: false }).method("POST")
}

fn cut_answer(after: usize) -> Fault {
    Fault::once("/v1", FaultKind::CutAnswer { after: after as u64, reset: false })
}

#[tokio::test(start_paused = true)]
async fn a_request_is_cut_at_every_byte_and_never_executed_in_part() {
    let (tenant, call) = set_up().await;

    for executed in [false, true] {
        for after in 0..call.len() {
            tenant.fault(cut_request(after, executed));
            assert_eq!(ask(&tenant, &call).await, "", "after {after} bytes");
            let strike = tenant.strikes().pop().unwrap();
            assert_eq!((strike.passed, strike.whole), (Some(after as u64), false));
            assert!(!strike.came_too_late);
        }
    }

    let ledger = tenant.counters();
    assert_eq!((ledger.executed_total, ledger.faulted_calls), (0, 2 * call.len() as u64));
    assert!(tenant.faults().is_empty());
    assert_eq!(ledger.in_flight["High-volume transactions"], 0);
}

#[tokio::test(start_paused = true)]
async fn behind_the_last_byte_of_a_request_the_work_is_done_or_not_as_asked() {
    let (tenant, call) = set_up().await;

    for beyond in [0, 1, 1000] {
        tenant.fault(cut_request(call.len() + beyond, false));
        assert_eq!(ask(&tenant, &call).await, "");
        let strike = tenant.strikes().pop().unwrap();
        assert_eq!((strike.passed, strike.whole), (Some(call.len() as u64), true));
        assert_eq!(tenant.counters().executed_total, 0);
    }
    tenant.fault(cut_request(call.len(), true));
    let began = Instant::now();
    assert_eq!(ask(&tenant, &call).await, "");

    assert_eq!(began.elapsed(), Duration::from_millis(50));
    assert_eq!(tenant.counters().effective_writes, 1);
    assert!(ask(&tenant, &call).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(tenant.ledger().executed_twice()[0].times, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_cut_at_every_byte_and_its_work_done_once() {
    let (tenant, call) = set_up().await;
    let call = call.replace("Connection: close\r\n", "");
    let length = 1 + {
        // Whole, but with the end of the connection right behind it.
        tenant.fault(cut_answer(usize::MAX));
        let answer = ask(&tenant, &call).await;
        assert!(answer.trim_end().ends_with('}'), "{answer}");
        assert!(tenant.strikes().pop().unwrap().whole);
        answer.len()
    };

    for after in 0..length {
        tenant.reset();
        tenant.fault(cut_answer(after));
        let answer = ask(&tenant, &call).await;
        assert_eq!(answer.len(), after);
        let strike = tenant.strikes().pop().unwrap();
        assert_eq!((strike.passed, strike.whole), (Some(after as u64), after == length - 1));
        assert_eq!(tenant.counters().effective_writes, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunked_request_and_a_chunked_answer_are_followed_too() {
    let (tenant, call) = set_up().await;
    let sized = format!("Content-Length: {}\r\n\r\n{ACCOUNT}", ACCOUNT.len());
    let chunks =
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{ACCOUNT}\r\n0\r\n\r\n", ACCOUNT.len());
    let call = call.replace(&sized, &chunks);

    tenant.fault(cut_request(call.len() - 1, true));
    assert_eq!(ask(&tenant, &call).await, "");
    assert_eq!(tenant.counters().executed_total, 0);
    tenant.fault(cut_request(call.len(), true));
    assert_eq!(ask(&tenant, &call).await, "");
    assert_eq!(tenant.counters().effective_writes, 1);

    let list = call.replace("POST /v1/accounts ", "GET /v1/catalog/products ");
    tenant.fault(cut_answer(usize::MAX));
    let answer = ask(&tenant, &list).await;
    assert!(answer.contains("transfer-encoding: chunked") && answer.ends_with("0\r\n\r\n"));
    assert!(tenant.strikes().pop().unwrap().whole);
}

#[tokio::test(start_paused = true)]
async fn on_a_connection_that_is_kept_only_the_request_that_matches_is_cut() {
    let (tenant, call) = set_up().await;
    let call = call.replace("Connection: close\r\n", "");
    tenant.fault(cut_answer(20).after(2));
    let mut connection = tenant.connect();

    // The second comes before the first is answered, and waits for its turn.
    connection.write_all(format!("{call}{call}").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(tenant.counters().effective_writes, 2);
    connection.write_all(call.as_bytes()).await.unwrap();
    let mut answers = String::new();
    connection.read_to_string(&mut answers).await.unwrap();

    assert_eq!(answers.matches("HTTP/1.1 ").count(), 3);
    assert!(answers.ends_with("HTTP/1.1 200 OK\r\ncon"), "{answers}");
    assert_eq!(tenant.counters().effective_writes, 3);
}

#[tokio::test(start_paused = true)]
async fn faults_of_both_kinds_strike_in_the_order_they_were_added() {
    let (tenant, call) = set_up().await;
    tenant.fault(Fault::once("/v1", FaultKind::HtmlUnavailable));
    tenant.fault(cut_request(10, false));
    tenant.fault(Fault::once("/v1/accounts", FaultKind::Contended));

    assert!(ask(&tenant, &call).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(ask(&tenant, &call).await, "");
    assert!(ask(&tenant, &call).await.contains("lock competition"));
    assert!(ask(&tenant, &call).await.contains("accountId"));

    let struck: Vec<Option<u64>> = tenant.strikes().iter().map(|one| one.passed).collect();
    assert_eq!(struck, [None, Some(10), None]);
    assert_eq!(tenant.counters().faulted_calls, 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_to_go_on_is_no_answer() {
    let (tenant, call) = set_up().await;
    let call = call.replace("Connection: close\r\n", "Expect: 100-continue\r\n");
    let (head, body) = call.split_at(call.len() - ACCOUNT.len());

    for fault in [cut_answer(12), cut_request(call.len(), true), cut_request(head.len() + 1, true)]
    {
        let expected = if fault == cut_answer(12) { "HTTP/1.1 200" } else { "" };
        tenant.fault(fault);
        let mut connection = tenant.connect();
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut interim = vec![0; 25];
        connection.read_exact(&mut interim).await.unwrap();
        assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");

        connection.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, expected);
    }

    assert_eq!(tenant.counters().effective_writes, 2);
}

#[tokio::test]
async fn an_end_and_a_reset_are_told_apart() {
    let tenant = tenant(0).await;
    let body = "x".repeat(100_000);
    let call = request("POST", "/v1/some/thing", "", &body);

    for (after, reset) in [(0, false), (300, false), (0, true), (300, true), (200_000, true)] {
        let kind = FaultKind::CutRequest { after, executed: false, reset };
        tenant.fault(Fault::once("/v1/some", kind));
        let mut caller = TcpStream::connect(tenant.address()).await.unwrap();
        caller.write_all(call.as_bytes()).await.unwrap_or_default();
        let end = caller.read(&mut [0; 100]).await.map_err(|error| error.kind());
        let expected = if reset { Err(std::io::ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(end, expected, "after {after} bytes");
    }

    let mut kind = FaultKind::CutAnswer { after: 40, reset: true };
    for _ in 0..2 {
        tenant.fault(Fault::once("/v1/some", kind));
        let answer = exchange(tenant.address(), &call).await;
        assert_eq!(answer.len(), 40);
        kind = FaultKind::CutAnswer { after: 40, reset: false };
    }
}

#[tokio::test]
async fn a_cut_that_comes_too_late_says_so() {
    let tenant = tenant(100).await;
    let token = crate::wire::token(tenant.address()).await;
    let call = request("POST", "/v1/accounts", &bearer(&token), ACCOUNT);
    tenant.fault(cut_answer(10));

    let mut caller = TcpStream::connect(tenant.address()).await.unwrap();
    caller.write_all(call.as_bytes()).await.unwrap();
    crate::wire::until(|| tenant.faults().is_empty()).await;
    drop(caller);

    crate::wire::until(|| tenant.strikes().len() == 1).await;
    assert!(tenant.strikes()[0].came_too_late);
    assert_eq!(tenant.counters().faulted_calls, 1);
}

#[tokio::test]
async fn a_login_is_cut_like_any_call() {
    let tenant = tenant(0).await;
    let form = "client_id=a&client_secret=b&grant_type=client_credentials";
    let login = request("POST", "/oauth/token", "", form);

    for executed in [false, true] {
        let kind = FaultKind::CutRequest { after: 10_000, executed, reset: false };
        tenant.fault(Fault::once("/oauth/token", kind));
        assert!(exchange(tenant.address(), &login).await.is_empty());
    }
    tenant.fault(Fault::once("", FaultKind::CutAnswer { after: 15, reset: false }));
    assert_eq!(exchange(tenant.address(), &login).await, b"HTTP/1.1 200 OK");

    assert_eq!(tenant.counters().token_calls, 3);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_speak_http_1_is_left_alone() {
    let (tenant, _) = set_up().await;
    tenant.fault(Fault::once("", FaultKind::CutRequest { after: 0, executed: false, reset: true }));

    let mut connection = tenant.connect();
    // An empty SETTINGS frame in return for ours.
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    connection.read_exact(&mut frame).await.unwrap();

    assert_eq!(frame[3], 4);
    assert_eq!(tenant.faults().len(), 1);
}

#[tokio::test]
async fn the_controls_take_cuts_and_show_them_when_they_are_used_up() {
    let tenant = tenant(0).await;
    let control = async |method: &str, body: &str| -> Raw {
        let json = "Content-Type: application/json\r\n";
        send(tenant.address(), &request(method, "/emulator/faults", json, body)).await
    };

    let faults = r#"[
        {"path": "", "method": "GET", "kind": {"cut_answer": {"after": 5, "reset": true}}},
        {"path": "/v1/accounts", "kind": {"cut_request": {"after": 30}}}
    ]"#;
    assert_eq!(control("POST", faults).await.status, 200);
    // The controls themselves are never struck.
    let waiting = control("GET", "").await.json();
    assert_eq!(waiting["waiting"].as_array().map(Vec::len), Some(2));
    let cut = request("POST", "/v1/accounts?x=y", "", ACCOUNT);
    assert!(exchange(tenant.address(), &cut).await.is_empty());

    let shown = control("GET", "").await.json();
    assert_eq!(shown["waiting"].as_array().map(Vec::len), Some(1));
    let struck = &shown["struck"][0];
    assert_eq!((&struck["path"], &struck["passed"]), (&"/v1/accounts".into(), &30.into()));
    assert_eq!(struck["kind"]["cut_request"]["after"], 30);
    let unknown = r#"{"kind": {"fail": {"category": 12}}}"#;
    assert_eq!(control("POST", unknown).await.status, 400);
}
