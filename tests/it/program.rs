//! The program as an operator meets it: what it serves, says, counts, and how it ends.

mod admin;
mod bad_input;
mod callouts;
mod commands;
mod ending;
mod log;
pub(crate) mod reload;
