//! What the tenant executed, refused and counted: the judge's book.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use http::Method;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    credential::{Brought, Credential},
    gate::{Attempt, Caller},
    later::told::AsyncRequest,
    limits::Limits,
    locks::lock,
    operations::OperationKind,
};

/// More apps than this share one line.
const MOST_APPS: usize = 1_000;

/// The line of calls without a track id.
const NO_APP: &str = "(none)";

/// The line of all further apps.
const OTHER_APPS: &str = "(other)";

/// More logins than this are not remembered one by one.
const MOST_LOGINS: usize = 10_000;

/// The longest piece of a path, track id or key that the ledger remembers.
const LONGEST_TEXT: usize = 512;

/// One call that the tenant worked on to the end, whether or not anybody was
/// still there to read the answer. What was handed in under `/v1/async` is here
/// twice: as a call of its own, which changes nothing, and as the call that the
/// tenant made of it, with the path of the synchronous form and no limit type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Counts from 1 since the start or the last reset, in order of completion.
    pub sequence: u64,
    /// When the work began, in milliseconds since the start.
    pub began_ms: u64,
    /// When it was complete, in milliseconds since the start.
    pub at_ms: u64,
    /// The method.
    pub method: String,
    /// The path as received, without the query.
    pub path: String,
    /// What it does.
    pub kind: OperationKind,
    /// The SOAP call, such as `query`, if it was one.
    #[serde(default)]
    pub soap_call: Option<String>,
    /// What said who made it.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// Who made it: the client id, or the name of the API user.
    #[serde(default)]
    pub user: Option<String>,
    /// The entity it was about, if the tenant has several.
    #[serde(default)]
    pub entity: Option<String>,
    /// The limit type it counted against, after its entity if there are several.
    pub limit_type: String,
    /// How many calls of that limit type were being worked on when it began,
    /// itself included. Outsiders are not counted.
    pub in_flight: u32,
    /// The track id up to its first hyphen, as Zuora's own dashboard groups calls.
    pub app: Option<String>,
    /// The whole track id.
    pub track_id: Option<String>,
    /// The `Idempotency-Key`, if there was one.
    pub idempotency_key: Option<String>,
    /// How many bytes of body it came with.
    pub body_bytes: u64,
    /// The HTTP status it ended with.
    pub status: u16,
    /// Whether it changed anything: a write that succeeded, or some of its
    /// rows. What was rolled back or failed did not, and reads never do.
    pub took_effect: bool,
}

/// Writes that are one for whoever asked for them, and that the tenant did
/// more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutedTwice {
    /// The method.
    pub method: String,
    /// The path as received, without the query.
    pub path: String,
    /// The track id that all of them carried.
    pub track_id: String,
    /// How often it took effect.
    pub times: usize,
}

/// One call that was refused for concurrency, before any work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// The limit type it counted against, after its entity if there are several.
    pub limit_type: String,
    /// The track id up to its first hyphen.
    pub app: Option<String>,
    /// The whole track id.
    pub track_id: Option<String>,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginKind {
    /// `POST /oauth/token`.
    Token,
    /// `POST /v1/connections`.
    Connection,
    /// SOAP `login`.
    Soap,
}

/// One login, granted or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// Which of them.
    pub kind: LoginKind,
    /// Who it claimed to be: a client id or a user name.
    pub user: Option<String>,
    /// The entity that it named.
    pub entity: Option<String>,
    /// Whether it got a token or a session.
    pub granted: bool,
}

/// What an app did, by the prefix of its track ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppTotals {
    /// Calls executed.
    pub executed: u64,
    /// Permit-seconds used.
    pub busy_permit_seconds: f64,
}

