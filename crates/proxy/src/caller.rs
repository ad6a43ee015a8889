//! Who calls, and how that is known.

use std::sync::Arc;

use crate::route::App;

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) app: Arc<App>,
    pub(crate) door: Door,
}

/// How it is known who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// By a credential of its app, or because callers without one are taken for it.
    Credential,
}

impl Door {
    /// The word for it in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
        }
    }
}
