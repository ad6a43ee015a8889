//! Names, help texts, labels and buckets of all metrics.

use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

/// What every name begins with, except the `process_` ones, which are Prometheus's own.
const NAMESPACE: &str = "zuora_gateway";

/// From a call that Zuora answers from memory to one that waited two minutes and then ran two.
const CALL_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 125.0, 250.0];
/// Zuora ends a request after 120 s, and the gateway gives up on it after 125 s.
const UPSTREAM_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 125.0];
/// Up to the `Retry-After` of a concurrency refusal, 120 s.
const WAIT_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];
/// What the gateway adds is promised to stay below 100 µs.
const OVERHEAD_BUCKETS: &[f64] =
    &[5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3];

/// All families, registered.
#[derive(Debug)]
pub(crate) struct Families {
    pub(crate) registry: Registry,

    pub(crate) requests: IntCounterVec,
    pub(crate) request_duration: HistogramVec,
    pub(crate) queue_wait: HistogramVec,
    pub(crate) overhead: HistogramVec,
    pub(crate) upstream_duration: HistogramVec,
    pub(crate) permit_seconds: CounterVec,
    pub(crate) attempts: IntCounterVec,
    pub(crate) retries: IntCounterVec,
    pub(crate) retries_abandoned: IntCounterVec,
    pub(crate) refusals: IntCounterVec,
    pub(crate) shed: IntCounterVec,
    pub(crate) in_doubt: IntCounterVec,
    pub(crate) rejected_credentials: IntCounterVec,
    pub(crate) would_have_waited: IntCounterVec,
    pub(crate) token_refreshes: IntCounterVec,
    pub(crate) config_reloads: IntCounterVec,
    pub(crate) async_requests: IntCounterVec,
    pub(crate) callouts: IntCounterVec,
    pub(crate) outcome_deliveries: IntCounterVec,
    pub(crate) async_registry_errors: IntCounter,

    pub(crate) connections: IntGauge,
    pub(crate) legs_in_flight: IntGauge,
    pub(crate) config_loaded: Gauge,
    pub(crate) config_in_sync: IntGauge,
    pub(crate) build_info: IntGaugeVec,
    pub(crate) log_lines_dropped: IntCounter,
    pub(crate) panics: IntCounter,

    // Set from a `Readings` when they are rendered.
    pub(crate) permits_in_use: IntGaugeVec,
    pub(crate) permits_capacity: IntGaugeVec,
    pub(crate) permits_ceiling: IntGaugeVec,
    pub(crate) outside_use: IntGaugeVec,
    pub(crate) limit_mismatch: IntGaugeVec,
    pub(crate) queued: IntGaugeVec,
    pub(crate) queued_bytes: IntGaugeVec,
    pub(crate) cooldown: GaugeVec,
    pub(crate) token_expires_in: GaugeVec,
    pub(crate) circuit_open: IntGaugeVec,
    pub(crate) lanes_held: IntGaugeVec,
    pub(crate) lanes_waiting: IntGaugeVec,
    pub(crate) async_pending: IntGaugeVec,
    pub(crate) async_unknown: IntGaugeVec,
    pub(crate) async_oldest_pending: GaugeVec,
    pub(crate) outcome_dead_letters: IntGaugeVec,
    pub(crate) async_registry_bytes: IntGaugeVec,
    pub(crate) async_registry_records: IntGaugeVec,
}

