//! How a write goes to where it is carried out later: remembered before it leaves (`passage.rs`), and answered with where
//! its outcome will be.

use std::sync::Arc;

use admission::{Ask, Permit, Place};
use async_requests::{Form, Key, NewRequest, NotBegun};
use http::{Response, StatusCode};
use tokio::time::{Duration, Instant, timeout_at};
use zuora::{Operation, sync_path};

use crate::body::Body;
use crate::call::{Call, Phase};
use crate::error::Error;
use crate::go_async::{Detour, Plan};
use crate::outbound::Outbound;
use crate::outcomes::told;
use crate::passage::Passage;
use crate::proxy::Proxy;
use crate::request::BadRequest;
use crate::route::Route;

/// How much longer than its caller wants to wait it may take to read what is known.
const PATIENCE_WITH_READING: Duration = Duration::from_secs(1);

/// A call that is carried out later, or may be.
#[derive(Debug)]
pub(crate) struct Voyage {
    /// Where it goes; `None` if its app sends it there itself.
    detour: Option<Detour>,
    /// How long it must have waited to go there.
    after: Option<Duration>,
    /// Whether its answer waits for the outcome, for as long as the caller is willing to.
    is_held: bool,
    /// Its record, once it has one.
    passage: Option<Arc<Passage>>,
}

impl Voyage {
    /// The voyage of a call with this plan, if it is to go, or may; `is_asked_for` by its app.
    pub(crate) fn of(plan: Plan, is_asked_for: bool) -> Option<Box<Self>> {
        let (detour, after, is_held) = match plan {
            Plan::Now(detour) => (Some(detour), None, true),
            Plan::WhenWaiting(after, detour) => (Some(detour), Some(after), true),
            // Whoever sends it there expects to be told that it was taken, unless it says something else.
            Plan::Direct => (None, None, is_asked_for),
            Plan::Sync(_) => return None,
        };
        Some(Box::new(Self { detour, after, is_held, passage: None }))
    }

    /// Whether it goes there in any case, and its caller waits for the outcome rather than for the answer.
    pub(crate) fn is_promised(&self) -> bool {
        self.is_held && self.after.is_none()
    }

    /// Whether it goes to another path than its own, in any case.
    pub(crate) fn is_detour(&self) -> bool {
        self.detour.is_some() && self.after.is_none()
    }

    /// The operation that Zuora counts it as on its way there. The table has few of those.
    pub(crate) fn counted_as(&self, method: &http::Method) -> Option<&'static Operation> {
        zuora::classify(method, &self.detour.as_ref()?.path)
    }

    pub(crate) fn detour(&self) -> Option<&Detour> {
        self.detour.as_ref()
    }

    pub(crate) fn passage(&self) -> Option<&Arc<Passage>> {
        self.passage.as_ref()
    }

    pub(crate) fn embark(&mut self, passage: Passage) {
        self.passage = Some(Arc::new(passage));
    }

    /// Whether it is to be remembered and sent there now. Not if an attempt to carry it out at once may have done so.
    fn is_due(&self, call: &Call) -> bool {
        let has_waited = |after: &Duration| call.queued_for() >= *after && call.doubt.is_none();
        self.passage.is_none() && self.after.as_ref().is_none_or(has_waited)
    }
}

impl Proxy {
    /// Has a call that is carried out later remembered, durably, before it is sent; from here on it goes there. Any other
    /// call passes. Returns no permit if it must first have one of the pool that it counts against there.
    pub(crate) async fn embark(
        &self,
        route: &mut Arc<Route>,
        ask: &mut Ask,
        permit: Permit,
        outbound: &mut Outbound,
        call: &mut Call,
    ) -> Result<Option<Permit>, Error> {
        if !outbound.voyage.as_ref().is_some_and(|voyage| voyage.is_due(call)) {
            return Ok(Some(permit));
        }
        // Boxed, as few calls go there, and all would carry the room for it.
        Box::pin(self.remember(route, ask, permit, outbound, call)).await
    }

    async fn remember(
        &self,
        route: &mut Arc<Route>,
        ask: &mut Ask,
        permit: Permit,
        outbound: &mut Outbound,
        call: &mut Call,
    ) -> Result<Option<Permit>, Error> {
        let has_place = !matches!(call.track_id().as_str(), "." | "..");
        if !has_place && outbound.voyage.as_ref().is_some_and(|voyage| voyage.after.is_none()) {
            permit.unused();
            return Err(BadRequest::TrackIdWithoutPlace.into());
        }
        let Some(permit) = self.count_as(outbound.counted_there(), route, ask, permit, call) else {
            return Ok(None);
        };
        let registry = route.tenant.async_requests.as_ref().map(|it| Arc::clone(&it.registry));
        let registry = registry.expect("a plan to go there is made for tenants with a registry");
        match registry.begin(new_request(route, outbound, call)).await {
            Ok(submission) => {
                outbound.embark(Passage::new(submission, &self.tasks));
                Ok(Some(permit))
            }
            Err(why) => match turn_back(why, route, outbound, call) {
                Ok(()) => {
                    outbound.voyage = None;
                    Ok(self.count_as(outbound.operation(), route, ask, permit, call))
                }
                Err(error) => {
                    permit.unused();
                    Err(error)
                }
            },
        }
    }

