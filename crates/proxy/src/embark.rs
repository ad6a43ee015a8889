//! How a write goes to where it is carried out later: remembered before it leaves, told what becomes of it, and answered
//! with where its outcome will be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use admission::{Ask, Permit, Place};
use async_requests::{Form, Key, NewRequest, NotBegun, StoreError, Submission};
use http::Response;
use tokio::runtime::Handle;
use tokio::time::{Duration, timeout};
use tokio_util::task::TaskTracker;
use zuora::{Operation, Submitted, Verdict, sync_path};

use crate::answer::Answer;
use crate::body::Body;
use crate::call::{Call, Phase};
use crate::error::{Error, Executed};
use crate::go_async::{Detour, Plan};
use crate::judge::tells_outcome;
use crate::leg::Failure;
use crate::outbound::Outbound;
use crate::outcomes::told;
use crate::proxy::Proxy;
use crate::request::BadRequest;
use crate::route::Route;

/// How long the registry may take to write. A call that is to be remembered holds a permit meanwhile, and so do all
/// others behind it if the disk hangs.
const PATIENCE_WITH_REGISTRY: Duration = Duration::from_secs(10);

/// As much of an answer as is printed, in bytes: it holds an id.
const LONGEST_PRINT: usize = 1024;

/// Whether an answer to a submission has been printed: what it looks like is published nowhere.
static IS_PRINTED: AtomicBool = AtomicBool::new(false);

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

/// The record of a call that goes there, from before it is sent until Zuora is known to have taken it or not. Shared by
/// the call and its upstream leg, either of which may be the last to know.
///
/// Dropped before it was sent, or after Zuora refused it, it is forgotten. Dropped in between it stays: its outcome may
/// still come.
#[derive(Debug)]
pub(crate) struct Passage {
    key: Key,
    standing: Mutex<Standing>,
    tasks: TaskTracker,
}

#[derive(Debug)]
enum Standing {
    /// Zuora certainly has nothing of it.
    Here(Submission),
    /// It was sent, and nobody knows whether Zuora took it.
    Away(Submission),
    Taken,
    Withdrawn,
}

/// What an attempt says about whether Zuora took the request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Taken(Submitted),
    NotTaken,
    Unknown,
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
        let Some(permit) = self.count_as(outbound.counted_there(), route, ask, permit, call) else {
            return Ok(None);
        };
        let registry = route.tenant.async_requests.as_ref().map(|it| Arc::clone(&it.registry));
        let registry = registry.expect("a plan to go there is made for tenants with a registry");
        let beginning = registry.begin(new_request(route, outbound, call));
        match in_time(beginning).await {
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
        if passage.withdraw().await {
            return answer;
        }
        call.is_remembered = true;
        call.is_async = passage.is_taken() && voyage.is_held;
        let wait = call.prefers.filter(|wait| voyage.is_held && !wait.is_zero());
        let (Some(wait), Some(route)) = (wait, call.route.clone()) else { return answer };
        let Some(later) = &route.tenant.async_requests else { return answer };
        let until = call.started + wait;
        // It is Zuora that it waits for.
        call.enter(Phase::Upstream);
        let record = self.look(&later.registry, &passage.key, &route.app, Some(until)).await;
        call.leave();
        match record {
            Ok(Some(record)) if !record.state.is_pending() => {
                call.executed = None;
                call.is_async = true;
                Ok(told(&record, call))
            }
            // What cannot be read now can be later.
            _ => answer,
        }
    }
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

impl Passage {
    fn new(submission: Submission, tasks: &TaskTracker) -> Self {
        let key = submission.key().clone();
        Self { key, standing: Mutex::new(Standing::Here(submission)), tasks: tasks.clone() }
    }

    /// Notes that it is being sent.
    pub(crate) fn depart(&self) {
        let mut standing = self.standing();
        *standing = match std::mem::replace(&mut *standing, Standing::Taken) {
            Standing::Here(submission) => Standing::Away(submission),
            other => other,
        };
    }

