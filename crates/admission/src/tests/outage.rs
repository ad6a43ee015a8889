//! The judge's own reading of whether the tenant is down: from what was told, and from who went.

use std::time::Duration;

use tokio::time::Instant;

const MILLISECOND: Duration = Duration::from_millis(1);

/// What is told and who goes, numbered in order, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    happened: u64,
    failures: u32,
    /// What was sent before the one tells nothing of its end, nor what was before the other of failures.
    went_down: u64,
    came_up: u64,
    open: Option<Open>,
    pub(super) openings: u32,
    pub(super) probes: u32,
}

/// The tenant is left alone, or one call tries it.
#[derive(Clone, Copy, Debug)]
struct Open {
    pause: Duration,
    /// When the next may try: jitter is the admission's own choice.
    earliest: Instant,
    latest: Instant,
    /// Which call tries, and until when it does alone.
    probe: Option<(u64, Instant)>,
}

impl Open {
    fn new(pause: Duration, now: Instant) -> Self {
        let jitter = (pause / 10).min(Duration::from_secs(1));
        Self { pause, earliest: now + pause, latest: now + pause + jitter, probe: None }
    }

    /// Whether `call` tries, and nobody else.
    fn is_tried_by(&self, call: u64, now: Instant) -> bool {
        self.probe.is_some_and(|(probe, lease)| probe == call && now < lease)
    }
}

impl Outage {
    /// A call goes, with this name, in a pool that keeps calls waiting or does not. Returns its number,
    /// and whether it is to try.
    pub(super) fn goes(&mut self, call: u64, keeps: bool, now: Instant) -> (u64, bool) {
        self.happened += 1;
        let mut tries = false;
        if let Some(open) = self.open.as_mut().filter(|_| keeps) {
            assert!(open.earliest <= now, "not left alone: {open:?}");
            let others = open.probe.filter(|(_, lease)| now < *lease);
            assert_eq!(others, None, "two try at the same time");
            open.probe = Some((call, now + Duration::from_secs(15)));
            self.probes += 1;
            tries = true;
        }
        (self.happened, tries)
    }

    /// A call is answered that went with this number. Returns whether that shows that the tenant is up.
    pub(super) fn reached(&mut self, number: u64) -> bool {
        if number <= self.went_down {
            return false;
        }
        self.failures = 0;
        let is_up = self.open.take().is_some();
        if is_up {
            self.came_up = self.happened;
        }
        is_up
    }

    pub(super) fn unreached(&mut self, call: u64, number: u64, now: Instant) {
        match self.open {
            Some(open) if open.is_tried_by(call, now) => {
                let pause = (open.pause * 2).min(Duration::from_secs(30));
                self.open = Some(Open::new(pause, now));
            }
            Some(_) => {}
            None if number <= self.came_up => {}
            None => {
                self.failures += 1;
                if self.failures == 5 {
                    self.went_down = self.happened;
                    self.openings += 1;
                    self.open = Some(Open::new(Duration::from_secs(1), now));
                }
            }
        }
    }

    /// A permit comes back, whatever was told before.
    pub(super) fn comes_back(&mut self, call: u64, now: Instant) {
        if let Some(open) = self.open.as_mut().filter(|open| open.is_tried_by(call, now)) {
            *open = Open { earliest: now, latest: now, probe: None, ..*open };
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.open.is_some()
    }

    /// Whether nobody may go who cannot wait longer than until `deadline`.
    pub(super) fn is_too_long_for(&self, deadline: Instant) -> bool {
        self.open.is_some_and(|open| open.probe.is_none() && deadline <= open.latest)
    }

    /// Whether somebody should be trying by now.
    pub(super) fn is_to_be_tried(&self, now: Instant) -> bool {
        self.open.is_some_and(|open| {
            let from = open.probe.map_or(open.latest, |(_, lease)| lease);
            from + 2 * MILLISECOND < now
        })
    }
}
