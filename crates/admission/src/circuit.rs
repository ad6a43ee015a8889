//! Whether the tenant is down: nobody hammers a Zuora that does not answer, and one call at a time finds
//! out whether it does again.
//!
//! Five requests in a row without an answer **open** the circuit: nobody goes. After a pause one call
//! goes to **probe**, and everybody else waits for what becomes of it. An answer **closes** the circuit;
//! none opens it again, for twice as long.
//!
//! The probe is a lease, not a state that somebody must remember to leave: it ends with its permit, and
//! if nothing is heard of it for [`LEASE`], another may probe.
//!
//! What a request tells depends on when it was sent, so each permit is stamped with the *generation* in
//! which it was given; every opening, every lease and every closing begins one. An answer counts if its
//! request was sent since the tenant went down, because then Zuora is there, however slow. A failure
//! counts in its own generation alone: requests that were sent before fail long after, and say nothing
//! about now.
//!
//! Pools that are not enforced hold nobody, here as elsewhere. Their calls go while the circuit is open,
//! and what becomes of them counts as well: an answer closes it.

use std::time::Duration;

use tokio::time::Instant;

/// So many requests without an answer, and none with one between, and the tenant is down.
const FAILURES: u32 = 5;
/// How long it is left alone at first, doubled with each probe that fails.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a probe may take before another may go as well. Zuora answers nearly everything sooner.
const LEASE: Duration = Duration::from_secs(15);

/// What is known about whether the tenant answers.
#[derive(Debug)]
pub(crate) struct Circuit {
    standing: Standing,
    generation: u32,
    /// The generation that began when the tenant last went down.
    down: u32,
    /// When it last closed.
    closed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Everybody goes; so many failed since the last answer.
    Closed { failures: u32 },
    /// Nobody goes until this moment, and then one.
    Open { until: Instant, pause: Duration },
    /// One went; nothing is known yet.
    Probing { lease: Instant, pause: Duration },
}

/// When a permit was given, and what for; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    generation: u32,
    is_probe: bool,
}

/// What a request's end changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opens { until: Instant },
    Closes,
}

impl Circuit {
    pub(crate) fn new() -> Self {
        let standing = Standing::Closed { failures: 0 };
        Self { standing, generation: 0, down: 0, closed: None }
    }

    pub(crate) fn snapshot(&self) -> crate::Circuit {
        match self.standing {
            Standing::Closed { .. } => crate::Circuit::Closed,
            Standing::Open { until, .. } => crate::Circuit::Open { until },
            Standing::Probing { .. } => crate::Circuit::Probing,
        }
    }

    /// Whether all is well: an answer would be no news.
    pub(crate) fn is_calm(&self) -> bool {
        self.standing == Standing::Closed { failures: 0 }
    }

    /// Whether nobody goes, or one alone.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.standing, Standing::Closed { .. })
    }

    /// Whether it was open at any time after `then`.
    pub(crate) fn was_open_after(&self, then: Instant) -> bool {
        self.is_open() || self.closed.is_some_and(|closed| then < closed)
    }

    /// Whether a call may go to probe.
    pub(crate) fn wants_probe(&self, now: Instant) -> bool {
        matches!(self.standing, Standing::Open { until, .. } if until <= now)
    }

    /// Returns until when it is certain that nobody goes.
    pub(crate) fn open_until(&self, now: Instant) -> Option<Instant> {
        match self.standing {
            Standing::Open { until, .. } if now < until => Some(until),
            _ => None,
        }
    }

    /// Returns when time alone lets somebody go.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        match self.standing {
            Standing::Probing { lease, .. } => Some(lease),
            _ => self.open_until(now),
        }
    }

    /// Takes the lease away from a probe of which nothing was heard.
    pub(crate) fn advance(&mut self, now: Instant) {
        if let Standing::Probing { lease, pause } = self.standing
            && lease <= now
        {
            self.standing = Standing::Open { until: now, pause };
        }
    }

    /// A permit is given, in a pool that keeps to this or does not. If it keeps to it, and this is open,
    /// then the permit is the probe's.
    pub(crate) fn stamp(&mut self, keeps: bool, now: Instant) -> Stamp {
        let probes_after = match self.standing {
            Standing::Open { pause, .. } if keeps => Some(pause),
            _ => None,
        };
        if let Some(pause) = probes_after {
            self.generation += 1;
            self.standing = Standing::Probing { lease: now + LEASE, pause };
        }
        Stamp { generation: self.generation, is_probe: probes_after.is_some() }
    }

    /// A permit came back. If it was the probe's, and told nothing, another may probe.
    pub(crate) fn give_back(&mut self, stamp: Stamp, now: Instant) {
        self.advance(now);
        if let Some(pause) = self.probing(stamp) {
            self.standing = Standing::Open { until: now, pause };
        }
    }

    /// A request was answered.
    pub(crate) fn reached(&mut self, stamp: Stamp, now: Instant) -> Option<Change> {
        if stamp.generation < self.down {
            return None;
        }
        let was_open = self.is_open();
        self.standing = Standing::Closed { failures: 0 };
        if !was_open {
            return None;
        }
        self.generation += 1;
        self.closed = Some(now);
        Some(Change::Closes)
    }

    /// A request was not answered. `jitter` is told a pause, and returns what to add to it.
    pub(crate) fn unreached(
        &mut self,
        stamp: Stamp,
        now: Instant,
        jitter: impl FnOnce(Duration) -> Duration,
    ) -> Option<Change> {
        self.advance(now);
        let pause = match self.standing {
            Standing::Closed { .. } if stamp.generation < self.generation => return None,
            Standing::Closed { failures } if failures + 1 < FAILURES => {
                self.standing = Standing::Closed { failures: failures + 1 };
                return None;
            }
            Standing::Closed { .. } => {
                self.down = self.generation + 1;
                SHORTEST_PAUSE
            }
            _ => (self.probing(stamp)? * 2).min(LONGEST_PAUSE),
        };
        self.generation += 1;
        let until = now + pause + jitter(pause);
        self.standing = Standing::Open { until, pause };
        Some(Change::Opens { until })
    }

    /// Returns the pause before the probe, if this is the probe's and nothing is known of it yet.
    fn probing(&self, stamp: Stamp) -> Option<Duration> {
        match self.standing {
            Standing::Probing { pause, .. } => {
                (stamp.is_probe && stamp.generation == self.generation).then_some(pause)
            }
            _ => None,
        }
    }
}
