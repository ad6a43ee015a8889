//! Which path shows what.

use async_requests::StoreError;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use telemetry::Reload;

use crate::outcomes::{self, Meant};
use crate::state::Admin;

const INDEX: &str = "\
zuora-gateway, admin port
  /metrics    everything that is counted, for Prometheus
  /livez      whether the process is alive
  /readyz     whether it should get calls, and if not, why
  /api/state  pools, queues, tokens, async requests and the configuration now, as JSON
  /api/async-requests/dead-letters  outcomes that no app took; ?tenant=…&track_id=… for some of them

POST, with the admin token:
  /api/reload  read the configuration anew
  /api/async-requests/dead-letters/resend  forward all of those again; ?tenant=…&track_id=… for some of them
";

/// What an operator can have done.
#[derive(Clone, Copy, Debug)]
enum Action {
    Reload,
    ResendDeadLetters,
}

const DEAD_LETTERS: &str = "/api/async-requests/dead-letters";

impl Action {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/api/reload" => Some(Self::Reload),
            "/api/async-requests/dead-letters/resend" => Some(Self::ResendDeadLetters),
            _ => None,
        }
    }
}

/// Answers one request of an operator.
pub(crate) async fn answer<B>(admin: &Admin, request: Request<B>) -> Response<Full<Bytes>> {
    let (head, _) = request.into_parts();
    let is_reading = matches!(head.method, Method::GET | Method::HEAD);
    match Action::find(head.uri.path()) {
        Some(action) if head.method == Method::POST => act(admin, action, &head).await,
        Some(_) => not_allowed("POST"),
        None if is_reading && head.uri.path() == DEAD_LETTERS => dead_letters(admin, &head).await,
        None if is_reading => show(admin, head.uri.path(), &head.headers),
        None => not_allowed("GET, HEAD"),
    }
}

/// Does what an operator asks for, if it is one: an action needs the token, also where reading needs none.
async fn act(admin: &Admin, action: Action, head: &Parts) -> Response<Full<Bytes>> {
    if admin.token.is_none() {
        return text(
            StatusCode::FORBIDDEN,
            "actions need a token, and none is configured: set `admin.token` and restart\n",
        );
    }
    if !is_permitted(admin, &head.headers) {
        return unauthorized();
    }
    match action {
        Action::Reload => reload(admin).await,
        Action::ResendDeadLetters => resend(admin, head).await,
    }
}

async fn resend(admin: &Admin, head: &Parts) -> Response<Full<Bytes>> {
    let meant = match Meant::read(head.uri.query().unwrap_or_default()) {
        Ok(meant) => meant,
        Err(why) => return typed(StatusCode::BAD_REQUEST, TEXT, format!("{why}\n")),
    };
    let Some(registry) = admin.registry() else { return nothing_kept() };
    match outcomes::revive(registry, &meant).await {
        Ok(revived) => {
            let (tenant, track_id) = meant.names();
            tracing::info!(
                tenant,
                track_id,
                revived,
                "an operator has dead letters forwarded again"
            );
            typed(StatusCode::OK, JSON, json!({"resent": revived}).to_string())
        }
        Err(error) => unavailable(&error),
    }
}

/// Shows the outcomes that are not forwarded any more.
async fn dead_letters(admin: &Admin, head: &Parts) -> Response<Full<Bytes>> {
    if !is_permitted(admin, &head.headers) {
        return unauthorized();
    }
    let meant = match Meant::read(head.uri.query().unwrap_or_default()) {
        Ok(meant) => meant,
        Err(why) => return typed(StatusCode::BAD_REQUEST, TEXT, format!("{why}\n")),
    };
    let Some(registry) = admin.registry() else { return nothing_kept() };
    match outcomes::dead_letters(registry, &meant).await {
        Ok(shown) => typed(StatusCode::OK, JSON, shown.to_string()),
        Err(error) => unavailable(&error),
    }
}

fn nothing_kept() -> Response<Full<Bytes>> {
    text(StatusCode::CONFLICT, "this gateway remembers no async requests\n")
}

fn unavailable(error: &StoreError) -> Response<Full<Bytes>> {
    typed(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{error}\n"))
}

async fn reload(admin: &Admin) -> Response<Full<Bytes>> {
    let Some(outcome) = admin.reload().await else {
        return text(StatusCode::CONFLICT, "this gateway follows no configuration file\n");
    };
    let status = match outcome.result {
        Reload::Ok | Reload::Unchanged => StatusCode::OK,
        Reload::Error => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let mut told = json!({"result": outcome.result.as_str()});
    if let (Value::Object(told), Value::Object(known)) =
        (&mut told, outcome.configuration.to_json())
    {
        told.extend(known);
    }
    typed(status, JSON, told.to_string())
}

/// Shows what an operator asks for.
fn show(admin: &Admin, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    match path {
        // The probes tell nothing, and orchestrators cannot present a secret.
        "/livez" => return text(StatusCode::OK, "alive\n"),
        "/readyz" => return readiness(admin),
        _ => {}
    }
    if !is_permitted(admin, headers) {
        return unauthorized();
    }
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/metrics" => {
            typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", admin.metrics())
        }
        "/api/state" => typed(StatusCode::OK, JSON, admin.state().to_string()),
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

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response =
        typed(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("only {methods} is answered here\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    typed(status, TEXT, body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
