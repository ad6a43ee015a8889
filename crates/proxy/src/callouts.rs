//! Where Zuora's callouts come in.
//!
//! Zuora sends a callout again only if it is answered 408, 429, 5xx or not at all (Zuora: callout delivery), and it tells
//! an outcome nowhere else. So what could not be taken in through no fault of Zuora's is never answered with another 4xx.

use std::sync::Arc;

use async_requests::{Outcome, Registry, Report, StoreError, Taken};
use bytes::Bytes;
use credentials::CalloutCredentials;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use telemetry::CalloutResult;
use tokio::sync::SemaphorePermit;
use tokio::time::{Duration, timeout};
use zuora::TrackId;
use zuora::callout::{BadCallout, Callout, End};

use crate::body::Body;
use crate::call::Call;
use crate::error::Error;
use crate::local::{CALLOUTS, json_response};
use crate::proxy::Proxy;
use crate::received::Received;
use crate::request::BadRequest;
use crate::route::Tenant;

/// How many callouts are taken in at the same time; the others wait. What one takes is a few milliseconds of the disk, and
/// many share one write, so more would only be more bodies in memory, and more work beside that of the apps.
pub(crate) const AT_ONCE: usize = 64;

/// The longest body of one, in bytes: it holds a few ids, or the reasons of a failure.
pub(crate) const LONGEST: usize = 256 * 1024;

/// How long a body may take to arrive: Zuora takes no longer to send it (Zuora: callout delivery).
const BODY_PATIENCE: Duration = Duration::from_secs(15);

/// How long one may wait for the others, and then for the disk: Zuora waits 25 s in all, and an answer that comes later is
/// none.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same on every attempt to deliver one callout (Zuora: callout delivery).
const NOTIFICATION_ID: HeaderName = HeaderName::from_static("zuora-notification-id");

/// The longest id of a notification that is taken for one, as it is kept with the outcome: Zuora's have 36 characters.
const LONGEST_NOTIFICATION_ID: usize = 256;

/// Why a callout was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error(
        "the credentials of callouts are needed: the `username` and `password` under `async.callouts` of the tenant, by HTTP Basic"
    )]
    Stranger,
    #[error("the body is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the body did not arrive in {}s", BODY_PATIENCE.as_secs())]
    Slow,
    #[error("this is no callout of an asynchronous request: {0}")]
    Malformed(#[from] BadCallout),
    #[error("more callouts come than can be taken in")]
    TooMany,
    #[error("what it tells cannot be written down")]
    Unstorable(#[source] StoreError),
    #[error("what it tells could not be written down in {}s", PATIENCE.as_secs())]
    Stalled,
}

impl NotTaken {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooMany | Self::Unstorable(_) | Self::Stalled => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word for it in `Zuora-Gateway-Error` and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Stranger => "unauthenticated",
            Self::TooLong => "too-large",
            Self::Slow | Self::Malformed(_) => "bad-request",
            Self::TooMany | Self::Unstorable(_) | Self::Stalled => "async-unavailable",
        }
    }

    /// Whether the connection must not be used again: who falls silent within a body may do so for ever.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(self, Self::Slow)
    }
}

