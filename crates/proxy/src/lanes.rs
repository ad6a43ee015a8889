//! The lanes of one call: what it names, and its place among the calls that name the same.

use std::sync::Arc;

use admission::{Ask, Lane, LaneTicket, Lanes, Place, Shed};
use http::header;
use tokio::time::sleep_until;
use zuora::{Operation, Subject};

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
        operation: Option<&Operation>,
        number: impl Fn(&Subject) -> u64,
    ) -> Option<Self> {
        if !outbound.is_write() {
            return None;
        }
        let content_type = outbound.headers().get(header::CONTENT_TYPE);
        let subjects = zuora::subjects(operation, outbound.path(), content_type, outbound.kept());
        let keys: Vec<u64> = subjects.iter().map(number).collect();
        (!keys.is_empty()).then(|| Self { lanes: Arc::clone(lanes), keys, ticket: None })
    }

    /// Waits until the call has its lanes to itself. One that must rest before it may be sent again rests first: with
    /// the lanes in its hand it would keep others from theirs.
    pub(crate) async fn enter(&mut self, ask: &Ask) -> Result<Lane, Shed> {
        let deadline = moment(ask.deadline);
        if let Place::Front(ticket) = ask.place
            && let Some(until) = ticket.rests_until()
            && until < deadline
        {
            sleep_until(until).await;
        }
        let lane = self.lanes.enter(&self.keys, ask.app, self.ticket, deadline).await?;
        self.ticket = Some(lane.ticket());
        Ok(lane)
    }
}
