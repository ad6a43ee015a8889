//! Who waits for a pool, and whose turn it is: in order within an app, in turn between apps.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{AppId, Permit, Shed, Ticket};

/// What a waiting call is told in the end. If nobody listens any more, dropping it gives the permit back.
pub(crate) type Outcome = Result<Permit, Shed>;

/// One call in the queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) app: AppId,
    pub(crate) ticket: Ticket,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    /// Until when the call itself may not be sent.
    pub(crate) due: Option<Instant>,
    pub(crate) tell: oneshot::Sender<Outcome>,
}

/// Where a waiter stands; what it takes to remove it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) app: AppId,
    pub(crate) key: Key,
    /// Where it rests until this moment, if it does.
    pub(crate) due: Option<Instant>,
}

/// The order within an app: by ticket. The second number tells two asks with one ticket apart.
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
#[derive(Debug)]
pub(crate) struct Queue {
    lines: Vec<Line>,
    /// The apps with somebody ready, the next one first. An app whose callers all left stays until
    /// its turn comes up, so that leaving does not cost a search; it keeps its place meanwhile.
    ring: VecDeque<AppId>,
    ready: usize,
    /// Calls that must not be sent yet, by the moment when they may.
    resting: BTreeMap<(Instant, Key), Waiter>,
}

/// One app's waiting calls.
#[derive(Debug, Default)]
struct Line {
    ready: BTreeMap<Key, Waiter>,
    resting: usize,
    in_ring: bool,
}

impl Queue {
    pub(crate) fn new(apps: usize) -> Self {
        Self {
            lines: (0..apps).map(|_| Line::default()).collect(),
            ring: VecDeque::new(),
            ready: 0,
            resting: BTreeMap::new(),
        }
    }

    /// Returns how many wait, ready or resting.
    pub(crate) fn len(&self) -> usize {
        self.ready + self.resting.len()
    }

    pub(crate) fn len_of(&self, app: AppId) -> usize {
        let line = &self.lines[app.index()];
        line.ready.len() + line.resting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn any_ready(&self) -> bool {
        self.ready > 0
    }

    /// Puts a call in line, or to rest if its moment is after `now`.
    pub(crate) fn push(&mut self, key: Key, waiter: Waiter, now: Instant) -> Spot {
        let app = waiter.app;
        let due = waiter.due.filter(|due| now < *due);
        match due {
            Some(due) => {
                self.lines[app.index()].resting += 1;
                self.resting.insert((due, key), waiter);
            }
            None => self.line_up(key, waiter),
        }
        Spot { app, key, due }
    }

    /// Lets those take their places whose moment has come.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.resting.first_entry()
            && entry.key().0 <= now
        {
            let ((_, key), waiter) = entry.remove_entry();
            self.lines[waiter.app.index()].resting -= 1;
            self.line_up(key, waiter);
        }
    }

    /// Returns when the next resting call may go.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.resting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the call whose turn it is; its app goes to the end of the ring.
    ///
    /// Calls whose deadline is over are put in `late`. They do not cost their app its turn.
    pub(crate) fn pop(&mut self, now: Instant, late: &mut Vec<Waiter>) -> Option<Waiter> {
        while let Some(app) = self.ring.pop_front() {
            let line = &mut self.lines[app.index()];
            let before = line.ready.len();
            let next = line.pop(now, late);
            self.ready -= before - line.ready.len();
            line.in_ring = !line.ready.is_empty();
            if line.in_ring {
                self.ring.push_back(app);
            }
            if next.is_some() {
                return next;
            }
        }
        None
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
        let waiter = line.ready.remove(&spot.key)?;
        self.ready -= 1;
        Some(waiter)
    }

    /// Takes out everybody who cannot wait beyond `until`.
    pub(crate) fn expel(&mut self, until: Instant) -> Vec<Waiter> {
        let mut expelled = Vec::new();
        for line in &mut self.lines {
            let gone = line.ready.extract_if(.., |_, waiter| waiter.deadline <= until);
            expelled.extend(gone.map(|(_, waiter)| waiter));
        }
        self.ready -= expelled.len();
        for (_, waiter) in self.resting.extract_if(.., |_, waiter| waiter.deadline <= until) {
            self.lines[waiter.app.index()].resting -= 1;
            expelled.push(waiter);
        }
        expelled
    }

    /// Returns how many go before a call of `app` that asks with `ticket`, or at the back: those
    /// before it in its own line, and as many turns of every other app.
    pub(crate) fn ahead_of(&self, app: AppId, ticket: Option<Ticket>) -> usize {
        let own = &self.lines[app.index()].ready;
        let before = match ticket {
            Some(ticket) => own.range(..Key::new(ticket, 0)).count(),
            None => own.len(),
        };
        let others = self.ring.iter().filter(|other| **other != app);
        let turns = others.map(|other| self.lines[other.index()].ready.len().min(before + 1));
        before + turns.sum::<usize>()
    }

    /// Returns when the longest-waiting call of `app` asked for the first time.
    pub(crate) fn oldest(&self, app: AppId) -> Option<Instant> {
        let line = &self.lines[app.index()];
        // Tickets are numbered in the order of asking, so the first in line is the oldest.
        let ready = line.ready.first_key_value().map(|(_, waiter)| waiter.ticket.since);
        let resting = match line.resting {
            0 => None,
            _ => self.resting.values().filter(|it| it.app == app).map(|it| it.ticket.since).min(),
        };
        ready.into_iter().chain(resting).min()
    }

    fn line_up(&mut self, key: Key, waiter: Waiter) {
        let app = waiter.app;
        let line = &mut self.lines[app.index()];
        line.ready.insert(key, waiter);
        self.ready += 1;
        if !line.in_ring {
            line.in_ring = true;
            self.ring.push_back(app);
        }
    }
}

impl Line {
    fn pop(&mut self, now: Instant, late: &mut Vec<Waiter>) -> Option<Waiter> {
        while let Some((_, waiter)) = self.ready.pop_first() {
            if now < waiter.deadline {
                return Some(waiter);
            }
            late.push(waiter);
        }
        None
    }
}
