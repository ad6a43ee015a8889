//! Those who take part: a place that stays while gateways come and go, and callers that write.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use testkit::SECRET;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Fates;

/// Says which seed it was, if the test does not end well.
pub(super) struct Seed(pub(super) u64, pub(super) Arc<AtomicBool>);

#[expect(clippy::print_stdout, reason = "shown if the test fails")]
impl Drop for Seed {
    fn drop(&mut self) {
        if !self.1.load(Ordering::Relaxed) {
            println!("to draw the same fates again: ASYNC_SEED={}", self.0);
        }
    }
}

/// An address that stays while what is behind it dies and comes back elsewhere.
pub(super) struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    accepting: AbortHandle,
}

impl Relay {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, seen) = watch::channel(None);
        let accept = async move {
            while let Ok((near, _)) = listener.accept().await {
                let target = *seen.borrow();
                tokio::spawn(pass(near, target));
            }
        };
        Self { address, target, accepting: tokio::spawn(accept).abort_handle() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn lead_to(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut near: TcpStream, target: Option<SocketAddr>) {
    let Some(target) = target else { return };
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

/// What the caller of one write was told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// The connection ended, or nothing came: it cannot know.
    Nothing,
    /// It is accepted, and its outcome will be there.
    Promised,
    /// How it ended.
    Ended(Value),
    /// It may or may not have been done.
    Maybe,
    /// It was not done.
    Refused(u16),
    /// Something else, which should not be.
    Odd(String),
}

/// Writes so many accounts, each once, and tells what became of each.
pub(super) async fn write_all(
    address: SocketAddr,
    writes: usize,
    callers: usize,
    done: &AtomicUsize,
) -> Fates {
    let next = AtomicUsize::new(0);
    let calls = (0..callers).map(|_| call(address, &next, writes, done));
    join_all(calls).await.into_iter().flatten().collect()
}

async fn call(
    address: SocketAddr,
    next: &AtomicUsize,
    writes: usize,
    done: &AtomicUsize,
) -> Vec<(String, Fate)> {
    let (mut fates, mut connection) = (Vec::new(), None);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= writes {
            return fates;
        }
        let track_id = format!("app-w{number:05}");
        // One in twenty waits for the outcome.
        let prefer = if number % 20 == 7 { "respond-async, wait=2" } else { "respond-async" };
        let fate = loop {
            let mut sender = match connection.take() {
                Some(sender) => sender,
                None => connect(address).await,
            };
            let Ok(()) = sender.ready().await else { continue };
            break match timeout(Duration::from_secs(60), ask(&mut sender, &track_id, prefer)).await
            {
                Ok(Some(fate)) => {
                    connection = Some(sender);
                    fate
                }
                Ok(None) => Fate::Nothing,
                Err(_) => Fate::Odd("no answer in a minute".to_owned()),
            };
        };
        // Who was told nothing takes a breath, or it would use all its writes up on one death.
        if !matches!(fate, Fate::Promised | Fate::Ended(_)) {
            sleep(Duration::from_millis(50)).await;
        }
        fates.push((track_id, fate));
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn connect(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    loop {
        if let Ok(stream) = TcpStream::connect(address).await {
            let _ = stream.set_nodelay(true);
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            // What leads nowhere ends at once.
            sleep(Duration::from_millis(2)).await;
            if !sender.is_closed() {
                return sender;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// `None` if no whole answer came.
async fn ask(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    track_id: &str,
    prefer: &str,
) -> Option<Fate> {
    let body = format!("{{\"name\": \"{track_id}\", \"currency\": \"USD\"}}");
    let request = Request::post("/v1/accounts")
        .header("host", "gw")
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json")
        .header("zuora-track-id", track_id)
        .header("prefer", prefer)
        .body(Full::from(body))
        .unwrap();
    let (head, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let place = format!("/_gateway/async-requests/{track_id}");
    let odd = || Fate::Odd(format!("{} {:?} {body:?}", head.status, head.headers));
    Some(match (head.status.as_u16(), field("zuora-gateway-executed")) {
        (202, None) if field("location") == Some(&place) => Fate::Promised,
        (200, None) => serde_json::from_slice(&body).map_or_else(|_| odd(), Fate::Ended),
        (502..=504, Some("maybe")) if field("location") == Some(&place) => Fate::Maybe,
        (status @ (429 | 502..=504), Some("no")) => Fate::Refused(status),
        _ => odd(),
    })
}
