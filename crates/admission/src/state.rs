//! All that one tenant's lock protects.

use tokio::time::Instant;

use crate::circuit::Change;
use crate::jitter::Jitter;
use crate::live::Live;
use crate::pool::{Answer, Grant, Outbox, Pool, Wake};
use crate::queue::{Spot, Waiter};
use crate::tenant::Tenant;
use crate::{
    AppId, AppSettings, Ask, OnRefusal, Place, PoolId, PoolSettings, Refused, Said, Settings, Shed,
    Snapshot, Start, Ticket,
};

/// How many limit types nobody configured are learnt, over all entities. Zuora has a handful.
const MOST_LEARNT: usize = 64;
/// A name longer than this is not a limit type's.
const LONGEST_NAME: usize = 64;

/// The tenant's pools, and what they share: apps, windows, and the order of arrival.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) pools: Vec<Pool>,
    pub(crate) tenant: Tenant,
    settings: Settings,
    jitter: Jitter,
    asks: u64,
    /// Which pool is served first while they share a window.
    first: usize,
    /// When the timer task looks again, if one runs.
    timer: Option<Instant>,
}

impl State {
    pub(crate) fn new(settings: Settings, start: Start, jitter: Jitter, now: Instant) -> Self {
        let mut state = Self {
            pools: Vec::new(),
            tenant: Tenant::new(&settings.rate),
            settings,
            jitter,
            asks: 0,
            first: 0,
            timer: None,
        };
        state.apply(now);
        if let Start::Cautious(time) = start {
            state.pools.iter_mut().for_each(|pool| pool.capacity.be_cautious(now, time));
        }
        state
    }

    /// Takes other settings. Queues, permits, windows and what was learnt stay, by name.
    pub(crate) fn reconfigure(&mut self, settings: Settings, now: Instant, outbox: &mut Outbox) {
        self.settings = settings;
        self.apply(now);
        self.settle_all(now, outbox);
    }

    /// Returns the pool of a limit type that Zuora named, made if there is none.
    pub(crate) fn learn(
        &mut self,
        entity: Option<&str>,
        name: &str,
        limit: u32,
        now: Instant,
    ) -> Option<PoolId> {
        if let Some(known) = self.find_pool(entity, name) {
            return Some(known);
        }
        let learnt = self.pools.iter().filter(|pool| pool.capacity.is_learnt()).count();
        let is_name = !name.is_empty() && name.len() <= LONGEST_NAME;
        if learnt >= MOST_LEARNT || !is_name || name.chars().any(char::is_control) {
            return None;
        }
        let ceiling = limit.max(1).try_into().expect("it is at least one");
        let template = self.template(entity)?;
        let settings = PoolSettings { name: name.into(), ceiling, ..template };
        Some(self.add_pool(&settings, true, now))
    }

    /// What holds for a limit type of `entity` that nobody configured: what holds for the others, and
    /// it is enforced. `None` if nothing of this entity is configured any more.
    fn template(&self, entity: Option<&str>) -> Option<PoolSettings> {
        let like = self.settings.pools.iter().find(|pool| pool.entity.as_deref() == entity)?;
        Some(PoolSettings { enforce: true, ..like.clone() })
    }

    pub(crate) fn find_pool(&self, entity: Option<&str>, name: &str) -> Option<PoolId> {
        let is_it =
            |pool: &&Pool| pool.name.eq_ignore_ascii_case(name) && pool.entity.as_deref() == entity;
        self.pools.iter().find(is_it).map(|pool| pool.id)
    }

