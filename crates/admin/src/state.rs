//! What there is to see, read from those who keep it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use admission::{Admission, PoolSnapshot};
use credentials::{SecretDigest, Tokens};
use serde_json::{Value, json};
use telemetry::{Metrics, PoolReading, QueueReading, Readings, TokenReading};
use tokio::time::Instant;

/// Everything that the admin port shows.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    tenants: Vec<Tenant>,
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
    /// The shared token.
    pub tokens: Arc<Tokens>,
}

impl Admin {
    /// Shows `metrics` and `tenants`; asks for `token` before anything but the probes, if there is one.
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        tenants: Vec<Tenant>,
        token: Option<SecretDigest>,
    ) -> Arc<Self> {
        let draining = AtomicBool::new(false);
        Arc::new(Self { metrics, tenants, token, draining, started: Instant::now() })
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
        let without = self.tenants.iter().find(|tenant| !tenant.tokens.is_ready())?;
        let why = without.tokens.trouble().map(|error| format!(": {error}")).unwrap_or_default();
        Some(format!("no valid token for tenant `{}`{why}", without.name))
    }

    /// Everything in Prometheus's text format.
    pub(crate) fn metrics(&self) -> String {
        let snapshots: Vec<_> =
            self.tenants.iter().map(|tenant| (tenant, tenant.admission.snapshot())).collect();
        let pools = snapshots.iter().flat_map(|(tenant, snapshot)| {
            snapshot.pools.iter().map(|pool| reading(&tenant.name, pool))
        });
        let tokens = self.tenants.iter().map(|tenant| TokenReading {
            tenant: &tenant.name,
            expires_in: tenant.tokens.expires_in(),
        });
        self.metrics.render(&Readings { pools: pools.collect(), tokens: tokens.collect() })
    }

    /// Everything as JSON, for people and scripts that ask who waits and why.
    pub(crate) fn state(&self) -> Value {
        let tenants: Vec<_> = self.tenants.iter().map(Tenant::state).collect();
        json!({
            "ready": self.unready().is_none(),
            "unready": self.unready(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "legs_in_flight": self.metrics.legs_in_flight(),
            "tenants": tenants,
        })
    }
}

impl Tenant {
    fn state(&self) -> Value {
        let pools: Vec<_> = self.admission.snapshot().pools.iter().map(pool_state).collect();
        let expires_in = self.tokens.expires_in().map(|left| left.as_secs());
        json!({
            "tenant": &*self.name,
            "token_expires_in_seconds": expires_in,
            "token_trouble": self.tokens.trouble().map(|error| error.to_string()),
            "pools": pools,
        })
    }
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
