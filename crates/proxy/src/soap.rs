//! SOAP calls on the road: the envelope is opened before anybody is identified, as it may carry what says who calls.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use tokio::time::timeout;
use zuora::Target;
use zuora::soap::{BadEnvelope, Envelope, Head, Login};

use crate::body::Body;
use crate::call::Call;
use crate::caller::{Caller, Door};
use crate::dialect::Dialect;
use crate::error::Error;
use crate::headers;
use crate::outbound::{BODY_PATIENCE, Gathered, next_chunk};
use crate::proxy::Proxy;
use crate::received::Received;
use crate::request::{BadRequest, single};
use crate::route::{App, names_entity};

/// Where SOAP calls are sent to.
const SERVICE: &str = "/apps/services/a/{wsdl-version}";

/// What an envelope is for, as some servers read it (SOAP 1.1 6.1.1). Zuora's description leaves it empty.
const ACTION: HeaderName = HeaderName::from_static("soapaction");

/// What an envelope of ours is.
pub(crate) const ENVELOPE: &str = "text/xml;charset=utf-8";

/// How the caller of `request` understands a failure. Whatever may be read as a call of the SOAP API by anybody counts
/// as one, so that none passes unopened.
pub(crate) fn dialect<B>(request: &Request<B>) -> Dialect {
    let is_service = || {
        let target = Target::read(request.uri().path());
        target.is_ok_and(|target| target.may_be_under(&["apps", "services"]))
    };
    if request.method().is_safe() || !is_service() {
        Dialect::Json
    } else {
        Dialect::Soap { is_login: false }
    }
}

/// Between a session of ours and the entity that it is for. No session has one itself.
const OF_ENTITY: char = '~';

/// Reads the head of the envelope, notes it, and puts the body back as it was. Of a caller that is not known yet no more
/// is read than a head may be long, and one piece.
pub(crate) async fn open(request: &mut Request<Received>, call: &mut Call) -> Result<(), Error> {
    if call.operation.is_none_or(|operation| operation.path != SERVICE) {
        return Err(Error::NotFound("SOAP calls are taken as `POST /apps/services/a/{version}`"));
    }
    check_coding(request.headers())?;
    let reading = timeout(BODY_PATIENCE, read_head(request.body_mut()));
    let mut head = reading.await.map_err(|_| BadRequest::SlowBody)??;
    call.dialect = Dialect::Soap { is_login: head.login.is_some() };
    check_action(request.headers(), &head.call)?;
    take_entity(&mut head, request.headers_mut())?;
    call.envelope = Some(Box::new(head));
    Ok(())
}

/// A session may be for an entity: then that is the one that the call is for, if it names no other itself.
fn take_entity(head: &mut Head, headers: &mut HeaderMap) -> Result<(), BadRequest> {
    let Some(session) = head.session.take() else { return Ok(()) };
    let (session, entity) = match session.split_once(OF_ENTITY) {
        None => (&*session, None),
        Some((session, entity)) => (session, Some(entity)),
    };
    if let Some(entity) = entity.filter(|_| !names_entity(headers)) {
        // Ids have hyphens but in the older field (Zuora: Multi-entity guide).
        let is_older = !entity.contains('-');
        let field = if is_older { headers::ENTITY_ID } else { headers::ENTITY_IDS };
        let entity = HeaderValue::from_str(entity).map_err(|_| BadRequest::Entities)?;
        headers.insert(field, entity);
    }
    head.session = Some(session.into());
    Ok(())
}

/// What is said with a `login()`, if the call is one.
pub(crate) fn take_login(call: &mut Call) -> Option<Login> {
    call.envelope.as_mut()?.login.take()
}

