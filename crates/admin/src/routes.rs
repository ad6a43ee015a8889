//! Which path shows what.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::state::Admin;

const INDEX: &str = "\
zuora-gateway, admin port
  /metrics    everything that is counted, for Prometheus
  /livez      whether the process is alive
  /readyz     whether it should get calls, and if not, why
  /api/state  pools, queues and tokens now, as JSON
";

/// Answers one request of an operator.
pub(crate) fn answer<B>(admin: &Admin, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
    }
    let path = request.uri().path();
    match path {
        // The probes tell nothing, and orchestrators cannot present a secret.
        "/livez" => return text(StatusCode::OK, "alive\n"),
        "/readyz" => return readiness(admin),
        _ => {}
    }
    if !is_permitted(admin, request.headers()) {
        return unauthorized();
    }
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/metrics" => {
            typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", admin.metrics())
        }
        "/api/state" => typed(StatusCode::OK, "application/json", admin.state().to_string()),
        _ => text(StatusCode::NOT_FOUND, INDEX),
    }
}

fn readiness(admin: &Admin) -> Response<Full<Bytes>> {
    match admin.unready() {
        None => text(StatusCode::OK, "ready\n"),
        Some(why) => typed(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
    }
}

fn is_permitted(admin: &Admin, headers: &HeaderMap) -> bool {
    let Some(expected) = &admin.token else { return true };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.is_some_and(|(_, token)| expected.matches(token.trim()))
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response =
        text(StatusCode::UNAUTHORIZED, "the admin token is needed: Authorization: Bearer …\n");
    let scheme = HeaderValue::from_static(r#"Bearer realm="zuora-gateway admin""#);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

const TEXT: &str = "text/plain; charset=utf-8";

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    typed(status, TEXT, body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
