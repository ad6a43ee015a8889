//! The life of a request, from the caller's socket to Zuora's and back.
//!
//! [`Proxy`] is the road: a request is accepted, identified, authorized, classified, prepared, admitted, authenticated,
//! sent, judged, and relayed or sent again. [`Server`] is where callers arrive, [`Upstream`] is the way to Zuora.
//!
//! What this crate does not know: the configuration file, metric names, and how a turn is decided. It is handed values
//! of the crates that do.

mod answer;
mod arrival;
mod body;
mod call;
mod caller;
mod callouts;
mod certificate;
mod claim;
mod courier;
mod dialect;
mod embark;
mod errand;
mod error;
mod go_async;
mod guesses;
mod headers;
mod judge;
mod key;
mod lanes;
mod learnt;
mod leg;
mod links;
mod local;
mod login;
mod outbound;
mod outcomes;
mod passage;
mod peer;
mod prefer;
mod progress;
mod proxy;
mod pump;
mod received;
mod relay;
mod request;
mod retry;
mod route;
mod server;
mod shared;
mod single_use;
mod soap;
mod streams;
mod table;
mod tls;
mod upstream;
mod ways;

#[cfg(test)]
mod tests;

pub use body::{Body, Broken};
pub use callouts::report;
pub use courier::{Couriers, Destination};
pub use errand::{Errand, ErrandFailed, OWN_APP, Reply};
pub use go_async::{Asked, Async, Detour, Plan, RewriteRule, When, WhySync, decide as plan};
pub use key::kind_of;
pub use learnt::Learnt;
pub use leg::LONGEST_WORK;
pub use login::{Key as LoginKey, Login, LoginKind};
pub use peer::{Peer, Port};
pub use proxy::Proxy;
pub use retry::{Again, Budgets, End, Kind, RetryPolicy, Tried, Why, decide};
pub use route::{App, Entity, POOLS, Tenant, TrackIdPolicy, ValidTrackId};
pub use server::Server;
pub use table::Table;
pub use tls::{Identity, TlsError, client_config, server_config};
pub use upstream::{Connector, Opening, Stream, Upstream};
pub use ways::Ways;
