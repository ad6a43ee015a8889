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

use std::cmp::Ordering;

use tokio::time::Instant;

use crate::{AppId, AppSettings, Priority};

/// The virtual time of one pool's apps. A choice looks at those that compete for it, each in a few
/// nanoseconds: their virtual times run at different speeds, so no order of them would last.
#[derive(Debug)]
pub(crate) struct Shares {
    epoch: Instant,
    shares: Vec<Share>,
    /// The apps with a call that is ready.
    ready: Vec<u32>,
    /// Those of `ready` that may go, as of the last choice; kept to spare an allocation.
    contenders: Vec<u32>,
    turns: u64,
    /// From where newcomers start, those that use what nobody else wants apart from all others.
    floor: [f64; 2],
}

/// One app's part of a pool.
#[derive(Debug)]
struct Share {
    weight: f64,
    reserve: u32,
    /// How many turns of the pool it may be ahead of the lowest priority.
    head_start: f64,
    scavenges: bool,
    in_use: u32,
    /// Its virtual time as of `since`, in seconds.
    virtual_time: f64,
    held: f64,
    since: f64,
    /// When its turn was, in turns of anybody: between equals, whose turn is the longest ago goes first.
    last: u64,
    /// Whether it has competed since it last could not.
    competes: bool,
    /// Its place in [`Shares::ready`].
    place: Option<u32>,
}

/// An app whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) app: AppId,
    /// Whether it is the turn because of a reserve.
    pub(crate) reserved: bool,
}

/// What a choice depends on besides the shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// How long a permit of this pool is held, on average.
    pub(crate) hold: f64,
    /// How many permits may be used.
    pub(crate) capacity: u32,
    pub(crate) now: Instant,
}

/// The order of a choice: a smaller one goes first.
#[derive(Clone, Copy)]
struct Order {
    class: u8,
    behind: f64,
    last: u64,
}

/// Below its reserve; as its share allows; with what nobody else wants.
const RESERVED: u8 = 0;
const SHARED: u8 = 1;
const LEFT_OVER: u8 = 2;

