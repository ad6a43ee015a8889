//! Calls that browsers make with Zuora's single-use credential, and the questions that they ask before.
//!
//! A page asks its own server for a `signature` and a `token`, which Zuora takes once, for one method and address (Zuora:
//! CORS REST guide). They prove all that is to be proved, so such a call has no other credential and gets none here.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const TOKEN: HeaderName = HeaderName::from_static("token");

/// What else tells who calls. A browser's cookies do not, but for sessions.
const CREDENTIALS: [HeaderName; 3] = [
    header::AUTHORIZATION,
    HeaderName::from_static("apiaccesskeyid"),
    HeaderName::from_static("apisecretaccesskey"),
];

/// What a request has to do with Zuora's single-use credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SingleUse {
    /// It has that and nothing else.
    Signed,
    /// It has that, but empty or more than once.
    Broken,
    /// It has another one besides, so that it is not clear whose it is.
    Mixed,
    /// A browser asks whether a page may make a call (Fetch standard, CORS preflight).
    Preflight,
}

impl SingleUse {
    /// What it is of this; `None` if it is a call like others.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let has_other =
            CREDENTIALS.iter().any(|name| headers.contains_key(name)) || has_session(headers);
        if headers.contains_key(SIGNATURE) && headers.contains_key(TOKEN) {
            let is_whole = says_once(headers, &SIGNATURE) && says_once(headers, &TOKEN);
            return Some(match (has_other, is_whole) {
                (true, _) => Self::Mixed,
                (false, true) => Self::Signed,
                (false, false) => Self::Broken,
            });
        }
        let asks = *request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && method_asked_for(headers).is_some();
        (asks && !has_other).then_some(Self::Preflight)
    }
}

/// Zuora could take neither an empty one nor one of two.
fn says_once(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut fields = headers.get_all(name).iter();
    matches!((fields.next(), fields.next()), (Some(value), None) if !value.is_empty())
}

fn has_session(headers: &HeaderMap) -> bool {
    let mut cookies = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    cookies.any(|cookie| cookie.to_ascii_lowercase().windows(8).any(|name| name == b"zsession"))
}

/// The method of the call that a preflight asks for, if it is one of Zuora's.
pub(crate) fn method_asked_for(headers: &HeaderMap) -> Option<Method> {
    let mut fields = headers.get_all(header::ACCESS_CONTROL_REQUEST_METHOD).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    zuora::METHODS.into_iter().find(|method| method.as_str().as_bytes() == field.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, fields: &[(&str, &str)], expected: Option<SingleUse>) {
        let mut request = Request::builder().method(method).uri("/v1/accounts");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        assert_eq!(SingleUse::of(&request.body(()).unwrap()), expected, "{method} {fields:?}");
    }

    #[test]
    fn a_signature_needs_its_token_and_stands_alone() {
        let signed = [("Signature", "s"), ("Token", "t")];
        check("POST", &signed, Some(SingleUse::Signed));
        check("POST", &signed[..1], None);
        check("POST", &signed[1..], None);
        check("POST", &[signed[0], signed[0], signed[1]], Some(SingleUse::Broken));
        check("POST", &[("signature", ""), signed[1]], Some(SingleUse::Broken));
        for other in [
            ("authorization", "x"),
            ("cookie", "a=b; ZSESSION=x"),
            ("apiAccessKeyId", "x"),
            ("apiSecretAccessKey", "x"),
        ] {
            let both = [signed[0], signed[1], other];
            check("POST", &both, Some(SingleUse::Mixed));
        }
        check("POST", &[signed[0], signed[1], ("cookie", "_ga=1")], Some(SingleUse::Signed));
    }

    #[test]
    fn a_preflight_asks_for_a_method_of_zuora_s() {
        let origin = ("origin", "https://shop.example.com");
        let asked = |method| ("access-control-request-method", method);
        check("OPTIONS", &[origin, asked("POST")], Some(SingleUse::Preflight));
        check("OPTIONS", &[origin, asked("POST"), ("authorization", "Bearer x")], None);
        check("OPTIONS", &[origin, asked("POST"), asked("GET")], None);
        check("OPTIONS", &[origin, asked("post")], None);
        check("OPTIONS", &[origin], None);
        check("OPTIONS", &[asked("POST")], None);
        check("GET", &[origin, asked("POST")], None);
    }
}
