//! The judge: books about one pool, kept from the outside.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// Tokio's timers round up to a millisecond.
const TICK: Duration = Duration::from_millis(1);

/// How often each thing happened, so that a life in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) at_once: u32,
    pub(super) waited: u32,
    pub(super) finished: u32,
    pub(super) left: u32,
    pub(super) concurrency: u32,
    pub(super) rate: u32,
    pub(super) again: u32,
    pub(super) limits: u32,
    pub(super) full: u32,
    pub(super) late: u32,
    pub(super) cooldown: u32,
    pub(super) hopeless: u32,
    pub(super) contended: u32,
    pub(super) unreached: u32,
    pub(super) down: u32,
    pub(super) openings: u32,
    pub(super) probes: u32,
}

impl Seen {
    pub(super) fn everything_happened(self) {
        let Self { at_once, waited, finished, left, concurrency, rate, .. } = self;
        let Self { again, limits, full, late, cooldown, hopeless, .. } = self;
        let Self { contended, unreached, down, openings, probes, .. } = self;
        let served = [at_once, waited, finished, again, contended, probes];
        let not_served = [left, full, late, cooldown, hopeless, down];
        let said = [concurrency, rate, limits, unreached, openings];
        let rarest = served.into_iter().chain(not_served).chain(said).min();
        assert!(rarest >= Some(100), "too quiet: {self:?}");
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, more: Self) {
        self.at_once += more.at_once;
        self.waited += more.waited;
        self.finished += more.finished;
        self.left += more.left;
        self.concurrency += more.concurrency;
        self.rate += more.rate;
        self.again += more.again;
        self.limits += more.limits;
        self.full += more.full;
        self.late += more.late;
        self.cooldown += more.cooldown;
        self.hopeless += more.hopeless;
        self.contended += more.contended;
        self.unreached += more.unreached;
        self.down += more.down;
        self.openings += more.openings;
        self.probes += more.probes;
    }
}

/// What happened to a pool that changes how much may be in flight.
#[derive(Clone, Copy, Debug)]
enum Event {
    Limit(u32),
    /// Refused while so many others were in flight; it had been sent then.
    Refused(u32, Instant),
    Paused(Instant),
    /// The tenant is up again.
    Up,
}

/// Jitter is the admission's own choice, so the judge knows only the earliest and the latest end of
/// a pause: what may not be in flight follows from the one, what must not be idle from the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    Most,
    Least,
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) app: usize,
    /// Numbers are given in the order of first asking.
    pub(super) number: u64,
    pub(super) asked: Instant,
    pub(super) deadline: Instant,
    pub(super) not_before: Option<Instant>,
    /// Whether that moment is our own choice.
    pub(super) is_chosen: bool,
    pub(super) may_probe: bool,
}

impl Wish {
    /// From when on nothing of its own keeps the call from going, at the latest.
    fn ready(&self) -> Instant {
        let Some(named) = self.not_before.filter(|named| self.asked < *named) else {
            return self.asked;
        };
        named + most_jitter(named - self.asked).min((self.deadline - named) / 2) + TICK
    }

    /// Whether its deadline comes before it may be sent.
    pub(super) fn rests_too_long(&self) -> bool {
        self.not_before.is_some_and(|named| self.deadline <= named)
    }

    /// Whether it could go at `now`, and could have gone before.
    fn could_go(&self, now: Instant) -> bool {
        self.ready() < now && now < self.deadline
    }
}

fn most_jitter(wait: Duration) -> Duration {
    (wait / 10).min(SECOND)
}

/// The books about one pool.
#[derive(Debug)]
pub(super) struct Books {
    configured: u32,
    headroom: u32,
    bound: usize,
    story: Vec<(Instant, Event)>,
    pub(super) in_flight: u32,
    pub(super) finished: u32,
    waiting: BTreeMap<u64, Wish>,
    asks: u64,
    /// Permit time by app.
    pub(super) held: BTreeMap<usize, Duration>,
}

impl Books {
    pub(super) fn new(configured: u32, headroom: u32, bound: usize) -> Self {
        Self {
            configured,
            headroom,
            bound,
            story: Vec::new(),
            in_flight: 0,
            finished: 0,
            waiting: BTreeMap::new(),
            asks: 0,
            held: BTreeMap::new(),
        }
    }

    /// Somebody asks; returns the number of the ask.
    pub(super) fn asks(&mut self, wish: Wish) -> u64 {
        self.asks += 1;
        self.waiting.insert(self.asks, wish);
        self.asks
    }

    /// Somebody who asked leaves, or is turned away.
    pub(super) fn leaves(&mut self, ask: u64) {
        self.waiting.remove(&ask);
    }

    /// Somebody is served, after having `waited` or at once.
    pub(super) fn begins(&mut self, ask: u64, waited: bool, tries: bool, now: Instant) {
        let wish = self.waiting.remove(&ask).expect("served without having asked");
        assert!(now < wish.deadline, "served after the deadline");
        assert!(wish.not_before.is_none_or(|named| named <= now), "sent before its time");
        self.in_flight += 1;
        let most = self.allowed(now, Reading::Most);
        assert!(self.in_flight <= most, "{} in flight, {most} allowed", self.in_flight);

        for other in self.waiting.values().filter(|other| other.could_go(now)) {
            assert!(waited, "overtook {other:?}");
            let reads_first = tries && wish.may_probe && !other.may_probe;
            let in_order = other.app != wish.app || wish.number < other.number || reads_first;
            assert!(in_order, "{wish:?} overtook {other:?}");
        }
    }

