//! One pool: its permits, its queue, and every decision about them.
//!
//! Told the time, deciding at once, telling nobody: what is to be said to waiting calls is put in an
//! [`Outbox`], which is delivered after the tenant's lock is released.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ask::whole_seconds;
use crate::capacity::Capacity;
use crate::circuit::Stamp;
use crate::hold::HoldTime;
use crate::queue::{Key, Outcome, Queue, Spot, Waiter};
use crate::shares::{Hindrance, Round, Shares, Turn};
use crate::sync::oneshot;
use crate::tenant::{App, Tenant};
use crate::{
    AppId, AppSettings, Ask, Deadline, OnRefusal, Place, PoolId, PoolSettings, QueueBounds, Shed,
    Ticket, WaitReason,
};

/// The longest wait that a shed call is advised: longer ones make clients sleep through the recovery.
const LONGEST_ADVICE: Duration = Duration::from_secs(30);
const SHORTEST_ADVICE: Duration = Duration::from_secs(1);

/// A decision that somebody gets a permit; becomes a [`Permit`](crate::Permit) outside the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) pool: PoolId,
    pub(crate) app: AppId,
    pub(crate) user: Option<u64>,
    pub(crate) ticket: Ticket,
    pub(crate) granted: Instant,
    pub(crate) stamp: Stamp,
    /// Why the call waited, if it did.
    pub(crate) reason: Option<WaitReason>,
    pub(crate) observed: Observed,
}

/// What a call would have waited for, were it enforced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pub(crate) capacity: bool,
    pub(crate) app_rate: bool,
    pub(crate) windows: bool,
    pub(crate) down: bool,
}

/// What is to be done once the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) answers: Vec<(oneshot::Sender<Outcome>, Result<Grant, Shed>)>,
    pub(crate) timer: Wake,
}

/// What is to be done about the timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    #[default]
    InTime,
    /// It would wake too late.
    Sooner,
    /// There is none, and somebody waits for a moment.
    Start,
}

/// What a call that asked gets at once.
#[derive(Debug)]
pub(crate) enum Answer {
    Granted(Grant),
    /// A place in the queue, until this moment.
    Waits(Spot, oneshot::Receiver<Outcome>, Instant),
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) id: PoolId,
    pub(crate) name: Arc<str>,
    pub(crate) entity: Option<Arc<str>>,
    /// Whether the settings still name it, or it was learnt.
    pub(crate) is_wanted: bool,
    pub(crate) enforced: bool,
    pub(crate) on_refusal: OnRefusal,
    pub(crate) retry_after_cap: Option<Duration>,
    pub(crate) capacity: Capacity,
    pub(crate) queue: Queue,
    pub(crate) shares: Shares,
    pub(crate) in_use: u32,
    pub(crate) kept_bytes: u64,
    /// What each app is about, in the order of the tenant's apps.
    parts: Vec<Part>,
    bounds: QueueBounds,
    hold: HoldTime,
    /// When a permit last went to an app because of its reserve, and to which.
    reserved: Option<(Instant, AppId)>,
}

/// One app in this pool.
#[derive(Debug, Default)]
struct Part {
    hold: HoldTime,
    kept_bytes: u64,
}

impl Pool {
    pub(crate) fn new(
        id: PoolId,
        settings: &PoolSettings,
        bounds: QueueBounds,
        learnt: bool,
        now: Instant,
    ) -> Self {
        Self {
            id,
            name: Arc::clone(&settings.name),
            entity: settings.entity.clone(),
            is_wanted: true,
            enforced: settings.enforce,
            on_refusal: settings.on_refusal,
            retry_after_cap: settings.retry_after_cap,
            capacity: Capacity::new(settings, learnt, now),
            queue: Queue::default(),
            shares: Shares::new(now),
            in_use: 0,
            kept_bytes: 0,
            parts: Vec::new(),
            bounds,
            hold: HoldTime::default(),
            reserved: None,
        }
    }

    /// Takes other settings; everything that runs and waits stays as it is.
    pub(crate) fn reconfigure(&mut self, settings: &PoolSettings) {
        self.is_wanted = true;
        self.take_rules(settings);
        self.capacity.reconfigure(settings);
    }

