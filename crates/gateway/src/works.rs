//! What serves, and how it follows the configuration.
//!
//! A start and a change of the configuration go the same way, [`Works::follow`]: everything that can fail is done
//! first, and if anything does, nothing has changed. Then what the new configuration names is brought in line, by name.
//! Whoever is under way keeps what it began with, and ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use admission::{Admission, Lanes, Settings, Start};
use config::{Config, Credentials};
use credentials::{Apps, Logins, SecretDigest, SigningKey};
use http::Uri;
use proxy::{
    Connector, Couriers, Destination, Identity, Proxy, Table, Tenant, TlsError, Upstream, Ways,
};
use rustls::ServerConfig;
use telemetry::Metrics;
use tokio::time::Duration;
use zuora::links::OwnHosts;

use crate::gateway::StartError;
use crate::remembering::Remembering;
use crate::tokens::TokensOf;
use crate::{reconcile, restart, tokens, wiring};

/// How long connecting may take to an app that has its outcomes forwarded.
const TO_APPS: Duration = Duration::from_secs(5);

/// Everything that serves.
#[derive(Debug)]
pub(crate) struct Works {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) admin: Arc<admin::Admin>,
    pub(crate) metrics: Arc<Metrics>,
    /// Set if the data port speaks TLS.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Set if callouts have a port of their own that speaks TLS.
    pub(crate) callout_identity: Option<Arc<Identity>>,
    signing_key: SigningKey,
    /// Remembers async requests, of all tenants and configurations.
    pub(crate) remembering: Remembering,
    /// Carry outcomes to apps.
    pub(crate) couriers: Couriers,
    started: Config,
    /// Keeps all logins at Zuora apart.
    logins: Arc<Logins>,
    /// How every tenant is reached, if not over TCP.
    wire: Option<Connector>,
    /// By name. Held while a configuration is taken in, so that one is at a time.
    tenants: Mutex<Tenants>,
}

#[derive(Debug, Default)]
struct Tenants {
    configured: HashMap<Arc<str>, Wired>,
    /// Of all configurations so far: a tenant that comes back finds its permits and windows as they are.
    admissions: HashMap<Arc<str>, Arc<Admission>>,
    /// Of all configurations so far that had any, too: who is in a lane is in it whatever is configured meanwhile.
    lanes: HashMap<Arc<str>, Arc<Lanes>>,
}

/// A tenant as it is wired: what another configuration may keep of it.
#[derive(Debug)]
struct Wired {
    tenant: Arc<Tenant>,
    way: Way,
    credentials: Credentials,
    soap_url: Option<config::BaseUrl>,
    settings: Settings,
    reconciling: reconcile::Settings,
}

/// How a tenant is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    base_url: config::BaseUrl,
    /// The content of the file of roots; `None`: those of the system.
    roots: Option<Vec<u8>>,
    patience: Duration,
}

/// What was read of certificates and keys, and made of them.
#[derive(Debug)]
struct Materials {
    identity: Option<ServerConfig>,
    callout_identity: Option<ServerConfig>,
    /// In the order of the configuration's tenants.
    ways: Vec<(Way, Upstream)>,
    /// Where the outcomes of apps are forwarded to, by name.
    destinations: HashMap<Arc<str>, Destination>,
}

/// What could be read, and cannot be used: a certificate or a key.
#[derive(Debug, thiserror::Error)]
#[error("{key}")]
pub struct Unusable {
    /// The key of the configuration that names it.
    key: String,
    #[source]
    cause: TlsError,
}

impl Unusable {
    /// What is wrong, and why, in one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

impl Works {
    /// Makes everything, on what the registry in the state directory remembers. Asks for the first tokens; opens no port.
    pub(crate) async fn begin(config: &Config, start: Start) -> Result<Self, StartError> {
        let metrics = Metrics::new(&wiring::inventory(config));
        let remembering =
            Remembering::begin(config, &metrics).await.map_err(StartError::Registry)?;
        Self::make(config, start, None, metrics, remembering)
    }

    /// As [`begin`](Self::begin), but nothing is remembered beyond the process, and every tenant is reached over `wire`
    /// if there is one. Must run within a runtime.
    pub(crate) fn start_over(
        config: &Config,
        start: Start,
        wire: Option<Connector>,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::new(&wiring::inventory(config));
        let remembering = Remembering::until_the_end(&metrics);
        Self::make(config, start, wire, metrics, remembering)
    }

