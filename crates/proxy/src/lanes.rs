//! The lanes of one call: what it names, and its place among the calls that name the same.

use std::sync::Arc;

use admission::{Ask, Lane, LaneTicket, Lanes, Place, Shed, WaitReason};
use http::header;
use tokio::time::{Duration, Instant, sleep_until};
use zuora::Subject;

use crate::judge::moment;
use crate::outbound::Outbound;

/// What a call must have to itself at Zuora.
#[derive(Debug)]
pub(crate) struct CallLanes {
    lanes: Arc<Lanes>,
    keys: Vec<u64>,
    /// The call's place in line, once it had the lanes.
    ticket: Option<LaneTicket>,
}

impl CallLanes {
    /// The lanes of a write, by the accounts, subscriptions and orders that it names; `None` if it names none.
    pub(crate) fn of(
        lanes: &Arc<Lanes>,
        outbound: &Outbound,
        number: impl Fn(&Subject) -> u64,
    ) -> Option<Self> {
        if !outbound.is_write() {
            return None;
        }
        let content_type = outbound.headers().get(header::CONTENT_TYPE);
        let subjects =
            zuora::subjects(outbound.operation(), outbound.path(), content_type, outbound.kept());
        let keys: Vec<u64> = subjects.iter().map(number).collect();
        (!keys.is_empty()).then(|| Self { lanes: Arc::clone(lanes), keys, ticket: None })
    }

    /// Rests for as long as the call must before it may be sent again, and returns why it had to. With the lanes in its
    /// hand it would keep others from theirs.
    pub(crate) async fn rest(&self, ask: &Ask) -> Result<Option<WaitReason>, Shed> {
        let (deadline, now) = (moment(ask.deadline), Instant::now());
        let Place::Front(ticket) = ask.place else { return Ok(None) };
        let Some((until, why)) = ticket.rests_until().filter(|(until, _)| now < *until) else {
            return Ok(None);
        };
        if deadline <= until {
            return Err(Shed::Cooldown { until });
        }
        sleep_until(until + spread(until, deadline)).await;
        Ok(Some(why))
    }

    /// Waits until the call has its lanes to itself.
    pub(crate) async fn enter(&mut self, ask: &Ask) -> Result<Lane, Shed> {
        let deadline = moment(ask.deadline);
        let lane = self.lanes.enter(&self.keys, ask.app, self.ticket, deadline).await?;
        self.ticket = Some(lane.ticket());
        Ok(lane)
    }
}

/// Parts calls that were all told the same moment, as admission does it: only ever later.
fn spread(until: Instant, deadline: Instant) -> Duration {
    let most = until.saturating_duration_since(Instant::now()) / 10;
    most.min(Duration::from_secs(1)).min((deadline - until) / 2).mul_f64(rand::random::<f64>())
}
