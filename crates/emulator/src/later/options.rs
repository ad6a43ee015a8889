//! How the tenant does writes that are handed in under `/v1/async`, and what goes wrong with them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::service_time::ServiceTime;

/// How writes under `/v1/async` are taken, done and told of.
#[derive(Clone)]
pub struct AsyncWrites {
    /// How long the tenant takes to accept one (Zuora: asynchronous requests guide: less than 150 ms).
    pub submit_time: ServiceTime,
    /// Where the 202 has the id of the request. Zuora's guide does not say; dots make objects, as
    /// in `request.id`.
    pub request_id_field: String,
    /// Whether an `Idempotency-Key` on such a write counts. Zuora documents it nowhere, so it does
    /// not; the older asynchronous orders take it always.
    pub keys_count: bool,
    /// How many accepted writes are done at once; at least one.
    pub workers: usize,
    /// How long an accepted write rests before it is done.
    pub delay: Duration,
    /// How long one takes to do. `None`: as long as its synchronous form, [`super::Options::service_time`].
    pub work_time: Option<ServiceTime>,
    /// How long one that met another write on its account waits before it is tried again.
    pub lock_backoff: Duration,
    /// The HTTP status of `POST /v1/async/orders`: 200 since 2025, or the 202 of older descriptions.
    pub order_status: u16,
    /// Who is told of outcomes from the start; more by `POST /notifications/notification-definitions`.
    pub definitions: Vec<Definition>,
    /// How often a callout is tried in all, while its definition says that it is tried again.
    pub attempts: u32,
    /// How long after an attempt the next one follows.
    pub retry_interval: Duration,
    /// How long a connection for a callout may take.
    pub connect_timeout: Duration,
    /// How long after that the answer to it may take.
    pub answer_timeout: Duration,
    /// How many callouts are under way at once; at least one.
    pub parallel_callouts: usize,
    /// Certificates, as PEM, of the authorities whose servers get callouts over TLS; no others do.
    pub callout_ca: Option<String>,
    /// Whether entries of the callout history have an `id`, by which they can be sent again.
    pub history_ids: bool,
    /// What entries of the callout history tell of the event.
    pub history_context: HistoryContext,
    /// How many entries of the callout history are kept; the oldest go first.
    pub history_capacity: usize,
    /// How likely each mishap is for a write, drawn by lot with the tenant's seed.
    pub mishaps: Vec<(Mishap, f64)>,
    /// How long [`Mishap::Late`] holds a callout back.
    pub late_by: Duration,
    /// How long the 202 waits for the callout of [`Mishap::Early`], at most.
    pub early_within: Duration,
}

impl Default for AsyncWrites {
    fn default() -> Self {
        Self {
            submit_time: ServiceTime::Constant(Duration::from_millis(50)),
            request_id_field: "requestId".to_owned(),
            keys_count: false,
            workers: 8,
            delay: Duration::ZERO,
            work_time: None,
            lock_backoff: Duration::from_millis(200),
            order_status: 200,
            definitions: Vec::new(),
            attempts: 3,
            retry_interval: Duration::from_secs(30 * 60),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(15),
            parallel_callouts: 32,
            callout_ca: None,
            history_ids: true,
            history_context: HistoryContext::Object,
            history_capacity: 100_000,
            mishaps: Vec::new(),
            late_by: Duration::from_millis(500),
            early_within: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for AsyncWrites {
    /// What decides how it behaves; definitions hide their passwords themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncWrites")
            .field("submit_time", &self.submit_time)
            .field("workers", &self.workers)
            .field("delay", &self.delay)
            .field("work_time", &self.work_time)
            .field("definitions", &self.definitions)
            .field("attempts", &self.attempts)
            .field("retry_interval", &self.retry_interval)
            .field("mishaps", &self.mishaps)
            .finish_non_exhaustive()
    }
}

/// What an asynchronous write came to, as notifications name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CalloutEvent {
    /// It was done.
    #[serde(rename = "Async Request Succeeded")]
    Succeeded,
    /// It was not.
    #[serde(rename = "Async Request Failed")]
    Failed,
}

impl CalloutEvent {
    /// Its name in Zuora.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "Async Request Succeeded",
            Self::Failed => "Async Request Failed",
        }
    }

    /// The event of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Succeeded, Self::Failed].into_iter().find(|event| event.name() == name)
    }
}

/// Who is told of an event, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name, unique in the tenant.
    pub name: String,
    /// What it tells of.
    pub event: CalloutEvent,
    /// Where the callout is sent: `https`, or on the loopback `http`.
    pub url: String,
    /// The method it is sent with.
    pub method: String,
    /// The user name and the password of HTTP Basic; `None`: sent without.
    pub credentials: Option<(String, String)>,
    /// Whether the first request has them already. Otherwise they follow once it was answered 401
    /// with a `WWW-Authenticate` that names Basic and a realm.
    pub preemptive: bool,
    /// Whether a callout that did not arrive is tried again.
    pub retries: bool,
    /// Whether anything is sent.
    pub active: bool,
}

impl Definition {
    /// A definition for each event, both sent to `url` with Basic by challenge, as Zuora does
    /// unless told otherwise.
    #[must_use]
    pub fn both(url: &str, username: &str, password: &str) -> Vec<Self> {
        [CalloutEvent::Succeeded, CalloutEvent::Failed]
            .map(|event| Self {
                name: event.name().to_owned(),
                event,
                url: url.to_owned(),
                method: "POST".to_owned(),
                credentials: Some((username.to_owned(), password.to_owned())),
                preemptive: false,
                retries: true,
                active: true,
            })
            .to_vec()
    }

    /// The same definition, with its credentials on the first request.
    #[must_use]
    pub fn preemptive(self) -> Self {
        Self { preemptive: true, ..self }
    }
}

impl fmt::Debug for Definition {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("event", &self.event)
            .field("url", &self.url)
            .field("method", &self.method)
            .field("username", &self.credentials.as_ref().map(|(username, _)| username))
            .field("preemptive", &self.preemptive)
            .field("retries", &self.retries)
            .field("active", &self.active)
            .finish()
    }
}

/// What an entry of the callout history has as its `eventContext`. Zuora's description says text,
/// its sample shows an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryContext {
    /// What the callout said, as an object.
    Object,
    /// The same, as a text of JSON.
    Text,
    /// Nothing of it.
    Absent,
}

/// Something that goes wrong with one asynchronous write or with its callout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mishap {
    /// The write fails for a business rule.
    Fails,
    /// The write fails, with reasons of 60 KB.
    LongReasons,
    /// The callout comes twice, under one notification id.
    Duplicated,
    /// The callout is held back, so that later ones overtake it.
    Late,
    /// The callout comes before the 202 is answered.
    Early,
    /// A callout that says the opposite follows, under another notification id.
    Contradicted,
    /// The callout is not sent, and the history has it as failed.
    Lost,
    /// The callout is not sent, and the history does not have it.
    Vanished,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Fails,
        Self::LongReasons,
        Self::Duplicated,
        Self::Late,
        Self::Early,
        Self::Contradicted,
        Self::Lost,
        Self::Vanished,
    ];

    /// Its name in options and controls.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::LongReasons => "long_reasons",
            Self::Duplicated => "duplicated",
            Self::Late => "late",
            Self::Early => "early",
            Self::Contradicted => "contradicted",
            Self::Lost => "lost",
            Self::Vanished => "vanished",
        }
    }
}

impl FromStr for Mishap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join("`, `");
            format!("no mishap is called `{text}`; there are `{names}`")
        })
    }
}