    /// As [`start_over`](Self::start_over) any network there is.
    pub(crate) fn start(config: &Config, start: Start) -> Result<Self, StartError> {
        Self::start_over(config, start, None)
    }

    fn make(
        config: &Config,
        start: Start,
        wire: Option<Connector>,
        metrics: Arc<Metrics>,
        remembering: Remembering,
    ) -> Result<Self, StartError> {
        let signing_key = match &config.signing_key {
            Some(secret) => SigningKey::from_secret(secret.expose()),
            None => {
                SigningKey::load_or_create(&config.state_dir).map_err(StartError::SigningKey)?
            }
        };
        let nobody = Apps::new(Vec::new(), signing_key.clone(), None);
        let nobody = Table::new(Vec::new(), nobody, Ways::default());
        let token = config.admin.token.as_ref().map(|token| SecretDigest::of(token.expose()));
        let registry = &remembering.registry;
        let mut works = Self {
            proxy: Proxy::new(nobody, Arc::clone(&metrics)),
            admin: admin::Admin::new(Arc::clone(&metrics), token),
            couriers: Couriers::new(Arc::clone(registry), Arc::clone(&metrics)),
            metrics,
            identity: None,
            callout_identity: None,
            signing_key,
            remembering,
            started: config.clone(),
            logins: Arc::default(),
            wire,
            tenants: Mutex::default(),
        };
        works.admin.show_async_requests(Arc::clone(&works.remembering.registry));
        let mut materials = works.gather(config).map_err(StartError::Unusable)?;
        let shared = |identity: ServerConfig| Arc::new(Identity::new(identity));
        works.identity = materials.identity.take().map(shared);
        works.callout_identity = materials.callout_identity.take().map(shared);
        works.apply(config, materials, start);
        Ok(works)
    }

    /// Serves by another configuration from now on, and returns the keys that take effect at the next start only.
    ///
    /// Reads files, and may wait for the disk.
    ///
    /// # Errors
    /// Everything in it that cannot be used. Then nothing has changed.
    pub(crate) fn follow(&self, config: &Config) -> Result<Vec<&'static str>, Vec<Unusable>> {
        let materials = self.gather(config)?;
        // What nobody knew until now cannot have anything at Zuora.
        self.apply(config, materials, Start::Full);
        let mut keys = restart::keys(&self.started, config);
        if self.remembering.needs_restart(config) && !keys.contains(&"async_requests") {
            keys.push("async_requests");
        }
        Ok(keys)
    }

