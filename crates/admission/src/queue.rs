//! Who waits for a pool: in order within an app, and in turn between the users of an app.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::oneshot;
use crate::{AppId, Permit, PoolId, Shed, Ticket};

/// What a waiting call is told in the end. If nobody listens any more, dropping it gives the permit back.
pub(crate) type Outcome = Result<Permit, Shed>;

/// One call in the queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) app: AppId,
    pub(crate) user: Option<u64>,
    pub(crate) ticket: Ticket,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    /// Until when the call itself may not be sent.
    pub(crate) due: Option<Instant>,
    /// Whether it may be the first that goes to a tenant that is down.
    pub(crate) may_probe: bool,
    pub(crate) tell: oneshot::Sender<Outcome>,
}

/// Where a waiter stands; what it takes to remove it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) pool: PoolId,
    pub(crate) app: AppId,
    pub(crate) user: Option<u64>,
    pub(crate) key: Key,
    /// Where it rests until this moment, if it does.
    pub(crate) due: Option<Instant>,
}

/// The order among the calls of one user: by ticket. The second number tells two asks with one ticket
/// apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    ticket: u64,
    ask: u64,
}

impl Key {
    pub(crate) fn new(ticket: Ticket, ask: u64) -> Self {
        Self { ticket: ticket.number, ask }
    }
}

/// The waiting calls of one pool.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: Vec<Line>,
    ready: usize,
    /// Calls that must not be sent yet, by the moment when they may.
    resting: BTreeMap<(Instant, Key), Waiter>,
}

/// One app's waiting calls.
#[derive(Debug, Default)]
struct Line {
    ready: usize,
    resting: usize,
    /// The calls of which no user is known, who count as one.
    nobody: User,
    /// Users with a call that is ready, or a permit out.
    users: BTreeMap<u64, User>,
    /// Those with a call that is ready, the next one first.
    turns: BTreeSet<Turn>,
    turn: u64,
    /// From where users start who come anew: whoever was away is not owed that time.
    floor: Duration,
}

/// One user of an app.
#[derive(Debug, Default)]
struct User {
    ready: BTreeMap<Key, Waiter>,
    in_use: u32,
    /// How long its permits were held, or those of whoever had the least when it came.
    used: Duration,
    /// When its turn was, or when it came.
    turn: u64,
}

/// Whoever has the fewest permits out goes first; of these, who has held permits for the shortest time;
/// of these, whose turn is the longest ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    in_use: u32,
    used: Duration,
    turn: u64,
    user: Option<u64>,
}

impl Queue {
    /// Makes room for so many apps.
    pub(crate) fn grow(&mut self, apps: usize) {
        self.lines.resize_with(apps.max(self.lines.len()), Line::default);
    }

    /// Returns how many wait, ready or resting.
    pub(crate) fn len(&self) -> usize {
        self.ready + self.resting.len()
    }

