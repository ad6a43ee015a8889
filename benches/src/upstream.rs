//! Upstreams that a proxy is measured against: nginx for speed, and one of our own where
//! the upstream must wait, count, or send bodies of any size.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::process::{self, Running};

/// The token of these upstreams, which look at none.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How long either side of a large body waits before it reads, so that whoever is in the
/// middle would show if it took in more than it can pass on.
pub const PAUSE: Duration = Duration::from_millis(500);

/// An answer of exactly 1 KiB, in the shape of Zuora's.
#[must_use]
pub fn small_answer() -> String {
    let shell = r#"{"success":true,"id":"8ad08c84","notes":""}"#;
    shell.replace(r#""notes":"""#, &format!(r#""notes":"{}""#, "n".repeat(1024 - shell.len())))
}

/// The answer of `POST /oauth/token`.
fn grant() -> String {
    format!(
        r#"{{"access_token":"{TOKEN}","token_type":"bearer","expires_in":3598,"scope":"tenant.bench","jti":"bench"}}"#
    )
}

/// Starts nginx with one worker as upstream: 1 KiB of JSON on every path, a token on
/// `/oauth/token`, and on `/v1/echo` what of the request matters here.
///
/// # Errors
/// When nginx is missing or does not start.
pub fn nginx(dir: &Path, cores: Option<&str>) -> Result<(Running, SocketAddr)> {
    let address = process::free_address()?;
    let (small, grant) = (small_answer(), grant());
    let config = format!(
        r#"
daemon off; master_process off; worker_processes 1; pid upstream.pid; error_log stderr error;
events {{ worker_connections 20000; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path upstream-body; proxy_temp_path upstream-proxy;
    fastcgi_temp_path upstream-1; uwsgi_temp_path upstream-2; scgi_temp_path upstream-3;
    default_type application/json;
    server {{
        listen {address} backlog=8192;
        location / {{ return 200 '{small}'; }}
        location = /oauth/token {{ return 200 '{grant}'; }}
        location = /v1/echo {{
            return 200 '{{"success":true,"authorization":"$http_authorization","track_id":"$http_zuora_track_id","reused":"$connection_requests"}}';
        }}
    }}
}}
"#
    );
    let file = dir.join("upstream.conf");
    fs::write(&file, config)?;
    let nginx = process::find("nginx").context("nginx is missing: run `make bench-tools`")?;
    let command = [
        nginx.display().to_string(),
        "-e".into(),
        "stderr".into(),
        "-p".into(),
        dir.display().to_string(),
        "-c".into(),
        file.display().to_string(),
    ];
    let mut running = Running::start("upstream", cores, &command, dir)?;
    running.wait_for_port(address)?;
    Ok((running, address))
}

/// An upstream inside this program. Dropping it closes its port and all its connections.
///
/// | request | answer |
/// |---|---|
/// | `POST /oauth/token` | a token |
/// | `GET /v1/held` | 1 KiB of JSON, not before [`Upstream::release`] |
/// | `GET /v1/bytes/N` | N bytes |
/// | any other | 1 KiB of JSON, after the whole body; a large body is not read for [`PAUSE`] |
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    released: watch::Sender<bool>,
    held: AtomicUsize,
    most_held: AtomicUsize,
}

impl Upstream {
    /// Listens on loopback.
    ///
    /// # Errors
    /// When no port is left.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            released: watch::Sender::new(false),
            held: AtomicUsize::new(0),
            most_held: AtomicUsize::new(0),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, acceptor })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests are being held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::Relaxed)
    }

    /// The most that were ever held at once.
    #[must_use]
    pub fn most_held(&self) -> usize {
        self.state.most_held.load(Ordering::Relaxed)
    }

    /// Answers what is held, and from now on without holding.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Owned by this task, so that the connections end with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    // Without this, the last packet of an answer may wait for the other side's delayed ack.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&state)));
    // An error here is a proxy hanging up, which shows at the client where it matters.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Answer, hyper::Error> {
    let path = request.uri().path().to_owned();
    if request.body().size_hint().upper().is_none_or(|size| size > 1 << 20) {
        tokio::time::sleep(PAUSE).await;
    }
    drain(request.into_body()).await?;

    if path == "/oauth/token" {
        return Ok(json(grant()));
    }
    if path == "/v1/held" {
        hold(&state).await;
    }
    match path.strip_prefix("/v1/bytes/").map(str::parse) {
        Some(Ok(left)) => Ok(Response::new(Zeros { left }.boxed())),
        Some(Err(_)) => {
            let mut answer = json(String::new());
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            Ok(answer)
        }
        None => Ok(json(small_answer())),
    }
}

async fn hold(state: &State) {
    let held = state.held.fetch_add(1, Ordering::Relaxed) + 1;
    state.most_held.fetch_max(held, Ordering::Relaxed);
    // Fails only when the upstream is dropped, and then nobody waits for an answer.
    let _ = state.released.subscribe().wait_for(|released| *released).await;
    state.held.fetch_sub(1, Ordering::Relaxed);
}

fn json(text: String) -> Answer {
    let answer = Response::new(Full::from(text).boxed());
    let (mut head, body) = answer.into_parts();
    head.headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    Response::from_parts(head, body)
}

/// Reads a body to its end, keeping none of it. Returns its length.
///
/// # Errors
/// When the body is cut off.
pub async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Result<u64, B::Error> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(length)
}

/// A body of so many zeros, none of which take memory.
#[derive(Debug)]
pub struct Zeros {
    /// How many are still to come.
    pub left: u64,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];
        let length = self.left.min(CHUNK.len() as u64);
        self.left -= length;
        // At most the length of a chunk, so it fits.
        let chunk = Bytes::from_static(&CHUNK[..length as usize]);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Connection;

    #[test]
    fn a_small_answer_is_one_kibibyte() {
        assert_eq!(small_answer().len(), 1024);
    }

    #[tokio::test]
    async fn bodies_have_the_length_that_was_asked_for() {
        let upstream = Upstream::start().await.unwrap();
        let mut connection = Connection::open(upstream.address(), "none").await.unwrap();

        let answer = connection.get("/v1/bytes/10000000").await.unwrap();

        assert_eq!(drain(answer.into_body()).await.unwrap(), 10_000_000);
    }

    #[tokio::test]
    async fn a_held_request_is_answered_after_its_release() {
        let upstream = Upstream::start().await.unwrap();
        let mut connection = Connection::open(upstream.address(), "none").await.unwrap();
        let waiting = tokio::spawn(async move { connection.get("/v1/held").await });
        while upstream.held() == 0 {
            tokio::task::yield_now().await;
        }

        upstream.release();

        assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!((upstream.held(), upstream.most_held()), (0, 1));
    }
}