    /// The settings do not name it, for now. If Zuora does, it goes on as a learnt one, with `template`
    /// for what Zuora does not say.
    pub(crate) fn leave_to_zuora(&mut self, template: Option<&PoolSettings>) {
        let template = template.filter(|_| self.capacity.is_known_to_zuora());
        self.is_wanted = template.is_some();
        if let Some(template) = template {
            self.take_rules(template);
            self.capacity.leave_to_zuora(template.headroom);
        }
    }

    fn take_rules(&mut self, settings: &PoolSettings) {
        self.enforced = settings.enforce;
        self.on_refusal = settings.on_refusal;
        self.retry_after_cap = settings.retry_after_cap;
    }

    /// Takes in an app, or other settings of one.
    pub(crate) fn configure_app(&mut self, app: AppId, settings: &AppSettings, now: Instant) {
        self.queue.grow(app.index() + 1);
        self.shares.configure(app.index(), settings, now);
        while self.parts.len() <= app.index() {
            self.parts.push(Part::default());
        }
    }

    pub(crate) fn set_bounds(&mut self, bounds: QueueBounds) {
        self.bounds = bounds;
    }

    /// Brings the pool up to `now` and gives every usable permit to whose turn it is.
    ///
    /// Afterwards nobody is ready that may go, or no permit may be used.
    pub(crate) fn settle(&mut self, tenant: &mut Tenant, now: Instant, outbox: &mut Outbox) {
        self.capacity.advance(now);
        while let Some(app) = self.queue.wake(now) {
            self.note_ready(app);
        }
        let mut late = Vec::new();
        while self.queue.any_ready() && self.has_room(now) && !self.is_left_alone(tenant) {
            let Some(turn) = self.turn(tenant, now) else { break };
            let next = self.queue.pop(turn.app, now, &mut late);
            self.note_ready(turn.app);
            if let Some(waiter) = next {
                let grant = self.grant_waiter(&waiter, turn, tenant, now);
                outbox.answers.push((waiter.tell, Ok(grant)));
            }
        }
        self.dismiss(late, tenant, now, outbox);
    }

    /// Gives one permit although the tenant is down, to find out whether it still is: to the next in
    /// turn, of all or of those that only read. Returns whether there is such a call.
    pub(crate) fn probe(
        &mut self,
        only_reads: bool,
        tenant: &mut Tenant,
        now: Instant,
        outbox: &mut Outbox,
    ) -> bool {
        let mut late = Vec::new();
        let mut sent = false;
        while !sent && self.enforced && self.queue.any_ready() && self.has_room(now) {
            let turn =
                if only_reads { self.turn_to_read(tenant, now) } else { self.turn(tenant, now) };
            let Some(turn) = turn else { break };
            let next = if only_reads {
                self.queue.pop_read(turn.app, now)
            } else {
                self.queue.pop(turn.app, now, &mut late)
            };
            self.note_ready(turn.app);
            if let Some(waiter) = next {
                let grant = self.grant_waiter(&waiter, turn, tenant, now);
                outbox.answers.push((waiter.tell, Ok(grant)));
                sent = true;
            }
        }
        self.dismiss(late, tenant, now, outbox);
        sent
    }

    /// Decides on a call that asks. `due` is when the call itself may be sent, and `nth` tells this
    /// ask apart from every other. The pool must be settled.
    pub(crate) fn ask(
        &mut self,
        ask: &Ask,
        ticket: Ticket,
        due: Option<Instant>,
        nth: u64,
        tenant: &mut Tenant,
        now: Instant,
    ) -> Result<Answer, Shed> {
        let deadline = self.permit_by(ask, now);
        if let Some(shed) = self.opens_too_late(ask, ticket, due, deadline, tenant, now) {
            return Err(shed);
        }
        if deadline <= now {
            return Err(self.out_of_time_at_once(ask, tenant, now));
        }
        let is_due = due.is_none_or(|due| due <= now);
        if is_due && self.may_go_at_once(ask.app, tenant, now) {
            return Ok(Answer::Granted(self.grant(ask.app, ask.user, ticket, None, tenant, now)));
        }
        if self.queue.len() >= self.bounds.max_requests {
            return Err(Shed::QueueFull { retry_after: self.advice(ask.app, tenant, now) });
        }
        if is_due {
            self.tell_the_hopeless(ask, deadline, tenant, now)?;
        }
        let (tell, told) = oneshot::channel();
        let (app, user) = (ask.app, ask.user);
        let may_probe = ask.may_probe;
        let waiter = Waiter { app, user, ticket, arrived: now, deadline, due, may_probe, tell };
        let key = Key::new(ticket, nth);
        let due = self.queue.push(key, waiter, now);
        let spot = Spot { pool: self.id, app, user, key, due };
        self.note_ready(app);
        Ok(Answer::Waits(spot, told, deadline))
    }

