//! What is asked of Zuora, and what its answers mean: `POST /oauth/token`, and the logins beside it.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::proof::Proof;

mod session;

/// A token that lives longer than this is a mistake: Zuora's live for an hour.
const LONGEST_LIFE: Duration = Duration::from_secs(31 * 24 * 3600);
/// A longer token does not fit into the headers of a request.
const LONGEST_TOKEN: usize = 4096;

/// Who gives tokens: one way to ask Zuora, with one credential, and with the one before it. One exchange at a time and
/// without trying again: [`Tokens`](crate::Tokens) decides when to ask once more, and with which of the two.
pub trait TokenEndpoint: Send + Sync + 'static {
    /// Asks for a new token. [`Tokens`](crate::Tokens) never calls it twice at the same time,
    /// and drops the future when it takes longer than 30 s.
    fn fetch(
        &self,
        which: Which,
    ) -> Pin<Box<dyn Future<Output = Result<Grant, FetchError>> + Send + '_>>;

    /// Whether there is a credential before this one, to be tried when Zuora refuses it.
    fn has_previous(&self) -> bool {
        false
    }

    /// What can be used at once, without asking anybody.
    fn at_hand(&self) -> Option<Grant> {
        None
    }

    /// When what it gives is followed by another.
    fn renewal(&self) -> Renewal {
        Renewal::Ahead
    }
}

/// Which of two credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that is to be used.
    Current,
    /// The one before it, which Zuora may still take, or already no more.
    Previous,
}

/// When a token is followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewal {
    /// Ahead of its end, every ten minutes if it does not tell its end, and when Zuora refuses it.
    #[default]
    Ahead,
    /// When Zuora refuses it.
    OnError,
    /// No attempt goes with one from before it.
    EveryCall,
    /// There is no other.
    Never,
}

/// Returns the content type and the body of a `POST /oauth/token`
/// (Zuora: OAuth client credentials).
#[must_use]
pub fn token_request(client_id: &str, client_secret: &str) -> (HeaderValue, Vec<u8>) {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", client_id)
        .append_pair("client_secret", client_secret)
        .append_pair("grant_type", "client_credentials")
        .finish();
    (HeaderValue::from_static("application/x-www-form-urlencoded"), body.into_bytes())
}

/// A token, a session or a key, as it can be used from now on.
#[derive(Clone, Debug)]
pub struct Grant {
    pub(crate) proof: Proof,
    /// How long it lives, counted from the moment it was asked for. `None`: nobody said.
    pub(crate) life: Option<Duration>,
    /// The entities that it reaches; empty if it does not say.
    pub(crate) entities: Arc<[Box<str>]>,
}

/// Why there is no new token. None of them carries anything that was sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer came: not connected, cut off, or too slow.
    #[error("the token endpoint cannot be reached")]
    Unreachable,
    /// An answer that is neither a token nor a clear refusal.
    #[error("the token endpoint answered HTTP {code}")]
    Status {
        /// The HTTP status.
        code: u16,
    },
    /// Zuora does not accept the credential.
    #[error("Zuora refuses the credentials of the tenant")]
    Refused,
    /// The limit of logins was reached: 100 a minute for each IP address
    /// (Zuora: rate limits guide).
    #[error("Zuora's limit of logins is reached")]
    RateLimited {
        /// How long Zuora asks to wait, if it says so.
        retry_after: Option<Duration>,
    },
    /// HTTP 200 without a usable token: not JSON, an empty token, an absurd life.
    #[error("the token endpoint answered without a usable token")]
    Malformed,
}

/// The parts of Zuora's answer that matter here.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    #[serde(default)]
    scope: Option<String>,
    expires_in: Seconds,
}

/// Samples show a number; old clients prepared for a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Grant {
    /// A proof that needs no asking and tells no end.
    #[must_use]
    pub fn lasting(proof: Proof) -> Self {
        Self { proof, life: None, entities: Arc::default() }
    }

    /// Reads the answer of `POST /oauth/token`.
    ///
    /// # Errors
    /// For every answer that is not a token that can be used now: see [`FetchError`].
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Self, FetchError> {
        match status {
            status if status.is_success() => Self::from_json(body).ok_or(FetchError::Malformed),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(FetchError::RateLimited { retry_after: retry_after(headers) })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::Refused),
            StatusCode::BAD_REQUEST if names_the_client(body) => Err(FetchError::Refused),
            other => Err(FetchError::Status { code: other.as_u16() }),
        }
    }

    fn from_json(body: &[u8]) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let is_bearer = answer.token_type.is_none_or(|it| it.eq_ignore_ascii_case("bearer"));
        let token = answer.access_token;
        let seconds = match answer.expires_in {
            Seconds::Number(seconds) => seconds,
            Seconds::Text(text) => text.trim().parse().ok()?,
        };
        let life = Duration::from_secs(seconds);
        if !is_bearer || !is_usable(&token) || life.is_zero() || life > LONGEST_LIFE {
            return None;
        }
        let entities = entities(answer.scope.as_deref().unwrap_or_default());
        Some(Self { proof: Proof::bearer(&token)?, life: Some(life), entities })
    }
}

/// Returns the entities that a scope names, each once: `entity.<id>` (Zuora: OAuth, scopes).
fn entities(scope: &str) -> Arc<[Box<str>]> {
    let mut found: Vec<Box<str>> = Vec::new();
    for id in scope.split_ascii_whitespace().filter_map(|item| item.strip_prefix("entity.")) {
        if !id.is_empty() && !found.iter().any(|known| known.eq_ignore_ascii_case(id)) {
            found.push(id.into());
        }
    }
    found.into()
}

