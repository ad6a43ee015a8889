//! The port for Zuora's callouts, and how those who wait for outcomes are sent home.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use emulator::{Options, Tenant};
use http::Method;
use http::header::{AUTHORIZATION, HeaderValue};
use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;
use testkit::{Raw, SECRET, Yaml};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::reload::{certificate, handshake, shakes_hands};
use crate::caller::{ask, eventually, request};
use crate::running::Running;

/// Where callouts are taken in, with `zuora` and `of-callouts` as credentials.
const ASYNC: &str = r#"async: {callouts: {public_url: "https://gw.example.com", username: zuora, password: of-callouts}}"#;

/// The two, as HTTP Basic has them.
const BASIC: &str = "Basic enVvcmE6b2YtY2FsbG91dHM=";

/// A program with these keys under `listen`, before a tenant that nobody asks.
async fn start(directory: &TempDir, listen: &[&str]) -> Running {
    let yaml = Yaml {
        listen: listen.iter().map(|key| (*key).to_owned()).collect(),
        tenant: vec![ASYNC.to_owned()],
        ..Yaml::default()
    };
    let text = yaml.text("http://127.0.0.1:9", &directory.path().join("state"));
    Running::start(&text, directory).await
}

/// What whoever listens there, and proves to be the one of this certificate, answers to these bytes.
async fn over_tls(address: SocketAddr, expected: &CertifiedKey<KeyPair>, sent: &str) -> String {
    let mut stream = handshake(address, expected).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Whoever closes without a goodbye has said everything.
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn callout(authorization: &str) -> String {
    let body = r#"{"request":{"id":"R1","trackId":"nobody-1"},"state":"succeeded","data":{}}"#;
    format!(
        "POST /_gateway/callouts/production HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn callouts_have_a_port_of_their_own_with_a_certificate_that_is_renewed() {
    let directory = TempDir::new().unwrap();
    let (first, second) = (certificate(), certificate());
    let write = |made: &CertifiedKey<KeyPair>| {
        fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    write(&first);
    let port = r#"callouts: {address: "127.0.0.1:0", tls: {certificate: cert.pem, key: key.pem}}"#;
    let running = start(&directory, &[port]).await;
    let callouts = running.callouts.unwrap();

    let challenge = over_tls(callouts, &first, &callout("")).await;
    assert!(challenge.starts_with("HTTP/1.1 401 "), "{challenge}");
    let realm = "www-authenticate: Basic realm=\"zuora-gateway callouts\"\r\n";
    assert!(challenge.contains(realm), "{challenge}");
    let thanks = over_tls(callouts, &first, &callout(&format!("Authorization: {BASIC}\r\n"))).await;
    assert!(thanks.starts_with("HTTP/1.1 200 ") && thanks.ends_with(r#"{"success":true}"#));
    let call = format!(
        "GET /v1/accounts/A1 HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
    );
    let nothing = over_tls(callouts, &first, &call).await;
    assert!(nothing.starts_with("HTTP/1.1 404 "), "{nothing}");
    let mut elsewhere = request(Method::POST, "/_gateway/callouts/production", "{}");
    elsewhere.headers_mut().insert(AUTHORIZATION, BASIC.parse().unwrap());
    assert_eq!(ask(running.address, elsewhere).await.status, 404);

    write(&second);
    eventually("renewed", async || {
        let is_renewed = shakes_hands(callouts, &second).await;
        is_renewed.then_some(()).ok_or("the old one".to_owned())
    })
    .await;

    let ended = running.stop().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let log = ended.lines.join("\n");
    assert!(!log.contains("of-callouts") && !log.contains("enVvcmE6b2Y"), "{log}");
    assert!(log.contains(r#""result":"unknown""#), "{log}");
}

/// What each of many connections takes, in bytes: one that had an answer and lies idle, or one on which an outcome is
/// waited for.
async fn memory_of_each(is_waiting: bool) -> u64 {
    const CONNECTIONS: u64 = 1000;
    let directory = TempDir::new().unwrap();
    // It has no definitions of notifications, so no outcome comes.
    let tenant = Tenant::start(Options::default()).await.unwrap();
    let yaml = Yaml { tenant: vec![ASYNC.to_owned()], ..Yaml::default() };
    let running = Running::before(&tenant, &yaml, &directory).await;
    let mut write = request(Method::POST, "/v1/accounts", r#"{"name": "Later"}"#);
    write.headers_mut().insert("prefer", HeaderValue::from_static("respond-async"));
    let accepted = ask(running.address, write).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let path = match is_waiting {
        true => format!("{}?wait=600", accepted.header("location").unwrap()),
        false => accepted.header("location").unwrap().to_owned(),
    };
    let at_rest = running.memory();

    let asking =
        format!("GET {path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\n\r\n");
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Raw::connect_as_stranger(running.address).await;
        connection.write(&asking).await;
        if !is_waiting {
            assert_eq!(connection.next().await.status, 202);
        }
        connections.push(connection);
    }
    if is_waiting {
        let last = connections.last_mut().unwrap();
        assert!(timeout(Duration::from_millis(300), last.next()).await.is_err(), "it is told");
    }
    // Until nothing more is taken.
    let mut now = running.memory();
    loop {
        sleep(Duration::from_millis(300)).await;
        let then = std::mem::replace(&mut now, running.memory());
        if then == now {
            return now.saturating_sub(at_rest) / CONNECTIONS;
        }
    }
}

#[tokio::test]
async fn waiting_for_an_outcome_costs_at_most_4_kb_over_an_idle_connection() {
    let (idle, waiting) = tokio::join!(memory_of_each(false), memory_of_each(true));

    assert!(waiting <= idle + 4096, "{waiting} bytes, and {idle} when idle");
    assert!(idle > 4096, "{idle} bytes are too few to be those of a connection");
}

#[tokio::test]
async fn a_stop_waits_for_no_stream_of_outcomes() {
    let directory = TempDir::new().unwrap();
    let running = start(&directory, &[]).await;
    assert_eq!(running.callouts, None);
    let mut stream = Raw::connect_as_stranger(running.address).await;
    let asking = format!(
        "GET /_gateway/async-requests HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write(asking).await;
    stream.some().await;

    let began = Instant::now();
    let ended = running.stop().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    // A call that waits would be given half a minute.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let rest = String::from_utf8(stream.rest().await).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "it ends as it should: {rest:?}");
}
