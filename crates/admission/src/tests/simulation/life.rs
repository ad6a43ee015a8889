//! One life: a tenant, outsiders that use it too, and apps whose calls come, wait and leave.
//!
//! Whatever the story does happens at a millisecond of its own, after everything before it has come
//! to rest; so the judge never has to guess what happened first. Races are for other tests.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::*;
use super::judge::{Books, Seen, Wish};
use crate::tests::outage::Outage;
use crate::{Circuit, Refused, Ticket};

const APPS: usize = 3;
const CALLS: u64 = 140;

/// Everything in one life but the admission.
struct World {
    dice: StdRng,
    start: Instant,
    taken: BTreeSet<u64>,
    pools: Vec<TenantPool>,
    /// Requests left in the tenant's rate window, and its end.
    window: (u32, Instant),
    /// It does not answer before this moment.
    silent_until: Instant,
    outage: Outage,
    calls: u64,
    seen: Seen,
}

/// The tenant's side of a pool, and the judge's books.
struct TenantPool {
    limit: u32,
    said: u32,
    outsiders: u32,
    at_tenant: u32,
    books: Books,
}

/// How a request ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Served,
    /// Rolled back, and worth another try.
    Contended,
    Refused(Refused),
    Unreached,
}

/// A permit that the story is about.
struct Sent {
    permit: Permit,
    wish: Wish,
    /// Its place in the story.
    number: u64,
}

#[derive(Clone)]
struct Life {
    admission: Arc<Admission>,
    world: Arc<Mutex<World>>,
}

