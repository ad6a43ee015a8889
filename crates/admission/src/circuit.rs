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
//! What a request tells depends on when it was sent, so each permit knows in which *generation* it was
//! given; every opening and every lease begins one. An answer counts if it was sent since the latest
//! opening, because then Zuora is there, however slowly. A failure counts against the generation that it
//! is of, and no other: requests that were sent before the circuit opened fail long after, and say
//! nothing about now.

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
    generation: u64,
    /// The generation that began with the latest opening by failures in a row.
    opened: u64,
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

/// What a request's end changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opens,
    Closes,
}

impl Circuit {
    pub(crate) fn new() -> Self {
        let standing = Standing::Closed { failures: 0 };
        Self { standing, generation: 0, opened: 0, closed: None }
    }

    /// Returns the generation of a permit that is given now.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn snapshot(&self) -> crate::Circuit {
        match self.standing {
            Standing::Closed { .. } => crate::Circuit::Closed,
            Standing::Open { until, .. } => crate::Circuit::Open { until },
            Standing::Probing { .. } => crate::Circuit::Probing,
        }
    }

    /// Whether nobody goes just so.
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

    /// A call goes to probe. Its permit is of the generation that begins.
    pub(crate) fn probe(&mut self, now: Instant) {
        if let Standing::Open { pause, .. } = self.standing {
            self.generation += 1;
            self.standing = Standing::Probing { lease: now + LEASE, pause };
        }
    }

    /// A permit of `generation` came back. If it was the probe's, and told nothing, another may probe.
    /// Returns whether it was.
    pub(crate) fn give_back(&mut self, generation: u64, now: Instant) -> bool {
        match self.standing {
            Standing::Probing { pause, .. } if generation == self.generation => {
                self.standing = Standing::Open { until: now, pause };
                true
            }
            _ => false,
        }
    }

    /// A request of `generation` was answered.
    pub(crate) fn reached(&mut self, generation: u64, now: Instant) -> Option<Change> {
        if generation < self.opened {
            return None;
        }
        let was_open = self.is_open();
        self.standing = Standing::Closed { failures: 0 };
        if !was_open {
            return None;
        }
        // Those that failed while nobody knew better are no news either.
        self.generation += 1;
        self.closed = Some(now);
        Some(Change::Closes)
    }

    /// A request of `generation` was not answered. `jitter` is told a pause and returns what to add.
    pub(crate) fn unreached(
        &mut self,
        generation: u64,
        now: Instant,
        jitter: impl FnOnce(Duration) -> Duration,
    ) -> Option<Change> {
        if generation < self.generation {
            return None;
        }
        let pause = match self.standing {
            Standing::Closed { failures } if failures + 1 < FAILURES => {
                self.standing = Standing::Closed { failures: failures + 1 };
                return None;
            }
            Standing::Closed { .. } => {
                self.opened = self.generation + 1;
                SHORTEST_PAUSE
            }
            Standing::Probing { pause, .. } => (pause * 2).min(LONGEST_PAUSE),
            // Of a pool that is not enforced; the pause that it went in spite of stands.
            Standing::Open { .. } => return None,
        };
        self.generation += 1;
        self.standing = Standing::Open { until: now + pause + jitter(pause), pause };
        Some(Change::Opens)
    }
}
