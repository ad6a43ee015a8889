//! Sending one callout: a connection of its own, Basic by challenge or at once, and no patience
//! beyond Zuora's.

use std::{io, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{Later, options::Definition, told::CalloutAttempt};
use crate::locks::lock;

/// How much of an answer is kept (Zuora: callout history).
const KEPT_BYTES: usize = 60 * 1024;

/// What came of sending a callout.
#[derive(Debug)]
pub(super) struct Sent {
    /// The HTTP status, or a negative number: [`CalloutAttempt`] names them.
    pub(super) status: i32,
    pub(super) challenged: bool,
    /// The beginning of the answer's body.
    pub(super) content: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    NoConnection,
    Broken,
}

/// A connection over which requests are sent.
struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Serves the connection until the line is dropped.
    _driver: AbortOnDropHandle<()>,
}

/// Sends a callout once; with a second request if the first is challenged.
pub(super) async fn send(
    later: &Later,
    definition: &Definition,
    headers: &HeaderMap,
    body: &Bytes,
) -> Sent {
    let connected_by = Instant::now() + later.options.connect_timeout;
    let answered_by = connected_by + later.options.answer_timeout;
    let mut challenged = false;
    let exchange = async {
        let first = definition.preemptive.then_some(definition);
        let mut line = connect(later, definition, connected_by).await?;
        let request = request(definition, headers, body, first);
        let answer = line.sender.send_request(request).await.map_err(|_| Trouble::Broken)?;
        let may_answer = definition.credentials.is_some() && !definition.preemptive;
        if !may_answer || !is_challenge(&answer) {
            return content_of(answer).await;
        }
        challenged = true;
        content_of(answer).await?;
        if line.sender.ready().await.is_err() {
            line = connect(later, definition, answered_by).await?;
        }
        let request = self::request(definition, headers, body, Some(definition));
        let answer = line.sender.send_request(request).await.map_err(|_| Trouble::Broken)?;
        content_of(answer).await
    };
    let came = timeout_at(answered_by, exchange).await;
    let (status, content) = match came {
        Ok(Ok((status, content))) => (i32::from(status.as_u16()), content),
        Ok(Err(Trouble::NoConnection)) => (CalloutAttempt::NO_CONNECTION, Bytes::new()),
        Ok(Err(Trouble::Broken)) => (CalloutAttempt::BROKEN, Bytes::new()),
        Err(_elapsed) => (CalloutAttempt::TIMED_OUT, Bytes::new()),
    };
    Sent { status, challenged, content }
}

/// The callout as a request, with credentials if any are given.
fn request(
    definition: &Definition,
    headers: &HeaderMap,
    body: &Bytes,
    with_credentials: Option<&Definition>,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = definition.method.parse().unwrap_or(http::Method::POST);
    let uri: Uri = definition.url.parse().unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_default();
    *request.headers_mut() = headers.clone();
    let host = uri.authority().and_then(|host| HeaderValue::try_from(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some((user, password)) = with_credentials.and_then(|one| one.credentials.as_ref()) {
        let word = BASE64_STANDARD.encode(format!("{user}:{password}"));
        if let Ok(value) = HeaderValue::try_from(format!("Basic {word}")) {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
    }
    request
}

/// Whether an answer asks for Basic, as it must to be told the password: with its realm.
fn is_challenge(answer: &Response<Incoming>) -> bool {
    answer.status() == StatusCode::UNAUTHORIZED
        && answer.headers().get_all(header::WWW_AUTHENTICATE).iter().any(|value| {
            let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
            value.split_once("basic ").is_some_and(|(_, rest)| rest.contains("realm="))
        })
}

/// Reads an answer to its end.
async fn content_of(answer: Response<Incoming>) -> Result<(StatusCode, Bytes), Trouble> {
    let (head, mut body) = answer.into_parts();
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Trouble::Broken)?.into_data() else { continue };
        let room = KEPT_BYTES - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
    }
    Ok((head.status, kept.freeze()))
}

async fn connect(
    later: &Later,
    definition: &Definition,
    connected_by: Instant,
) -> Result<Line, Trouble> {
    let stream = timeout_at(connected_by, open(later, &definition.url)).await;
    let stream = stream.map_err(|_| Trouble::NoConnection)?.map_err(|_| Trouble::NoConnection)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| Trouble::Broken)?;
    let driver = tokio::spawn(async move {
        // How a connection ends is told to whoever waits for the answer.
        let _ = connection.await;
    });
    Ok(Line { sender, _driver: AbortOnDropHandle::new(driver) })
}

/// Opens the way to `url`: in memory, over TLS, or plainly on the loopback.
async fn open(later: &Later, url: &str) -> io::Result<Box<dyn Duplex>> {
    let road = lock(&later.road).clone();
    if let Some(road) = road {
        return Ok(Box::new(road(url)?));
    }
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((bare.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    if !is_tls {
        if !stream.peer_addr()?.ip().is_loopback() {
            return Err(io::Error::other("callouts leave the loopback over TLS only"));
        }
        return Ok(Box::new(stream));
    }
    let Some(tls) = later.tls.clone() else {
        return Err(io::Error::other("no authority is known for callouts over TLS"));
    };
    let name = ServerName::try_from(bare).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls).connect(name, stream).await?))
}

/// How callouts over TLS are made sure of: by these authorities, as PEM.
pub(super) fn tls(authorities: &str) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("the authorities for callouts hold no certificate"));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Bytes both ways, over whatever it is.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