pub(super) async fn live(seed: u64) -> Seen {
    let life = Life::new(seed);
    let mut calls = Vec::new();
    while life.world().calls < CALLS {
        let (gap, burst) = {
            let dice = &mut life.world().dice;
            let burst = if dice.random_bool(0.1) { dice.random_range(5..25) } else { 1 };
            (dice.random_range(1..150), burst)
        };
        life.moment(millis(gap)).await;
        life.outsiders_come_and_go();
        for _ in 0..burst {
            calls.push(tokio::spawn(life.clone().call()));
        }
        life.all_is_well().await;
    }
    for call in calls {
        call.await.unwrap();
    }
    pass(secs(2)).await;
    life.nothing_is_left()
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let bound = dice.random_range(5..40);
        let mut settings = one_pool(1);
        settings.queue.max_requests = bound;
        settings.pools.clear();
        let mut pools = Vec::new();
        for name in ["Default", "Object Query"].iter().take(dice.random_range(1..=2)) {
            let (ceiling, headroom) = (dice.random_range(1..10), dice.random_range(0..3));
            settings.pools.push(PoolSettings { headroom, ..pool(name, None, ceiling) });
            let books = Books::new(ceiling, headroom, bound);
            let (limit, said) = (ceiling, ceiling);
            pools.push(TenantPool { limit, said, outsiders: 0, at_tenant: 0, books });
        }
        let start = Instant::now();
        let window = (dice.random_range(20..60), start + secs(5));
        let admission = Admission::with_jitter(settings, Start::Full, Jitter::from_seed(seed));
        let (taken, calls, seen) = (BTreeSet::new(), 0, Seen::default());
        let (silent_until, outage) = (start, Outage::default());
        let world = World { dice, start, taken, pools, window, silent_until, outage, calls, seen };
        Self { admission, world: Arc::new(Mutex::new(world)) }
    }

    /// One call of some app, from asking to its end.
    async fn call(self) {
        let (pool, app, mut wish, leaves) = self.world().next_call();
        let mut place = Place::Back;
        loop {
            let ask = Ask {
                pool: PoolId(u32::try_from(pool).unwrap()),
                app: super::super::app(app),
                deadline: Deadline::Permit(wish.deadline),
                user: None,
                place,
                may_probe: wish.may_probe,
            };
            let began = self.wait(pool, &wish, ask, leaves).await;
            let Some(sent) = began else { break };
            let again = self.request(pool, app, sent).await;
            let Some((ticket, not_before, is_chosen)) = again else { break };
            place = Place::Front(ticket);
            wish.asked = Instant::now();
            wish.not_before = Some(not_before);
            wish.is_chosen = is_chosen;
            self.world().seen.again += 1;
        }
        self.all_is_well().await;
    }

    /// Waits for a permit, unless the caller leaves or the call is turned away.
    async fn wait(&self, pool: usize, wish: &Wish, ask: Ask, leaves: Instant) -> Option<Sent> {
        let ask_number = self.world().pools[pool].books.asks(*wish);
        let outcome = tokio::select! {
            biased;
            outcome = self.admission.admit(ask) => Some(outcome),
            () = time::sleep_until(leaves) => None,
        };
        let now = Instant::now();
        let world = &mut *self.world();
        let World { pools, outage, seen, .. } = world;
        match outcome {
            Some(Ok(permit)) => {
                let waited = permit.reason().is_some();
                *(if waited { &mut seen.waited } else { &mut seen.at_once }) += 1;
                let (number, tries) = outage.goes(wish.number, true, now);
                pools[pool].books.begins(ask_number, waited, tries, now);
                let reads = pools.iter().filter_map(|pool| pool.books.who_could_go(now));
                let reads = reads.filter(|wish| wish.may_probe && tries).count();
                assert!(wish.may_probe || reads == 0, "{wish:?} tries before one that reads");
                return Some(Sent { permit, wish: *wish, number });
            }
            Some(Err(shed)) => {
                pools[pool].books.leaves(ask_number);
                seen.turned_away(shed, wish, &pools[pool].books, outage, now);
            }
            None => {
                pools[pool].books.leaves(ask_number);
                seen.left += 1;
            }
        }
        None
    }

    /// One request at the tenant. If it is repeated, returns the ticket to ask again with, not before
    /// when, and whether that is our own choice.
    async fn request(
        &self,
        pool: usize,
        app: usize,
        sent: Sent,
    ) -> Option<(Ticket, Instant, bool)> {
        let began = Instant::now();
        let (end, takes) = self.world().arrives(pool);
        self.moment(takes).await;
        let Sent { permit, wish, number } = sent;
        let is_answered = !matches!(end, End::Unreached);
        let said = is_answered.then(|| self.world().says(pool)).flatten();
        if let Some(limit) = said {
            permit.observe(Said { limit, remaining: None });
            settle().await;
        }
        let now = Instant::now();
        let world = &mut *self.world();
        world.pools[pool].books.ends(app, began, now);
        let ticket = permit.ticket();
        match end {
            End::Served | End::Contended => {
                world.served(pool);
                world.reached(number, now);
                permit.reached();
            }
            End::Unreached => {
                world.pools[pool].at_tenant -= 1;
                world.seen.unreached += 1;
                world.outage.unreached(wish.number, number, now);
                permit.unreached();
            }
            End::Refused(kind) => {
                world.reached(number, now);
                world.refuses(pool, kind, began, now);
                let (Refused::Concurrency { until }
                | Refused::Elsewhere { until }
                | Refused::Rate { until }) = kind;
                return Some((permit.refused(kind), until, false));
            }
        }
        world.outage.comes_back(wish.number, now);
        drop(permit);
        let again = match end {
            End::Contended => {
                world.seen.contended += 1;
                true
            }
            End::Unreached => world.dice.random_bool(0.5),
            End::Served | End::Refused(_) => false,
        };
        let until = now + millis(world.dice.random_range(1..2000));
        again.then_some((ticket.resting_until(until), until, true))
    }

    fn outsiders_come_and_go(&self) {
        let world = &mut *self.world();
        if world.dice.random_bool(0.02) {
            world.silent_until = Instant::now() + millis(world.dice.random_range(100..9000));
        }
        for pool in &mut world.pools {
            if world.dice.random_bool(0.04) {
                pool.outsiders = world.dice.random_range(0..=pool.limit);
            } else if world.dice.random_bool(0.1) {
                pool.outsiders = 0;
            }
            if world.dice.random_bool(0.03) {
                pool.limit = world.dice.random_range(1..12);
            }
        }
    }

    /// Waits for a millisecond that nothing else in this story happens at, and for rest.
    async fn moment(&self, after: Duration) {
        let at = self.world().slot(after);
        time::sleep_until(at).await;
        settle().await;
    }

    async fn all_is_well(&self) {
        settle().await;
        let (now, world) = (Instant::now(), self.world());
        let snapshot = self.admission.snapshot();
        let is_closed = snapshot.circuit == Circuit::Closed;
        assert_eq!(is_closed, !world.outage.is_down(), "{:?}", world.outage);
        for (pool, shown) in world.pools.iter().zip(&snapshot.pools) {
            let in_flight = pool.books.in_flight;
            assert_eq!((shown.in_use, shown.permits_out), (in_flight, in_flight));
            if is_closed {
                pool.books.nobody_waits_for_nothing(now);
            } else if world.outage.is_to_be_tried(now) {
                assert_eq!(
                    pool.books.who_could_go(now).map(|wish| wish.number),
                    None,
                    "nobody tries"
                );
            }
        }
    }

    fn nothing_is_left(self) -> Seen {
        let (snapshot, world) = (self.admission.snapshot(), self.world());
        assert_eq!((snapshot.in_use, snapshot.queued), (0, 0));
        for (pool, tenants) in snapshot.pools.iter().zip(&world.pools) {
            for (app, seen) in pool.apps.iter().enumerate() {
                let held = tenants.books.held.get(&app).copied().unwrap_or_default();
                let difference = (held.as_secs_f64() - seen.permit_seconds).abs();
                assert!(difference < 1e-6, "{held:?} were {} s", seen.permit_seconds);
            }
        }
        assert_eq!(Arc::strong_count(&self.admission), 1, "a timer outlives its purpose");
        let Outage { openings, probes, .. } = world.outage;
        Seen { openings, probes, ..world.seen }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // The first complaint is the one to read, so later ones must not be about the lock.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn next_call(&mut self) -> (usize, usize, Wish, Instant) {
        self.calls += 1;
        let pool = self.dice.random_range(0..self.pools.len());
        // The first app calls far more than the others.
        let app = self.dice.random_range(0..APPS).min(self.dice.random_range(0..APPS));
        let asked = Instant::now();
        let patience = self.dice.random_range(50..12_000);
        let deadline = self.slot(millis(patience));
        let leaves = match self.dice.random_bool(0.15) {
            true => self.dice.random_range(1..2000),
            false => 1_000_000,
        };
        let leaves = self.slot(millis(leaves));
        let (number, may_probe) = (self.calls, self.dice.random_bool(0.4));
        let (not_before, is_chosen) = (None, false);
        (pool, app, Wish { app, number, asked, deadline, not_before, is_chosen, may_probe }, leaves)
    }

    /// A request arrives at the tenant, or does not: it is refused at once, or takes its time.
    fn arrives(&mut self, pool: usize) -> (End, Duration) {
        let now = Instant::now();
        if self.window.1 <= now {
            self.window = (self.dice.random_range(20..200), now + secs(5));
        }
        let takes = if self.dice.random_bool(0.05) { 100..4000 } else { 5..400 };
        let takes = millis(self.dice.random_range(takes));
        let quick = millis(self.dice.random_range(1..20));
        if now < self.silent_until {
            let takes = if self.dice.random_bool(0.1) { takes * 6 } else { quick };
            self.pools[pool].at_tenant += 1;
            return (End::Unreached, takes);
        }
        if self.window.0 == 0 {
            return (End::Refused(Refused::Rate { until: self.window.1 }), quick);
        }
        self.window.0 -= 1;
        let pool = &mut self.pools[pool];
        if pool.at_tenant + pool.outsiders >= pool.limit {
            let wait = millis(self.dice.random_range(100..20_000));
            return (End::Refused(Refused::Concurrency { until: now + quick + wait }), quick);
        }
        pool.at_tenant += 1;
        let is_contended = self.dice.random_bool(0.04);
        (if is_contended { End::Contended } else { End::Served }, takes)
    }

    /// What the tenant says of its limit, if it is news.
    fn says(&mut self, pool: usize) -> Option<u32> {
        let pool = &mut self.pools[pool];
        if pool.said == pool.limit {
            return None;
        }
        pool.said = pool.limit;
        pool.books.limits(pool.limit, Instant::now());
        self.seen.limits += 1;
        Some(pool.limit)
    }

    /// An answer came to the request of this number.
    fn reached(&mut self, number: u64, now: Instant) {
        if self.outage.reached(number) {
            self.pools.iter_mut().for_each(|pool| pool.books.is_up(now));
        }
    }

    fn served(&mut self, pool: usize) {
        self.pools[pool].at_tenant -= 1;
        self.pools[pool].books.finished += 1;
        self.seen.finished += 1;
    }

    fn refuses(&mut self, pool: usize, kind: Refused, sent: Instant, now: Instant) {
        match kind {
            Refused::Concurrency { .. } => {
                self.pools[pool].books.refuses(sent, now);
                self.seen.concurrency += 1;
            }
            Refused::Elsewhere { .. } => unreachable!("this tenant names the right pool"),
            Refused::Rate { until } => {
                self.pools.iter_mut().for_each(|pool| pool.books.pauses(until, now));
                self.seen.rate += 1;
            }
        }
    }

    /// The first free millisecond after so much time.
    fn slot(&mut self, after: Duration) -> Instant {
        let at = (self.start.elapsed() + after).as_millis();
        let mut at = u64::try_from(at).unwrap() + 1;
        while !self.taken.insert(at) {
            at += 1;
        }
        self.start + millis(at)
    }
}

