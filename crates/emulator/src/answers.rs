//! The shapes of Zuora's answers, family by family.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json, ser::Formatter};
use uuid::Uuid;

use crate::{call::Call, category::Category, operations::Family, soap};

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=utf-8");

/// An answer before it is dressed with the headers that every answer has.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: HeaderValue,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
    /// Whether it tells of a success, where its bytes are no JSON that says so.
    pub(crate) success: Option<bool>,
}

/// What an answer carries.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Bytes(Bytes),
    /// So many bytes, made while they are sent.
    Filler(u64),
    /// A text of which a part comes many times, made while it is sent.
    Repeated(Box<Repeated>),
}

/// `first`, then `times` times `block`, then `last`.
#[derive(Clone, Debug)]
pub(crate) struct Repeated {
    pub(crate) first: Bytes,
    pub(crate) block: Bytes,
    pub(crate) times: u64,
    pub(crate) last: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, content_type: HeaderValue, bytes: Bytes) -> Self {
        let (headers, content) = (Vec::new(), Content::Bytes(bytes));
        Self { status, content_type, headers, content, success: None }
    }

    /// Compact JSON.
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, JSON, Bytes::from(value.to_string()))
    }

    /// HTTP 200 with compact JSON.
    pub(crate) fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// JSON with line breaks and ` : `, as many recorded v1 answers have it.
    pub(crate) fn pretty(status: StatusCode, value: &Value) -> Self {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Spaced::default());
        value.serialize(&mut serializer).expect("a JSON value can be written to memory");
        Self::new(status, JSON, Bytes::from(bytes))
    }

    pub(crate) fn text(status: StatusCode, content_type: &'static str, text: String) -> Self {
        Self::new(status, HeaderValue::from_static(content_type), Bytes::from(text))
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Whether it tells of a success, at least of one row.
    pub(crate) fn succeeded(&self) -> bool {
        if let Some(success) = self.success {
            return success;
        }
        let succeeded = |value: &Value| {
            let told = ["success", "Success"].iter().find_map(|name| value.get(*name)?.as_bool());
            told.unwrap_or_else(|| value.get("FaultCode").is_none())
        };
        let told = self.bytes().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let rows = told.as_ref().map(|told| told.get("results").unwrap_or(told));
        !self.status.is_client_error()
            && !self.status.is_server_error()
            && match rows {
                Some(Value::Array(rows)) => rows.iter().any(succeeded),
                Some(_) => told.as_ref().is_some_and(succeeded),
                None => true,
            }
    }

    /// The bytes it carries, if they exist already.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::Filler(_) | Content::Repeated(_) => None,
        }
    }
}

/// A failure in the shape of its family. `modern`: the effective API version
/// is 2024-05-20 or later, so v1 failures are not hidden behind HTTP 200.
pub(crate) fn failure(family: Family, modern: bool, category: Category, message: &str) -> Answer {
    match family {
        Family::V1 | Family::Files | Family::Other | Family::Nowhere => {
            let status = if modern { category.status() } else { StatusCode::OK };
            Answer::pretty(status, &v1_reasons(category.code(), message))
        }
        Family::ObjectQuery => {
            let body = json!({
                "reasons": [{"code": category.code(), "message": message}],
                "requestId": Uuid::new_v4().to_string(),
            });
            Answer::json(category.status(), &body)
        }
        Family::Crud => Answer::ok(&row_failure(category, message)),
        Family::Action => {
            let body = json!({"FaultCode": category.word(), "FaultMessage": message});
            Answer::json(StatusCode::BAD_REQUEST, &body)
        }
        Family::Soap => soap::fault(category.word(), message),
    }
}

/// One failed row of a CRUD or action answer.
pub(crate) fn row_failure(category: Category, message: &str) -> Value {
    json!({"Success": false, "Errors": [{"Code": category.word(), "Message": message}]})
}

/// Lock contention: rolled back, worth trying again.
pub(crate) fn contended(call: &Call) -> Answer {
    let message = Category::Lock.message();
    if let Some(envelope) = &call.soap {
        return soap::contended(envelope);
    }
    if call.operation.family != Family::Action {
        return failure(call.operation.family, call.is_modern(), Category::Lock, message);
    }
    let lists = ["objects", "ids", "subscribes", "requests"];
    let rows = lists.iter().find_map(|name| call.json.get(*name)?.as_array()).map_or(1, Vec::len);
    let rows = vec![row_failure(Category::Lock, message); rows.clamp(1, 50)];
    match call.parts().as_slice() {
        [.., "amend"] => Answer::ok(&json!({"results": rows})),
        _ => Answer::ok(&json!(rows)),
    }
}

/// The refusal for concurrency, without its `Retry-After`.
pub(crate) fn refused_concurrency(family: Family) -> Answer {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let message = Category::Limit.message();
    match family {
        Family::V1 | Family::Other | Family::Nowhere => {
            Answer::json(status, &v1_reasons(50_000_070, message))
        }
        Family::Files => Answer::text(status, "text/plain", message.to_owned()),
        Family::ObjectQuery => {
            let body = json!({
                "reasons": [{"code": 50_000_070, "message": message}],
                "requestId": Uuid::new_v4().to_string(),
            });
            Answer::json(status, &body)
        }
        Family::Crud => {
            let row = json!({"Code": "REQUEST_EXCEEDED_LIMIT", "Message": message});
            Answer::json(status, &json!({"Success": false, "Errors": [row]}))
        }
        Family::Action => {
            let body = json!({"FaultCode": "REQUEST_EXCEEDED_LIMIT", "FaultMessage": message});
            Answer::json(status, &body)
        }
        Family::Soap => Answer { status, ..soap::fault("REQUEST_EXCEEDED_LIMIT", message) },
    }
}

