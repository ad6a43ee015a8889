//! What is known of one call, from its first byte to its last, and the one place where that is told.

use std::net::IpAddr;
use std::sync::Arc;

use admission::Shed;
use credentials::{ClientCertificate, Unauthenticated};
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode};
use telemetry::{AppMetrics, Source, Verdict};
use tokio::time::{Duration, Instant};
use zuora::soap::Head;
use zuora::{Operation, TrackId};

use crate::arrival::Arrival;
use crate::caller::{Caller, Door};
use crate::dialect::Dialect;
use crate::error::{BoxError, Error, Executed};
use crate::headers;
use crate::key::is_read;
use crate::outcomes;
use crate::peer::{Peer, Port};
use crate::proxy::A_MOMENT;
use crate::route::{App, Route};

/// The status in logs and metrics of a call whose caller left before it was answered; nginx's word for it.
const CALLER_LEFT: u16 = 499;

/// A call in progress. Dropping it ends it: it is counted and logged as whatever it had come to by then.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) started: Instant,
    pub(crate) track_id: Option<TrackId>,
    pub(crate) peer: Option<IpAddr>,
    method: Method,
    target: Option<PathAndQuery>,
    /// How it reached us.
    pub(crate) arrival: Arrival,
    /// In which language its caller understands a failure.
    pub(crate) dialect: Dialect,
    /// What the head of its envelope says, if it is a SOAP call.
    pub(crate) envelope: Option<Box<Head>>,
    /// The names in the certificate of whoever is at the other end.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
    /// Who called, once that is known.
    pub(crate) caller: Option<Caller>,
    /// Whose credential it showed that was not right, as far as it is a configured app's.
    claimed: Option<Arc<App>>,
    /// Why the caller is not known.
    unknown_for: Option<&'static str>,
    /// Whether it showed a credential that was not right.
    pub(crate) is_failed_attempt: bool,
    /// Why it was refused, where the answer has OAuth's shape and is no [`Error`].
    pub(crate) refused: Option<&'static str>,
    /// Whether Zuora made it, or whoever says to be Zuora: then it is no call of an app.
    pub(crate) is_callout: bool,
    /// What is answered where it came in.
    pub(crate) port: Port,
    /// Where it goes, once that is known.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) operation: Option<&'static Operation>,
    /// How long its caller is willing to wait for the answer, as far as that counts.
    pub(crate) prefers: Option<Duration>,
    /// Whether its caller finds its outcome here.
    pub(crate) is_remembered: bool,
    /// Whether Zuora took it, to carry it out later.
    pub(crate) is_async: bool,
    /// Why it is carried out at once, if its caller asked for something else.
    pub(crate) not_async: Option<&'static str>,
    /// Counts the call as long as nobody is known to have made it.
    stranger: AppMetrics,

    /// What it is doing now, and since when; `None` while the gateway itself is at work.
    phase: Option<(Phase, Instant)>,
    /// How long it did each, in the order of [`Phase`].
    spent: [Duration; Phase::COUNT],
    waited_for: Option<&'static str>,
    would_have_waited_for: Option<&'static str>,
    pub(crate) attempts: u32,
    /// Those of them that do not count: Zuora certainly executed nothing.
    pub(crate) uncounted: u32,
    /// Whether an attempt was repeated with a fresh token.
    pub(crate) reauthenticated: bool,
    /// Why the last attempt is to be repeated, until it is.
    pub(crate) repeats: Option<Verdict>,
    /// Why the last attempt is not repeated that another might have cured.
    pub(crate) not_repeated: Option<&'static str>,
    /// How an attempt ended that Zuora may have executed, until Zuora has told its outcome.
    pub(crate) doubt: Option<BoxError>,
    /// Whether its answer is the one that Zuora gave to another call which asked the same.
    pub(crate) is_shared: bool,
    /// Whether the answer may be the kept one of an earlier attempt.
    pub(crate) is_replayed: bool,
    /// What is to be told with an answer of Zuora's that leaves it open.
    pub(crate) executed: Option<Executed>,
    /// The key of ours that the call goes by, if it has one.
    pub(crate) our_key: Option<HeaderValue>,

    answered: Option<Answered>,
    bytes: u64,
    /// How long the answer's body was announced to be.
    length: Option<u64>,
    complete: bool,
}

/// Where the time of a call goes, other than into the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queue,
    Token,
    Upstream,
}

impl Phase {
    const COUNT: usize = 3;
}