    pub(crate) fn len_of(&self, app: AppId) -> usize {
        let line = &self.lines[app.index()];
        line.ready + line.resting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn any_ready(&self) -> bool {
        self.ready > 0
    }

    pub(crate) fn ready_of(&self, app: AppId) -> usize {
        self.lines[app.index()].ready
    }

    /// Puts a call in line, or to rest if its moment is after `now`; returns the moment.
    pub(crate) fn push(&mut self, key: Key, waiter: Waiter, now: Instant) -> Option<Instant> {
        let app = waiter.app;
        let due = waiter.due.filter(|due| now < *due);
        match due {
            Some(due) => {
                self.lines[app.index()].resting += 1;
                self.resting.insert((due, key), waiter);
            }
            None => self.line_up(key, waiter),
        }
        due
    }

    /// Lets the first of those take its place whose moment has come, and returns its app.
    pub(crate) fn wake(&mut self, now: Instant) -> Option<AppId> {
        let entry = self.resting.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, key), waiter) = entry.remove_entry();
        let app = waiter.app;
        self.lines[app.index()].resting -= 1;
        self.line_up(key, waiter);
        Some(app)
    }

    /// Returns when the next resting call may go.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.resting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the next call of an app. Calls whose deadline is over are put in `late`.
    pub(crate) fn pop(
        &mut self,
        app: AppId,
        now: Instant,
        late: &mut Vec<Waiter>,
    ) -> Option<Waiter> {
        let line = &mut self.lines[app.index()];
        while let Some(waiter) = line.pop() {
            self.ready -= 1;
            if now < waiter.deadline {
                return Some(waiter);
            }
            late.push(waiter);
        }
        None
    }

    /// Whether a call of an app is in time that may be the first to go to a tenant that is down.
    pub(crate) fn has_read(&self, app: AppId, now: Instant) -> bool {
        self.lines[app.index()].next_read(now).is_some()
    }

    /// Takes the next such call of an app.
    pub(crate) fn pop_read(&mut self, app: AppId, now: Instant) -> Option<Waiter> {
        let waiter = self.lines[app.index()].pop_read(now)?;
        self.ready -= 1;
        Some(waiter)
    }

    /// Takes out a call that left, if it is still here.
    pub(crate) fn remove(&mut self, spot: Spot) -> Option<Waiter> {
        let line = &mut self.lines[spot.app.index()];
        if let Some(due) = spot.due
            && let Some(waiter) = self.resting.remove(&(due, spot.key))
        {
            line.resting -= 1;
            return Some(waiter);
        }
        let waiter = line.remove(spot)?;
        self.ready -= 1;
        Some(waiter)
    }

    /// Takes out everybody who cannot wait beyond `until`.
    pub(crate) fn expel(&mut self, until: Instant) -> Vec<Waiter> {
        let mut expelled = Vec::new();
        for line in &mut self.lines {
            line.expel(until, &mut expelled);
        }
        self.ready -= expelled.len();
        for (_, waiter) in self.resting.extract_if(.., |_, waiter| waiter.deadline <= until) {
            self.lines[waiter.app.index()].resting -= 1;
            expelled.push(waiter);
        }
        expelled
    }

    /// A permit was given to a user of an app.
    pub(crate) fn take(&mut self, app: AppId, user: Option<u64>) {
        self.lines[app.index()].take(user);
    }

    /// A permit came back from a user of an app that was held for so long.
    pub(crate) fn give_back(&mut self, app: AppId, user: Option<u64>, held: Duration) {
        self.lines[app.index()].give_back(user, held);
    }

    /// Returns how many calls of an app go before one of `user` that asks with `ticket`, or at the back.
    pub(crate) fn ahead_of(&self, app: AppId, user: Option<u64>, ticket: Option<Ticket>) -> usize {
        let line = &self.lines[app.index()];
        match ticket {
            None => line.ahead_of(user),
            Some(ticket) => {
                line.user(user).map_or(0, |user| user.ready.range(..Key::new(ticket, 0)).count())
            }
        }
    }

    /// Returns when the longest-waiting call of `app` that is ready asked for the first time.
    pub(crate) fn oldest_ready(&self, app: AppId) -> Option<Instant> {
        let line = &self.lines[app.index()];
        // Tickets are numbered in the order of asking, so the first in line is the oldest.
        let first =
            |user: &User| user.ready.first_key_value().map(|(_, waiter)| waiter.ticket.since);
        line.users.values().chain([&line.nobody]).filter_map(first).min()
    }

    /// Returns the same of those that rest, by app.
    pub(crate) fn oldest_resting(&self) -> HashMap<AppId, Instant> {
        let mut oldest = HashMap::new();
        for waiter in self.resting.values() {
            let since = waiter.ticket.since;
            oldest
                .entry(waiter.app)
                .and_modify(|it: &mut Instant| *it = since.min(*it))
                .or_insert(since);
        }
        oldest
    }

    fn line_up(&mut self, key: Key, waiter: Waiter) {
        self.lines[waiter.app.index()].push(key, waiter);
        self.ready += 1;
    }
}

impl Line {
    fn push(&mut self, key: Key, waiter: Waiter) {
        self.ready += 1;
        self.turn += 1;
        if self.turns.is_empty() {
            // What was used while nobody waited kept nobody from anything: all start from the most.
            self.floor = self.floor.max(self.most_used());
        }
        let (turn, floor) = (self.turn, self.floor);
        self.change(waiter.user, |user| {
            if user.ready.is_empty() {
                // Whoever comes anew stands behind all who wait, as if the turn had just been theirs.
                user.turn = turn;
                user.used = user.used.max(floor);
            }
            user.ready.insert(key, waiter);
        });
    }

