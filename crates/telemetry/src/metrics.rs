//! The metrics of one gateway, and the handles that count into them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use prometheus::TextEncoder;

use crate::{
    families::Families,
    handles::{
        AppCounters, AppMetrics, AsyncCounters, AsyncMetrics, CalloutMetrics, Live, PoolCounters,
        PoolMetrics, RegistryMetrics, TenantCounters, TenantMetrics,
    },
    labels::{
        ABANDONED, AsyncState, CalloutResult, Delivery, REJECTED, Refresh, Refused, Reload,
        UNKNOWN, Verdict,
    },
    log, panics, process,
    readings::Readings,
};

/// The names of a configuration: only these become label values of tenants and apps.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Names of the tenants.
    pub tenants: Vec<String>,
    /// Names of the apps.
    pub apps: Vec<String>,
}

/// The names of all configurations so far: calls of an app may outlast the one that knew it.
#[derive(Debug, Default)]
struct Names {
    tenants: HashSet<String>,
    apps: HashSet<String>,
}

/// All metrics of a gateway.
///
/// Handles ([`Metrics::app`], [`Metrics::pool`], [`Metrics::tenant`]) are meant to be fetched
/// once and kept; asking twice gives handles of the same series.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    names: RwLock<Names>,
    /// One rendering at a time: the gauges of a snapshot are set and read together.
    rendering: Mutex<()>,
}

impl Metrics {
    /// Returns the metrics of a gateway with these tenants and apps.
    #[must_use]
    pub fn new(inventory: &Inventory) -> Arc<Self> {
        let families = Families::new();
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for result in Reload::ALL {
            let _ = families.config_reloads.with_label_values(&[result.as_str()]);
        }
        for reason in REJECTED {
            let _ = families.rejected_credentials.with_label_values(&[UNKNOWN, reason]);
        }
        let metrics = Self { families, names: RwLock::default(), rendering: Mutex::new(()) };
        metrics.know(inventory);
        Arc::new(metrics)
    }

