//! What the gateway makes of bytes: hostile callers on one side, a tenant that answers anything on the other. Both are
//! plain sockets. The judge is what the tenant received, what the caller got, and that the next caller is served.

mod answers;
pub(crate) mod attack;
mod bodies;
mod frames;
mod framing;
mod hangups;
mod http2;
mod policy;
mod secrets;
mod semantics;
mod single_use;
mod tenants;
mod tls;
pub(crate) mod upstream;