    /// A request that began at `began` is over.
    pub(super) fn ends(&mut self, app: usize, began: Instant, now: Instant) {
        self.in_flight -= 1;
        *self.held.entry(app).or_default() += now - began;
    }

    pub(super) fn refuses(&mut self, sent: Instant, now: Instant) {
        self.story.push((now, Event::Refused(self.in_flight, sent)));
    }

    pub(super) fn pauses(&mut self, until: Instant, now: Instant) {
        self.story.push((now, Event::Paused(until)));
    }

    pub(super) fn is_up(&mut self, now: Instant) {
        self.story.push((now, Event::Up));
    }

    pub(super) fn limits(&mut self, limit: u32, now: Instant) {
        self.story.push((now, Event::Limit(limit)));
    }

    /// Nobody who could go waits beside a permit that could be used. True whenever all is quiet.
    pub(super) fn nobody_waits_for_nothing(&self, now: Instant) {
        assert!(self.waiting.len() <= self.bound, "{} wait", self.waiting.len());
        let idle = self.who_could_go(now);
        assert!(idle.is_none(), "{idle:?} waits with {} used", self.in_flight);
    }

    /// Returns somebody who waits beside a permit that could be used, one that reads if there is one.
    pub(super) fn who_could_go(&self, now: Instant) -> Option<Wish> {
        let has_room = self.in_flight < self.allowed(now, Reading::Least);
        let could_go = self.waiting.values().filter(|wish| has_room && wish.could_go(now));
        could_go.max_by_key(|wish| wish.may_probe).copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.bound
    }

    /// Whether a call really has to rest until its deadline.
    pub(super) fn must_rest(&self, wish: &Wish, now: Instant) -> bool {
        let own = !wish.is_chosen && wish.rests_too_long();
        let last = wish.deadline - TICK.min(wish.deadline - now);
        own || self.allowed(last, Reading::Least) == 0
    }

    /// Returns how many may be in flight, from the story told from its beginning.
    fn allowed(&self, now: Instant, reading: Reading) -> u32 {
        let mut tale = Tale {
            reading,
            full: (self.configured.saturating_sub(self.headroom)).max(1),
            left: None,
            lowered: None,
            steps: None,
            paused: None,
            shut: None,
        };
        for (at, event) in &self.story {
            tale.goes_on(*at);
            tale.turns(*at, *event, self);
        }
        tale.goes_on(now);
        tale.allowed(now)
    }
}

/// The state of the story at a moment.
struct Tale {
    reading: Reading,
    full: u32,
    /// What a refusal left, and since when nothing was refused.
    left: Option<(u32, Instant)>,
    /// When a refusal last took a seventh away, if nothing has been earned back since.
    lowered: Option<Instant>,
    /// Quarters after a pause (1, 2, 4), and since when nothing was refused.
    steps: Option<(u32, Instant)>,
    paused: Option<Instant>,
    shut: Option<Instant>,
}

impl Tale {
    fn goes_on(&mut self, now: Instant) {
        let late = if self.reading == Reading::Least { TICK * 2 } else { Duration::ZERO };
        while let Some((permits, since)) = self.left
            && since + SECOND + late <= now
        {
            self.left = (permits + 1 < self.full).then_some((permits + 1, since + SECOND));
        }
        if self.left.is_some_and(|(permits, _)| permits >= self.full) {
            self.left = None;
        }
        while let Some((quarters, since)) = self.steps
            && since + SECOND + late <= now
        {
            self.steps = (quarters < 2).then_some((quarters * 2, since + SECOND));
        }
    }

    fn turns(&mut self, at: Instant, event: Event, books: &Books) {
        match event {
            Event::Limit(limit) => {
                let ceiling = limit.max(1).min(books.configured);
                self.full = ceiling.saturating_sub(books.headroom).max(1);
                self.goes_on(at);
            }
            Event::Refused(fitted, sent) => {
                if fitted == 0 {
                    self.shut = self.shut.max(Some(at + SECOND));
                }
                let since = self.shut.map_or(at, |shut| shut.max(at));
                let before = self.left.map_or(self.full, |(permits, _)| permits.min(self.full));
                let lowered = self.lowered.filter(|_| self.left.is_some());
                let is_news = lowered.is_none_or(|lowered| lowered <= sent);
                let kept = if is_news { before - before.div_ceil(7) } else { before };
                self.lowered = if is_news { Some(at) } else { lowered };
                self.left = Some((kept.min(fitted).max(1), since));
                if let Some((_, clean)) = &mut self.steps {
                    *clean = since;
                }
            }
            Event::Up => self.steps = Some((1, self.shut.map_or(at, |shut| shut.max(at)))),
            Event::Paused(until) => {
                if until <= at || self.paused.is_some_and(|paused| until <= paused) {
                    return;
                }
                self.paused = Some(until);
                let slack = match self.reading {
                    Reading::Most => Duration::ZERO,
                    Reading::Least => most_jitter(until - at),
                };
                self.shut = self.shut.max(Some(until + slack));
                let shut = self.shut.unwrap();
                self.steps = Some((1, shut));
                self.left = self.left.map(|(permits, since)| (permits, since.max(shut)));
            }
        }
    }

    fn allowed(&self, now: Instant) -> u32 {
        let late = if self.reading == Reading::Least { TICK * 2 } else { Duration::ZERO };
        if self.shut.is_some_and(|shut| now < shut + late) {
            return 0;
        }
        let permits = self.left.map_or(self.full, |(permits, _)| permits.min(self.full));
        match self.steps {
            Some((quarters, _)) => (permits * quarters).div_ceil(4).max(1),
            None => permits,
        }
    }
}
