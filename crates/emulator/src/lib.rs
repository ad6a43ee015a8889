//! An emulated Zuora tenant, sharing no code with the gateway it judges.

mod answers;
mod body;
mod call;
mod control;
mod dress;
mod faults;
mod idempotency;
mod ledger;
mod limits;
mod locks;
mod oauth;
mod operations;
mod options;
mod rate;
mod road;
mod server;
mod service_time;
mod store;

pub use faults::{Fault, FaultKind};
pub use ledger::{AppTotals, Executed, Ledger};
pub use limits::Outsider;
pub use operations::OperationKind;
pub use options::{Options, RateWindow, Reclassified};
pub use server::Tenant;
pub use service_time::{ServiceTime, ServiceTimeError};
