//! What callers hold: counters and histograms of one app, pool or tenant, already looked up.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use prometheus::{Counter, Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::labels::{AsyncState, CalloutResult, Delivery, Refresh, Refused, Source, Verdict};

/// Counts what one app's calls came to. Cheap to clone; clones count into the same series.
#[derive(Clone, Debug)]
pub struct AppMetrics {
    pub(crate) inner: Arc<AppCounters>,
}

#[derive(Debug)]
pub(crate) struct AppCounters {
    pub(crate) tenant: String,
    pub(crate) app: String,
    pub(crate) requests: IntCounterVec,
    pub(crate) shed: IntCounterVec,
    pub(crate) in_doubt: IntCounter,
    /// The series of `requests` that this app has used: the family's own look-up hashes five
    /// strings, this one a pointer and two small numbers.
    pub(crate) answered: RwLock<HashMap<Answered, IntCounter>>,
}

/// One kind of answer. The address of an operation's id stands for the id: equal addresses and
/// lengths mean equal ids, and an id with two addresses just finds the same series twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answered {
    operation: (usize, usize),
    status: u16,
    source: Source,
}

impl AppMetrics {
    /// Counts a call that was answered: `requests_total`.
    ///
    /// `operation` is the id of an operation, or `other`; never anything a caller sent.
    pub fn answered(&self, operation: &'static str, status: u16, source: Source) {
        let key =
            Answered { operation: (operation.as_ptr().addr(), operation.len()), status, source };
        let known = self.inner.answered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(&key) {
            counter.inc();
            return;
        }
        drop(known);

        let AppCounters { tenant, app, requests, .. } = &*self.inner;
        let labels = [tenant, app, operation, &status.to_string(), source.as_str()];
        let counter = requests.with_label_values(&labels);
        counter.inc();
        let mut known = self.inner.answered.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, counter);
    }

    /// Counts a write that ended without anybody knowing whether Zuora executed it: `in_doubt_total`.
    pub fn in_doubt(&self) {
        self.inner.in_doubt.inc();
    }

    /// Counts a call that was turned away before Zuora saw it: `shed_total`.
    pub fn shed(&self, reason: &'static str) {
        let AppCounters { tenant, app, shed, .. } = &*self.inner;
        shed.with_label_values(&[tenant.as_str(), app, reason]).inc();
    }
}

/// Counts what one app does in one pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    pub(crate) inner: Arc<PoolCounters>,
}

#[derive(Debug)]
pub(crate) struct PoolCounters {
    pub(crate) tenant: String,
    pub(crate) app: String,
    pub(crate) pool: String,
    pub(crate) request_duration: Histogram,
    pub(crate) queue_wait: Histogram,
    pub(crate) upstream_duration: Histogram,
    pub(crate) permit_seconds: Counter,
    pub(crate) attempts: [IntCounter; Verdict::ALL.len()],
    pub(crate) refusals_concurrency: IntCounter,
    pub(crate) refusals_rate: IntCounter,
    /// Not looked up beforehand: only pools that are watched and not enforced have such a series.
    pub(crate) would_have_waited: IntCounterVec,
}

impl PoolMetrics {
    /// Records a call that ended: `request_duration_seconds`, from the head of the request to
    /// the end of its answer.
    pub fn finished(&self, duration: Duration) {
        self.inner.request_duration.observe(duration.as_secs_f64());
    }

    /// Records how long a call waited for permits, all its attempts together:
    /// `queue_wait_seconds`. A call that did not wait counts with zero.
    pub fn waited(&self, wait: Duration) {
        self.inner.queue_wait.observe(wait.as_secs_f64());
    }

    /// Counts an attempt and how long it took until the answer began: `attempts_total` and
    /// `upstream_duration_seconds`. An attempt that was not sent has no duration.
    pub fn attempt(&self, verdict: Verdict, duration: Duration) {
        self.inner.attempts[verdict.index()].inc();
        if verdict != Verdict::NotSent {
            self.inner.upstream_duration.observe(duration.as_secs_f64());
        }
    }

