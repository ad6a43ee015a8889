//! What is answered here and never reaches Zuora: tokens and sessions for apps, and `/_gateway/`.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use credentials::Shown;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tokio::time::timeout;
use zuora::{Operation, Target};

use crate::body::Body;
use crate::call::Call;
use crate::caller::{Caller, Door};
use crate::error::Error;
use crate::headers;
use crate::outbound::BODY_PATIENCE;
use crate::outcomes;
use crate::peer::Port;
use crate::proxy::Proxy;
use crate::received::Received;
use crate::request::BadRequest;

/// A token request of a client holds an id, a secret and a grant type.
const LONGEST_FORM: usize = 16 * 1024;

/// The paths under which the gateway itself answers.
pub(crate) const OWN_PATHS: &str = "/_gateway/";

/// Where callouts come in; a tenant's name follows.
pub(crate) const CALLOUTS: &str = "/_gateway/callouts/";

/// A request that is for the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    /// `POST /oauth/token`: what official clients do before anything else.
    Token,
    /// `POST /v1/connections`: what older clients do before anything else.
    Connection,
    /// `GET /_gateway/whoami`.
    WhoAmI,
    /// `GET /_gateway/async-requests`: those of the app, or a stream of their outcomes.
    AsyncRequests,
    /// `GET /_gateway/async-requests/{track id}`: what became of one.
    AsyncRequest,
    /// `POST /_gateway/callouts/{tenant}`.
    Callout,
    /// Anything else where only callouts come in.
    NoCallout,
    /// `OPTIONS` that may go no further than here (RFC 9110 7.6.2).
    Options,
    /// Anything else below `/_gateway/`.
    Nothing,
}

impl Local {
    /// Which request of ours this is; `None` if it is for Zuora.
    ///
    /// Whatever may be read as a token request by anybody is one, as the app's secret is in its body: it would go to Zuora.
    /// That of a session is in fields that do not.
    pub(crate) fn find<B>(
        request: &Request<B>,
        operation: Option<&Operation>,
        port: Port,
    ) -> Option<Self> {
        let is_callout =
            *request.method() == Method::POST && request.uri().path().starts_with(CALLOUTS);
        if port == Port::Callouts {
            return Some(if is_callout { Self::Callout } else { Self::NoCallout });
        }
        if headers::max_forwards(request.method(), request.headers()) == Some(0) {
            return Some(Self::Options);
        }
        let path = request.uri().path();
        if *request.method() == Method::POST
            && Target::read(path).is_ok_and(|target| target.may_be_under(&["oauth", "token"]))
        {
            return Some(Self::Token);
        }
        if operation.is_some_and(|operation| operation.path == "/v1/connections") {
            return Some(Self::Connection);
        }
        if !path.starts_with(OWN_PATHS) {
            return None;
        }
        match (request.method(), path) {
            _ if is_callout && port == Port::Both => Some(Self::Callout),
            (&Method::GET | &Method::HEAD, "/_gateway/whoami") => Some(Self::WhoAmI),
            (&Method::GET | &Method::HEAD, outcomes::ALL) => Some(Self::AsyncRequests),
            (&Method::GET | &Method::HEAD, path) if path.starts_with(outcomes::ONE) => {
                Some(Self::AsyncRequest)
            }
            _ => Some(Self::Nothing),
        }
    }
}

