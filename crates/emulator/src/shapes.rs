//! Failures in every shape that Zuora has for them, whatever was called.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    answers::{self, Answer},
    category::Category,
    operations::Family,
    soap,
};

/// A shape that failures come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `reasons` behind `success: false`; its status depends on the version.
    V1,
    /// The same with the code as a string.
    V1Text,
    /// `reasons` and `requestId`, with a status of its own.
    ObjectQuery,
    /// `Success: false` and `Errors`, with HTTP 200.
    Crud,
    /// An array of one row like that, with HTTP 200.
    ActionRow,
    /// `FaultCode` and `FaultMessage`, with HTTP 400.
    ActionFault,
    /// A SOAP fault, with HTTP 500.
    SoapFault,
    /// A SOAP result that failed, with HTTP 200.
    SoapRow,
    /// A job of AQuA: `errorCode` as a number, with HTTP 200.
    Aqua,
    /// A data query: `data.errorCode`, with HTTP 200.
    DataQuery,
    /// `timestamp`, `status`, `error`, `message` and `path`.
    Spring,
    /// A message and nothing else, as text.
    Message,
    /// The page of the edge.
    Edge,
}

impl ErrorShape {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::V1,
        Self::V1Text,
        Self::ObjectQuery,
        Self::Crud,
        Self::ActionRow,
        Self::ActionFault,
        Self::SoapFault,
        Self::SoapRow,
        Self::Aqua,
        Self::DataQuery,
        Self::Spring,
        Self::Message,
        Self::Edge,
    ];

    /// The shape in which calls of a family fail.
    pub(crate) fn of(family: Family) -> Self {
        match family {
            Family::V1 | Family::Files | Family::Other | Family::Nowhere => Self::V1,
            Family::ObjectQuery => Self::ObjectQuery,
            Family::Crud => Self::Crud,
            Family::Action => Self::ActionRow,
            Family::Soap => Self::SoapFault,
        }
    }

    /// A failure in this shape, its message at least `length` characters long.
    pub(crate) fn failure(
        self,
        category: Category,
        modern: bool,
        length: usize,
        path: &str,
    ) -> Answer {
        let message = padded(category.message(), length);
        let (status, word) = (category.status(), category.word());
        match self {
            Self::V1 => answers::failure(Family::V1, modern, category, &message),
            Self::V1Text => {
                let reason = json!({"code": category.code().to_string(), "message": message});
                let status = if modern { status } else { StatusCode::OK };
                Answer::json(status, &json!({"success": false, "reasons": [reason]}))
            }
            Self::ObjectQuery => answers::failure(Family::ObjectQuery, true, category, &message),
            Self::Crud => answers::failure(Family::Crud, modern, category, &message),
            Self::ActionRow => Answer::ok(&json!([answers::row_failure(category, &message)])),
            Self::ActionFault => answers::failure(Family::Action, modern, category, &message),
            Self::SoapFault => soap::fault(word, &message),
            Self::SoapRow => soap::row_failure(word, &message),
            Self::Aqua => {
                let code = match category {
                    Category::Internal => 90_010,
                    Category::Temporary => 90_022,
                    Category::Limit => 90_028,
                    _ => 90_005,
                };
                Answer::ok(&json!({"errorCode": code, "message": message}))
            }
            Self::DataQuery => {
                let code = match category {
                    Category::Temporary => "LINK_10000005",
                    Category::Limit => "LINK_30000007",
                    _ => "LINK_10000001",
                };
                Answer::ok(&json!({"data": {"errorCode": code, "errorMessage": message}}))
            }
            Self::Spring => Answer::json(
                status,
                &json!({
                    "timestamp": "2026-01-01T00:00:00.000+00:00",
                    "status": status.as_u16(),
                    "error": status.canonical_reason(),
                    "message": message,
                    "path": path,
                }),
            ),
            Self::Message => Answer::text(status, "text/plain", message),
            Self::Edge => answers::edge_page(status, &padded(&status.to_string(), length)),
        }
    }
}

/// The text, with dots behind it up to `length` bytes.
fn padded(text: &str, length: usize) -> String {
    text.to_owned() + &".".repeat(length.saturating_sub(text.len()))
}
