//! The tenant from the outside: raw bytes on real sockets, the ledger as the judge.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail the test")]

#[path = "tenant/wire.rs"]
mod wire;

#[path = "tenant/answers.rs"]
mod answers;
#[path = "tenant/controls.rs"]
mod controls;
#[path = "tenant/data.rs"]
mod data;
#[path = "tenant/faults.rs"]
mod faults;
#[path = "tenant/limits.rs"]
mod limits;
#[path = "tenant/memory.rs"]
mod memory;
