//! One pool: its permits, its queue, and every decision about them.
//!
//! Told the time, deciding at once, telling nobody: what is to be said to waiting calls is put in an
//! [`Outbox`], which is delivered after the tenant's lock is released.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ask::whole_seconds;
use crate::capacity::Capacity;
use crate::queue::{Key, Outcome, Queue, Spot, Waiter};
use crate::usage::{HoldTime, Usage};
use crate::{
    AppId, Ask, Place, PoolId, PoolSettings, QueueBounds, Refused, Shed, Ticket, WaitReason,
};

/// The longest wait that a shed call is advised: longer ones make clients sleep through the recovery.
const LONGEST_ADVICE: Duration = Duration::from_secs(30);
const SHORTEST_ADVICE: Duration = Duration::from_secs(1);

/// A decision that somebody gets a permit; becomes a [`Permit`](crate::Permit) outside the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) pool: PoolId,
    pub(crate) app: AppId,
    pub(crate) ticket: Ticket,
    pub(crate) granted: Instant,
    pub(crate) reason: Option<WaitReason>,
}

/// How a permit came back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Done,
    Refused(Refused),
}

/// What is to be done once the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) answers: Vec<(oneshot::Sender<Outcome>, Result<Grant, Shed>)>,
    /// Pools without a timer that need one.
    pub(crate) start: Vec<PoolId>,
    /// Pools whose timer would wake too late.
    pub(crate) nudge: Vec<PoolId>,
}

