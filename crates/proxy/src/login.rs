//! The logins at Zuora: how each kind is asked for a token or a session.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use credentials::{FetchError, Grant, Proof, Renewal, TokenEndpoint, Which};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Duration, timeout};

use crate::body::{Upload, UploadContent};
use crate::headers;
use crate::progress::Progress;
use crate::upstream::Upstream;

/// Zuora's answer to a login is under 2 KB.
const LONGEST_ANSWER: usize = 64 * 1024;

/// How long one login may take: a hanging one would hold up every call.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where SOAP logins go. The version of the WSDL is of no account for a session (Zuora: SOAP API, endpoints).
const SOAP: &str = "/apps/services/a/91.0";

const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");

/// How the gateway logs in at one tenant, for one of its entities.
#[derive(Clone, Debug)]
pub struct Login {
    upstream: Upstream,
    kind: LoginKind,
    current: Key,
    previous: Option<Key>,
    entity: Option<Arc<str>>,
}

/// What Zuora takes a credential for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginKind {
    /// An OAuth client: `POST /oauth/token`.
    OAuth,
    /// A name and password that every request carries. Zuora is asked whether it takes them only after it did not.
    ApiKey,
    /// A session of `POST /v1/connections`.
    Connection(Renewal),
    /// A session of the SOAP call `login`.
    SoapLogin(Renewal),
}

/// A client id and secret, or a user's name and password. `Debug` shows neither.
#[derive(Clone)]
pub struct Key {
    /// The name.
    pub id: String,
    /// What proves it.
    pub secret: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// What is sent for a login.
struct Question {
    path: &'static str,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Login {
    /// Logs in at `upstream` with `current`, or with `previous` if Zuora refuses that; for `entity`, if the tenant has
    /// several. Nothing is sent yet.
    #[must_use]
    pub fn new(
        upstream: Upstream,
        kind: LoginKind,
        current: Key,
        previous: Option<Key>,
        entity: Option<Arc<str>>,
    ) -> Self {
        Self { upstream, kind, current, previous, entity }
    }

    async fn exchange(&self, key: &Key) -> Result<Grant, FetchError> {
        let question = self.question(key).ok_or(FetchError::Refused)?;
        let (status, headers, body) = self.ask(question).await?;
        match self.kind {
            LoginKind::OAuth => Grant::read(status, &headers, &body),
            LoginKind::ApiKey => {
                // What is known of the key now is that Zuora takes it: the session is of no use to it.
                Grant::read_connection(status, &headers, &body)?;
                key.proof().map(Grant::lasting).ok_or(FetchError::Refused)
            }
            LoginKind::Connection(_) => Grant::read_connection(status, &headers, &body),
            LoginKind::SoapLogin(_) => Grant::read_soap_login(status, &headers, &body),
        }
    }

    /// What to send; `None` for a key that cannot stand in a header field, which Zuora never gave.
    fn question(&self, key: &Key) -> Option<Question> {
        let mut headers = HeaderMap::new();
        let entity = self.entity.as_deref();
        let question = match self.kind {
            LoginKind::OAuth => {
                let (content_type, form) = credentials::token_request(&key.id, &key.secret);
                headers.insert(header::CONTENT_TYPE, content_type);
                headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
                Question { path: "/oauth/token", headers, body: Some(form.into()) }
            }
            LoginKind::ApiKey | LoginKind::Connection(_) => {
                key.proof()?.put_on(&mut headers);
                let json = HeaderValue::from_static("application/json");
                headers.insert(header::CONTENT_TYPE, json.clone());
                headers.insert(header::ACCEPT, json);
                Question { path: "/v1/connections", headers, body: None }
            }
            LoginKind::SoapLogin(_) => {
                let xml = HeaderValue::from_static("text/xml; charset=utf-8");
                headers.insert(header::CONTENT_TYPE, xml);
                // It must be there, and says nothing (SOAP 1.1 6.1.1).
                headers.insert(SOAP_ACTION, HeaderValue::from_static("\"\""));
                // The older form of an entity's id has no hyphens (Zuora: Multi-entity guide).
                let entity = entity.map(|id| id.replace('-', ""));
                let body =
                    zuora::soap::login_request(&key.id, &key.secret, entity.as_deref(), None);
                return Some(Question { path: SOAP, headers, body: Some(body.into()) });
            }
        };
        let mut question = question;
        if let Some(entity) = entity {
            let id = HeaderValue::from_str(entity).ok()?;
            question.headers.insert(headers::ENTITY_IDS, id);
        }
        Some(question)
    }

    async fn ask(
        &self,
        Question { path, headers, body }: Question,
    ) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
        let content = UploadContent::Kept(body);
        let mut request = Request::new(Upload::new(content, Arc::new(Progress::begin())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.upstream.uri(PathAndQuery::from_static(path));
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::HOST, self.upstream.host());

        let response = self.upstream.send(request).await.map_err(|error| {
            tracing::warn!(%error, "cannot ask for a token");
            FetchError::Unreachable
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        let body = body.map_err(|_| FetchError::Malformed)?.to_bytes();
        Ok((head.status, head.headers, body))
    }
}

impl TokenEndpoint for Login {
    fn fetch(
        &self,
        which: Which,
    ) -> Pin<Box<dyn Future<Output = Result<Grant, FetchError>> + Send + '_>> {
        Box::pin(async move {
            let key = match which {
                Which::Current => &self.current,
                Which::Previous => self.previous.as_ref().ok_or(FetchError::Refused)?,
            };
            timeout(PATIENCE, self.exchange(key)).await.unwrap_or(Err(FetchError::Unreachable))
        })
    }

    fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    fn at_hand(&self) -> Option<Grant> {
        match self.kind {
            LoginKind::ApiKey => self.current.proof().map(Grant::lasting),
            LoginKind::OAuth | LoginKind::Connection(_) | LoginKind::SoapLogin(_) => None,
        }
    }

    fn renewal(&self) -> Renewal {
        match self.kind {
            LoginKind::OAuth => Renewal::Ahead,
            LoginKind::ApiKey if self.previous.is_some() => Renewal::OnError,
            LoginKind::ApiKey => Renewal::Never,
            LoginKind::Connection(renewal) | LoginKind::SoapLogin(renewal) => renewal,
        }
    }
}

impl Key {
    fn proof(&self) -> Option<Proof> {
        Proof::api_key(&self.id, &self.secret)
    }
}
