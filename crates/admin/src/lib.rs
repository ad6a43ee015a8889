//! What operators look at: metrics, health, and the state of every queue, on a port of its own.
//!
//! Only readings are served here. Every answer is made of snapshots, so a slow scraper holds nothing up.

mod routes;
mod server;
mod state;

pub use server::Server;
pub use state::{Admin, Tenant};
