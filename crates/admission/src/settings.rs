//! What the operator allows: pools, apps and bounds, already checked.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Everything one tenant's [`Admission`](crate::Admission) needs to know. It may be exchanged while
/// calls wait and go: [`Admission::reconfigure`](crate::Admission::reconfigure).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pools, each with another name or entity.
    pub pools: Vec<PoolSettings>,
    /// The apps, each with another name.
    pub apps: Vec<AppSettings>,
    /// How much may wait in each pool.
    pub queue: QueueBounds,
    /// What the tenant may send in a window of time, over all pools.
    pub rate: RateLimits,
}

/// One pool: what may be at Zuora at the same time for one entity and limit type.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The limit type, in Zuora's words (`Default`, `High-volume transactions`, `Object Query`).
    pub name: Arc<str>,
    /// The entity, or `None` where the tenant has one only.
    pub entity: Option<Arc<str>>,
    /// The most that Zuora allows at the same time.
    pub ceiling: NonZeroU32,
    /// How many of these are left to others. At least one permit is always ours.
    pub headroom: u32,
    /// Whether calls wait for a permit. If not, every call goes at once, and the permit tells
    /// that it [would have waited](crate::Permit::would_have_waited): for a permit, or because the
    /// tenant is down.
    pub enforce: bool,
    /// What a refusal under concurrency does to everybody else.
    pub on_refusal: OnRefusal,
    /// The longest that a call refused under concurrency rests, whatever Zuora asks for.
    pub retry_after_cap: Option<Duration>,
}

/// What a refusal under concurrency does to the calls that were not refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefusal {
    /// The pool shrinks to what fitted, and goes on.
    #[default]
    Shrink,
    /// The whole pool pauses until the moment that Zuora named.
    Freeze,
}

/// One app, and what it may have of each pool.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// The app's name.
    pub name: Arc<str>,
    /// Its share of a pool, in proportion to the other apps that want more than they get.
    pub weight: NonZeroU32,
    /// The permits of each pool that it has whenever it asks for them. While it does not, others do.
    pub reserve: u32,
    /// The most permits that it may have out, over all pools.
    pub max_in_flight: Option<NonZeroU32>,
    /// Who goes first, within what the shares allow.
    pub priority: Priority,
    /// What it may send per second, over all pools.
    pub rate: Option<AppRate>,
}

impl AppSettings {
    /// Returns an app with an equal share, and nothing special.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            weight: NonZeroU32::MIN,
            reserve: 0,
            max_in_flight: None,
            priority: Priority::default(),
            rate: None,
        }
    }
}

/// Who goes first. A higher priority is a head start, not a larger share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for the answer.
    Interactive,
    /// What nothing else is said of.
    #[default]
    Standard,
    /// Work that may take its time.
    Batch,
    /// Only what nobody else wants.
    Scavenger,
}

/// A token bucket: `burst` at once, and `per_second` in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppRate {
    /// Calls per second.
    pub per_second: NonZeroU32,
    /// Calls at once after a quiet time.
    pub burst: NonZeroU32,
    /// Whether calls wait for it; if not, they are told that they would have.
    pub enforce: bool,
}

/// What a tenant may send, counted by Zuora in windows of a minute, an hour and a day. Each is paced:
/// no window of that length ever sees more, wherever it begins, and none is used up at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Calls in any minute.
    pub per_minute: Option<NonZeroU32>,
    /// Calls in any hour.
    pub per_hour: Option<NonZeroU32>,
    /// Calls in any day.
    pub per_day: Option<NonZeroU32>,
    /// Whether calls wait for it; if not, they are told that they would have.
    pub enforce: bool,
}

impl RateLimits {
    /// No window at all.
    pub const NONE: Self = Self { per_minute: None, per_hour: None, per_day: None, enforce: true };
}

/// How much may wait in one pool. Time is the third bound: see [`Ask::deadline`](crate::Ask).
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// The most calls that wait in a pool, those that rest until a named moment included.
    pub max_requests: usize,
    /// The most bytes of request bodies that are kept for a pool.
    pub max_bytes: u64,
}

/// Which pool. Found with [`Admission::pool`](crate::Admission::pool); good for as long as the
/// admission lives, whatever the settings become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub(crate) u32);

/// Which app. Found with [`Admission::app`](crate::Admission::app); good for as long as the admission
/// lives, whatever the settings become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub(crate) u32);

impl PoolId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl AppId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
