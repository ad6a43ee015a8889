//! What threads meet at. For the model checker it is exchanged for doubles that mark every step.

#[cfg(feature = "model")]
mod doubles;

#[cfg(feature = "model")]
pub(crate) use doubles::{Handle, Mutex, MutexGuard, Notify, oneshot};
#[cfg(not(feature = "model"))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "model"))]
pub(crate) use tokio::runtime::Handle;
#[cfg(not(feature = "model"))]
pub(crate) use tokio::sync::{Notify, oneshot};
