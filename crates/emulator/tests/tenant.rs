//! The tenant from the outside: raw bytes on real sockets, the ledger as the judge.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail the test")]

#[path = "tenant/wire.rs"]
mod wire;

#[path = "tenant/answers.rs"]
mod answers;
#[path = "tenant/browsers.rs"]
mod browsers;
#[path = "tenant/contention.rs"]
mod contention;
#[path = "tenant/controls.rs"]
mod controls;
#[path = "tenant/cuts.rs"]
mod cuts;
#[path = "tenant/data.rs"]
mod data;
#[path = "tenant/entities.rs"]
mod entities;
#[path = "tenant/exports.rs"]
mod exports;
#[path = "tenant/faults.rs"]
mod faults;
#[path = "tenant/keys.rs"]
mod keys;
#[path = "tenant/later.rs"]
mod later;
#[path = "tenant/limits.rs"]
mod limits;
#[path = "tenant/links.rs"]
mod links;
#[path = "tenant/memory.rs"]
mod memory;
#[path = "tenant/soap.rs"]
mod soap;
