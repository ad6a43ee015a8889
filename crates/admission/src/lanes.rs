//! Who goes first among calls about the same things: one call at a time for each account,
//! subscription or order that it names.
//!
//! Zuora locks what a call changes, and rolls a second call back that needs the same lock (category
//! 50, `LOCK_COMPETITION`). Calls that would meet there are sent one after another from here, and those
//! that would not go side by side. A lane is a number: whoever asks hashes what the call is about. Two
//! names with one number wait for each other needlessly, and nothing worse.
//!
//! # Why before the permit
//!
//! A call that waits for another with a permit in its hand keeps that permit from everybody. So the
//! lane comes first, and then the permit is asked for; the lane is held until Zuora is done, and given
//! back while a call rests before it is repeated. Nobody who has a permit waits for a lane, so the two
//! kinds of waiting cannot make a circle.
//!
//! # Why all at once
//!
//! A call that names a subscription and its account needs both lanes. Taken one by one, two calls may
//! each hold what the other needs, or a call keeps one lane closed while it waits for the other. Here a
//! call has all of its lanes or none, decided under one lock.
//!
//! # Why a total order
//!
//! Taking all at once invites starving: somebody is always in one of two lanes. So the waiting calls
//! have turns, numbers of which no two are the same, and in every lane the lower turn goes first, even
//! if the higher could go now. The lowest of all is first wherever it stands and goes as soon as its
//! lanes are free; so nobody waits in a circle, and each turn comes.
//!
//! A call gets its turn when nobody of its own app is before it in any of its lanes, neither waiting
//! nor on its way. That is what is fair between apps: in a lane each of them stands in line with one
//! call, as in a round, so an app with a hundred calls about an account keeps another's one waiting
//! for a single turn. Within an app it is first come, first served. No clock of service is kept: lanes
//! go at very different speeds, and one clock for all of them would make a call pay in one lane for
//! what others did in another.
//!
//! # What dropping means
//!
//! - [`Lane`]: Zuora is done with the call; the next goes.
//! - the future of [`Lanes::enter`]: the call left, at once. If its lanes were already on their way, they
//!   go to the next.
//! - the last call about something: nothing is left of the lane, however many names customers think of.

mod order;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, PoisonError};

use tokio::time::{self, Instant};

use self::order::{Answer, Order, Outbox, Pass};
use crate::sync::{Mutex, MutexGuard, oneshot};
use crate::{AppId, Shed};

/// The lanes of one tenant: one call at a time for each, in turns that are fair between apps.
pub struct Lanes {
    order: Mutex<Order>,
}

/// A call's place in line, for entering the same lanes again: see [`Lanes::enter`].
#[derive(Clone, Copy, Debug)]
pub struct LaneTicket {
    /// Its number when it first entered: the order within its app.
    number: u64,
    /// Its turn: the order among all.
    turn: u64,
}

/// What is to be seen of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanesSnapshot {
    /// How many lanes are taken, each by one call.
    pub held: usize,
    /// How many calls wait.
    pub waiting: usize,
}

impl Lanes {
    /// Returns lanes in which at most so many calls wait, all together.
    pub fn new(most_waiting: usize) -> Arc<Self> {
        Arc::new(Self { order: Mutex::new(Order::new(most_waiting)) })
    }

    /// Lets so many wait. Those who wait already stay.
    pub fn set_most_waiting(&self, most_waiting: usize) {
        self.lock().set_most_waiting(most_waiting);
    }

    /// Returns all of the lanes as soon as it is this call's turn in each of them: at once if nobody is
    /// there. Before that the call has none of them. A lane that is named twice is one lane.
    ///
    /// With a ticket the call stands where it stood: before all of its app that entered for the first
    /// time after it, and before all others whose turn is later than its own was.
    ///
    /// Dropping the future leaves at once. If the lanes were already on their way, they go to the next.
    ///
    /// # Errors
    ///
    /// - [`Shed::QueueFull`] at once, if as many wait as may;
    /// - [`Shed::QueueTimeout`] at the deadline, and at once if that is already over.
    pub async fn enter(
        self: &Arc<Self>,
        keys: &[u64],
        app: AppId,
        ticket: Option<LaneTicket>,
        deadline: Instant,
    ) -> Result<Lane, Shed> {
        let answer = self
            .decide(|order, now, outbox| order.enter(keys, app, ticket, deadline, now, outbox))?;
        let (id, told) = match answer {
            Answer::Goes(pass) => return Ok(Lane::new(Arc::clone(self), pass, false)),
            Answer::Waits(id, told) => (id, told),
        };
        let mut waiting = Waiting { lanes: self, id, told };
        match time::timeout_at(deadline, &mut waiting.told).await {
            Ok(told) => told.expect("whoever takes a waiter out tells it why"),
            Err(_) => Err(self.lock().too_late(keys)),
        }
    }

    /// Returns what is to be seen, all of it at one moment.
    pub fn snapshot(&self) -> LanesSnapshot {
        self.lock().snapshot()
    }

    /// Takes one decision under the lock, then tells everybody concerned.
    fn decide<T>(
        self: &Arc<Self>,
        decision: impl FnOnce(&mut Order, Instant, &mut Outbox) -> T,
    ) -> T {
        let mut outbox = Outbox::default();
        let result = decision(&mut self.lock(), Instant::now(), &mut outbox);
        for (tell, answer) in outbox {
            let outcome = answer.map(|pass| Lane::new(Arc::clone(self), pass, true));
            // A call that left in the same moment does not take its lanes: dropped here, without the
            // lock, they go to the next.
            drop(tell.send(outcome));
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

/// The lanes of one call. Dropping it means that Zuora is done with the call: the next goes.
#[must_use = "the next goes as soon as the lane is dropped"]
pub struct Lane {
    lanes: Arc<Lanes>,
    pass: Pass,
    waited: bool,
}

impl Lane {
    fn new(lanes: Arc<Lanes>, pass: Pass, waited: bool) -> Self {
        Self { lanes, pass, waited }
    }

    /// Returns the call's place in line, to enter the same lanes with once more.
    pub fn ticket(&self) -> LaneTicket {
        self.pass.ticket
    }

    /// Whether the call waited for it.
    pub fn waited(&self) -> bool {
        self.waited
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.lanes.decide(|order, now, outbox| order.give_back(&self.pass, now, outbox));
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("pass", &self.pass).finish_non_exhaustive()
    }
}

/// A call in line. Dropping it takes the call out; lanes that are already on their way are dropped with
/// the channel, or by whoever finds it closed.
#[derive(Debug)]
struct Waiting<'a> {
    lanes: &'a Arc<Lanes>,
    id: u64,
    told: oneshot::Receiver<Result<Lane, Shed>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.lanes.decide(|order, now, outbox| order.leave(self.id, now, outbox));
    }
}
