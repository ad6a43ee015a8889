//! What one answer of Zuora means for the call: relay it, wait and send again, or get a new token.
//!
//! | answer | verdict |
//! |---|---|
//! | HTTP 401; or category 11 on another status, when every reason says so | unauthenticated |
//! | every reason is of category 70, or a word for it, on any status that carries it | refused: concurrency |
//! | bare code `70`, "rate limit exceeded", HTTP 429 with `ratelimit-remaining: 0` or an edge's HTML page | refused: rate |
//! | HTTP 429 that says nothing more, as on HEAD | refused: concurrency |
//! | "only two requests within any 24-hour window" | relay: no short wait cures it |
//! | a limit among other reasons; rows of an Action array; anything that cannot be read | relay |
//!
//! The same refusal comes in many shapes: `reasons` with numbers or strings, `Errors` of the object
//! calls, `FaultCode` of Actions, SOAP faults, a bare sentence on file downloads; and on HTTP 200 as
//! well as on 429 (Zuora: error handling and rate limits guides). A refused call was not begun, so
//! a wrong "refused" would make a write happen twice: where in doubt, the answer is relayed.

mod complaint;
mod wait;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::Read;
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use complaint::{Category, Complaint};

use crate::media::Media;

/// How much of an answer's body is worth looking at, in bytes. An answer that says no is far
/// shorter, so a longer one is never a refusal by its body.
pub const ANSWER_LOOK: usize = 64 * 1024;

/// What an answer means for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No failure, or one that says nothing about trying again: the caller's to read.
    Relay,
    /// A limit stood in the way, and nothing was executed.
    Refused(Refusal),
    /// Zuora did not accept the token, and nothing was executed.
    Unauthenticated,
    /// Another write held a lock, so this one was rolled back (category 50); every reason says so.
    Contended,
    /// HTTP 409: the first request with this `Idempotency-Key` is still being worked on. Says
    /// nothing to a call that carries no key.
    InProgress,
    /// HTTP 502, 503 or 504: Zuora may have acted, or still act.
    Ambiguous {
        /// How long it asks to wait: nothing without a `Retry-After`, at most an hour.
        wait: Duration,
    },
    /// It failed in another way, and Zuora knows it did.
    Failed {
        /// Whether the same call may succeed a moment later, so that a read is worth repeating. A
        /// write is not: who knows how far it went.
        is_temporary: bool,
    },
}

/// A refusal because of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which limit, so who else has to wait.
    pub kind: RefusalKind,
    /// How long Zuora asks to wait, counted from the answer: at most an hour for concurrency, a day
    /// for a rate.
    pub wait: Duration,
}

/// Which kind of limit refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// Too many requests at the same time. One ends in milliseconds to seconds.
    Concurrency,
    /// The minute's, the hour's or the day's requests are used up. Only time helps, and refused
    /// calls count too.
    Rate,
}

/// Reads one answer.
///
/// `body` holds its first bytes as they were received, at most [`ANSWER_LOOK`]; gzip is undone on a
/// copy, bounded by the same figure. It may be empty where [`judge_needs_body`] says no. `today` is
/// needed because `Retry-After` may be a date.
pub fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], today: SystemTime) -> Verdict {
    match status {
        StatusCode::UNAUTHORIZED => Verdict::Unauthenticated,
        StatusCode::TOO_MANY_REQUESTS => judge_429(headers, body, today),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Verdict::Ambiguous { wait: wait::for_ambiguity(headers, today) }
        }
        StatusCode::CONFLICT => judge_409(headers, body),
        _ if judge_needs_body(status, headers) => judge_by_body(status, headers, body, today),
        _ => otherwise(status),
    }
}

/// Whether the verdict depends on the body, so whether it is worth waiting for its first bytes.
///
/// No for statuses that decide alone, for bodies that are neither JSON nor XML, for codings that are
/// not read (anything but gzip), and for bodies declared empty or longer than [`ANSWER_LOOK`].
pub fn judge_needs_body(status: StatusCode, headers: &HeaderMap) -> bool {
    if Coding::of(headers) == Coding::Unreadable || declared_length(headers) == Some(0) {
        return false;
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT => true,
        StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT => false,
        // Actions complain with 400, SOAP with 500, and old API versions with 200.
        StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR => may_complain(headers),
        _ => status.is_success() && may_complain(headers),
    }
}

fn may_complain(headers: &HeaderMap) -> bool {
    let fits = declared_length(headers).is_none_or(|length| length <= ANSWER_LOOK);
    fits && matches!(
        Media::of(headers.get(CONTENT_TYPE)),
        Media::Json | Media::Xml | Media::Unknown
    )
}

