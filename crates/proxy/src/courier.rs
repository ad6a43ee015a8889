//! Carries outcomes to the addresses that apps named.
//!
//! Each such app has a courier of its own, so that one whose address is dead holds up nobody. What is to be carried, and
//! when, is durable and the registry's to say: a courier only asks, carries, and says what became of it. It may carry
//! something twice, if it is ended in between, and never forgets anything.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_requests::{Delivery, Key, Record, Registry, State, StoreError};
use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use telemetry::Metrics;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::upstream::Connector;

/// How long one attempt may take, from connecting to the end of the answer's head.
const PATIENCE: Duration = Duration::from_secs(10);

/// Outcomes that are on their way to one app at a time.
const PLACES: usize = 8;

/// How much of an answer is read, so that its connection can be used again. Nothing in it matters.
const LONGEST_ANSWER: usize = 64 * 1024;

/// How long the rest of an answer may take to come, for the sake of the connection.
const REST: Duration = Duration::from_secs(1);

/// How long a connection may lie idle.
const IDLE: Duration = Duration::from_secs(15);

/// How long to wait before the registry is asked again, after it could not read or write.
const RECOVERY: Duration = Duration::from_secs(5);

/// How long to wait before the registry is asked again, if nobody says that there is more: whoever writes an outcome down
/// may be unable to say so.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What is under way when a courier is ended may take this much longer.
const GRACE: Duration = Duration::from_secs(2);

/// An address that failed so often in a row is asked less: one outcome at a time, and with pauses.
const LULL_AFTER: u32 = 4;
const LONGEST_LULL: Duration = Duration::from_secs(30);

/// The same for every attempt to deliver an outcome, and for no other outcome.
const DELIVERY: HeaderName = HeaderName::from_static("zuora-gateway-delivery");
/// When an attempt was made, in seconds since 1970.
const TIMESTAMP: HeaderName = HeaderName::from_static("zuora-gateway-timestamp");
/// What proves that the gateway made it: `v1=` and the HMAC-SHA-256, in hexadecimal digits, of the timestamp, a full stop,
/// and the body.
const SIGNATURE: HeaderName = HeaderName::from_static("zuora-gateway-signature");

/// Where an app has its outcomes forwarded to, and the secret that they are signed with. `Debug` does not show the secret.
#[derive(Clone)]
pub struct Destination {
    url: Uri,
    secret: Arc<str>,
    connector: Connector,
}

impl Destination {
    /// At `url`, which is absolute and reached through `connector`; signed with `secret`.
    #[must_use]
    pub fn new(url: Uri, secret: &str, connector: Connector) -> Self {
        Self { url, secret: secret.into(), connector }
    }

    /// Whether whoever carries to one of them can go on with the other.
    fn is_same(&self, other: &Self) -> bool {
        self.url == other.url && self.secret == other.secret
    }

    fn sign(&self, timestamp: u64, body: &[u8]) -> String {
        let mut signing =
            hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes()));
        signing.update(timestamp.to_string().as_bytes());
        signing.update(b".");
        signing.update(body);
        format!("v1={}", hexadecimal(signing.sign().as_ref()))
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The couriers of all apps that have their outcomes forwarded.
#[derive(Debug)]
pub struct Couriers {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    employed: Mutex<HashMap<Arc<str>, Employed>>,
}

#[derive(Debug)]
struct Employed {
    destination: Destination,
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Couriers {
    /// Nobody's yet, for what `registry` has.
    #[must_use]
    pub fn new(registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        Self { registry, metrics, employed: Mutex::default() }
    }

    /// Carries the outcomes of these apps to their destinations from now on, and of no others. A courier whose
    /// destination stays goes on as it was. Must be called within a runtime.
    pub fn follow(&self, destinations: HashMap<Arc<str>, Destination>) {
        self.registry.forward_to(destinations.keys().map(Arc::clone));
        let mut employed = self.employed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *employed);
        for (app, destination) in destinations {
            let courier = match before.remove(&app) {
                Some(known) if known.destination.is_same(&destination) => known,
                known => self.employ(&app, destination, known),
            };
            employed.insert(app, courier);
        }
        before.into_values().for_each(|gone| gone.stop.cancel());
    }

    /// A courier for `app`, who begins when the one `before` has ended: two would carry the same.
    fn employ(
        &self,
        app: &Arc<str>,
        destination: Destination,
        before: Option<Employed>,
    ) -> Employed {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(LONGEST_ANSWER)
            .build(destination.connector.clone());
        let courier = Courier {
            app: Arc::clone(app),
            destination: destination.clone(),
            client,
            registry: Arc::clone(&self.registry),
            metrics: Arc::clone(&self.metrics),
        };
        let stop = CancellationToken::new();
        let running = Arc::new(courier).run(stop.clone());
        let work = tokio::spawn(async move {
            if let Some(Employed { stop, work, .. }) = before {
                stop.cancel();
                // Its panic was counted and logged.
                let _ = work.await;
            }
            running.await;
        });
        Employed { destination, stop, work }
    }