#[derive(Debug)]
struct Answered {
    status: StatusCode,
    source: Source,
    error: Option<&'static str>,
    cause: Option<String>,
    executed: Option<Executed>,
    zuora_request_id: Option<HeaderValue>,
    overhead: Duration,
}

impl Call {
    pub(crate) fn begin<B>(request: &Request<B>, peer: &Peer, stranger: AppMetrics) -> Self {
        Self {
            started: Instant::now(),
            track_id: None,
            peer: peer.address,
            arrival: Arrival::of(request, peer.is_tls),
            dialect: Dialect::default(),
            envelope: None,
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            certificate: peer.certificate.clone(),
            caller: None,
            claimed: None,
            unknown_for: None,
            is_failed_attempt: false,
            refused: None,
            is_callout: false,
            port: peer.port,
            route: None,
            operation: None,
            prefers: None,
            is_remembered: false,
            is_async: false,
            not_async: None,
            stranger,
            phase: None,
            spent: [Duration::ZERO; Phase::COUNT],
            waited_for: None,
            would_have_waited_for: None,
            attempts: 0,
            uncounted: 0,
            reauthenticated: false,
            repeats: None,
            not_repeated: None,
            doubt: None,
            is_shared: false,
            is_replayed: false,
            executed: None,
            our_key: None,
            answered: None,
            bytes: 0,
            length: None,
            complete: false,
        }
    }

    /// The track id, minted now if the call failed before it had one.
    pub(crate) fn track_id(&mut self) -> &TrackId {
        self.track_id.get_or_insert_with(|| TrackId::mint("gateway"))
    }

