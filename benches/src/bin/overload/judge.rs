//! What the tenant's book tells of a run: the tenant is the judge, not the gateway.

use std::{collections::BTreeMap, time::Duration};

use benches::stats::percentile;
use emulator::{Executed, Refusal};
use tokio::time::Instant;

use crate::{
    Run,
    apps::{self, App},
    clock::Clock,
    outsider,
};

/// The tenant's book of a run, warm-up included, without what the outsider did.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    clock: Clock,
    executed: Vec<&'a Executed>,
    refusals: Vec<&'a Refusal>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        let is_ours = |app: &Option<String>| app.as_deref() != Some(outsider::NAME);
        let books = [&run.warm_up, &run.ledger];
        let executed = books.iter().flat_map(|book| &book.executed);
        let refusals = books.iter().flat_map(|book| &book.refusals);
        Self {
            clock: run.clock,
            executed: executed.filter(|call| is_ours(&call.app)).collect(),
            refusals: refusals.filter(|refusal| is_ours(&refusal.app)).collect(),
        }
    }

    /// A percentile of how long the tenant worked on the calls that it ended from `from` on.
    pub(crate) fn service_time(&self, share: f64, from: Instant) -> Duration {
        let ended = self.executed.iter().filter(|call| self.clock.at(call.at_ms) >= from);
        let took = |call: &&Executed| Duration::from_millis(call.at_ms - call.began_ms);
        let mut times: Vec<Duration> = ended.map(took).collect();
        times.sort_unstable();
        percentile(&times, share)
    }

    /// How many calls the tenant refused from `from` to `to`.
    pub(crate) fn refused(&self, from: Instant, to: Instant) -> usize {
        self.refused_within(from, to).count()
    }

    /// When it did so, in seconds since the load began.
    pub(crate) fn refused_at(&self) -> impl Iterator<Item = f64> {
        self.refusals.iter().map(|refusal| self.clock.seconds(self.clock.at(refusal.at_ms)))
    }

    /// How many calls the tenant worked on in the mean of each `width` seconds since the load began.
    pub(crate) fn in_flight(&self, width: f64) -> Vec<(f64, f64)> {
        // What was still being worked on at the end is not in the book.
        let whole = (self.clock.seconds(self.clock.end) / width - 1.0).max(0.0) as usize;
        let mut busy = vec![0.0; whole];
        for call in &self.executed {
            let (began, ended) = (self.clock.at(call.began_ms), self.clock.at(call.at_ms));
            let (mut from, ended) = (self.clock.seconds(began), self.clock.seconds(ended));
            while from < ended {
                let nth = (from / width) as usize;
                let Some(busy) = busy.get_mut(nth) else { break };
                let to = ended.min((nth + 1) as f64 * width);
                *busy += (to - from) / width;
                // The end of a span may lie a hair before the span that follows it.
                from = to.max(from + 1e-9);
            }
        }
        busy.into_iter().enumerate().map(|(nth, busy)| (nth as f64 * width, busy)).collect()
    }

    /// How many of the calls that were refused from `from` to `to` came again before they had rested.
    pub(crate) fn came_early(&self, rest: Duration, from: Instant, to: Instant) -> usize {
        let mut arrivals: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let executed = self.executed.iter().map(|call| (&call.track_id, call.began_ms));
        let refused = self.refusals.iter().map(|refusal| (&refusal.track_id, refusal.at_ms));
        for (track_id, at) in executed.chain(refused) {
            if let Some(track_id) = track_id {
                arrivals.entry(track_id).or_default().push(at);
            }
        }
        // The book leaves out fractions, so a millisecond more or less is none.
        let rest = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX).saturating_sub(1);
        let is_early = |refusal: &&&Refusal| {
            let arrivals = refusal.track_id.as_deref().and_then(|id| arrivals.get(id));
            let arrivals = arrivals.into_iter().flatten();
            // The refused arrival itself is one of those at this moment.
            let at_once = arrivals.clone().filter(|at| **at == refusal.at_ms).count() > 1;
            let later = |at: &&u64| (refusal.at_ms + 1..refusal.at_ms + rest).contains(at);
            at_once || arrivals.filter(later).count() > 0
        };
        self.refused_within(from, to).filter(is_early).count()
    }

    /// The longest that a call was sent before another of its app that began earlier at the tenant.
    /// Without the warm-up, in which all connections are opened at once.
    pub(crate) fn overtaken(&self, apps: &[App]) -> Duration {
        let opened = (self.clock.begin - self.clock.start).as_micros();
        let longest = |app: &App| {
            let calls = self.executed.iter().filter(|call| call.app.as_ref() == Some(&app.name));
            let sent = |call: &&&Executed| apps::sent_at(call.track_id.as_deref()?);
            let mut calls: Vec<(u64, u64)> =
                calls.filter_map(|call| Some((call.began_ms, sent(&call)?))).collect();
            calls.retain(|(_, sent)| u128::from(*sent) >= opened);
            calls.sort_unstable();
            let mut latest = 0;
            let behind = calls.iter().map(|(_, sent)| {
                latest = latest.max(*sent);
                latest - sent
            });
            behind.max().unwrap_or(0)
        };
        Duration::from_micros(apps.iter().map(longest).max().unwrap_or(0))
    }

    fn refused_within(&self, from: Instant, to: Instant) -> impl Iterator<Item = &&'a Refusal> {
        let at = |refusal: &Refusal| self.clock.at(refusal.at_ms);
        self.refusals.iter().filter(move |refusal| (from..to).contains(&at(refusal)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn executed(track_id: &str, began_ms: u64) -> Executed {
        let app = track_id.split('-').next();
        serde_json::from_value(json!({
            "sequence": 1, "began_ms": began_ms, "at_ms": began_ms + 50, "method": "GET", "path": "/",
            "kind": "read", "limit_type": "Default", "in_flight": 1, "app": app,
            "track_id": track_id, "idempotency_key": null, "body_bytes": 0, "status": 200,
            "took_effect": false,
        }))
        .unwrap()
    }

    fn refusal(track_id: &str, at_ms: u64) -> Refusal {
        let (app, track_id) = (Some("big".to_owned()), Some(track_id.to_owned()));
        Refusal { at_ms, limit_type: "Default".to_owned(), app, track_id }
    }

    fn judge<'a>(executed: &'a [Executed], refusals: &'a [Refusal]) -> (Judge<'a>, Instant) {
        let start = Instant::now();
        let clock = Clock { start, begin: start, end: start, tenant: start };
        let (executed, refusals) = (executed.iter().collect(), refusals.iter().collect());
        (Judge { clock, executed, refusals }, start)
    }

    #[test]
    fn a_refused_call_is_early_if_it_comes_before_it_may() {
        let executed =
            [executed("big-1-0", 1000), executed("big-2-0", 999), executed("big-3-0", 5)];
        let refusals = [
            refusal("big-1-0", 0),
            refusal("big-2-0", 0), // came a millisecond too early, which may be a fraction
            refusal("big-3-0", 0), // came early
            refusal("big-4-0", 0), // never came again
            refusal("big-5-0", 0), // came early, and was refused once more
            refusal("big-5-0", 0),
        ];
        let (judge, start) = judge(&executed, &refusals);

        let early = judge.came_early(Duration::from_secs(1), start, start + Duration::from_secs(1));

        assert_eq!(early, 3, "one executed, and both arrivals of the last");
    }

    #[test]
    fn what_is_in_flight_is_a_mean_over_time() {
        let calls = [executed("big-1-0", 0), executed("big-2-0", 75), executed("big-3-0", 80)];
        let (mut judge, start) = judge(&calls, &[]);
        judge.clock.end = start + Duration::from_millis(350);

        let in_flight = judge.in_flight(0.1);

        // 50 ms, 25 ms and 20 ms of the first tenth of a second, 25 ms and 30 ms of the second.
        let means: Vec<_> = in_flight.iter().map(|(_, mean)| (mean * 100.0).round()).collect();
        assert_eq!(means, [95.0, 55.0]);
    }

    #[test]
    fn a_call_is_overtaken_by_one_that_was_sent_later_and_began_earlier() {
        let app = |name: &str| format!("{name}=4").parse::<App>().unwrap();
        let sent = |app: &str, ms: u64| format!("{app}-{:x}-0", ms * 1000);
        let calls = [
            executed(&sent("big", 10), 20),
            executed(&sent("big", 15), 25),
            executed(&sent("big", 12), 30), // 3 ms
            executed(&sent("mid", 1), 40),  // another app's
        ];
        let (judge, _) = judge(&calls, &[]);

        assert_eq!(judge.overtaken(&[app("big"), app("mid")]), Duration::from_millis(3));
    }
}
