//! What is sent to Zuora: the caller's request without what was meant for us, as often as it may be sent.

use std::fmt;
use std::sync::Arc;

use admission::{Admission, AppId, Kept, PoolId};
use bytes::{Bytes, BytesMut};
use credentials::Proof;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Duration, timeout};
use zuora::Operation;
use zuora::soap::Splice;

use crate::body::{Flow, Upload, UploadContent};
use crate::embark::Voyage;
use crate::error::Error;
use crate::headers;
use crate::key::{Key, is_read};
use crate::passage::Passage;
use crate::prefer::take_respond_async;
use crate::progress::Progress;
use crate::received::{BadBody, Received};
use crate::request::{BadRequest, LONGEST_BODY};
use crate::retry::Kind;

/// How long a caller may stay silent within its body.
pub(crate) const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// A request for Zuora, ready but for its token.
#[derive(Debug)]
pub(crate) struct Outbound {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    operation: Option<&'static Operation>,
    pub(crate) key: Key,
    /// Whether Zuora takes its credential once only.
    pub(crate) is_single_use: bool,
    payload: Payload,
    /// Whether what others are told is nothing to it: it has seen that they are told nothing.
    pub(crate) asks_alone: bool,
    /// Set if it is carried out later, or may be.
    pub(crate) voyage: Option<Box<Voyage>>,
    /// Where each attempt's session stands in the envelope, if it is a SOAP call.
    pub(crate) session: Option<Splice>,
}

/// A request body, and whether it can be sent again.
pub(crate) enum Payload {
    Kept { bytes: Bytes, _counted: Option<Kept> },
    Once(Option<Box<Flow>>),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { bytes, .. } => write!(f, "Kept({} bytes)", bytes.len()),
            Self::Once(flow) => f.debug_tuple("Once").field(flow).finish(),
        }
    }
}

impl Payload {
    pub(crate) fn empty() -> Self {
        Self::Kept { bytes: Bytes::new(), _counted: None }
    }
}

impl Outbound {
    pub(crate) fn new(
        head: Parts,
        uri: Uri,
        operation: Option<&'static Operation>,
        payload: Payload,
    ) -> Self {
        let mut headers = head.headers;
        // A write without a body says so (RFC 9110 8.6): hyper would not, and some servers answer that with 411.
        let is_empty = matches!(&payload, Payload::Kept { bytes, .. } if bytes.is_empty());
        if is_empty && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Self {
            method: head.method,
            uri,
            headers,
            operation,
            key: Key::None,
            is_single_use: false,
            payload,
            asks_alone: false,
            voyage: None,
            session: None,
        }
    }

    /// Whether another attempt could be made: its body is kept, or has not begun to flow.
    pub(crate) fn replayable(&self) -> bool {
        !matches!(self.payload, Payload::Once(None))
    }

    /// What kind of call it is, as far as executing it twice is concerned.
    pub(crate) fn kind(&self) -> Kind {
        if self.is_single_use {
            return Kind::SingleUse;
        }
        if self.passage().is_some() {
            // Nowhere is it said that keys count there.
            return Kind::NoKey;
        }
        self.key.kind(&self.method, self.operation)
    }

    /// A write may change something at Zuora, so it is never cut off once it was sent.
    pub(crate) fn is_write(&self) -> bool {
        !is_read(&self.method, self.operation)
    }

    pub(crate) fn operation(&self) -> Option<&'static Operation> {
        self.operation
    }

    /// The operation that Zuora counts it as when it is sent to be carried out later.
    pub(crate) fn counted_there(&self) -> Option<&'static Operation> {
        self.voyage.as_ref().and_then(|voyage| voyage.counted_as(&self.method))
    }

    /// What is remembered of it, if it goes to where it is carried out later.
    pub(crate) fn passage(&self) -> Option<&Arc<Passage>> {
        self.voyage.as_ref()?.passage()
    }

    /// Sends it to where it is carried out later, from here on.
    pub(crate) fn embark(&mut self, passage: Passage) {
        let Some(voyage) = &mut self.voyage else { return };
        voyage.embark(passage);
        if let Some(detour) = voyage.detour() {
            self.uri = with_path(&self.uri, &detour.path);
        }
        // It has come true, so it ends here.
        take_respond_async(&mut self.headers);
        accept_readable(&mut self.headers);
        if let Key::Ours(_) = self.key {
            self.key = Key::None;
        }
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// As much of the body as is kept.
    pub(crate) fn kept(&self) -> &[u8] {
        match &self.payload {
            Payload::Kept { bytes, .. } => bytes,
            Payload::Once(_) => &[],
        }
    }

    /// The next attempt. A body that flows goes with the first one.
    pub(crate) fn attempt(
        &mut self,
        proof: Option<&Proof>,
        progress: Arc<Progress>,
    ) -> Request<Upload> {
        let mut content = match &mut self.payload {
            Payload::Kept { bytes, .. } => {
                UploadContent::Kept(Some(bytes.clone()).filter(|bytes| !bytes.is_empty()))
            }
            Payload::Once(flow) => {
                flow.take().map_or(UploadContent::Kept(None), UploadContent::Flowing)
            }
        };
        if let (Some(splice), Some(session)) = (&self.session, proof.and_then(Proof::soap_session))
        {
            content.splice(splice, session);
        }
        let mut request = Request::new(Upload::new(content, progress));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        match proof {
            Some(proof) if self.session.is_some() => proof.put_on_soap(request.headers_mut()),
            Some(proof) => proof.put_on(request.headers_mut()),
            None => {}
        }
        if let Key::Ours(key) = &self.key {
            request.headers_mut().insert(headers::IDEMPOTENCY_KEY, key.clone());
        }
        request
    }
}

