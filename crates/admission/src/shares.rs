//! Whose turn it is: weighted max-min fairness over permit-seconds.
//!
//! Each app has a *virtual time*: the permit-seconds it has used, divided by its weight. The app that is
//! furthest behind goes next. That is start-time fair queueing with two differences, both because what a
//! request costs, the time it holds a permit, is known only when it is over:
//!
//! - Virtual time runs while permits are held, instead of jumping by an estimate when they are given.
//!   An app whose requests suddenly take minutes is charged for them as they run.
//! - Permits that are out weigh in a choice as if each were to be held for another mean time. Without
//!   that, all permits that come free in one moment would go to one app, since using them costs it
//!   nothing yet.
//!
//! An app that did not compete for a while is not owed that time: when it asks again it starts from
//! where those that kept competing are. Priorities are head starts in virtual time: with one an app
//! goes first by about one turn of the whole pool, and no further, because from then on its virtual
//! time stays as far ahead; its share in the long run is that of its weight. Whoever is passed over falls
//! behind in virtual time and so gets nearer to its turn: that is how waiting ages.
//!
//! A reserve is a step on which an app stands, not a gift besides its share: what it has of it counts, but
//! never puts the app further ahead than just out of turn. And whoever is held at its cap, although it
//! would use more, may stay a little behind, or it would lose its place each time and not even get that.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::{AppId, AppSettings, Priority};

/// The virtual time of one pool's apps.
///
/// Virtual time runs only for apps with a permit out, and those are no more than there are permits. All
/// others stand still and are kept in order, so a choice costs a look at the permits that are out and at
/// the first in order, however many apps there are.
#[derive(Debug)]
pub(crate) struct Shares {
    epoch: Instant,
    shares: Vec<Share>,
    /// Those who compete and have no permit out, by level.
    idle: [BTreeSet<Standstill>; LEVELS],
    /// Those who compete and have permits out.
    busy: Vec<u32>,
    /// Those who begin to compete with the next choice.
    newcomers: Vec<u32>,
    /// Those whom a rate keeps from competing until a moment.
    held: BTreeSet<(Instant, u32)>,
    /// The weights of those who want a permit, those who take what nobody else wants apart.
    weights: [u64; 2],
    /// From where newcomers start, the same apart.
    floor: [f64; 2],
    turns: u64,
}

/// One app's part of a pool.
#[derive(Debug)]
struct Share {
    weight: u32,
    reserve: u32,
    level: Level,
    in_use: u32,
    /// Its virtual time as of `since`, in seconds.
    virtual_time: f64,
    held: f64,
    since: f64,
    /// When its turn was, in turns of anybody: between equals, whose turn is the longest ago goes first.
    last: u64,
    standing: Standing,
    /// Whether its cap or its rate has kept it from going since it last had no call that is ready.
    was_held: bool,
}

/// What an app's priority means for a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// So many turns of the whole pool ahead of the lowest.
    Ahead(u8),
    /// With what nobody else wants.
    LeftOver,
}

/// Where an app stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has no call that is ready.
    Away,
    /// In [`Shares::newcomers`].
    New,
    /// In the set of this number in [`Shares::idle`].
    Idle(usize),
    /// At this place of [`Shares::busy`].
    Busy(u32),
    /// Kept from going: until a moment in [`Shares::held`], or until it is released.
    Held(Option<Instant>),
}

/// The order among apps that stand still; times are not negative, so that their bits are in order.
type Standstill = (u64, u64, u32);

/// Reserves first, then the head starts from the longest, then what is left over.
const LEVELS: usize = 5;
const RESERVED: usize = 0;
const LEFT_OVER: usize = 4;
const LONGEST_HEAD_START: u8 = 2;

/// An app whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) app: AppId,
    /// Whether it is the turn because of a reserve.
    pub(crate) reserved: bool,
    /// How much virtual time a turn of the whole pool is.
    lead: f64,
    /// How long the app itself holds a permit, on average, in seconds.
    pub(crate) own_hold: f64,
}

/// What a choice depends on besides the shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// How long a permit of this pool is held, on average, in seconds.
    pub(crate) hold: f64,
    /// How many permits may be used.
    pub(crate) capacity: u32,
    /// How many there are when nobody else uses the tenant and nothing is wrong.
    pub(crate) whole: u32,
    pub(crate) now: Instant,
}

/// Why an app may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hindrance {
    /// It has as many permits out as it may, and must be [released](Shares::release).
    Cap,
    /// Its rate, until this moment.
    Rate(Instant),
}

/// The order of a choice: a smaller one goes first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Order {
    class: u8,
    behind: f64,
    last: u64,
}

