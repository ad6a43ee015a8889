//! A client of few lines: one connection per call, nothing interpreted.

use std::{net::SocketAddr, time::Duration};

use emulator::{Options, ServiceTime, Tenant};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

/// An answer, its body still in chunks if it came in chunks.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A tenant that works this long on every call.
pub(crate) async fn tenant(milliseconds: u64) -> Tenant {
    start(Options {
        service_time: ServiceTime::Constant(Duration::from_millis(milliseconds)),
        ..Options::default()
    })
    .await
}

pub(crate) async fn start(options: Options) -> Tenant {
    Tenant::start(options).await.unwrap()
}

pub(crate) async fn token(address: SocketAddr) -> String {
    let form = "client_id=a&client_secret=b&grant_type=client_credentials";
    let answer = send(address, &request("POST", "/oauth/token", "", form)).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// A request as it goes on the wire; `headers` are whole lines.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: tenant\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\nZuora-Track-Id: test-1\r\n")
}

/// Sends a request on a connection of its own and reads to the end of it.
pub(crate) async fn send(address: SocketAddr, request: &str) -> Raw {
    let bytes = exchange(address, request).await;
    let Some(split) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        panic!("no answer to {request}: {bytes:?}");
    };
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Raw { status, head, body: bytes[split + 4..].to_vec() }
}

/// The same, with whatever came, though it be nothing.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset after the last byte is an end like any other here.
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        bytes.extend_from_slice(&piece[..read]);
    }
    bytes
}

/// Gets a path with a fresh token.
pub(crate) async fn get(tenant: &Tenant, path: &str) -> Raw {
    let token = token(tenant.address()).await;
    send(tenant.address(), &request("GET", path, &bearer(&token), "")).await
}

/// Sends JSON with a fresh token, asking for statuses of the newest version.
pub(crate) async fn write(tenant: &Tenant, method: &str, path: &str, body: &str) -> Raw {
    let token = token(tenant.address()).await;
    let headers = format!(
        "{}Content-Type: application/json\r\nZuora-Version: 2025-08-12\r\n",
        bearer(&token)
    );
    send(tenant.address(), &request(method, path, &headers, body)).await
}

/// Waits until something is so, for ten seconds at most.
#[track_caller]
pub(crate) fn until(what: impl Fn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let patience = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < patience, "it never came about: {place}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}