impl Proxy {
    /// Answers a request that is for the gateway itself. Each answer that takes its time is boxed, so that whoever waits for
    /// one does not carry the room for the others.
    pub(crate) async fn answer_local(
        &self,
        local: Local,
        request: Box<Request<Received>>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        match local {
            Local::Token => Box::pin(self.grant_token(*request, call)).await,
            Local::Connection => self.connect(&request, call),
            Local::WhoAmI => self.whoami(&request, call),
            Local::AsyncRequests => Box::pin(self.list_async_requests(request, call)).await,
            Local::AsyncRequest => Box::pin(self.tell_async_request(request, call)).await,
            Local::Callout => Box::pin(self.take_callout(*request, call)).await,
            Local::NoCallout => Err(Error::NotFound("only Zuora's callouts come in here")),
            Local::Options => {
                let mut response = Response::new(Body::whole(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                let methods =
                    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
                response.headers_mut().insert(header::ALLOW, methods);
                Ok(response)
            }
            Local::Nothing => Err(Error::NotFound(
                "no such path here: Zuora's API is everything outside `/_gateway/`",
            )),
        }
    }

    async fn grant_token(
        &self,
        request: Request<Received>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        let (head, body) = request.into_parts();
        let form = timeout(BODY_PATIENCE, Limited::new(body, LONGEST_FORM).collect()).await;
        let form = form.map_err(|_| BadRequest::SlowBody)?.map_err(|cause| {
            if cause.is::<LengthLimitError>() { Error::TooLarge } else { BadRequest::Body.into() }
        })?;
        let table = self.table.get();
        let certificate = call.certificate.clone();
        let shown =
            Shown { headers: &head.headers, certificate: certificate.as_deref(), session: None };
        let granted = table.doors.grant(shown, &form.to_bytes(), SystemTime::now());
        let mut response = match granted {
            Ok(token) => {
                let app = Arc::clone(table.app(token.app()));
                call.caller = Some(Caller { app, door: Door::Credential });
                json_response(StatusCode::OK, token.to_json())
            }
            Err(error) => {
                if let Some(stranger) = error.stranger() {
                    self.reject(stranger, &table, call);
                }
                let track_id = call.track_id().as_str();
                tracing::info!(track_id, %error, "an app got no token");
                let mut response = json_response(error.status(), error.to_json());
                let is_stranger = error.status() == StatusCode::UNAUTHORIZED;
                let reason = if is_stranger { "unauthenticated" } else { "bad-request" };
                call.refused = Some(reason);
                response.headers_mut().insert(headers::ERROR, HeaderValue::from_static(reason));
                if let Some(schemes) = error.www_authenticate() {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, schemes);
                }
                response
            }
        };
        // RFC 6749 5.1: a token must not be cached.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// Gives a session as a cookie, for what proves more than another session would.
    fn connect<B>(&self, request: &Request<B>, call: &mut Call) -> Result<Response<Body>, Error> {
        let table = self.table.get();
        let certificate = call.certificate.clone();
        let shown = Shown {
            headers: request.headers(),
            certificate: certificate.as_deref(),
            session: None,
        };
        let login = table.doors.connect(shown);
        let login = login.map_err(|stranger| self.reject(stranger, &table, call))?;
        let session = table.doors.issue(&login, SystemTime::now());
        let app = Arc::clone(table.app(login.app()));
        call.caller = Some(Caller { app, door: Door::Credential });
        let mut response = json_response(StatusCode::OK, json!({"success": true}).to_string());
        let cookie = session.to_cookie(call.arrival.is_tls());
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn whoami<B>(&self, request: &Request<B>, call: &mut Call) -> Result<Response<Body>, Error> {
        let Caller { app, door } = self.identify(request, call)?;
        let entities = app.entities.iter().map(|&entity| &app.tenant.entities[entity]);
        let entities: Vec<_> = entities.filter_map(|entity| entity.id.as_deref()).collect();
        let answer = json!({
            "app": &*app.name,
            "known_by": door.as_str(),
            "tenant": &*app.tenant.name,
            "entities": entities,
            "default_entity": entities.first(),
            "read_only": app.policy.read_only,
            "base_url": call.arrival.base_url(),
            "queue_timeout_seconds": app.queue_timeout.as_secs_f64(),
        });
        Ok(json_response(StatusCode::OK, answer.to_string()))
    }
}

pub(crate) fn json_response(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::whole(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, expected: Option<Local>) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let operation = zuora::classify(request.method(), path);
        let found = Local::find(&request, operation, Port::Both);
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn no_spelling_of_a_token_request_takes_its_secret_to_zuora() {
        for path in [
            "/oauth/token",
            "//oauth/token/",
            "/%6fauth/token;v=1",
            "/OAuth/Token",
            "/oauth%2Ftoken",
            "/oauth%2F%2ftoken",
            "/oauth/token/more",
        ] {
            check("POST", path, Some(Local::Token));
        }
        check("GET", "/oauth/token", None);
        check("POST", "/oauth/tokens", None);
        check("POST", "/v1/accounts", None);
    }
}
