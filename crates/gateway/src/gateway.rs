//! A running gateway: both ports, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use admission::Admission;
use config::Config;
use proxy::{Identity, LONGEST_WORK, Proxy, TlsError};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::wiring::{self, Parts};

/// Why a gateway cannot start, although its configuration is sound.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened at.
    #[error("cannot listen at `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The key that signs the tokens of apps can neither be read nor made.
    #[error("no signing key: set `signing_key`, or let the gateway write in `state_dir`")]
    SigningKey(#[source] credentials::SigningKeyError),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    admin_address: SocketAddr,
    proxy: Arc<Proxy>,
    admin: Arc<admin::Admin>,
    admissions: Vec<(Arc<str>, Arc<Admission>)>,
    stop: CancellationToken,
    stop_admin: CancellationToken,
    serving: JoinHandle<()>,
    serving_admin: JoinHandle<()>,
}

impl Gateway {
    /// Opens both ports and serves. The first token is asked for at once.
    ///
    /// # Errors
    /// If a port cannot be opened, or a certificate or the signing key cannot be used.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let Parts { proxy, admin, tls, admissions, metrics } = wiring::wire(config)?;
        let at = |address| move |cause| StartError::Listen { address, cause };

        let (listen, observe) = (&config.listen, config.admin.address);
        let places = listen.max_connections.get();
        let identity = tls.map(|config| Arc::new(Identity::new(config)));
        let server =
            proxy::Server::bind(listen.address, identity, places, Arc::clone(&proxy)).await;
        let server = server.map_err(at(listen.address))?;
        let admin_server =
            admin::Server::bind(observe, Arc::clone(&admin)).await.map_err(at(observe))?;
        metrics.config_loaded(SystemTime::now());

        let (stop, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        Ok(Self {
            address: server.address().map_err(at(listen.address))?,
            admin_address: admin_server.address().map_err(at(observe))?,
            proxy,
            admin,
            admissions,
            serving: tokio::spawn(server.serve(stop.clone())),
            serving_admin: tokio::spawn(admin_server.serve(stop_admin.clone())),
            stop,
            stop_admin,
        })
    }

    /// Where apps connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Who waits and who goes, by tenant.
    #[must_use]
    pub fn admissions(&self) -> &[(Arc<str>, Arc<Admission>)] {
        &self.admissions
    }

    /// Ends it without losing a call: not ready any more, no new connections, open calls end as they would. After
    /// `patience` those that still wait for their turn are sent away, and those at Zuora get as long as Zuora may take.
    /// Returns whether everything ended by itself; what did not is cut off with the process.
    pub async fn stop(self, patience: Duration) -> bool {
        self.admin.draining();
        self.stop.cancel();
        let mut serving = self.serving;
        let mut ended = timeout(patience, &mut serving).await.is_ok();
        self.proxy.send_away();
        let last = Instant::now() + LONGEST_WORK;
        if !ended {
            tracing::warn!(
                "calls are still open after {}s: those that wait are sent away",
                patience.as_secs()
            );
            ended = timeout_at(last, &mut serving).await.is_ok();
        }
        let drained = timeout_at(last, self.proxy.drained()).await.is_ok();
        if !(ended && drained) {
            tracing::error!("some calls at Zuora were cut off: their outcome is unknown");
        }
        serving.abort();
        self.stop_admin.cancel();
        let _ = self.serving_admin.await;
        ended && drained
    }
}
