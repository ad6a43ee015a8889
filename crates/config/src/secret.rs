//! Text that must not be shown.

use std::fmt;

/// A secret of the configuration: a password, a token, a key.
///
/// `Debug` prints `***`, there is no `Display`, and reading it takes an
/// [`expose`](Self::expose) that a reviewer can search for. It does not
/// compare either: comparing secrets in constant time is the business of
/// whoever checks them.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself. Do not print it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
