//! `Prefer` (RFC 7240): how many seconds the caller is willing to wait for its answer (4.3), and whether it would rather
//! hear of the outcome later (4.1).
//!
//! `wait` is a wish to the gateway, so it ends here; so does `respond-async` where it comes true. What else a caller
//! prefers is for Zuora, in the caller's own bytes.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Duration;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const WAIT: &[u8] = b"wait";
const RESPOND_ASYNC: &[u8] = b"respond-async";

/// Takes `wait` out of `headers`, and returns what it says. The first one counts; one that cannot be read says nothing,
/// and neither do those behind it.
pub(crate) fn take_wait(headers: &mut HeaderMap) -> Option<Duration> {
    let wait = members(headers)?.find_map(wait)?;
    remove(headers, |member| self::wait(member).is_some());
    wait.map(Duration::from_secs)
}

/// Whether `respond-async` is among what the caller prefers. It has no value, so with one it is something else.
pub(crate) fn asks_for_async(headers: &HeaderMap) -> bool {
    members(headers).is_some_and(|mut members| members.any(is_respond_async))
}

/// Takes `respond-async` out of `headers`.
pub(crate) fn take_respond_async(headers: &mut HeaderMap) {
    remove(headers, is_respond_async);
}

/// Everything that the caller prefers; `None` for nothing at all, as nearly every call.
fn members(headers: &HeaderMap) -> Option<impl Iterator<Item = &[u8]>> {
    let lines = || headers.get_all(PREFER).into_iter();
    headers.contains_key(PREFER).then(|| lines().flat_map(|line| split(line.as_bytes(), b',')))
}

fn remove(headers: &mut HeaderMap, is_it: impl Fn(&[u8]) -> bool) {
    let lines = headers.get_all(PREFER).into_iter();
    let left: Vec<_> = lines.filter_map(|line| without(line, &is_it)).collect();

    headers.remove(PREFER);
    for line in left {
        headers.append(PREFER, line);
    }
}

/// What is left of one line: as it was if it says nothing of this, and `None` if it says nothing else.
fn without(line: &HeaderValue, is_it: impl Fn(&[u8]) -> bool) -> Option<HeaderValue> {
    let members = split(line.as_bytes(), b',');
    let others = members.filter(|member| !is_it(member)).collect::<Vec<_>>().join(&b',');
    if others.len() == line.len() {
        return Some(line.clone());
    }
    let says_nothing = others.iter().all(|byte| *byte == b',' || byte.is_ascii_whitespace());
    (!says_nothing).then(|| {
        HeaderValue::from_bytes(others.trim_ascii()).expect("parts of a field's value are one")
    })
}

/// The value of the preference `wait`; `None` for every other preference.
fn wait(member: &[u8]) -> Option<Option<u64>> {
    let (name, value) = preference(member)?;
    name.eq_ignore_ascii_case(WAIT).then(|| value.and_then(seconds))
}

/// No value and an empty one are the same (RFC 7240 2).
fn is_respond_async(member: &[u8]) -> bool {
    preference(member).is_some_and(|(name, value)| {
        name.eq_ignore_ascii_case(RESPOND_ASYNC) && matches!(value, None | Some(b"" | b"\"\""))
    })
}

/// Name and value. Parameters mean nothing here.
fn preference(member: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let preference = split(member, b';').next()?;
    let mut parts = preference.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
    Some((parts.next()?, parts.next()))
}

/// `delta-seconds`, as a token or quoted. More seconds than a number holds are as many as it does.
fn seconds(word: &[u8]) -> Option<u64> {
    let quoted = word.strip_prefix(b"\"").and_then(|word| word.strip_suffix(b"\""));
    let digits = quoted.unwrap_or(word);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        digits.iter().fold(0_u64, |number, digit| {
            number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        })
    })
}

