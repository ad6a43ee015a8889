//! The gateway from the outside: see `it`.