    /// The admission of each tenant that is configured, by name.
    pub(crate) fn admissions(&self) -> Vec<(Arc<str>, Arc<Admission>)> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let tenants = tenants.configured.values().map(|wired| &wired.tenant);
        tenants.map(|it| (Arc::clone(&it.name), Arc::clone(&it.admission))).collect()
    }

    /// The lanes of each tenant that is configured to have any, by name.
    pub(crate) fn lanes(&self) -> Vec<(Arc<str>, Arc<Lanes>)> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let tenants = tenants.configured.values().map(|wired| &wired.tenant);
        tenants.filter_map(|it| Some((Arc::clone(&it.name), it.lanes.clone()?))).collect()
    }

    /// The tenants that are configured, by name: the outcomes of their asynchronous requests are looked after.
    pub(crate) fn reconciled(&self) -> Vec<Arc<str>> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.configured.keys().cloned().collect()
    }

    /// How the outcomes of a tenant's asynchronous requests are looked after; `None` if it is not configured any more.
    pub(crate) fn reconciling(&self, tenant: &str) -> Option<reconcile::Settings> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.configured.get(tenant).map(|wired| wired.reconciling.clone())
    }

    fn gather(&self, config: &Config) -> Result<Materials, Vec<Unusable>> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        Materials::gather(config, &tenants.configured, self.wire.as_ref())
    }

    /// Brings everything in line with `config`. Cannot fail.
    fn apply(&self, config: &Config, materials: Materials, start: Start) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.know(&wiring::inventory(config));
        let identities = [
            (&self.identity, materials.identity),
            (&self.callout_identity, materials.callout_identity),
        ];
        for (identity, renewed) in identities {
            if let (Some(identity), Some(renewed)) = (identity, renewed) {
                identity.exchange(renewed);
            }
        }

        let mut before = std::mem::take(&mut tenants.configured);
        let mut wired = Vec::with_capacity(config.tenants.len());
        for (index, way) in materials.ways.into_iter().enumerate() {
            let name = &config.tenants[index].name;
            let settings = wiring::admission_settings(config, index);
            let admission = match tenants.admissions.get(name) {
                Some(known) => {
                    known.reconfigure(settings.clone());
                    Arc::clone(known)
                }
                None => Admission::new(settings.clone(), start),
            };
            tenants.admissions.insert(Arc::clone(name), Arc::clone(&admission));
            let known = before.remove(name);
            let lanes = tenants.lanes_of(&config.tenants[index]);
            let turns = (admission, lanes);
            wired.push(self.wire(config, index, way, turns, settings, known.as_ref()));
        }

        let all: Vec<_> = wired.iter().map(|wired| Arc::clone(&wired.tenant)).collect();
        let apps = config.apps.iter().map(|app| wiring::app(config, app, &all, &self.metrics));
        let credentials = config.apps.iter().map(wiring::credential).collect();
        let anonymous = restart::anonymous(&self.started, config);
        let doors = Apps::new(credentials, self.signing_key.clone(), anonymous);
        let table = Table::new(apps.collect(), doors, wiring::ways(config));
        let own = all.iter().zip(&config.tenants);
        let own = own.map(|(tenant, written)| wiring::own_app(written, tenant, &self.metrics));
        let table = table.with_own_apps(own.collect());
        self.proxy.exchange(table.with_single_use(config.single_use));
        let shown = wired.iter().zip(0..).map(|(wired, index)| view(wired, config, index));
        self.admin.show(shown.collect());
        wiring::count_async_requests(config, &self.metrics);
        self.couriers.follow(materials.destinations);

        // Nobody new comes to them any more. What waits and runs ends under their last limits.
        for Wired { tenant, settings, .. } in before.into_values() {
            let nothing = Settings { pools: Vec::new(), apps: Vec::new(), ..settings };
            tenant.admission.reconfigure(nothing);
        }
        let by_name = wired.into_iter().map(|wired| (Arc::clone(&wired.tenant.name), wired));
        tenants.configured = by_name.collect();
    }

    fn wire(
        &self,
        config: &Config,
        index: usize,
        (way, upstream): (Way, Upstream),
        (admission, lanes): (Arc<Admission>, Option<Arc<Lanes>>),
        settings: Settings,
        before: Option<&Wired>,
    ) -> Wired {
        let written = &config.tenants[index];
        let soap = written.soap_url.as_ref().map(|url| upstream.beside(&uri(url)));
        let tokens = TokensOf {
            written,
            rest: &upstream,
            soap: soap.as_ref(),
            before: before.map(|before| tokens::Before {
                entities: &before.tenant.entities,
                credentials: &before.credentials,
                is_same_rest: before.way.base_url == way.base_url,
                is_same_soap: before.soap_url == written.soap_url,
                is_same_way: before.way == way,
            }),
            logins: &self.logins,
            metrics: &self.metrics,
        };
        let tokens = tokens.of_each_entity();
        let learnt = before.map_or(&[][..], |before| &before.tenant.entities);
        let tenant = Arc::new(Tenant {
            name: Arc::clone(&written.name),
            entities: wiring::entities(written, &admission, &tokens, learnt),
            soap,
            upstream,
            own_hosts: own_hosts(written),
            admission,
            track_ids: wiring::track_ids(written.track_id),
            retry: wiring::retry(&written.retry, before.map(|before| &before.tenant.retry)),
            lanes,
            replay_buffer: written.retry.replay_buffer,
            connect_timeout: written.timeouts.connect,
            response_timeout: written.timeouts.response,
            async_requests: Some(wiring::async_requests(
                config,
                &written.async_requests,
                &self.remembering,
            )),
            metrics: self.metrics.tenant(&written.name),
        });
        let (credentials, soap_url) = (written.credentials.clone(), written.soap_url.clone());
        let reconciling = wiring::reconciling(written);
        Wired { tenant, way, credentials, soap_url, settings, reconciling }
    }
}

impl Tenants {
    /// The lanes of a tenant, if its calls go in lanes: the ones that it always had.
    fn lanes_of(&mut self, written: &config::Tenant) -> Option<Arc<Lanes>> {
        let most_waiting = written.queue.max_requests.get();
        match written.lanes {
            config::Lanes::Off => None,
            config::Lanes::Account => {
                let lanes = self.lanes.entry(Arc::clone(&written.name));
                let lanes = lanes.or_insert_with(|| Lanes::new(most_waiting));
                lanes.set_most_waiting(most_waiting);
                Some(Arc::clone(lanes))
            }
        }
    }
}