impl Seen {
    /// Nobody is turned away without the reason that is given.
    fn turned_away(
        &mut self,
        shed: Shed,
        wish: &Wish,
        books: &Books,
        outage: &Outage,
        now: Instant,
    ) {
        match shed {
            Shed::QueueFull { .. } => {
                assert!(books.is_full(), "turned away from a queue with room");
                self.full += 1;
            }
            Shed::QueueTimeout { .. } => {
                let exactly = wish.deadline..=wish.deadline + millis(1);
                let is_over = exactly.contains(&now) && !outage.is_down();
                assert!(is_over || now == wish.asked, "neither sooner nor later");
                self.late += 1;
            }
            Shed::Cooldown { until } => {
                assert!(wish.deadline <= until && books.must_rest(wish, now), "no need to rest");
                self.cooldown += 1;
            }
            Shed::Hopeless { .. } => {
                let rests = wish.is_chosen && wish.rests_too_long();
                assert!(rests || books.finished >= 8, "sent away on a guess");
                self.hopeless += 1;
            }
            Shed::QueueBytes { .. } => panic!("nobody keeps any bytes"),
            Shed::RateLimited { .. } => panic!("nobody has a rate"),
            Shed::Down { .. } => {
                let is_over = wish.deadline <= now && outage.is_down();
                assert!(is_over || outage.is_too_long_for(wish.deadline), "{outage:?}");
                self.down += 1;
            }
        }
        let advice = shed.retry_after(now);
        assert!(secs(1) <= advice && advice.subsec_nanos() == 0);
    }
}
