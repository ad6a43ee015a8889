//! `Prefer: wait=N` (RFC 7240 4.3): how many seconds the caller is willing to wait for its answer.
//!
//! It is a wish to the gateway, so it ends here. What else a caller prefers is for Zuora, in the caller's own bytes.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Duration;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const WAIT: &[u8] = b"wait";

/// Takes `wait` out of `headers`, and returns what it says. The first one counts; one that cannot be read says nothing,
/// and neither do those behind it.
pub(crate) fn take_wait(headers: &mut HeaderMap) -> Option<Duration> {
    if !headers.contains_key(PREFER) {
        return None;
    }
    let lines = || headers.get_all(PREFER).into_iter();
    let wait = lines().flat_map(|line| split(line.as_bytes(), b',')).find_map(wait)?;
    let left: Vec<_> = lines().filter_map(without_wait).collect();

    headers.remove(PREFER);
    for line in left {
        headers.append(PREFER, line);
    }
    wait.map(Duration::from_secs)
}

/// What is left of one line: as it was if it says nothing of waiting, and `None` if it says nothing else.
fn without_wait(line: &HeaderValue) -> Option<HeaderValue> {
    let members = split(line.as_bytes(), b',');
    let others = members.filter(|member| wait(member).is_none()).collect::<Vec<_>>().join(&b',');
    if others.len() == line.len() {
        return Some(line.clone());
    }
    let says_nothing = others.iter().all(|byte| *byte == b',' || byte.is_ascii_whitespace());
    (!says_nothing).then(|| {
        HeaderValue::from_bytes(others.trim_ascii()).expect("parts of a field's value are one")
    })
}

/// The value of the preference `wait`; `None` for every other preference. Its parameters mean nothing here.
fn wait(member: &[u8]) -> Option<Option<u64>> {
    let preference = split(member, b';').next()?;
    let mut parts = preference.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    name.eq_ignore_ascii_case(WAIT).then(|| parts.next().and_then(seconds))
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
