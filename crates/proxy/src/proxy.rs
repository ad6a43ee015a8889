//! The road of a request.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use admission::{Ask, Deadline, Lane, Permit, Place, Shed};
use credentials::{Token, Unauthenticated};
use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use telemetry::{AppMetrics, Metrics};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zuora::{Target, TrackId};

use crate::answer::Answer;
use crate::body::Body;
use crate::call::{Call, Phase};
use crate::caller::{Caller, Door};
use crate::callouts;
use crate::claim::Claim;
use crate::dialect::Dialect;
use crate::embark::Voyage;
use crate::error::{Error, upload_error};
use crate::go_async::{Asked, Plan, decide, is_json};
use crate::guesses::Guesses;
use crate::headers;
use crate::judge::{Next, judge, moment};
use crate::key::{Key, is_read};
use crate::lanes::CallLanes;
use crate::leg::{Afterlife, Attempt, Failure, LONGEST_WORK, Leg};
use crate::links::Links;
use crate::local::Local;
use crate::outbound::{Keeper, Outbound, Payload};
use crate::outcomes::{LONGEST_WAIT, Waiters};
use crate::peer::Peer;
use crate::prefer::{asks_for_async, take_wait};
use crate::progress::Progress;
use crate::received::Received;
use crate::relay::relay;
use crate::request::{self, BadRequest, accept};
use crate::route::{App, Route, Side, ValidTrackId};
use crate::shared::{Questions, Turn};
use crate::single_use::method_asked_for;
use crate::soap;
use crate::table::{Current, Table};

/// What takes no longer was no wait.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(1);

/// Stands between apps and their tenants.
#[derive(Debug)]
pub struct Proxy {
    pub(crate) table: Current,
    pub(crate) metrics: Arc<Metrics>,
    stranger: AppMetrics,
    /// Makes numbers of those whom apps call for, and of what calls are about. Keyed, so that nobody can choose with
    /// whom it shares a turn or a lane.
    numbers: RandomState,
    /// What slows down those who guess credentials.
    guesses: Guesses,
    /// For callouts that are being taken in.
    pub(crate) callout_places: Semaphore,
    /// Who waits for outcomes.
    pub(crate) waiters: Waiters,
    /// What is asked for all who want to know the same.
    shared: Questions,
    /// Legs and bodies that outlive their callers.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when calls that still wait must be sent away.
    closing: CancellationToken,
}