    /// Counts a refusal by Zuora: `refusals_total`.
    pub fn refused(&self, kind: Refused) {
        match kind {
            Refused::Concurrency => self.inner.refusals_concurrency.inc(),
            Refused::Rate => self.inner.refusals_rate.inc(),
        }
    }

    /// Counts a permit that was given at once, because the limit that would have kept it waiting is
    /// not enforced: `would_have_waited_total`.
    pub fn would_have_waited(&self, reason: &'static str) {
        let PoolCounters { tenant, app, pool, would_have_waited, .. } = &*self.inner;
        would_have_waited.with_label_values(&[tenant.as_str(), app, pool, reason]).inc();
    }

    /// Records how long a permit was held, once it is given back: `permit_seconds_total`.
    pub fn held(&self, duration: Duration) {
        self.inner.permit_seconds.inc_by(duration.as_secs_f64());
    }
}

/// Counts what happens in one tenant, whichever app or pool it was. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TenantMetrics {
    pub(crate) inner: Arc<TenantCounters>,
}

#[derive(Debug)]
pub(crate) struct TenantCounters {
    pub(crate) tenant: String,
    pub(crate) overhead: Histogram,
    pub(crate) retries: [IntCounter; Verdict::ALL.len()],
    pub(crate) retries_abandoned: IntCounterVec,
    pub(crate) refreshes: [IntCounter; Refresh::ALL.len()],
}

impl TenantMetrics {
    /// Records the part of a call that was neither queue nor Zuora: `overhead_seconds`.
    pub fn overhead(&self, duration: Duration) {
        self.inner.overhead.observe(duration.as_secs_f64());
    }

    /// Counts an attempt that is repeated because of `verdict`: `retries_total`.
    pub fn retried(&self, verdict: Verdict) {
        self.inner.retries[verdict.index()].inc();
    }

    /// Counts an attempt that is not repeated, with the reason: `retries_abandoned_total`.
    pub fn retry_abandoned(&self, reason: &'static str) {
        let TenantCounters { tenant, retries_abandoned, .. } = &*self.inner;
        retries_abandoned.with_label_values(&[tenant.as_str(), reason]).inc();
    }

    /// Counts a token asked of Zuora, by what came of it: `token_refreshes_total`.
    pub fn token_refreshed(&self, refresh: Refresh) {
        self.inner.refreshes[refresh.index()].inc();
    }
}

/// Counts what becomes of one app's async requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AsyncMetrics {
    pub(crate) inner: Arc<AsyncCounters>,
}

#[derive(Debug)]
pub(crate) struct AsyncCounters {
    pub(crate) states: [IntCounter; AsyncState::ALL.len()],
    pub(crate) deliveries: [IntCounter; Delivery::ALL.len()],
}

impl AsyncMetrics {
    /// Counts an async request that entered `state`: `async_requests_total`. One that was unknown and whose outcome
    /// came after all counts in both.
    pub fn entered(&self, state: AsyncState) {
        self.inner.states[state.index()].inc();
    }

    /// Counts an attempt to forward an outcome: `outcome_deliveries_total`.
    pub fn delivery(&self, result: Delivery) {
        self.inner.deliveries[result.index()].inc();
    }
}

/// Counts what becomes of the callouts of one tenant: `callouts_total`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CalloutMetrics {
    pub(crate) results: Arc<[IntCounter; CalloutResult::ALL.len()]>,
}

impl CalloutMetrics {
    /// Counts a callout.
    pub fn came(&self, result: CalloutResult) {
        self.results[result.index()].inc();
    }
}

/// Counts the failures of the registry of async requests: `async_registry_errors_total`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RegistryMetrics {
    pub(crate) errors: IntCounter,
}

impl RegistryMetrics {
    /// Counts a failure to read or to write.
    pub fn error(&self) {
        self.errors.inc();
    }
}

/// Something that is alive and counted in a gauge. Dropping it counts it out.
#[derive(Debug)]
#[must_use = "it is counted out as soon as it is dropped"]
pub struct Live {
    gauge: IntGauge,
}

impl Live {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone() }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
