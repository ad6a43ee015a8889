//! Jobs: orders that Zuora makes later, and tells of only when it is asked.
//!
//! `POST /v1/async/orders` answers with a `jobId`, and `GET /v1/async-jobs/{jobId}` tells how far the job has come (Zuora:
//! API reference, "Create an order asynchronously", "Retrieve the status and response of a job"). No callout speaks of
//! them.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde_json::{Map, Value, json};

use crate::callout::{DEEPEST, is_deeper};

/// What stands for itself in a path (RFC 3986 2.3), but for the dot, of which two would be a way out.
const AS_IT_IS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// How far a job has come.
#[derive(Clone, PartialEq)]
pub enum Job {
    /// Zuora is still at it.
    Processing,
    /// It was done.
    Completed {
        /// The members of its `result`.
        result: Map<String, Value>,
    },
    /// It was not done. Zuora says `success: true` of it all the same, as asking succeeded.
    Failed {
        /// Why, each with a `code` and a `message`.
        reasons: Vec<Value>,
    },
}

/// Why an answer does not say how far a job has come.
#[derive(Debug, thiserror::Error)]
pub enum BadJob {
    /// It is not JSON.
    #[error("it cannot be read")]
    Json(#[source] serde_json::Error),
    /// It has more levels of arrays and objects than could be kept and read again.
    #[error("it has more than {DEEPEST} levels")]
    Depth,
    /// Its `status` is missing, or none that is known.
    #[error("its `status` is none of `Processing`, `Completed` and `Failed`")]
    Status,
}

impl Job {
    /// Reads an answer to the question how far a job has come.
    ///
    /// # Errors
    /// If it does not say it.
    pub fn read(body: &[u8]) -> Result<Self, BadJob> {
        let mut body: Value = serde_json::from_slice(body).map_err(BadJob::Json)?;
        if is_deeper(&body, DEEPEST) {
            return Err(BadJob::Depth);
        }
        let status = body.get("status").and_then(Value::as_str).ok_or(BadJob::Status)?;
        match status.to_ascii_lowercase().as_str() {
            "processing" | "pending" | "queued" => Ok(Self::Processing),
            "failed" => Ok(Self::Failed { reasons: reasons(body["errors"].take()) }),
            "completed" => Ok(match body["result"].take() {
                Value::Object(mut result) if result.get("success") == Some(&false.into()) => {
                    let reasons = result.remove("reasons").unwrap_or_default();
                    Self::Failed { reasons: self::reasons(reasons) }
                }
                Value::Object(result) => Self::Completed { result },
                _ => Self::Completed { result: Map::new() },
            }),
            _ => Err(BadJob::Status),
        }
    }
}

/// Where Zuora tells how far a job has come.
#[must_use]
pub fn job_path(id: &str) -> String {
    let id = percent_encoding::utf8_percent_encode(id, AS_IT_IS);
    format!("/v1/async-jobs/{id}")
}

/// The reasons in what Zuora says of errors: a text like `[40000050]: message`, perhaps several of them, or what a reason
/// usually looks like.
fn reasons(errors: Value) -> Vec<Value> {
    match errors {
        Value::Array(reasons) => reasons.into_iter().flat_map(self::reasons).collect(),
        Value::String(text) => of_text(&text),
        reason @ Value::Object(_) => vec![reason],
        _ => Vec::new(),
    }
}

/// Each `[digits]:` begins another reason.
fn of_text(text: &str) -> Vec<Value> {
    let starts: Vec<_> = text.match_indices('[').filter_map(|(at, _)| code_at(text, at)).collect();
    if starts.is_empty() {
        let message = text.trim();
        return Some(json!({"message": message}))
            .filter(|_| !message.is_empty())
            .into_iter()
            .collect();
    }
    let ends = starts.iter().skip(1).map(|(at, ..)| *at).chain([text.len()]);
    let reason = |(&(_, code, from), to): (&(usize, &str, usize), usize)| {
        let message = text[from..to].trim_matches([' ', ',', ';', '\n', '\r', '\t']);
        json!({"code": code, "message": message})
    };
    starts.iter().zip(ends).map(reason).collect()
}

/// The code that `[` at this place begins, and where the message after it does.
fn code_at(text: &str, at: usize) -> Option<(usize, &str, usize)> {
    let (code, rest) = text[at + 1..].split_once(']')?;
    let rest = rest.strip_prefix(':')?;
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
    is_code.then_some((at, code, text.len() - rest.len()))
}

// What a job came to is the app's business: what is printed is which way.
impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processing => f.write_str("Processing"),
            Self::Completed { .. } => f.write_str("Completed(***)"),
            Self::Failed { reasons } => write!(f, "Failed({} reasons)", reasons.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &Value, expected: &Job) {
        let job = Job::read(body.to_string().as_bytes()).unwrap();
        assert!(job == *expected, "{body}: {job:?}");
    }

