//! Who calls, and how that is known.

use std::sync::Arc;

use credentials::By;
use http::Method;

use crate::route::App;

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) app: Arc<App>,
    pub(crate) door: Door,
}

impl Caller {
    /// Whether a request with this method asks whether a call may come, and is not that call itself.
    pub(crate) fn is_preflight(&self, method: &Method) -> bool {
        self.door == Door::SingleUse && *method == Method::OPTIONS
    }
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
    /// It is the gateway itself.
    Own,
    /// By Zuora's single-use credential, or it asks whether it may come with that.
    SingleUse,
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
            Self::Own => "own",
            Self::SingleUse => "single-use",
        }
    }
}
