//! The gateway from the outside: one binary, many modules. The judge is always somebody else: the emulated tenant's
//! ledger, the bytes that it received, or a published client.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are not recognised as tests"
)]

mod addresses;
mod async_guide;
mod async_writes;
mod caller;
mod clients;
mod deploy;
mod doors;
mod entities;
mod envelopes;
mod identities;
mod linking;
mod policy;
mod program;
mod promises;
mod reconciling;
mod road;
mod running;
mod single_use;
mod soap;
mod strangers;
mod wire;
