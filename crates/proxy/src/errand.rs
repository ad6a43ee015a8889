//! Requests of the gateway's own, which wait for their turn like those of an app.
//!
//! They go the same road from admission on, as the app [`OWN_APP`] that every tenant has: with a priority below all
//! others, a permit, the tenant's token, and repetitions by the same table.

use std::fmt;
use std::sync::Arc;

use admission::{Ask, Deadline, Place};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;
use zuora::{Target, TrackId};

use crate::answer::{Answer, Content};
use crate::call::Call;
use crate::caller::{Caller, Door};
use crate::error::{Error, Executed};
use crate::headers;
use crate::key::{Key, is_read};
use crate::outbound::{Gathered, Outbound, Payload};
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::request::BadRequest;
use crate::route::{App, Route, Side};

/// The name of the app as which the gateway itself calls Zuora, in logs, metrics and track ids.
pub const OWN_APP: &str = "gateway";

/// The longest answer that is read, in bytes: a page of the callout history holds forty entries with bodies of 60 KB.
const LONGEST_ANSWER: u64 = 8 * 1024 * 1024;

/// A request of the gateway's own. It knows neither credential nor server: the tenant's are used.
#[derive(Clone)]
pub struct Errand {
    /// Its method.
    pub method: Method,
    /// What it asks for, as Zuora will see it.
    pub target: PathAndQuery,
    /// The id of the entity that it is for; `None` for the tenant's first.
    pub entity: Option<HeaderValue>,
    /// JSON, or nothing.
    pub body: Bytes,
}

/// What Zuora said, all of it, whatever its status.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why an errand brought no answer of Zuora's.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct ErrandFailed {
    /// The word for it, as apps would read it in `Zuora-Gateway-Error`.
    pub reason: &'static str,
    message: String,
}

impl Proxy {
    /// Runs an errand at `tenant`: waits for its turn, for as long as [`OWN_APP`]'s calls may, and returns Zuora's answer.
    /// Dropped, it leaves the queue; what was sent is seen through.
    ///
    /// # Errors
    /// If the tenant is not configured, no turn or token came in time, or Zuora gave no answer that could be read to its
    /// end.
    pub async fn run(&self, tenant: &str, errand: Errand) -> Result<Reply, ErrandFailed> {
        let app = self.table.get().own_app(tenant).cloned();
        let app = app.ok_or(Error::NotFound("no such tenant is configured"))?;
        let request = errand.into_request();
        let mut call = Call::begin(&request, &Peer::default(), app.metrics.clone());
        call.caller = Some(Caller { app: Arc::clone(&app), door: Door::Own });
        call.track_id = Some(TrackId::mint(&app.name));
        let outcome = self.go(app, request, &mut call).await;
        outcome.map_err(|error| {
            let error = call.last_word(error);
            drop(self.refuse(&error, &mut call));
            error.into()
        })
    }

    async fn go(
        &self,
        app: Arc<App>,
        request: Request<Bytes>,
        call: &mut Call,
    ) -> Result<Reply, Error> {
        let path = Target::read(request.uri().path()).map_err(BadRequest::from)?;
        call.operation = zuora::classify(request.method(), request.uri().path());
        let side = Side::of(&path, false);
        let route = Route::find(app, call.operation, side, request.headers(), &self.metrics)?;
        let mut route = Arc::new(route);
        call.route = Some(Arc::clone(&route));

        let mut ask = Ask {
            pool: route.pool,
            app: route.app.id,
            user: None,
            deadline: Deadline::Permit(call.started + route.app.queue_timeout),
            place: Place::Back,
            may_probe: is_read(request.method(), call.operation),
        };
        let mut outbound = outbound(&route, request, call);
        let answer = self.ask_zuora(&mut route, &mut ask, &mut outbound, call).await?;
        read(*answer, &route, call).await
    }
}

impl Errand {
    /// A read.
    #[must_use]
    pub fn get(target: PathAndQuery) -> Self {
        Self { method: Method::GET, target, entity: None, body: Bytes::new() }
    }

    /// A write of this JSON.
    #[must_use]
    pub fn post(target: PathAndQuery, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, target, entity: None, body: body.into() }
    }

    /// The same for the entity with this id.
    #[must_use]
    pub fn to_entity(self, id: Option<&str>) -> Self {
        let entity = id.map(|id| HeaderValue::from_str(id).expect("an entity's id is a UUID"));
        Self { entity, ..self }
    }

    fn into_request(self) -> Request<Bytes> {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.into();
        let fields = request.headers_mut();
        fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(entity) = self.entity {
            fields.insert(headers::ENTITY_IDS, entity);
        }
        request
    }
}

/// What is sent, as the road prepares it for an app.
fn outbound(route: &Route, request: Request<Bytes>, call: &mut Call) -> Outbound {
    let (mut head, body) = request.into_parts();
    headers::towards_zuora(&mut head.headers);
    if let Some((field, id)) = route.entity().unsaid(&head.headers) {
        head.headers.insert(field, id);
    }
    head.headers.insert(headers::TRACK_ID, call.track_id().to_header_value());
    head.headers.insert(header::HOST, route.upstream().host());
    let target = head.uri.path_and_query().expect("an errand has a target").clone();
    let uri = route.upstream().uri(target);
    // Few and short, so it is not counted among what is kept for apps.
    let payload = Payload::Kept { bytes: body, _counted: None };
    let mut outbound = Outbound::new(head, uri, call.operation, payload);
    outbound.key =
        Key::of(call.operation, outbound.headers(), route.tenant.retry.mint_idempotency_keys);
    outbound
}

/// Reads the answer to its end, and notes it.
async fn read(answer: Answer, route: &Route, call: &mut Call) -> Result<Reply, Error> {
    let (status, mut fields) = (answer.head.status, answer.head.headers);
    let body = match answer.content {
        Content::Whole(bytes) => bytes,
        Content::Begun { first, mut rest, claim } => {
            let patience = route.tenant.response_timeout;
            let mut gathered = Gathered::default();
            gathered.push(first);
            while let Some(frame) =
                timeout(patience, rest.frame()).await.map_err(|_| Error::Timeout(patience))?
            {
                let executed = call.executed.unwrap_or(Executed::Maybe);
                let frame = frame.map_err(|cause| Error::Broke(cause.into(), executed))?;
                if let Ok(chunk) = frame.into_data() {
                    gathered.push(chunk);
                }
                if gathered.len() > LONGEST_ANSWER {
                    return Err(Error::Broke("the answer is too long to be read".into(), executed));
                }
            }
            drop(claim);
            gathered.into_bytes()
        }
    };
    headers::towards_caller(&mut fields);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    call.answer(&mut response, None);
    call.sent(body.len());
    call.completed();
    Ok(Reply { status, headers: response.into_parts().0.headers, body })
}

impl From<Error> for ErrandFailed {
    fn from(error: Error) -> Self {
        let message = match error.cause() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Self { reason: error.reason(), message }
    }
}

// Bodies may hold customers' data: what is printed of them is their length.

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method, self.target.path(), self.body.len())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}
