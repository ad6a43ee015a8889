//! Everything that can end a call here, and the one place where it becomes a response.

use admission::Shed;
use async_requests::{NotBegun, StoreError};
use credentials::{TokenUnavailable, Unauthenticated};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::body::{Body, UploadError};
use crate::callouts::NotTaken;
use crate::dialect::Dialect;
use crate::headers;
use crate::request::BadRequest;
use crate::soap::ENVELOPE;

/// Why a call got an answer of ours instead of Zuora's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Unauthenticated(#[from] Unauthenticated),
    #[error("{0}")]
    Forbidden(&'static str),
    /// With the rule that says so.
    #[error("this app is not allowed to call this operation: {0}")]
    Policy(String),
    #[error("{0}")]
    BadRequest(#[from] BadRequest),
    #[error("the request body is longer than {} bytes", crate::request::LONGEST_BODY)]
    TooLarge,
    #[error("the head of the request is longer than {} bytes", crate::request::LONGEST_HEAD)]
    HeadTooLarge,
    #[error("{0}")]
    NotFound(&'static str),
    #[error("turned away: {0}")]
    Shed(#[from] Shed),
    #[error("no valid Zuora token could be had")]
    TokenUnavailable(#[from] TokenUnavailable),
    #[error("cannot reach Zuora")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("Zuora did not answer in {}s", .0.as_secs())]
    Timeout(Duration),
    #[error("the exchange with Zuora broke")]
    Broke(#[source] BoxError, Executed),
    #[error("an attempt was cut off after it was sent, and no later one brought its outcome")]
    InDoubt(#[source] BoxError),
    #[error("{0}")]
    NotTaken(#[from] NotTaken),
    #[error("the registry of asynchronous requests cannot be read")]
    Registry(#[from] StoreError),
    #[error("as many streams of outcomes are open as may be: {0} of one app, {1} in all")]
    Streams(usize, usize),
    #[error("this call cannot be remembered now, so that its outcome could be told later")]
    NotRemembered(#[source] NotBegun),
    #[error("the gateway is shutting down")]
    Draining,
    #[error("a bug in the gateway ended this call")]
    Panicked,
}

/// The cause of a failure whose exact type nobody asks for.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether Zuora may have done what the call asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executed {
    No,
    Maybe,
    /// Zuora said so, and only the rest of its answer is lost.
    Yes,
}

impl Executed {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

impl Error {
    /// The word for it in `Zuora-Gateway-Error`, metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) | Self::Policy(_) => "forbidden",
            Self::BadRequest(_) => "bad-request",
            Self::TooLarge | Self::HeadTooLarge => "too-large",
            Self::NotFound(_) => "not-found",
            Self::Shed(Shed::QueueFull { .. } | Shed::QueueBytes { .. }) => "queue-full",
            Self::Shed(Shed::QueueTimeout { .. }) => "queue-timeout",
            Self::Shed(Shed::Hopeless { .. }) => "deadline",
            Self::Shed(Shed::Cooldown { .. }) => "cooldown",
            Self::Shed(Shed::RateLimited { .. }) => "rate-limited",
            Self::Shed(Shed::Down { .. }) => "upstream-unreachable",
            Self::TokenUnavailable(_) => "token-unavailable",
            Self::Unreachable(_) => "upstream-unreachable",
            Self::Timeout(_) => "upstream-timeout",
            Self::Broke(..) | Self::InDoubt(_) => "upstream-broke",
            Self::NotTaken(not_taken) => not_taken.reason(),
            Self::Streams(..) => "rate-limited",
            Self::NotRemembered(_) | Self::Registry(_) => "async-unavailable",
            Self::Draining => "draining",
            Self::Panicked => "panicked",
        }
    }

    /// What lies behind it, for the log; the caller gets our words for it.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::Unauthenticated(stranger) => Some(stranger.reason().to_owned()),
            Self::Policy(refusal) => Some(refusal.clone()),
            Self::Unreachable(_)
            | Self::Broke(..)
            | Self::InDoubt(_)
            | Self::TokenUnavailable(_)
            | Self::NotRemembered(_)
            | Self::Registry(_) => std::error::Error::source(self).map(chain),
            Self::NotTaken(not_taken) => std::error::Error::source(not_taken).map(chain),
            _ => None,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Policy(_) => StatusCode::FORBIDDEN,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Shed(Shed::Down { .. })
            | Self::Unreachable(_)
            | Self::Broke(..)
            | Self::InDoubt(_) => StatusCode::BAD_GATEWAY,
            Self::Shed(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotTaken(not_taken) => not_taken.status(),
            Self::Streams(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::TokenUnavailable(_)
            | Self::NotRemembered(_)
            | Self::Registry(_)
            | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Eight digits in Zuora's manner, so that clients which parse codes sort ours where they belong.
    fn code(&self) -> u32 {
        match self {
            Self::Unauthenticated(_) => 90_000_011,
            Self::Forbidden(_) | Self::Policy(_) => 50_000_010,
            Self::BadRequest(_) | Self::TooLarge | Self::HeadTooLarge => 50_000_020,
            Self::NotFound(_) => 50_000_040,
            Self::Shed(Shed::Down { .. })
            | Self::TokenUnavailable(_)
            | Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::Broke(..)
            | Self::InDoubt(_)
            | Self::NotRemembered(_)
            | Self::Draining => 50_000_061,
            Self::NotTaken(not_taken) => match not_taken.status() {
                StatusCode::UNAUTHORIZED => 90_000_011,
                status if status.is_client_error() => 50_000_020,
                _ => 50_000_061,
            },
            Self::Registry(_) => 50_000_061,
            Self::Shed(_) | Self::Streams(..) => 50_000_070,
            Self::Panicked => 50_000_060,
        }
    }

    pub(crate) fn executed(&self) -> Executed {
        match self {
            Self::Broke(_, executed) => *executed,
            Self::Timeout(_) | Self::InDoubt(_) | Self::Panicked => Executed::Maybe,
            _ => Executed::No,
        }
    }

    /// How long the caller should wait before it asks again: short and honest, as some clients sleep it out silently.
    fn retry_after(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Shed(shed) => Some(shed.retry_after(now)),
            Self::TokenUnavailable(unavailable) => Some(unavailable.retry_after),
            Self::Draining => Some(Duration::from_secs(1)),
            Self::Registry(_) | Self::NotRemembered(_) | Self::Streams(..) => {
                Some(Duration::from_secs(5))
            }
            _ => None,
        }
    }

    /// What happened, and, for whoever reads nothing else, what it means for trying again.
    fn message(&self) -> String {
        match self.executed() {
            Executed::No => self.to_string(),
            Executed::Maybe => format!("{self}; Zuora may have executed the call"),
            Executed::Yes => format!("{self}; Zuora has executed the call"),
        }
    }

    /// The only place where an error becomes a response: Zuora's shape in the caller's dialect, our words, and a header
    /// that says it is ours.
    pub(crate) fn to_response(
        &self,
        dialect: Dialect,
        track_id: &str,
        now: Instant,
    ) -> Response<Body> {
        let (status, content_type, body) = match dialect {
            Dialect::Json => (self.status(), "application/json", self.to_json(track_id)),
            Dialect::Soap { is_login } => (self.fault_status(), ENVELOPE, self.to_fault(is_login)),
        };
        let mut response = Response::new(Body::whole(body.into()));
        *response.status_mut() = status;

        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        fields.insert(headers::ERROR, HeaderValue::from_static(self.reason()));
        if let Some(wait) = self.retry_after(now) {
            fields.insert(header::RETRY_AFTER, whole_seconds(wait).into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let schemes = match self {
                // Zuora proves itself only after it was asked to (Zuora: callout authentication).
                Self::NotTaken(_) => r#"Basic realm="zuora-gateway callouts""#,
                _ => r#"Bearer realm="zuora-gateway", Basic realm="zuora-gateway""#,
            };
            fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(schemes));
        }
        response
    }

    fn to_json(&self, track_id: &str) -> String {
        let answer = json!({
            "success": false,
            "processId": track_id,
            "reasons": [{ "code": self.code(), "message": self.message() }],
        });
        answer.to_string()
    }

    fn to_fault(&self, is_login: bool) -> String {
        let message = match self {
            Self::Unauthenticated(stranger) if is_login && stranger.reason() != "expired" => {
                "`username` and `password` must be the client id, or the name, and the secret of an app of this gateway"
                    .to_owned()
            }
            _ => self.message(),
        };
        zuora::soap::fault(self.word(is_login), &message, is_login)
    }

    /// The status that a fault goes with. SOAP stacks read it from 500 only (SOAP 1.1 6.2); the statuses that say when to
    /// come again, and from whom the trouble came, are kept for those who read them.
    fn fault_status(&self) -> StatusCode {
        match self.status() {
            status @ (StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS) => status,
            status if status.is_client_error() => StatusCode::INTERNAL_SERVER_ERROR,
            status => status,
        }
    }

    /// The word for it that clients of the SOAP API know (Zuora: SOAP error handling). `INVALID_SESSION` makes them log
    /// in and repeat, `REQUEST_EXCEEDED_LIMIT` and `SERVER_UNAVAILABLE` make them repeat: none of these may stand for
    /// what Zuora may have executed.
    fn word(&self, is_login: bool) -> &'static str {
        match self {
            _ if self.executed() != Executed::No => "TRANSACTION_TIMEOUT",
            Self::Unauthenticated(_) if is_login => "INVALID_LOGIN",
            Self::Unauthenticated(_) => "INVALID_SESSION",
            _ => match self.status() {
                StatusCode::TOO_MANY_REQUESTS => "REQUEST_EXCEEDED_LIMIT",
                status if status.is_server_error() => "SERVER_UNAVAILABLE",
                _ => "INVALID_VALUE",
            },
        }
    }

    /// Whether the connection must not be used again after this answer.
    pub(crate) fn ends_connection(&self) -> bool {
        match self {
            Self::BadRequest(bad) => bad.ends_connection(),
            Self::TooLarge | Self::HeadTooLarge | Self::Draining => true,
            Self::NotTaken(not_taken) => not_taken.ends_connection(),
            _ => false,
        }
    }
}

impl From<&UploadError> for Error {
    fn from(error: &UploadError) -> Self {
        match error {
            UploadError::Caller(_) => BadRequest::Body.into(),
            UploadError::Envelope(bad) => BadRequest::Envelope(*bad).into(),
            UploadError::Silent => BadRequest::SlowBody.into(),
            UploadError::TooLong => Self::TooLarge,
        }
    }
}

/// Rounded up: a caller that comes back early would only be sent away again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The caller's part in a broken exchange: its body did not arrive whole. Zuora then never got a whole request.
pub(crate) fn upload_error<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e UploadError> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref()).next()
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
