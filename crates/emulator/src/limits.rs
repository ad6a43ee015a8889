//! Concurrency limits: so many calls at once per limit type, and no queue.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::locks::lock;

/// The pools of a tenant: one per entity and limit type.
#[derive(Debug)]
pub(crate) struct Limits {
    pools: Vec<Arc<Pool>>,
    enforced: bool,
}

/// One limit type of one entity.
#[derive(Debug)]
pub(crate) struct Pool {
    limit_type: String,
    /// How the ledger names it: the limit type, after its entity if there are several.
    label: String,
    entity: Option<String>,
    born: Instant,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    limit: Option<u32>,
    in_flight: u32,
    outsiders: u32,
    most_in_flight: u32,
    refused: u64,
    completed: u64,
    busy: Duration,
    /// What `Concurrency-Limit-Remaining` says, as of `shown_second`.
    shown: u32,
    shown_second: u64,
}

/// The right to work on one call. Dropping it ends the work.
#[derive(Debug)]
#[must_use = "the limit has room again as soon as the permit is dropped"]
pub(crate) struct Permit {
    pool: Arc<Pool>,
    since: Instant,
    /// How many calls were being worked on when it was taken, this one included.
    in_flight: u32,
}

/// What the concurrency headers of one answer say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) limit_type: String,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
}

/// What the ledger wants to know of a pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolCounts {
    pub(crate) label: String,
    pub(crate) limit: Option<u32>,
    pub(crate) in_flight: u32,
    pub(crate) outsiders: u32,
    pub(crate) most_in_flight: u32,
    pub(crate) refused: u64,
    pub(crate) completed: u64,
    pub(crate) busy: Duration,
}

/// Somebody else who uses the same tenant: a person in the UI, another
/// integration. Holds its permits until changed or dropped.
#[derive(Debug)]
#[must_use = "the outsider leaves as soon as it is dropped"]
pub struct Outsider {
    pool: Arc<Pool>,
    permits: u32,
}

impl Limits {
    /// Pools for every limit type named, and the three of Zuora's, per entity.
    pub(crate) fn new(limits: &[(String, u32)], entities: &[String], enforced: bool) -> Self {
        let mut types: Vec<(String, Option<u32>)> =
            limits.iter().map(|(name, limit)| (name.clone(), Some(*limit))).collect();
        for name in ["Default", "High-volume transactions", "Object Query"] {
            if !types.iter().any(|(known, _)| known == name) {
                types.push((name.to_owned(), None));
            }
        }
        let entities: Vec<Option<&String>> =
            if entities.is_empty() { vec![None] } else { entities.iter().map(Some).collect() };
        let pools = entities
            .iter()
            .enumerate()
            .flat_map(|(nth, entity)| types.iter().map(move |one| (nth, *entity, one)))
            .map(|(nth, entity, (name, limit))| Arc::new(Pool::new(name, *limit, nth, entity)))
            .collect();
        Self { pools, enforced }
    }

    /// The pool of a limit type, in an entity or in the first.
    pub(crate) fn pool(&self, entity: Option<&str>, limit_type: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| {
            pool.limit_type == limit_type && (entity.is_none() || pool.entity.as_deref() == entity)
        })
    }

    /// Takes a permit, or says at once that there is none.
    pub(crate) fn admit(&self, pool: &Arc<Pool>) -> Option<Permit> {
        let now = Instant::now();
        let mut state = pool.roll(now);
        let used = state.in_flight + state.outsiders;
        if self.enforced && state.limit.is_some_and(|limit| used >= limit) {
            state.refused += 1;
            return None;
        }
        state.in_flight += 1;
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        Some(Permit { pool: Arc::clone(pool), since: now, in_flight: state.in_flight })
    }

    /// Sets the limit of a limit type in every entity; whether there is such a type.
    pub(crate) fn set(&self, limit_type: &str, limit: Option<u32>) -> bool {
        let named = self.pools.iter().filter(|pool| pool.limit_type == limit_type);
        named.map(|pool| pool.set_limit(limit)).count() > 0
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = PoolCounts> {
        self.pools.iter().map(|pool| pool.counts())
    }

    /// Forgets the counters; what is in flight stays in flight.
    pub(crate) fn reset(&self) {
        for pool in &self.pools {
            let mut state = lock(&pool.state);
            state.most_in_flight = state.in_flight;
            state.refused = 0;
            state.completed = 0;
            state.busy = Duration::ZERO;
        }
    }
}