/// A snapshot of the tenant's book.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The last calls executed, oldest first; at most `Options::ledger_capacity`.
    pub executed: Vec<Executed>,
    /// The last calls refused for concurrency, faults included, oldest first;
    /// as many at most.
    pub refusals: Vec<Refusal>,
    /// All calls executed.
    pub executed_total: u64,
    /// Those of them that write, whatever came of it.
    pub executed_writes: u64,
    /// Those of them that took effect.
    pub effective_writes: u64,
    /// Calls rolled back for lock contention, faults included.
    pub contended_calls: u64,
    /// Seconds since the start, or since the last reset.
    pub elapsed_seconds: f64,
    /// Calls being worked on now, per limit type.
    pub in_flight: BTreeMap<String, u32>,
    /// The most calls ever worked on at once, per limit type. Outsiders are
    /// not counted.
    pub most_in_flight: BTreeMap<String, u32>,
    /// Permits that outsiders hold now, per limit type.
    pub outsiders: BTreeMap<String, u32>,
    /// The limits in force; a type without one is absent.
    pub limits: BTreeMap<String, u32>,
    /// Calls refused for concurrency, faults included.
    pub refused_concurrency: u64,
    /// Those refused because a limit was reached, per limit type.
    pub refused_by_limit_type: BTreeMap<String, u64>,
    /// Calls refused for rate, faults included.
    pub refused_rate: u64,
    /// Calls of `/oauth/token`.
    pub token_calls: u64,
    /// Those of them that got no token.
    pub token_refused: u64,
    /// Calls of `POST /v1/connections`.
    #[serde(default)]
    pub connection_logins: u64,
    /// Those of them that got no session.
    #[serde(default)]
    pub connection_refused: u64,
    /// SOAP calls of `login`.
    #[serde(default)]
    pub soap_logins: u64,
    /// Those of them that got no session.
    #[serde(default)]
    pub soap_refused: u64,
    /// The last logins of any kind, oldest first, as many as of calls.
    #[serde(default)]
    pub logins: Vec<Login>,
    /// What API calls brought along to say who makes them, valid or not, and
    /// how many did: `bearer`, or `bearer+cookie` if they brought both.
    #[serde(default)]
    pub credentials: BTreeMap<String, u64>,
    /// Calls refused for want of a valid credential.
    pub unauthenticated_calls: u64,
    /// Questions of browsers whether they may call.
    #[serde(default)]
    pub preflights: u64,
    /// API calls without a track id.
    pub missing_track_ids: u64,
    /// API calls with a track id that breaks Zuora's rules.
    pub invalid_track_ids: u64,
    /// Calls answered with the outcome kept under their `Idempotency-Key`.
    pub idempotent_replays: u64,
    /// Calls answered 409 because the first with their `Idempotency-Key` was
    /// still being worked on.
    pub idempotent_in_progress: u64,
    /// Calls answered 422 because their `Idempotency-Key` belongs to another.
    pub idempotent_mismatches: u64,
    /// Calls whose body never came to its end; nothing was executed.
    pub unfinished_calls: u64,
    /// Calls that met a fault.
    pub faulted_calls: u64,
    /// Permit-seconds used by calls that are complete, per limit type.
    pub busy_permit_seconds: BTreeMap<String, f64>,
    /// How long a permit was held in the mean.
    pub mean_service_seconds: f64,
    /// What each app did.
    pub apps: BTreeMap<String, AppTotals>,
    /// The last writes accepted under `/v1/async`, oldest first; at most
    /// `Options::ledger_capacity`, and all that are not done yet.
    #[serde(default)]
    pub async_requests: Vec<AsyncRequest>,
    /// All writes accepted under `/v1/async`.
    #[serde(default)]
    pub async_accepted: u64,
    /// Those of them that are not done yet.
    #[serde(default)]
    pub async_pending: u64,
    /// Attempts to send a callout, whatever came of them.
    #[serde(default)]
    pub callout_attempts: u64,
}

impl Ledger {
    /// The executed calls with this track id: more than one write among them
    /// means that a write was done twice.
    pub fn with_track_id<'a>(&'a self, track_id: &'a str) -> impl Iterator<Item = &'a Executed> {
        self.executed.iter().filter(move |one| one.track_id.as_deref() == Some(track_id))
    }

    /// The writes that took effect more than once, told apart by method, path
    /// and track id. It is empty if nothing was done twice, as long as
    /// different writes have different track ids.
    #[must_use]
    pub fn executed_twice(&self) -> Vec<ExecutedTwice> {
        let named = self.effective().filter_map(|one| {
            Some((one.method.as_str(), one.path.as_str(), one.track_id.as_deref()?))
        });
        let twice = count(named).into_iter().filter(|(_, times)| *times > 1);
        twice
            .map(|((method, path, track_id), times)| ExecutedTwice {
                method: method.to_owned(),
                path: path.to_owned(),
                track_id: track_id.to_owned(),
                times,
            })
            .collect()
    }

    /// How many writes took effect under each track id.
    #[must_use]
    pub fn effects_by_track_id(&self) -> BTreeMap<&str, usize> {
        count(self.effective().filter_map(|one| one.track_id.as_deref()))
    }

    /// How many writes took effect under each `Idempotency-Key`.
    #[must_use]
    pub fn effects_by_key(&self) -> BTreeMap<&str, usize> {
        count(self.effective().filter_map(|one| one.idempotency_key.as_deref()))
    }

    /// The asynchronous writes that were accepted with this track id: more
    /// than one means that a write was handed in twice.
    pub fn async_with_track_id<'a>(
        &'a self,
        track_id: &'a str,
    ) -> impl Iterator<Item = &'a AsyncRequest> {
        self.async_requests.iter().filter(move |one| one.track_id.as_deref() == Some(track_id))
    }

    /// The executed calls that changed something.
    pub fn effective(&self) -> impl Iterator<Item = &Executed> {
        self.executed.iter().filter(|one| one.took_effect)
    }

    /// The executed calls that write.
    pub fn writes(&self) -> impl Iterator<Item = &Executed> {
        self.executed.iter().filter(|one| one.kind.is_write())
    }
}

