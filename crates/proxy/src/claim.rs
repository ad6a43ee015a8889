//! What an attempt holds while Zuora works on it.

use std::sync::Arc;

use admission::{Lane, Permit, Said};
use telemetry::Live;
use tokio::time::Instant;

use crate::leg::Failure;
use crate::route::Route;

/// What an attempt holds until Zuora is done: its permit, its place among the live legs, and its lane if it has one.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Gone once it was given back before its time.
    permit: Option<Permit>,
    /// Gone with the permit: Zuora works on it no longer, though the rest of its answer may be on the way.
    live: Option<Live>,
    /// Boxed, as few tenants have lanes.
    _lane: Option<Box<Lane>>,
    since: Instant,
    /// Whether the tenant's circuit has heard how it went.
    is_told: bool,
    route: Arc<Route>,
}

impl Claim {
    pub(crate) fn new(
        permit: Permit,
        lane: Option<Box<Lane>>,
        live: Live,
        route: Arc<Route>,
    ) -> Self {
        let since = Instant::now();
        Self { permit: Some(permit), live: Some(live), _lane: lane, since, is_told: false, route }
    }

    /// Tells the circuit whether Zuora is there.
    pub(crate) fn tell(&mut self, is_there: Option<bool>) {
        self.is_told = true;
        let (Some(is_there), Some(permit)) = (is_there, &self.permit) else { return };
        let tenant = &*self.route.tenant.name;
        if is_there {
            if permit.reached() {
                tracing::info!(tenant, "Zuora answers again");
            }
        } else if let Some(until) = permit.unreached() {
            let seconds = (until - Instant::now()).as_secs_f64();
            tracing::warn!(tenant, seconds, "Zuora does not answer, and is left alone for a while");
        }
    }

    /// Takes the permit out before the answer has ended, because Zuora did not begin.
    pub(crate) fn release(&mut self) -> Option<Permit> {
        self.live = None;
        self.permit.take()
    }

    /// Ends the claim of an attempt that brought no answer.
    pub(crate) fn end(mut self, failure: &Failure) {
        self.tell(failure.is_there());
        if !failure.was_sent()
            && let Some(permit) = self.release()
        {
            permit.unused();
        }
    }

    /// Tells the pool what Zuora says about its limit. Returns whether Zuora counted the call against another one than
    /// the permit is of; then the pool is told nothing, and the next call is placed better.
    pub(crate) fn observe(&self, headers: &http::HeaderMap) -> bool {
        let Some(said) = zuora::Concurrency::read(headers) else { return false };
        let Some(named) = said.limit_type else { return false };
        if !said.is_of_type(self.route.pool_name()) {
            self.route.learn(named, said.limit);
            return true;
        }
        let said = Said { limit: said.limit, remaining: said.remaining };
        if self.permit.as_ref().is_some_and(|permit| permit.observe(said)) {
            let (tenant, pool, limit) =
                (&*self.route.tenant.name, self.route.pool_name(), said.limit);
            tracing::warn!(
                tenant,
                pool,
                limit,
                "Zuora names another limit than `concurrency.limits`: the smaller one holds; write what Zuora says, and leave \
                 permits to others with `headroom`"
            );
        }
        false
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_told {
            // Nobody waited long enough to hear of Zuora.
            self.tell(Some(false));
        }
        self.route.pool_metrics().held(self.since.elapsed());
    }
}