/// HTTP 429 is a refusal by itself; the body tells which, and whether waiting helps.
fn judge_429(headers: &HeaderMap, body: &[u8], today: SystemTime) -> Verdict {
    let text = decoded(headers, body);
    let complaint = Complaint::read(&text).unwrap_or_else(|| Complaint::bare(&text));
    let is_another_matter =
        |code: &Category| matches!(code, Category::Authentication | Category::Other);
    if complaint.is_hopeless() || complaint.codes.iter().any(is_another_matter) {
        return Verdict::Failed { is_temporary: false };
    }
    let kind = complaint.kind().unwrap_or_else(|| kind_by_headers(headers));
    refused(kind, headers, &complaint, today)
}

/// HTTP 409 means four things, which only the body tells apart: a success told again, a lock held by
/// another write, the key's first request still at work, or a conflict of some other kind.
fn judge_409(headers: &HeaderMap, body: &[u8]) -> Verdict {
    let text = decoded(headers, body);
    let Some(complaint) = Complaint::read(&text) else {
        return Verdict::InProgress;
    };
    if complaint.is_success() {
        Verdict::Relay
    } else if complaint.every_code(|code| code == Category::Contention) {
        Verdict::Contended
    } else if complaint.says_in_progress() {
        Verdict::InProgress
    } else {
        Verdict::Failed { is_temporary: false }
    }
}

/// On other statuses only the body can say that a limit refused, and every reason has to say so.
fn judge_by_body(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    today: SystemTime,
) -> Verdict {
    let text = decoded(headers, body);
    // A text that fills the look was cut, and would be parsed in vain.
    if text.len() >= ANSWER_LOOK || !complaint::is_possible(&text) {
        return otherwise(status);
    }
    let Some(complaint) = Complaint::read(&text).filter(Complaint::is_failure) else {
        return otherwise(status);
    };
    if complaint.is_hopeless() {
        return Verdict::Failed { is_temporary: false };
    }
    if complaint.every_code(|code| code == Category::Authentication) {
        return Verdict::Unauthenticated;
    }
    if complaint.every_code(|code| code == Category::Contention) {
        return Verdict::Contended;
    }
    if complaint.every_code(Category::is_limit) {
        let kind = complaint.kind().unwrap_or(RefusalKind::Concurrency);
        return refused(kind, headers, &complaint, today);
    }
    Verdict::Failed { is_temporary: complaint.every_code(|code| code == Category::Temporary) }
}

/// What the status says where the body says nothing.
fn otherwise(status: StatusCode) -> Verdict {
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => Verdict::Failed { is_temporary: true },
        _ if status.as_u16() >= 400 => Verdict::Failed { is_temporary: false },
        _ => Verdict::Relay,
    }
}

fn refused(
    kind: RefusalKind,
    headers: &HeaderMap,
    complaint: &Complaint,
    today: SystemTime,
) -> Verdict {
    let wait = match kind {
        RefusalKind::Concurrency => wait::for_concurrency(headers, today),
        RefusalKind::Rate => wait::for_rate(headers, &complaint.message, today),
    };
    Verdict::Refused(Refusal { kind, wait })
}

/// A 429 without words. Zuora's concurrency refusal of a HEAD looks like that; an HTML page comes
/// from the edge in front of Zuora, which knows rates only.
fn kind_by_headers(headers: &HeaderMap) -> RefusalKind {
    const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
    let window_used_up =
        headers.get(REMAINING).is_some_and(|remaining| remaining.as_bytes() == b"0");
    if window_used_up || Media::of(headers.get(CONTENT_TYPE)) == Media::Html {
        RefusalKind::Rate
    } else {
        RefusalKind::Concurrency
    }
}

/// The text that the look shows, at most [`ANSWER_LOOK`] bytes of it; empty when it cannot be read.
fn decoded<'a>(headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
    match Coding::of(headers) {
        Coding::Identity => Cow::Borrowed(&body[..body.len().min(ANSWER_LOOK)]),
        Coding::Gzip => {
            let mut text = Vec::new();
            // An error is the look's end or a broken stream: what was read until then is the text.
            let _ = GzDecoder::new(body).take(ANSWER_LOOK as u64).read_to_end(&mut text);
            Cow::Owned(text)
        }
        Coding::Unreadable => Cow::Borrowed(&[]),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Unreadable,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Self {
        let mut codings = headers.get_all(CONTENT_ENCODING).into_iter().map(HeaderValue::as_bytes);
        let is =
            |coding: &[u8], name: &str| coding.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        match (codings.next(), codings.next()) {
            (None, _) => Self::Identity,
            (Some(coding), None) if is(coding, "identity") || is(coding, "") => Self::Identity,
            (Some(coding), None) if is(coding, "gzip") || is(coding, "x-gzip") => Self::Gzip,
            _ => Self::Unreadable,
        }
    }
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
