//! What operators look at: metrics, health, and the state of every queue, on a port of its own.
//!
//! Almost only readings are served here. Every answer is made of snapshots, so a slow scraper holds nothing up. What
//! changes something asks for the admin token, always.

mod configuration;
mod outcomes;
mod routes;
mod server;
mod state;
mod tokens;

pub use configuration::{Configuration, Outcome, Problem, Request};
pub use server::Server;
pub use state::{Admin, App, Tenant};
pub use tokens::KeptToken;
