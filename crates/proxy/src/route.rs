//! Where a call goes: its app, its tenant, and the pool it counts against.

use std::sync::Arc;

use admission::{Admission, AppId, Lanes, PoolId};
use credentials::Tokens;
use http::{HeaderMap, HeaderName};
use telemetry::{AppMetrics, Metrics, PoolMetrics, TenantMetrics};
use tokio::time::Duration;
use zuora::links::OwnHosts;
use zuora::{LimitType, Operation, Policy};

use crate::error::Error;
use crate::headers;
use crate::learnt::{Learnt, LearntPool};
use crate::request::{BadRequest, single};
use crate::retry::RetryPolicy;
use crate::upstream::Upstream;

/// A program that calls us.
#[derive(Debug)]
pub struct App {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Which of the proxy's tenants it calls.
    pub tenant: Arc<Tenant>,
    /// Its place among the apps of its tenant's admission.
    pub id: AppId,
    /// What it may call.
    pub policy: Policy,
    /// How long its calls may wait for their turn.
    pub queue_timeout: Duration,
    /// The field in which it tells for whom it calls; its users share its turns alike.
    pub fairness_key: Option<HeaderName>,
    /// Counts its calls.
    pub metrics: AppMetrics,
    /// Counts its calls by pool, in the order of [`POOLS`].
    pub pools: [PoolMetrics; POOLS.len()],
}

/// A Zuora tenant, as far as a call has to do with it.
#[derive(Debug)]
pub struct Tenant {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The way there.
    pub upstream: Upstream,
    /// The hosts that links in its answers name when they mean itself.
    pub own_hosts: Arc<OwnHosts>,
    /// Who goes next.
    pub admission: Arc<Admission>,
    /// Its entities; one without a name if it has only one.
    pub entities: Vec<Entity>,
    /// What happens to the track ids of apps.
    pub track_ids: TrackIdPolicy,
    /// When a call is tried again.
    pub retry: RetryPolicy,
    /// What keeps calls about the same thing one after another, if they are to be. It outlives configurations, as the
    /// calls in it do.
    pub lanes: Option<Arc<Lanes>>,
    /// The longest request body that is kept for another attempt, in bytes.
    pub replay_buffer: u64,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// How long Zuora may take to begin its answer, and may fall silent within it.
    pub response_timeout: Duration,
    /// Counts what happens here.
    pub metrics: TenantMetrics,
}

/// An entity of a tenant, with its pools in the order of [`POOLS`].
#[derive(Debug)]
pub struct Entity {
    /// Its id; `None` if the tenant has only one.
    pub id: Option<Arc<str>>,
    /// Its pools.
    pub pools: [PoolId; POOLS.len()],
    /// The token that everybody shares.
    pub tokens: Arc<Tokens>,
    /// What Zuora's answers have taught about them. It stays with the tenant's admission when the configuration is
    /// exchanged: forgotten, it would let the first calls pass a limit again.
    pub learnt: Arc<Learnt>,
}

/// The limit types that operations have. What Zuora does not limit counts as `Default`: that never lets too many
/// through, and only logins are concerned, which are answered here.
pub const POOLS: [LimitType; 3] =
    [LimitType::Default, LimitType::HighVolume, LimitType::ObjectQuery];

/// What happens to the track ids that apps send.
#[derive(Clone, Copy, Debug)]
pub struct TrackIdPolicy {
    /// One that Zuora would take.
    pub valid: ValidTrackId,
    /// Whether one that Zuora would not take is replaced; otherwise the call is answered 400.
    pub replace_invalid: bool,
}

/// What happens to a track id that Zuora would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidTrackId {
    /// It is passed on as it is.
    Keep,
    /// The app's name and a hyphen are put before it.
    Prefix,
    /// It is replaced by one of ours.
    Replace,
}

/// Where an attempt goes.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) app: Arc<App>,
    pub(crate) tenant: Arc<Tenant>,
    operation: Option<&'static Operation>,
    /// Its place among the tenant's entities.
    entity: usize,
    pub(crate) pool: PoolId,
    /// Set if Zuora counts the operation against another limit type than the table says.
    moved: Option<Box<Moved>>,
}

#[derive(Debug)]
struct Moved {
    to: Arc<LearntPool>,
    metrics: PoolMetrics,
}

impl Route {
    /// Finds the pool for what `app` asks.
    pub(crate) fn find(
        app: Arc<App>,
        operation: Option<&'static Operation>,
        headers: &HeaderMap,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let entity = app.tenant.entity(headers)?;
        Ok(Self::to(app, operation, entity, metrics))
    }