/// What a call that asked gets at once.
#[derive(Debug)]
pub(crate) enum Answer {
    Granted(Grant),
    Waits(Spot, oneshot::Receiver<Outcome>),
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) id: PoolId,
    pub(crate) capacity: Capacity,
    pub(crate) queue: Queue,
    pub(crate) apps: Vec<Usage>,
    pub(crate) in_use: u32,
    pub(crate) kept_bytes: u64,
    bounds: QueueBounds,
    hold: HoldTime,
    /// When the timer task looks again, if one runs.
    timer: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(
        id: PoolId,
        settings: &PoolSettings,
        bounds: QueueBounds,
        apps: usize,
        now: Instant,
    ) -> Self {
        Self {
            id,
            capacity: Capacity::new(settings),
            queue: Queue::new(apps),
            apps: (0..apps).map(|_| Usage::new(now)).collect(),
            in_use: 0,
            kept_bytes: 0,
            bounds,
            hold: HoldTime::default(),
            timer: None,
        }
    }

    /// Brings the pool up to `now` and gives every usable permit to whose turn it is.
    ///
    /// Afterwards nobody is ready, or no permit may be used.
    pub(crate) fn settle(&mut self, now: Instant, outbox: &mut Outbox) {
        self.capacity.advance(now);
        self.queue.wake(now);
        let mut late = Vec::new();
        while self.has_room(now)
            && let Some(waiter) = self.queue.pop(now, &mut late)
        {
            let waited = Some((waiter.arrived, waiter.due));
            let grant = self.grant(waiter.app, waiter.ticket, waited, now);
            outbox.answers.push((waiter.tell, Ok(grant)));
        }
        // Their own timers are about to say the same; permits would be spent on them for nothing.
        for waiter in late {
            let retry_after = self.advice(waiter.app, now);
            outbox.answers.push((waiter.tell, Err(Shed::QueueTimeout { retry_after })));
        }
        self.arm(now, outbox);
    }

    /// Decides on a call that asks. `due` is when the call itself may be sent, and `nth` tells this
    /// ask apart from every other.
    pub(crate) fn ask(
        &mut self,
        ask: &Ask,
        ticket: Ticket,
        due: Option<Instant>,
        nth: u64,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Result<Answer, Shed> {
        self.settle(now, outbox);
        if let Some(until) = self.opens(due, now)
            && ask.until() <= until
        {
            return Err(Shed::Cooldown { until });
        }
        if ask.until() <= now {
            return Err(Shed::QueueTimeout { retry_after: self.advice(ask.app, now) });
        }
        let is_due = due.is_none_or(|due| due <= now);
        if is_due && !self.queue.any_ready() && self.has_room(now) {
            return Ok(Answer::Granted(self.grant(ask.app, ticket, None, now)));
        }
        if self.queue.len() >= self.bounds.max_requests {
            return Err(Shed::QueueFull { retry_after: self.advice(ask.app, now) });
        }
        if is_due && self.is_hopeless(ask, now) {
            return Err(Shed::Hopeless { retry_after: self.advice(ask.app, now) });
        }
        let (tell, told) = oneshot::channel();
        let (app, deadline) = (ask.app, ask.until());
        let waiter = Waiter { app, ticket, arrived: now, deadline, due, tell };
        let spot = self.queue.push(Key::new(ticket, nth), waiter, now);
        self.arm(now, outbox);
        Ok(Answer::Waits(spot, told))
    }

    /// Takes a permit back. What it means for other pools is not decided here.
    pub(crate) fn give_back(&mut self, grant: &Grant, end: End, now: Instant) {
        self.in_use -= 1;
        self.apps[grant.app.index()].give_back(now);
        match end {
            End::Done => self.hold.measure(now.saturating_duration_since(grant.granted)),
            End::Refused(Refused::Concurrency { .. }) => self.capacity.shrink(now, self.in_use),
            End::Refused(Refused::Rate { .. }) => {}
        }
    }

    /// Closes the pool, and sends those away at once who cannot wait for its opening.
    pub(crate) fn pause(
        &mut self,
        now: Instant,
        named: Instant,
        until: Instant,
        outbox: &mut Outbox,
    ) {
        self.capacity.pause(now, named, until);
        let until = self.capacity.closed_until().unwrap_or(until);
        for waiter in self.queue.expel(until) {
            outbox.answers.push((waiter.tell, Err(Shed::Cooldown { until })));
        }
    }

    /// Counts `more` bytes of a body that stays in memory, unless that is over the bound.
    pub(crate) fn keep(&mut self, app: AppId, more: u64, now: Instant) -> Result<(), Shed> {
        let kept = self.kept_bytes.checked_add(more).filter(|kept| *kept <= self.bounds.max_bytes);
        let Some(kept) = kept else {
            return Err(Shed::QueueBytes { retry_after: self.advice(app, now) });
        };
        self.kept_bytes = kept;
        self.apps[app.index()].kept_bytes += more;
        Ok(())
    }

    pub(crate) fn forget(&mut self, app: AppId, bytes: u64) {
        self.kept_bytes -= bytes;
        self.apps[app.index()].kept_bytes -= bytes;
    }

    /// Returns how long a call of `app` that asks at `now` will wait, as far as measurements tell.
    pub(crate) fn predicted_wait(&self, app: AppId, now: Instant) -> Duration {
        if !self.queue.any_ready() && self.has_room(now) {
            return Duration::ZERO;
        }
        let ahead = self.queue.ahead_of(app, None);
        self.closed_for(now) + self.time_for(ahead, self.capacity.current()).unwrap_or_default()
    }

    /// Returns the predicted wait as advice: whole seconds, neither so short that it is a poll nor
    /// so long that a client sleeps through the recovery.
    pub(crate) fn advice(&self, app: AppId, now: Instant) -> Duration {
        whole_seconds(self.predicted_wait(app, now)).clamp(SHORTEST_ADVICE, LONGEST_ADVICE)
    }

    pub(crate) fn closed_for(&self, now: Instant) -> Duration {
        let until = self.capacity.closed_until();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Returns when the timer task must look again; without such a moment the task ends.
    pub(crate) fn rearm(&mut self, now: Instant) -> Option<Instant> {
        self.timer = self.next_event(now);
        self.timer
    }

    /// Forgets a timer task that ended without being asked to, with its runtime.
    pub(crate) fn lose_timer(&mut self) {
        self.timer = None;
    }

    /// Makes sure that the timer task wakes for the next event, if it is there for anybody.
    fn arm(&mut self, now: Instant, outbox: &mut Outbox) {
        let Some(event) = self.next_event(now) else { return };
        match self.timer {
            None => outbox.start.push(self.id),
            Some(timer) if event < timer => outbox.nudge.push(self.id),
            Some(_) => return,
        }
        self.timer = Some(event);
    }

    /// Returns the next moment that could let a waiting call go with nothing else happening.
    fn next_event(&self, now: Instant) -> Option<Instant> {
        if self.queue.is_empty() {
            return None;
        }
        let grows = self.capacity.next_change(now).filter(|_| self.queue.any_ready());
        grows.into_iter().chain(self.queue.next_due()).min()
    }

    fn has_room(&self, now: Instant) -> bool {
        self.in_use < self.capacity.usable(now)
    }

    /// Returns the first moment after `now` at which a call with `due` may be sent, if not now.
    fn opens(&self, due: Option<Instant>, now: Instant) -> Option<Instant> {
        due.max(self.capacity.closed_until()).filter(|until| now < *until)
    }

    /// Hands out a permit; `waited` is since when, and until when the call itself had to.
    fn grant(
        &mut self,
        app: AppId,
        ticket: Ticket,
        waited: Option<(Instant, Option<Instant>)>,
        now: Instant,
    ) -> Grant {
        self.in_use += 1;
        self.apps[app.index()].take(now);
        let reason = waited.map(|(arrived, due)| {
            let opened = due.max(self.capacity.closed_until());
            let had_to_rest = opened.is_some_and(|opened| arrived < opened);
            if had_to_rest { WaitReason::Cooldown } else { WaitReason::Capacity }
        });
        Grant { pool: self.id, app, ticket, granted: now, reason }
    }

    /// Whether the wait clearly exceeds the deadline: by half, even if the pool were whole at once.
    fn is_hopeless(&self, ask: &Ask, now: Instant) -> bool {
        let ticket = match ask.place {
            Place::Back => None,
            Place::Front(ticket) => Some(ticket),
        };
        let ahead = self.queue.ahead_of(ask.app, ticket);
        let patience = ask.until().saturating_duration_since(now + self.closed_for(now));
        self.time_for(ahead, self.capacity.full()).is_some_and(|wait| wait > patience * 3 / 2)
    }

    /// Returns how long `permits` take to serve those `ahead` and then come free once more, or `None`
    /// while nothing is measured.
    fn time_for(&self, ahead: usize, permits: u32) -> Option<Duration> {
        let draining = self.in_use.saturating_sub(permits) as usize;
        let turns = u32::try_from(ahead + draining + 1).unwrap_or(u32::MAX);
        let hold = self.hold.mean()?;
        Some(hold.checked_mul(turns).unwrap_or(Duration::MAX) / permits)
    }
}