    /// Takes out a call that left, if it is still here.
    pub(crate) fn leave(&mut self, spot: Spot) -> Option<Waiter> {
        let waiter = self.queue.remove(spot);
        self.note_ready(spot.app);
        waiter
    }

    /// Takes a permit back.
    pub(crate) fn give_back(&mut self, grant: &Grant, tenant: &mut Tenant, now: Instant) {
        self.capacity.in_use(self.in_use - 1, self.in_use, now);
        self.in_use -= 1;
        self.shares.give_back(grant.app.index(), now);
        let held = now.saturating_duration_since(grant.granted);
        self.queue.give_back(grant.app, grant.user, held);
        tenant.app_mut(grant.app).give_back();
    }

    /// Learns how long a request took.
    pub(crate) fn measure(&mut self, grant: &Grant, now: Instant) {
        self.hold.measure(grant.granted, now);
        self.parts[grant.app.index()].hold.measure(grant.granted, now);
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
        if !self.enforced {
            return;
        }
        let until = self.capacity.closed_until().unwrap_or(until);
        for waiter in self.queue.expel(until) {
            self.note_ready(waiter.app);
            outbox.answers.push((waiter.tell, Err(Shed::Cooldown { until })));
        }
    }

    /// The tenant is down, and left alone until then: sends those away at once who cannot wait so long.
    pub(crate) fn leave_alone(&mut self, until: Instant, now: Instant, outbox: &mut Outbox) {
        if !self.enforced {
            return;
        }
        for waiter in self.queue.expel(until) {
            self.note_ready(waiter.app);
            let retry_after = advisable(until.saturating_duration_since(now));
            outbox.answers.push((waiter.tell, Err(Shed::Down { retry_after })));
        }
    }

    /// Counts `more` bytes of a body that stays in memory, unless that is over the bound.
    pub(crate) fn keep(
        &mut self,
        app: AppId,
        more: u64,
        tenant: &Tenant,
        now: Instant,
    ) -> Result<(), Shed> {
        let kept = self.kept_bytes.checked_add(more).filter(|kept| *kept <= self.bounds.max_bytes);
        let Some(kept) = kept else {
            return Err(Shed::QueueBytes { retry_after: self.advice(app, tenant, now) });
        };
        self.kept_bytes = kept;
        self.parts[app.index()].kept_bytes += more;
        Ok(())
    }

    pub(crate) fn forget(&mut self, app: AppId, bytes: u64) {
        self.kept_bytes -= bytes;
        self.parts[app.index()].kept_bytes -= bytes;
    }

    pub(crate) fn kept_bytes_of(&self, app: AppId) -> u64 {
        self.parts[app.index()].kept_bytes
    }

    /// Why a call of `app` that asked at `since` has to be sent away when its time is over.
    pub(crate) fn too_late(
        &self,
        app: AppId,
        since: Instant,
        tenant: &Tenant,
        now: Instant,
    ) -> Shed {
        if self.is_left_alone(tenant) {
            return Shed::Down { retry_after: advisable(self.closed_for(tenant, now)) };
        }
        let retry_after = self.advice(app, tenant, now);
        if tenant.app(app).was_held_up(since) || tenant.windows.held_up(since) {
            // However far away that is, a call that comes earlier comes in vain.
            let rate = whole_seconds(self.rate_wait(app, 0, tenant, now));
            Shed::RateLimited { retry_after: retry_after.max(rate) }
        } else {
            Shed::QueueTimeout { retry_after }
        }
    }

