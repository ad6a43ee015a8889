//! What there is to see, read from those who keep it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use admission::{
    Admission, AppSettings, Circuit, Lanes, LanesSnapshot, PoolSnapshot, Priority, Snapshot,
};
use async_requests::Registry;
use credentials::SecretDigest;
use serde_json::{Value, json};
use telemetry::{
    CircuitReading, LanesReading, Metrics, PoolReading, QueueReading, Readings, TokenReading,
};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use crate::configuration::{Configuration, Follower, Outcome, Request};
use crate::outcomes;
use crate::tokens::{KeptToken, expires_in_seconds, trouble};

/// Everything that the admin port shows.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    tenants: RwLock<Tenants>,
    configuration: RwLock<Option<Configuration>>,
    follower: OnceLock<Follower>,
    registry: OnceLock<Arc<Registry>>,
    /// What operators must present for anything but the probes; `None` on loopback.
    pub(crate) token: Option<SecretDigest>,
    draining: AtomicBool,
    started: Instant,
}

/// A tenant, as far as operators look at it.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Who goes next, and who waits.
    pub admission: Arc<Admission>,
    /// The tokens that its calls share, that of the default entity first.
    pub tokens: Vec<KeptToken>,
    /// Who has accounts, subscriptions and orders to itself; `None` if nobody needs to.
    pub lanes: Option<Arc<Lanes>>,
    /// What its apps may have.
    pub apps: Vec<App>,
}

/// What an app may have, defaults filled in.
#[derive(Clone, Debug)]
pub struct App {
    /// Of the tenant's permits and calls.
    pub settings: AppSettings,
    /// How long its calls may wait.
    pub queue_timeout: Duration,
}

#[derive(Clone, Debug, Default)]
struct Tenants {
    configured: Vec<Tenant>,
    leaving: Vec<Leaving>,
}

/// A tenant that is gone from the configuration. It is shown as long as calls of it wait or are at Zuora; its token is
/// only theirs any more.
#[derive(Clone, Debug)]
struct Leaving {
    name: Arc<str>,
    admission: Arc<Admission>,
    lanes: Option<Arc<Lanes>>,
}

/// A tenant at one moment.
struct Shown<'a> {
    name: &'a str,
    /// None if it is leaving.
    apps: &'a [App],
    /// `None` if it is leaving.
    tokens: Option<&'a [KeptToken]>,
    snapshot: Snapshot,
    lanes: Option<LanesSnapshot>,
}

