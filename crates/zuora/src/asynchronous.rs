//! The asynchronous form of writes: where it is, and what the answer to a submission says (Zuora: asynchronous requests
//! guide).

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use crate::answer::Look;

/// The longest id that is taken for one: Zuora's have 32 or 36 characters.
const LONGEST_ID: usize = 256;

/// What Zuora says to a request that it took, to carry it out later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// What it calls the request, or the job. `None` if it does not say, or not in a way that is known.
    pub id: Option<String>,
}

/// What Zuora says to a request that it did not take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejected {
    /// Why, each with a `code` and a `message` and nothing else; empty if it does not say.
    pub reasons: Vec<Value>,
    /// What it calls the attempt.
    pub process_id: Option<String>,
}

/// The path of the asynchronous form of `path`: `/async` stands after `/v1` there. `None` for a path that does not begin
/// with `/v1/` or `/rest/v1/`, spelt like this, and for one that has it already.
///
/// Nothing else of the path is changed, so it can be read in as many ways as before: whoever asks must have the policy
/// judge the new one as well.
pub fn async_path(path: &str) -> Option<String> {
    let (version, rest) = split(path)?;
    let has_it = first(rest).eq_ignore_ascii_case("async");
    (!has_it && !first(rest).is_empty()).then(|| format!("{version}async/{rest}"))
}

/// The path whose asynchronous form `path` is. `None` if it is none, or not spelt like one of [`async_path`]'s.
pub fn sync_path(path: &str) -> Option<String> {
    let (version, rest) = split(path)?;
    let rest = rest.strip_prefix("async/")?;
    (!first(rest).is_empty()).then(|| format!("{version}{rest}"))
}

/// `/v1/` or `/rest/v1/`, and what follows it.
fn split(path: &str) -> Option<(&str, &str)> {
    let version = ["/v1/", "/rest/v1/"].into_iter().find(|version| path.starts_with(version))?;
    Some(path.split_at(version.len()))
}

fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

impl Submitted {
    /// Reads the answer to a submission, of which `body` holds the beginning as it was received. `None` if Zuora did not
    /// take the request: any status but 2xx, and `success: false`.
    ///
    /// The name of the id in it is not published, so it is looked for under every name that Zuora uses for such ids.
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        if !status.is_success() {
            return None;
        }
        let look = Look::at(headers, body);
        let Ok(Value::Object(answer)) = serde_json::from_slice(&look.text) else {
            return Some(Self { id: None });
        };
        let is_refused = member(&answer, "success").is_some_and(|it| *it == Value::Bool(false));
        (!is_refused).then(|| Self { id: id_in(&answer) })
    }
}

impl Rejected {
    /// Reads an answer, `body` being as much of it as is there, in whichever coding it was received.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let look = Look::at(headers, body);
        let Ok(Value::Object(answer)) = serde_json::from_slice(&look.text) else {
            return Self::default();
        };
        let reasons = member(&answer, "reasons").and_then(Value::as_array);
        let reasons = reasons.into_iter().flatten().filter_map(Value::as_object).map(|reason| {
            let plain = |value: &&Value| value.is_string() || value.is_number();
            let told = ["code", "message"].into_iter().filter_map(|name| {
                let value = reason.get(name).filter(plain)?;
                Some((name.to_owned(), value.clone()))
            });
            Value::Object(told.collect())
        });
        let process_id = member(&answer, "processId").and_then(id);
        Self { reasons: reasons.collect(), process_id }
    }
}

/// What Zuora calls the request. A bare `id` may be that of anything, and a wrong one would make strangers of all that is
/// told of the request: it counts where nothing else is in the answer. Without one, the track id finds the request.
fn id_in(answer: &Map<String, Value>) -> Option<String> {
    const NAMES: [&str; 4] = ["requestid", "jobid", "asyncrequestid", "request_id"];
    let named = |object: &Map<String, Value>| {
        NAMES.iter().find_map(|name| member(object, name).and_then(id))
    };
    let of_request = || match member(answer, "request")? {
        Value::Object(request) => named(request).or_else(|| member(request, "id").and_then(id)),
        // The id alone, under the name of what it is of.
        other => id(other),
    };
    let of_data = || named(member(answer, "data")?.as_object()?);
    let bare = || {
        let is_alone =
            |name: &String| ["id", "success"].iter().any(|it| name.eq_ignore_ascii_case(it));
        answer.keys().all(is_alone).then(|| member(answer, "id").and_then(id)).flatten()
    };
    named(answer).or_else(of_request).or_else(of_data).or_else(bare)
}

