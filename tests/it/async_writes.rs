//! Writes that may take their time: they go to Zuora's asynchronous form, and their outcome comes back to whoever asked.
//! The judges are a tenant of sockets, which keeps every byte, and the emulated tenant's ledger.

mod asking;
mod bounds;
mod callouts;
mod forwarding;
mod lives;
mod orders;
mod outcomes;
mod programs;
mod real;
mod stage;
