//! What is known of one call, from its first byte to its last, and the one place where that is told.

use std::sync::Arc;

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode};
use telemetry::{AppMetrics, Source, Verdict};
use tokio::time::{Duration, Instant};
use zuora::{Operation, TrackId};

use crate::headers;
use crate::route::Route;

/// The status in logs and metrics of a call whose caller left before it was answered; nginx's word for it.
const CALLER_LEFT: u16 = 499;

/// A call in progress. Dropping it ends it: it is counted and logged as whatever it had come to by then.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) started: Instant,
    pub(crate) track_id: Option<TrackId>,
    method: Method,
    target: Option<PathAndQuery>,
    /// Who called, and what for, once that is known.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) operation: Option<&'static Operation>,
    /// Counts the call as long as nobody is known to have made it.
    stranger: AppMetrics,

    pub(crate) queue: Duration,
    pub(crate) waited_for: Option<&'static str>,
    pub(crate) token: Duration,
    pub(crate) upstream: Duration,
    pub(crate) attempts: u32,
    /// Whether an attempt was repeated with a fresh token.
    pub(crate) reauthenticated: bool,
    /// Why the last attempt is to be repeated, until it is.
    pub(crate) repeats: Option<Verdict>,

    answered: Option<Answered>,
    bytes: u64,
    broke: bool,
}

#[derive(Debug)]
struct Answered {
    status: StatusCode,
    source: Source,
    error: Option<&'static str>,
    zuora_request_id: Option<HeaderValue>,
    overhead: Duration,
}

impl Call {
    pub(crate) fn begin<B>(request: &Request<B>, stranger: AppMetrics) -> Self {
        Self {
            started: Instant::now(),
            track_id: None,
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            route: None,
            operation: None,
            stranger,
            queue: Duration::ZERO,
            waited_for: None,
            token: Duration::ZERO,
            upstream: Duration::ZERO,
            attempts: 0,
            reauthenticated: false,
            repeats: None,
            answered: None,
            bytes: 0,
            broke: false,
        }
    }

    /// The track id, minted now if the call failed before it had one.
    pub(crate) fn track_id(&mut self) -> &TrackId {
        self.track_id.get_or_insert_with(|| TrackId::mint("gateway"))
    }

    /// Notes that the call waited for `reason`; the first reason is the one that is told.
    pub(crate) fn waited(&mut self, reason: &'static str) {
        self.waited_for.get_or_insert(reason);
    }

    /// Notes the answer, and writes on it what the caller may want to know about its way.
    pub(crate) fn answer<B>(&mut self, response: &mut Response<B>, error: Option<&'static str>) {
        let status = response.status();
        let fields = response.headers_mut();
        let elapsed = self.started.elapsed();
        let overhead = elapsed.saturating_sub(self.queue + self.token + self.upstream);

        fields.insert(headers::TRACK_ID, self.track_id().to_header_value());
        fields.append(headers::SERVER_TIMING, self.server_timing(overhead));
        if self.attempts > 0 {
            fields.insert(headers::ATTEMPTS, self.attempts.into());
        }
        if let Some(reason) = self.waited_for {
            fields.insert(headers::WAITED, HeaderValue::from_static(reason));
        }
        let source =
            if error.is_some() || self.attempts == 0 { Source::Gateway } else { Source::Zuora };
        let zuora_request_id = fields.get(headers::REQUEST_ID).cloned();
        self.answered = Some(Answered { status, source, error, zuora_request_id, overhead });
    }

    /// `Server-Timing` (W3C): where the time went, in milliseconds.
    fn server_timing(&self, overhead: Duration) -> HeaderValue {
        let mut text = String::with_capacity(80);
        let parts = [
            ("queue", self.queue),
            ("token", self.token),
            ("upstream", self.upstream),
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
    }

    /// Notes that the answer broke off behind its head, when only the log can still tell.
    pub(crate) fn broke(&mut self) {
        self.broke = true;
    }

    fn count(&self) {
        let metrics = self.route.as_ref().map_or(&self.stranger, |route| &route.app.metrics);
        let operation = self.operation.map_or("other", |operation| operation.id);
        let (status, source) = match &self.answered {
            Some(answered) => (answered.status.as_u16(), answered.source),
            None => (CALLER_LEFT, Source::Gateway),
        };
        metrics.answered(operation, status, source);

        let Some(route) = &self.route else { return };
        let pool = route.pool_metrics();
        pool.finished(self.started.elapsed());
        pool.waited(self.queue);
        if self.repeats.is_some() {
            // It waited for another attempt, and none came: turned away, or its caller left.
            let why = self.answered.as_ref().and_then(|answered| answered.error);
            route.tenant.metrics.retry_abandoned(why.unwrap_or("caller-left"));
        }
        if let Some(answered) = &self.answered {
            route.tenant.metrics.overhead(answered.overhead);
        }
    }

    fn log(&self) {
        let (app, tenant, pool) = match &self.route {
            Some(route) => (&*route.app.name, &*route.tenant.name, route.limit_type.name()),
            None => ("", "", ""),
        };
        let answered = self.answered.as_ref();
        let status = answered.map_or(CALLER_LEFT, |answered| answered.status.as_u16());
        tracing::info!(
            target: "access",
            track_id = self.track_id.as_ref().map_or("", TrackId::as_str),
            app,
            tenant,
            method = self.method.as_str(),
            // Without the query: it may hold what must not be printed.
            path = self.target.as_ref().map_or("", PathAndQuery::path),
            operation = self.operation.map_or("other", |operation| operation.id),
            pool,
            status,
            source = answered.map_or("gateway", |answered| answered.source.as_str()),
            error = answered.and_then(|answered| answered.error),
            zuora_request_id = answered.and_then(|answered| request_id(answered.zuora_request_id.as_ref())),
            attempts = self.attempts,
            waited_for = self.waited_for,
            queue_us = micros(self.queue),
            token_us = micros(self.token),
            upstream_us = micros(self.upstream),
            total_us = micros(self.started.elapsed()),
            bytes = self.bytes,
            complete = answered.is_some() && !self.broke,
        );
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.count();
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            self.log();
        }
    }
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
