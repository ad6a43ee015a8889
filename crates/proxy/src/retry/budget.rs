//! How many repetitions there may be, as a share of all calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use admission::PoolId;
use tokio::time::Duration;
use tower::retry::budget::{Budget as _, TpsBudget};

/// How long a call counts.
const WINDOW: Duration = Duration::from_secs(10);

/// So many repetitions a second are allowed however few calls there are.
const FLOOR_PER_SECOND: u32 = 10;

/// The retry budgets of a tenant, one for each pool: calls deposit, repetitions withdraw.
///
/// Each is tower's: repetitions may be a share of the calls of the last ten seconds, and ten a second besides.
pub struct Budgets {
    share: f32,
    pools: RwLock<BTreeMap<PoolId, Arc<TpsBudget>>>,
}

impl Budgets {
    /// Budgets of which each allows so many repetitions for each call, from 0 to 10.
    ///
    /// # Panics
    /// If `share` is negative, or over 1000; the configuration has checked it.
    #[must_use]
    pub fn new(share: f32) -> Self {
        Self { share, pools: RwLock::default() }
    }

    /// Returns the share that they were made with.
    #[must_use]
    pub fn share(&self) -> f32 {
        self.share
    }

    /// Counts a call that was sent for the first time.
    pub(crate) fn deposit(&self, pool: PoolId) {
        self.of(pool).deposit();
    }

    /// Whether one more repetition is within the budget; it then counts.
    pub(crate) fn withdraw(&self, pool: PoolId) -> bool {
        self.of(pool).withdraw()
    }

    fn of(&self, pool: PoolId) -> Arc<TpsBudget> {
        let known = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = known.get(&pool) {
            return Arc::clone(budget);
        }
        drop(known);
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(TpsBudget::new(WINDOW, FLOOR_PER_SECOND, self.share));
        Arc::clone(pools.entry(pool).or_insert_with(new))
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("share", &self.share).finish_non_exhaustive()
    }
}
