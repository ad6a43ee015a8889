//! Everything that is counted and logged, and the only place that knows metric names.
//!
//! [`Metrics`] hands out handles that are looked up once, when a configuration is taken in,
//! so that a finished call costs a handful of atomic additions. What other crates already know
//! about themselves (permits, queues, the age of a token) is not mirrored while requests
//! run: whoever renders `/metrics` passes it as plain numbers, a [`Readings`].
//!
//! [`log::init`] sets up the log of the whole process. A log that nobody reads never holds
//! up a request: lines are dropped and counted.

pub mod log;

mod families;
mod handles;
mod labels;
mod metrics;
mod panics;
mod process;
mod readings;

pub use handles::{
    AppMetrics, AsyncMetrics, CalloutMetrics, Live, PoolMetrics, RegistryMetrics, TenantMetrics,
};
pub use labels::{
    AsyncState, CalloutResult, Delivery, Refresh, Refused, Reload, Source, UNKNOWN, Verdict,
};
pub use metrics::{Inventory, Metrics};
pub use panics::log_panics;
pub use readings::{
    AsyncReading, CircuitReading, LanesReading, PoolReading, QueueReading, Readings,
    RegistryReading, TokenReading,
};
