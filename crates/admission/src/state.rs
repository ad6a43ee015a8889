//! All that one tenant's lock protects.

use tokio::time::Instant;

use crate::jitter::Jitter;
use crate::pool::{Answer, End, Grant, Outbox, Pool};
use crate::{Ask, Place, PoolId, Refused, Settings, Shed, Ticket};

/// The tenant's pools, and what they share: the order of arrival and the rate class.
#[derive(Debug)]
pub(crate) struct State {
    pools: Vec<Pool>,
    jitter: Jitter,
    asks: u64,
}

impl State {
    pub(crate) fn new(settings: &Settings, jitter: Jitter, now: Instant) -> Self {
        let pools = settings.pools.iter().zip(0..);
        let pools = pools.map(|(pool, id)| {
            Pool::new(PoolId(id), pool, settings.queue, settings.apps.len(), now)
        });
        Self { pools: pools.collect(), jitter, asks: 0 }
    }

    pub(crate) fn pool(&mut self, id: PoolId) -> &mut Pool {
        &mut self.pools[id.index()]
    }

    pub(crate) fn pools_mut(&mut self) -> &mut [Pool] {
        &mut self.pools
    }

    /// Decides on a call that asks.
    pub(crate) fn ask(
        &mut self,
        ask: &Ask,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Result<Answer, Shed> {
        self.asks += 1;
        let nth = self.asks;
        let ticket = match ask.place {
            Place::Back => Ticket { number: nth, since: now, not_before: None },
            Place::Front(ticket) => ticket,
        };
        let due = self.due(ask, ticket, now);
        self.pool(ask.pool).ask(ask, ticket, due, nth, now, outbox)
    }

    /// Takes a permit back and passes on what comes free.
    pub(crate) fn give_back(&mut self, grant: &Grant, end: End, now: Instant, outbox: &mut Outbox) {
        self.pool(grant.pool).give_back(grant, end, now);
        if let End::Refused(Refused::Rate { until }) = end {
            self.pause(until, now, outbox);
        }
        self.pool(grant.pool).settle(now, outbox);
    }

    /// Closes every pool until `named`: the rate windows are the tenant's.
    fn pause(&mut self, named: Instant, now: Instant, outbox: &mut Outbox) {
        // Many refusals of one window name the same moment; only the first adds jitter to it.
        if named <= now || !self.pools.iter().any(|pool| pool.capacity.is_news(named)) {
            return;
        }
        let until = named + self.jitter.on(named - now);
        for pool in &mut self.pools {
            pool.pause(now, named, until, outbox);
            pool.settle(now, outbox);
        }
    }

    /// Returns when the call itself may be sent, if somebody named a moment that is still to come.
    ///
    /// Jitter is added to it, never taken away, but not so much that the deadline would be missed.
    fn due(&mut self, ask: &Ask, ticket: Ticket, now: Instant) -> Option<Instant> {
        let named = ticket.not_before.filter(|named| now < *named)?;
        let slack = ask.until().saturating_duration_since(named) / 2;
        Some(named + self.jitter.on(named - now).min(slack))
    }
}
