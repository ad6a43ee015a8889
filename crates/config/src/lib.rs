//! What the operator asked for, checked once.