    /// Returns how long a call of `app` that asks at `now` will wait, as far as measurements tell.
    pub(crate) fn predicted_wait(&self, app: AppId, tenant: &Tenant, now: Instant) -> Duration {
        let ahead = self.queue.ready_of(app);
        let rate = self.rate_wait(app, ahead, tenant, now);
        let nobody_waits = ahead == 0 && !self.is_left_alone(tenant);
        if nobody_waits && self.has_room(now) && !tenant.app(app).is_at_cap() {
            return rate;
        }
        let served = self.time_for(app, ahead, self.capacity.current(now), tenant);
        (self.closed_for(tenant, now) + served.unwrap_or_default()).max(rate)
    }

    /// Returns the predicted wait as advice.
    pub(crate) fn advice(&self, app: AppId, tenant: &Tenant, now: Instant) -> Duration {
        advisable(self.predicted_wait(app, tenant, now))
    }

    /// Returns how long it is certain that nobody goes.
    fn closed_for(&self, tenant: &Tenant, now: Instant) -> Duration {
        let down = tenant.circuit.open_until(now).filter(|_| self.enforced);
        let until = self.capacity.closed_until().max(down);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    pub(crate) fn paused_for(&self, now: Instant) -> Duration {
        let until = self.capacity.closed_until();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Returns the next moment that could let a waiting call go with nothing else happening.
    pub(crate) fn next_event(&self, tenant: &mut Tenant, now: Instant) -> Option<Instant> {
        if self.queue.is_empty() {
            return None;
        }
        if self.is_left_alone(tenant)
            && let Some(change) = tenant.circuit.next_change(now)
        {
            return Some(change);
        }
        let resting = self.queue.next_due();
        if !self.queue.any_ready() {
            return resting;
        }
        let grows = self.capacity.next_change(now);
        // One that is over was not looked at, because something else keeps everybody.
        let rates = self.shares.next_release().filter(|at| now < *at);
        let windows = self.has_room(now).then(|| tenant.windows.block(now)).flatten();
        [resting, grows, windows, rates].into_iter().flatten().min()
    }

    /// Tells the shares whether anybody of an app is ready.
    fn note_ready(&mut self, app: AppId) {
        self.shares.set_ready(app.index(), self.queue.ready_of(app) > 0);
    }

    /// Whose turn it is, of those that may go.
    fn turn(&mut self, tenant: &mut Tenant, now: Instant) -> Option<Turn> {
        if tenant.windows.block(now).is_some() {
            return None;
        }
        let round = self.round(now);
        let turn = self.shares.choose(&round, |app| hindrance(&mut tenant.apps[app], now))?;
        Some(self.at_own_pace(turn))
    }

    /// The same, of those that have a call which only reads.
    fn turn_to_read(&mut self, tenant: &mut Tenant, now: Instant) -> Option<Turn> {
        if tenant.windows.block(now).is_some() {
            return None;
        }
        let (round, queue) = (self.round(now), &self.queue);
        let turn = self.shares.choose_among(&round, |app| {
            hindrance(&mut tenant.apps[app.index()], now).is_none() && queue.has_read(app, now)
        })?;
        Some(self.at_own_pace(turn))
    }

    fn round(&self, now: Instant) -> Round {
        let hold = self.hold.guess().as_secs_f64();
        let (capacity, whole) = (self.capacity.current(now), self.capacity.full());
        Round { hold, capacity, whole, now }
    }

    fn at_own_pace(&self, mut turn: Turn) -> Turn {
        turn.own_hold = self.parts[turn.app.index()].hold.guess().as_secs_f64();
        turn
    }

    /// Whether a call of `app` may go with nobody waiting before it. After settling, whoever waits in
    /// spite of room may not go for a reason of its own.
    fn may_go_at_once(&mut self, app: AppId, tenant: &mut Tenant, now: Instant) -> bool {
        self.queue.ready_of(app) == 0
            && self.has_room(now)
            && (!self.is_left_alone(tenant) || tenant.circuit.wants_probe(now))
            && !tenant.app_mut(app).cap_blocks(now)
            && tenant.app_mut(app).rate_blocks(now).is_none()
            && tenant.windows.block(now).is_none()
    }

    fn has_room(&self, now: Instant) -> bool {
        !self.enforced || self.in_use < self.capacity.usable(now)
    }

    /// Whether calls wait because the tenant is down.
    fn is_left_alone(&self, tenant: &Tenant) -> bool {
        self.enforced && tenant.circuit.is_open()
    }

    /// Why a call is sent away at once that may not be sent, by somebody's word, before its deadline.
    fn opens_too_late(
        &self,
        ask: &Ask,
        ticket: Ticket,
        due: Option<Instant>,
        deadline: Instant,
        tenant: &Tenant,
        now: Instant,
    ) -> Option<Shed> {
        let is_too_late = |until: &Instant| now < *until && deadline <= *until;
        let (named, chosen) = if ticket.is_chosen { (None, due) } else { (due, None) };
        let closed = self.capacity.closed_until().filter(|_| self.enforced);
        if let Some(until) = named.max(closed).filter(is_too_late) {
            return Some(Shed::Cooldown { until });
        }
        let down = tenant.circuit.open_until(now).filter(|_| self.enforced);
        if let Some(until) = down.filter(is_too_late) {
            return Some(Shed::Down { retry_after: advisable(until - now) });
        }
        let until = chosen.filter(is_too_late)?;
        let retry_after = self.advice(ask.app, tenant, now).max(advisable(until - now));
        Some(Shed::Hopeless { retry_after })
    }

    /// Returns the last moment at which a permit is of use.
    pub(crate) fn permit_by(&self, ask: &Ask, now: Instant) -> Instant {
        match ask.deadline {
            Deadline::Permit(at) => at,
            Deadline::Answer(at) => at.checked_sub(self.usual_time(ask.app, now)).unwrap_or(at),
        }
    }

    /// Returns how long a request of `app` usually takes, and zero while that is not known.
    ///
    /// Whoever is sent away because of it measures nothing. So what others take does not count, and what
    /// the app itself took does for a while only, unless a permit is out whose end will tell.
    fn usual_time(&self, app: AppId, now: Instant) -> Duration {
        let hold = &self.parts[app.index()].hold;
        let is_of_now = self.shares.in_use(app.index()) > 0 || hold.is_recent(now);
        hold.mean().filter(|_| is_of_now).unwrap_or_default()
    }

    /// Sends those away whose deadline is over: their own timers are about to say the same, and permits
    /// would be spent on them for nothing.
    fn dismiss(&self, late: Vec<Waiter>, tenant: &Tenant, now: Instant, outbox: &mut Outbox) {
        for waiter in late {
            let shed = self.too_late(waiter.app, waiter.arrived, tenant, now);
            outbox.answers.push((waiter.tell, Err(shed)));
        }
    }

    fn out_of_time_at_once(&self, ask: &Ask, tenant: &Tenant, now: Instant) -> Shed {
        let retry_after = self.advice(ask.app, tenant, now);
        match ask.deadline {
            Deadline::Answer(_) => Shed::Hopeless { retry_after },
            Deadline::Permit(_) => Shed::QueueTimeout { retry_after },
        }
    }

    fn grant_waiter(
        &mut self,
        waiter: &Waiter,
        turn: Turn,
        tenant: &mut Tenant,
        now: Instant,
    ) -> Grant {
        let reason = self.reason(waiter, turn, tenant);
        let grant = self.grant(waiter.app, waiter.user, waiter.ticket, Some(turn), tenant, now);
        if turn.reserved {
            self.reserved = Some((now, waiter.app));
        }
        Grant { reason: Some(reason), ..grant }
    }

    /// Why a call waited whose turn has come.
    fn reason(&self, waiter: &Waiter, turn: Turn, tenant: &Tenant) -> WaitReason {
        let since = waiter.arrived;
        let rests = waiter.due.filter(|due| since < *due);
        let is_named = rests.is_some() && !waiter.ticket.is_chosen;
        if is_named || self.capacity.closed_until().is_some_and(|opened| since < opened) {
            WaitReason::Cooldown
        } else if self.enforced && tenant.circuit.was_open_after(since) {
            WaitReason::Down
        } else if rests.is_some() {
            WaitReason::Retry
        } else if tenant.app(waiter.app).was_held_up(since) || tenant.windows.held_up(since) {
            WaitReason::Rate
        } else if tenant.app(waiter.app).was_capped(since) {
            WaitReason::MaxInFlight
        } else if !turn.reserved
            && self.reserved.is_some_and(|(at, app)| since <= at && app != waiter.app)
        {
            WaitReason::Reserve
        } else {
            WaitReason::Capacity
        }
    }

    /// Hands out a permit.
    fn grant(
        &mut self,
        app: AppId,
        user: Option<u64>,
        ticket: Ticket,
        turn: Option<Turn>,
        tenant: &mut Tenant,
        now: Instant,
    ) -> Grant {
        let over = !self.enforced && self.in_use >= self.capacity.usable(now);
        self.capacity.in_use(self.in_use + 1, self.in_use, now);
        self.in_use += 1;
        self.shares.take(app.index(), turn, now);
        self.queue.take(app, user);
        let observed = Observed {
            capacity: over,
            app_rate: tenant.app_mut(app).take(now),
            windows: tenant.windows.take(now),
            down: !self.enforced && tenant.circuit.is_open(),
        };
        let stamp = tenant.circuit.stamp(self.enforced, now);
        Grant { pool: self.id, app, user, ticket, granted: now, stamp, reason: None, observed }
    }

    /// Turns a call away whose turn would come too late: certainly, because of a rate, or clearly, as
    /// far as measurements tell, by half, even if the pool were whole at once.
    fn tell_the_hopeless(
        &self,
        ask: &Ask,
        deadline: Instant,
        tenant: &Tenant,
        now: Instant,
    ) -> Result<(), Shed> {
        let ticket = match ask.place {
            Place::Back => None,
            Place::Front(ticket) => Some(ticket),
        };
        let ahead = self.queue.ahead_of(ask.app, ask.user, ticket);
        let rate = self.rate_wait(ask.app, ahead, tenant, now);
        if deadline <= now + rate {
            return Err(Shed::RateLimited {
                retry_after: whole_seconds(rate).max(SHORTEST_ADVICE),
            });
        }
        let patience = deadline.saturating_duration_since(now + self.closed_for(tenant, now));
        let wait = self.time_for(ask.app, ahead, self.capacity.full(), tenant);
        if wait.is_some_and(|wait| wait > patience * 3 / 2) {
            return Err(Shed::Hopeless { retry_after: self.advice(ask.app, tenant, now) });
        }
        Ok(())
    }

    /// Returns how long rates alone keep a call of `app` waiting that has so many before it.
    fn rate_wait(&self, app: AppId, ahead: usize, tenant: &Tenant, now: Instant) -> Duration {
        tenant.app(app).rate_takes(ahead + 1, now).max(tenant.windows.takes(now))
    }

    /// Returns how long it takes until a call of `app` has its turn that has so many before it, if
    /// `permits` may be used; `None` while nothing is measured.
    fn time_for(
        &self,
        app: AppId,
        ahead: usize,
        permits: u32,
        tenant: &Tenant,
    ) -> Option<Duration> {
        let pool = self.hold.mean()?.as_secs_f64();
        let own = self.parts[app.index()].hold.mean().map_or(pool, |own| own.as_secs_f64());
        let part = self.shares.part_of(app.index(), permits);
        let part = part.min(f64::from(tenant.app(app).max_in_flight()));
        // Below its part an app has the next permit that comes free, and then those of its own.
        let draining = f64::from(self.in_use.saturating_sub(permits));
        let next = pool * (draining + 1.0) / f64::from(permits);
        let turns = ahead as f64;
        let wait = if f64::from(self.shares.in_use(app.index())) < part {
            next + own * turns / part
        } else {
            next.max(own * (turns + 1.0) / part)
        };
        Some(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}

/// What keeps an app from going that has a call which could go otherwise.
fn hindrance(app: &mut App, now: Instant) -> Option<Hindrance> {
    if app.cap_blocks(now) {
        return Some(Hindrance::Cap);
    }
    app.rate_blocks(now).map(Hindrance::Rate)
}

/// Returns a wait as it is told: whole seconds, neither so short that they make a poll nor so long that
/// a client sleeps through the recovery.
fn advisable(wait: Duration) -> Duration {
    whole_seconds(wait).clamp(SHORTEST_ADVICE, LONGEST_ADVICE)
}