    /// Decides on a call that asks.
    pub(crate) fn ask(
        &mut self,
        ask: &Ask,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Result<Answer, Shed> {
        self.settle(ask.pool, now, outbox);
        self.asks += 1;
        let nth = self.asks;
        let ticket = match ask.place {
            Place::Back => Ticket { number: nth, since: now, not_before: None, is_chosen: false },
            Place::Front(ticket) => ticket,
        };
        let due = self.due(ask, ticket, now);
        let pool = &mut self.pools[ask.pool.index()];
        let answer = pool.ask(ask, ticket, due, nth, &mut self.tenant, now);
        if let Ok(Answer::Waits(..)) = answer {
            self.arm(ask.pool, now, outbox);
        }
        answer
    }

    /// Takes a permit back whose request is over, and passes on what comes free.
    pub(crate) fn finish(
        &mut self,
        grant: &Grant,
        answered: bool,
        now: Instant,
        outbox: &mut Outbox,
    ) {
        if answered {
            self.pools[grant.pool.index()].measure(grant, now);
        }
        self.take_back(grant, now, outbox);
    }

    /// Takes a permit back whose request was refused. Returns when it may be sent again.
    pub(crate) fn refuse(
        &mut self,
        grant: &Grant,
        refused: Refused,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Instant {
        let is_up_again = self.note_reached(grant, now);
        let pool = &mut self.pools[grant.pool.index()];
        let until = match (refused, pool.retry_after_cap) {
            (Refused::Rate { until }, _) => until,
            (Refused::Concurrency { until } | Refused::Elsewhere { until }, cap) => {
                cap.map_or(until, |cap| until.min(now + cap))
            }
        };
        match (refused, pool.on_refusal) {
            (Refused::Concurrency { .. }, OnRefusal::Shrink) => {
                pool.capacity.shrink(now, pool.in_use - 1, grant.granted);
            }
            (Refused::Concurrency { .. }, OnRefusal::Freeze) => {
                self.pause(grant.pool.index()..=grant.pool.index(), until, now, outbox);
            }
            (Refused::Elsewhere { .. }, _) => {}
            // The windows are the tenant's: every pool waits.
            (Refused::Rate { .. }, _) => self.pause(0..=self.pools.len() - 1, until, now, outbox),
        }
        self.take_back(grant, now, outbox);
        if is_up_again {
            self.settle_all(now, outbox);
        }
        until
    }

    /// Takes in what Zuora said about a pool; whether it is worth telling.
    pub(crate) fn observe(
        &mut self,
        id: PoolId,
        said: Said,
        now: Instant,
        outbox: &mut Outbox,
    ) -> bool {
        let pool = &mut self.pools[id.index()];
        let is_news = pool.capacity.observe(said, pool.in_use, now);
        self.settle(id, now, outbox);
        is_news
    }

    /// A request was answered. Returns whether the tenant is up again by that.
    pub(crate) fn reached(&mut self, grant: &Grant, now: Instant, outbox: &mut Outbox) -> bool {
        let is_up_again = self.note_reached(grant, now);
        if is_up_again {
            self.settle_all(now, outbox);
        }
        is_up_again
    }

    /// A request was not answered. Returns until when the tenant is left alone, if that began by it.
    pub(crate) fn unreached(
        &mut self,
        grant: &Grant,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Option<Instant> {
        let jitter = |pause| self.jitter.on(pause);
        let change = self.tenant.circuit.unreached(grant.stamp, now, jitter);
        let Some(Change::Opens { until }) = change else { return None };
        for pool in &mut self.pools {
            pool.leave_alone(until, now, outbox);
        }
        self.settle_all(now, outbox);
        Some(until)
    }

    /// Whether the tenant is up again, as a request shows that was answered. Then every pool begins with
    /// a part of what it may use: a Zuora that has just come back is not to be hit by all who waited.
    fn note_reached(&mut self, grant: &Grant, now: Instant) -> bool {
        let closes = self.tenant.circuit.reached(grant.stamp, now) == Some(Change::Closes);
        if closes {
            self.pools.iter_mut().for_each(|pool| pool.capacity.begin_slowly(now));
        }
        closes
    }

    pub(crate) fn leave(&mut self, spot: Spot) -> Option<Waiter> {
        self.pools[spot.pool.index()].leave(spot)
    }

    /// Why a call has to be sent away whose time is over.
    pub(crate) fn too_late(&self, spot: Spot, left: Option<&Waiter>, now: Instant) -> Shed {
        let since = left.map_or(now, |waiter| waiter.arrived);
        self.pools[spot.pool.index()].too_late(spot.app, since, &self.tenant, now)
    }

    /// Counts bytes of a kept body.
    pub(crate) fn keep(
        &mut self,
        pool: PoolId,
        app: AppId,
        more: u64,
        now: Instant,
    ) -> Result<(), Shed> {
        self.pools[pool.index()].keep(app, more, &self.tenant, now)
    }

    /// Does what the passing of time makes due, and returns when to look again.
    pub(crate) fn tend(&mut self, now: Instant, outbox: &mut Outbox) -> Option<Instant> {
        self.settle_all(now, outbox);
        // The timer is what asks: it need not be told.
        outbox.timer = Wake::InTime;
        let events = self.pools.iter().filter_map(|pool| pool.next_event(&mut self.tenant, now));
        self.timer = events.min();
        self.timer
    }

    /// Forgets a timer task that ended without being asked to, with its runtime.
    pub(crate) fn lose_timer(&mut self) {
        self.timer = None;
    }

    /// Returns everything there is to see. Pools and apps that the settings no longer name are shown as
    /// long as anything of theirs is left.
    pub(crate) fn snapshot(&mut self, live: &Live, now: Instant) -> Snapshot {
        let Self { pools, tenant, .. } = self;
        tenant.circuit.advance(now);
        let shown = pools.iter_mut().map(|pool| {
            pool.capacity.advance(now);
            pool.snapshot(tenant, live, now)
        });
        let shown: Vec<_> = shown.flatten().collect();
        Snapshot {
            in_use: shown.iter().map(|pool| pool.in_use).sum(),
            queued: shown.iter().map(|pool| pool.queued).sum(),
            kept_bytes: shown.iter().map(|pool| pool.kept_bytes).sum(),
            circuit: tenant.circuit.snapshot(),
            pools: shown,
        }
    }

    /// Takes a permit back with which nothing was sent: as if it had never been given.
    pub(crate) fn take_back_unused(&mut self, grant: &Grant, now: Instant, outbox: &mut Outbox) {
        // What was only observed was not counted.
        if !grant.observed.app_rate {
            self.tenant.app_mut(grant.app).refund();
        }
        if !grant.observed.windows {
            self.tenant.windows.refund();
        }
        self.take_back(grant, now, outbox);
    }

    fn take_back(&mut self, grant: &Grant, now: Instant, outbox: &mut Outbox) {
        let was_capped = self.tenant.app(grant.app).is_at_cap();
        self.pools[grant.pool.index()].give_back(grant, &mut self.tenant, now);
        self.tenant.circuit.give_back(grant.stamp, now);
        if was_capped {
            // Whichever pool the app waits for, it may go now. If it waits for several, they take turns.
            for pool in &mut self.pools {
                pool.shares.release(grant.app.index());
            }
            self.first = grant.pool.index() + 1;
            self.settle_all(now, outbox);
        } else {
            self.settle(grant.pool, now, outbox);
        }
    }

    /// Gives a pool's usable permits to whose turn it is.
    fn settle(&mut self, id: PoolId, now: Instant, outbox: &mut Outbox) {
        if self.tenant.windows.bind || self.tenant.circuit.is_open() {
            return self.settle_all(now, outbox);
        }
        self.pools[id.index()].settle(&mut self.tenant, now, outbox);
        self.arm(id, now, outbox);
    }

    /// Gives all pools' usable permits to whose turn it is. While a window lets only so many go, the
    /// pools take turns in being the first.
    fn settle_all(&mut self, now: Instant, outbox: &mut Outbox) {
        let pools = self.pools.len();
        let first = self.first % pools.max(1);
        let turns = (first..pools).chain(0..first);
        self.tenant.windows.bind = false;
        self.tenant.circuit.advance(now);
        for place in turns.clone() {
            self.pools[place].settle(&mut self.tenant, now, outbox);
        }
        if self.tenant.circuit.wants_probe(now) {
            self.send_probe(&turns, now, outbox);
        }
        for place in 0..pools {
            self.arm(self.pools[place].id, now, outbox);
        }
        if self.tenant.windows.bind {
            self.first = first + 1;
        }
    }

    /// Lets one call go to a tenant that is down: the next in turn of those that only read, and of all if
    /// no such call may go.
    fn send_probe(
        &mut self,
        turns: &(impl Iterator<Item = usize> + Clone),
        now: Instant,
        outbox: &mut Outbox,
    ) {
        for only_reads in [true, false] {
            for place in turns.clone() {
                if self.pools[place].probe(only_reads, &mut self.tenant, now, outbox) {
                    self.first = place + 1;
                    return;
                }
            }
        }
    }

    /// Makes sure that the timer wakes for a pool's next event, if it is there for anybody.
    fn arm(&mut self, id: PoolId, now: Instant, outbox: &mut Outbox) {
        let Some(event) = self.pools[id.index()].next_event(&mut self.tenant, now) else { return };
        match self.timer {
            None => outbox.timer = Wake::Start,
            Some(timer) if event < timer => outbox.timer = outbox.timer.max(Wake::Sooner),
            Some(_) => return,
        }
        self.timer = Some(event);
    }

    /// Closes pools until `named`.
    fn pause(
        &mut self,
        pools: std::ops::RangeInclusive<usize>,
        named: Instant,
        now: Instant,
        outbox: &mut Outbox,
    ) {
        let pools = &mut self.pools[pools];
        // Many refusals name the same moment; only the first adds jitter to it.
        if named <= now || !pools.iter().any(|pool| pool.capacity.is_news(named)) {
            return;
        }
        let until = named + self.jitter.on(named - now);
        for pool in pools {
            pool.pause(now, named, until, outbox);
        }
        for place in 0..self.pools.len() {
            self.arm(self.pools[place].id, now, outbox);
        }
    }

    /// Brings apps and pools in line with the settings.
    fn apply(&mut self, now: Instant) {
        self.tenant.reconfigure(&self.settings.apps, &self.settings.rate, now);
        for place in 0..self.pools.len() {
            let template = self.template(self.pools[place].entity.as_deref());
            self.pools[place].leave_to_zuora(template.as_ref());
        }
        for settings in self.settings.pools.clone() {
            match self.find_pool(settings.entity.as_deref(), &settings.name) {
                Some(id) => self.pools[id.index()].reconfigure(&settings),
                None => {
                    self.add_pool(&settings, false, now);
                }
            }
        }
        let apps = self.settings.apps.iter().map(|settings| {
            let app = self.tenant.find(&settings.name).expect("it was just taken in");
            (app, settings)
        });
        let apps: Vec<_> = apps.collect();
        for pool in &mut self.pools {
            pool.set_bounds(self.settings.queue);
            for (app, settings) in &apps {
                pool.configure_app(*app, settings, now);
            }
        }
    }

    fn add_pool(&mut self, settings: &PoolSettings, learnt: bool, now: Instant) -> PoolId {
        let id = PoolId(u32::try_from(self.pools.len()).expect("nobody has four billion pools"));
        let mut pool = Pool::new(id, settings, self.settings.queue, learnt, now);
        // Apps that are gone may still have calls on their way, which may come to this pool.
        for (_, app) in self.tenant.apps.iter().zip(0..) {
            pool.configure_app(AppId(app), &AppSettings::named(""), now);
        }
        for settings in &self.settings.apps {
            let app = self.tenant.find(&settings.name).expect("the settings were taken in");
            pool.configure_app(app, settings, now);
        }
        self.pools.push(pool);
        id
    }

    /// Returns when the call itself may be sent, if somebody named a moment that is still to come.
    ///
    /// Jitter is added to it, never taken away, but not so much that the deadline would be missed.
    fn due(&mut self, ask: &Ask, ticket: Ticket, now: Instant) -> Option<Instant> {
        let named = ticket.not_before.filter(|named| now < *named)?;
        let permit_by = self.pools[ask.pool.index()].permit_by(ask, now);
        let slack = permit_by.saturating_duration_since(named) / 2;
        Some(named + self.jitter.on(named - now).min(slack))
    }
}
