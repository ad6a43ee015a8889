//! From the configuration to the parts that serve. A straight list: what each part needs, and where it comes from.

use std::sync::Arc;

use admission::{
    Admission, AppSettings, OnRefusal, PoolSettings, QueueBounds, RateLimits, Settings, Start,
};
use config::{AppSecret, Config, InvalidTrackId};
use credentials::{AppCredential, Apps, SecretDigest, SigningKey, Tokens};
use http::Uri;
use proxy::{
    App, Connector, Entity, OAuth, POOLS, Proxy, Table, Tenant, TrackIdPolicy, Upstream,
    ValidTrackId,
};
use rustls::ServerConfig;
use telemetry::{Inventory, Metrics};
use zuora::Policy;

use crate::gateway::StartError;

/// Everything that serves, ready to.
pub(crate) struct Parts {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) admin: Arc<admin::Admin>,
    pub(crate) tls: Option<ServerConfig>,
    pub(crate) admissions: Vec<(Arc<str>, Arc<Admission>)>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Makes the parts. Asks for the first tokens, so it must run within a runtime; opens no port.
pub(crate) fn wire(config: &Config) -> Result<Parts, StartError> {
    let metrics = Metrics::new(&inventory(config));
    let signing_key = signing_key(config)?;
    let tenants = config
        .tenants
        .iter()
        .enumerate()
        .map(|(index, _)| tenant(config, index, &metrics))
        .collect::<Result<Vec<_>, _>>()?;
    let apps =
        config.apps.iter().map(|settings| app(config, settings, &tenants, &metrics)).collect();
    let doors =
        Apps::new(config.apps.iter().map(credential).collect(), signing_key, config.anonymous);

    let views = tenants.iter().map(|tenant| admin::Tenant {
        name: Arc::clone(&tenant.name),
        admission: Arc::clone(&tenant.admission),
        tokens: Arc::clone(&tenant.tokens),
    });
    let admin_token = config.admin.token.as_ref().map(|token| SecretDigest::of(token.expose()));
    let tls = config
        .listen
        .tls
        .as_ref()
        .map(|tls| proxy::server_config(&tls.certificate, &tls.key))
        .transpose()?;
    let admissions =
        tenants.iter().map(|tenant| (Arc::clone(&tenant.name), Arc::clone(&tenant.admission)));
    Ok(Parts {
        admin: admin::Admin::new(Arc::clone(&metrics), views.collect(), admin_token),
        admissions: admissions.collect(),
        proxy: Proxy::new(Table::new(apps, doors), Arc::clone(&metrics)),
        tls,
        metrics,
    })
}

fn inventory(config: &Config) -> Inventory {
    Inventory {
        tenants: config.tenants.iter().map(|tenant| tenant.name.to_string()).collect(),
        apps: config.apps.iter().map(|app| app.name.to_string()).collect(),
    }
}

fn signing_key(config: &Config) -> Result<SigningKey, StartError> {
    match &config.signing_key {
        Some(secret) => Ok(SigningKey::from_secret(secret.expose())),
        None => SigningKey::load_or_create(&config.state_dir).map_err(StartError::SigningKey),
    }
}