/// The same with another path.
fn with_path(uri: &Uri, path: &str) -> Uri {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().expect("it has one more segment than one was read"));
    Uri::from_parts(parts).expect("only its path is another")
}

/// Has the answer come in a coding that is read here, as the id in it must be: in gzip if the caller takes that, else as it
/// is. What asks for nothing else stays, byte for byte.
fn accept_readable(fields: &mut HeaderMap) {
    let (mut takes_gzip, mut is_readable) = (false, true);
    for value in fields.get_all(header::ACCEPT_ENCODING) {
        for coding in value.as_bytes().split(|byte| *byte == b',') {
            let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let is_named = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let is_gzip = is_named("gzip") || is_named("x-gzip");
            let is_refused = parts.any(is_zero);
            takes_gzip |= is_gzip && !is_refused;
            is_readable &= is_gzip || is_named("identity") || is_named("") || is_refused;
        }
    }
    if !is_readable {
        let coding = if takes_gzip { "gzip" } else { "identity" };
        fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
    }
}

/// Whether this is a weight of nothing: `q=0`, `q=0.00` (RFC 9110 12.4.2).
fn is_zero(parameter: &[u8]) -> bool {
    let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
    weight.is_some_and(|weight| {
        weight.first() == Some(&b'0') && weight.iter().all(|byte| b"0.".contains(byte))
    })
}

/// Where the bytes of kept bodies are counted.
#[derive(Debug)]
pub(crate) struct Keeper<'a> {
    pub(crate) admission: &'a Arc<Admission>,
    pub(crate) pool: PoolId,
    pub(crate) app: AppId,
    /// The longest body that is kept.
    pub(crate) longest: u64,
}

impl Keeper<'_> {
    /// Reads the body if it is short enough to keep, before the call waits for its turn: a slow caller then holds no
    /// permit. Polling the body is also what makes hyper send `100 Continue`, so a caller that expects one is only
    /// told to go on once there is room for what it will send.
    pub(crate) async fn receive(&self, mut body: Received) -> Result<Payload, Error> {
        let announced = body.size_hint().lower();
        if announced > LONGEST_BODY {
            return Err(Error::TooLarge);
        }
        if announced > self.longest {
            return Ok(Payload::Once(Some(Box::new(Flow::new(Bytes::new(), None, body)))));
        }

        let mut counted = self.admission.keep(self.pool, self.app, announced)?;
        let mut gathered = Gathered::default();
        while let Some(chunk) = next_chunk(&mut body).await? {
            let beyond = gathered.len() + chunk.len() as u64;
            counted.grow(beyond.saturating_sub(gathered.len().max(announced)))?;
            gathered.push(chunk);
            if beyond > self.longest {
                return Ok(Payload::Once(Some(Box::new(Flow::new(
                    gathered.into_bytes(),
                    Some(counted),
                    body,
                )))));
            }
        }
        Ok(Payload::Kept { bytes: gathered.into_bytes(), _counted: Some(counted) })
    }
}

/// The next piece of a caller's body, `None` at its end.
pub(crate) async fn next_chunk(body: &mut Received) -> Result<Option<Bytes>, BadRequest> {
    loop {
        let frame = timeout(BODY_PATIENCE, body.frame()).await.map_err(|_| BadRequest::SlowBody)?;
        match frame {
            None => return Ok(None),
            Some(Err(BadBody::Cut(_))) => return Err(BadRequest::Body),
            Some(Err(BadBody::Envelope(bad))) => return Err(bad.into()),
            Some(Ok(frame)) => {
                // Trailers are dropped, see `Flow`.
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
        }
    }
}

/// Chunks put together. One alone, the usual case, is not copied.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    pub(crate) fn len(&self) -> u64 {
        self.first.len().max(self.all.len()) as u64
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.first.is_empty() {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&chunk);
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
