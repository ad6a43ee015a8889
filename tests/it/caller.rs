//! Apps that call: connections, requests, and what they get.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use testkit::{House, Raw, SECRET};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request of the app `app`.
pub(crate) fn request(method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
    request_of(SECRET, method, path, body)
}

/// A request of the app with this secret.
pub(crate) fn request_of(
    secret: &str,
    method: Method,
    path: &str,
    body: &str,
) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("http://gw{path}"))
        .header(HOST, "gw")
        .header(AUTHORIZATION, format!("Bearer {secret}"))
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .unwrap()
}

/// `POST /oauth/token` of a client with this id and secret, as official clients send it.
pub(crate) fn token_request(client_id: &str, secret: &str) -> Request<Full<Bytes>> {
    let form =
        format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}");
    let mut asking = request(Method::POST, "/oauth/token", &form);
    asking.headers_mut().remove(AUTHORIZATION);
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    asking.headers_mut().insert(CONTENT_TYPE, form_type);
    asking
}

/// `GET` of an account that every emulated tenant has.
pub(crate) fn get() -> Request<Full<Bytes>> {
    request(Method::GET, "/v1/accounts/A00000001", "")
}

/// An HTTP/1.1 connection.
pub(crate) async fn connect(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// An HTTP/2 connection, which carries many requests at once.
pub(crate) async fn connect_h2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends a request over a connection of its own, and receives the whole answer.
pub(crate) async fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let began = Instant::now();
    let mut sender = connect(address).await;
    let (uri, mut request) = (request.uri().clone(), request);
    // Origin form, as clients write it that know of no proxy.
    *request.uri_mut() = uri.path_and_query().unwrap().as_str().parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body, took: began.elapsed() }
}

/// What an operator is shown at `path` of the admin port.
pub(crate) async fn look(admin: SocketAddr, path: &str) -> testkit::Answer {
    Raw::ask(admin, format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"))
        .await
}

/// `/api/state` of the admin port.
pub(crate) async fn state(admin: SocketAddr) -> Value {
    let answer = look(admin, "/api/state").await;
    serde_json::from_slice(&answer.body).unwrap()
}

/// The pool `name` of the first tenant in a state.
pub(crate) fn pool<'a>(state: &'a Value, name: &str) -> &'a Value {
    let pools = state["tenants"][0]["pools"].as_array().unwrap();
    pools.iter().find(|pool| pool["pool"] == name).unwrap()
}

/// Waits until `holds`, at most ten seconds; then the test fails with what `tell` says.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<(), String>) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match holds().await {
            Ok(()) => return,
            Err(why) if Instant::now() > until => panic!("never {what}: {why}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Waits until nobody waits, nobody holds a permit, and no upstream leg lives, by the operator's own view.
pub(crate) async fn at_rest(house: &House) {
    eventually("at rest", async || {
        let state = state(house.gateway.admin_address()).await;
        is_at_rest(&state).then_some(()).ok_or(format!("{state:#}"))
    })
    .await;
}

fn is_at_rest(state: &Value) -> bool {
    let pools = state["tenants"].as_array().unwrap().iter();
    let mut pools = pools.flat_map(|tenant| tenant["pools"].as_array().unwrap());
    state["legs_in_flight"] == 0
        && pools.all(|pool| {
            let mut apps = pool["apps"].as_array().unwrap().iter();
            pool["in_use"] == 0
                && apps
                    .all(|app| app["queued"] == 0 && app["queued_bytes"] == 0 && app["in_use"] == 0)
        })
}
