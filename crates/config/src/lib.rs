//! What the operator asked for, checked once.
//!
//! [`load()`] reads the YAML file and gives either a [`Config`], about which
//! nothing is left to check, or [`Problems`]: everything that is wrong with
//! the file, at once, each with its place. On the way from one to the other
//! stand three forms of the same thing: `yaml` is the text as a tree that
//! knows where each node was written, `file` is the same with the keys that
//! exist, and `config` is what the rest of the program uses.
//!
//! This is the only crate that reads the process environment, and it knows
//! neither the runtime nor the network: what needs a socket or a certificate
//! to be checked is checked by whoever opens it.

mod config;
mod environment;
mod file;
mod load;
mod problem;
mod reading;
mod resolve;
mod scalar;
mod schema;
mod secret;
mod yaml;

pub use config::{
    Admin, App, AppRate, AppSecret, Async, BaseUrl, Callouts, CertificateName, Concurrency, Config,
    ContendedWrites, Credential, CredentialKind, Credentials, Entity, InvalidTrackId, Lanes, Limit,
    Listen, ListenCallouts, Log, LogFormat, LogLevel, OnRefusal, Outcomes, Pair, Priority, Queue,
    Rate, Registry, Renew, Retry, Rewrite, Tenant, Timeouts, Tls, TrackIdPolicy, ValidTrackId,
    When,
};
pub use environment::{Environment, ProcessEnvironment};
pub use load::{Loaded, load, load_with_files, parse};
pub use problem::{Place, Problem, Problems};
pub use schema::schema;
pub use secret::Secret;

#[cfg(test)]
mod tests;