impl Admin {
    /// Shows `metrics`, and no tenant yet; asks for `token` before anything but the probes, if there is one.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, token: Option<SecretDigest>) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            tenants: RwLock::default(),
            configuration: RwLock::default(),
            follower: OnceLock::new(),
            registry: OnceLock::new(),
            token,
            draining: AtomicBool::new(false),
            started: Instant::now(),
        })
    }

    /// Shows these tenants from now on, and those before them until their last calls have ended.
    pub fn show(&self, configured: Vec<Tenant>) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *tenants);
        let gone = before.configured.into_iter();
        let gone =
            gone.map(|Tenant { name, admission, lanes, .. }| Leaving { name, admission, lanes });
        let mut leaving: Vec<_> = before.leaving.into_iter().chain(gone).collect();
        leaving.retain(|it| {
            is_busy(&it.admission.snapshot())
                && !configured.iter().any(|other| Arc::ptr_eq(&other.admission, &it.admission))
        });
        *tenants = Tenants { configured, leaving };
    }

    /// Shows this as what is known of the configuration.
    pub fn configured(&self, configuration: Configuration) {
        self.metrics.config_in_sync(configuration.is_in_sync());
        *self.configuration.write().unwrap_or_else(PoisonError::into_inner) = Some(configuration);
    }

    /// Lets operators have the configuration read anew by whoever receives from `follower`. Once only.
    pub fn reload_through(&self, follower: mpsc::Sender<Request>) {
        let _ = self.follower.set(Follower(follower));
    }

    /// Shows what `registry` has, and lets operators have its dead letters tried again. Once only.
    pub fn show_async_requests(&self, registry: Arc<Registry>) {
        let _ = self.registry.set(registry);
    }

    pub(crate) fn registry(&self) -> Option<&Arc<Registry>> {
        self.registry.get()
    }

    pub(crate) async fn reload(&self) -> Option<Outcome> {
        self.follower.get()?.reload().await
    }

    /// From now on the gateway is not ready: it finishes what it has and takes nothing new.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why the gateway should get no calls now; `None` if it should. A tenant that throttles is no reason: whoever
    /// waits would wait elsewhere too.
    pub(crate) fn unready(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("draining".to_owned());
        }
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        // Calls of other entities, and SOAP calls with a login of their own, may fail alone.
        let first = tenants.configured.iter().filter_map(|it| Some((&it.name, it.tokens.first()?)));
        let (name, without) = first.into_iter().find(|(_, first)| !first.tokens.is_ready())?;
        let why = without.tokens.trouble().map(|error| format!(": {error}")).unwrap_or_default();
        Some(format!("no valid token for tenant `{name}`{why}"))
    }

    /// Everything in Prometheus's text format.
    pub(crate) fn metrics(&self) -> String {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = tenants.shown();
        let pools = shown
            .iter()
            .flat_map(|tenant| tenant.snapshot.pools.iter().map(|pool| reading(tenant.name, pool)));
        let tokens = tenants.configured.iter().map(|tenant| TokenReading {
            tenant: &tenant.name,
            expires_in_seconds: expires_in_seconds(&tenant.tokens),
        });
        let circuits = shown.iter().map(|tenant| CircuitReading {
            tenant: tenant.name,
            is_open: tenant.snapshot.circuit != Circuit::Closed,
        });
        let lanes = shown.iter().filter_map(|tenant| {
            let LanesSnapshot { held, waiting } = tenant.lanes?;
            Some(LanesReading { tenant: tenant.name, held: held as u64, waiting: waiting as u64 })
        });
        let remembered = self.registry().map(|registry| (registry.readings(), registry.now()));
        let remembered = remembered.as_ref();
        let apps = remembered.into_iter().flat_map(|(readings, now)| {
            readings.apps.iter().map(|app| outcomes::reading(app, *now))
        });
        self.metrics.render(&Readings {
            pools: pools.collect(),
            tokens: tokens.collect(),
            circuits: circuits.collect(),
            lanes: lanes.collect(),
            async_requests: apps.collect(),
            registry: remembered.map(|(readings, _)| outcomes::registry_reading(readings)),
        })
    }

    /// Everything as JSON, for people and scripts that ask who waits and why.
    pub(crate) fn state(&self) -> Value {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner).clone();
        let tenants: Vec<_> = tenants.shown().iter().map(Shown::state).collect();
        let configuration = self.configuration.read().unwrap_or_else(PoisonError::into_inner);
        json!({
            "ready": self.unready().is_none(),
            "unready": self.unready(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "legs_in_flight": self.metrics.legs_in_flight(),
            "configuration": configuration.as_ref().map(Configuration::to_json),
            "async": self.registry().map(|it| outcomes::state(&it.readings(), it.now())),
            "tenants": tenants,
        })
    }
}

impl Tenants {
    fn shown(&self) -> Vec<Shown<'_>> {
        let configured = self.configured.iter().map(|tenant| Shown {
            name: &tenant.name,
            apps: &tenant.apps,
            tokens: Some(&tenant.tokens),
            snapshot: tenant.admission.snapshot(),
            lanes: tenant.lanes.as_deref().map(Lanes::snapshot),
        });
        let leaving = self.leaving.iter().map(|tenant| Shown {
            name: &tenant.name,
            apps: &[],
            tokens: None,
            snapshot: tenant.admission.snapshot(),
            lanes: tenant.lanes.as_deref().map(Lanes::snapshot),
        });
        configured.chain(leaving.filter(|tenant| is_busy(&tenant.snapshot))).collect()
    }
}