/// The member of this name, in any letter case.
fn member<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o Value> {
    object.iter().find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

fn id(value: &Value) -> Option<String> {
    let id = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        _ => return None,
    };
    (1..=LONGEST_ID).contains(&id.len()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let got = async_path(path);
        assert_eq!(got.as_deref(), expected, "{path}");
        if let Some(got) = got {
            assert_eq!(sync_path(&got).as_deref(), Some(path), "and back");
        }
    }

    #[test]
    fn async_stands_after_v1_and_every_other_byte_stays() {
        check("/v1/accounts", Some("/v1/async/accounts"));
        check("/v1/object/account", Some("/v1/async/object/account"));
        check("/v1/accounts/A%2FB%20C", Some("/v1/async/accounts/A%2FB%20C"));
        check("/rest/v1/accounts/", Some("/rest/v1/async/accounts/"));
        check("/v1/%61ccounts;v=1", Some("/v1/async/%61ccounts;v=1"));
        // Another one than `async`.
        check("/v1/async-jobs/1", Some("/v1/async/async-jobs/1"));
    }

    #[test]
    fn what_is_spelt_in_another_way_has_no_such_form() {
        for path in [
            "/object-query/accounts",
            "/v1",
            "/v1/",
            "/v1//accounts",
            "//v1/accounts",
            "/V1/accounts",
            "/%761/accounts",
            "/v1;x/accounts",
            "/v2/accounts",
            "/commerce/plans",
            "/v1/async/accounts",
            "/v1/ASYNC/accounts",
            "/rest//v1/accounts",
            "",
        ] {
            check(path, None);
        }
        for path in
            ["/v1/async", "/v1/async/", "/v1/async//x", "/v1/Async/accounts", "/v1/accounts"]
        {
            assert_eq!(sync_path(path), None, "{path}");
        }
    }

    #[track_caller]
    fn check_answer(status: u16, body: &str, expected: Option<Option<&str>>) {
        let status = StatusCode::from_u16(status).unwrap();
        let got = Submitted::read(status, &HeaderMap::new(), body.as_bytes());
        let got = got.as_ref().map(|submitted| submitted.id.as_deref());
        assert_eq!(got, expected, "{status} {body}");
    }

    #[test]
    fn the_id_is_found_under_every_name_that_it_may_have() {
        for body in [
            r#"{"requestId":"r1"}"#,
            r#"{"success":true,"requestId":"r1","processId":"p"}"#,
            r#"{"RequestID":"r1"}"#,
            r#"{"id":"r1"}"#,
            r#"{"Id":"r1","success":true}"#,
            r#"{"request":{"id":"r1"}}"#,
            r#"{"request":"r1"}"#,
            r#"{"data":{"requestId":"r1"}}"#,
            r#"{"jobId":"r1","success":true}"#,
            r#"{"id":"other","requestId":"r1"}"#,
        ] {
            check_answer(202, body, Some(Some("r1")));
        }
        check_answer(200, r#"{"id":17}"#, Some(Some("17")));
    }

    #[test]
    fn an_id_that_may_be_of_anything_is_not_taken_for_the_requests() {
        for body in [
            r#"{"id":"x","name":"Amber Trading"}"#,
            r#"{"id":"x","processId":"p","success":true}"#,
            r#"{"data":{"id":"x"}}"#,
        ] {
            check_answer(202, body, Some(None));
        }
    }

    #[test]
    fn an_answer_without_an_id_is_still_one_of_a_request_that_was_taken() {
        for body in ["", "null", "accepted", r#"{"id":""}"#, r#"{"id":null}"#, r#"{"ids":["a"]}"#] {
            check_answer(202, body, Some(None));
        }
        check_answer(202, &format!(r#"{{"id":"{}"}}"#, "x".repeat(257)), Some(None));
    }

    #[test]
    fn a_failure_is_none_whatever_its_status() {
        check_answer(200, r#"{"success":false,"reasons":[]}"#, None);
        check_answer(202, r#"{"Success":false,"requestId":"r1"}"#, None);
        for status in [301, 400, 404, 500, 503] {
            check_answer(status, r#"{"requestId":"r1"}"#, None);
        }
    }

    #[test]
    fn a_packed_answer_is_read_too() {
        use std::io::Write;

        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(br#"{"requestId":"r1"}"#).unwrap();
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_ENCODING,
            http::HeaderValue::from_static("gzip"),
        )]);

        let got = Submitted::read(StatusCode::ACCEPTED, &headers, &packer.finish().unwrap());

        assert_eq!(got.unwrap().id.as_deref(), Some("r1"));
    }
}