    fn pop(&mut self) -> Option<Waiter> {
        let Turn { user: name, used, .. } = *self.turns.first()?;
        self.floor = self.floor.max(used);
        self.turn += 1;
        let turn = self.turn;
        self.change(name, |user| {
            user.turn = turn;
            user.ready.pop_first().map(|(_, waiter)| waiter)
        })
        .inspect(|_| self.ready -= 1)
    }

    /// Returns whose turn it is of those that have a call which only reads, and the first of these. Looks
    /// at all calls: it is asked for once in a second, and only while the tenant is down.
    fn next_read(&self, now: Instant) -> Option<(Option<u64>, Key)> {
        self.turns.iter().find_map(|turn| {
            let mut calls = self.user(turn.user)?.ready.iter();
            let (key, _) = calls.find(|(_, it)| it.may_probe && now < it.deadline)?;
            Some((turn.user, *key))
        })
    }

    fn pop_read(&mut self, now: Instant) -> Option<Waiter> {
        let (name, key) = self.next_read(now)?;
        self.ready -= 1;
        self.turn += 1;
        let turn = self.turn;
        self.change(name, |user| {
            user.turn = turn;
            user.ready.remove(&key)
        })
    }

    fn remove(&mut self, spot: Spot) -> Option<Waiter> {
        self.user(spot.user)?.ready.get(&spot.key)?;
        self.ready -= 1;
        self.change(spot.user, |user| user.ready.remove(&spot.key))
    }

    fn expel(&mut self, until: Instant, expelled: &mut Vec<Waiter>) {
        let before = expelled.len();
        let names: Vec<_> = self.turns.iter().map(|turn| turn.user).collect();
        for name in names {
            self.change(name, |user| {
                let gone = user.ready.extract_if(.., |_, waiter| waiter.deadline <= until);
                expelled.extend(gone.map(|(_, waiter)| waiter));
            });
        }
        self.ready -= expelled.len() - before;
    }

    /// How many calls go before one that a user adds: its own, and while these and the new one have their
    /// turns, as many of each other user.
    fn ahead_of(&self, name: Option<u64>) -> usize {
        let own = self.user(name).map_or(0, |user| user.ready.len());
        let others = self.turns.len() - usize::from(own > 0);
        self.ready.min(own + (own + 1) * others)
    }

    fn take(&mut self, name: Option<u64>) {
        self.change(name, |user| user.in_use += 1);
    }

    fn give_back(&mut self, name: Option<u64>, held: Duration) {
        self.change(name, |user| {
            user.in_use -= 1;
            user.used += held;
        });
    }

    /// Changes a user and its place in the order of turns; users of whom nothing is left are forgotten.
    fn change<T>(&mut self, name: Option<u64>, change: impl FnOnce(&mut User) -> T) -> T {
        let user = match name {
            None => &mut self.nobody,
            Some(name) => self.users.entry(name).or_default(),
        };
        let former = (!user.ready.is_empty()).then(|| user.as_turn(name));
        let result = change(user);
        let turn = (!user.ready.is_empty()).then(|| user.as_turn(name));
        let is_over = user.ready.is_empty() && user.in_use == 0;
        if former != turn {
            former.inspect(|former| {
                self.turns.remove(former);
            });
            turn.inspect(|turn| {
                self.turns.insert(*turn);
            });
        }
        if let Some(name) = name.filter(|_| is_over) {
            self.users.remove(&name);
        }
        result
    }

    fn most_used(&self) -> Duration {
        let users = self.users.values().chain([&self.nobody]);
        users.map(|user| user.used).max().unwrap_or_default()
    }

    fn user(&self, name: Option<u64>) -> Option<&User> {
        name.map_or(Some(&self.nobody), |name| self.users.get(&name))
    }
}

impl User {
    fn as_turn(&self, user: Option<u64>) -> Turn {
        Turn { in_use: self.in_use, used: self.used, turn: self.turn, user }
    }
}
