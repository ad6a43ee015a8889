//! A running gateway: both ports, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use admission::{Admission, Start};
use async_requests::Registry;
use config::Config;
use proxy::{LONGEST_WORK, Port};
use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::alive::{self, Alive};
use crate::reconcile;
use crate::reload::{Follower, Source};
use crate::works::{Unusable, Works};

/// How many connections may be open where only callouts come in: more than Zuora opens, and few enough that they are no
/// burden.
const CALLOUT_CONNECTIONS: usize = 512;

/// How long the registry of async requests may take to write what it was told last: as long as a slow disk may.
const LONGEST_CLOSE: Duration = Duration::from_secs(10);

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
    /// Certificates or keys cannot be used.
    #[error("{}", .0.iter().map(Unusable::with_causes).collect::<Vec<_>>().join("; "))]
    Unusable(Vec<Unusable>),
    /// The key that signs the tokens of apps can neither be read nor made.
    #[error("no signing key: set `signing_key`, or let the gateway write in `state_dir`")]
    SigningKey(#[source] credentials::SigningKeyError),
    /// What is remembered of async requests can neither be read nor made.
    #[error("no registry of async requests, which `async.callouts` of a tenant needs")]
    Registry(#[source] async_requests::OpenError),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    admin_address: SocketAddr,
    callouts_address: Option<SocketAddr>,
    works: Arc<Works>,
    alive: Option<Alive>,
    stop: CancellationToken,
    stop_admin: CancellationToken,
    serving: JoinHandle<()>,
    serving_admin: JoinHandle<()>,
    following: Option<JoinHandle<()>>,
    /// Looks after asynchronous requests.
    reconciling: JoinHandle<()>,
}

impl Gateway {
    /// Opens both ports and serves. The first token is asked for at once.
    ///
    /// # Errors
    /// If a port cannot be opened, or a certificate, the signing key or the registry of async requests cannot be used.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let (alive, start) = alive::begin(&config.state_dir);
        match Self::serve(config, start).await {
            Ok(gateway) => Ok(Self { alive, ..gateway }),
            Err(error) => {
                // Nothing was sent: the next start need not be cautious.
                if let Some(alive) = alive {
                    alive.end().await;
                }
                Err(error)
            }
        }
    }

    async fn serve(config: &Config, start: Start) -> Result<Self, StartError> {
        let works = Arc::new(Works::begin(config, start).await?);
        let at = |address| move |cause| StartError::Listen { address, cause };

        let (listen, observe) = (&config.listen, config.admin.address);
        let (places, proxy) = (listen.max_connections.get(), Arc::clone(&works.proxy));
        let port = if listen.callouts.is_some() { Port::Apps } else { Port::Both };
        let server =
            proxy::Server::bind(listen.address, works.identity.clone(), places, port, proxy).await;
        let server = server.map_err(at(listen.address))?;
        let callout_server = match &listen.callouts {
            None => None,
            Some(listen) => {
                let (identity, proxy) = (works.callout_identity.clone(), Arc::clone(&works.proxy));
                let (places, port) = (CALLOUT_CONNECTIONS, Port::Callouts);
                let address = listen.address;
                let server = proxy::Server::bind(address, identity, places, port, proxy).await;
                let server = server.map_err(at(address))?;
                Some((server.address().map_err(at(address))?, server))
            }
        };
        let (callouts_address, callout_server) = callout_server.unzip();
        let admin_server = admin::Server::bind(observe, Arc::clone(&works.admin)).await;
        let admin_server = admin_server.map_err(at(observe))?;
        works.metrics.config_loaded(SystemTime::now());
        works.metrics.config_in_sync(true);

        let (stop, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let reconciling =
            reconcile::start(Arc::clone(&works), Arc::clone(&works.remembering.registry));
        Ok(Self {
            address: server.address().map_err(at(listen.address))?,
            admin_address: admin_server.address().map_err(at(observe))?,
            callouts_address,
            works,
            alive: None,
            serving: tokio::spawn(serve_both(server, callout_server, stop.clone())),
            serving_admin: tokio::spawn(admin_server.serve(stop_admin.clone())),
            following: None,
            reconciling,
            stop,
            stop_admin,
        })
    }

    /// Follows the file that the configuration was read from: when it changes, on `hangup`, and when an operator asks.
    pub fn follow(&mut self, source: Source, hangup: Signal) {
        let follower = Follower::new(Arc::clone(&self.works), source, hangup);
        self.following = Some(tokio::spawn(follower.run()));
    }

    /// Serves by another configuration from now on, and returns the keys that take effect at the next start only.
    ///
    /// # Errors
    /// Everything in it that cannot be used. Then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<Vec<&'static str>, Vec<Unusable>> {
        self.works.follow(config)
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

    /// Where Zuora connects, if not where apps do.
    #[must_use]
    pub fn callouts_address(&self) -> Option<SocketAddr> {
        self.callouts_address
    }

    /// Who waits and who goes, by tenant.
    #[must_use]
    pub fn admissions(&self) -> Vec<(Arc<str>, Arc<Admission>)> {
        self.works.admissions()
    }

    /// Ends it without losing a call: not ready any more, no new connections, open calls end as they would. After
    /// `patience` those that still wait for their turn are sent away, and those at Zuora get as long as Zuora may take.
    /// Returns whether everything ended by itself; what did not is cut off with the process.
    pub async fn stop(self, patience: Duration) -> bool {
        self.works.admin.draining();
        self.works.proxy.end_waits();
        // The next life looks after them from where this one leaves off.
        self.reconciling.abort();
        self.stop.cancel();
        let mut serving = self.serving;
        let mut ended = timeout(patience, &mut serving).await.is_ok();
        self.works.proxy.send_away();
        let last = Instant::now() + LONGEST_WORK;
        if !ended {
            tracing::warn!(
                "calls are still open after {}s: those that wait are sent away",
                patience.as_secs()
            );
            ended = timeout_at(last, &mut serving).await.is_ok();
        }
        let drained = timeout_at(last, self.works.proxy.drained()).await.is_ok();
        if !(ended && drained) {
            tracing::error!("some calls at Zuora were cut off: their outcome is unknown");
        }
        serving.abort();
        // Another configuration would employ couriers anew.
        if let Some(following) = self.following {
            following.abort();
        }
        self.works.couriers.stop().await;
        close(&self.works.remembering.registry).await;
        // Whatever was cut off may still be at Zuora: then the next life must know.
        if let Some(alive) = self.alive.filter(|_| ended && drained) {
            alive.end().await;
        }
        self.stop_admin.cancel();
        let _ = self.serving_admin.await;
        ended && drained
    }
}

/// Closes the registry, behind all who write in it.
async fn close(registry: &Registry) {
    match timeout(LONGEST_CLOSE, registry.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the registry of async requests did not close well");
        }
        Err(_) => tracing::warn!("the registry of async requests did not close in time"),
    }
}

/// Serves at one port or at both until `stop` is cancelled and everything at them has ended.
async fn serve_both(
    server: proxy::Server,
    callout_server: Option<proxy::Server>,
    stop: CancellationToken,
) {
    match callout_server {
        None => server.serve(stop).await,
        Some(other) => drop(tokio::join!(server.serve(stop.clone()), other.serve(stop))),
    }
}