    /// Ends all of them. What is under way gets two seconds to end, and is carried again in the next life if it did not.
    pub async fn stop(&self) {
        let employed =
            std::mem::take(&mut *self.employed.lock().unwrap_or_else(PoisonError::into_inner));
        employed.values().for_each(|courier| courier.stop.cancel());
        for courier in employed.into_values() {
            // Its panic was counted and logged.
            let _ = courier.work.await;
        }
    }
}

/// Carries the outcomes of one app.
#[derive(Debug)]
struct Courier {
    app: Arc<str>,
    destination: Destination,
    client: Client<Connector, Full<Bytes>>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

/// What is on its way to an app, and how its address has been doing.
#[derive(Debug, Default)]
struct Round {
    /// Each ends with why the app did not take an outcome, if it did not.
    under_way: JoinSet<Option<String>>,
    carried: HashMap<task::Id, Key>,
    lull: Lull,
}

impl Courier {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut round = Round::default();
        loop {
            let next = match self.set_out(&mut round).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(app = &*self.app, %error, "cannot tell which outcomes are to be forwarded");
                    Some(Instant::now() + RECOVERY)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                trouble = round.ended() => self.learn(&mut round.lull, trouble.as_deref()),
                () = self.registry.undelivered_grows(&self.app) => {}
                () = sleep_until(next.unwrap_or_else(|| Instant::now() + LOOK_AGAIN)) => {}
            }
        }
        let _ = timeout(GRACE, round.under_way.join_all()).await;
    }

    /// Sets out with all that is due, as far as there are places, and returns when to look again.
    async fn set_out(self: &Arc<Self>, round: &mut Round) -> Result<Option<Instant>, StoreError> {
        let now = Instant::now();
        let places = round.lull.places(now);
        // Whoever comes back makes room, unless the address is to be left alone.
        let until_there_is_room = round.lull.until.filter(|until| *until > now);
        if round.carried.len() >= places {
            return Ok(until_there_is_room);
        }
        // What is under way is still due, and comes first.
        let due = self.registry.undelivered(&self.app, 2 * PLACES).await?;
        for record in due {
            if round.carried.values().any(|key| *key == record.key) {
                continue;
            }
            let due = record.delivery.as_ref().and_then(Delivery::due_at);
            let wait = due.and_then(|due| due.duration_since(self.registry.now()).ok());
            let wait = wait.unwrap_or_default();
            if !wait.is_zero() {
                return Ok(Some(now + wait));
            }
            if round.carried.len() >= places {
                return Ok(until_there_is_room);
            }
            let key = record.key.clone();
            let carrying = round.under_way.spawn(Arc::clone(self).carry(record));
            round.carried.insert(carrying.id(), key);
        }
        Ok(None)
    }

    /// Carries an outcome to its app, and returns why the app did not take it, if so, once what became of it is durable.
    async fn carry(self: Arc<Self>, record: Record) -> Option<String> {
        let (tenant, track_id) = (&*record.key.tenant, &*record.key.track_id);
        let counted = self.metrics.async_requests(tenant, &self.app);
        let trouble = self.deliver(&record).await.err().map(|trouble| trouble.to_string());
        let became = match &trouble {
            None => telemetry::Delivery::Delivered,
            Some(trouble) if self.failed(&record, trouble).await.is_dead() => {
                let app = &*self.app;
                tracing::warn!(
                    tenant,
                    app,
                    track_id,
                    trouble,
                    "an outcome could not be forwarded and is not tried again"
                );
                telemetry::Delivery::Dead
            }
            Some(trouble) => {
                let app = &*self.app;
                tracing::debug!(tenant, app, track_id, trouble, "an outcome was not taken");
                telemetry::Delivery::Failed
            }
        };
        counted.delivery(became);
        if trouble.is_none() {
            self.until_durable(|| self.registry.delivered(&record)).await;
        }
        trouble
    }

    async fn failed(&self, record: &Record, trouble: &str) -> Delivery {
        let jitter = rand::random();
        self.until_durable(|| self.registry.not_delivered(record, trouble, jitter)).await
    }

    /// Does it until it could be written down: an outcome that was delivered, and is still due, would be delivered again
    /// at once.
    async fn until_durable<T, Done>(&self, write: impl Fn() -> Done) -> T
    where
        Done: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match write().await {
                Ok(written) => return written,
                Err(error) => {
                    tracing::warn!(app = &*self.app, %error, "cannot note what became of an outcome");
                    sleep(RECOVERY).await;
                }
            }
        }
    }

    async fn deliver(&self, record: &Record) -> Result<(), NotDelivered> {
        let answer = timeout(PATIENCE, self.client.request(self.letter(record))).await;
        let answer = answer.map_err(|_| NotDelivered::Silent)??;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            return Err(NotDelivered::Answered(head.status));
        }
        // For the sake of the connection only, which is closed if there is more of it.
        let _ = timeout(REST, Limited::new(body, LONGEST_ANSWER).collect()).await;
        Ok(())
    }

    /// What is sent.
    fn letter(&self, record: &Record) -> Request<Full<Bytes>> {
        let id = delivery_id(record);
        let mut told = record.to_json();
        told.insert("deliveryId".to_owned(), id.as_str().into());
        let body = serde_json::Value::Object(told).to_string();
        // What the receiver compares with its own clock, which may have been set since this process began.
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = since_1970.unwrap_or_default().as_secs();
        let signature = self.destination.sign(timestamp, body.as_bytes());

        let mut request = Request::new(Full::from(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.destination.url.clone();
        let fields = request.headers_mut();
        let printable = |text: &str| HeaderValue::from_str(text).expect("digits are printable");
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let agent = concat!("zuora-gateway/", env!("CARGO_PKG_VERSION"));
        fields.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        fields.insert(DELIVERY, printable(&id));
        fields.insert(TIMESTAMP, HeaderValue::from(timestamp));
        fields.insert(SIGNATURE, printable(&signature));
        request
    }

    fn learn(&self, lull: &mut Lull, trouble: Option<&str>) {
        let was_lull = lull.is_one();
        lull.learn(trouble.is_none(), Instant::now());
        match (was_lull, lull.is_one()) {
            (false, true) => {
                let app = &*self.app;
                tracing::warn!(app, trouble, "the app does not take its outcomes: they wait");
            }
            (true, false) => tracing::info!(app = &*self.app, "the app takes its outcomes again"),
            _ => {}
        }
    }
}

impl Round {
    /// Resolves to why it was not delivered, if so, once one of those under way has ended.
    async fn ended(&mut self) -> Option<String> {
        let (id, trouble) = match self.under_way.join_next_with_id().await {
            Some(Ok(ended)) => ended,
            // It panicked, which was counted and logged.
            Some(Err(error)) => (error.id(), Some("it panicked".to_owned())),
            None => std::future::pending().await,
        };
        self.carried.remove(&id);
        trouble
    }
}

/// Why an app did not take an outcome.
#[derive(Debug)]
enum NotDelivered {
    Unanswered(ClientError),
    Silent,
    Answered(StatusCode),
}

impl From<ClientError> for NotDelivered {
    fn from(cause: ClientError) -> Self {
        Self::Unanswered(cause)
    }
}

impl fmt::Display for NotDelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(cause) => f.write_str(&chain(cause)),
            Self::Silent => write!(f, "no answer within {} s", PATIENCE.as_secs()),
            Self::Answered(status) => write!(f, "answered {}", status.as_u16()),
        }
    }
}

