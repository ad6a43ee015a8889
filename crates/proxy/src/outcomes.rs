//! How apps learn what became of their writes that take their time: by asking for one, by listing them, or by a stream
//! (`streams.rs`).
//!
//! An app sees its own, at the tenant that its call means. What is another app's is not there for it.

use std::fmt::Write as _;
use std::sync::Arc;

use async_requests::{Form, Key, Outcome, Record, Registry, State, StoreError};
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};
use telemetry::log::rfc3339;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::call::Call;
use crate::caller::{Caller, Door};
use crate::error::{Error, Executed};
use crate::headers;
use crate::local::json_response;
use crate::prefer::take_wait;
use crate::proxy::Proxy;
use crate::received::Received;
use crate::request::BadRequest;
use crate::route::App;
use crate::streams::{Streams, wants_stream};

/// Where an app's requests are listed, and their outcomes streamed.
pub(crate) const ALL: &str = "/_gateway/async-requests";

/// Where one of them is found; its track id follows.
pub(crate) const ONE: &str = "/_gateway/async-requests/";

/// The longest that an answer waits for an outcome: proxies on the way seldom let a connection be silent for longer.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How many may wait at the same time. Each is a few kilobytes; those beyond are told at once how things stand.
const MOST_WAITERS: usize = 20_000;

/// When to ask again for an outcome that is not there.
const ASK_AGAIN: u32 = 5;

/// How many requests a page lists, unless it is asked for more or fewer.
const PAGE: usize = 50;

/// How many it lists at most.
const LONGEST_PAGE: usize = 200;

/// After so many bytes a page ends early: the reasons of one failure may be 60 KB.
const PAGE_BYTES: usize = 1024 * 1024;

/// How many requests are looked at for a page: those at other tenants are not on it.
const MOST_LOOKED_AT: usize = 2000;

/// How many are read from the registry at a time.
const BATCH: usize = 50;

/// What stands for itself in the path of a track id (RFC 3986 2.3).
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Those who wait for outcomes.
#[derive(Debug)]
pub(crate) struct Waiters {
    places: Semaphore,
    pub(crate) streams: Arc<Streams>,
    /// Cancelled when all must go.
    pub(crate) leaving: CancellationToken,
}

impl Default for Waiters {
    fn default() -> Self {
        let (places, leaving) = (Semaphore::new(MOST_WAITERS), CancellationToken::new());
        Self { places, streams: Arc::default(), leaving }
    }
}

impl Waiters {
    /// A place to wait in; `None` if as many wait as may.
    fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// Sends all away, now and from now on.
    pub(crate) fn leave(&self) {
        self.leaving.cancel();
    }
}

impl Proxy {
    /// Tells an app what became of one of its requests, at once or as soon as that is known.
    pub(crate) async fn tell_async_request(
        &self,
        mut request: Box<Request<Received>>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        let (app, registry) = self.whose(&request, call)?;
        call.prefers = take_wait(request.headers_mut()).map(|wait| wait.min(LONGEST_WAIT));
        let asked = Query::of(request.uri(), &["wait"])?;
        let wait = asked.wait.or(call.prefers).map(|wait| wait.min(LONGEST_WAIT));
        let key = Key {
            tenant: Arc::clone(&app.tenant.name),
            track_id: named(request.uri()).unwrap_or_default(),
        };
        // Whoever waits long carries as little as possible.
        drop(request);
        let until = wait.map(|wait| call.started + wait);
        let record = self.look(&registry, &key, &app, until).await?;
        let record = record.ok_or(Error::NotFound(
            "no asynchronous request of this app has this track id, or none that is still remembered",
        ))?;
        Ok(told(&record, call))
    }

