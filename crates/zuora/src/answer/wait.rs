//! How long a refusal asks to wait.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};

/// What Zuora says on every concurrency refusal that is documented.
const CONCURRENCY_DEFAULT: Duration = Duration::from_secs(120);

/// The shortest window of the rate limits.
const RATE_DEFAULT: Duration = Duration::from_secs(60);

/// No permit is ever an hour away; a larger figure is a mistake.
const CONCURRENCY_LONGEST: Duration = Duration::from_secs(60 * 60);

/// The longest window of the rate limits.
const RATE_LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The guides do not agree on the spelling.
const RESETS: [&str; 2] = ["ratelimit-reset", "rate-limit-reset"];

/// `Retry-After` alone: `ratelimit-reset` is on ordinary answers too, and tells of another limit.
pub(super) fn for_concurrency(headers: &HeaderMap, today: SystemTime) -> Duration {
    retry_after(headers, today).unwrap_or(CONCURRENCY_DEFAULT).min(CONCURRENCY_LONGEST)
}

/// Nobody knows what happened; without a `Retry-After` the caller of this has waits of its own.
pub(super) fn for_ambiguity(headers: &HeaderMap, today: SystemTime) -> Duration {
    retry_after(headers, today).unwrap_or(Duration::ZERO).min(CONCURRENCY_LONGEST)
}

/// The longest of `Retry-After` and `ratelimit-reset`, else the number in the message.
pub(super) fn for_rate(headers: &HeaderMap, message: &str, today: SystemTime) -> Duration {
    let reset = RESETS.iter().flat_map(|name| headers.get_all(*name)).filter_map(seconds).max();
    retry_after(headers, today)
        .max(reset)
        .or_else(|| in_message(message))
        .unwrap_or(RATE_DEFAULT)
        .min(RATE_LONGEST)
}

/// RFC 9110, 10.2.3: seconds or a date. Of several fields the longest counts; what is neither is
/// ignored, and a date in the past means now.
fn retry_after(headers: &HeaderMap, today: SystemTime) -> Option<Duration> {
    headers
        .get_all(RETRY_AFTER)
        .into_iter()
        .filter_map(|value| seconds(value).or_else(|| until(value, today)))
        .max()
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    digits(value.to_str().ok()?.trim())
}

fn until(value: &HeaderValue, today: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()?;
    Some(date.duration_since(today).unwrap_or(Duration::ZERO))
}

/// "API Rate limit exceeded for the minute, retry after 600 seconds", in lower case.
fn in_message(message: &str) -> Option<Duration> {
    let (_, after) = message.split_once("retry after ")?;
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    digits(&after[..end])
}

/// A number of seconds; one too large to count is as long as can be.
fn digits(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}