/// Things that are only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    RefusedConcurrency,
    RefusedRate,
    TokenCall,
    TokenRefused,
    ConnectionLogin,
    ConnectionRefused,
    SoapLogin,
    SoapRefused,
    Unauthenticated,
    Preflight,
    MissingTrackId,
    InvalidTrackId,
    Contended,
    IdempotentReplay,
    IdempotentInProgress,
    IdempotentMismatch,
    Unfinished,
    Faulted,
}

const EVENTS: usize = Event::Faulted as usize + 1;

/// The book that snapshots are made of.
#[derive(Debug)]
pub(crate) struct Book {
    born: Instant,
    capacity: usize,
    events: [AtomicU64; EVENTS],
    brought: [AtomicU64; Brought::SETS],
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    since: Instant,
    total: u64,
    writes: u64,
    effective: u64,
    last: VecDeque<Executed>,
    refusals: VecDeque<Refusal>,
    logins: VecDeque<Login>,
    apps: BTreeMap<String, AppTotals>,
}

/// What the road knows of a call that has been executed.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) began: Instant,
    pub(crate) busy_seconds: f64,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) kind: OperationKind,
    pub(crate) soap_call: Option<&'a str>,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) entity: Option<&'a str>,
    pub(crate) limit_type: &'a str,
    pub(crate) in_flight: u32,
    pub(crate) track_id: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) body_bytes: u64,
    pub(crate) status: u16,
    pub(crate) took_effect: bool,
}

impl Book {
    pub(crate) fn new(capacity: usize) -> Self {
        let born = Instant::now();
        Self {
            born,
            capacity,
            events: Default::default(),
            brought: std::array::from_fn(|_| AtomicU64::new(0)),
            entries: Mutex::new(Entries::empty(born)),
        }
    }

    pub(crate) fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal for concurrency, and remembers whose call it was.
    pub(crate) fn refuse(&self, limit_type: &str, track_id: Option<&str>) {
        self.count(Event::RefusedConcurrency);
        if self.capacity == 0 {
            return;
        }
        let refusal = Refusal {
            at_ms: self.now_ms(),
            limit_type: limit_type.to_owned(),
            app: track_id.map(app_of).map(short),
            track_id: track_id.map(short),
        };
        let mut entries = lock(&self.entries);
        if entries.refusals.len() >= self.capacity {
            entries.refusals.pop_front();
        }
        entries.refusals.push_back(refusal);
    }

    /// Counts a login, and remembers whose it was.
    pub(crate) fn enter_login(&self, kind: LoginKind, attempt: &Attempt) {
        let (all, refused) = match kind {
            LoginKind::Token => (Event::TokenCall, Event::TokenRefused),
            LoginKind::Connection => (Event::ConnectionLogin, Event::ConnectionRefused),
            LoginKind::Soap => (Event::SoapLogin, Event::SoapRefused),
        };
        self.count(all);
        if !attempt.granted {
            self.count(refused);
        }
        let login = Login {
            at_ms: self.now_ms(),
            kind,
            user: attempt.user.as_deref().map(short),
            entity: attempt.entity.as_deref().map(short),
            granted: attempt.granted,
        };
        let mut entries = lock(&self.entries);
        if entries.logins.len() >= MOST_LOGINS {
            entries.logins.pop_front();
        }
        entries.logins.push_back(login);
    }