/// Category 70 hidden behind HTTP 200.
pub(crate) fn limit_in_body(family: Family) -> Answer {
    let refused = match family {
        // Documented for SOAP as `REQUEST_EXCEEDED_RATE` with HTTP 200.
        Family::Crud | Family::Action => Answer::ok(&json!({
            "Success": false,
            "Errors": [{"Code": "REQUEST_EXCEEDED_RATE", "Message": Category::Limit.message()}],
        })),
        Family::Soap => soap::row_failure("REQUEST_EXCEEDED_RATE", Category::Limit.message()),
        _ => Answer::pretty(StatusCode::OK, &v1_reasons(50_000_070, Category::Limit.message())),
    };
    Answer { status: StatusCode::OK, ..refused }
}

/// The refusal for rate: a bare code, no `success`, no `Retry-After`.
pub(crate) fn refused_rate(window: &str, reset: u64) -> Answer {
    let message = format!("API Rate limit exceeded for the {window}, retry after {reset} seconds");
    let body = json!({"reasons": [{"code": 70, "message": message}]});
    Answer::json(StatusCode::TOO_MANY_REQUESTS, &body)
}

/// The answer to a missing, unknown or expired credential.
pub(crate) fn unauthenticated(family: Family) -> Answer {
    let status = StatusCode::UNAUTHORIZED;
    match family {
        Family::Crud | Family::Action => {
            let schemes = "Basic realm=Zuora API, ZSession realm=Zuora API, Bearer realm=Zuora API";
            Answer::json(status, &json!({"message": "Authentication error"}))
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(schemes))
        }
        Family::Soap => soap::fault("INVALID_SESSION", "The session is invalid or has expired."),
        _ => {
            let reason = json!({"code": "90000011", "message": "Authentication error"});
            Answer::json(status, &json!({"success": false, "reasons": [reason]}))
        }
    }
}

/// The page of the edge when nothing answers behind it.
pub(crate) fn html_unavailable() -> Answer {
    edge_page(StatusCode::SERVICE_UNAVAILABLE, "503 Service Unavailable")
}

/// The page of the edge when what is behind it takes too long.
pub(crate) fn html_timeout() -> Answer {
    edge_page(StatusCode::GATEWAY_TIMEOUT, "504 Gateway Time-out")
}

/// The page of the edge for a path that nobody serves.
pub(crate) fn html_not_found() -> Answer {
    edge_page(StatusCode::NOT_FOUND, "404 Not Found")
}

pub(crate) fn edge_page(status: StatusCode, title: &str) -> Answer {
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    Answer::text(status, "text/html", page)
}

fn v1_reasons(code: u32, message: &str) -> Value {
    let process = format!("{:016X}", rand::random::<u64>());
    json!({
        "success": false,
        "processId": process,
        "reasons": [{"code": code, "message": message}],
    })
}

/// Writes JSON with line breaks and a space on both sides of the colon.
#[derive(Debug, Default)]
struct Spaced {
    depth: usize,
    has_value: bool,
}

impl Spaced {
    fn line<W: ?Sized + std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }

    fn open<W: ?Sized + std::io::Write>(&mut self, w: &mut W, brace: u8) -> std::io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        w.write_all(&[brace])
    }

    fn close<W: ?Sized + std::io::Write>(&mut self, w: &mut W, brace: u8) -> std::io::Result<()> {
        self.depth -= 1;
        if self.has_value {
            self.line(w)?;
        }
        w.write_all(&[brace])
    }

    fn next<W: ?Sized + std::io::Write>(&self, w: &mut W, first: bool) -> std::io::Result<()> {
        if !first {
            w.write_all(b",")?;
        }
        self.line(w)
    }
}

impl Formatter for Spaced {
    fn begin_array<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        self.open(w, b'[')
    }

    fn end_array<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        self.close(w, b']')
    }

    fn begin_array_value<W>(&mut self, w: &mut W, first: bool) -> std::io::Result<()>
    where
        W: ?Sized + std::io::Write,
    {
        self.next(w, first)
    }

    fn end_array_value<W: ?Sized + std::io::Write>(&mut self, _w: &mut W) -> std::io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        self.open(w, b'{')
    }

    fn end_object<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        self.close(w, b'}')
    }

    fn begin_object_key<W>(&mut self, w: &mut W, first: bool) -> std::io::Result<()>
    where
        W: ?Sized + std::io::Write,
    {
        self.next(w, first)
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        w.write_all(b" : ")
    }

    fn end_object_value<W: ?Sized + std::io::Write>(&mut self, _w: &mut W) -> std::io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretty_answers_have_spaces_around_the_colon() {
        let answer = Answer::pretty(StatusCode::OK, &json!({"a": [1, {}], "success": true}));

        let text = std::str::from_utf8(answer.bytes().unwrap()).unwrap();
        assert_eq!(text, "{\n  \"a\" : [\n    1,\n    {}\n  ],\n  \"success\" : true\n}");
    }

    #[test]
    fn old_versions_hide_failures_behind_200_but_not_refusals() {
        let old = failure(Family::V1, false, Category::NotFound, "no such account");
        let new = failure(Family::V1, true, Category::NotFound, "no such account");

        assert_eq!(old.status, 200);
        assert_eq!(new.status, 404);
        assert_eq!(refused_concurrency(Family::V1).status, 429);
    }
}
