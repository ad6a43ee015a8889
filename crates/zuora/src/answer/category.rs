//! What a code stands for.

/// A kind of failure: the last two digits of a code, or the word for it, as far as they matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    /// 11: Zuora does not accept who asks.
    Authentication,
    /// 50: another write held a lock, and this one was rolled back.
    Contention,
    /// 60, 61 and their like: trouble at Zuora that may be over in a moment.
    Temporary,
    /// 70 as a category: a concurrency limit, unless the message says otherwise.
    Concurrency,
    /// 70 as the whole code: a rate limit.
    Rate,
    /// A limit that no short wait cures.
    TwoADay,
    /// Any other category.
    Other,
    /// A word that says nothing about trying again, such as `UNKNOWN_ERROR`.
    Unknown,
    /// No code, or none that can be read.
    Missing,
}

/// "Only two requests are allowed within any 24-hour window", of charge metrics.
const TWO_A_DAY: &str = "53400070";

impl Category {
    pub(super) fn is_limit(self) -> bool {
        matches!(self, Self::Concurrency | Self::Rate)
    }

    /// Whether the same call may fare better a moment later.
    pub(super) fn is_passing(self) -> bool {
        self.is_limit() || matches!(self, Self::Contention | Self::Temporary)
    }

    /// Of a code as it stands in a body: digits or a word.
    ///
    /// `TRANSACTION_TIMEOUT`, `UNKNOWN_ERROR` and `BATCH_FAIL_ERROR` are unknown on purpose: the
    /// call, or a part of it, may have been done.
    pub(super) fn of(code: &str) -> Self {
        let code = code.trim();
        // SOAP writes `fns:LOCK_COMPETITION`.
        let code = code.split_once(':').map_or(code, |(_, word)| word);
        match code {
            "" => Self::Missing,
            "LOCK_COMPETITION" => Self::Contention,
            "REQUEST_EXCEEDED_LIMIT" | "REQUEST_EXCEEDED_RATE" => Self::Concurrency,
            "INVALID_SESSION" => Self::Authentication,
            // `SystemError` is v1's word for an internal error; the five digits are AQuA's, the
            // link is the data query's.
            "SERVER_UNAVAILABLE" | "TEMPORARY_ERROR" | "SystemError" | "90010" | "90022"
            | "LINK_10000005" => Self::Temporary,
            // Mediation's meters have a code of their own.
            "70" | "70002005" | "RATE_LIMITED" => Self::Rate,
            TWO_A_DAY => Self::TwoADay,
            _ => Self::of_eight_digits(code),
        }
    }

    /// Six digits of where and two of what. Codes of the Settings API begin with 7 and have no
    /// category.
    fn of_eight_digits(code: &str) -> Self {
        if code.len() != 8 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Unknown;
        }
        if !code.starts_with(['4', '5', '6', '9']) {
            return Self::Other;
        }
        match &code[6..] {
            "11" => Self::Authentication,
            "50" => Self::Contention,
            "60" | "61" => Self::Temporary,
            "70" => Self::Concurrency,
            _ => Self::Other,
        }
    }
}
