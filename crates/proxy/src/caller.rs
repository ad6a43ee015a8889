//! Who calls, and how that is known.

use std::sync::Arc;

use credentials::By;

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
    /// By a credential of its app, or a token or session that it got for one.
    Credential,
    /// By its client certificate alone.
    Certificate,
    /// By nothing: it is taken for the app of callers without a credential.
    Anonymous,
}

impl From<By> for Door {
    fn from(by: By) -> Self {
        match by {
            By::Credential => Self::Credential,
            By::Certificate => Self::Certificate,
            By::Nothing => Self::Anonymous,
        }
    }
}

impl Door {
    /// The word for it in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Certificate => "certificate",
            Self::Anonymous => "anonymous",
        }
    }
}
