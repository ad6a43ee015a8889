//! The program: arguments, wiring, signals. Everything else is a crate of its own, and only this one knows them all.

mod alive;
pub mod commands;
mod gateway;
mod portless;
mod reconcile;
mod reload;
mod remembering;
mod restart;
mod tokens;
mod wiring;
mod works;

pub use gateway::{Gateway, StartError};
pub use portless::Portless;
pub use reload::Source;
pub use works::Unusable;