/// How an address has been doing.
#[derive(Debug, Default)]
struct Lull {
    failed_in_a_row: u32,
    /// When to try again, if it failed often.
    until: Option<Instant>,
}

impl Lull {
    fn is_one(&self) -> bool {
        self.until.is_some()
    }

    /// How many outcomes may be on their way now.
    fn places(&self, now: Instant) -> usize {
        match self.until {
            None => PLACES,
            Some(until) => usize::from(until <= now),
        }
    }

    fn learn(&mut self, delivered: bool, now: Instant) {
        if delivered {
            *self = Self::default();
            return;
        }
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        if let Some(more) = self.failed_in_a_row.checked_sub(LULL_AFTER) {
            let pause = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(more));
            self.until = Some(now + pause.min(LONGEST_LULL));
        }
    }
}

/// Names one outcome: an outcome that replaces "unknown" is another. A track id may be used again once its record is
/// forgotten, so the moment counts as well.
fn delivery_id(record: &Record) -> String {
    let mut named = digest::Context::new(&digest::SHA256);
    let begun = record.begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let begun = begun.as_secs().to_string();
    let unknown = if record.state == State::Unknown { "unknown" } else { "known" };
    for part in [&record.key.tenant, &record.key.track_id, &*begun, unknown] {
        named.update(part.as_bytes());
        named.update(b"\0");
    }
    hexadecimal(&named.finish().as_ref()[..16])
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
