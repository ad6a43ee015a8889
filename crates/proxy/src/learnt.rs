//! What answers teach about limit types.
//!
//! Zuora decides which limit an operation counts against, and the table of operations says what it has published. Where
//! an answer names another type (`Concurrency-Limit-Type`), Zuora is right: from then on the operation's calls wait in
//! the pool of that type. Only operations of the table are moved. All that is not in it goes by one name, and what is
//! true of one such call says nothing about the next; of those the pool is made, so that operators see it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use admission::{AppId, PoolId};
use telemetry::{Metrics, PoolMetrics};
use zuora::Operation;

use crate::route::{App, Tenant};

/// To how many pools the operations of an entity are moved at most. Zuora has a handful of limit types.
const MOST: usize = 16;

/// The operations of one entity that count against another limit type than the table says. Good for as long as the
/// tenant's admission is.
#[derive(Debug)]
pub struct Learnt {
    /// By the operation's place in the table: 0 where that is right, else which of `pools`, counted from 1.
    operations: Box<[AtomicU8]>,
    /// Filled from the front.
    pools: [OnceLock<Arc<LearntPool>>; MOST],
    /// Held by whoever fills `pools`.
    learning: Mutex<()>,
}

/// A pool to which operations are moved.
#[derive(Debug)]
pub(crate) struct LearntPool {
    /// The limit type, as the configuration spells it if it does.
    pub(crate) name: Arc<str>,
    pub(crate) id: PoolId,
    apps: RwLock<BTreeMap<AppId, PoolMetrics>>,
}

impl Default for Learnt {
    fn default() -> Self {
        Self {
            operations: zuora::operations().iter().map(|_| AtomicU8::new(0)).collect(),
            pools: Default::default(),
            learning: Mutex::default(),
        }
    }
}

impl Learnt {
    /// The pool that `operation` counts against; `None` as long as Zuora never named another one than the table.
    pub(crate) fn pool_of(&self, operation: &Operation) -> Option<&Arc<LearntPool>> {
        // Every call asks this. Nothing hangs on the order: a pool that cannot be seen yet is learnt a little later.
        let nth = self.operations[operation.place()].load(Ordering::Relaxed);
        self.pools.get(usize::from(nth).checked_sub(1)?)?.get()
    }

    /// Takes in that Zuora counts `operation`, or one that the table does not know, against the limit type `name`.
    pub(crate) fn learn(
        &self,
        tenant: &Tenant,
        entity: Option<&str>,
        operation: Option<&Operation>,
        (name, limit): (&str, u32),
    ) {
        let found = self.find(name).or_else(|| self.add(tenant, entity, name, limit));
        let (Some(nth), Some(operation)) = (found, operation) else { return };
        if self.operations[operation.place()].swap(nth, Ordering::Relaxed) == 0 {
            let (tenant, operation) = (&*tenant.name, operation.id);
            tracing::info!(
                tenant,
                entity,
                operation,
                pool = name,
                "Zuora counts this operation against another limit type than it has published"
            );
        }
    }

    fn find(&self, name: &str) -> Option<u8> {
        let mut pools = self.pools.iter().map_while(OnceLock::get).zip(1..);
        pools.find_map(|(pool, nth)| pool.name.eq_ignore_ascii_case(name).then_some(nth))
    }

    /// Finds or makes the pool, if there is room for it.
    fn add(&self, tenant: &Tenant, entity: Option<&str>, name: &str, limit: u32) -> Option<u8> {
        let _alone = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nth) = self.find(name) {
            return Some(nth);
        }
        let (free, nth) = self.pools.iter().zip(1..).find(|(pool, _)| pool.get().is_none())?;
        let is_news = tenant.admission.pool(entity, name).is_none();
        let id = tenant.admission.learn(entity, name, limit)?;
        if is_news {
            let tenant = &*tenant.name;
            tracing::warn!(
                tenant,
                entity,
                pool = name,
                limit,
                "Zuora names a limit type that nobody configured: add it to `concurrency.limits`"
            );
        }
        let pools = tenant.admission.snapshot().pools;
        let is_it = |pool: &admission::PoolSnapshot| {
            pool.entity.as_deref() == entity && pool.name.eq_ignore_ascii_case(name)
        };
        let name = pools.into_iter().find(is_it).map_or_else(|| name.into(), |pool| pool.name);
        free.get_or_init(|| Arc::new(LearntPool { name, id, apps: RwLock::default() }));
        Some(nth)
    }
}

impl LearntPool {
    /// What counts the calls of `app` in this pool.
    pub(crate) fn metrics_of(&self, app: &App, metrics: &Metrics) -> PoolMetrics {
        if let Some(known) = self.apps.read().unwrap_or_else(PoisonError::into_inner).get(&app.id) {
            return known.clone();
        }
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        let new = || metrics.pool(&app.tenant.name, &app.name, &self.name);
        apps.entry(app.id).or_insert_with(new).clone()
    }
}