impl Materials {
    /// Reads every certificate and key that `config` names. A tenant that is `known`, and reached in the same way, is
    /// reached over the same connections.
    fn gather(
        config: &Config,
        known: &HashMap<Arc<str>, Wired>,
        wire: Option<&Connector>,
    ) -> Result<Self, Vec<Unusable>> {
        let identity = |tls: Option<&config::Tls>, key: &str| {
            let read = |tls: &config::Tls| {
                proxy::server_config(&tls.certificate, &tls.key, tls.client_ca.as_deref())
                    .map_err(|cause| Unusable { key: key.to_owned(), cause })
            };
            tls.map(read).transpose()
        };
        let listen = &config.listen;
        let callouts = listen.callouts.as_ref().and_then(|callouts| callouts.tls.as_ref());
        let identities = (
            identity(listen.tls.as_ref(), "listen.tls"),
            identity(callouts, "listen.callouts.tls"),
        );
        let ways = config.tenants.iter().map(|tenant| {
            let key = || format!("tenants.{}.ca_certificate", tenant.name);
            reach(tenant, known.get(&tenant.name), wire)
                .map_err(|cause| Unusable { key: key(), cause })
        });
        let ways: Vec<_> = ways.collect();

        match (identities, ways, destinations(config)) {
            ((Ok(identity), Ok(callout_identity)), ways, Ok(destinations))
                if ways.iter().all(Result::is_ok) =>
            {
                let ways = ways.into_iter().flatten().collect();
                Ok(Self { identity, callout_identity, ways, destinations })
            }
            ((identity, callout_identity), ways, destinations) => {
                let identities = identity.err().into_iter().chain(callout_identity.err());
                let ways = ways.into_iter().filter_map(Result::err);
                Err(identities.chain(ways).chain(destinations.err()).collect())
            }
        }
    }
}

/// Everything in `config` that could be read, and cannot be used.
pub(crate) fn unusable(config: &Config) -> Vec<Unusable> {
    Materials::gather(config, &HashMap::new(), None).err().unwrap_or_default()
}

fn reach(
    tenant: &config::Tenant,
    known: Option<&Wired>,
    wire: Option<&Connector>,
) -> Result<(Way, Upstream), TlsError> {
    let roots = tenant.ca_certificate.as_deref();
    let way = Way {
        base_url: tenant.base_url.clone(),
        // One that cannot be read is told below, where it is read for use.
        roots: roots.map(|path| std::fs::read(path).unwrap_or_default()),
        patience: tenant.timeouts.connect,
    };
    if let Some(known) = known.filter(|known| known.way == way) {
        return Ok((way, known.tenant.upstream.clone()));
    }
    let connector = match wire {
        Some(wire) => wire.clone(),
        None => Connector::tcp(proxy::client_config(roots)?, tenant.timeouts.connect),
    };
    let upstream = Upstream::new(&uri(&tenant.base_url), connector);
    Ok((way, upstream))
}

/// Where the outcomes of apps are forwarded to. Servers are verified against the roots of the system.
fn destinations(config: &Config) -> Result<HashMap<Arc<str>, Destination>, Unusable> {
    let Some(first) = config.apps.iter().find(|app| app.outcomes.is_some()) else {
        return Ok(HashMap::new());
    };
    let key = || format!("apps.{}.outcomes", first.name);
    let tls = proxy::client_config(None).map_err(|cause| Unusable { key: key(), cause })?;
    let connector = Connector::tcp(tls, TO_APPS);
    Ok(wiring::destinations(config, &connector))
}

/// The hosts that links in a tenant's answers name when they mean itself.
fn own_hosts(tenant: &config::Tenant) -> Arc<OwnHosts> {
    let addresses = [Some(&tenant.base_url), tenant.soap_url.as_ref()].into_iter().flatten();
    let addresses: Vec<_> = addresses.map(uri).collect();
    Arc::new(OwnHosts::of(&addresses))
}

fn uri(url: &config::BaseUrl) -> Uri {
    url.to_string().parse().expect("the configuration checked it")
}

fn view(Wired { tenant, .. }: &Wired, config: &Config, index: usize) -> admin::Tenant {
    admin::Tenant {
        name: Arc::clone(&tenant.name),
        admission: Arc::clone(&tenant.admission),
        tokens: tokens::shown(&tenant.entities),
        lanes: tenant.lanes.clone(),
        apps: wiring::shown_apps(config, index),
    }
}

#[cfg(test)]
mod tests;
