//! The logins that bring a session: `POST /v1/connections`, and the SOAP call `login`.

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use zuora::soap::{NoLogin, read_login_answer};

use super::{FetchError, Grant, is_usable, retry_after};
use crate::proof::Proof;

/// The part of the answer to `POST /v1/connections` that matters here. Errors come with HTTP 200, too.
#[derive(Deserialize)]
struct Connected {
    success: bool,
    #[serde(default)]
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    code: serde_json::Value,
}

impl Grant {
    /// Reads the answer of `POST /v1/connections`: its session is in a cookie.
    ///
    /// # Errors
    /// For every answer that is not a session that can be used now: see [`FetchError`].
    pub fn read_connection(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, FetchError> {
        let answer: Option<Connected> = serde_json::from_slice(body).ok();
        let category = answer.as_ref().and_then(|answer| category(answer.reasons.first()?));
        match (status, category) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) | (_, Some(10 | 11)) => {
                Err(FetchError::Refused)
            }
            (StatusCode::TOO_MANY_REQUESTS, _) | (_, Some(70)) => {
                Err(FetchError::RateLimited { retry_after: retry_after(headers) })
            }
            (status, _) if !status.is_success() => {
                Err(FetchError::Status { code: status.as_u16() })
            }
            _ if answer.is_some_and(|answer| answer.success) => {
                let session = session(headers).ok_or(FetchError::Malformed)?;
                Proof::cookie(session).map(Self::lasting).ok_or(FetchError::Malformed)
            }
            _ => Err(FetchError::Malformed),
        }
    }
}

impl Grant {
    /// Reads the answer of the SOAP call `login`.
    ///
    /// # Errors
    /// For every answer that is not a session that can be used now: see [`FetchError`].
    pub fn read_soap_login(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, FetchError> {
        let wait = || FetchError::RateLimited { retry_after: retry_after(headers) };
        match (read_login_answer(body), status) {
            (Ok(answer), status) if status.is_success() && is_usable(&answer.session) => {
                Proof::session(&answer.session).map(Self::lasting).ok_or(FetchError::Malformed)
            }
            (Err(NoLogin::Fault { word, .. }), status) => Err(match word.as_str() {
                // `INVALID_VALUE` is how an address is refused that the user may not come from.
                "INVALID_LOGIN" | "INVALID_VALUE" => FetchError::Refused,
                "REQUEST_EXCEEDED_LIMIT" | "REQUEST_EXCEEDED_RATE" => wait(),
                _ if status == StatusCode::TOO_MANY_REQUESTS => wait(),
                _ => FetchError::Status { code: status.as_u16() },
            }),
            (_, StatusCode::TOO_MANY_REQUESTS) => Err(wait()),
            (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(FetchError::Refused),
            (_, status) if status.is_success() => Err(FetchError::Malformed),
            (_, status) => Err(FetchError::Status { code: status.as_u16() }),
        }
    }
}

/// Returns the last two digits of a reason's code, which say what kind of failure it is (Zuora: error codes).
fn category(reason: &Reason) -> Option<u64> {
    let code = match &reason.code {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    code.map(|code| code % 100)
}

/// Returns the session that the answer sets as cookie.
fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::SET_COOKIE).into_iter();
    let mut sessions = cookies.filter_map(|cookie| {
        let pair = cookie.to_str().ok()?.split(';').next()?;
        let session = pair.trim().strip_prefix("ZSession=")?.trim();
        is_usable(session).then_some(session)
    });
    sessions.next()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    const PLAIN: &str = r#"{"success":true}"#;
    const COOKIE: &str = "ZSession=abc-1==; Path=/; Secure; HttpOnly";

    fn connect(status: u16, cookies: &[&str], body: &str) -> Result<Grant, FetchError> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Grant::read_connection(status, &headers, body.as_bytes())
    }

