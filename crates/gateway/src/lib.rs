//! The program: arguments, wiring, signals. Everything else is a crate of its own, and only this one knows them all.

pub mod commands;
mod gateway;
mod wiring;

pub use gateway::{Gateway, StartError};
