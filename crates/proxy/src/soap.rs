//! SOAP calls on the road: the envelope is opened before anybody is identified, as it may carry what says who calls.

use http::header::{self, HeaderName};
use http::{HeaderMap, Request};
use tokio::time::timeout;
use zuora::Target;
use zuora::soap::{BadEnvelope, Envelope, Head};

use crate::call::Call;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::outbound::{BODY_PATIENCE, Gathered, next_chunk};
use crate::received::Received;
use crate::request::{BadRequest, single};

/// Where SOAP calls are sent to.
const SERVICE: &str = "/apps/services/a/{wsdl-version}";

/// What an envelope is for, as some servers read it (SOAP 1.1 6.1.1). Zuora's description leaves it empty.
const ACTION: HeaderName = HeaderName::from_static("soapaction");

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

/// Reads the head of the envelope, notes it, and puts the body back as it was. Of a caller that is not known yet no more
/// is read than a head may be long, and one piece.
pub(crate) async fn open(request: &mut Request<Received>, call: &mut Call) -> Result<(), Error> {
    if call.operation.is_none_or(|operation| operation.path != SERVICE) {
        return Err(Error::NotFound("SOAP calls are taken as `POST /apps/services/a/{version}`"));
    }
    check_coding(request.headers())?;
    let reading = timeout(BODY_PATIENCE, read_head(request.body_mut()));
    let head = reading.await.map_err(|_| BadRequest::SlowBody)??;
    call.dialect = Dialect::Soap { is_login: head.login.is_some() };
    check_action(request.headers(), &head.call)?;
    call.envelope = Some(Box::new(head));
    Ok(())
}

async fn read_head(body: &mut Received) -> Result<Head, BadRequest> {
    let mut envelope = Box::new(Envelope::new());
    let mut read = Gathered::default();
    while envelope.head().is_none() {
        let Some(piece) = next_chunk(body).await? else { break };
        envelope.read(&piece)?;
        read.push(piece);
    }
    if http_body::Body::is_end_stream(body) {
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
    let mut parameters = media.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
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