fn is_busy(snapshot: &Snapshot) -> bool {
    snapshot.in_use > 0 || snapshot.queued > 0
}

impl Shown<'_> {
    fn state(&self) -> Value {
        let pools: Vec<_> = self.snapshot.pools.iter().map(pool_state).collect();
        let apps: Vec<_> = self.apps.iter().map(app_state).collect();
        let expires_in = self.tokens.map(expires_in_seconds).filter(|left| *left > 0.0);
        let tokens: Option<Vec<_>> =
            self.tokens.map(|tokens| tokens.iter().map(KeptToken::state).collect());
        let (circuit, tries_in) = match self.snapshot.circuit {
            Circuit::Closed => ("closed", None),
            Circuit::Open { until } => {
                ("open", Some(until.saturating_duration_since(Instant::now())))
            }
            Circuit::Probing => ("probing", None),
        };
        let lanes = self
            .lanes
            .map(|LanesSnapshot { held, waiting }| json!({"held": held, "waiting": waiting}));
        json!({
            "tenant": self.name,
            "configured": self.tokens.is_some(),
            "token_expires_in_seconds": expires_in.filter(|left| left.is_finite()).map(|left| left as u64),
            "token_trouble": self.tokens.and_then(trouble),
            "tokens": tokens,
            "circuit": circuit,
            "circuit_tries_in_seconds": tries_in.map(|left| left.as_secs_f64()),
            "lanes": lanes,
            "apps": apps,
            "pools": pools,
        })
    }
}

fn app_state(App { settings, queue_timeout }: &App) -> Value {
    let priority = match settings.priority {
        Priority::Interactive => "interactive",
        Priority::Standard => "standard",
        Priority::Batch => "batch",
        Priority::Scavenger => "scavenger",
    };
    let rate = settings.rate.map(|rate| {
        json!({"per_second": rate.per_second, "burst": rate.burst, "enforced": rate.enforce})
    });
    json!({
        "app": &*settings.name,
        "priority": priority,
        "weight": settings.weight,
        "reserve": settings.reserve,
        "max_in_flight": settings.max_in_flight,
        "rate": rate,
        "queue_timeout_seconds": queue_timeout.as_secs_f64(),
    })
}

fn pool_state(pool: &PoolSnapshot) -> Value {
    let apps: Vec<_> = pool
        .apps
        .iter()
        .map(|app| {
            json!({
                "app": &*app.app,
                "in_use": app.in_use,
                "queued": app.queued,
                "queued_bytes": app.kept_bytes,
                "oldest_wait_seconds": app.oldest_wait.as_secs_f64(),
                "permit_seconds": app.permit_seconds,
            })
        })
        .collect();
    json!({
        "pool": &*pool.name,
        "entity": pool.entity.as_deref(),
        "ceiling": pool.ceiling,
        "configured": pool.configured,
        "observed": pool.observed,
        "learnt": pool.learnt,
        "enforced": pool.enforced,
        "outside_use": pool.outside_use,
        "capacity": pool.capacity,
        "in_use": pool.in_use,
        "permits_out": pool.permits_out,
        "cautious_seconds": pool.cautious_for.as_secs_f64(),
        "paused_seconds": pool.paused_for.as_secs_f64(),
        "apps": apps,
    })
}

fn reading<'a>(tenant: &'a str, pool: &'a PoolSnapshot) -> PoolReading<'a> {
    let queues = pool.apps.iter().map(|app| QueueReading {
        app: &app.app,
        requests: app.queued as u64,
        bytes: app.kept_bytes,
    });
    PoolReading {
        tenant,
        pool: &pool.name,
        in_use: pool.in_use.into(),
        capacity: pool.capacity.into(),
        ceiling: pool.ceiling.into(),
        outside_use: pool.outside_use.into(),
        limit_mismatch: pool.observed.is_some_and(|observed| observed != pool.configured),
        cooldown: pool.paused_for,
        queues: queues.collect(),
    }
}

#[cfg(test)]
mod tests;