    /// Lets the names of another configuration become label values, too.
    pub fn know(&self, inventory: &Inventory) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.tenants.extend(inventory.tenants.iter().cloned());
        names.apps.extend(inventory.apps.iter().cloned());
    }

    /// Returns the counters of an app. Names outside the inventory count as [`UNKNOWN`].
    #[must_use]
    pub fn app(&self, tenant: &str, app: &str) -> AppMetrics {
        let (tenant, app) = self.labels(tenant, app);
        let inner = AppCounters {
            tenant: tenant.to_owned(),
            app: app.to_owned(),
            requests: self.families.requests.clone(),
            shed: self.families.shed.clone(),
            in_doubt: self.families.in_doubt.with_label_values(&[tenant, app]),
            answered: RwLock::new(HashMap::new()),
        };
        AppMetrics { inner: Arc::new(inner) }
    }

    /// Returns the counters of an app in a pool. `pool` is the name of a limit type; pools of
    /// several entities with the same limit type share their series.
    #[must_use]
    pub fn pool(&self, tenant: &str, app: &str, pool: &str) -> PoolMetrics {
        let (tenant, app) = self.labels(tenant, app);
        let families = &self.families;
        let of_app = [tenant, app, pool];
        let of_pool = [tenant, pool];
        let refusals =
            |kind: Refused| families.refusals.with_label_values(&[tenant, pool, kind.as_str()]);
        let inner = PoolCounters {
            tenant: tenant.to_owned(),
            app: app.to_owned(),
            pool: pool.to_owned(),
            request_duration: families.request_duration.with_label_values(&of_app),
            queue_wait: families.queue_wait.with_label_values(&of_app),
            upstream_duration: families.upstream_duration.with_label_values(&of_pool),
            permit_seconds: families.permit_seconds.with_label_values(&of_app),
            attempts: Verdict::ALL.map(|verdict| {
                families.attempts.with_label_values(&[tenant, pool, verdict.as_str()])
            }),
            refusals_concurrency: refusals(Refused::Concurrency),
            refusals_rate: refusals(Refused::Rate),
            would_have_waited: families.would_have_waited.clone(),
        };
        PoolMetrics { inner: Arc::new(inner) }
    }

    /// Returns the counters of a tenant.
    #[must_use]
    pub fn tenant(&self, tenant: &str) -> TenantMetrics {
        let (tenant, _) = self.labels(tenant, UNKNOWN);
        let families = &self.families;
        for reason in ABANDONED {
            let _ = families.retries_abandoned.with_label_values(&[tenant, reason]);
        }
        let inner = TenantCounters {
            tenant: tenant.to_owned(),
            overhead: families.overhead.with_label_values(&[tenant]),
            retries: Verdict::ALL
                .map(|verdict| families.retries.with_label_values(&[tenant, verdict.as_str()])),
            retries_abandoned: families.retries_abandoned.clone(),
            refreshes: Refresh::ALL
                .map(|it| families.token_refreshes.with_label_values(&[tenant, it.as_str()])),
        };
        TenantMetrics { inner: Arc::new(inner) }
    }

    /// Returns the counters of an app's async requests.
    #[must_use]
    pub fn async_requests(&self, tenant: &str, app: &str) -> AsyncMetrics {
        let (tenant, app) = self.labels(tenant, app);
        let families = &self.families;
        let of = |label| [tenant, app, label];
        let inner = AsyncCounters {
            states: AsyncState::ALL
                .map(|it| families.async_requests.with_label_values(&of(it.as_str()))),
            deliveries: Delivery::ALL
                .map(|it| families.outcome_deliveries.with_label_values(&of(it.as_str()))),
        };
        AsyncMetrics { inner: Arc::new(inner) }
    }

    /// Returns the counters of a tenant's callouts; those of [`UNKNOWN`] if no tenant has this name.
    #[must_use]
    pub fn callouts(&self, tenant: &str) -> CalloutMetrics {
        let (tenant, _) = self.labels(tenant, UNKNOWN);
        let callouts = &self.families.callouts;
        let results =
            CalloutResult::ALL.map(|it| callouts.with_label_values(&[tenant, it.as_str()]));
        CalloutMetrics { results: Arc::new(results) }
    }

    /// Returns the counter of the registry's failures.
    #[must_use]
    pub fn async_registry(&self) -> RegistryMetrics {
        RegistryMetrics { errors: self.families.async_registry_errors.clone() }
    }

    /// Counts a call that did not prove who made it: `rejected_credentials_total`. `claimed` is the
    /// app that its credential names; [`UNKNOWN`] if there is none in the inventory.
    pub fn credential_rejected(&self, claimed: &str, reason: &'static str) {
        let (_, app) = self.labels(UNKNOWN, claimed);
        self.families.rejected_credentials.with_label_values(&[app, reason]).inc();
    }

    /// Counts an open connection of a caller, until the value is dropped.
    pub fn connection(&self) -> Live {
        Live::new(&self.families.connections)
    }

    /// Counts an upstream leg as alive, until the value is dropped.
    pub fn leg(&self) -> Live {
        Live::new(&self.families.legs_in_flight)
    }

    /// Returns how many upstream legs are alive.
    #[must_use]
    pub fn legs_in_flight(&self) -> u64 {
        self.families.legs_in_flight.get().try_into().unwrap_or(0)
    }

    /// Notes when the configuration in use was loaded.
    pub fn config_loaded(&self, at: SystemTime) {
        let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.families.config_loaded.set(since_1970.as_secs_f64());
    }

    /// Notes whether the configuration on disk is the one in use.
    pub fn config_in_sync(&self, is_in_sync: bool) {
        self.families.config_in_sync.set(is_in_sync.into());
    }

    /// Counts that the configuration was read anew: `config_reloads_total`.
    pub fn config_reloaded(&self, result: Reload) {
        self.families.config_reloads.with_label_values(&[result.as_str()]).inc();
    }

    /// Returns everything in Prometheus's text format, with the gauges of `readings`.
    ///
    /// A gauge whose pool, queue or tenant is not in `readings` is absent from the text.
    #[must_use]
    pub fn render(&self, readings: &Readings<'_>) -> String {
        let _alone = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        readings.set(&self.families);
        catch_up(&self.families.log_lines_dropped, log::lines_dropped());
        catch_up(&self.families.panics, panics::count());

        let mut text = TextEncoder::new()
            .encode_to_string(&self.families.registry.gather())
            .expect("writing to a string cannot fail");
        process::render(&mut text);
        text
    }

    fn labels<'a>(&self, tenant: &'a str, app: &'a str) -> (&'a str, &'a str) {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let tenant = if names.tenants.contains(tenant) { tenant } else { UNKNOWN };
        let app = if names.apps.contains(app) { app } else { UNKNOWN };
        (tenant, app)
    }
}

/// Brings a counter up to a total that is counted elsewhere, for the whole process.
fn catch_up(counter: &prometheus::IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests;
