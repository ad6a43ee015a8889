//! In which language a caller understands a failure.

/// The shape of a failure's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Zuora's JSON.
    #[default]
    Json,
    /// A SOAP fault.
    Soap {
        /// Whether it answers a `login()`.
        is_login: bool,
    },
}
