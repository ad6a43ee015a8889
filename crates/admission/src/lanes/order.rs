//! The order in which calls go through lanes, and every decision about it.
//!
//! Told the time, deciding at once, telling nobody: what is to be said to waiting calls is put in an
//! [`Outbox`], which is delivered after the lock is released.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Lane, LaneTicket, LanesSnapshot};
use crate::ask::whole_seconds;
use crate::hold::HoldTime;
use crate::sync::oneshot;
use crate::{AppId, Shed};

/// The longest wait that a shed call is advised: longer ones make clients sleep through the recovery.
const LONGEST_ADVICE: Duration = Duration::from_secs(30);
const SHORTEST_ADVICE: Duration = Duration::from_secs(1);

/// What is to be said to whom, once the lock is released.
pub(super) type Outbox = Vec<(oneshot::Sender<Result<Lane, Shed>>, Result<Pass, Shed>)>;

/// A decision that a call has all of its lanes; becomes a [`Lane`] outside the lock.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) ticket: LaneTicket,
    app: AppId,
    keys: Box<[u64]>,
    since: Instant,
}

/// What a call that enters gets at once.
#[derive(Debug)]
pub(super) enum Answer {
    Goes(Pass),
    Waits(u64, oneshot::Receiver<Result<Lane, Shed>>),
}

/// After every decision nobody waits who may go.
///
/// Trees rather than tables: they give back their memory as they become smaller, and no choice of
/// names makes them slow.
#[derive(Debug)]
pub(super) struct Order {
    /// Only those in which somebody is, or waits.
    lanes: BTreeMap<u64, Line>,
    waiters: BTreeMap<u64, Waiter>,
    most_waiting: usize,
    /// How many lanes are taken.
    held: usize,
    hold: HoldTime,
    /// Whatever is numbered gets the next number: a call that enters, a place in line, a turn.
    last_number: u64,
}

/// One lane: who is in it, and who waits for it.
#[derive(Debug, Default)]
struct Line {
    holder: Option<AppId>,
    /// All who wait: by app, and as they came.
    ranks: BTreeSet<Rank>,
    /// Those of them whose turn is known, the next one first.
    turns: BTreeSet<Turn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    app: AppId,
    number: u64,
    /// Tells calls apart that enter with the same ticket.
    id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    turn: u64,
    id: u64,
}

/// A call that waits.
#[derive(Debug)]
struct Waiter {
    rank: Rank,
    /// Given once, when it is first of its app everywhere, and then kept.
    turn: Option<u64>,
    /// In how many of its lanes a call of its own app is before it.
    behind: usize,
    keys: Box<[u64]>,
    deadline: Instant,
    tell: oneshot::Sender<Result<Lane, Shed>>,
}