fn tenant(
    config: &Config,
    index: usize,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Tenant>, StartError> {
    let settings = &config.tenants[index];
    let tls = proxy::client_config(settings.ca_certificate.as_deref())?;
    let base_url: Uri =
        settings.base_url.to_string().parse().expect("the configuration checked it");
    let upstream = Upstream::new(&base_url, Connector::tcp(tls, settings.timeouts.connect));
    let config::Credentials::OAuth { client_id, client_secret, .. } = &settings.credentials;
    let oauth = OAuth::new(upstream.clone(), client_id, client_secret.expose());

    let admission = Admission::new(admission_settings(config, index), Start::Full);
    let tenant_metrics = metrics.tenant(&settings.name);
    Ok(Arc::new(Tenant {
        name: Arc::clone(&settings.name),
        upstream,
        entities: entities(settings, &admission),
        admission,
        tokens: Tokens::start(&settings.name, oauth, metrics),
        track_ids: track_ids(settings.track_id),
        attempts: settings.retry.attempts.get(),
        replay_buffer: settings.retry.replay_buffer,
        connect_timeout: settings.timeouts.connect,
        response_timeout: settings.timeouts.response,
        metrics: tenant_metrics,
    }))
}

fn admission_settings(config: &Config, tenant: usize) -> Settings {
    let settings = &config.tenants[tenant];
    let pools = each_entity(settings).flat_map(|entity| {
        settings.concurrency.limits.iter().map(move |(name, ceiling)| PoolSettings {
            name: Arc::clone(name),
            entity: entity.clone(),
            ceiling: *ceiling,
            headroom: settings.concurrency.headroom,
            enforce: true,
            on_refusal: OnRefusal::Shrink,
            retry_after_cap: None,
        })
    });
    let queue = QueueBounds {
        max_requests: settings.queue.max_requests.get(),
        max_bytes: settings.queue.max_bytes,
    };
    let apps = apps_of(config, tenant).map(AppSettings::named);
    Settings { pools: pools.collect(), apps: apps.collect(), queue, rate: RateLimits::NONE }
}

/// The entities of a tenant; one without an id if it has only one.
fn each_entity(settings: &config::Tenant) -> impl Iterator<Item = Option<Arc<str>>> {
    let only = settings.entities.is_empty().then_some(None);
    only.into_iter().chain(settings.entities.iter().cloned().map(Some))
}

fn entities(settings: &config::Tenant, admission: &Admission) -> Vec<Entity> {
    each_entity(settings)
        .map(|id| {
            let pool = |limit_type: zuora::LimitType| {
                let known = admission.pool(id.as_deref(), limit_type.name());
                known.expect("the configuration names every limit type that operations have")
            };
            let pools = POOLS.map(pool);
            Entity { id, pools, learnt: Arc::default() }
        })
        .collect()
}

fn apps_of(config: &Config, tenant: usize) -> impl Iterator<Item = Arc<str>> {
    config.apps.iter().filter(move |app| app.tenant == tenant).map(|app| Arc::clone(&app.name))
}

fn app(config: &Config, settings: &config::App, tenants: &[Arc<Tenant>], metrics: &Metrics) -> App {
    let tenant = Arc::clone(&tenants[settings.tenant]);
    let queue_timeout =
        settings.queue_timeout.unwrap_or(config.tenants[settings.tenant].queue.timeout);
    App {
        name: Arc::clone(&settings.name),
        id: tenant.admission.app(&settings.name).expect("an app is among those of its tenant"),
        policy: policy(settings),
        queue_timeout,
        fairness_key: None,
        metrics: metrics.app(&tenant.name, &settings.name),
        pools: POOLS
            .map(|limit_type| metrics.pool(&tenant.name, &settings.name, limit_type.name())),
        tenant,
    }
}

/// What an app may call.
pub(crate) fn policy(settings: &config::App) -> Policy {
    Policy { allow: settings.allow.clone(), deny: settings.deny.clone() }
}

fn credential(app: &config::App) -> AppCredential {
    let secret = match &app.secret {
        AppSecret::Plain(secret) => SecretDigest::of(secret.expose()),
        AppSecret::Sha256(digest) => SecretDigest::from(*digest),
    };
    AppCredential { name: app.name.to_string(), client_id: app.client_id.clone(), secret }
}

fn track_ids(policy: config::TrackIdPolicy) -> TrackIdPolicy {
    let valid = match policy.valid {
        config::ValidTrackId::Keep => ValidTrackId::Keep,
        config::ValidTrackId::Prefix => ValidTrackId::Prefix,
        config::ValidTrackId::Replace => ValidTrackId::Replace,
    };
    TrackIdPolicy { valid, replace_invalid: policy.invalid == InvalidTrackId::Replace }
}
