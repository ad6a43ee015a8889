//! The way of one call through the tenant, from its head to its answer.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use crate::{
    answers::{self, Answer},
    body::{AnswerBody, Cut},
    call::{Call, is_track_id},
    category::Category,
    contention::Hold,
    control,
    credential::Brought,
    dress,
    entities::BadEntity,
    faults::{FaultKind, Met, Strike},
    gate::Refused,
    idempotency::{Claim, Known, LONGEST_KEY},
    later,
    ledger::{Entry, Event, LoginKind},
    limits::{Permit, Pool},
    rate::{Counted, RateShown},
    server::Inner,
    shapes::ErrorShape,
    single_use,
    soap::{self, Envelope},
    wire::Link,
};

/// How much of a body is read away before a refusal, so that the caller can
/// keep its connection.
const DRAINED_BYTES: u64 = 1024 * 1024;

/// How long that may take: a refusal does not wait for a body that stays away.
const DRAINED_WITHIN: Duration = Duration::from_millis(500);

/// How long a body may take to arrive, as long as Zuora waits for anything.
const BODY_WITHIN: Duration = Duration::from_secs(120);

/// An answer that comes before any work.
#[derive(Debug)]
enum Early {
    Answer(Box<Answer>),
    Cut,
}

/// What the headers of every answer of this call say.
#[derive(Debug, Default)]
pub(crate) struct Shows {
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) rate: Option<RateShown>,
}

/// A finished piece of work.
#[derive(Debug)]
struct Done {
    answer: Answer,
    call: Call,
    /// Still held when the answer is made while it is sent.
    permit: Option<Permit>,
    fault: Option<FaultKind>,
    /// What the answer still waits for.
    overtaking: Option<oneshot::Receiver<()>>,
}