impl Pool {
    /// How the ledger names it.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    fn new(name: &str, limit: Option<u32>, nth: usize, entity: Option<&String>) -> Self {
        let label = match entity {
            Some(entity) if nth > 0 => format!("{entity}/{name}"),
            _ => name.to_owned(),
        };
        let state = State { limit, shown: limit.unwrap_or(0), ..State::default() };
        Self {
            limit_type: name.to_owned(),
            label,
            entity: entity.cloned(),
            born: Instant::now(),
            state: Mutex::new(state),
        }
    }

    /// What the headers of an answer say now: `Remaining` is as old as the
    /// last full second (Zuora: rate limits guide).
    pub(crate) fn shown(&self) -> Option<Shown> {
        let state = self.roll(Instant::now());
        let limit = state.limit?;
        Some(Shown { limit_type: self.limit_type.clone(), limit, remaining: state.shown })
    }

    fn set_limit(&self, limit: Option<u32>) {
        self.roll(Instant::now()).limit = limit;
    }

    /// Lets `permits` outsiders in, besides those already there.
    pub(crate) fn occupy(self: &Arc<Self>, permits: u32) -> Outsider {
        self.roll(Instant::now()).outsiders += permits;
        Outsider { pool: Arc::clone(self), permits }
    }

    /// The state, after taking the snapshot that was due at the last full
    /// second: nothing changed since, or an earlier event would have taken it.
    fn roll(&self, now: Instant) -> std::sync::MutexGuard<'_, State> {
        let second = now.duration_since(self.born).as_secs();
        let mut state = lock(&self.state);
        if state.shown_second != second {
            state.shown_second = second;
            let used = state.in_flight + state.outsiders;
            state.shown = state.limit.unwrap_or(0).saturating_sub(used);
        }
        state
    }

    fn counts(&self) -> PoolCounts {
        let state = lock(&self.state).clone();
        PoolCounts {
            label: self.label.clone(),
            limit: state.limit,
            in_flight: state.in_flight,
            outsiders: state.outsiders,
            most_in_flight: state.most_in_flight,
            refused: state.refused,
            completed: state.completed,
            busy: state.busy,
        }
    }
}

impl Permit {
    /// The name of its pool.
    pub(crate) fn label(&self) -> &str {
        self.pool.label()
    }

    /// How many calls were being worked on when it was taken, this one included.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How long it has been held.
    pub(crate) fn held(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.pool.roll(now);
        state.in_flight -= 1;
        state.completed += 1;
        state.busy += now.duration_since(self.since);
    }
}

impl Outsider {
    /// Holds this many permits from now on.
    pub fn change(&mut self, permits: u32) {
        let mut state = self.pool.roll(Instant::now());
        state.outsiders = state.outsiders - self.permits + permits;
        drop(state);
        self.permits = permits;
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        self.change(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(limit: u32) -> Limits {
        Limits::new(&[("Default".into(), limit)], &[], true)
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_than_the_limit_is_refused_and_room_is_room_at_once() {
        let limits = limits(2);
        let pool = limits.pool(None, "Default").unwrap();

        let first = limits.admit(pool).unwrap();
        let _second = limits.admit(pool).unwrap();
        assert!(limits.admit(pool).is_none());
        drop(first);

        assert!(limits.admit(pool).is_some());
        assert_eq!(limits.counts().next().unwrap().refused, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn remaining_is_as_old_as_the_last_full_second() {
        let limits = limits(10);
        let pool = limits.pool(None, "Default").unwrap();

        let permit = limits.admit(pool).unwrap();
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(pool.shown().unwrap().remaining, 10);

        // At the full second one call was in flight; its end a little later
        // is not seen before the next.
        tokio::time::advance(Duration::from_millis(200)).await;
        drop(permit);
        assert_eq!(pool.shown().unwrap().remaining, 9);
        tokio::time::advance(Duration::from_millis(1000)).await;
        assert_eq!(pool.shown().unwrap().remaining, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outsider_takes_room_until_it_leaves() {
        let limits = limits(3);
        let pool = limits.pool(None, "Default").unwrap();

        let mut outsider = pool.occupy(3);
        assert!(limits.admit(pool).is_none());
        outsider.change(2);
        let permit = limits.admit(pool);
        assert!(permit.is_some());
        assert!(limits.admit(pool).is_none());
        drop(outsider);

        assert!(limits.admit(pool).is_some());
        assert_eq!(limits.counts().next().unwrap().most_in_flight, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn entities_have_limits_of_their_own() {
        let entities = ["a".to_owned(), "b".to_owned()];
        let limits = Limits::new(&[("Default".into(), 1)], &entities, true);

        let _first = limits.admit(limits.pool(None, "Default").unwrap()).unwrap();

        assert!(limits.admit(limits.pool(Some("a"), "Default").unwrap()).is_none());
        assert!(limits.admit(limits.pool(Some("b"), "Default").unwrap()).is_some());
        assert!(limits.pool(Some("c"), "Default").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn without_enforcement_calls_over_the_limit_are_counted() {
        let limits = Limits::new(&[("Default".into(), 1)], &[], false);
        let pool = limits.pool(None, "Default").unwrap();

        let _all: Vec<_> = (0..5).map(|_| limits.admit(pool).unwrap()).collect();

        assert_eq!(limits.counts().next().unwrap().most_in_flight, 5);
    }
}