/// Splits at `separator`, except within quoted strings (RFC 9110 5.6.4).
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            byte => return !is_quoted && *byte == separator,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], seconds: Option<u64>, left: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }

        let wait = take_wait(&mut headers);

        assert_eq!(wait, seconds.map(Duration::from_secs), "{lines:?}");
        let got: Vec<_> = headers.get_all(PREFER).into_iter().map(HeaderValue::as_bytes).collect();
        let left: Vec<_> = left.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(got, left, "{lines:?}");
    }

    #[test]
    fn seconds_are_read_however_the_preference_is_written() {
        for line in [
            "wait=10",
            "WAIT=10",
            "Wait = 10",
            "\twait\t=\t10 ",
            "wait=\"10\"",
            "wait=010",
            "wait=10;reason=slow",
            "wait=10 ; a=\"x,wait=3\" ;; b",
            ", ,wait=10,",
        ] {
            check(&[line], Some(10), &[]);
        }
        check(&["wait=0"], Some(0), &[]);
        check(&["wait=99999999999999999999999"], Some(u64::MAX), &[]);
    }

    #[test]
    fn what_cannot_be_read_is_ignored_and_still_ends_here() {
        for line in [
            "wait",
            "wait=",
            "wait=\"\"",
            "wait=-1",
            "wait=+1",
            "wait=1.5",
            "wait=10s",
            "wait=1 0",
            "wait=\"10",
            "wait=10=10",
            "wait=ten",
            "wait;n=10",
        ] {
            check(&[line], None, &[]);
        }
    }

    #[test]
    fn the_first_counts_whatever_it_says() {
        check(&["wait=5, wait=10"], Some(5), &[]);
        check(&["wait=soon, wait=10"], None, &[]);
        check(&["a=1", "b, wait=5", "wait=10, c"], Some(5), &["a=1", "b", "c"]);
    }

    #[test]
    fn other_preferences_keep_their_bytes() {
        check(&["respond-async, wait=10"], Some(10), &["respond-async"]);
        check(&["wait=10,respond-async"], Some(10), &["respond-async"]);
        check(&["a = 1 ;x , wait=10 ,  b=\"2, 3\""], Some(10), &["a = 1 ;x ,  b=\"2, 3\""]);
        check(&["wait=10", "handling=lenient"], Some(10), &["handling=lenient"]);
        check(&["a=\"\u{e9}\", wait=10"], Some(10), &["a=\"\u{e9}\""]);
    }

    #[track_caller]
    fn check_async(lines: &[&str], left: Option<&[&str]>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }

        let is_asked_for = asks_for_async(&headers);

        assert_eq!(is_asked_for, left.is_some(), "{lines:?}");
        take_respond_async(&mut headers);
        let got: Vec<_> = headers.get_all(PREFER).into_iter().map(HeaderValue::as_bytes).collect();
        let left: Vec<_> = left.unwrap_or(lines).iter().map(|line| line.as_bytes()).collect();
        assert_eq!(got, left, "{lines:?}");
    }

    #[test]
    fn an_async_answer_is_asked_for_however_that_is_written() {
        check_async(&["respond-async"], Some(&[]));
        check_async(&["Respond-Async ; a=1"], Some(&[]));
        check_async(&["respond-async=\"\"", "respond-async="], Some(&[]));
        check_async(&["wait=10, respond-async"], Some(&["wait=10"]));
        check_async(&["a=\"1, 2\"", "b ,respond-async, c"], Some(&["a=\"1, 2\"", "b , c"]));
    }

    #[test]
    fn what_only_resembles_it_does_not_ask_for_an_async_answer() {
        for line in [
            "respond-async=no",
            "respond-asynchronously",
            "x-respond-async",
            "a=respond-async",
            "a;respond-async",
            "a=\"b, respond-async\"",
            "",
        ] {
            check_async(&[line], None);
        }
        check_async(&[], None);
    }

    #[test]
    fn a_line_that_says_nothing_of_waiting_is_not_touched() {
        for line in [
            " , respond-async ,",
            "waiting=10",
            "x-wait=10",
            "a=wait",
            "a;wait=10",
            "a=\"b, wait=10\"",
            "a=\"\\\", wait=10\"",
            "a=\"never closed, wait=10",
            "",
        ] {
            check(&[line], None, &[line]);
            check(&["wait=10", line], Some(10), &[line]);
        }
        check(&[], None, &[]);
    }
}
