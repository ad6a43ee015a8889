//! The way to Zuora: connections, TLS, and one exchange.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Duration, timeout};

use crate::body::Upload;
use crate::error::chain;

/// How long a connection may lie idle before it is closed: shorter than any peer of ours would wait, so that a request
/// seldom meets a connection that is closing under it.
const IDLE: Duration = Duration::from_secs(15);

/// The longest head of an answer, give or take one read. Also how much of a body is read at a time, which needs no more.
const LONGEST_HEAD: usize = 64 * 1024;

/// A tenant's server: where it is, and the connections to it.
#[derive(Clone)]
pub struct Upstream {
    client: Client<Connector, Upload>,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("scheme", &self.scheme)
            .field("authority", &self.authority)
            .finish()
    }
}

/// An exchange that brought no answer, by what it says about the request.
#[derive(Debug)]
pub(crate) enum SendError {
    /// No connection could be had, so nothing was sent.
    Unreachable(ClientError),
    /// The connection closed before the first byte of the request left us.
    NotSent(ClientError),
    /// It broke midway: Zuora may have acted on it.
    Broke(ClientError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) | Self::NotSent(cause) | Self::Broke(cause) => {
                f.write_str(&chain(cause))
            }
        }
    }
}

impl Upstream {
    /// The server at `base_url` (scheme and authority), reached through `connector`. Nothing is connected yet.
    ///
    /// # Panics
    /// If `base_url` has no authority, or one that is no header value; the configuration has checked both.
    #[must_use]
    pub fn new(base_url: &Uri, connector: Connector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(LONGEST_HEAD)
            // Whether to send again is the road's decision, and it must know of each attempt.
            .retry_canceled_requests(false)
            // We set `Host` once, instead of having it printed for each request.
            .set_host(false)
            .build(connector);
        Self::through(client, base_url)
    }

    /// Another server of the same tenant, at `base_url` (scheme and authority), reached in the same way.
    ///
    /// # Panics
    /// As [`new`](Self::new) does.
    #[must_use]
    pub fn beside(&self, base_url: &Uri) -> Self {
        Self::through(self.client.clone(), base_url)
    }

    fn through(client: Client<Connector, Upload>, base_url: &Uri) -> Self {
        let authority = base_url.authority().expect("the configuration checked it").clone();
        let host = HeaderValue::from_str(authority.as_str()).expect("an authority is printable");
        let scheme = base_url.scheme().cloned().unwrap_or(Scheme::HTTPS);
        Self { client, scheme, authority, host }
    }

    /// The full address of a path and query at this server, byte for byte.
    pub(crate) fn uri(&self, target: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).expect("scheme, authority and path are all there")
    }

    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// One exchange, up to the head of the answer. Dropping it closes the connection; Zuora works on all the same.
    pub(crate) async fn send(
        &self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, SendError> {
        match self.client.request(request).await {
            Ok(mut response) => {
                if let Some(line) = response.extensions_mut().remove::<Arc<Line>>() {
                    line.answered();
                }
                Ok(response)
            }
            Err(error) if error.is_connect() => Err(SendError::Unreachable(error)),
            Err(error) if never_sent(&error) => Err(SendError::NotSent(error)),
            Err(error) => Err(SendError::Broke(error)),
        }
    }
}

/// Whether no byte of the request left us: hyper hands it back unsent when its connection closed first, which it calls
/// cancelled, or its first byte could not be written.
fn never_sent(error: &ClientError) -> bool {
    let mut causes =
        std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.any(|cause| {
        cause.downcast_ref().is_some_and(hyper::Error::is_canceled)
            || cause.downcast_ref().is_some_and(was_unwritten)
    })
}

fn was_unwritten(error: &io::Error) -> bool {
    error.get_ref().and_then(|cause| cause.downcast_ref::<Unwritten>()).is_some()
}

/// Opens byte streams to Zuora: over TCP and TLS in production, or through whatever a test hands in. It is the one seam
/// of this crate; above it everything is real.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn(Uri) -> Opening + Send + Sync>);

/// A stream on its way.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// A connected byte stream.
pub struct Stream {
    stream: Box<dyn ReadWrite>,
    line: Arc<Line>,
}

/// How much was written to a connection, and how much of it had been when it was last answered: what was written since
/// is of the request that is under way.
///
/// A head that says `100 Continue` is no answer, and an early answer ends the connection's use.
#[derive(Debug, Default)]
struct Line {
    written: AtomicU64,
    answered: AtomicU64,
}

/// Nothing of the request was written when the connection failed.
#[derive(Debug, thiserror::Error)]
#[error("nothing was written")]
struct Unwritten(#[source] io::Error);

impl Line {
    fn answered(&self) {
        self.answered.store(self.written.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Counts what was written, and marks the failure to write a first byte.
    fn count(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        outcome.map(|written| match written {
            Ok(bytes) => {
                self.written.fetch_add(bytes as u64, Ordering::Relaxed);
                Ok(bytes)
            }
            Err(error) if self.is_at_rest() => Err(io::Error::new(error.kind(), Unwritten(error))),
            Err(error) => Err(error),
        })
    }

    fn is_at_rest(&self) -> bool {
        self.written.load(Ordering::Relaxed) == self.answered.load(Ordering::Relaxed)
    }
}

trait ReadWrite: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> ReadWrite for T {}

impl Connector {
    /// TCP, and TLS for `https`, verified against the roots of `tls`. A connection must stand within `patience`,
    /// name resolution and handshake included.
    #[must_use]
    pub fn tcp(tls: ClientConfig, patience: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let https: HttpsConnector<HttpConnector> = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self::through(move |uri| {
            let mut https = https.clone();
            Box::pin(async move {
                let opened = timeout(patience, tower_service::Service::call(&mut https, uri)).await;
                let opened = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
                opened.map(Stream::new).map_err(io::Error::other)
            })
        })
    }

    /// Whatever `open` returns.
    pub fn through(open: impl Fn(Uri) -> Opening + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Opening;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Opening {
        (self.0)(uri)
    }
}

impl Stream {
    /// Any stream that hyper can read and write.
    pub fn new(stream: impl Read + Write + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), line: Arc::default() }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(Arc::clone(&self.line))
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, to)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.line.count(Pin::new(&mut *this.stream).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.line.count(Pin::new(&mut *this.stream).poll_write_vectored(cx, parts))
    }
}
