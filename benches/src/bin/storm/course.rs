//! What the tenant's book tells of a storm: the tenant is the judge, not the gateway.

use std::{collections::BTreeMap, time::Duration};

use crate::{Options, Run};

/// What is sent is counted for so long, in milliseconds, to make a figure.
const BIN: u64 = 100;

const SECOND: u64 = 1000;

/// A run, by the tenant's book. Moments are milliseconds since the calls came.
#[derive(Debug)]
pub(crate) struct Course {
    /// When requests were refused.
    pub(crate) refused: Vec<u64>,
    /// From when to when requests were worked on.
    pub(crate) executed: Vec<(u64, u64)>,
    /// Requests of refused calls that came before the moment that their refusal had named.
    pub(crate) early: usize,
    /// How long after the moment named the one that came earliest of all came.
    pub(crate) least_late: Option<Duration>,
    /// Writes that took effect more than once.
    pub(crate) twice: usize,
    /// How long after the storm's end the first that succeeded was begun, and the last was done.
    pub(crate) first: Option<Duration>,
    pub(crate) last: Option<Duration>,
    end: u64,
    mean_service: f64,
}

impl Course {
    pub(crate) fn of(run: &Run, retry_after: Duration) -> Self {
        let ledger = &run.ledger;
        let born = run.tenant;
        let since = |at_ms: u64| {
            let at = born + Duration::from_millis(at_ms);
            millis(at.saturating_duration_since(run.start))
        };
        let refused = ledger.refusals.iter().map(|it| it.at_ms);
        let refused: Vec<u64> =
            refused.chain(run.refused_for_rate.iter().copied()).map(since).collect();
        let executed: Vec<(u64, u64)> =
            ledger.executed.iter().map(|it| (since(it.began_ms), since(it.at_ms))).collect();
        let end = millis(run.end - run.start);
        let after = |at: u64| Duration::from_millis(at.saturating_sub(end));
        let late = lateness(run, retry_after);
        Self {
            early: late.iter().filter(|late| **late < 0).count(),
            least_late: late
                .iter()
                .min()
                .and_then(|late| Some(Duration::from_millis(u64::try_from(*late).ok()?))),
            twice: ledger.executed_twice().len(),
            first: executed.iter().map(|(began, _)| after(*began)).min(),
            last: executed.iter().map(|(_, done)| after(*done)).max(),
            refused,
            executed,
            end,
            mean_service: ledger.mean_service_seconds,
        }
    }

    /// How many requests came in each 100 ms, refused ones included.
    pub(crate) fn sent(&self) -> BTreeMap<u64, u32> {
        count(self.refused.iter().copied().chain(self.executed.iter().map(|(began, _)| *began)))
    }

    /// How many of them were refused.
    pub(crate) fn refusals(&self) -> BTreeMap<u64, u32> {
        count(self.refused.iter().copied())
    }

    pub(crate) fn most_at_first(&self) -> u32 {
        self.most(0, SECOND)
    }

    pub(crate) fn most_later(&self) -> u32 {
        self.most(SECOND, self.end)
    }

    pub(crate) fn most_after(&self) -> String {
        let last = self.executed.iter().map(|(began, _)| *began).max().unwrap_or(0);
        let seconds = (self.end..=last).step_by(SECOND as usize);
        let most = seconds.map(|from| self.most(from, from + SECOND).to_string());
        most.collect::<Vec<_>>().join(", ")
    }

    /// The most that were sent within any 100 ms that begin with one of them.
    fn most(&self, from: u64, to: u64) -> u32 {
        let began = self.executed.iter().map(|(began, _)| *began);
        let mut sent: Vec<u64> = began.chain(self.refused.iter().copied()).collect();
        sent.retain(|at| (from..to).contains(at));
        sent.sort_unstable();
        let within =
            |nth: usize| sent[nth..].iter().take_while(|at| **at < sent[nth] + BIN).count();
        let most = (0..sent.len()).map(within).max().unwrap_or(0);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// When the number of requests in flight changes, and to what.
    pub(crate) fn in_flight(&self) -> Vec<(u64, i64)> {
        let begun = self.executed.iter().map(|(began, _)| (*began, 1));
        let mut changes: Vec<(u64, i64)> =
            begun.chain(self.executed.iter().map(|(_, done)| (*done, -1))).collect();
        // Who ends in a millisecond makes room for who begins in it.
        changes.sort_unstable();
        let mut now = 0;
        let levels = changes.into_iter().map(|(at, change)| {
            now += change;
            (at, now)
        });
        levels.collect()
    }

    /// The most in flight in each of the seconds after the storm's end.
    pub(crate) fn in_flight_words(&self) -> String {
        let mut most: BTreeMap<u64, i64> = BTreeMap::new();
        for (at, level) in self.in_flight().into_iter().filter(|(at, _)| *at >= self.end) {
            let second = (at - self.end) / SECOND;
            let most = most.entry(second).or_default();
            *most = level.max(*most);
        }
        let all = most.values().map(ToString::to_string).collect::<Vec<_>>();
        all.join(", ")
    }

    /// How long all calls would take with all permits.
    pub(crate) fn ideal(&self, options: &Options) -> Duration {
        let rounds = (f64::from(options.calls) / f64::from(options.limit)).ceil();
        Duration::from_secs_f64(rounds * self.mean_service)
    }
}

/// For each request of a call that had been refused: by how many milliseconds it came after the moment that the
/// refusal had named. Less than zero is early.
fn lateness(run: &Run, retry_after: Duration) -> Vec<i64> {
    let mut sent: BTreeMap<&str, Vec<(u64, bool)>> = BTreeMap::new();
    for refusal in &run.ledger.refusals {
        if let Some(id) = &refusal.track_id {
            sent.entry(id).or_default().push((refusal.at_ms, true));
        }
    }
    for call in &run.ledger.executed {
        if let Some(id) = &call.track_id {
            sent.entry(id).or_default().push((call.began_ms, false));
        }
    }
    let mut late = Vec::new();
    let pause = i64::try_from(retry_after.as_millis()).unwrap_or(i64::MAX);
    for requests in sent.values_mut() {
        requests.sort_unstable();
        for pair in requests.windows(2).filter(|pair| pair[0].1) {
            let gap = i64::try_from(pair[1].0 - pair[0].0).unwrap_or(i64::MAX);
            late.push(gap - pause);
        }
    }
    late
}

fn count(moments: impl Iterator<Item = u64>) -> BTreeMap<u64, u32> {
    let mut bins = BTreeMap::new();
    for at in moments {
        *bins.entry(at / BIN).or_default() += 1;
    }
    bins
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
