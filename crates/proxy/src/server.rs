//! Where callers arrive: sockets, TLS, HTTP/1.1 and HTTP/2, and how it ends.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificate;
use crate::peer::{Peer, Port};
use crate::proxy::Proxy;
use crate::request::LONGEST_HEAD;
use crate::tls::Identity;

/// How long a new connection may take to its first request, TLS included. hyper-util's server waits for ever for the
/// bytes by which it tells HTTP/1.1 from HTTP/2.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// How long a connection may lie idle, or take over a head that is not its first: longer than clients keep theirs, so
/// that it is seldom we who close under a request.
const NEXT_REQUEST: Duration = Duration::from_secs(75);

/// The longest head that hyper reads. It is longer than one may be, as hyper itself answers what it does not read, and
/// such an answer says nothing.
const LONGEST_READ: usize = LONGEST_HEAD + 32 * 1024;

/// How many requests one HTTP/2 connection may have open.
const STREAMS: u32 = 256;

/// Pause after the system would not give us a connection, as when file descriptors run out: trying at once would keep a
/// core busy and change nothing.
const BREATH: Duration = Duration::from_millis(100);

/// How many connections may wait to be accepted; the system may have a lower bound of its own.
const BACKLOG: u32 = 4096;

/// A port at which apps call, or Zuora does.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    proxy: Arc<Proxy>,
    port: Port,
    identity: Option<Arc<Identity>>,
    places: Arc<Semaphore>,
    http: auto::Builder<TokioExecutor>,
    connections: TaskTracker,
}

impl Server {
    /// Listens at `address` for callers of `proxy`, who find there what `port` says: at most `max_connections` at a time,
    /// the others wait in the backlog. With an `identity` it speaks TLS.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        identity: Option<Arc<Identity>>,
        max_connections: usize,
        port: Port,
        proxy: Arc<Proxy>,
    ) -> io::Result<Self> {
        let listener = listen(address)?;
        let shared = Shared {
            proxy,
            port,
            identity,
            places: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            http: http(),
            connections: TaskTracker::new(),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens, with the port that the system chose if it was asked to.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled. Then no connection is accepted any more, open ones end with the request that
    /// they carry, and it returns once all have ended; dropping it cuts them off.
    pub async fn serve(self, stop: CancellationToken) {
        let Self { listener, shared } = self;
        while let Some((stream, place)) = next(&listener, &shared.places, &stop).await {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            let connections = shared.connections.clone();
            connections.spawn(async move { shared.attend(stream, place, stop).await });
        }
        drop(listener);
        shared.connections.close();
        shared.connections.wait().await;
    }
}

/// Listens with a backlog for many programs that start at the same moment. Where it is too short, connections that do
/// not fit are tried again by their callers' systems, a second later.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As `TcpListener::bind` does: what an earlier process left behind must not be in the way.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next connection, once there is a place for it; `None` when serving should stop.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepting = async {
        let place = Arc::clone(places).acquire_owned().await.expect("places are never closed");
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(cause) => {
                    tracing::warn!(%cause, "cannot accept a connection");
                    sleep(BREATH).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepting => Some(accepted),
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        .max_buf_size(LONGEST_READ)
        .half_close(false);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(LONGEST_READ).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}

impl Shared {
    async fn attend(
        &self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
        let _counted = self.proxy.metrics.connection();
        let address = stream.peer_addr().ok().map(|address| address.ip());
        let (is_tls, port) = (self.identity.is_some(), self.port);
        let peer = Peer { address, is_tls, certificate: None, port };
        // Answers are small and whole: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        match &self.identity {
            None => self.speak(TokioIo::new(stream), peer, stop).await,
            // Boxed, so that connections without TLS do not carry the room for it.
            Some(identity) => Box::pin(self.shake_hands(identity, stream, peer, stop)).await,
        }
        drop(place);
    }

    async fn shake_hands(
        &self,
        identity: &Identity,
        stream: TcpStream,
        peer: Peer,
        stop: CancellationToken,
    ) {
        let tls = TlsAcceptor::from(identity.get());
        let whose = peer.address.map(tracing::field::display);
        match timeout(FIRST_REQUEST, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates();
                // Read once, as every request of the connection asks for it.
                let names = shown.and_then(<[_]>::first).map(|leaf| certificate::names(leaf));
                let peer = Peer { certificate: names.map(Arc::new), ..peer };
                self.speak(TokioIo::new(stream), peer, stop).await;
            }
            Ok(Err(cause)) => tracing::debug!(peer = whose, %cause, "a TLS handshake failed"),
            Err(_) => tracing::debug!(peer = whose, "a TLS handshake took too long"),
        }
    }

    /// Serves one connection to its end.
    async fn speak<S>(&self, stream: S, peer: Peer, stop: CancellationToken)
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let spoke = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let (proxy, spoke) = (Arc::clone(&self.proxy), Arc::clone(&spoke));
            move |request: Request<Incoming>| {
                spoke.store(true, Ordering::Relaxed);
                let proxy = Arc::clone(&proxy);
                // Boxed, so that a connection carries the room for a call only while there is one.
                Box::pin(proxy.handle(request, &peer).map(Ok::<_, Infallible>))
            }
        });
        let mut connection = pin!(self.http.serve_connection(stream, service));

        // A connection that has said nothing within its time ends; one that has lives until it ends, or we must.
        let silence = async {
            sleep(FIRST_REQUEST).await;
            if spoke.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            ended = connection.as_mut() => return note(ended),
            () = stop.cancelled() => {}
            () = silence => return,
        }
        connection.as_mut().graceful_shutdown();
        note(connection.await);
    }
}

fn note(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(cause) = ended {
        tracing::debug!(%cause, "a connection ended badly");
    }
}
