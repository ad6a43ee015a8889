//! The headers that every answer has, and answers that faults ask for.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::{
    answers::{Answer, Content},
    body::AnswerBody,
    call::Call,
    credential::Credential,
    faults::FaultKind,
    gate::Caller,
    limits::Permit,
    operations::Family,
    road::Shows,
    soap,
};

/// Answers above this size are compressed for who asks (Zuora: compression guide).
const GZIP_ABOVE: usize = 1000;

/// Answers above this size do not announce it: they are sent in chunks.
const CHUNKED_ABOVE: usize = 4096;

/// The largest body that a fault may ask for in memory.
const LARGEST_BODY: u64 = 256 * 1024 * 1024;

const ANYBODY: HeaderValue = HeaderValue::from_static("*");

const TRACK_ID: HeaderName = HeaderName::from_static("zuora-track-id");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("zuora-request-id");
const LIMIT_TYPE: HeaderName = HeaderName::from_static("concurrency-limit-type");
const LIMIT_LIMIT: HeaderName = HeaderName::from_static("concurrency-limit-limit");
const LIMIT_REMAINING: HeaderName = HeaderName::from_static("concurrency-limit-remaining");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The answer with the headers that every answer has.
pub(crate) fn response(
    call: &Call,
    answer: Answer,
    shows: &Shows,
    permit: Option<Permit>,
) -> Response<AnswerBody> {
    let (response, content) = head(call, answer, shows);
    match content {
        Content::Filler(bytes) => response.map(|()| AnswerBody::filler(bytes, permit)),
        Content::Repeated(text) => response.map(|()| AnswerBody::repeated(*text, permit)),
        Content::Bytes(bytes) => {
            let chunked = bytes.len() > CHUNKED_ABOVE;
            response.map(|()| AnswerBody::whole(bytes, chunked))
        }
    }
}

/// The same, with a body that breaks off after so many bytes.
pub(crate) fn broken_response(
    call: &Call,
    answer: Answer,
    shows: &Shows,
    after: u64,
) -> Response<AnswerBody> {
    let (response, content) = head(call, answer, shows);
    let whole = match content {
        Content::Bytes(bytes) => bytes,
        Content::Filler(size) => filler(size.min(after + 1)),
        Content::Repeated(text) => text.first,
    };
    response.map(|()| AnswerBody::broken(&whole, after))
}

fn head(call: &Call, answer: Answer, shows: &Shows) -> (Response<()>, Content) {
    let Answer { status, content_type, headers, mut content, .. } = answer;
    let mut response = Response::new(());
    *response.status_mut() = status;
    let fields = response.headers_mut();
    let compresses = call.accepts_gzip() && is_text(&content_type);
    if !content_type.is_empty() {
        fields.insert(header::CONTENT_TYPE, content_type);
    }
    if let Some(track_id) = call.headers.get(TRACK_ID) {
        fields.insert(TRACK_ID, track_id.clone());
    }
    if status == StatusCode::OK
        && let Some(cookie) = call.caller.as_ref().and_then(Caller::cookie)
    {
        fields.append(header::SET_COOKIE, cookie);
    }
    if call.caller.as_ref().is_some_and(|caller| caller.credential == Credential::SingleUse) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    }
    show_limits(fields, shows);
    for (name, value) in headers {
        fields.append(name, value);
    }
    // An outcome that was kept brings that of its own request.
    fields.entry(REQUEST_ID).or_insert_with(|| call.request_id.clone());
    if let Content::Bytes(bytes) = &mut content
        && compresses
        && bytes.len() > GZIP_ABOVE
    {
        *bytes = gzip(bytes);
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    (response, content)
}

fn show_limits(fields: &mut http::HeaderMap, shows: &Shows) {
    if let Some(shown) = shows.pool.as_ref().and_then(|pool| pool.shown())
        && let Ok(limit_type) = HeaderValue::try_from(shown.limit_type)
    {
        fields.insert(LIMIT_TYPE, limit_type);
        fields.insert(LIMIT_LIMIT, HeaderValue::from(shown.limit));
        fields.insert(LIMIT_REMAINING, HeaderValue::from(shown.remaining));
    }
    if let Some(rate) = &shows.rate
        && let Ok(limit) = HeaderValue::try_from(rate.limit.as_str())
    {
        fields.insert(RATE_LIMIT, limit);
        fields.insert(RATE_REMAINING, HeaderValue::from(rate.remaining));
        fields.insert(RATE_RESET, HeaderValue::from(rate.reset));
    }
}

/// The answer that a fault asks for, if that is what it does.
pub(crate) fn fault_answer(fault: Option<&FaultKind>) -> Option<Answer> {
    let Some(FaultKind::Answer { status, body, content_type, headers, .. }) = fault else {
        return None;
    };
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::try_from(content_type.as_str()).ok()?;
    let mut answer = Answer::new(status, content_type, Bytes::from(body.clone()));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            answer = answer.with(name, value);
        }
    }
    Some(answer)
}

/// The answer with a JSON body of exactly this size; one too small for JSON
/// is the beginning of it.
pub(crate) fn resized(answer: Answer, bytes: u64) -> Answer {
    let (open, close) = (r#"{"success":true,"filler":""#, r#""}"#);
    let size = usize::try_from(bytes.min(LARGEST_BODY)).unwrap_or(usize::MAX);
    let mut text = String::with_capacity(size);
    text.push_str(open);
    for _ in (open.len() + close.len())..size {
        text.push('z');
    }
    text.push_str(close);
    text.truncate(size);
    Answer { content: Content::Bytes(Bytes::from(text)), ..answer }
}

/// The answer, readable for a browser wherever its page comes from.
pub(crate) fn for_browsers(answer: Answer) -> Answer {
    answer.with(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY)
}

/// The answer to the question of a browser whether it may call.
pub(crate) fn preflight() -> Answer {
    let methods = HeaderValue::from_static("GET, POST, PUT, DELETE, PATCH, OPTIONS");
    Answer::new(StatusCode::NO_CONTENT, HeaderValue::from_static(""), Bytes::new())
        .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY)
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, ANYBODY)
}

/// The answer to an entity that the tenant does not have.
pub(crate) fn bad_entity(family: Family) -> Answer {
    if family == Family::Soap {
        return soap::fault("INVALID_VALUE", "The entity is invalid.");
    }
    let reason = json!({"code": 90_000_020, "message": "The entity is invalid."});
    Answer::json(StatusCode::BAD_REQUEST, &json!({"success": false, "reasons": [reason]}))
}

/// The answer to a key that cannot be used now, or not here.
pub(crate) fn key_trouble(status: StatusCode, message: &str) -> Answer {
    let reason = json!({"code": 50_000_030, "message": message});
    Answer::json(status, &json!({"success": false, "reasons": [reason]}))
}

fn is_text(content_type: &HeaderValue) -> bool {
    let kind = content_type.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    matches!(
        kind,
        "application/json"
            | "application/xml"
            | "text/xml"
            | "text/html"
            | "text/csv"
            | "text/plain"
    )
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes every write");
    Bytes::from(encoder.finish().expect("memory takes every write"))
}

fn filler(bytes: u64) -> Bytes {
    let size = usize::try_from(bytes.min(LARGEST_BODY)).unwrap_or(usize::MAX);
    Bytes::from(vec![b'z'; size])
}