    /// Whether it goes by Zuora's single-use credential, so that nothing is to be added to it.
    pub(crate) fn is_single_use(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.door == Door::SingleUse)
    }

    /// Begins a phase. It ends with [`Self::leave`], or with the call if its caller leaves.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = Some((phase, Instant::now()));
    }

    /// Ends the phase, and says how long it was.
    pub(crate) fn leave(&mut self) -> Duration {
        let Some((phase, since)) = self.phase.take() else { return Duration::ZERO };
        let took = since.elapsed();
        self.spent[phase as usize] += took;
        took
    }

    /// How long it has waited for its turn, all in all.
    pub(crate) fn queued_for(&self) -> Duration {
        self.spent(Phase::Queue)
    }

    fn spent(&self, phase: Phase) -> Duration {
        self.spent[phase as usize]
    }

    /// Notes that the caller did not prove who it is, but claims to be this app.
    pub(crate) fn rejected(&mut self, stranger: Unauthenticated, claimed: Option<Arc<App>>) {
        self.is_failed_attempt |= !stranger.is_missing();
        self.claimed = claimed;
        self.unknown_for = Some(stranger.reason());
    }

    /// Notes that the call waited for `reason`; the first reason is the one that is told.
    pub(crate) fn waited(&mut self, reason: &'static str) {
        self.waited_for.get_or_insert(reason);
    }

    /// Notes why the call had waited that was turned away with `error`.
    pub(crate) fn turned_away(&mut self, error: &Error) {
        let has_waited = self.phase.is_some_and(|(_, since)| since.elapsed() > A_MOMENT);
        if let (Error::Shed(shed), true) = (error, has_waited) {
            self.waited(match shed {
                Shed::Down { .. } => "down",
                Shed::Cooldown { .. } => "cooldown",
                Shed::RateLimited { .. } => "rate",
                Shed::QueueTimeout { .. }
                | Shed::QueueFull { .. }
                | Shed::QueueBytes { .. }
                | Shed::Hopeless { .. } => "capacity",
            });
        }
    }

    pub(crate) fn has_waited(&self) -> bool {
        self.waited_for.is_some()
    }

    /// Notes what the call would have waited for, if that limit were enforced.
    pub(crate) fn would_have_waited(&mut self, reason: &'static str) {
        self.would_have_waited_for.get_or_insert(reason);
    }

    /// What the caller must be told when its call ends with `error`. Another attempt that was turned away says nothing
    /// about one that may have been executed.
    pub(crate) fn last_word(&mut self, error: Error) -> Error {
        if self.repeats.is_some() {
            self.not_repeated = Some(error.reason());
        }
        match self.doubt.take() {
            Some(doubt) if error.executed() == Executed::No => Error::InDoubt(doubt),
            _ => error,
        }
    }

    /// Notes the answer, and writes on it what the caller may want to know about its way.
    pub(crate) fn answer<B>(&mut self, response: &mut Response<B>, error: Option<&Error>) {
        self.leave();
        let status = response.status();
        let fields = response.headers_mut();
        let length = fields.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        self.length = length.and_then(|length| length.parse().ok());
        let elapsed = self.started.elapsed();
        let overhead = elapsed.saturating_sub(self.spent.iter().sum());

        fields.insert(headers::TRACK_ID, self.track_id().to_header_value());
        fields.append(headers::SERVER_TIMING, self.server_timing(overhead));
        if self.attempts > 0 {
            fields.insert(headers::ATTEMPTS, self.attempts.into());
        }
        if let Some(reason) = self.waited_for {
            fields.insert(headers::WAITED, HeaderValue::from_static(reason));
        }
        if self.is_replayed {
            fields.insert(headers::REPLAYED, HeaderValue::from_static("true"));
        }
        let executed = error.map(Error::executed).or(self.executed);
        if let Some(executed) = executed {
            fields.insert(headers::EXECUTED, HeaderValue::from_static(executed.as_str()));
            if let Some(key) = self.our_key.as_ref().filter(|_| executed != Executed::No) {
                fields.insert(headers::OUR_KEY, key.clone());
            }
        }
        if let Some(why) = self.not_async {
            fields.insert(headers::NOT_ASYNC, HeaderValue::from_static(why));
        }
        if self.is_remembered {
            let prefix = self.arrival.prefix.as_deref().unwrap_or_default();
            let track_id = self.track_id.as_ref().map_or("", TrackId::as_str);
            fields.insert(header::LOCATION, outcomes::location(prefix, track_id));
        }
        if self.is_async {
            let applied = HeaderValue::from_static("respond-async");
            fields.append(headers::PREFERENCE_APPLIED, applied);
        }
        if let Some(wait) = self.prefers {
            // Zuora may have applied preferences of its own.
            fields.append(headers::PREFERENCE_APPLIED, preference_applied(wait));
        }
        let is_zuoras = error.is_none() && (self.attempts > 0 || self.is_shared);
        let source = if is_zuoras { Source::Zuora } else { Source::Gateway };
        let zuora_request_id = fields.get(headers::REQUEST_ID).cloned();
        let cause = error.and_then(Error::cause).or_else(|| self.unknown_for.map(str::to_owned));
        let error = error.map(Error::reason).or(self.refused);
        self.answered =
            Some(Answered { status, source, error, cause, executed, zuora_request_id, overhead });
    }

    /// `Server-Timing` (W3C): where the time went, in milliseconds.
    fn server_timing(&self, overhead: Duration) -> HeaderValue {
        let mut text = String::with_capacity(80);
        let parts = [
            ("queue", self.spent(Phase::Queue)),
            ("token", self.spent(Phase::Token)),
            ("upstream", self.spent(Phase::Upstream)),
            ("gateway", overhead),
        ];
        for (name, part) in parts {
            text.push_str(if text.is_empty() { "" } else { ", " });
            text.push_str(name);
            text.push_str(";dur=");
            push_millis(&mut text, part);
        }
        HeaderValue::try_from(text).expect("digits and letters are a header value")
    }

    /// Counts bytes of the answer's body.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        // hyper asks no further once it has as many bytes as were announced.
        if self.length == Some(self.bytes) {
            self.completed();
        }
    }

    /// Notes that all of the answer has been taken. Until then it counts as cut off, by whomever.
    pub(crate) fn completed(&mut self) {
        self.complete = true;
    }

    /// Whether the answer has a head only, whatever its body.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    fn count(&self) {
        if self.is_callout {
            return;
        }
        let metrics = self.caller.as_ref().map_or(&self.stranger, |caller| &caller.app.metrics);
        let operation = self.operation.map_or("other", |operation| operation.id);
        let (status, source) = match &self.answered {
            Some(answered) => (answered.status.as_u16(), answered.source),
            None => (CALLER_LEFT, Source::Gateway),
        };
        metrics.answered(operation, status, source);
        if self.executed() == Some(Executed::Maybe) && !is_read(&self.method, self.operation) {
            metrics.in_doubt();
        }

        let Some(route) = &self.route else { return };
        let pool = route.pool_metrics();
        pool.finished(self.started.elapsed());
        pool.waited(self.spent(Phase::Queue));
        if self.repeats.is_some() {
            // It waited for another attempt, and none came: turned away, or its caller left.
            route.tenant.metrics.retry_abandoned(self.not_repeated.unwrap_or("caller-left"));
        }
        if let Some(answered) = &self.answered {
            route.tenant.metrics.overhead(answered.overhead);
        }
    }

    /// What is to be told of whether Zuora executed the call, where its answer does not say it.
    fn executed(&self) -> Option<Executed> {
        let in_doubt = self.doubt.is_some().then_some(Executed::Maybe);
        let told = self.answered.as_ref().and_then(|answered| answered.executed);
        told.or(in_doubt)
    }

    /// The key under which Zuora can still tell how the call ended.
    fn key_to_ask_with(&self) -> Option<&HeaderValue> {
        let is_open = !matches!(self.executed(), None | Some(Executed::No));
        self.our_key.as_ref().filter(|_| is_open)
    }

    /// The SOAP call that it is, if it is one: by the caller's own word only if Zuora knows that.
    fn soap_call(&self) -> Option<&'static str> {
        let named = &*self.envelope.as_ref()?.call;
        let known = zuora::SOAP_CALLS.into_iter().find(|call| *call == named);
        Some(known.unwrap_or("other"))
    }

    fn log(&self) {
        let app = self.caller.as_ref().map(|caller| &caller.app);
        let (app, tenant) = app.map_or(("", ""), |app| (&*app.name, &*app.tenant.name));
        let answered = self.answered.as_ref();
        let status = answered.map_or(CALLER_LEFT, |answered| answered.status.as_u16());
        tracing::info!(
            target: "access",
            track_id = self.track_id.as_ref().map_or("", TrackId::as_str),
            peer = self.peer.map(tracing::field::display),
            app,
            claimed_app = self.claimed.as_ref().map(|app| &*app.name),
            door = self.caller.as_ref().map(|caller| caller.door.as_str()),
            tenant,
            method = self.method.as_str(),
            // Without the query: it may hold what must not be printed.
            path = self.target.as_ref().map_or("", PathAndQuery::path),
            operation = self.operation.map_or("other", |operation| operation.id),
            soap_call = self.soap_call(),
            pool = self.route.as_ref().map(|route| route.pool_name()),
            status,
            source = answered.map_or("gateway", |answered| answered.source.as_str()),
            error = answered.and_then(|answered| answered.error),
            cause = answered.and_then(|answered| answered.cause.as_deref()),
            zuora_request_id = answered.and_then(|answered| request_id(answered.zuora_request_id.as_ref())),
            attempts = self.attempts,
            shared = self.is_shared.then_some(true),
            is_async = self.is_async.then_some(true),
            not_async = self.not_async,
            not_repeated = self.not_repeated,
            executed = self.executed().map(Executed::as_str),
            idempotency_key = self.key_to_ask_with().and_then(|key| key.to_str().ok()),
            waited_for = self.waited_for,
            would_have_waited_for = self.would_have_waited_for,
            queue_us = micros(self.spent(Phase::Queue)),
            token_us = micros(self.spent(Phase::Token)),
            upstream_us = micros(self.spent(Phase::Upstream)),
            total_us = micros(self.started.elapsed()),
            bytes = self.bytes,
            complete = self.complete,
        );
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.leave();
        self.count();
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            self.log();
        }
    }
}

/// `Preference-Applied` (RFC 7240 3), with the wait that counted: a longer one than there can be is cut.
fn preference_applied(wait: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("wait={}", wait.as_secs())).expect("digits are a header value")
}

/// Milliseconds with three decimals. Every answer carries four of them, and the formatter of the standard library costs
/// several times as much.
fn push_millis(text: &mut String, part: Duration) {
    let micros = micros(part);
    let mut digits = itoa::Buffer::new();
    text.push_str(digits.format(micros / 1000));
    text.push('.');
    text.push_str(&digits.format(1000 + micros % 1000)[1..]);
}

fn request_id(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

fn micros(part: Duration) -> u64 {
    u64::try_from(part.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(micros: u64, expected: &str) {
        let mut text = String::new();
        push_millis(&mut text, Duration::from_micros(micros));
        assert_eq!(text, expected);
    }

    #[test]
    fn times_are_told_in_milliseconds() {
        check(0, "0.000");
        check(7, "0.007");
        check(1_000, "1.000");
        check(51_234, "51.234");
        check(123_456_789, "123456.789");
    }
}