    /// Takes in what became of an attempt. Once this returns, that Zuora took it is durable.
    pub(crate) async fn learn(&self, attempted: &Result<Box<Answer>, Failure>) {
        match Fate::of(attempted) {
            Fate::Unknown => {}
            Fate::NotTaken => self.come_back(),
            Fate::Taken(submitted) => {
                if let Ok(answer) = attempted
                    && !IS_PRINTED.swap(true, Ordering::Relaxed)
                {
                    self.print(answer);
                }
                self.accept(submitted).await;
            }
        }
    }

    /// It may be sent again, or be forgotten.
    fn come_back(&self) {
        let mut standing = self.standing();
        *standing = match std::mem::replace(&mut *standing, Standing::Taken) {
            Standing::Away(submission) => Standing::Here(submission),
            other => other,
        };
    }

    async fn accept(&self, submitted: Submitted) {
        let before = std::mem::replace(&mut *self.standing(), Standing::Taken);
        let (Standing::Here(submission) | Standing::Away(submission)) = before else { return };
        let track_id = &*self.key.track_id;
        if submitted.id.is_none() {
            tracing::warn!(
                track_id,
                "Zuora took a request without naming it in a way that is known: its outcome is found by its track id"
            );
        }
        if let Err(error) = in_time(submission.accepted(submitted.id.as_deref())).await {
            // It is remembered all the same, as one of which nobody knows yet.
            tracing::warn!(track_id, %error, "that Zuora took a request could not be written down");
        }
    }

    /// Forgets it if Zuora certainly did not take it. Returns whether it is forgotten.
    async fn withdraw(&self) -> bool {
        let Some(submission) = self.take_back() else {
            return matches!(*self.standing(), Standing::Withdrawn);
        };
        forget(submission).await;
        true
    }

    fn is_taken(&self) -> bool {
        matches!(*self.standing(), Standing::Taken)
    }

    fn take_back(&self) -> Option<Submission> {
        let mut standing = self.standing();
        match std::mem::replace(&mut *standing, Standing::Withdrawn) {
            Standing::Here(submission) => Some(submission),
            other => {
                *standing = other;
                None
            }
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, answer: &Answer) {
        let seen = answer.seen();
        let body = String::from_utf8_lossy(&seen[..seen.len().min(LONGEST_PRINT)]);
        tracing::debug!(
            track_id = &*self.key.track_id,
            status = answer.head.status.as_u16(),
            %body,
            "the first answer of Zuora's to a request that is carried out later"
        );
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let (Some(submission), Ok(runtime)) = (self.take_back(), Handle::try_current()) {
            self.tasks.spawn_on(forget(submission), &runtime);
        }
    }
}

async fn forget(submission: Submission) {
    let track_id = Arc::clone(&submission.key().track_id);
    if let Err(error) = in_time(submission.withdrawn()).await {
        let track_id = &*track_id;
        tracing::warn!(track_id, %error, "that Zuora did not take a request could not be written down");
    }
}

/// What the registry came to. Given up, it may still write: nobody waits for it.
async fn in_time<T, E: From<StoreError>>(
    writing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let slow = || StoreError("it took too long to write".into()).into();
    timeout(PATIENCE_WITH_REGISTRY, writing).await.unwrap_or_else(|_| Err(slow()))
}

impl Fate {
    fn of(attempted: &Result<Box<Answer>, Failure>) -> Self {
        let answer = match attempted {
            Ok(answer) => answer,
            Err(failure) if !failure.was_sent() || failure.is_callers() => return Self::NotTaken,
            Err(Failure::Broke(_, Executed::Yes)) => return Self::Taken(Submitted { id: None }),
            Err(_) => return Self::Unknown,
        };
        let head = &answer.head;
        match answer.verdict {
            Verdict::Ambiguous { .. } => Self::Unknown,
            Verdict::Failed { .. } if head.status.is_server_error() && !tells_outcome(answer) => {
                Self::Unknown
            }
            Verdict::Relay => match Submitted::read(head.status, &head.headers, answer.seen()) {
                Some(submitted) => Self::Taken(submitted),
                None => Self::NotTaken,
            },
            Verdict::Failed { .. }
            | Verdict::Refused(_)
            | Verdict::Unauthenticated
            | Verdict::Contended
            | Verdict::InProgress => Self::NotTaken,
        }
    }
}
