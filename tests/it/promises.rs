//! What the gateway promises, judged by the ledger of the tenant behind it.

mod limit;
mod limit_types;
mod load;
mod memory;
mod observing;
mod refusals;
mod soak;
mod token;
mod turns;
mod wishes;

use std::time::Duration;

/// Lets the time of a test pass without waiting for it. Only for a runtime of one thread.
pub(crate) async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
