//! When what happens in a run, and how many permits there are to share at each moment.

use std::time::Duration;

use tokio::time::Instant;

/// The moments of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The load begins.
    pub(crate) start: Instant,
    /// The measurement begins.
    pub(crate) begin: Instant,
    /// Both end.
    pub(crate) end: Instant,
    /// The tenant was started: its book counts from here.
    pub(crate) tenant: Instant,
}

/// Somebody from outside is at the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stay {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// The limit is another one from a moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLimit {
    pub(crate) at: Instant,
    pub(crate) limit: u32,
}

/// A part of a run in which the number of permits does not change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    pub(crate) permits: f64,
}

impl Clock {
    /// A moment of the tenant's book.
    pub(crate) fn at(&self, ms: u64) -> Instant {
        self.tenant + Duration::from_millis(ms)
    }

    /// Seconds since the load began; what was before is at zero.
    pub(crate) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }

    /// The stays of an outsider: one from start to end or, with a period, one of that length after
    /// each absence of that length, from the beginning of the measurement on.
    pub(crate) fn stays(&self, period: Option<Duration>) -> Vec<Stay> {
        let Some(period) = period else { return vec![Stay { from: self.start, to: self.end }] };
        let arrivals = (0..).map(|nth| self.begin + period * (2 * nth + 1));
        arrivals
            .take_while(|from| *from < self.end)
            .map(|from| Stay { from, to: self.end.min(from + period) })
            .collect()
    }

    /// How many permits there were to share, phase by phase, while it was measured.
    pub(crate) fn phases(
        &self,
        limit: u32,
        changes: &[NewLimit],
        stays: &[Stay],
        outside: u32,
    ) -> Vec<Phase> {
        let ends = stays.iter().flat_map(|stay| [stay.from, stay.to]);
        let mut moments: Vec<Instant> = ends
            .chain(changes.iter().map(|change| change.at))
            .chain([self.begin, self.end])
            .filter(|at| (self.begin..=self.end).contains(at))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        let phase = |pair: &[Instant]| {
            let (from, to) = (pair[0], pair[1]);
            let change = changes.iter().rfind(|change| change.at <= from);
            let limit = change.map_or(limit, |change| change.limit);
            let is_there = stays.iter().any(|stay| (stay.from..stay.to).contains(&from));
            let taken = if is_there { outside } else { 0 };
            Phase {
                seconds: (to - from).as_secs_f64(),
                permits: f64::from(limit.saturating_sub(taken)),
            }
        };
        moments.windows(2).map(phase).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        let start = Instant::now();
        let begin = start + Duration::from_secs(2);
        Clock { start, begin, end: begin + Duration::from_secs(50), tenant: start }
    }

    #[test]
    fn an_outsider_is_there_all_the_time_or_comes_and_goes() {
        let clock = clock();
        let second = |nth| clock.begin + Duration::from_secs(nth);

        assert_eq!(clock.stays(None), [Stay { from: clock.start, to: clock.end }]);
        assert_eq!(
            clock.stays(Some(Duration::from_secs(20))),
            [Stay { from: second(20), to: second(40) }]
        );
        assert_eq!(clock.stays(Some(Duration::from_secs(15))).len(), 2);
    }

    #[test]
    fn what_there_is_to_share_changes_with_limits_and_outsiders() {
        let clock = clock();
        let second = |nth| clock.begin + Duration::from_secs(nth);
        let stays = [Stay { from: second(10), to: second(30) }];
        let changes = [NewLimit { at: second(20), limit: 25 }];

        let phases = clock.phases(40, &changes, &stays, 10);

        let expected = [(10.0, 40.0), (10.0, 30.0), (10.0, 15.0), (20.0, 25.0)];
        assert_eq!(phases, expected.map(|(seconds, permits)| Phase { seconds, permits }));
    }
}
