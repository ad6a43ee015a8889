//! Writes that are handed in under `/v1/async`, done later by the tenant's own workers, and told of
//! by callouts: their whole life, after Zuora's guide to asynchronous requests and its pages on
//! callouts. What these leave open is an option.

mod calendar;
mod definitions;
mod history;
mod jobs;
pub(crate) mod lots;
pub(crate) mod options;
mod outcome;
mod sender;
mod tell;
pub(crate) mod told;
mod work;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    sync::{Semaphore, oneshot, watch},
};
use uuid::Uuid;

use self::{
    calendar::Calendar,
    definitions::Definitions,
    history::History,
    jobs::Jobs,
    lots::Lots,
    options::{AsyncWrites, Mishap},
    told::{AsyncOutcome, AsyncRequest, CalloutAttempt},
    work::Accepted,
};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
    ledger::Ledger,
    locks::lock,
    options::Options,
    server::Inner,
};

/// Operations that Zuora takes under `/v1/async` and never tells the outcome of (its guide's
/// limitations; orders have jobs).
const UNTOLD: [(&str, &[&str]); 4] = [
    ("PUT", &["v1", "journal-runs", "*", "cancel"]),
    ("PUT", &["v1", "accounting-periods", "*", "run-trial-balance"]),
    ("DELETE", &["v1", "billing-documents", "files", "deletion-jobs", "*"]),
    ("POST", &["v1", "billing-documents", "files", "deletion-jobs"]),
];

/// Opens the connection that a callout goes over, in place of a socket.
pub(crate) type Road = Arc<dyn Fn(&str) -> std::io::Result<DuplexStream> + Send + Sync>;

/// Everything that asynchronous writes share.
pub(crate) struct Later {
    pub(crate) options: AsyncWrites,
    calendar: Calendar,
    requests: Mutex<Requests>,
    jobs: Mutex<Jobs>,
    definitions: Mutex<Definitions>,
    history: Mutex<History>,
    lots: Mutex<Lots>,
    workers: Semaphore,
    couriers: Semaphore,
    /// Whether workers rest.
    paused: watch::Sender<bool>,
    /// How many writes and callouts have not come to their end.
    under_way: watch::Sender<usize>,
    road: Mutex<Option<Road>>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// The asynchronous part of the ledger.
#[derive(Debug, Default)]
struct Requests {
    capacity: usize,
    accepted: u64,
    ended: u64,
    attempts: u64,
    /// Never begins anew, so that work from before a reset is not taken for another's.
    serial: u64,
    known: BTreeMap<u64, AsyncRequest>,
}

/// What a call comes to that is answered here.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    /// The answer waits for this, but not for long.
    pub(crate) overtaking: Option<oneshot::Receiver<()>>,
}

/// Counts as under way while it is held.
struct UnderWay(Arc<Inner>);

impl Later {
    /// # Errors
    ///
    /// When the authorities for callouts are no certificates.
    pub(crate) fn new(options: &Options) -> std::io::Result<Self> {
        let authorities = options.async_writes.callout_ca.as_deref();
        let tls = authorities.map(sender::tls).transpose()?;
        Ok(Self { tls, road: Mutex::new(None), ..Self::in_memory(options) })
    }

    /// The same, for a tenant without sockets: its callouts arrive nowhere until they are shown a
    /// road.
    pub(crate) fn in_memory(options: &Options) -> Self {
        let own = options.async_writes.clone();
        let capacity = options.ledger_capacity;
        Self {
            calendar: Calendar::new(),
            requests: Mutex::new(Requests { capacity, ..Requests::default() }),
            jobs: Mutex::default(),
            definitions: Mutex::new(Definitions::new(&own.definitions)),
            history: Mutex::new(History::new(own.history_capacity)),
            lots: Mutex::new(Lots::new(&own.mishaps, options.seed)),
            workers: Semaphore::new(own.workers.max(1)),
            couriers: Semaphore::new(own.parallel_callouts.max(1)),
            paused: watch::Sender::new(false),
            under_way: watch::Sender::new(0),
            road: Mutex::new(Some(Arc::new(|_| Err(std::io::ErrorKind::NotConnected.into())))),
            tls: None,
            options: own,
        }
    }