/// Answers one call; an error closes its connection without an answer.
pub(crate) async fn answer(
    tenant: Arc<Inner>,
    link: Arc<Link>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Cut> {
    let (head, body) = request.into_parts();
    let mut call = Call::read(head);
    if call.segments.first().is_some_and(|first| first == "emulator") {
        return control::answer(&tenant, call, body).await;
    }
    let fault = meet(&tenant, &link, &call);
    if let Some(FaultKind::CutLater { reset: true, .. }) = fault {
        link.reset();
    }

    let mut shows = Shows::default();
    let mut body = Some(body);
    let early = match arrive(&tenant, &call, fault.as_ref()) {
        Ok(()) if call.is_login() => login(&tenant, peer, &mut call, body.take(), &fault).await,
        Ok(()) => {
            let fault_met = fault.as_ref();
            let entered = if call.is_soap() {
                enter_soap(&tenant, peer, &mut call, body.take(), fault_met, &mut shows).await
            } else {
                enter(&tenant, peer, &mut call, fault_met, &mut shows)
            };
            match entered {
                Ok(permit) => return work(tenant, call, body.take(), permit, fault, shows).await,
                Err(early) => early,
            }
        }
        Err(early) => early,
    };
    match early {
        Early::Cut => Err(Cut),
        Early::Answer(answer) => {
            if let Some(body) = body {
                timeout(DRAINED_WITHIN, drain(&call.headers, body)).await.unwrap_or_default();
            }
            Ok(dress::response(&call, *answer, &shows, None))
        }
    }
}

/// The fault of this call: the one that its connection met, or else its own.
fn meet(tenant: &Inner, link: &Link, call: &Call) -> Option<FaultKind> {
    match link.take() {
        Some(Met::Struck(kind)) => return Some(kind),
        Some(Met::Spared) => return None,
        None => {}
    }
    let kind = tenant.faults.take(call.method.as_str(), &call.path)?;
    tenant.book.count(Event::Faulted);
    let at_ms = tenant.book.now_ms();
    tenant.faults.enter(Strike::new(at_ms, call.method.as_str(), &call.path, kind.clone()));
    Some(kind)
}

/// The faults that strike before Zuora looks at the call.
fn arrive(tenant: &Inner, call: &Call, fault: Option<&FaultKind>) -> Result<(), Early> {
    let family = call.operation.family;
    let answer = match fault {
        Some(FaultKind::Cut { executed: false }) => return Err(Early::Cut),
        Some(FaultKind::Answer { executed: false, .. }) => dress::fault_answer(fault),
        Some(FaultKind::HtmlUnavailable) => Some(answers::html_unavailable()),
        Some(FaultKind::Unauthenticated) => {
            tenant.book.count(Event::Unauthenticated);
            Some(answers::unauthenticated(family))
        }
        Some(FaultKind::LimitInBody) => {
            tenant.book.refuse(tenant.limit_type_of(call), call.header("zuora-track-id"));
            Some(answers::limit_in_body(family))
        }
        _ if call.method == Method::OPTIONS => {
            tenant.book.count(Event::Preflight);
            Some(dress::preflight())
        }
        _ if call.is_wsdl() => Some(tenant.description(call)),
        _ => None,
    };
    answer.map_or(Ok(()), |answer| Err(early(answer)))
}

/// Everything between the door and the permit.
fn enter(
    tenant: &Inner,
    peer: IpAddr,
    call: &mut Call,
    fault: Option<&FaultKind>,
    shows: &mut Shows,
) -> Result<Option<Permit>, Early> {
    if call.operation.family == crate::operations::Family::Nowhere {
        return Err(early(answers::html_not_found()));
    }
    if call.is_connection() {
        connect(tenant, peer, call)?;
        look_at_track_id(tenant, call);
        count_rate(tenant, fault, shows)?;
        return Ok(None);
    }
    tenant.book.count_brought(Brought::with(&call.headers, false));
    if call.is_signed() {
        let caller = tenant.gate.single_use.redeem(call).map_err(|why| {
            tenant.book.count(Event::Unauthenticated);
            early(dress::for_browsers(single_use::refused(why)))
        })?;
        call.caller = Some(caller);
    } else {
        call.caller = tenant.gate.identify(&call.headers);
    }
    take_in(tenant, call, fault, shows).map(Some)
}

/// The same for SOAP: who calls is in the body, so that is read first.
async fn enter_soap(
    tenant: &Inner,
    peer: IpAddr,
    call: &mut Call,
    body: Option<Incoming>,
    fault: Option<&FaultKind>,
    shows: &mut Shows,
) -> Result<Option<Permit>, Early> {
    if let Some(body) = body
        && !takes_body(call, body).await
    {
        tenant.book.count(Event::Unfinished);
        return Err(Early::Cut);
    }
    let envelope =
        Envelope::read(&call.body).map_err(|message| early(soap::client_fault(&message)))?;
    if envelope.is_login() {
        return Err(login_with_soap(tenant, peer, call, &envelope, fault).await);
    }
    call.operation.kind = envelope.kind();
    call.json = envelope.to_action();
    tenant.book.count_brought(Brought::with(&call.headers, envelope.session.is_some()));
    let session = envelope.session.as_deref();
    call.caller = session.and_then(|session| tenant.gate.identify_soap(&call.headers, session));
    call.soap = Some(envelope);
    take_in(tenant, call, fault, shows).map(Some)
}

/// Lets a call in whose caller has been looked for.
fn take_in(
    tenant: &Inner,
    call: &mut Call,
    fault: Option<&FaultKind>,
    shows: &mut Shows,
) -> Result<Permit, Early> {
    let Some(caller) = &call.caller else {
        tenant.book.count(Event::Unauthenticated);
        return Err(early(answers::unauthenticated(call.operation.family)));
    };
    look_at_track_id(tenant, call);
    let entity = tenant.gate.entity_of(&caller.who, &call.headers).map(|id| id.map(str::to_owned));
    call.entity = entity.map_err(|BadEntity| early(dress::bad_entity(call.operation.family)))?;
    count_rate(tenant, fault, shows)?;
    admit(tenant, call, fault, shows)
}

/// Begins the session of an API user who came with a key.
fn connect(tenant: &Inner, peer: IpAddr, call: &mut Call) -> Result<(), Early> {
    let (attempt, begun) = tenant.gate.connect(peer, &call.headers);
    tenant.book.enter_login(LoginKind::Connection, &attempt);
    let family = call.operation.family;
    let refused = match begun {
        Ok(caller) => {
            call.caller = Some(caller);
            return Ok(());
        }
        Err(Refused::TooMany) => answers::refused_rate("minute", 60),
        Err(Refused::BadEntity) => dress::bad_entity(family),
        Err(Refused::Unknown) => {
            tenant.book.count(Event::Unauthenticated);
            answers::unauthenticated(family)
        }
    };
    Err(early(refused))
}

/// Answers a SOAP `login`, or does what a fault makes of it.
async fn login_with_soap(
    tenant: &Inner,
    peer: IpAddr,
    call: &Call,
    envelope: &Envelope,
    fault: Option<&FaultKind>,
) -> Early {
    if let Some(fault) = fault {
        sleep(fault.delay()).await;
    }
    match fault {
        Some(FaultKind::CutRequest { executed: false, .. }) => return Early::Cut,
        Some(FaultKind::Fail { category, shape, message_bytes }) => {
            let shape = shape.unwrap_or(ErrorShape::SoapFault);
            return early(shape.failure(*category, true, *message_bytes, &call.path));
        }
        Some(FaultKind::GatewayTimeout { .. }) => return early(answers::html_timeout()),
        _ => {}
    }
    let entity = (envelope.optional("entityId"), envelope.optional("entityName"));
    let (user, password) = (envelope.text("username"), envelope.text("password"));
    let (attempt, begun) = tenant.gate.soap_login(peer, user, password, entity);
    tenant.book.enter_login(LoginKind::Soap, &attempt);
    let answer = match begun {
        Ok(session) => soap::session(&tenant.soap_address(call), &session),
        Err(Refused::TooMany) => answers::refused_concurrency(call.operation.family),
        Err(Refused::BadEntity) => dress::bad_entity(call.operation.family),
        Err(Refused::Unknown) => {
            soap::login_fault("The user name and the password do not belong together.")
        }
    };
    spoil_login(fault, answer)
}

fn look_at_track_id(tenant: &Inner, call: &Call) {
    match call.headers.get("zuora-track-id") {
        None => tenant.book.count(Event::MissingTrackId),
        Some(value) if !is_track_id(value) => tenant.book.count(Event::InvalidTrackId),
        Some(_) => {}
    }
}

fn count_rate(tenant: &Inner, fault: Option<&FaultKind>, shows: &mut Shows) -> Result<(), Early> {
    let counted = tenant.rate.as_ref().map(crate::rate::Rate::count);
    let over = match (fault, counted) {
        (Some(FaultKind::RefuseRate { reset }), _) => Some(RateShown {
            limit: "50000, 50000;w=60".to_owned(),
            remaining: 0,
            reset: *reset,
            name: "minute",
        }),
        (_, Some(Counted::Over(shown))) => Some(shown),
        (_, Some(Counted::Within(shown))) => {
            shows.rate = Some(shown);
            None
        }
        (_, None) => None,
    };
    let Some(shown) = over else { return Ok(()) };
    tenant.book.count(Event::RefusedRate);
    let answer = answers::refused_rate(shown.name, shown.reset);
    shows.rate = Some(shown);
    Err(early(answer))
}

fn admit(
    tenant: &Inner,
    call: &Call,
    fault: Option<&FaultKind>,
    shows: &mut Shows,
) -> Result<Permit, Early> {
    let limit_type = tenant.limit_type_of(call);
    let Some(pool) = tenant.limits.pool(call.entity.as_deref(), limit_type) else {
        return Err(early(dress::bad_entity(call.operation.family)));
    };
    if call.shows_limits() {
        shows.pool = Some(Arc::clone(pool));
    }
    let refused = matches!(fault, Some(FaultKind::RefuseConcurrency));
    match if refused { None } else { tenant.limits.admit(pool) } {
        Some(permit) => Ok(permit),
        None => {
            tenant.book.refuse(pool.label(), call.header("zuora-track-id"));
            // Before version 51 SOAP had no word for it (Zuora: SOAP calls).
            let answer = if call.is_soap() && call.soap_version() < 51.0 {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let message = Category::Limit.message();
                Answer { status, ..soap::fault("UNKNOWN_ERROR", message) }
            } else {
                answers::refused_concurrency(call.operation.family)
            };
            let seconds = HeaderValue::from(tenant.options.retry_after.as_secs());
            Err(early(answer.with(http::header::RETRY_AFTER, seconds)))
        }
    }
}

async fn login(
    tenant: &Inner,
    peer: IpAddr,
    call: &mut Call,
    body: Option<Incoming>,
    fault: &Option<FaultKind>,
) -> Early {
    if let Some(body) = body
        && !takes_body(call, body).await
    {
        tenant.book.count(Event::TokenCall);
        return Early::Cut;
    }
    if let Some(fault) = fault {
        sleep(fault.delay()).await;
    }
    match fault {
        Some(FaultKind::CutRequest { executed: false, .. }) => {
            tenant.book.count(Event::TokenCall);
            return Early::Cut;
        }
        Some(FaultKind::Fail { category, shape, message_bytes }) => {
            tenant.book.count(Event::TokenCall);
            let shape = shape.unwrap_or(ErrorShape::Spring);
            return early(shape.failure(*category, true, *message_bytes, &call.path));
        }
        Some(FaultKind::GatewayTimeout { .. }) => {
            tenant.book.count(Event::TokenCall);
            return early(answers::html_timeout());
        }
        _ => {}
    }
    let (attempt, answer) = tenant.gate.login(peer, &call.headers, &call.body);
    tenant.book.enter_login(LoginKind::Token, &attempt);
    spoil_login(fault.as_ref(), answer)
}

/// The answer to a login, or what a fault makes of it.
fn spoil_login(fault: Option<&FaultKind>, answer: Answer) -> Early {
    match fault {
        Some(
            FaultKind::Cut { executed: true }
            | FaultKind::CutRequest { .. }
            | FaultKind::CutLater { .. },
        ) => Early::Cut,
        Some(FaultKind::RefuseRate { .. } | FaultKind::RefuseConcurrency) => {
            early(answers::refused_rate("minute", 60))
        }
        other => early(dress::fault_answer(other).unwrap_or(answer)),
    }
}

/// The work itself: reads the body, takes its time, and answers.
async fn work(
    tenant: Arc<Inner>,
    mut call: Call,
    body: Option<Incoming>,
    permit: Option<Permit>,
    fault: Option<FaultKind>,
    shows: Shows,
) -> Result<Response<AnswerBody>, Cut> {
    let began = Instant::now();
    if let Some(body) = body
        && !takes_body(&mut call, body).await
    {
        tenant.book.count(Event::Unfinished);
        return Err(Cut);
    }
    if let Some(FaultKind::CutRequest { executed: false, .. }) = fault {
        return Err(Cut);
    }
    let claim = match claim_key(&tenant, &call) {
        Ok(claim) => claim,
        Err(answer) => {
            drop(permit);
            return Ok(dress::response(&call, answer, &shows, None));
        }
    };
    let delay = fault.as_ref().map(FaultKind::delay).unwrap_or_default();
    let time = tenant.draw_service_time(&call) + delay;
    let hold = tenant.hold_accounts(&call);
    let job = Job { tenant: Arc::clone(&tenant), call, permit, claim, hold, fault, began };
    match job.fault {
        Some(FaultKind::CutLater { milliseconds, .. }) => {
            let later = Duration::from_millis(milliseconds);
            drop(Handoff::new(job, later));
            Err(Cut)
        }
        Some(FaultKind::GatewayTimeout { after_ms, completes_after_ms }) => {
            give_up(job, after_ms, completes_after_ms, &shows).await
        }
        _ => {
            let mut done =
                if time.is_zero() { job.execute() } else { Handoff::new(job, time).await };
            if let Some(overtaking) = done.overtaking.take() {
                // The callout is first, unless none comes.
                let _ = timeout(tenant.later.options.early_within, overtaking).await;
            }
            send(done, &shows)
        }
    }
}

/// The edge gives up after so long; the work may go on for as long again.
async fn give_up(
    job: Job,
    after_ms: u64,
    completes_after_ms: Option<u64>,
    shows: &Shows,
) -> Result<Response<AnswerBody>, Cut> {
    let (tenant, call) = (Arc::clone(&job.tenant), job.call.clone());
    let after = Duration::from_millis(after_ms);
    match completes_after_ms.map(Duration::from_millis) {
        Some(Duration::ZERO) => drop(Handoff::new(job, after).await),
        Some(longer) => {
            drop(Handoff::new(job, after + longer));
            sleep(after).await;
        }
        None => {
            // The permit is held meanwhile, whether or not the caller waits.
            tenant.carry_on(Box::pin(async move {
                sleep(after).await;
                drop(job);
            }));
            sleep(after).await;
        }
    }
    Ok(dress::response(&call, answers::html_timeout(), shows, None))
}

fn claim_key(tenant: &Inner, call: &Call) -> Result<Option<Claim>, Answer> {
    let Some(key) = call.header("idempotency-key") else { return Ok(None) };
    if call.is_submission() && !tenant.later.takes_key(call) {
        return Ok(None);
    }
    let trouble = |message: &str| {
        Err(answers::failure(call.operation.family, true, Category::InvalidValue, message))
    };
    match call.method.as_str() {
        "POST" | "PATCH" if key.len() <= LONGEST_KEY => {}
        "POST" | "PATCH" => return trouble("The idempotency key must not exceed 255 characters."),
        // Seen on a real tenant with PUT; GET and DELETE ignore the header.
        "PUT" => {
            return trouble("Request method 'PUT' not supported with Idempotency-Key header");
        }
        _ => return Ok(None),
    }
    match tenant.keys.claim(key, call.method.as_str(), &call.target) {
        Known::New(claim) => Ok(Some(claim)),
        Known::Outcome(outcome) => {
            tenant.book.count(Event::IdempotentReplay);
            Err(outcome)
        }
        Known::InProgress => {
            tenant.book.count(Event::IdempotentInProgress);
            Err(dress::key_trouble(
                StatusCode::CONFLICT,
                "A request with the same idempotency key is still in progress.",
            ))
        }
        Known::Mismatch => {
            tenant.book.count(Event::IdempotentMismatch);
            Err(dress::key_trouble(
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key was used with another method or URL.",
            ))
        }
    }
}

/// Turns finished work into an answer, or into what a fault makes of it.
fn send(done: Done, shows: &Shows) -> Result<Response<AnswerBody>, Cut> {
    let Done { answer, call, permit, fault, .. } = done;
    match fault {
        Some(FaultKind::Cut { executed: true } | FaultKind::CutRequest { .. }) => Err(Cut),
        Some(FaultKind::CutBody { after }) => {
            Ok(dress::broken_response(&call, answer, shows, after))
        }
        Some(FaultKind::BodySize { bytes }) => {
            let answer = dress::resized(answer, bytes);
            Ok(dress::response(&call, answer, shows, permit))
        }
        fault => {
            let answer = dress::fault_answer(fault.as_ref()).unwrap_or(answer);
            Ok(dress::response(&call, answer, shows, permit))
        }
    }
}

/// Reads the body; whether it came to its end in time.
async fn takes_body(call: &mut Call, body: Incoming) -> bool {
    matches!(timeout(BODY_WITHIN, call.take_body(body)).await, Ok(Ok(())))
}

/// Reads away a small rest of a body that nobody wants.
async fn drain(headers: &HeaderMap, mut body: Incoming) {
    // A caller that waits for 100 has not sent it yet, and need not.
    if headers.contains_key(HeaderName::from_static("expect")) {
        return;
    }
    let mut drained = 0;
    while drained < DRAINED_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        drained += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

fn early(answer: Answer) -> Early {
    Early::Answer(Box::new(answer))
}

/// Work that has been accepted: it will be done, whoever waits for it.
#[derive(Debug)]
struct Job {
    tenant: Arc<Inner>,
    call: Call,
    permit: Option<Permit>,
    claim: Option<Claim>,
    /// The accounts it changes; `None` if another write changes one of them.
    hold: Option<Hold>,
    fault: Option<FaultKind>,
    began: Instant,
}

impl Job {
    /// Does it, enters it in the ledger, and gives the permit back, unless
    /// the answer is still to be made while it is sent.
    fn execute(self) -> Done {
        let Self { tenant, call, permit, claim, hold, fault, began } = self;
        let contends = match fault {
            Some(FaultKind::Contended) => true,
            Some(FaultKind::Fail { .. }) => false,
            _ => hold.is_none(),
        };
        let mut overtaking = None;
        let (answer, was_done) = match fault {
            _ if contends => {
                tenant.book.count(Event::Contended);
                (answers::contended(&call), false)
            }
            Some(FaultKind::Fail { category, shape, message_bytes }) => {
                let shape = shape.unwrap_or(ErrorShape::of(call.operation.family));
                (shape.failure(category, call.is_modern(), message_bytes, &call.path), false)
            }
            _ => {
                let answered = later::answer(&tenant, &call);
                let answer = match answered {
                    Some(answered) => {
                        overtaking = answered.overtaking;
                        answered.answer
                    }
                    None => tenant.execute(&call),
                };
                (answer, true)
            }
        };
        let label = permit.as_ref().map_or("", Permit::label);
        tenant.book.enter(&Entry {
            began,
            busy_seconds: permit.as_ref().map_or(Duration::ZERO, Permit::held).as_secs_f64(),
            method: &call.method,
            path: &call.path,
            kind: call.operation.kind,
            soap_call: call.soap.as_ref().map(|envelope| envelope.call.as_str()),
            caller: call.caller.as_ref(),
            entity: call.entity.as_deref(),
            limit_type: label,
            in_flight: permit.as_ref().map_or(0, Permit::in_flight),
            track_id: call.header("zuora-track-id"),
            idempotency_key: call.header("idempotency-key"),
            body_bytes: call.body_bytes,
            status: answer.status.as_u16(),
            took_effect: was_done && call.operation.kind.is_write() && answer.succeeded(),
        });
        drop(hold);
        if let Some(claim) = claim {
            claim.keep(&answer, &call.request_id);
        }
        let permit = permit.filter(|_| answer.bytes().is_none());
        Done { answer, call, permit, fault, overtaking }
    }
}

/// Work polled where it is waited for, and handed to a task of its own when
/// nobody waits any more: Zuora does not stop because a caller hangs up.
struct Handoff {
    work: Option<Pin<Box<dyn Future<Output = Done> + Send>>>,
    tenant: Arc<Inner>,
}

impl Handoff {
    fn new(job: Job, time: Duration) -> Self {
        let tenant = Arc::clone(&job.tenant);
        let work = Box::pin(async move {
            sleep(time).await;
            job.execute()
        });
        Self { work: Some(work), tenant }
    }
}

impl Future for Handoff {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Done> {
        let work = self.work.as_mut().expect("nobody polls work that is done");
        let done = std::task::ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(done)
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tenant.carry_on(work);
        }
    }
}
