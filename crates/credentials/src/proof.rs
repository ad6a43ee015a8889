//! What an attempt carries to prove to Zuora who we are.

use std::fmt;

use http::{HeaderMap, HeaderValue, header};

/// What proves to Zuora who we are, on one attempt. Cheap to clone; its values are marked sensitive, and `Debug` shows
/// none.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// `Authorization: Bearer …` (Zuora: OAuth 2.0).
    #[non_exhaustive]
    Bearer {
        /// The whole value of the field.
        authorization: HeaderValue,
    },
}

impl Proof {
    /// The proof that is this OAuth token, or `None` if it cannot stand in a header field.
    #[must_use]
    pub fn bearer(token: &str) -> Option<Self> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        authorization.set_sensitive(true);
        Some(Self::Bearer { authorization })
    }

    /// Puts it on a request, in place of what was there.
    pub fn put_on(&self, headers: &mut HeaderMap) {
        match self {
            Self::Bearer { authorization } => {
                headers.insert(header::AUTHORIZATION, authorization.clone());
            }
        }
    }

    /// What stands in a SOAP `SessionHeader`: the session, or an OAuth token, which Zuora takes there beside its field.
    /// `None` if this kind of proof has no such form.
    #[must_use]
    pub fn soap_session(&self) -> Option<&str> {
        match self {
            Self::Bearer { authorization } => authorization.to_str().ok()?.strip_prefix("Bearer "),
        }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer { .. } => "Bearer(***)",
        })
    }
}
