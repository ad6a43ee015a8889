//! What the operator allows: pools, apps and bounds, already checked.

use std::num::NonZeroU32;
use std::sync::Arc;

/// Everything one tenant's [`Admission`](crate::Admission) needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pools; a [`PoolId`] is a place in this list.
    pub pools: Vec<PoolSettings>,
    /// The names of the apps; an [`AppId`] is a place in this list.
    pub apps: Vec<Arc<str>>,
    /// How much may wait in each pool.
    pub queue: QueueBounds,
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
}

/// How much may wait in one pool. Time is the third bound: see [`Ask::deadline`](crate::Ask).
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// The most calls that wait in a pool, those that rest until a named moment included.
    pub max_requests: usize,
    /// The most bytes of request bodies that are kept for a pool.
    pub max_bytes: u64,
}

/// Which pool: its place in [`Settings::pools`]. Found with [`Admission::pool`](crate::Admission::pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub(crate) u32);

impl PoolId {
    /// Returns the place in [`Settings::pools`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which app: its place in [`Settings::apps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(u32);

impl AppId {
    /// Names the app at `index` of [`Settings::apps`].
    ///
    /// # Panics
    ///
    /// If `index` does not fit 32 bits.
    pub fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("nobody configures four billion apps"))
    }

    /// Returns the place in [`Settings::apps`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
