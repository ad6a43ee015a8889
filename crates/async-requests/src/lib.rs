//! What was accepted to be done later, and how it ended.
//!
//! Zuora takes a write at `/v1/async/…`, answers with a bare id, and tells the outcome once, to an address of the
//! tenant's. [`Registry`] remembers who asked: a record is durable before its request leaves, it is told what becomes of
//! it, and whoever waits for the outcome is woken.
//!
//! What this crate does not know: HTTP, and what a callout looks like.

#[cfg(test)]
mod contract;
mod counts;
mod delivery;
mod disk;
mod memory;
mod record;
mod registry;
mod stall;
mod store;
mod telling;
#[cfg(test)]
mod testing;
mod waiters;

pub use delivery::{DELIVERY_ATTEMPTS, Delivery, Forwarding, Stage};
pub use disk::{Disk, OpenError};
pub use memory::Memory;
pub use record::{Form, Key, Outcome, Record, State};
pub use registry::{NewRequest, NotBegun, Registry, Report, Submission, Taken};
pub use store::{
    AppReadings, Change, Changed, Limits, Store, StoreError, StoreReadings, Whose, Writing,
};