impl Round {
    /// Returns what is left of a reserve: where others or refusals leave less of the pool, reserves
    /// become less with it, or those without one would have nothing.
    fn left_of(&self, reserve: u32) -> u32 {
        let left = u64::from(reserve) * u64::from(self.capacity);
        u32::try_from(left / u64::from(self.whole.max(1))).unwrap_or(reserve).min(reserve)
    }

    /// Returns how much virtual time a turn of the whole pool is, if apps with so much weight want one.
    fn lead(&self, weights: u64) -> f64 {
        self.hold * f64::from(self.capacity) / weights.max(1) as f64
    }
}

impl Shares {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            shares: Vec::new(),
            idle: Default::default(),
            busy: Vec::new(),
            newcomers: Vec::new(),
            held: BTreeSet::new(),
            weights: [0; 2],
            floor: [0.0; 2],
            turns: 0,
        }
    }

    /// Takes in another app, or other settings of one that is here.
    pub(crate) fn configure(&mut self, app: usize, settings: &AppSettings, now: Instant) {
        let now = self.seconds(now);
        while self.shares.len() <= app {
            self.shares.push(Share::new(now));
        }
        let (weight, reserve) = (settings.weight.get(), settings.reserve);
        let level = Level::of(settings.priority);
        let share = &self.shares[app];
        if (share.weight, share.reserve, share.level) == (weight, reserve, level) {
            // It stays as far behind as it is. What held it, a cap or a rate, may be another now.
            return self.release(app);
        }
        let wants = share.standing != Standing::Away;
        self.set_ready(app, false);
        let share = &mut self.shares[app];
        // What was used so far was used at the former weight.
        share.run(now);
        (share.weight, share.reserve, share.level) = (weight, reserve, level);
        self.set_ready(app, wants);
    }

    pub(crate) fn in_use(&self, app: usize) -> u32 {
        self.shares[app].in_use
    }

    /// Returns the seconds that an app's permits were held, those still out included. Never falls.
    pub(crate) fn held(&self, app: usize, now: Instant) -> f64 {
        let share = &self.shares[app];
        share.held + share.time_to(self.seconds(now)) * f64::from(share.in_use)
    }

    /// An app has a call that is ready, or has none any more.
    pub(crate) fn set_ready(&mut self, app: usize, is_ready: bool) {
        let share = &self.shares[app];
        let weight = u64::from(share.weight);
        let weights = &mut self.weights[share.side()];
        match (share.standing, is_ready) {
            (Standing::Away, true) => {
                *weights += weight;
                self.begin(app);
            }
            (Standing::Away, false) | (_, true) => {}
            (_, false) => {
                *weights -= weight;
                self.step_out(app);
                self.shares[app].standing = Standing::Away;
                self.shares[app].was_held = false;
            }
        }
    }

    /// Lets an app compete again that was kept from it by its cap.
    pub(crate) fn release(&mut self, app: usize) {
        if let Standing::Held(_) = self.shares[app].standing {
            self.step_out(app);
            self.begin(app);
        }
    }

    /// Returns when a rate lets another app compete.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.held.first().map(|(until, _)| *until)
    }

    /// Returns the app whose turn it is, of those that are ready and that nothing hinders.
    pub(crate) fn choose(
        &mut self,
        round: &Round,
        mut hinders: impl FnMut(usize) -> Option<Hindrance>,
    ) -> Option<Turn> {
        let now = self.seconds(round.now);
        self.release_those_due(round.now);
        loop {
            self.let_newcomers_compete(round, now);
            let (app, order) = self.first(round, now)?;
            let Some(hindrance) = hinders(app as usize) else {
                return Some(self.turn_of(app, order, round, now));
            };
            self.hold(app as usize, hindrance);
        }
    }

    /// Returns the app whose turn it is, of those that are ready and that `may_go`. All others stay
    /// where they stand. Looks at every app, so it is for rare occasions.
    pub(crate) fn choose_among(
        &mut self,
        round: &Round,
        mut may_go: impl FnMut(AppId) -> bool,
    ) -> Option<Turn> {
        let now = self.seconds(round.now);
        self.release_those_due(round.now);
        self.let_newcomers_compete(round, now);
        let lead = round.lead(self.weights[0]);
        let idle = self.idle.iter().flatten().map(|(.., app)| *app);
        let mut first: Option<(u32, Order)> = None;
        for app in idle.chain(self.busy.iter().copied()) {
            let share = &mut self.shares[app as usize];
            share.run(now);
            let order = share.order(round, lead);
            if first.is_none_or(|(_, best)| order < best) && may_go(AppId(app)) {
                first = Some((app, order));
            }
        }
        let (app, order) = first?;
        Some(self.turn_of(app, order, round, now))
    }

    /// A permit is given to an app in its turn, or, without one, because nobody else wants it.
    pub(crate) fn take(&mut self, app: usize, turn: Option<Turn>, now: Instant) {
        let now = self.seconds(now);
        let competes = matches!(self.shares[app].standing, Standing::Idle(_) | Standing::Busy(_));
        if competes {
            self.step_out(app);
        }
        let share = &mut self.shares[app];
        let floor = &mut self.floor[share.side()];
        share.run(now);
        match turn {
            None => {
                share.virtual_time = share.virtual_time.max(*floor);
                *floor = share.virtual_time;
            }
            // What is guaranteed is not borrowed: it is not paid back from the share later. But it is no
            // gift besides the share either, so it leaves the app behind all others that have theirs.
            Some(turn) if turn.reserved => {
                let round = turn.own_hold * f64::from(share.reserve) / f64::from(share.weight);
                let last = *floor + (share.turns_ahead() + 1.0) * turn.lead + round;
                share.virtual_time = share.virtual_time.min(last);
            }
            Some(_) => {}
        }
        share.in_use += 1;
        self.turns += 1;
        share.last = self.turns;
        if competes {
            self.step_in(app);
        }
    }

    pub(crate) fn give_back(&mut self, app: usize, now: Instant) {
        let now = self.seconds(now);
        let share = &mut self.shares[app];
        share.run(now);
        share.in_use -= 1;
        if share.in_use == 0 && matches!(share.standing, Standing::Busy(_)) {
            self.step_out(app);
            self.step_in(app);
        }
    }

    /// Returns how many permits an app can count on if `capacity` may be used: its share among those
    /// that want one, at least what it has reserved.
    pub(crate) fn part_of(&self, app: usize, capacity: u32) -> f64 {
        let mine = &self.shares[app];
        let [shared, left_over] = self.weights;
        let mut weights = if mine.side() == 0 { shared } else { shared + left_over };
        if mine.standing == Standing::Away {
            weights += u64::from(mine.weight);
        }
        let part = f64::from(capacity) * f64::from(mine.weight) / weights as f64;
        part.max(f64::from(mine.reserve.min(capacity)))
    }

    fn release_those_due(&mut self, now: Instant) {
        while let Some((until, app)) = self.held.first().copied()
            && until <= now
        {
            self.release(app as usize);
        }
    }

    fn turn_of(&mut self, app: u32, order: Order, round: &Round, now: f64) -> Turn {
        let reserved = order.class == 0;
        if reserved {
            self.raise_floor(now);
        }
        let lead = round.lead(self.weights[0]);
        Turn { app: AppId(app), reserved, lead, own_hold: round.hold }
    }

    /// Lets newcomers start from where the others are.
    fn let_newcomers_compete(&mut self, round: &Round, now: f64) {
        if self.newcomers.is_empty() {
            return;
        }
        self.raise_floor(now);
        let lead = round.lead(self.weights[0]);
        while let Some(app) = self.newcomers.pop() {
            let share = &mut self.shares[app as usize];
            share.run(now);
            let floor = self.floor[share.side()] - share.turns_remembered() * lead;
            share.virtual_time = share.virtual_time.max(floor);
            self.step_in(app as usize);
        }
    }

    /// The floor is where the furthest behind of those is who kept competing. Where nobody did, nobody was
    /// kept from anything by what others had, and all start from the furthest ahead of them.
    fn raise_floor(&mut self, now: f64) {
        let mut last = [f64::INFINITY; 2];
        for (level, idle) in self.idle.iter().enumerate().skip(1) {
            if let Some((bits, ..)) = idle.first() {
                let side = usize::from(level == LEFT_OVER);
                last[side] = last[side].min(f64::from_bits(*bits));
            }
        }
        for app in &self.busy {
            let share = &mut self.shares[*app as usize];
            share.run(now);
            last[share.side()] = last[share.side()].min(share.virtual_time);
        }
        for (side, last) in last.into_iter().enumerate() {
            let start = if last.is_finite() { last } else { self.furthest_ahead(side, now) };
            self.floor[side] = self.floor[side].max(start);
        }
    }

    /// Returns where the furthest ahead is.
    fn furthest_ahead(&mut self, side: usize, now: f64) -> f64 {
        let shares = self.shares.iter_mut().filter(|share| share.side() == side);
        shares.fold(0.0, |furthest, share| {
            share.run(now);
            furthest.max(share.virtual_time)
        })
    }

    /// Returns who is first of those that compete.
    fn first(&mut self, round: &Round, now: f64) -> Option<(u32, Order)> {
        let lead = round.lead(self.weights[0]);
        let mut first: Option<(u32, Order)> = None;
        for level in &self.idle {
            let Some((.., app)) = level.first() else { continue };
            let order = self.shares[*app as usize].order(round, lead);
            if first.is_none_or(|(_, best)| order < best) {
                first = Some((*app, order));
            }
        }
        for app in &self.busy {
            let share = &mut self.shares[*app as usize];
            share.run(now);
            let order = share.order(round, lead);
            if first.is_none_or(|(_, best)| order < best) {
                first = Some((*app, order));
            }
        }
        first
    }

    fn begin(&mut self, app: usize) {
        self.shares[app].standing = Standing::New;
        self.newcomers.push(index(app));
    }

    fn hold(&mut self, app: usize, hindrance: Hindrance) {
        self.step_out(app);
        let until = match hindrance {
            Hindrance::Cap => None,
            Hindrance::Rate(until) => Some(until),
        };
        self.held.extend(until.map(|until| (until, index(app))));
        self.shares[app].standing = Standing::Held(until);
        self.shares[app].was_held = true;
    }

    /// Puts an app among those that compete.
    fn step_in(&mut self, app: usize) {
        let share = &mut self.shares[app];
        if share.in_use > 0 {
            share.standing = Standing::Busy(index(self.busy.len()));
            self.busy.push(index(app));
        } else {
            let level = share.level();
            share.standing = Standing::Idle(level);
            self.idle[level].insert(share.standstill(app));
        }
    }

    /// Takes an app out of wherever it stands.
    fn step_out(&mut self, app: usize) {
        let share = &self.shares[app];
        match share.standing {
            Standing::Away => {}
            Standing::New => self.newcomers.retain(|it| *it as usize != app),
            Standing::Idle(level) => {
                self.idle[level].remove(&share.standstill(app));
            }
            Standing::Busy(place) => {
                self.busy.swap_remove(place as usize);
                if let Some(moved) = self.busy.get(place as usize) {
                    self.shares[*moved as usize].standing = Standing::Busy(place);
                }
            }
            Standing::Held(until) => {
                self.held.remove(&(until.unwrap_or(self.epoch), index(app)));
            }
        }
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.epoch).as_secs_f64()
    }
}