/// Returns whether a session or a token can stand in a header field, and is one.
fn is_usable(token: &str) -> bool {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && !token.is_empty() && token.len() <= LONGEST_TOKEN
}

/// Returns the wait that the headers ask for, as whole seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name| headers.get(name)?.to_str().ok()?.trim().parse().ok();
    seconds(header::RETRY_AFTER.as_str())
        .or_else(|| seconds("ratelimit-reset"))
        .map(Duration::from_secs)
}

/// Returns whether a 400 is about the client's id or secret, and not about the request.
fn names_the_client(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.contains("invalid client") || text.contains("invalid_client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<u64, FetchError>) {
        let status = StatusCode::from_u16(status).unwrap();
        let read = Grant::read(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(read.map(|grant| grant.life.unwrap().as_secs()), expected, "{body}");
    }

    #[test]
    fn an_answer_of_zuoras_is_read() {
        let body = r#"{"access_token":"6447d349d8854f0d8d5535484b0b811b","token_type":"bearer",
            "expires_in":3598,"scope":"tenant.12270 user.1","jti":"6447d349"}"#;

        let grant = Grant::read(StatusCode::OK, &HeaderMap::new(), body.as_bytes()).unwrap();

        assert_eq!(grant.proof, Proof::bearer("6447d349d8854f0d8d5535484b0b811b").unwrap());
        let mut fields = HeaderMap::new();
        grant.proof.put_on(&mut fields);
        let authorization = &fields[header::AUTHORIZATION];
        assert_eq!(authorization, "Bearer 6447d349d8854f0d8d5535484b0b811b");
        assert!(authorization.is_sensitive());
        assert_eq!(grant.life, Some(Duration::from_secs(3598)));
        check(200, r#"{"access_token":"t","expires_in":"3599"}"#, Ok(3599));
    }

    #[test]
    fn the_entities_that_a_token_reaches_are_read_from_its_scope() {
        let read = |scope: &str| {
            let body = format!(r#"{{"access_token":"t","expires_in":60,"scope":{scope}}}"#);
            let grant = Grant::read(StatusCode::OK, &HeaderMap::new(), body.as_bytes()).unwrap();
            grant.entities.iter().map(ToString::to_string).collect::<Vec<_>>()
        };

        assert_eq!(
            read(r#""entity.a-1 platform.write entity.b-2 entity.A-1 tenant.1""#),
            ["a-1", "b-2"]
        );
        assert_eq!(read(r#""platform.write entity. myentity.c tenant.1""#), [""; 0]);
        assert_eq!(read("null"), [""; 0]);
    }

    #[test]
    fn an_answer_without_a_usable_token_is_refused() {
        for body in [
            "",
            "<html>busy</html>",
            r#"{"success":false,"reasons":[{"code":90000011,"message":"x"}]}"#,
            r#"{"access_token":"","expires_in":3598}"#,
            r#"{"access_token":null,"expires_in":3598}"#,
            r#"{"access_token":"a b","expires_in":3598}"#,
            r#"{"access_token":"a\r\nX: y","expires_in":3598}"#,
            r#"{"access_token":"é","expires_in":3598}"#,
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"t","expires_in":0}"#,
            r#"{"access_token":"t","expires_in":-1}"#,
            r#"{"access_token":"t","expires_in":"soon"}"#,
            r#"{"access_token":"t","expires_in":99999999999}"#,
            r#"{"access_token":"t","expires_in":3598,"token_type":"mac"}"#,
        ] {
            check(200, body, Err(FetchError::Malformed));
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_disturbance() {
        check(400, r#"{"message":"Invalid client id"}"#, Err(FetchError::Refused));
        check(400, r#"{"error":"invalid_client"}"#, Err(FetchError::Refused));
        check(400, "{}", Err(FetchError::Status { code: 400 }));
        check(401, r#"{"error":"Unauthorized","status":401}"#, Err(FetchError::Refused));
        check(403, r#"{"path":"/oauth/token","status":403}"#, Err(FetchError::Refused));
        check(429, "", Err(FetchError::RateLimited { retry_after: None }));
        check(500, "<html>", Err(FetchError::Status { code: 500 }));
        check(302, "", Err(FetchError::Status { code: 302 }));
    }

    #[test]
    fn the_wait_of_a_429_is_read_from_its_headers() {
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            Grant::read(StatusCode::TOO_MANY_REQUESTS, &headers, b"").unwrap_err()
        };
        let asked = FetchError::RateLimited { retry_after: Some(Duration::from_secs(17)) };

        assert_eq!(read("retry-after", "17"), asked);
        assert_eq!(read("ratelimit-reset", "17"), asked);
        assert_eq!(read("retry-after", "soon"), FetchError::RateLimited { retry_after: None });
    }

    #[test]
    fn the_request_is_a_form_with_every_character_kept() {
        let (content_type, body) = token_request("id-1", "a+b/c=&d é%");

        assert_eq!(content_type, "application/x-www-form-urlencoded");
        let body = String::from_utf8(body).unwrap();
        let expected = "client_id=id-1&client_secret=a%2Bb%2Fc%3D%26d+%C3%A9%25\
            &grant_type=client_credentials";
        assert_eq!(body, expected);
    }
}
