//! How much memory it takes does not depend on how long bodies are.

use std::time::Duration;

use bytes::Bytes;
use emulator::{Options, ServiceTime, Tenant};
use futures_util::stream;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use testkit::{SECRET, Yaml};
use tokio::net::TcpStream;

use crate::running::Running;

const MEGABYTE: u64 = 1024 * 1024;

/// A body of `bytes` zeros, made while it is sent.
fn zeros(bytes: u64) -> BoxBody<Bytes, std::io::Error> {
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    let chunks = (0..bytes / chunk.len() as u64).map(move |_| Ok(Frame::data(chunk.clone())));
    BodyExt::boxed(StreamBody::new(stream::iter(chunks)))
}

/// Sends a request, and returns the status and length of its answer, none of which is kept.
async fn send(gateway: &Running, method: Method, path: &str, upload: u64) -> (u16, u64) {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body =
        if upload > 0 { zeros(upload) } else { Empty::new().map_err(|e| match e {}).boxed() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "gw")
        .header(AUTHORIZATION, format!("Bearer {SECRET}"))
        .body(body)
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (status, mut body, mut length) = (response.status().as_u16(), response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().data_ref().map_or(0, |data| data.len() as u64);
    }
    (status, length)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn memory_does_not_depend_on_the_length_of_bodies() {
    let service_time = ServiceTime::Constant(Duration::ZERO);
    let tenant = Tenant::start(Options { service_time, ..Options::default() }).await.unwrap();
    let directory = TempDir::new().unwrap();
    let gateway = Running::before(&tenant, &Yaml::default(), &directory).await;

    let mut most = Vec::new();
    for megabytes in [10, 200] {
        let bytes = megabytes * MEGABYTE;
        let down = send(&gateway, Method::GET, &format!("/v1/files/size-{bytes}"), 0).await;
        assert_eq!(down, (200, bytes));
        let (status, _) = send(&gateway, Method::POST, "/v1/usage", bytes).await;
        assert_eq!(status, 200);
        assert_eq!(tenant.ledger().executed.last().unwrap().body_bytes, bytes);
        most.push(gateway.most_memory());
    }

    let [short, long] = most[..] else { panic!("two rounds") };
    assert!(long - short < 16 * MEGABYTE, "{short} bytes for 10 MB, {long} for 200 MB");
    assert!(gateway.stop().await.status.success());
}

#[tokio::test]
async fn a_caller_that_stops_reading_stops_the_download() {
    let service_time = ServiceTime::Constant(Duration::ZERO);
    let tenant = Tenant::start(Options { service_time, ..Options::default() }).await.unwrap();
    let directory = TempDir::new().unwrap();
    let gateway = Running::before(&tenant, &Yaml::default(), &directory).await;
    assert_eq!(send(&gateway, Method::GET, "/v1/accounts/A00000001", 0).await.0, 200);
    let before = gateway.most_memory();

    let bytes = 100 * MEGABYTE;
    let mut idle = testkit::Raw::connect(gateway.address).await;
    idle.write(format!(
        "GET /v1/files/size-{bytes} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {SECRET}\r\n\r\n"
    ))
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let grown = gateway.most_memory() - before;
    assert!(grown < 16 * MEGABYTE, "{grown} bytes for a caller that reads nothing");
}
