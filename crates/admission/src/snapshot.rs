//! What metrics and the dashboard see: one tenant at one moment, all of it under one lock.

use std::sync::Arc;
use std::time::Duration;

/// One tenant's pools at one moment. Numbers of different pools belong to the same moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// In the order of [`Settings::pools`](crate::Settings::pools).
    pub pools: Vec<PoolSnapshot>,
    /// Permits out, over all pools.
    pub in_use: u32,
    /// Calls that wait, over all pools.
    pub queued: usize,
    /// Bytes of kept bodies, over all pools.
    pub kept_bytes: u64,
}

/// One pool at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSnapshot {
    /// The limit type.
    pub name: Arc<str>,
    /// The entity, or `None` where the tenant has one only.
    pub entity: Option<Arc<str>>,
    /// The ceiling as configured.
    pub configured: u32,
    /// The limit that Zuora last named; unequal to `configured` means that one of them is wrong.
    pub observed: Option<u32>,
    /// What Zuora allows: the smaller of the two.
    pub ceiling: u32,
    /// How many permits may be used now: ceiling less headroom, lowered after refusals and while a
    /// pause is being ramped out of. While `paused_for` is not zero none is given all the same.
    pub capacity: u32,
    /// Permits out. More than `capacity` only while a lowered pool drains.
    pub in_use: u32,
    /// Calls that wait, those that rest until a named moment included.
    pub queued: usize,
    /// Bytes of kept bodies.
    pub kept_bytes: u64,
    /// How long no permit will be given; zero if not paused.
    pub paused_for: Duration,
    /// In the order of [`Settings::apps`](crate::Settings::apps).
    pub apps: Vec<AppSnapshot>,
}

/// One app's part of a pool at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct AppSnapshot {
    /// The app's name.
    pub app: Arc<str>,
    /// Permits out.
    pub in_use: u32,
    /// Calls that wait.
    pub queued: usize,
    /// Bytes of kept bodies.
    pub kept_bytes: u64,
    /// How long ago the first of the waiting calls asked for the first time; zero if none waits.
    pub oldest_wait: Duration,
    /// Seconds that permits were held so far, those still out included. Never falls.
    pub permit_seconds: f64,
}
