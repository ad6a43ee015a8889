//! How many permits are alive, counted apart from the books.
//!
//! The books say how many were given. Were one of them lost on its way to whoever it was given to, or
//! kept by somebody for ever, only a count of the values themselves would tell.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::PoolId;

/// The pools of the first chunk; each next chunk has room for twice as many.
const FIRST: usize = 64;
/// As many as four billion pools need.
const CHUNKS: usize = 27;

/// The permits that are alive, by pool. No lock: a count that grows never moves.
#[derive(Debug, Default)]
pub(crate) struct Live {
    chunks: [OnceLock<Box<[AtomicU32]>>; CHUNKS],
}

impl Live {
    pub(crate) fn enter(&self, pool: PoolId) {
        self.count(pool).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, pool: PoolId) {
        self.count(pool).fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, pool: PoolId) -> u32 {
        self.count(pool).load(Ordering::Relaxed)
    }

    fn count(&self, pool: PoolId) -> &AtomicU32 {
        let place = pool.index() + FIRST;
        let chunk = (place / FIRST).ilog2();
        let len = FIRST << chunk;
        let new = || (0..len).map(|_| AtomicU32::new(0)).collect();
        &self.chunks[chunk as usize].get_or_init(new)[place - len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pool_has_a_count_of_its_own() {
        let live = Live::default();
        let pools: Vec<_> = (0..1000).map(PoolId).collect();

        for (pool, times) in pools.iter().zip(0..) {
            (0..times % 7).for_each(|_| live.enter(*pool));
        }
        live.leave(PoolId(5));

        let counts = pools.iter().map(|pool| live.of(*pool));
        let expected =
            pools.iter().zip(0..).map(|(pool, times)| times % 7 - u32::from(pool.0 == 5));
        assert!(counts.eq(expected));
    }
}