    fn to(
        app: Arc<App>,
        operation: Option<&'static Operation>,
        entity: usize,
        metrics: &Metrics,
    ) -> Self {
        let tenant = Arc::clone(&app.tenant);
        let pools = &tenant.entities[entity];
        let moved = operation.and_then(|operation| pools.learnt.pool_of(operation)).map(|to| {
            Box::new(Moved { to: Arc::clone(to), metrics: to.metrics_of(&app, metrics) })
        });
        let pool = moved.as_ref().map_or(pools.pools[index(operation)], |moved| moved.to.id);
        Self { app, tenant, operation, entity, pool, moved }
    }

    /// The tokens of its entity.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tenant.entities[self.entity].tokens
    }

    /// The place of its entity among the tenant's.
    pub(crate) fn entity(&self) -> usize {
        self.entity
    }

    /// Whether this is still the pool that the operation counts against, as far as answers have told.
    pub(crate) fn is_right(&self) -> bool {
        let entity = &self.tenant.entities[self.entity];
        let named = self.operation.and_then(|operation| entity.learnt.pool_of(operation));
        match named {
            None => self.moved.is_none(),
            Some(named) => named.id == self.pool,
        }
    }

    /// The right route, if this one is not.
    pub(crate) fn anew(&self, metrics: &Metrics) -> Option<Self> {
        let anew = || Self::to(Arc::clone(&self.app), self.operation, self.entity, metrics);
        (!self.is_right()).then(anew)
    }

    /// Takes in that Zuora counts this operation against another limit type.
    pub(crate) fn learn(&self, name: &str, limit: u32) {
        let entity = &self.tenant.entities[self.entity];
        entity.learnt.learn(&self.tenant, entity.id.as_deref(), self.operation, (name, limit));
    }

    /// The limit type that it counts against.
    pub(crate) fn pool_name(&self) -> &str {
        match &self.moved {
            Some(moved) => &moved.to.name,
            None => POOLS[index(self.operation)].name(),
        }
    }

    pub(crate) fn pool_metrics(&self) -> &PoolMetrics {
        match &self.moved {
            Some(moved) => &moved.metrics,
            None => &self.app.pools[index(self.operation)],
        }
    }
}

impl Tenant {
    /// Which entity a call names; the default one is the first. Limits are per entity, so a call for an entity that
    /// nobody configured could pass a limit unseen: it is refused.
    fn entity(&self, headers: &HeaderMap) -> Result<usize, Error> {
        let default = self.entities.first().expect("a tenant has at least one entity");
        if default.id.is_none() {
            return Ok(0);
        }
        match named_entity(headers)? {
            None => Ok(0),
            Some(named) => self
                .entities
                .iter()
                .position(|entity| {
                    entity.id.as_ref().is_some_and(|id| same_entity(id.as_bytes(), named))
                })
                .ok_or(Error::Forbidden(
                    "this call names an entity that this gateway does not serve",
                )),
        }
    }
}

/// The entity that a call names, in the way of today or in the older one (Zuora: Multi-entity guide).
fn named_entity(headers: &HeaderMap) -> Result<Option<&[u8]>, Error> {
    if headers.contains_key(&headers::ENTITY_NAME) {
        return Err(Error::Forbidden(
            "`entityName` does not tell which limit counts: use `Zuora-Entity-Ids`",
        ));
    }
    let today = single(headers, &headers::ENTITY_IDS, BadRequest::Entities)?;
    let older = single(headers, &headers::ENTITY_ID, BadRequest::Entities)?;
    // What `Connection` names does not reach Zuora, who would then take the call for another entity than we do.
    let ends_here = |name| name == headers::ENTITY_IDS || name == headers::ENTITY_ID;
    match (today, older) {
        (Some(today), Some(older)) if !same_entity(today, older) => {
            Err(BadRequest::Entities.into())
        }
        (None, None) => Ok(None),
        _ if headers::named_by_connection(headers).into_iter().any(ends_here) => {
            Err(BadRequest::Entities.into())
        }
        (today, older) => Ok(today.or(older)),
    }
}

/// Zuora writes entity ids with hyphens and, in its older headers, without.
fn same_entity(a: &[u8], b: &[u8]) -> bool {
    let plain = |id: &[u8]| -> Vec<u8> {
        id.iter().filter(|byte| **byte != b'-').map(u8::to_ascii_lowercase).collect()
    };
    plain(a) == plain(b)
}

/// The place in [`POOLS`] of the limit type that the table says.
fn index(operation: Option<&Operation>) -> usize {
    match operation.map_or(LimitType::Default, |operation| operation.limit_type) {
        LimitType::Default | LimitType::Unlimited => 0,
        LimitType::HighVolume => 1,
        LimitType::ObjectQuery => 2,
    }
}