    pub(crate) fn set_definitions(&self, definitions: &[options::Definition]) {
        *lock(&self.definitions) = Definitions::new(definitions);
    }

    pub(crate) fn definitions(&self) -> Vec<options::Definition> {
        lock(&self.definitions).all()
    }

    /// Whether an `Idempotency-Key` counts on a write that is handed in.
    pub(crate) fn takes_key(&self, call: &Call) -> bool {
        self.options.keys_count || jobs::kind_of(call).is_some()
    }

    pub(crate) fn set_road(&self, road: Road) {
        *lock(&self.road) = Some(road);
    }

    pub(crate) fn plan(&self, mishap: Mishap, times: usize) {
        lock(&self.lots).plan(mishap, times);
    }

    pub(crate) fn set_mishaps(&self, mishaps: &[(Mishap, f64)]) {
        lock(&self.lots).set(mishaps);
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Waits until no write and no callout is under way.
    pub(crate) async fn idle(&self) {
        let mut under_way = self.under_way.subscribe();
        // The sender lives as long as we do.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }

    /// Enters what the ledger tells: the counters, and the last `most` requests.
    pub(crate) fn tell_ledger(&self, ledger: &mut Ledger, most: usize) {
        let requests = lock(&self.requests);
        ledger.async_accepted = requests.accepted;
        ledger.async_pending = requests.accepted - requests.ended;
        ledger.callout_attempts = requests.attempts;
        let skipped = requests.known.len().saturating_sub(most);
        ledger.async_requests = requests.known.values().skip(skipped).cloned().collect();
    }

    pub(crate) fn reset(&self) {
        lock(&self.requests).reset();
        lock(&self.lots).forget_plan();
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Requests {
    /// Enters a new one: its serial number.
    fn enter(&mut self, request: AsyncRequest) -> u64 {
        self.accepted += 1;
        self.serial += 1;
        self.known.insert(self.serial, AsyncRequest { sequence: self.accepted, ..request });
        self.serial
    }

    fn change(&mut self, serial: u64, change: impl FnOnce(&mut AsyncRequest)) {
        if let Some(request) = self.known.get_mut(&serial) {
            change(request);
        }
    }

    fn end(&mut self, serial: u64, at_ms: u64, outcome: AsyncOutcome) {
        if !self.known.contains_key(&serial) {
            return;
        }
        self.ended += 1;
        self.change(serial, |request| {
            request.ended_ms = Some(at_ms);
            request.outcome = Some(outcome);
        });
    }

    fn enter_attempt(&mut self, serial: u64, attempt: CalloutAttempt) {
        self.attempts += 1;
        self.change(serial, |request| request.callouts.push(attempt));
    }

    /// Lets the oldest go that are done, as far as there are too many.
    fn trim(&mut self) {
        while self.known.len() > self.capacity {
            let done = self.known.iter().find(|(_, one)| one.outcome.is_some());
            let Some(serial) = done.map(|(serial, _)| *serial) else { return };
            self.known.remove(&serial);
        }
    }

    fn reset(&mut self) {
        *self = Self { capacity: self.capacity, serial: self.serial, ..Self::default() };
    }
}

impl UnderWay {
    fn new(tenant: &Arc<Inner>) -> Self {
        tenant.later.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(tenant))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.later.under_way.send_modify(|count| *count -= 1);
    }
}

/// Answers a call that is about asynchronous writes; `None`: it is not.
pub(crate) fn answer(tenant: &Arc<Inner>, call: &Call) -> Option<Answered> {
    let later = &tenant.later;
    let answer = match (call.method.as_str(), call.parts().as_slice()) {
        (_, ["v1", "async", ..]) => return Some(submit(tenant, call)),
        ("GET", ["v1", "async-jobs", id]) => lock(&later.jobs).answer(id),
        ("GET", ["v1", "notification-history", "callout"]) => {
            lock(&later.history).answer(call, &later.options, &later.calendar)
        }
        ("POST", ["notifications", "callout-histories", "resend"]) => tell::again(tenant, call),
        (_, ["notifications", "notification-definitions", rest @ ..]) => {
            lock(&later.definitions).answer(call, rest, &later.calendar)?
        }
        _ => return None,
    };
    Some(Answered { answer, overtaking: None })
}

/// Takes a write in, to be done later.
fn submit(tenant: &Arc<Inner>, call: &Call) -> Answered {
    if let Some(refusal) = refused(call) {
        return Answered { answer: refusal, overtaking: None };
    }
    let later = &tenant.later;
    let job = jobs::kind_of(call);
    let id = Uuid::new_v4().simple().to_string();
    let mishaps = if job.is_some() { Vec::new() } else { lock(&later.lots).draw() };
    let (overtakes, overtaking) = if mishaps.contains(&Mishap::Early) {
        let (overtakes, overtaking) = oneshot::channel();
        (Some(overtakes), Some(overtaking))
    } else {
        (None, None)
    };
    let serial = lock(&later.requests).enter(AsyncRequest {
        sequence: 0,
        request_id: id.clone(),
        track_id: call.header("zuora-track-id").map(str::to_owned),
        method: call.method.to_string(),
        path: call.path.clone(),
        idempotency_key: call.header("idempotency-key").map(str::to_owned),
        is_job: job.is_some(),
        accepted_ms: tenant.book.now_ms(),
        ended_ms: None,
        lock_retries: 0,
        outcome: None,
        mishaps: mishaps.clone(),
        callouts: Vec::new(),
    });
    let answer = match job {
        Some(_) => job_accepted(tenant, call, &id),
        None => Answer::json(
            StatusCode::ACCEPTED,
            &nested(&later.options.request_id_field, id.clone().into()),
        ),
    };
    if job.is_some() {
        lock(&later.jobs).begin(&id);
    }
    let accepted = Accepted {
        serial,
        id,
        is_told: is_told(call),
        call: call.synchronous(),
        url: tenant.link_to(&call.target),
        created: later.calendar.now(),
        job,
        mishaps,
        overtakes,
    };
    let under_way = UnderWay::new(tenant);
    tenant.carry_on(Box::pin(work::run(Arc::clone(tenant), accepted, under_way)));
    Answered { answer, overtaking }
}

/// The refusal of what cannot be done later.
fn refused(call: &Call) -> Option<Answer> {
    let refuse = |message: &str| {
        let family = call.operation.family;
        Some(answers::failure(family, call.is_modern(), Category::Method, message))
    };
    if !matches!(call.method, Method::POST | Method::PUT | Method::DELETE) {
        return refuse("Only POST, PUT and DELETE can be made asynchronously.");
    }
    if matches!(call.parts().as_slice(), ["v1", "async"] | ["v1", "async", "action" | "async", ..])
    {
        return refuse("This operation cannot be made asynchronously.");
    }
    // The older deletion of an order has no body.
    let is_json = call.header("content-type").is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    if !is_json && jobs::kind_of(call).is_none() {
        return refuse("Asynchronous requests are made with Content-Type application/json.");
    }
    None
}

fn is_told(call: &Call) -> bool {
    let parts = call.parts();
    let inner = [&parts[..1], &parts[2..]].concat();
    !UNTOLD.iter().any(|(method, path)| {
        call.method.as_str() == *method
            && path.len() == inner.len()
            && path.iter().zip(&inner).all(|(wanted, part)| *wanted == "*" || wanted == part)
    })
}

fn job_accepted(tenant: &Inner, call: &Call, id: &str) -> Answer {
    let is_order = call.parts().as_slice() == ["v1", "async", "orders"];
    let told = if is_order { tenant.later.options.order_status } else { 202 };
    let status = StatusCode::from_u16(told).unwrap_or(StatusCode::OK);
    let answer = Answer::json(status, &json!({"jobId": id, "success": true}));
    match HeaderValue::try_from(tenant.link_to(&format!("/v1/async-jobs/{id}"))) {
        Ok(place) => answer.with(header::LOCATION, place),
        Err(_) => answer,
    }
}

/// `request.id` and a value as `{"request": {"id": value}}`.
fn nested(field: &str, value: Value) -> Value {
    field.rsplit('.').fold(value, |inner, name| json!({name: inner}))
}
