//! Where a call goes: its app, its tenant, and the pool it counts against.

use std::sync::Arc;

use admission::{Admission, AppId, Lanes, PoolId};
use credentials::Tokens;
use http::{HeaderMap, HeaderName, HeaderValue};
use telemetry::{AppMetrics, Metrics, PoolMetrics, TenantMetrics};
use tokio::time::Duration;
use zuora::links::OwnHosts;
use zuora::{LimitType, Operation, Policy, Target};

use crate::error::Error;
use crate::go_async::Async;
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
    /// The places of the entities that it may name among its tenant's, its default first; at least one.
    pub entities: Vec<usize>,
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
    /// The way to what is under `/apps`, the SOAP API above all; `None` if nobody has said where that is.
    pub soap: Option<Upstream>,
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
    /// What becomes of its writes that may take their time; `None` if nothing is kept of them.
    pub async_requests: Option<Async>,
    /// Counts what happens here.
    pub metrics: TenantMetrics,
}

/// An entity of a tenant, with its pools in the order of [`POOLS`].
#[derive(Debug)]
pub struct Entity {
    /// Its id; `None` if the tenant has only one.
    pub id: Option<Arc<str>>,
    /// Its name at Zuora, for callers who say that.
    pub name: Option<Arc<str>>,
    /// Its pools.
    pub pools: [PoolId; POOLS.len()],
    /// The token that everybody shares.
    pub tokens: Arc<Tokens>,
    /// The session that SOAP calls share, if they have a login of their own.
    pub soap_tokens: Option<Arc<Tokens>>,
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
    side: Side,
    /// Whether the call names no entity.
    names_none: bool,
    /// Its place among the tenant's entities.
    pub(crate) entity: usize,
    pub(crate) pool: PoolId,
    /// Set if Zuora counts the operation against another limit type than the table says.
    moved: Option<Box<Moved>>,
}

/// Which of a tenant's servers a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The REST API's.
    Rest,
    /// The one of what is under `/apps`.
    Apps,
    /// The SOAP API there, which may have a login of its own.
    Soap,
}

