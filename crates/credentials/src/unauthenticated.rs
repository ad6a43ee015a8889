//! Why it is not known which app a request comes from.

/// It is not known which app a request comes from.
///
/// The caller is told the same in nearly every case, or an attacker would learn how close a guess
/// was: only that a token of the gateway's own has expired is told, as nobody can have one by
/// guessing. The rest is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.why.advice())]
pub struct Unauthenticated {
    pub(crate) why: Why,
    pub(crate) claimed: Option<usize>,
}

/// What is wrong with what was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// No credential at all.
    Missing,
    /// Something that cannot be a credential, or one twice.
    Malformed,
    /// Credentials of more than one app.
    Conflicting,
    /// A credential of no app.
    Unknown,
    /// A token that was good once.
    Expired,
}

impl Unauthenticated {
    /// Returns the error of who shows a credential that is of no app, and that only others could
    /// check.
    #[must_use]
    pub fn unknown() -> Self {
        Why::Unknown.of_nobody()
    }

    /// Returns the error of who shows two credentials that nobody can know to be of one app.
    #[must_use]
    pub fn conflicting() -> Self {
        Why::Conflicting.of_nobody()
    }

    /// Returns why, in one word for logs and metrics: `missing`, `malformed`, `conflicting`,
    /// `unknown` or `expired`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self.why {
            Why::Missing => "missing",
            Why::Malformed => "malformed",
            Why::Conflicting => "conflicting",
            Why::Unknown => "unknown",
            Why::Expired => "expired",
        }
    }

    /// Says whether no credential was shown: then nobody tried to be anybody.
    #[must_use]
    pub fn is_missing(self) -> bool {
        self.why == Why::Missing
    }

    /// Returns the index of the app that the credential claims to be of, if there is one by that
    /// id or name. Nothing is proven by it.
    #[must_use]
    pub fn claimed(self) -> Option<usize> {
        self.claimed
    }
}

impl Why {
    /// As an error that says nothing of whose the credential is.
    pub(crate) fn of_nobody(self) -> Unauthenticated {
        self.claimed_by(None)
    }

    pub(crate) fn claimed_by(self, app: Option<usize>) -> Unauthenticated {
        Unauthenticated { why: self, claimed: app }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Expired => {
                "the token or session has expired: get a new one, by `POST /oauth/token`, \
                 `POST /v1/connections` or a SOAP login"
            }
            Self::Missing | Self::Malformed | Self::Conflicting | Self::Unknown => {
                "a valid credential of an app of this gateway is needed: `Authorization: Bearer \
                 <its secret>`, or Basic with its client id and secret, or the same as \
                 `apiAccessKeyId` and `apiSecretAccessKey`, or a token or session that the gateway \
                 gave for them"
            }
        }
    }
}