impl Families {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        Self {
            requests: counters(
                r,
                "requests_total",
                "Calls answered, by whose answer it was.",
                &["tenant", "app", "operation", "status", "source"],
            ),
            request_duration: histogram(
                r,
                "request_duration_seconds",
                "From the head of a request to the end of its answer.",
                &["tenant", "app", "pool"],
                CALL_BUCKETS,
            ),
            queue_wait: histogram(
                r,
                "queue_wait_seconds",
                "Time a call waited for a permit, all its attempts together.",
                &["tenant", "app", "pool"],
                WAIT_BUCKETS,
            ),
            overhead: histogram(
                r,
                "overhead_seconds",
                "Time a call spent neither in the queue nor at Zuora.",
                &["tenant"],
                OVERHEAD_BUCKETS,
            ),
            upstream_duration: histogram(
                r,
                "upstream_duration_seconds",
                "Time one attempt was at Zuora, until the answer began: its head, and what of its body \
                 tells whether it is a refusal.",
                &["tenant", "pool"],
                UPSTREAM_BUCKETS,
            ),
            permit_seconds: register(
                r,
                CounterVec::new(
                    opts("permit_seconds_total", "Who used the limit: seconds permits were held."),
                    &["tenant", "app", "pool"],
                ),
            ),
            attempts: counters(
                r,
                "attempts_total",
                "Requests sent to Zuora, by what the answer meant.",
                &["tenant", "pool", "verdict"],
            ),
            retries: counters(
                r,
                "retries_total",
                "Attempts that were repeated, by the verdict that led to it.",
                &["tenant", "verdict"],
            ),
            retries_abandoned: counters(
                r,
                "retries_abandoned_total",
                "Attempts that could have been repeated and were not, by reason.",
                &["tenant", "reason"],
            ),
            refusals: counters(
                r,
                "refusals_total",
                "Refusals by Zuora, by the kind of limit.",
                &["tenant", "pool", "kind"],
            ),
            shed: counters(
                r,
                "shed_total",
                "Calls that were turned away while they waited for a permit, by reason.",
                &["tenant", "app", "reason"],
            ),
            in_doubt: counters(
                r,
                "in_doubt_total",
                "Writes that ended without anybody knowing whether Zuora executed them.",
                &["tenant", "app"],
            ),
            rejected_credentials: counters(
                r,
                "rejected_credentials_total",
                "Calls of which nobody knows whose they are, by the app that they claim to be of.",
                &["app", "reason"],
            ),
            would_have_waited: counters(
                r,
                "would_have_waited_total",
                "Permits given at once that a limit which is not enforced would have kept waiting.",
                &["tenant", "app", "pool", "reason"],
            ),
            token_refreshes: counters(
                r,
                "token_refreshes_total",
                "Tokens asked of Zuora, by result.",
                &["tenant", "result"],
            ),
            config_reloads: counters(
                r,
                "config_reloads_total",
                "How often the configuration was read anew, by what came of it.",
                &["result"],
            ),
            async_requests: counters(
                r,
                "async_requests_total",
                "Async requests, by the states that they entered.",
                &["tenant", "app", "state"],
            ),
            callouts: counters(
                r,
                "callouts_total",
                "Callouts of Zuora's, by what became of them.",
                &["tenant", "result"],
            ),
            outcome_deliveries: counters(
                r,
                "outcome_deliveries_total",
                "Attempts to forward an outcome to its app, by what came of them.",
                &["tenant", "app", "result"],
            ),
            async_registry_errors: register(
                r,
                IntCounter::with_opts(opts(
                    "async_registry_errors_total",
                    "Failures of the registry of async requests to read or to write what it keeps.",
                )),
            ),
            connections: gauge(r, "connections", "Open connections of callers."),
            legs_in_flight: gauge(r, "legs_in_flight", "Upstream legs that Zuora may work on."),
            config_loaded: register(
                r,
                Gauge::with_opts(opts(
                    "config_loaded_timestamp_seconds",
                    "When the configuration in use was loaded, in seconds since 1970.",
                )),
            ),
            config_in_sync: gauge(
                r,
                "config_in_sync",
                "1 if the configuration on disk is the one in use; 0 if it is broken, or parts of it need a restart.",
            ),
            build_info: gauges(r, "build_info", "1, labelled with the version.", &["version"]),
            log_lines_dropped: register(
                r,
                IntCounter::with_opts(opts(
                    "log_lines_dropped_total",
                    "Log lines dropped because nobody read them fast enough.",
                )),
            ),
            panics: register(
                r,
                IntCounter::with_opts(opts("panics_total", "Panics: each one is a bug.")),
            ),
            permits_in_use: gauges(
                r,
                "permits_in_use",
                "Permits that are out now.",
                &["tenant", "pool"],
            ),
            permits_capacity: gauges(
                r,
                "permits_capacity",
                "Permits that may be out now.",
                &["tenant", "pool"],
            ),
            permits_ceiling: gauges(
                r,
                "permits_ceiling",
                "What Zuora allows, all callers together.",
                &["tenant", "pool"],
            ),
            outside_use: gauges(
                r,
                "outside_use",
                "Permits that others take, past this gateway, as far as Zuora tells.",
                &["tenant", "pool"],
            ),
            limit_mismatch: gauges(
                r,
                "limit_mismatch",
                "1 where the limit that Zuora names is another than the configured one.",
                &["tenant", "pool"],
            ),
            queued: gauges(
                r,
                "queued",
                "Calls that wait for a permit.",
                &["tenant", "app", "pool"],
            ),
            queued_bytes: gauges(
                r,
                "queued_bytes",
                "Bytes of request bodies kept in memory.",
                &["tenant", "app", "pool"],
            ),
            cooldown: register(
                r,
                GaugeVec::new(
                    opts("cooldown_seconds", "How much longer a pool pauses; 0 when it does not."),
                    &["tenant", "pool"],
                ),
            ),
            token_expires_in: register(
                r,
                GaugeVec::new(
                    opts(
                        "token_expires_in_seconds",
                        "Rest of the token's life, the shortest of those in use; 0 without one, +Inf if it tells no end.",
                    ),
                    &["tenant"],
                ),
            ),
            circuit_open: gauges(
                r,
                "circuit_open",
                "1 while a tenant that could not be reached is left alone, but for one call that tries.",
                &["tenant"],
            ),
            lanes_held: gauges(
                r,
                "lanes_held",
                "Accounts, subscriptions and orders that a call has to itself.",
                &["tenant"],
            ),
            lanes_waiting: gauges(
                r,
                "lanes_waiting",
                "Calls that wait for another one about the same account, subscription or order.",
                &["tenant"],
            ),
            async_pending: gauges(
                r,
                "async_requests_pending",
                "Async requests whose outcome is not known yet.",
                &["tenant", "app"],
            ),
            async_unknown: gauges(
                r,
                "async_requests_unknown",
                "Async requests that are remembered and have ended as unknown.",
                &["tenant", "app"],
            ),
            async_oldest_pending: register(
                r,
                GaugeVec::new(
                    opts(
                        "async_oldest_pending_seconds",
                        "Age of the oldest async request whose outcome is not known yet; 0 without one.",
                    ),
                    &["tenant", "app"],
                ),
            ),
            outcome_dead_letters: gauges(
                r,
                "outcome_dead_letters",
                "Outcomes that could not be forwarded and are no longer tried.",
                &["tenant", "app"],
            ),
            async_registry_bytes: gauges(
                r,
                "async_registry_bytes",
                "Bytes on disk of the registry of async requests.",
                &[],
            ),
            async_registry_records: gauges(
                r,
                "async_registry_records",
                "Async requests that are remembered, ended ones included.",
                &[],
            ),
            registry,
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(opts(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::with_opts(opts(name, help)))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(opts(name, help), labels))
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(opts, labels))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("the names in this file are valid");
    registry.register(Box::new(collector.clone())).expect("the names in this file differ");
    collector
}
