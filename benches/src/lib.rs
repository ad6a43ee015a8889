//! What the measuring programs share: starting the proxies that are compared,
//! putting load on them, and reading what they cost.
//!
//! Deliberately outside the gateway: everything here sees a proxy as a process
//! with a port, the same for ours as for nginx and HAProxy. The exception is
//! [`waiting`], for measuring single decisions.

pub mod client;
pub mod duration;
pub mod machine;
pub mod peers;
pub mod plot;
pub mod process;
pub mod samples;
pub mod stats;
pub mod table;
pub mod upstream;
pub mod waiting;
pub mod wrk;