impl Level {
    fn of(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Ahead(LONGEST_HEAD_START),
            Priority::Standard => Self::Ahead(1),
            Priority::Batch => Self::Ahead(0),
            Priority::Scavenger => Self::LeftOver,
        }
    }
}

impl Share {
    fn new(now: f64) -> Self {
        Self {
            weight: 1,
            reserve: 0,
            level: Level::Ahead(1),
            in_use: 0,
            virtual_time: 0.0,
            held: 0.0,
            since: now,
            last: 0,
            standing: Standing::Away,
            was_held: false,
        }
    }

    /// Charges for the permits that were out until `now`.
    fn run(&mut self, now: f64) {
        let used = self.time_to(now) * f64::from(self.in_use);
        self.held += used;
        self.virtual_time += used / f64::from(self.weight);
        self.since = self.since.max(now);
    }

    fn time_to(&self, now: f64) -> f64 {
        (now - self.since).max(0.0)
    }

    /// How many turns of the whole pool it is ahead of the lowest priority.
    fn turns_ahead(&self) -> f64 {
        match self.level {
            Level::Ahead(turns) => f64::from(turns),
            Level::LeftOver => 0.0,
        }
    }

    /// How many turns of the whole pool it may be behind when it begins to compete. Who wanted nothing
    /// is owed nothing. Who is held at its cap again and again never gets all of its share, so it may
    /// be as far behind as makes it as early as anybody; otherwise it would not even get its cap.
    fn turns_remembered(&self) -> f64 {
        let ahead = self.turns_ahead();
        if self.was_held { f64::from(LONGEST_HEAD_START) + 1.0 - ahead } else { 0.0 }
    }

    /// Whether it shares, or takes what is left over.
    fn side(&self) -> usize {
        usize::from(self.level == Level::LeftOver)
    }

    /// The set of those that stand still to which it belongs.
    fn level(&self) -> usize {
        match self.level {
            _ if self.reserve > 0 => RESERVED,
            Level::Ahead(turns) => usize::from(1 + LONGEST_HEAD_START - turns),
            Level::LeftOver => LEFT_OVER,
        }
    }

    fn standstill(&self, app: usize) -> Standstill {
        (self.virtual_time.to_bits(), self.last, index(app))
    }

    fn order(&self, round: &Round, lead: f64) -> Order {
        if self.in_use < round.left_of(self.reserve) {
            let part = f64::from(self.in_use) / f64::from(self.reserve);
            return Order { class: 0, behind: part, last: self.last };
        }
        let out = f64::from(self.in_use) * round.hold / f64::from(self.weight);
        let class = if self.side() == 0 { 1 } else { 2 };
        let behind = self.virtual_time + out - self.turns_ahead() * lead;
        Order { class, behind, last: self.last }
    }
}

fn index(place: usize) -> u32 {
    u32::try_from(place).expect("nobody configures four billion apps")
}