    /// Counts the call as `operation` from here on. Returns no permit if that one is of another pool, in which the call
    /// then waits for its turn, before all who came later.
    fn count_as(
        &self,
        operation: Option<&'static Operation>,
        route: &mut Arc<Route>,
        ask: &mut Ask,
        permit: Permit,
        call: &mut Call,
    ) -> Option<Permit> {
        let Some(other) = route.counted_as(operation, &self.metrics) else { return Some(permit) };
        *route = Arc::new(other);
        call.route = Some(Arc::clone(route));
        if ask.pool == route.pool {
            return Some(permit);
        }
        ask.pool = route.pool;
        ask.place = Place::Front(permit.unused());
        None
    }

    /// The answer to a call that went there: Zuora's, and where the outcome will be; or the outcome, if the caller waits
    /// for it and it comes in time. Zuora's alone where that says that it was not taken.
    pub(crate) async fn promise(
        &self,
        voyage: &Voyage,
        answer: Result<Response<Body>, Error>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        let Some(passage) = voyage.passage() else { return answer };
        if passage.withdraw_or_promise().await {
            return answer;
        }
        call.is_remembered = true;
        // What is lost of Zuora's answer says nothing of what came of the preference.
        call.is_async = answer.is_ok() && passage.is_taken() && voyage.is_held;
        let answer = if call.is_async { answer.map(not_yet) } else { answer };
        let wait = call.prefers.filter(|wait| voyage.is_held && !wait.is_zero());
        let (Some(wait), Some(route)) = (wait, call.route.clone()) else { return answer };
        let Some(later) = &route.tenant.async_requests else { return answer };
        let until = call.started + wait;
        // It is Zuora that it waits for.
        call.enter(Phase::Upstream);
        let looking = self.look(&later.registry, passage.key(), &route.app, Some(until));
        // An answer is there already: a disk that hangs keeps nobody from it.
        let record = timeout_at(until.max(Instant::now()) + PATIENCE_WITH_READING, looking).await;
        call.leave();
        match record {
            Ok(Ok(Some(record))) if !record.state.is_pending() => {
                call.executed = None;
                call.is_async = true;
                Ok(told(&record, call))
            }
            // What cannot be read now can be later.
            _ => answer,
        }
    }
}

/// Says that the outcome is still to come, as the status is what tells (RFC 7240 4.1): Zuora answers a job with 200.
fn not_yet(mut answer: Response<Body>) -> Response<Body> {
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// What is remembered of a call.
fn new_request(route: &Route, outbound: &Outbound, call: &mut Call) -> NewRequest {
    let detour = outbound.voyage.as_ref().and_then(|voyage| voyage.detour());
    let meant = match detour {
        Some(_) => outbound.operation(),
        None => {
            sync_path(outbound.path()).and_then(|path| zuora::classify(outbound.method(), &path))
        }
    };
    NewRequest {
        key: Key {
            tenant: Arc::clone(&route.tenant.name),
            track_id: call.track_id().as_str().into(),
        },
        app: Arc::clone(&route.app.name),
        entity: route.entity().id.clone(),
        operation: meant.map(|operation| operation.id.into()),
        method: outbound.method().as_str().into(),
        path: outbound.path().into(),
        form: detour.map_or(Form::Async, |detour| detour.form),
    }
}

/// Whether a call that could not be remembered goes its usual way instead.
///
/// # Errors
/// What its caller is told, if it wanted to be told of the outcome later, or the operator did.
fn turn_back(
    why: NotBegun,
    route: &Route,
    outbound: &Outbound,
    call: &mut Call,
) -> Result<(), Error> {
    let voyage = outbound.voyage.as_ref().expect("who could not be remembered was to go");
    let is_direct = voyage.detour.is_none();
    match why {
        _ if voyage.after.is_some() => {}
        // Its app knows this path, and what it may mean there.
        NotBegun::Taken { .. } if is_direct => {}
        NotBegun::Taken { app } => {
            call.is_remembered = app == route.app.name;
            return Err(BadRequest::TrackIdTaken.into());
        }
        why => return Err(Error::NotRemembered(why)),
    }
    let (track_id, why) = (call.track_id().as_str(), why.to_string());
    tracing::info!(track_id, why, is_direct, "a write that was to be remembered is not");
    Ok(())
}
