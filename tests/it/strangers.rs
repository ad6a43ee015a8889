//! How apps prove who they are, and what becomes of those who cannot.

mod certificates;
mod connections;
mod guesses;
