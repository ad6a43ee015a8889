//! The label values that are not names from the configuration: small fixed sets.

/// The label value of a tenant or an app that is not in the configuration, and of a caller
/// whose app is not known. Names that callers made up never become a series.
pub const UNKNOWN: &str = "unknown";

/// Who made the answer that a caller got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Zuora's answer, relayed.
    Zuora,
    /// An answer made by the gateway itself.
    Gateway,
}

impl Source {
    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zuora => "zuora",
            Self::Gateway => "gateway",
        }
    }
}

/// What came of asking Zuora for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refresh {
    /// A token.
    Ok,
    /// A token of the previous credentials, as Zuora refused those that are to be used.
    Previous,
    /// None.
    Error,
}

impl Refresh {
    /// Every result, in the order of [`Refresh::index`].
    pub(crate) const ALL: [Self; 3] = [Self::Ok, Self::Previous, Self::Error];

    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Previous => "previous",
            Self::Error => "error",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// What the answer of one attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// An answer for the caller.
    Relay,
    /// Category 70: a concurrency or rate limit of Zuora's.
    Refused,
    /// HTTP 401, or category 11 on a 200.
    Unauthenticated,
    /// Category 50: rolled back, because another write held the lock.
    Contended,
    /// The first request with this idempotency key is still being worked on.
    InProgress,
    /// No byte of the request left us.
    NotSent,
    /// Cut or timed out after sending: Zuora may have executed it.
    Ambiguous,
    /// Failed in any other way.
    Failed,
}

impl Verdict {
    /// Every verdict, in the order of [`Verdict::index`].
    pub(crate) const ALL: [Self; 8] = [
        Self::Relay,
        Self::Refused,
        Self::Unauthenticated,
        Self::Contended,
        Self::InProgress,
        Self::NotSent,
        Self::Ambiguous,
        Self::Failed,
    ];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Refused => "refused",
            Self::Unauthenticated => "unauthenticated",
            Self::Contended => "contended",
            Self::InProgress => "in_progress",
            Self::NotSent => "not_sent",
            Self::Ambiguous => "ambiguous",
            Self::Failed => "failed",
        }
    }
}

/// Why attempts are not repeated. Each is counted from zero on: a counter that is there only since its
/// first time was never seen to rise, and an alert on it would miss that time.
pub(crate) const ABANDONED: [&str; 15] = [
    "ambiguous",
    "attempts",
    "budget",
    "caller-broke",
    "caller-left",
    "cooldown",
    "deadline",
    "draining",
    "failed",
    "no-other-token",
    "not-replayable",
    "own-key",
    "policy",
    "queue-timeout",
    "single-use",
];

/// Why a caller is not known, as far as that does not depend on whom it claims to be.
pub(crate) const REJECTED: [&str; 5] =
    ["conflicting", "expired", "malformed", "missing", "unknown"];

/// Which limit a refusal of Zuora's was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// All permits were taken at that moment.
    Concurrency,
    /// The window of a minute, an hour or a day was used up.
    Rate,
}

impl Refused {
    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Rate => "rate",
        }
    }
}

/// What came of reading the configuration anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reload {
    /// It is in use now.
    Ok,
    /// It is the one that was in use already.
    Unchanged,
    /// It cannot be used; the one before still is.
    Error,
}

impl Reload {
    /// Every result.
    pub(crate) const ALL: [Self; 3] = [Self::Ok, Self::Unchanged, Self::Error];

    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchanged => "unchanged",
            Self::Error => "error",
        }
    }
}

/// A state that an async request enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsyncState {
    /// It is on its way: nobody knows yet whether Zuora takes it.
    Sending,
    /// Zuora has taken it.
    Accepted,
    /// Zuora has executed it.
    Succeeded,
    /// Zuora has refused it.
    Failed,
    /// No outcome came in time.
    Unknown,
}

impl AsyncState {
    /// Every state, in the order of [`AsyncState::index`].
    pub(crate) const ALL: [Self; 5] =
        [Self::Sending, Self::Accepted, Self::Succeeded, Self::Failed, Self::Unknown];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Accepted => "accepted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// What became of a callout of Zuora's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CalloutResult {
    /// It told an outcome, which is stored.
    Taken,
    /// It told what was known already.
    Duplicate,
    /// It is about a request that nobody here knows.
    Unknown,
    /// It cannot be read.
    Malformed,
    /// It came with another credential than the one that was given to Zuora.
    Unauthenticated,
    /// It came without any, which is how Zuora begins unless it is set up to send it at once.
    Challenged,
    /// It is longer than any callout has reason to be.
    TooLarge,
    /// It could not be stored, and Zuora was asked to send it again.
    Unstorable,
}

impl CalloutResult {
    /// Every result, in the order of [`CalloutResult::index`].
    pub(crate) const ALL: [Self; 8] = [
        Self::Taken,
        Self::Duplicate,
        Self::Unknown,
        Self::Malformed,
        Self::Unauthenticated,
        Self::Challenged,
        Self::TooLarge,
        Self::Unstorable,
    ];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Duplicate => "duplicate",
            Self::Unknown => "unknown",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Challenged => "challenged",
            Self::TooLarge => "too-large",
            Self::Unstorable => "unstorable",
        }
    }
}

/// What came of one attempt to forward an outcome to its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The app took it.
    Delivered,
    /// It failed, and another attempt will be made.
    Failed,
    /// It failed, and it was the last attempt: the outcome is a dead letter.
    Dead,
}

impl Delivery {
    /// Every result, in the order of [`Delivery::index`].
    pub(crate) const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::Dead];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Returns the label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }
}