impl Proxy {
    /// A proxy for the apps of `table`.
    #[must_use]
    pub fn new(table: Table, metrics: Arc<Metrics>) -> Arc<Self> {
        let stranger = metrics.app(telemetry::UNKNOWN, telemetry::UNKNOWN);
        Arc::new(Self {
            table: Current::new(table),
            metrics,
            stranger,
            numbers: RandomState::new(),
            guesses: Guesses::default(),
            callout_places: Semaphore::new(callouts::AT_ONCE),
            waiters: Waiters::default(),
            shared: Questions::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Serves the apps of another table from now on. Calls that are under way end as they would have.
    pub fn exchange(&self, table: Table) {
        self.table.exchange(table);
    }

    /// Answers every request, from `peer`: with Zuora's response, or with our own. Dropping the future
    /// means that the caller has left: a call that waits leaves the queue at once, one that was sent is seen through
    /// without its caller.
    pub fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let version = request.version();
        let call = Box::new(Call::begin(&request, peer, self.stranger.clone()));
        // Boxed, as each future on the way would carry the room for a request twice, for as long as the call waits.
        self.answer(Box::new(Received::of(request)), version, call)
    }

    async fn answer(
        self: Arc<Self>,
        request: Box<Request<Received>>,
        version: Version,
        mut call: Box<Call>,
    ) -> Response<Body> {
        let is_unread = request.body().ends_connection();
        let outcome = AssertUnwindSafe(self.forward(request, &mut call)).catch_unwind().await;
        if call.is_failed_attempt {
            // Boxed, so that other calls do not carry the room for it.
            Box::pin(self.hold_back(&call)).await;
        }
        let (mut response, ends_connection) = match outcome.unwrap_or(Err(Error::Panicked)) {
            Ok(mut response) => {
                call.answer(&mut response, None);
                (response, false)
            }
            Err(error) => {
                if let (Error::Shed(_), Some(route)) = (&error, &call.route) {
                    route.app.metrics.shed(error.reason());
                }
                let error = call.last_word(error);
                (self.refuse(&error, &mut call), error.ends_connection() || is_unread)
            }
        };
        if ends_connection && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| body.of(call))
    }

    /// The road, from the first question to the answer. Each step is a function of the same name.
    async fn forward(
        &self,
        mut request: Box<Request<Received>>,
        call: &mut Call,
    ) -> Result<Response<Body>, Error> {
        call.dialect = soap::dialect(&request);
        accept(&request)?;
        if !request::head_fits(&request) {
            return Err(Error::HeadTooLarge);
        }
        self.arrive(&mut request, call)?;
        // On the path that Zuora will see, as the prefix of a tenant may have stood before it.
        call.dialect = soap::dialect(&request);
        call.operation = zuora::classify(request.method(), request.uri().path());
        if let Some(local) = Local::find(&request, call.operation, call.port) {
            return Box::pin(self.answer_local(local, request, call)).await;
        }
        if call.dialect != Dialect::Json {
            Box::pin(soap::open(&mut request, call)).await?;
            if let Some(login) = soap::take_login(call) {
                return self.answer_login(&login, &request, call);
            }
        }
        let caller = self.identify(&request, call)?;
        call.track_id = Some(track_id(&caller.app, request.headers())?);
        authorize(&caller, &request, call)?;
        let voyage = plan(&caller, &request, call);
        let (mut route, mut ask) = self.classify(caller, &mut request, voyage.as_deref(), call)?;
        // Boxed, so that a call does not carry the room for it while it waits.
        let mut outbound = Box::pin(prepare(&route, *request, voyage, call)).await?;

        let answer = self.ask_zuora(&mut route, &mut ask, &mut outbound, call).await;
        let answer = answer.map(|answer| {
            let links = Links::of(&route, &outbound, call);
            relay(*answer, &route, links.as_ref(), outbound.is_write(), &self.tasks)
        });
        let Some(voyage) = outbound.voyage.take() else { return answer };
        // The outcome may be long in coming: what was sent is not kept as long.
        drop((route, outbound));
        Box::pin(self.promise(&voyage, answer, call)).await
    }

    /// The part of the road on which a call is tried, until its answer is one to pass on. The gateway's own calls go it as
    /// well.
    pub(crate) async fn ask_zuora(
        &self,
        route: &mut Arc<Route>,
        ask: &mut Ask,
        outbound: &mut Outbound,
        call: &mut Call,
    ) -> Result<Box<Answer>, Error> {
        let mut lanes = self.lanes_of(route, outbound);
        loop {
            let lane = self.enter(&mut lanes, ask, call).await?;
            anticipate(route, ask, call).await?;
            let permit = self.admit(route, ask, call).await?;
            let (permit, token) = authenticate(route, ask, permit, call).await?;
            let embarked = self.embark(route, ask, permit, outbound, call).await?;
            let Some(permit) = embarked else { continue };
            let ticket = permit.ticket();
            let (permit, asker) = match self.shared.take_turn(permit, route, outbound, call).await {
                Turn::Asks(permit, asker) => (permit, asker),
                Turn::Told(answer) => return Ok(answer),
                Turn::Requeue(ticket) => {
                    ask.place = Place::Front(ticket);
                    continue;
                }
            };
            let answer = self.send(route, outbound, (permit, lane), token.as_ref(), call).await;
            if let (Some(asker), Ok(answer)) = (asker, &answer) {
                asker.tell(answer);
            }
            match judge(route, answer, ticket, outbound, ask, call, &self.closing).await? {
                Next::Relay(answer) => {
                    if call.has_waited() {
                        // Then others wait as well. Whoever has the permit now is sent before this answer is passed on:
                        // time at Zuora is dearer than time here.
                        tokio::task::yield_now().await;
                    }
                    return Ok(answer);
                }
                Next::Requeue(ticket) => ask.place = Place::Front(ticket),
            }
        }
    }

    /// Which tenant does the way mean that the call came? From here on its path is the one that Zuora will see.
    fn arrive<B>(&self, request: &mut Request<B>, call: &mut Call) -> Result<(), BadRequest> {
        self.table.get().ways.arrive(request, &mut call.arrival)
    }

    /// Which app is this? By its own credential, never by what anybody can write.
    pub(crate) fn identify<B>(
        &self,
        request: &Request<B>,
        call: &mut Call,
    ) -> Result<Caller, Error> {
        let table = self.table.get();
        let session = call.envelope.as_ref().and_then(|head| head.session.as_deref());
        let known = table.identify(request, call.certificate.as_deref(), session);
        let known = known.and_then(|(app, door)| match (door, &call.envelope) {
            // Nothing is put into an envelope of theirs, so nothing of it would be replaced.
            (Door::SingleUse, Some(_)) => Err(Unauthenticated::conflicting()),
            _ => Ok((app, door)),
        });
        let (app, door) = known.map_err(|stranger| self.reject(stranger, &table, call))?;
        call.caller = Some(Caller { app: Arc::clone(table.app(app)), door });
        let caller = Caller { app: Arc::clone(table.app_meant(app, &call.arrival)?), door };
        call.caller = Some(caller.clone());
        Ok(caller)
    }

    /// Notes that a caller did not prove to be one of the apps of `table`. Returns what it is to be told.
    pub(crate) fn reject(
        &self,
        stranger: Unauthenticated,
        table: &Table,
        call: &mut Call,
    ) -> Error {
        let claimed = stranger.claimed().map(|app| Arc::clone(table.app(app)));
        let name = claimed.as_ref().map_or(telemetry::UNKNOWN, |app| &app.name);
        self.metrics.credential_rejected(name, stranger.reason());
        call.rejected(stranger, claimed);
        stranger.into()
    }

    /// Which operation is it, which pool does it count against, for whom is it, and how long may it wait? What tells
    /// the gateway this, and nobody else, is taken out of the request.
    fn classify(
        &self,
        caller: Caller,
        request: &mut Request<Received>,
        voyage: Option<&Voyage>,
        call: &mut Call,
    ) -> Result<(Arc<Route>, Ask), Error> {
        let is_detour = voyage.filter(|voyage| voyage.is_detour());
        let counted = match is_detour {
            Some(voyage) => voyage.counted_as(request.method()),
            None => call.operation,
        };
        let Caller { app, door } = caller;
        let path = Target::read(request.uri().path()).map_err(BadRequest::from)?;
        let (side, fields) = (Side::of(&path, call.envelope.is_some()), request.headers());
        let route = Route::find(app, counted, side, fields, &self.metrics)?;
        let route = Arc::new(route);
        call.route = Some(Arc::clone(&route));
        if door != Door::SingleUse && route.is_vague() {
            return Err(BadRequest::WhichEntity.into());
        }

        let app = &route.app;
        // Zuora never works longer, so a call that may wait as long as its app's others has its answer by then.
        let longest = app.queue_timeout + LONGEST_WORK;
        let is_promised = voyage.is_some_and(Voyage::is_promised);
        let longest_wait = if is_promised { LONGEST_WAIT } else { longest };
        call.prefers = take_wait(request.headers_mut()).map(|wait| wait.min(longest_wait));
        let deadline = match call.prefers {
            // It is for the outcome that the caller waits.
            Some(wait) if is_promised && !wait.is_zero() => {
                Deadline::Permit(call.started + wait.min(longest))
            }
            Some(wait) if !is_promised => Deadline::Answer(call.started + wait),
            _ => Deadline::Permit(call.started + app.queue_timeout),
        };
        let user = app.fairness_key.as_ref().and_then(|key| request.headers_mut().remove(key));
        let user = user.map(|user| self.numbers.hash_one(user.as_bytes()));
        let may_probe = is_read(request.method(), call.operation);
        let place = Place::Back;
        let ask = Ask { pool: route.pool, app: app.id, user, deadline, place, may_probe };
        Ok((route, ask))
    }

    /// The lanes that the call must have to itself, by what it names.
    fn lanes_of(&self, route: &Route, outbound: &Outbound) -> Option<CallLanes> {
        let lanes = route.tenant.lanes.as_ref()?;
        CallLanes::of(lanes, outbound, |subject| self.numbers.hash_one((route.entity, subject)))
    }

    /// Waits until no other call is at Zuora that names the same account, subscription or order. Before the permit: a
    /// call that waits for another must not keep one.
    async fn enter(
        &self,
        lanes: &mut Option<CallLanes>,
        ask: &Ask,
        call: &mut Call,
    ) -> Result<Option<Box<Lane>>, Error> {
        let Some(lanes) = lanes else { return Ok(None) };
        call.enter(Phase::Queue);
        // Boxed, as few tenants have lanes, and all calls would carry the room for them.
        if let Some(why) = self.unless_closing(Box::pin(lanes.rest(ask)).as_mut()).await? {
            call.waited(why.as_str());
        }
        let lane = self.unless_closing(Box::pin(lanes.enter(ask)).as_mut()).await;
        let took = call.leave();
        if lane.as_ref().map_or(took > A_MOMENT, Lane::waited) {
            call.waited("lane");
        }
        Ok(Some(Box::new(lane?)))
    }

    /// Waits for the call's turn, in the pool that it counts against when its turn has come: meanwhile an answer may have
    /// named another.
    async fn admit(
        &self,
        route: &mut Arc<Route>,
        ask: &mut Ask,
        call: &mut Call,
    ) -> Result<Permit, Error> {
        call.enter(Phase::Queue);
        let permit = loop {
            if let Some(anew) = route.anew(&self.metrics) {
                *route = Arc::new(anew);
                ask.pool = route.pool;
                call.route = Some(Arc::clone(route));
            }
            let turn = self.unless_closing(pin!(route.tenant.admission.admit(*ask))).await;
            let permit = turn.inspect_err(|error| call.turned_away(error))?;
            if let Some(reason) = permit.reason() {
                call.waited(reason.as_str());
            }
            if route.is_right() {
                break permit;
            }
            ask.place = Place::Front(permit.unused());
        };
        call.leave();
        for reason in permit.would_have_waited() {
            call.would_have_waited(reason.as_str());
            route.pool_metrics().would_have_waited(reason.as_str());
        }
        Ok(permit)
    }

    /// What `turn` comes to, unless calls that wait are sent away. Pinned by whoever asks: handed over, it would be
    /// carried twice for as long as the call waits.
    async fn unless_closing<T>(
        &self,
        turn: Pin<&mut impl Future<Output = Result<T, Shed>>>,
    ) -> Result<T, Error> {
        if self.closing.is_cancelled() {
            return Err(Error::Draining);
        }
        tokio::select! {
            biased;
            turn = turn => turn.map_err(Error::from),
            () = self.closing.cancelled() => Err(Error::Draining),
        }
    }

    /// Puts the attempt on the wire. From here on the upstream leg owns it, and the call waits for what it brings.
    fn send(
        &self,
        route: &Arc<Route>,
        outbound: &mut Outbound,
        (permit, lane): (Permit, Option<Box<Lane>>),
        token: Option<&Token>,
        call: &mut Call,
    ) -> impl Future<Output = Result<Box<Answer>, Failure>> {
        call.attempts += 1;
        if let Some(passage) = outbound.passage() {
            passage.depart();
        }
        call.our_key = outbound.key.ours();
        match call.repeats.take() {
            Some(label) => route.tenant.metrics.retried(label),
            None => route.tenant.retry.budgets.deposit(route.pool),
        }
        let progress = Arc::new(Progress::begin());
        let attempt = Attempt {
            request: outbound.attempt(token.map(|token| &token.proof), Arc::clone(&progress)),
            claim: Claim::new(permit, lane, self.metrics.leg(), Arc::clone(route)),
            token: token.map(|token| token.generation),
            passage: outbound.passage().cloned(),
            route: Arc::clone(route),
            progress: Arc::clone(&progress),
        };
        let then = Afterlife {
            tracker: self.tasks.clone(),
            track_id: call.track_id().clone(),
            is_write: outbound.is_write(),
            is_told: false,
            route: Arc::clone(route),
            progress: Arc::clone(&progress),
        };
        let attempt_number = call.attempts;
        tracing::debug!(track_id = call.track_id().as_str(), attempt_number, "sent to Zuora");
        call.enter(Phase::Upstream);
        let mut leg = Leg::start(attempt, then);
        let patience = route.tenant.response_timeout;
        async move {
            let answer = leg.within(patience, &progress).await;
            call.leave();
            answer
        }
    }

    /// Waits for as long as the answer to a wrong credential is to be held back.
    async fn hold_back(&self, call: &Call) {
        let wait = self.guesses.count(call.peer, Instant::now());
        tokio::select! {
            () = sleep(wait) => {}
            () = self.closing.cancelled() => {}
        }
    }

    /// The answer to a call that failed here.
    pub(crate) fn refuse(&self, error: &Error, call: &mut Call) -> Response<Body> {
        let mut response =
            error.to_response(call.dialect, call.track_id().as_str(), Instant::now());
        call.answer(&mut response, Some(error));
        response
    }

    /// Tells those who wait for outcomes what is known, now and from now on: they would keep their connections open for
    /// longer than any call.
    pub fn end_waits(&self) {
        self.waiters.leave();
    }

    /// Sends away the calls that wait for their turn, now and from now on.
    pub fn send_away(&self) {
        self.closing.cancel();
    }

    /// Returns once every leg and answer that outlives its caller has ended.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// May this app do this? Decided before the body is read, on the path that will be sent.
fn authorize(caller: &Caller, request: &Request<Received>, call: &Call) -> Result<(), Error> {
    let target = Target::read(request.uri().path()).map_err(BadRequest::from)?;
    let (policy, method) = (&caller.app.policy, request.method());
    let asked_for = method_asked_for(request.headers()).filter(|_| caller.is_preflight(method));
    let judged = match (&call.envelope, asked_for) {
        (Some(envelope), _) => policy.judge_soap(method, &target, &envelope.call),
        (None, Some(asked_for)) => policy.judge_preflight(&asked_for, &target),
        (None, None) => policy.judge(method, &target),
    };
    judged.map_err(|refusal| Error::Policy(refusal.to_string()))
}

/// Is it carried out later? Decided before the body is read, as the call's turn depends on it.
fn plan(caller: &Caller, request: &Request<Received>, call: &mut Call) -> Option<Box<Voyage>> {
    let (app, headers) = (&caller.app, request.headers());
    let is_asked_for = asks_for_async(headers);
    let later = app.tenant.async_requests.as_ref().filter(|later| later.callouts.is_some());
    if later.is_none() && !is_asked_for {
        return None;
    }
    let plan = decide(&Asked {
        app: &app.name,
        policy: &app.policy,
        method: request.method(),
        path: request.uri().path(),
        operation: call.operation,
        is_json: !request.method().is_safe() && is_json(headers),
        is_asked_for,
        is_single_use: caller.door == Door::SingleUse,
        rules: later.map(|later| &*later.rewrite),
    });
    if let (Plan::Sync(why), true) = (&plan, is_asked_for) {
        call.not_async = Some(why.as_str());
    }
    Voyage::of(plan, is_asked_for)
}

/// Makes the request what Zuora should see of it, and keeps its body if it is short enough to be sent again.
async fn prepare(
    route: &Route,
    request: Request<Received>,
    voyage: Option<Box<Voyage>>,
    call: &mut Call,
) -> Result<Outbound, Error> {
    let (mut head, body) = request.into_parts();
    let forwards = headers::max_forwards(&head.method, &head.headers);
    headers::towards_zuora(&mut head.headers);
    // After the fields that end here: `Connection` of the caller must not take off what is said for it.
    if !call.is_single_use()
        && let Some((field, id)) = route.entity().unsaid(&head.headers)
    {
        head.headers.insert(field, id);
    }
    if let Some(forwards) = forwards {
        head.headers.insert(header::MAX_FORWARDS, forwards.saturating_sub(1).into());
    }
    if call.envelope.is_some() {
        headers::of_other_bytes(&mut head.headers);
    }
    head.headers.insert(headers::TRACK_ID, call.track_id().to_header_value());
    head.headers.insert(header::HOST, route.upstream().host());

    let target = head.uri.path_and_query().expect("an accepted target has a path").clone();
    let uri = route.upstream().uri(target);
    let tenant = &route.tenant;
    let keeper = Keeper {
        admission: &tenant.admission,
        pool: route.pool,
        app: route.app.id,
        longest: tenant.replay_buffer,
    };
    let payload = match body.is_end_stream() {
        true => Payload::empty(),
        false => keeper.receive(body).await?,
    };
    let mut outbound = Outbound::new(head, uri, call.operation, payload);
    outbound.session = call.envelope.as_ref().map(|envelope| envelope.splice.clone());
    outbound.is_single_use = call.is_single_use();
    let may_mint =
        tenant.retry.mint_idempotency_keys && outbound.replayable() && !outbound.is_single_use;
    outbound.key = Key::of(call.operation, outbound.headers(), may_mint);
    outbound.voyage = voyage;
    Ok(outbound)
}

/// Waits for a first token where calls with another one use the same pool: with a permit, this call would keep it from
/// them.
async fn anticipate(route: &Route, ask: &Ask, call: &mut Call) -> Result<(), Error> {
    let Some(tokens) = route.missing_beside_others().filter(|_| !call.is_single_use()) else {
        return Ok(());
    };
    call.enter(Phase::Token);
    // Boxed, as few tenants have two logins, and all calls would carry the room for it.
    let token = Box::pin(tokens.current(moment(ask.deadline))).await;
    call.leave();
    call.waited("token");
    token?;
    Ok(())
}

/// The tenant's current token, taken after admission: one that was valid when the call began to wait may not be now.
/// Without one the permit goes back unused. A call with Zuora's single-use credential gets no other.
async fn authenticate(
    route: &Route,
    ask: &Ask,
    permit: Permit,
    call: &mut Call,
) -> Result<(Permit, Option<Token>), Error> {
    if call.is_single_use() {
        return Ok((permit, None));
    }
    call.enter(Phase::Token);
    let token = route.tokens().current(moment(ask.deadline)).await;
    if call.leave() > A_MOMENT {
        call.waited("token");
    }
    match token {
        Ok(token) if call.envelope.is_some() && token.proof.soap_session().is_none() => {
            permit.unused();
            Err(Error::NotFound(
                "the credentials of this tenant have no form in SOAP: add a `soap_login`",
            ))
        }
        // As long as there was no token, nobody knew.
        Ok(_) if route.is_vague() => {
            permit.unused();
            Err(BadRequest::WhichEntity.into())
        }
        Ok(token) => Ok((permit, Some(token))),
        Err(unavailable) => {
            permit.unused();
            Err(unavailable.into())
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(cause) | Failure::NotSent(cause) => Self::Unreachable(cause),
            Failure::Timeout(patience) => Self::Timeout(patience),
            Failure::Broke(cause, executed) => {
                upload_error(&*cause).map(Self::from).unwrap_or(Self::Broke(cause, executed))
            }
        }
    }
}

/// The track id of a call: the app's own where policy keeps it, else one of ours.
fn track_id(app: &App, headers: &HeaderMap) -> Result<TrackId, BadRequest> {
    let policy = app.tenant.track_ids;
    let given = request::single(headers, &headers::TRACK_ID, BadRequest::TwoTrackIds)?;
    let Some(given) = given.filter(|_| policy.valid != ValidTrackId::Replace) else {
        return Ok(TrackId::mint(&app.name));
    };
    let kept = TrackId::parse(given).and_then(|id| match policy.valid {
        ValidTrackId::Prefix => TrackId::prefixed(&app.name, &id),
        ValidTrackId::Keep | ValidTrackId::Replace => Ok(id),
    });
    match kept {
        Err(_) if policy.replace_invalid => Ok(TrackId::mint(&app.name)),
        kept => Ok(kept?),
    }
}