impl Order {
    pub(super) fn new(most_waiting: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            waiters: BTreeMap::new(),
            most_waiting,
            held: 0,
            hold: HoldTime::default(),
            last_number: 0,
        }
    }

    pub(super) fn set_most_waiting(&mut self, most_waiting: usize) {
        self.most_waiting = most_waiting;
    }

    /// Decides on a call that enters.
    pub(super) fn enter(
        &mut self,
        keys: &[u64],
        app: AppId,
        ticket: Option<LaneTicket>,
        deadline: Instant,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Result<Answer, Shed> {
        if deadline <= now {
            return Err(self.too_late(keys));
        }
        let id = self.next_number();
        let rank = Rank { app, number: ticket.map_or(id, |ticket| ticket.number), id };
        // Whoever has no turn yet would get the last one.
        let turn = Turn { turn: ticket.map_or(id, |ticket| ticket.turn), id };
        if self.may_go_at_once(keys, rank, turn) {
            let ticket = LaneTicket { number: rank.number, turn: turn.turn };
            let pass = Pass { ticket, app, keys: distinct(keys), since: now };
            self.overtake(&pass, now, outbox);
            return Ok(Answer::Goes(pass));
        }
        if self.waiters.len() >= self.most_waiting {
            return Err(Shed::QueueFull { retry_after: self.advice(keys) });
        }
        let (tell, told) = oneshot::channel();
        let turn = ticket.map(|ticket| ticket.turn);
        let waiter = Waiter { rank, turn, behind: 0, keys: distinct(keys), deadline, tell };
        self.line_up(waiter, now, outbox);
        Ok(Answer::Waits(id, told))
    }

    /// Takes out a call that left, if it is still here.
    pub(super) fn leave(&mut self, id: u64, now: Instant, outbox: &mut Outbox) {
        let Some(waiter) = self.waiters.remove(&id) else { return };
        let mut changed = Vec::new();
        self.take_out(&waiter, &mut changed);
        self.settle(changed, now, outbox);
    }

    /// Takes lanes back.
    pub(super) fn give_back(&mut self, pass: &Pass, now: Instant, outbox: &mut Outbox) {
        self.hold.measure(pass.since, now);
        self.held -= pass.keys.len();
        let mut changed = Vec::new();
        for &key in &pass.keys {
            let line = self.line_mut(key);
            line.holder = None;
            if line.ranks.is_empty() {
                self.lanes.remove(&key);
                continue;
            }
            changed.push(key);
            if let Some(next) = line.first_of(pass.app) {
                self.step_forward(next.id, &mut changed);
            }
        }
        self.settle(changed, now, outbox);
    }

    /// Why a call has to be sent away when its time is over.
    pub(super) fn too_late(&self, keys: &[u64]) -> Shed {
        Shed::QueueTimeout { retry_after: self.advice(keys) }
    }

    pub(super) fn snapshot(&self) -> LanesSnapshot {
        LanesSnapshot { held: self.held, waiting: self.waiters.len() }
    }

    /// Returns how many lanes are remembered.
    #[cfg(test)]
    pub(super) fn lines(&self) -> usize {
        self.lanes.len()
    }

    /// Whether nobody is in these lanes, and nobody who waits for one of them goes first.
    fn may_go_at_once(&self, keys: &[u64], rank: Rank, turn: Turn) -> bool {
        keys.iter().filter_map(|key| self.lanes.get(key)).all(|line| {
            line.holder.is_none()
                && line.first_of(rank.app).is_none_or(|first| rank < first)
                && line.turns.first().is_none_or(|first| turn < *first)
        })
    }

    /// Lets a call go that did not wait. Calls of its app are now behind it, and keep nobody waiting.
    fn overtake(&mut self, pass: &Pass, now: Instant, outbox: &mut Outbox) {
        let mut changed = Vec::new();
        for &key in &pass.keys {
            let line = self.lanes.entry(key).or_default();
            if let Some(first) = line.first_of(pass.app) {
                self.step_back(first.id, &mut changed);
            }
        }
        self.take(pass);
        self.settle(changed, now, outbox);
    }

    fn take(&mut self, pass: &Pass) {
        for key in &pass.keys {
            let others = self.line_mut(*key).holder.replace(pass.app);
            debug_assert!(others.is_none(), "one call at a time");
        }
        self.held += pass.keys.len();
    }

    /// Lets a call wait.
    fn line_up(&mut self, mut waiter: Waiter, now: Instant, outbox: &mut Outbox) {
        let Rank { app, id, .. } = waiter.rank;
        let mut changed = Vec::new();
        for &key in &waiter.keys {
            let line = self.lanes.entry(key).or_default();
            let first = line.first_of(app);
            line.ranks.insert(waiter.rank);
            if line.holder == Some(app) || first.is_some_and(|first| first < waiter.rank) {
                waiter.behind += 1;
            } else if let Some(first) = first {
                self.step_back(first.id, &mut changed);
            }
        }
        let is_first = waiter.behind == 0;
        self.waiters.insert(id, waiter);
        if is_first {
            self.give_turn(id, &mut changed);
        }
        self.settle(changed, now, outbox);
    }

    /// Takes a call out of its lanes; those of its app that were behind it come forward.
    fn take_out(&mut self, waiter: &Waiter, changed: &mut Vec<u64>) {
        let Rank { app, .. } = waiter.rank;
        for &key in &waiter.keys {
            let line = self.line_mut(key);
            let was_first = line.holder != Some(app) && line.first_of(app) == Some(waiter.rank);
            line.remove(waiter);
            changed.push(key);
            if was_first && let Some(next) = line.first_of(app) {
                self.step_forward(next.id, changed);
            }
        }
    }

    /// Lets everybody go who may, given the lanes in which something changed.
    fn settle(&mut self, mut changed: Vec<u64>, now: Instant, outbox: &mut Outbox) {
        while let Some(key) = changed.pop() {
            let Some(line) = self.lanes.get(&key) else { continue };
            if line.is_forgotten() {
                self.lanes.remove(&key);
                continue;
            }
            let Some(&turn) = line.turns.first() else { continue };
            if !self.may_go(turn) {
                continue;
            }
            let waiter = self.waiters.remove(&turn.id).expect("whoever has a turn waits");
            if now < waiter.deadline {
                self.let_go(waiter, turn, now, outbox);
            } else {
                // Its own timer is about to say the same.
                self.take_out(&waiter, &mut changed);
                outbox.push((waiter.tell, Err(self.too_late(&waiter.keys))));
            }
        }
    }

    /// Whether the call is next in each of its lanes, and nobody is in one of them.
    fn may_go(&self, turn: Turn) -> bool {
        self.waiters[&turn.id].keys.iter().all(|key| {
            let line = &self.lanes[key];
            line.holder.is_none() && line.turns.first() == Some(&turn)
        })
    }

    /// Gives a call its lanes. Those of its app that were behind it still are.
    fn let_go(&mut self, waiter: Waiter, turn: Turn, now: Instant, outbox: &mut Outbox) {
        for &key in &waiter.keys {
            self.line_mut(key).remove(&waiter);
        }
        let Rank { app, number, .. } = waiter.rank;
        let ticket = LaneTicket { number, turn: turn.turn };
        let pass = Pass { ticket, app, keys: waiter.keys, since: now };
        self.take(&pass);
        outbox.push((waiter.tell, Ok(pass)));
    }

    /// A call that was before this one, in one lane and of the same app, is gone.
    fn step_forward(&mut self, id: u64, changed: &mut Vec<u64>) {
        let waiter = self.waiters.get_mut(&id).expect("whoever has a rank waits");
        waiter.behind -= 1;
        if waiter.behind == 0 {
            self.give_turn(id, changed);
        }
    }

    /// A call of the same app came before this one in one lane. It keeps its turn for later; until then
    /// others may go.
    fn step_back(&mut self, id: u64, changed: &mut Vec<u64>) {
        let waiter = self.waiters.get_mut(&id).expect("whoever has a rank waits");
        waiter.behind += 1;
        if waiter.behind == 1 {
            let turn = Turn { turn: waiter.turn.expect("it was first"), id };
            for key in &waiter.keys {
                self.lanes.get_mut(key).expect("it waits there").turns.remove(&turn);
                changed.push(*key);
            }
        }
    }

    fn give_turn(&mut self, id: u64, changed: &mut Vec<u64>) {
        let number = self.next_number();
        let waiter = self.waiters.get_mut(&id).expect("whoever has a rank waits");
        let turn = Turn { turn: *waiter.turn.get_or_insert(number), id };
        for key in &waiter.keys {
            self.lanes.get_mut(key).expect("it waits there").turns.insert(turn);
            changed.push(*key);
        }
    }

    /// Returns the predicted wait as advice: as long as it takes all those in the longest of the lanes,
    /// in whole seconds.
    fn advice(&self, keys: &[u64]) -> Duration {
        let lines = keys.iter().filter_map(|key| self.lanes.get(key));
        let longest = lines.map(Line::len).max().unwrap_or_default();
        let turns = u32::try_from(longest).unwrap_or(u32::MAX);
        let wait = self.hold.guess().saturating_mul(turns);
        whole_seconds(wait).clamp(SHORTEST_ADVICE, LONGEST_ADVICE)
    }

    fn line_mut(&mut self, key: u64) -> &mut Line {
        self.lanes.get_mut(&key).expect("it is there while somebody is in it or waits")
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl Line {
    /// Returns the first of an app's calls that wait here.
    fn first_of(&self, app: AppId) -> Option<Rank> {
        let least = Rank { app, number: 0, id: 0 };
        self.ranks.range(least..).next().copied().filter(|first| first.app == app)
    }

    fn remove(&mut self, waiter: &Waiter) {
        self.ranks.remove(&waiter.rank);
        if let Some(turn) = waiter.turn {
            self.turns.remove(&Turn { turn, id: waiter.rank.id });
        }
    }

    fn is_forgotten(&self) -> bool {
        self.holder.is_none() && self.ranks.is_empty()
    }

    fn len(&self) -> usize {
        usize::from(self.holder.is_some()) + self.ranks.len()
    }
}

fn distinct(keys: &[u64]) -> Box<[u64]> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys.into_boxed_slice()
}