    /// Counts what a call brought along to say who makes it.
    pub(crate) fn count_brought(&self, brought: Brought) {
        self.brought[brought.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn enter(&self, entry: &Entry<'_>) {
        let app = entry.track_id.map(app_of);
        let mut entries = lock(&self.entries);
        entries.total += 1;
        entries.writes += u64::from(entry.kind.is_write());
        entries.effective += u64::from(entry.took_effect);
        entries.charge(app.unwrap_or(NO_APP), entry.busy_seconds);
        if self.capacity == 0 {
            return;
        }
        if entries.last.len() >= self.capacity {
            entries.last.pop_front();
        }
        let executed = Executed {
            sequence: entries.total,
            began_ms: self.ms(entry.began),
            at_ms: self.now_ms(),
            method: entry.method.as_str().to_owned(),
            path: short(entry.path),
            kind: entry.kind,
            soap_call: entry.soap_call.map(short),
            credential: entry.caller.map(|caller| caller.credential),
            user: entry.caller.map(|caller| short(&caller.who.name)),
            entity: entry.entity.map(short),
            limit_type: entry.limit_type.to_owned(),
            in_flight: entry.in_flight,
            app: app.map(short),
            track_id: entry.track_id.map(short),
            idempotency_key: entry.idempotency_key.map(short),
            body_bytes: entry.body_bytes,
            status: entry.status,
            took_effect: entry.took_effect,
        };
        entries.last.push_back(executed);
    }

    /// A snapshot with the last `most` executed and the last `most` refused calls.
    pub(crate) fn snapshot(&self, limits: &Limits, most: usize) -> Ledger {
        let mut ledger = self.counters(limits);
        let entries = lock(&self.entries);
        let skipped = entries.last.len().saturating_sub(most);
        ledger.executed = entries.last.iter().skip(skipped).cloned().collect();
        let skipped = entries.refusals.len().saturating_sub(most);
        ledger.refusals = entries.refusals.iter().skip(skipped).cloned().collect();
        let skipped = entries.logins.len().saturating_sub(most);
        ledger.logins = entries.logins.iter().skip(skipped).cloned().collect();
        ledger
    }

    pub(crate) fn reset(&self) {
        for event in self.events.iter().chain(&self.brought) {
            event.store(0, Ordering::Relaxed);
        }
        *lock(&self.entries) = Entries::empty(Instant::now());
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.ms(Instant::now())
    }

    fn ms(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn brought_by_name(&self) -> BTreeMap<String, u64> {
        let counts = self.brought.iter().map(|count| count.load(Ordering::Relaxed)).enumerate();
        let seen = counts.filter(|(_, count)| *count > 0);
        seen.map(|(index, count)| (Brought::name_of(index), count)).collect()
    }

    fn counters(&self, limits: &Limits) -> Ledger {
        let event = |event: Event| self.events[event as usize].load(Ordering::Relaxed);
        let mut ledger = Ledger {
            refused_concurrency: event(Event::RefusedConcurrency),
            refused_rate: event(Event::RefusedRate),
            token_calls: event(Event::TokenCall),
            token_refused: event(Event::TokenRefused),
            connection_logins: event(Event::ConnectionLogin),
            connection_refused: event(Event::ConnectionRefused),
            soap_logins: event(Event::SoapLogin),
            soap_refused: event(Event::SoapRefused),
            credentials: self.brought_by_name(),
            unauthenticated_calls: event(Event::Unauthenticated),
            preflights: event(Event::Preflight),
            missing_track_ids: event(Event::MissingTrackId),
            invalid_track_ids: event(Event::InvalidTrackId),
            contended_calls: event(Event::Contended),
            idempotent_replays: event(Event::IdempotentReplay),
            idempotent_in_progress: event(Event::IdempotentInProgress),
            idempotent_mismatches: event(Event::IdempotentMismatch),
            unfinished_calls: event(Event::Unfinished),
            faulted_calls: event(Event::Faulted),
            ..Ledger::default()
        };
        let (mut completed, mut busy) = (0_u64, 0.0);
        for pool in limits.counts() {
            completed += pool.completed;
            busy += pool.busy.as_secs_f64();
            if let Some(limit) = pool.limit {
                ledger.limits.insert(pool.label.clone(), limit);
            }
            ledger.in_flight.insert(pool.label.clone(), pool.in_flight);
            ledger.most_in_flight.insert(pool.label.clone(), pool.most_in_flight);
            ledger.outsiders.insert(pool.label.clone(), pool.outsiders);
            ledger.refused_by_limit_type.insert(pool.label.clone(), pool.refused);
            ledger.busy_permit_seconds.insert(pool.label, pool.busy.as_secs_f64());
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean need not be exact")]
        let mean = if completed == 0 { 0.0 } else { busy / completed as f64 };
        ledger.mean_service_seconds = mean;
        let entries = lock(&self.entries);
        ledger.executed_total = entries.total;
        ledger.executed_writes = entries.writes;
        ledger.effective_writes = entries.effective;
        ledger.elapsed_seconds = entries.since.elapsed().as_secs_f64();
        ledger.apps.clone_from(&entries.apps);
        ledger
    }
}

impl Entries {
    fn empty(since: Instant) -> Self {
        let (last, refusals, logins) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let apps = BTreeMap::new();
        Self { since, total: 0, writes: 0, effective: 0, last, refusals, logins, apps }
    }

    fn charge(&mut self, app: &str, busy_seconds: f64) {
        let known = self.apps.contains_key(app);
        let line = if known || self.apps.len() < MOST_APPS { app } else { OTHER_APPS };
        if !self.apps.contains_key(line) {
            self.apps.insert(short(line), AppTotals::default());
        }
        if let Some(totals) = self.apps.get_mut(line) {
            totals.executed += 1;
            totals.busy_permit_seconds += busy_seconds;
        }
    }
}

/// How often each of them is there.
fn count<T: Ord>(all: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

/// What Zuora's System Health dashboard calls the tracing identifier.
fn app_of(track_id: &str) -> &str {
    track_id.split('-').next().unwrap_or(track_id)
}

fn short(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}