impl Side {
    /// Where `path` may be read as being under `/apps` by anybody, it goes there; `is_soap` says that it carries a SOAP
    /// envelope.
    pub(crate) fn of(path: &Target<'_>, is_soap: bool) -> Self {
        match path.may_be_under(&["apps"]) {
            true if is_soap => Self::Soap,
            true => Self::Apps,
            false => Self::Rest,
        }
    }
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
        side: Side,
        headers: &HeaderMap,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        if side != Side::Rest && app.tenant.soap.is_none() {
            return Err(Error::NotFound(
                "what is under `/apps` is on another host of Zuora's: set `soap_url` of this tenant",
            ));
        }
        let entity = app.entity(headers)?;
        let names_none = !names_entity(headers);
        Ok(Self { names_none, ..Self::to(app, operation, side, entity, metrics) })
    }

    fn to(
        app: Arc<App>,
        operation: Option<&'static Operation>,
        side: Side,
        entity: usize,
        metrics: &Metrics,
    ) -> Self {
        let tenant = Arc::clone(&app.tenant);
        let pools = &tenant.entities[entity];
        let moved = operation.and_then(|operation| pools.learnt.pool_of(operation)).map(|to| {
            Box::new(Moved { to: Arc::clone(to), metrics: to.metrics_of(&app, metrics) })
        });
        let pool = moved.as_ref().map_or(pools.pools[index(operation)], |moved| moved.to.id);
        Self { app, tenant, operation, side, names_none: false, entity, pool, moved }
    }

    /// The server that it goes to.
    pub(crate) fn upstream(&self) -> &Upstream {
        match (self.side, &self.tenant.soap) {
            (Side::Apps | Side::Soap, Some(soap)) => soap,
            _ => &self.tenant.upstream,
        }
    }

    /// The tokens of its entity.
    pub(crate) fn tokens(&self) -> &Tokens {
        let Entity { tokens, soap_tokens, .. } = self.entity();
        match (self.side, soap_tokens) {
            (Side::Soap, Some(soap_tokens)) => soap_tokens,
            _ => tokens,
        }
    }

    /// The tokens of its entity, if there are none yet and calls with others use the same pool.
    pub(crate) fn missing_beside_others(&self) -> Option<&Tokens> {
        let has_others = self.entity().soap_tokens.is_some();
        Some(self.tokens()).filter(|tokens| has_others && !tokens.is_ready())
    }

    /// Whether nothing says which of several entities the call is for: the tenant's are not configured, the call names
    /// none, and the token reaches several.
    pub(crate) fn is_vague(&self) -> bool {
        self.names_none && self.entity().id.is_none() && self.tokens().reaches_several()
    }

    pub(crate) fn entity(&self) -> &Entity {
        &self.tenant.entities[self.entity]
    }

    /// Whether this is still the pool that the operation counts against, as far as answers have told.
    pub(crate) fn is_right(&self) -> bool {
        let entity = self.entity();
        let named = self.operation.and_then(|operation| entity.learnt.pool_of(operation));
        match named {
            None => self.moved.is_none(),
            Some(named) => named.id == self.pool,
        }
    }

    /// The right route, if this one is not.
    pub(crate) fn anew(&self, metrics: &Metrics) -> Option<Self> {
        let anew = || Self {
            names_none: self.names_none,
            ..Self::to(Arc::clone(&self.app), self.operation, self.side, self.entity, metrics)
        };
        (!self.is_right()).then(anew)
    }

    /// The route of the same call, counted as `operation`; `None` if it is already.
    pub(crate) fn counted_as(
        &self,
        operation: Option<&'static Operation>,
        metrics: &Metrics,
    ) -> Option<Self> {
        let other = || Self {
            names_none: self.names_none,
            ..Self::to(Arc::clone(&self.app), operation, self.side, self.entity, metrics)
        };
        (self.operation != operation).then(other)
    }

    /// Takes in that Zuora counts this operation against another limit type.
    pub(crate) fn learn(&self, name: &str, limit: u32) {
        let entity = self.entity();
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

impl App {
    /// Which entity a call is for: the one that it names, else the app's default. Limits are per entity, so a call for an
    /// entity that nobody configured could pass a limit unseen: it is refused.
    pub(crate) fn entity(&self, headers: &HeaderMap) -> Result<usize, Error> {
        let default = *self.entities.first().expect("an app has at least one entity");
        let known = &self.tenant.entities;
        if known[default].id.is_none() {
            return Ok(default);
        }
        let named = match Named::of(headers)? {
            None => return Ok(default),
            Some(named) => known.iter().position(|entity| named.is(entity)),
        };
        match named {
            Some(entity) if self.entities.contains(&entity) => Ok(entity),
            Some(_) => Err(Error::Forbidden("this app is not allowed to name this entity")),
            None => {
                Err(Error::Forbidden("this call names an entity that this gateway does not serve"))
            }
        }
    }
}

impl Entity {
    /// The field that says to Zuora what `headers` leave open: which entity the call is for. `None` if they say it, or if
    /// there is only one.
    pub(crate) fn unsaid(&self, headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
        let id = self.id.as_ref().filter(|_| !names_entity(headers))?;
        let id = HeaderValue::from_str(id).expect("an entity's id is a UUID");
        Some((headers::ENTITY_IDS, id))
    }
}

/// In which a call may name an entity.
const ENTITY_FIELDS: [HeaderName; 3] =
    [headers::ENTITY_IDS, headers::ENTITY_ID, headers::ENTITY_NAME];

/// Whether a call names an entity, in whichever way.
pub(crate) fn names_entity(headers: &HeaderMap) -> bool {
    ENTITY_FIELDS.iter().any(|name| headers.contains_key(name))
}

/// How a call names its entity: in the way of today, in one of the older two, or in both (Zuora: Multi-entity guide).
struct Named<'h> {
    ids: Vec<&'h [u8]>,
    name: Option<&'h [u8]>,
}

impl<'h> Named<'h> {
    /// What the call names; `None` if it names nothing.
    fn of(headers: &'h HeaderMap) -> Result<Option<Self>, BadRequest> {
        let [today, older, name] =
            ENTITY_FIELDS.each_ref().map(|field| single(headers, field, BadRequest::Entities));
        let (today, older, name) = (today?, older?, name?);
        if (today, older, name) == (None, None, None) {
            return Ok(None);
        }
        // What `Connection` names does not reach Zuora, who would then take the call for another entity than we do.
        let ends_here = |name: &HeaderName| ENTITY_FIELDS.contains(name);
        if headers::named_by_connection(headers).iter().any(ends_here) {
            return Err(BadRequest::Entities);
        }
        // Zuora takes only one of the older two.
        if older.is_some() && name.is_some() {
            return Err(BadRequest::Entities);
        }
        let ids: Vec<_> = today.into_iter().chain(older).collect();
        match ids[..] {
            [today, older] if !same_entity(today, older) => Err(BadRequest::Entities),
            _ => Ok(Some(Self { ids, name })),
        }
    }

    /// Whether this is the entity, by all that the call says of it.
    fn is(&self, entity: &Entity) -> bool {
        let is_id =
            |id: &&[u8]| entity.id.as_ref().is_some_and(|own| same_entity(own.as_bytes(), id));
        let is_name = |name: &[u8]| entity.name.as_ref().is_some_and(|own| own.as_bytes() == name);
        self.ids.iter().all(is_id) && self.name.is_none_or(is_name)
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