    #[test]
    fn the_session_of_a_connection_is_its_cookie() {
        for cookies in [
            &[COOKIE][..],
            &["other=1; Path=/", COOKIE],
            &["ZSession=abc-1==", "ZSession=later"],
            &["ZSession=; Max-Age=0", COOKIE],
        ] {
            let grant = connect(200, cookies, PLAIN).unwrap();
            assert_eq!(grant.proof, Proof::cookie("abc-1==").unwrap(), "{cookies:?}");
            assert_eq!(grant.life, None);
        }
    }

    #[track_caller]
    fn refused(status: u16, cookies: &[&str], body: &str, expected: FetchError) {
        assert_eq!(connect(status, cookies, body).unwrap_err(), expected, "{body}");
    }

    #[test]
    fn an_answer_without_a_session_is_none() {
        for (cookies, body) in [
            (&[][..], PLAIN),
            (&["session=abc"], PLAIN),
            (&["ZSession="], PLAIN),
            (&["ZSession=a b"], PLAIN),
            (&[COOKIE], ""),
            (&[COOKIE], "<html>"),
            (&[COOKIE], r#"{"success":false}"#),
        ] {
            refused(200, cookies, body, FetchError::Malformed);
        }
    }

    #[test]
    fn a_refused_key_is_told_from_a_disturbance() {
        let failed = |code: &str| {
            format!(r#"{{"success":false,"reasons":[{{"code":{code},"message":"m"}}]}}"#)
        };
        let limited = FetchError::RateLimited { retry_after: None };

        refused(401, &[], "", FetchError::Refused);
        refused(403, &[], "<html>", FetchError::Refused);
        refused(200, &[COOKIE], &failed("90000011"), FetchError::Refused);
        refused(200, &[], &failed(r#""90000011""#), FetchError::Refused);
        refused(200, &[], &failed("50000070"), limited);
        refused(429, &[], "", limited);
        refused(200, &[], &failed("50000060"), FetchError::Malformed);
        refused(503, &[], "<html>", FetchError::Status { code: 503 });
        refused(302, &[COOKIE], PLAIN, FetchError::Status { code: 302 });
    }

    fn soap(status: u16, body: &str) -> Result<Grant, FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("17"));
        let status = StatusCode::from_u16(status).unwrap();
        Grant::read_soap_login(status, &headers, body.as_bytes())
    }

    fn fault(word: &str) -> String {
        zuora::soap::fault(word, "because", true)
    }

    #[test]
    fn the_session_of_a_soap_login_is_in_its_envelope() {
        let answer =
            zuora::soap::login_answer("s-1==", "https://www.zuora.com/apps/services/a/91.0");

        let grant = soap(200, &answer).unwrap();

        assert_eq!(grant.proof, Proof::session("s-1==").unwrap());
        assert_eq!(grant.life, None);
        assert_eq!(soap(500, &answer).unwrap_err(), FetchError::Status { code: 500 });
        let odd = zuora::soap::login_answer("s 1", "https://www.zuora.com");
        assert_eq!(soap(200, &odd).unwrap_err(), FetchError::Malformed);
    }

    #[test]
    fn a_fault_says_what_to_do_about_it() {
        let limited = FetchError::RateLimited { retry_after: Some(Duration::from_secs(17)) };
        for (status, body, expected) in [
            (500, fault("INVALID_LOGIN"), FetchError::Refused),
            (200, fault("INVALID_LOGIN"), FetchError::Refused),
            (500, fault("INVALID_VALUE"), FetchError::Refused),
            (500, fault("REQUEST_EXCEEDED_LIMIT"), limited),
            (200, fault("REQUEST_EXCEEDED_RATE"), limited),
            (429, fault("SOMETHING"), limited),
            (500, fault("SERVER_UNAVAILABLE"), FetchError::Status { code: 500 }),
            (429, String::new(), limited),
            (403, "<html>".to_owned(), FetchError::Refused),
            (503, "<html>".to_owned(), FetchError::Status { code: 503 }),
            (200, "<html>".to_owned(), FetchError::Malformed),
        ] {
            assert_eq!(soap(status, &body).unwrap_err(), expected, "{status} {body}");
        }
    }
}
