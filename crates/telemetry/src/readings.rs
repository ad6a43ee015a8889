//! What is read from the rest of the gateway at the moment of a scrape.

use std::time::Duration;

use crate::families::Families;

/// Numbers of this moment, from whoever keeps them.
#[derive(Clone, Debug, Default)]
pub struct Readings<'a> {
    /// One per pool.
    pub pools: Vec<PoolReading<'a>>,
    /// One per tenant.
    pub tokens: Vec<TokenReading<'a>>,
    /// One per tenant.
    pub circuits: Vec<CircuitReading<'a>>,
    /// One per tenant whose calls go in lanes.
    pub lanes: Vec<LanesReading<'a>>,
    /// One per app with async requests that are waited for or ended as unknown, or outcomes that could not be forwarded.
    pub async_requests: Vec<AsyncReading<'a>>,
    /// The registry of async requests, if there is one.
    pub registry: Option<RegistryReading>,
}

/// A pool of permits. Readings with equal `tenant` and `pool` (several entities) are shown as one: counts are
/// added up, of the rest the worst is shown.
#[derive(Clone, Debug)]
pub struct PoolReading<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// Name of the limit type.
    pub pool: &'a str,
    /// Permits that are out.
    pub in_use: u64,
    /// Permits that may be out.
    pub capacity: u64,
    /// What Zuora allows.
    pub ceiling: u64,
    /// Permits that others take.
    pub outside_use: u64,
    /// Whether the limit that Zuora names is another than the configured one.
    pub limit_mismatch: bool,
    /// Rest of the pause that Zuora asked for; zero when there is none.
    pub cooldown: Duration,
    /// The queue, app by app.
    pub queues: Vec<QueueReading<'a>>,
}

/// What one app has in the queue of one pool.
#[derive(Clone, Debug)]
pub struct QueueReading<'a> {
    /// Name of the app.
    pub app: &'a str,
    /// Calls that wait.
    pub requests: u64,
    /// Bytes of request bodies kept for them.
    pub bytes: u64,
}

/// A tenant's token.
#[derive(Clone, Debug)]
pub struct TokenReading<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// Rest of its life in seconds: 0 when there is no valid token, infinite when it tells no end.
    pub expires_in_seconds: f64,
}

/// A tenant's circuit.
#[derive(Clone, Debug)]
pub struct CircuitReading<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// Whether the tenant is left alone because it could not be reached, but for one call at a time that tries.
    pub is_open: bool,
}

/// A tenant's lanes.
#[derive(Clone, Debug)]
pub struct LanesReading<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// Lanes that a call is in.
    pub held: u64,
    /// Calls that wait for one.
    pub waiting: u64,
}

/// An app's async requests. Readings with equal `tenant` and `app` are shown as one.
#[derive(Clone, Debug)]
pub struct AsyncReading<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// Name of the app.
    pub app: &'a str,
    /// Those whose outcome is not known yet.
    pub pending: u64,
    /// Age of the oldest of those; zero without one.
    pub oldest_pending: Duration,
    /// Those that have ended as unknown, and are remembered.
    pub unknown: u64,
    /// Outcomes that could not be forwarded and are no longer tried.
    pub dead_letters: u64,
}

/// The registry of async requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryReading {
    /// What it takes on disk.
    pub bytes: u64,
    /// How many async requests it remembers, ended ones included.
    pub records: u64,
}

impl Readings<'_> {
    /// Makes the gauges show these readings and nothing else.
    pub(crate) fn set(&self, families: &Families) {
        families.permits_in_use.reset();
        families.permits_capacity.reset();
        families.permits_ceiling.reset();
        families.outside_use.reset();
        families.limit_mismatch.reset();
        families.queued.reset();
        families.queued_bytes.reset();
        families.cooldown.reset();
        families.token_expires_in.reset();
        families.circuit_open.reset();
        families.lanes_held.reset();
        families.lanes_waiting.reset();
        families.async_pending.reset();
        families.async_unknown.reset();
        families.async_oldest_pending.reset();
        families.outcome_dead_letters.reset();
        families.async_registry_bytes.reset();
        families.async_registry_records.reset();

        for pool in &self.pools {
            pool.add(families);
        }
        for token in &self.tokens {
            let expires_in = families.token_expires_in.with_label_values(&[token.tenant]);
            expires_in.set(token.expires_in_seconds);
        }
        for circuit in &self.circuits {
            let open = families.circuit_open.with_label_values(&[circuit.tenant]);
            open.set(circuit.is_open.into());
        }
        for lanes in &self.lanes {
            let labels = [lanes.tenant];
            families.lanes_held.with_label_values(&labels).set(signed(lanes.held));
            families.lanes_waiting.with_label_values(&labels).set(signed(lanes.waiting));
        }
        for requests in &self.async_requests {
            requests.add(families);
        }
        if let Some(RegistryReading { bytes, records }) = self.registry {
            let none: [&str; 0] = [];
            families.async_registry_bytes.with_label_values(&none).set(signed(bytes));
            families.async_registry_records.with_label_values(&none).set(signed(records));
        }
    }
}

impl AsyncReading<'_> {
    fn add(&self, families: &Families) {
        let labels = [self.tenant, self.app];
        families.async_pending.with_label_values(&labels).add(signed(self.pending));
        families.async_unknown.with_label_values(&labels).add(signed(self.unknown));
        let oldest = families.async_oldest_pending.with_label_values(&labels);
        oldest.set(oldest.get().max(self.oldest_pending.as_secs_f64()));
        families.outcome_dead_letters.with_label_values(&labels).add(signed(self.dead_letters));
    }
}

impl PoolReading<'_> {
    fn add(&self, families: &Families) {
        let labels = [self.tenant, self.pool];
        families.permits_in_use.with_label_values(&labels).add(signed(self.in_use));
        families.permits_capacity.with_label_values(&labels).add(signed(self.capacity));
        families.permits_ceiling.with_label_values(&labels).add(signed(self.ceiling));
        families.outside_use.with_label_values(&labels).add(signed(self.outside_use));
        let mismatch = families.limit_mismatch.with_label_values(&labels);
        mismatch.set(mismatch.get().max(self.limit_mismatch.into()));
        let cooldown = families.cooldown.with_label_values(&labels);
        cooldown.set(cooldown.get().max(self.cooldown.as_secs_f64()));

        for queue in &self.queues {
            let labels = [self.tenant, queue.app, self.pool];
            families.queued.with_label_values(&labels).add(signed(queue.requests));
            families.queued_bytes.with_label_values(&labels).add(signed(queue.bytes));
        }
    }
}

fn signed(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