impl Proxy {
    /// Answers `login()`: with a session of ours for the app whose name and secret it brings, and the address at which it
    /// reached us.
    pub(crate) fn answer_login<B>(
        &self,
        login: &Login,
        request: &Request<B>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        let table = self.table.get();
        let known = table.doors.login(&login.username, &login.password);
        let known = known.map_err(|stranger| self.reject(stranger, &table, call))?;
        let door = Door::Credential;
        call.caller = Some(Caller { app: Arc::clone(table.app(known.app())), door });
        let app = table.app_meant(known.app(), &call.arrival)?;
        call.caller = Some(Caller { app: Arc::clone(app), door });

        let token = table.doors.issue(&known, SystemTime::now());
        let session = match entity_of(login, app)? {
            Some(entity) => format!("{}{OF_ENTITY}{entity}", token.expose()),
            None => token.expose().to_owned(),
        };
        let base_url = call.arrival.base_url().ok_or(BadRequest::Host)?;
        let server_url = format!("{base_url}{}", request.uri().path());
        let answer = zuora::soap::login_answer(&session, &server_url);
        let mut response = Response::new(Body::whole(answer.into()));
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(ENVELOPE));
        // A session must not be cached.
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// The entity that a `login()` is for, if it names one: by the id that is configured, else as it was named.
fn entity_of<'a>(login: &'a Login, app: &'a App) -> Result<Option<&'a str>, Error> {
    let named = [
        (headers::ENTITY_ID, login.entity_id.as_deref()),
        (headers::ENTITY_NAME, login.entity_name.as_deref()),
    ];
    let mut fields = HeaderMap::new();
    for (field, value) in named.into_iter().filter_map(|(field, value)| Some((field, value?))) {
        let value = HeaderValue::from_bytes(value.as_bytes());
        fields.insert(field, value.map_err(|_| BadRequest::Entities)?);
    }
    if fields.is_empty() {
        return Ok(None);
    }
    let configured = app.tenant.entities[app.entity(&fields)?].id.as_deref();
    match (configured, &login.entity_name) {
        (Some(id), _) => Ok(Some(id)),
        // A session carries ids only.
        (None, Some(_)) => Err(BadRequest::UnknownName.into()),
        (None, None) => Ok(login.entity_id.as_deref()),
    }
}

async fn read_head(body: &mut Received) -> Result<Head, BadRequest> {
    let mut envelope = Box::new(Envelope::new());
    let mut read = Gathered::default();
    while envelope.head().is_none() {
        let Some(piece) = next_chunk(body).await? else { break };
        envelope.read(&piece)?;
        read.push(piece);
    }
    if body.has_all_come() {
        envelope.end()?;
    }
    let head = envelope.head().cloned().ok_or(BadEnvelope::Incomplete)?;
    body.put_back(read.into_bytes(), envelope);
    Ok(head)
}

/// The bytes must be those of the envelope, in an encoding in which they can be read in one way.
fn check_coding(headers: &HeaderMap) -> Result<(), BadRequest> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(BadRequest::PackedEnvelope);
    }
    let media =
        single(headers, &header::CONTENT_TYPE, BadRequest::Envelope(BadEnvelope::Encoding))?;
    let media = media.unwrap_or_default().to_ascii_lowercase();
    let mut parameters = media.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    // In a body of another type, as one of several parts, a server may find another envelope than this one.
    if !matches!(parameters.next(), Some(b"text/xml" | b"application/xml")) {
        return Err(BadRequest::NoEnvelope);
    }
    let is_read = parameters.all(|parameter| match parameter.strip_prefix(b"charset") {
        None => true,
        Some(charset) => {
            let charset = charset.trim_ascii_start().strip_prefix(b"=").unwrap_or_default();
            let charset = charset.trim_ascii();
            let plain = charset.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
            matches!(plain.unwrap_or(charset), b"utf-8" | b"utf8" | b"us-ascii")
        }
    });
    if is_read { Ok(()) } else { Err(BadEnvelope::Encoding.into()) }
}

/// A server that went by `SOAPAction` would do another thing than the one that policy judged.
fn check_action(headers: &HeaderMap, call: &str) -> Result<(), BadRequest> {
    let action = single(headers, &ACTION, BadRequest::SoapAction)?.unwrap_or_default();
    let plain = action.strip_prefix(b"\"").and_then(|action| action.strip_suffix(b"\""));
    let action = plain.unwrap_or(action).trim_ascii();
    let name = action.rsplit(|byte| b"/#:".contains(byte)).next().unwrap_or_default();
    if action.is_empty() || name == call.as_bytes() { Ok(()) } else { Err(BadRequest::SoapAction) }
}
