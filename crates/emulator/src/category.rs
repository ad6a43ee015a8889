//! The kinds of failure that Zuora's codes end in, and how each family tells them.

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// What went wrong: the last two digits of a Zuora code. In JSON, those digits
/// as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Category {
    /// 10: the user may not.
    Permission,
    /// 11: no valid credential.
    Authentication,
    /// 20: a value is not valid.
    InvalidValue,
    /// 21: a field is not known.
    UnknownField,
    /// 22: a field is missing.
    MissingField,
    /// 23: a parameter is missing.
    MissingParameter,
    /// 27: a query parameter is wrong.
    BadQuery,
    /// 30: a business rule forbids it.
    Rule,
    /// 40: there is no such object.
    NotFound,
    /// 45: the method or the media type is wrong.
    Method,
    /// 50: lock contention; rolled back.
    Lock,
    /// 60: internal.
    Internal,
    /// 61: temporary.
    Temporary,
    /// 70: a limit.
    Limit,
    /// 90: the body is no JSON.
    Malformed,
    /// 99: an external system, such as a payment gateway.
    External,
}

impl Category {
    /// All of them, in the order of their digits.
    pub const ALL: [Self; 16] = [
        Self::Permission,
        Self::Authentication,
        Self::InvalidValue,
        Self::UnknownField,
        Self::MissingField,
        Self::MissingParameter,
        Self::BadQuery,
        Self::Rule,
        Self::NotFound,
        Self::Method,
        Self::Lock,
        Self::Internal,
        Self::Temporary,
        Self::Limit,
        Self::Malformed,
        Self::External,
    ];

    /// The last two digits of a code.
    #[must_use]
    pub fn digits(self) -> u8 {
        match self {
            Self::Permission => 10,
            Self::Authentication => 11,
            Self::InvalidValue => 20,
            Self::UnknownField => 21,
            Self::MissingField => 22,
            Self::MissingParameter => 23,
            Self::BadQuery => 27,
            Self::Rule => 30,
            Self::NotFound => 40,
            Self::Method => 45,
            Self::Lock => 50,
            Self::Internal => 60,
            Self::Temporary => 61,
            Self::Limit => 70,
            Self::Malformed => 90,
            Self::External => 99,
        }
    }

    /// The eight digits of `/v1` where the object is of no importance.
    pub(crate) fn code(self) -> u32 {
        500_000 * 100 + u32::from(self.digits())
    }

    /// The HTTP status from API version 2024-05-20 on.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Permission => StatusCode::FORBIDDEN,
            Self::Authentication => StatusCode::UNAUTHORIZED,
            Self::InvalidValue
            | Self::UnknownField
            | Self::MissingField
            | Self::MissingParameter
            | Self::BadQuery
            | Self::Rule
            | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Lock => StatusCode::CONFLICT,
            Self::Internal | Self::Temporary | Self::External => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Limit => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The word that SOAP, CRUD and actions have for it, or the nearest one.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Permission => "API_DISABLED",
            Self::Authentication => "INVALID_SESSION",
            Self::InvalidValue | Self::BadQuery | Self::Malformed => "INVALID_VALUE",
            Self::UnknownField => "INVALID_FIELD",
            Self::MissingField | Self::MissingParameter => "MISSING_REQUIRED_VALUE",
            Self::Rule => "TRANSACTION_FAILED",
            Self::NotFound => "INVALID_ID",
            Self::Method => "INVALID_TYPE",
            Self::Lock => "LOCK_COMPETITION",
            Self::Internal => "UNKNOWN_ERROR",
            Self::Temporary => "TEMPORARY_ERROR",
            Self::Limit => "REQUEST_EXCEEDED_RATE",
            Self::External => "CREDIT_CARD_PROCESSING_FAILURE",
        }
    }

    /// What a message says of it.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Permission => "You do not have permission to perform this operation.",
            Self::Authentication => "Authentication error",
            Self::InvalidValue => "The value is not valid.",
            Self::UnknownField => "The field is not known.",
            Self::MissingField => "A required field is missing.",
            Self::MissingParameter => "A required parameter is missing.",
            Self::BadQuery => "The query parameter is not valid.",
            Self::Rule => "A business rule does not allow it.",
            Self::NotFound => "Cannot find the object.",
            Self::Method => "The method is not supported.",
            Self::Lock => "Operation failed due to a lock competition, please retry later.",
            Self::Internal => "An internal error occurred.",
            Self::Temporary => "A temporary error occurred, please retry later.",
            Self::Limit => {
                "The total number of concurrent requests has exceeded the limit \
                 allowed by the system. Please resubmit your request later."
            }
            Self::Malformed => "Malformed JSON request body.",
            Self::External => "The payment gateway declined the transaction.",
        }
    }
}

impl TryFrom<u8> for Category {
    type Error = String;

    fn try_from(digits: u8) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|category| category.digits() == digits);
        known.ok_or_else(|| format!("no Zuora code ends in `{digits}`"))
    }
}

impl From<Category> for u8 {
    fn from(category: Category) -> Self {
        category.digits()
    }
}