    #[test]
    fn a_result_that_could_not_be_kept_is_not_read() {
        let nested = |levels: usize| {
            let result = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
            Job::read(format!(r#"{{"status":"Completed","result":{result}}}"#).as_bytes())
        };

        // The body itself is a level.
        assert!(nested(63).is_ok());
        assert!(matches!(nested(64), Err(BadJob::Depth)));
        assert!(matches!(nested(126), Err(BadJob::Depth)));
    }

    fn failed(reasons: &Value) -> Job {
        Job::Failed { reasons: reasons.as_array().unwrap().clone() }
    }

    #[test]
    fn a_job_that_goes_on_is_no_outcome() {
        check(
            &json!({"status": "Processing", "errors": null, "result": null, "success": true}),
            &Job::Processing,
        );
    }

    #[test]
    fn a_completed_job_tells_its_result_whatever_the_state_of_the_order() {
        let result = json!({"jobType": "AsyncCreateOrder", "orderNumber": "O-1", "status": "Pending", "success": true});
        let expected = Job::Completed { result: result.as_object().unwrap().clone() };
        check(
            &json!({"status": "Completed", "errors": null, "result": result, "success": true}),
            &expected,
        );
        check(
            &json!({"status": "Completed", "success": true}),
            &Job::Completed { result: Map::new() },
        );
    }

    #[test]
    fn a_failed_job_is_a_failure_though_asking_succeeded() {
        let errors = "[40000050]: The account is locked.";
        let reasons = json!([{"code": "40000050", "message": "The account is locked."}]);
        check(
            &json!({"status": "Failed", "errors": errors, "result": null, "success": true}),
            &failed(&reasons),
        );
    }

    #[test]
    fn a_result_that_says_no_is_a_failure() {
        let reasons = json!([{"code": 53100020, "message": "no"}]);
        let result = json!({"success": false, "processId": "7F", "reasons": reasons});
        check(
            &json!({"status": "Completed", "result": result, "success": true}),
            &failed(&reasons),
        );
    }

    #[test]
    fn errors_are_read_however_they_are_written() {
        let of = |errors: Value| json!({"status": "Failed", "errors": errors, "success": true});
        let two = json!([{"code": "1", "message": "a [b] c"}, {"code": "22", "message": "d"}]);
        check(&of(json!("[1]: a [b] c; [22]: d")), &failed(&two));
        check(&of(json!(["[1]: a [b] c", "[22]:d"])), &failed(&two));
        check(&of(two.clone()), &failed(&two));
        check(&of(json!(" no code ")), &failed(&json!([{"message": "no code"}])));
        check(&of(json!("[é]: x")), &failed(&json!([{"message": "[é]: x"}])));
        check(&of(json!(null)), &failed(&json!([])));
        check(&of(json!("")), &failed(&json!([])));
    }

    #[test]
    fn what_says_nothing_of_a_job_is_not_taken_for_its_end() {
        for body in
            ["", "{}", "[]", r#"{"success":false,"reasons":[]}"#, r#"{"status":"Done"}"#, "\u{fe}"]
        {
            assert!(Job::read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn no_id_leads_elsewhere() {
        assert_eq!(job_path("1bc24f31"), "/v1/async-jobs/1bc24f31");
        assert_eq!(job_path("2c92c0f8-37_a~b"), "/v1/async-jobs/2c92c0f8-37_a~b");
        assert_eq!(job_path("../a?b=c"), "/v1/async-jobs/%2E%2E%2Fa%3Fb%3Dc");
    }
}