impl Proxy {
    /// Takes in a callout, and answers once what it tells is durable.
    pub(crate) async fn take_callout(
        &self,
        request: Request<Received>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        call.is_callout = true;
        let (head, body) = request.into_parts();
        let name = head.uri.path().strip_prefix(CALLOUTS).unwrap_or_default();
        let metrics = self.metrics.callouts(name);
        let tenant = match self.tenant_of_callout(name, &head.headers, call) {
            Ok(tenant) => tenant,
            Err(result) => {
                metrics.came(result);
                return Err(NotTaken::Stranger.into());
            }
        };
        let taken = self.take_in(&tenant, &head.headers, body, call).await;
        metrics.came(match &taken {
            Ok(result) => *result,
            Err(Error::NotTaken(NotTaken::TooLong)) => CalloutResult::TooLarge,
            Err(Error::NotTaken(NotTaken::Malformed(_))) => CalloutResult::Malformed,
            Err(_) => CalloutResult::Unstorable,
        });
        // Zuora can be told to look for `success` (Zuora: callout retries).
        taken.map(|_| json_response(StatusCode::OK, r#"{"success":true}"#.to_owned()))
    }

    /// The tenant with this name, if the callout shows what those of this tenant must. A name that nobody has costs as much
    /// as a wrong password.
    fn tenant_of_callout(
        &self,
        name: &str,
        fields: &HeaderMap,
        call: &mut Call,
    ) -> Result<Arc<Tenant>, CalloutResult> {
        let table = self.table.get();
        let tenant = table.own_app(name).map(|app| &app.tenant);
        let expected = tenant.and_then(|tenant| tenant.async_requests.as_ref()?.callouts.as_ref());
        let checked = match expected {
            Some(expected) => expected.check(fields),
            None => CalloutCredentials::of_nobody().check(fields),
        };
        if let Err(stranger) = checked {
            call.rejected(stranger, None);
            return Err(match stranger.is_missing() {
                true => CalloutResult::Challenged,
                false => CalloutResult::Unauthenticated,
            });
        }
        Ok(Arc::clone(tenant.expect("nobody has the credentials of nobody")))
    }

    async fn take_in(
        &self,
        tenant: &Tenant,
        fields: &HeaderMap,
        body: Received,
        call: &mut Call,
    ) -> Result<CalloutResult, Error> {
        if body.size_hint().lower() > LONGEST as u64 {
            return Err(NotTaken::TooLong.into());
        }
        let _place = self.place_for_callout().await?;
        let body = read(body).await?;
        let callout = Callout::read(&body).map_err(NotTaken::Malformed)?;
        call.track_id = callout.track_id.as_ref().and_then(|id| TrackId::parse(id.as_bytes()).ok());
        let notification = fields.get(NOTIFICATION_ID).and_then(|id| id.to_str().ok());
        let notification = notification.filter(|id| id.len() <= LONGEST_NOTIFICATION_ID);
        let report = report(callout, notification);
        let zuora_id = report.zuora_id.clone();
        let state = report.outcome.state().as_str();

        let async_requests = tenant.async_requests.as_ref().expect("its credentials are there");
        let result = take_in(&async_requests.registry, &tenant.name, report).await?;
        tracing::info!(
            tenant = &*tenant.name,
            track_id = call.track_id.as_ref().map(TrackId::as_str),
            request_id = zuora_id.as_deref(),
            notification_id = notification,
            state,
            result = result.as_str(),
            "a callout came"
        );
        Ok(result)
    }

    async fn place_for_callout(&self) -> Result<SemaphorePermit<'_>, NotTaken> {
        let place = timeout(PATIENCE, self.callout_places.acquire()).await;
        let place = place.map_err(|_| NotTaken::TooMany)?;
        Ok(place.expect("places are never closed"))
    }
}

async fn read(body: Received) -> Result<Bytes, Error> {
    let body = timeout(BODY_PATIENCE, Limited::new(body, LONGEST).collect()).await;
    let body = body.map_err(|_| NotTaken::Slow)?.map_err(|cause| {
        let is_too_long = cause.is::<LengthLimitError>();
        if is_too_long { Error::from(NotTaken::TooLong) } else { BadRequest::Body.into() }
    });
    Ok(body?.to_bytes())
}

/// What a callout tells the registry.
#[must_use]
pub fn report(callout: Callout, notification_id: Option<&str>) -> Report {
    let outcome = match callout.end {
        End::Succeeded { data } => Outcome::Succeeded { data },
        End::Failed { reasons, process_id } => {
            Outcome::Failed { reasons, process_id: process_id.map(Arc::from) }
        }
    };
    Report {
        zuora_id: callout.request_id.map(Arc::from),
        track_id: callout.track_id.map(Arc::from),
        notification_id: notification_id.map(Arc::from),
        outcome,
    }
}

async fn take_in(
    registry: &Arc<Registry>,
    tenant: &Arc<str>,
    report: Report,
) -> Result<CalloutResult, NotTaken> {
    // What is being written goes on to be: Zuora's next attempt is a duplicate then.
    let taken = timeout(PATIENCE, registry.take_in(tenant, report)).await;
    match taken.map_err(|_| NotTaken::Stalled)?.map_err(NotTaken::Unstorable)? {
        Taken::News(_) => Ok(CalloutResult::Taken),
        Taken::Duplicate => Ok(CalloutResult::Duplicate),
        Taken::Unknown => Ok(CalloutResult::Unknown),
    }
}