impl Shares {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            shares: Vec::new(),
            ready: Vec::new(),
            contenders: Vec::new(),
            turns: 0,
            floor: [0.0; 2],
        }
    }

    /// Takes in another app, or other settings of one that is here.
    pub(crate) fn configure(&mut self, app: usize, settings: &AppSettings, now: Instant) {
        let now = self.seconds(now);
        while self.shares.len() <= app {
            self.shares.push(Share::new(now));
        }
        let share = &mut self.shares[app];
        // What was used so far was used at the former weight.
        share.run(now);
        share.weight = f64::from(settings.weight.get());
        share.reserve = settings.reserve;
        share.scavenges = settings.priority == Priority::Scavenger;
        share.head_start = match settings.priority {
            Priority::Interactive => 2.0,
            Priority::Standard => 1.0,
            Priority::Batch | Priority::Scavenger => 0.0,
        };
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
        match (self.shares[app].place, is_ready) {
            (None, true) => {
                self.shares[app].place = Some(index(self.ready.len()));
                self.shares[app].competes = false;
                self.ready.push(index(app));
            }
            (Some(place), false) => {
                self.shares[app].place = None;
                self.ready.swap_remove(place as usize);
                if let Some(moved) = self.ready.get(place as usize) {
                    self.shares[*moved as usize].place = Some(place);
                }
            }
            _ => {}
        }
    }

    /// Returns the app whose turn it is, of those that are ready and `may_go`.
    pub(crate) fn choose(
        &mut self,
        round: &Round,
        mut may_go: impl FnMut(usize) -> bool,
    ) -> Option<Turn> {
        let now = self.seconds(round.now);
        let weights = self.line_up(now, &mut may_go);
        let lead = round.hold * f64::from(round.capacity) / weights;
        let orders = self.contenders.iter().map(|app| {
            let share = &self.shares[*app as usize];
            (*app, share.order(round.hold, lead))
        });
        let (app, order) = orders.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some(Turn { app: AppId(app), reserved: order.class == RESERVED })
    }

    /// A permit is given to an app in its turn, or, without one, because nobody else wants it.
    pub(crate) fn take(&mut self, app: usize, turn: Option<Turn>, now: Instant) {
        let now = self.seconds(now);
        let share = &mut self.shares[app];
        let floor = &mut self.floor[usize::from(share.scavenges)];
        share.run(now);
        share.virtual_time = share.virtual_time.max(*floor);
        match turn {
            None => *floor = share.virtual_time,
            // What is guaranteed is not borrowed: it is not paid back from the share later.
            Some(turn) if turn.reserved => share.virtual_time = *floor,
            Some(_) => {}
        }
        share.in_use += 1;
        self.turns += 1;
        share.last = self.turns;
    }

    pub(crate) fn give_back(&mut self, app: usize, now: Instant) {
        let now = self.seconds(now);
        let share = &mut self.shares[app];
        share.run(now);
        share.in_use -= 1;
    }

    /// Returns how many permits an app can count on if `capacity` may be used: its share among those
    /// that are ready, at least what it has reserved.
    pub(crate) fn part_of(&self, app: usize, capacity: u32) -> f64 {
        let mine = &self.shares[app];
        let others = self.ready.iter().map(|other| &self.shares[*other as usize]);
        let others = others.filter(|other| mine.scavenges || !other.scavenges);
        let others: f64 = others.map(|other| other.weight).sum();
        let weight = mine.weight;
        let weights = if mine.place.is_some() { others } else { others + weight };
        let part = f64::from(capacity) * weight / weights;
        part.max(f64::from(mine.reserve.min(capacity)))
    }

    /// Finds those that compete now, and lets newcomers start from where the others are. Returns the
    /// sum of their weights.
    fn line_up(&mut self, now: f64, may_go: &mut impl FnMut(usize) -> bool) -> f64 {
        self.contenders.clear();
        let mut weights = 0.0;
        // The furthest behind of those that kept competing, and the furthest ahead of the newcomers.
        let (mut last, mut first) = ([f64::INFINITY; 2], [0.0_f64; 2]);
        for app in &self.ready {
            let share = &mut self.shares[*app as usize];
            share.run(now);
            if !may_go(*app as usize) {
                share.competes = false;
                continue;
            }
            self.contenders.push(*app);
            weights += share.weight;
            let class = usize::from(share.scavenges);
            match share.competes {
                true => last[class] = last[class].min(share.virtual_time),
                false => first[class] = first[class].max(share.virtual_time),
            }
        }
        for (class, floor) in self.floor.iter_mut().enumerate() {
            // Where nobody competed, nobody was kept from anything: all start alike.
            let start = if last[class].is_finite() { last[class] } else { first[class] };
            *floor = floor.max(start);
        }
        for app in &self.contenders {
            let share = &mut self.shares[*app as usize];
            if !std::mem::replace(&mut share.competes, true) {
                let floor = self.floor[usize::from(share.scavenges)];
                share.virtual_time = share.virtual_time.max(floor);
            }
        }
        weights
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.epoch).as_secs_f64()
    }
}

impl Share {
    fn new(now: f64) -> Self {
        Self {
            weight: 1.0,
            reserve: 0,
            head_start: 0.0,
            scavenges: false,
            in_use: 0,
            virtual_time: 0.0,
            held: 0.0,
            since: now,
            last: 0,
            competes: false,
            place: None,
        }
    }

    /// Charges for the permits that were out until `now`.
    fn run(&mut self, now: f64) {
        let used = self.time_to(now) * f64::from(self.in_use);
        self.held += used;
        self.virtual_time += used / self.weight;
        self.since = self.since.max(now);
    }

    fn time_to(&self, now: f64) -> f64 {
        (now - self.since).max(0.0)
    }

    fn order(&self, hold: f64, lead: f64) -> Order {
        if self.in_use < self.reserve {
            let part = f64::from(self.in_use) / f64::from(self.reserve);
            return Order { class: RESERVED, behind: part, last: self.last };
        }
        let out = f64::from(self.in_use) * hold / self.weight;
        let behind = self.virtual_time + out - self.head_start * lead;
        let class = if self.scavenges { LEFT_OVER } else { SHARED };
        Order { class, behind, last: self.last }
    }
}

impl Order {
    fn total_cmp(&self, other: &Self) -> Ordering {
        let behind = self.behind.total_cmp(&other.behind);
        self.class.cmp(&other.class).then(behind).then(self.last.cmp(&other.last))
    }
}

fn index(place: usize) -> u32 {
    u32::try_from(place).expect("nobody configures four billion apps")
}