    /// What is known of an app's own request; if it has not ended, once it has, or at `until`.
    pub(crate) async fn look(
        &self,
        registry: &Registry,
        key: &Key,
        app: &App,
        until: Option<Instant>,
    ) -> Result<Option<Record>, StoreError> {
        let is_own = |record: &Record| record.app == app.name;
        // In scopes of their own, here and in `Registry::wait`: whoever waits does not carry the room for a record.
        let (until, _place) = {
            let now = registry.find(key).await?.filter(is_own);
            let is_pending = now.as_ref().is_some_and(|record| record.state.is_pending());
            let place = until.filter(|_| is_pending).and_then(|_| self.waiters.place());
            let (Some(until), Some(place)) = (until, place) else { return Ok(now) };
            (until, place)
        };
        let then = tokio::select! {
            record = registry.wait(key, until) => record?,
            () = self.waiters.leaving.cancelled() => registry.find(key).await?,
        };
        Ok(then.filter(is_own))
    }

    /// Lists the requests of an app, the newest first, or streams their outcomes as they come.
    pub(crate) async fn list_async_requests(
        &self,
        request: Box<Request<Received>>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        let (app, registry) = self.whose(&request, call)?;
        if wants_stream(request.headers()) {
            return self.stream(app, registry, &request);
        }
        let asked = Query::of(request.uri(), &["state", "limit", "after"])?;
        let tenant = &app.tenant.name;
        let mut before = asked.after;

        let limit = asked.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
        let (mut listed, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        let is_last = 'page: loop {
            let batch = registry.list(&app.name, asked.state, before, BATCH).await?;
            if batch.is_empty() {
                break true;
            }
            for (number, record) in batch {
                if listed.len() == limit || bytes > PAGE_BYTES || looked_at == MOST_LOOKED_AT {
                    break 'page false;
                }
                looked_at += 1;
                if record.key.tenant == *tenant {
                    let told = Value::Object(record.to_json()).to_string();
                    bytes += told.len();
                    listed.push(told);
                }
                before = Some(number);
            }
        };
        let mut page = format!(r#"{{"success":true,"requests":[{}]"#, listed.join(","));
        if let Some(last) = before.filter(|_| !is_last) {
            let next = next_page(call, asked.state, limit, last);
            // Writing to a string does not fail.
            let _ = write!(page, r#","nextPage":{}"#, Value::from(next));
        }
        page.push('}');
        Ok(of_the_moment(json_response(StatusCode::OK, page)))
    }

    /// The app that asks, and what remembers its requests.
    fn whose(
        &self,
        request: &Request<Received>,
        call: &mut Call,
    ) -> Result<(Arc<App>, Arc<Registry>), Error> {
        let Caller { app, door } = self.identify(request, call)?;
        if door == Door::SingleUse {
            // Nobody here has checked it: Zuora would have.
            return Err(Error::Forbidden(
                "Zuora's single-use credential is for Zuora: it opens nothing here",
            ));
        }
        let registry = app.tenant.async_requests.as_ref().map(|it| Arc::clone(&it.registry));
        let registry = registry.ok_or(Error::NotFound(
            "nothing is done asynchronously at this tenant: it has no `async.callouts`",
        ))?;
        Ok((app, registry))
    }
}

/// Where the request with this track id is found, by an app that reaches us under `prefix`.
pub(crate) fn location(prefix: &str, track_id: &str) -> HeaderValue {
    let text = format!("{prefix}{ONE}{}", utf8_percent_encode(track_id, &UNRESERVED));
    HeaderValue::from_str(&text).expect("a prefix is part of a path, and the rest is encoded")
}

/// The track id that a target names.
fn named(uri: &Uri) -> Option<Arc<str>> {
    let track_id = percent_decode_str(uri.path().strip_prefix(ONE)?);
    track_id.decode_utf8().ok().map(Arc::from)
}

fn next_page(call: &Call, state: Option<State>, limit: usize, after: u64) -> String {
    let prefix = call.arrival.prefix.as_deref().unwrap_or_default();
    let state = state.map_or_else(String::new, |state| format!("state={}&", state.as_str()));
    format!("{prefix}{ALL}?{state}limit={limit}&after={after:x}")
}

/// What the query of a target asks for.
#[derive(Debug, Default)]
pub(crate) struct Query {
    wait: Option<Duration>,
    state: Option<State>,
    limit: Option<usize>,
    /// The number of the last request on the page before.
    after: Option<u64>,
}

impl Query {
    /// Reads the query, of which these names mean something.
    pub(crate) fn of(uri: &Uri, known: &[&str]) -> Result<Self, BadRequest> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let number = || value.parse::<u32>().map_err(|_| BadRequest::Query);
            match &*name {
                name if !known.contains(&name) => return Err(BadRequest::Query),
                "wait" => asked.wait = Some(Duration::from_secs(number()?.into())),
                "limit" => asked.limit = Some(number()? as usize),
                "state" => asked.state = Some(state(&value).ok_or(BadRequest::Query)?),
                _ => {
                    let last = u64::from_str_radix(&value, 16).map_err(|_| BadRequest::After)?;
                    asked.after = Some(last);
                }
            }
        }
        Ok(asked)
    }
}

