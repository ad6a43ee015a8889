//! The admin port.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::routes::answer;
use crate::state::Admin;

/// Operators and scrapers are few; more than this is a mistake somewhere.
const CONNECTIONS: usize = 64;

/// How long a connection may lie idle or take over a head.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening admin port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    admin: Arc<Admin>,
}

impl Server {
    /// Listens at `address`.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(address: SocketAddr, admin: Arc<Admin>) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, admin })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled. Answers are made at once, or are not worth waiting for.
    pub async fn serve(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("places are never closed");
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (admin, stop) = (Arc::clone(&self.admin), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = attend(stream, admin) => {}
                }
                drop(place);
            });
        }
    }
}

async fn attend(stream: TcpStream, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(answer(&admin, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(cause) = served.await {
        tracing::debug!(%cause, "an operator's connection ended badly");
    }
}
