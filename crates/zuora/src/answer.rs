//! What one answer of Zuora means for the call.
//!
//! | answer | verdict |
//! |---|---|
//! | HTTP 401; or category 11 on 200, 400 or 500, when every reason says so | unauthenticated |
//! | category 70, or a word for it, on 200, 400, 429 or 500, when every reason says so | refused: concurrency |
//! | bare code `70`, "rate limit exceeded", HTTP 429 with `ratelimit-remaining: 0` or an edge's HTML page | refused: rate |
//! | HTTP 429 that says nothing more, as on HEAD | refused: concurrency |
//! | category 50 or `LOCK_COMPETITION` on 200, 400, 409 or 500, when every reason says so | contended |
//! | HTTP 409 that says so in words, or says nothing | in progress |
//! | HTTP 409 with `success: true`: a stored success told again | relay |
//! | HTTP 502, 503, 504, whatever the body | ambiguous |
//! | categories 60 and 61 and words for them; HTTP 500 without a code | failed, temporary |
//! | every other status from 400 on; `success: false`; a fault; "only two requests within any 24-hour window" | failed |
//! | the rest, rows of which only some failed among it | relay |
//!
//! The same failure comes in many shapes (`json` and `soap` list them), and on HTTP 200 as well as on
//! a status of its own (Zuora: error handling and rate limits guides). A refused or a contended call
//! left nothing behind, so it may be repeated: a wrong one of these makes a write happen twice. Hence
//! both need a text that was read to its end, in which every reason says the same, nothing says that
//! a part succeeded, and nothing stands that a complaint does not have. Where in doubt, it only
//! failed. (HTTP 429 refuses by itself.)

mod category;
mod complaint;
mod glance;
mod json;
mod look;
mod soap;
mod wait;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, StatusCode};

use category::Category;
use complaint::Complaint;
pub(crate) use look::Coding;
pub(crate) use look::Look;
use look::declared_length;

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
        _ => judge_by_status(status),
    }
}

/// Whether the verdict depends on the body, so whether it is worth waiting for its first bytes.
///
/// No for statuses that decide alone, for codings that are not read (anything but gzip), for bodies
/// declared empty, and but for HTTP 409 and 429 for those that are neither JSON nor XML or declared
/// longer than [`ANSWER_LOOK`].
pub fn judge_needs_body(status: StatusCode, headers: &HeaderMap) -> bool {
    if Coding::of(headers) == Coding::Unreadable || declared_length(headers) == Some(0) {
        return false;
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT => true,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT => false,
        // Actions complain with 400, SOAP with 500, and old API versions with 200.
        StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR => may_complain(headers),
        _ => status.is_success() && may_complain(headers),
    }
}

/// Whether an answer tells how a call ended that may have been executed before, under the same
/// `Idempotency-Key`: Zuora's own success or failure does. What an edge, a gate or a broken server
/// says before the key is looked up tells nothing of it, and must not be taken for its failure.
pub fn tells_outcome(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    let may_be_kept = matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::CONFLICT
            | StatusCode::INTERNAL_SERVER_ERROR
    );
    let complains = || {
        let Look { text, is_whole } = Look::at(headers, body);
        // A kept success may come back with 409.
        let says_it = |it: &Complaint| it.has_code() || it.is_success();
        is_whole && Complaint::read(&text).as_ref().is_some_and(says_it)
    };
    status.is_success() || (may_be_kept && complains())
}

/// Whether a body begins with the word that the call succeeded, whatever follows or is missing.
pub fn begins_with_success(body: &[u8]) -> bool {
    glance::begins_with_success(body)
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
    let text = Look::at(headers, body).text;
    let complaint = Complaint::read(&text).unwrap_or_else(|| Complaint::bare(&text));
    let is_another_matter = |code: &Category| {
        !code.is_limit() && !matches!(code, Category::Unknown | Category::Missing)
    };
    let is_rows = text.trim_ascii_start().starts_with(b"[");
    if complaint.codes.iter().any(is_another_matter)
        || complaint.is_hopeless()
        || is_rows
        || glance::says_success(&text, true)
    {
        return Verdict::Failed { is_temporary: false };
    }
    let kind = complaint.kind().unwrap_or_else(|| kind_by_headers(headers));
    refused(kind, headers, &complaint, today)
}

/// HTTP 409 means four things, which only the body tells apart: a stored success told again, a lock
/// held by another write, the key's first request still at work, or a conflict of some other kind.
fn judge_409(headers: &HeaderMap, body: &[u8]) -> Verdict {
    const FAILED: Verdict = Verdict::Failed { is_temporary: false };
    let Look { text, is_whole } = Look::at(headers, body);
    if text.len() >= ANSWER_LOOK {
        // Nobody says "wait" at such length.
        return FAILED;
    }
    let Some(complaint) = Complaint::read(&text).filter(|_| is_whole) else {
        let is_readable = is_whole
            && match text.trim_ascii_start().first() {
                None => false,
                Some(b'{' | b'[') => json::is_whole(&text),
                Some(_) => true,
            };
        let waits = !is_readable || Complaint::bare(&text).says_in_progress();
        return if waits { Verdict::InProgress } else { FAILED };
    };
    if complaint.is_success() {
        Verdict::Relay
    } else if complaint.is_rows {
        FAILED
    } else if complaint.is_contention() && !glance::says_success(&text, true) {
        Verdict::Contended
    } else if complaint.says_in_progress() || complaint.is_empty() {
        Verdict::InProgress
    } else {
        FAILED
    }
}

/// On other statuses the body may say what they do not: old API versions say everything with 200.
fn judge_by_body(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    today: SystemTime,
) -> Verdict {
    let Look { text, is_whole } = Look::at(headers, body);
    let read = if status.is_success() { Complaint::read_if_any } else { Complaint::read };
    let Some(complaint) = is_whole.then_some(&text).and_then(|text| read(text)) else {
        return judge_by_status(status);
    };
    if complaint.is_rows || complaint.is_hopeless() || glance::says_success(&text, true) {
        return Verdict::Failed { is_temporary: false };
    }
    if complaint.is_purely(|code| code == Category::Authentication) {
        return Verdict::Unauthenticated;
    }
    if complaint.is_contention() {
        return Verdict::Contended;
    }
    if complaint.is_purely(Category::is_limit) {
        let kind = complaint.kind().unwrap_or(RefusalKind::Concurrency);
        return refused(kind, headers, &complaint, today);
    }
    let is_temporary = match complaint.has_code() {
        true => complaint.every_code(Category::is_passing),
        false => status == StatusCode::INTERNAL_SERVER_ERROR,
    };
    Verdict::Failed { is_temporary }
}

/// What the status says where the body says nothing.
fn judge_by_status(status: StatusCode) -> Verdict {
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