fn state(word: &str) -> Option<State> {
    let all = [State::Sending, State::Accepted, State::Succeeded, State::Failed, State::Unknown];
    all.into_iter().find(|state| state.as_str() == word)
}

/// What an app is told of its request as it stands: 200 with the outcome in the shape of Zuora's own answers, or 202 as
/// long as there is none.
pub(crate) fn told(record: &Record, call: &mut Call) -> Response<Body> {
    let track_id = &*record.key.track_id;
    let response = match (&record.state, &record.outcome) {
        (_, Some(Outcome::Succeeded { data })) => {
            let mut answer = Map::from_iter([("success".to_owned(), true.into())]);
            let others = data.iter().filter(|(name, _)| *name != "success");
            answer.extend(others.map(|(name, value)| (name.clone(), value.clone())));
            json_response(StatusCode::OK, Value::Object(answer).to_string())
        }
        (_, Some(Outcome::Failed { reasons, process_id })) => {
            let process_id = process_id.as_deref().unwrap_or(track_id);
            json_response(StatusCode::OK, failure(process_id, reasons))
        }
        (State::Sending | State::Accepted, None) => pending(record),
        // A state that has an outcome is not known without it.
        (State::Unknown | State::Succeeded | State::Failed, None) => {
            let reason = json!({
                "code": 50_000_061,
                "message": "Zuora took this request and did not tell in time how it ended; Zuora may have executed it",
            });
            let mut response = json_response(StatusCode::OK, failure(track_id, &[reason]));
            let unknown = HeaderValue::from_static("outcome-unknown");
            response.headers_mut().insert(headers::ERROR, unknown);
            call.refused = Some("outcome-unknown");
            call.executed = Some(Executed::Maybe);
            response
        }
    };
    of_the_moment(response)
}

fn failure(process_id: &str, reasons: &[Value]) -> String {
    let none = [json!({ "code": 50_000_060, "message": "Zuora gave no reason" })];
    let reasons = if reasons.is_empty() { &none } else { reasons };
    json!({ "success": false, "processId": process_id, "reasons": reasons }).to_string()
}

fn pending(record: &Record) -> Response<Body> {
    let mut answer = json!({
        "success": true,
        "state": record.state.as_str(),
        "trackId": &*record.key.track_id,
        "submittedOn": rfc3339(record.begun),
    });
    if let Some(id) = &record.zuora_id {
        let name = match record.form {
            Form::Async => "requestId",
            Form::OrderJob => "jobId",
        };
        answer[name] = (**id).into();
    }
    let mut response = json_response(StatusCode::ACCEPTED, answer.to_string());
    response.headers_mut().insert(header::RETRY_AFTER, ASK_AGAIN.into());
    response
}

/// What is true now may not be true in a moment.
pub(crate) fn of_the_moment(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
