//! Limits that change under load: the file is written anew, and the gateway told to read it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::{
    client::Connection,
    peers::{self, Peer},
};
use emulator::Executed;
use http_body_util::BodyExt;
use tokio::time::{self, Instant};

use crate::clock::{Clock, NewLimit};

/// The limits that follow each other, in eighths of the tenant's: up and down, by little and by much.
const EIGHTHS: [u32; 7] = [2, 8, 1, 5, 3, 8, 4];

/// How long a call may be on its way from the gateway to the tenant. One that was sent just before
/// the limit was lowered may arrive that much later.
const ON_ITS_WAY: Duration = Duration::from_millis(10);

/// One change of the limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// When the file was written, and then the gateway told to read it.
    pub(crate) asked: Instant,
    /// When it answered that it had.
    pub(crate) answered: Instant,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// Changes the limit every so often while it is measured, always to less than the tenant allows, or
/// to that.
///
/// # Errors
/// When the gateway does not take a change.
pub(crate) async fn keep_changing(
    peer: &Peer,
    limit: u32,
    every: Duration,
    clock: Clock,
) -> Result<Vec<Change>> {
    let admin = peer.admin().context("only our gateway reads its limits anew")?;
    let mut connection = Connection::open(admin, &peers::admin_authorization()).await?;
    let mut changes: Vec<Change> = Vec::new();
    let mut due = clock.begin;
    // The last one has its time too.
    while due + every <= clock.end {
        time::sleep_until(due).await;
        let from = changes.last().map_or(limit, |change| change.to);
        let to = (limit * EIGHTHS[changes.len() % EIGHTHS.len()] / 8).max(1);
        // It may look at its file by itself, so what follows the writing may be its new limit already.
        let asked = Instant::now();
        peer.write_limit(to)?;
        let answer = connection.post("/api/reload", 0).await?;
        let answered = Instant::now();
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "the gateway does not take a new limit: {status} {body}");
        changes.push(Change { asked, answered, from, to });
        due += every;
    }
    Ok(changes)
}

impl Change {
    /// From when on the new limit is to be counted with.
    pub(crate) fn new_limit(&self) -> NewLimit {
        NewLimit { at: self.answered, limit: self.to }
    }
}

/// The calls that began when more were in flight than the limit in force allowed. A call that began
/// while a change was being made, or was on its way then, may count on the larger of the two limits.
pub(crate) fn beyond<'a>(
    executed: &'a [Executed],
    changes: &[Change],
    limit: u32,
    clock: &Clock,
) -> Vec<&'a Executed> {
    let allowed = |began_ms: u64| {
        // The tenant's book leaves out fractions.
        let began = clock.at(began_ms + 1);
        let asked = changes.iter().rfind(|change| change.asked <= began);
        asked.map_or(limit, |change| match began < change.answered + ON_ITS_WAY {
            true => change.from.max(change.to),
            false => change.to,
        })
    };
    executed.iter().filter(|call| call.in_flight > allowed(call.began_ms)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(began_ms: u64, in_flight: u32) -> Executed {
        let json = serde_json::json!({
            "sequence": 1, "began_ms": began_ms, "at_ms": began_ms + 50, "method": "GET", "path": "/",
            "kind": "read", "limit_type": "Default", "in_flight": in_flight, "app": null,
            "track_id": null, "idempotency_key": null, "body_bytes": 0, "status": 200,
            "took_effect": false,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_call_may_count_on_the_old_limit_only_while_it_changes() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let clock = Clock { start, begin: start, end: ms(1000), tenant: start };
        let changes = [
            Change { asked: ms(100), answered: ms(105), from: 40, to: 10 },
            Change { asked: ms(200), answered: ms(205), from: 10, to: 20 },
        ];
        let calls = [
            call(50, 40),
            call(110, 40), // was sent before the change
            call(130, 10),
            call(130, 11), // beyond
            call(202, 15), // the larger may be in force already
            call(250, 20),
            call(250, 21), // beyond
        ];

        let beyond = beyond(&calls, &changes, 40, &clock);

        let beyond: Vec<_> = beyond.iter().map(|call| (call.began_ms, call.in_flight)).collect();
        assert_eq!(beyond, [(130, 11), (250, 21)]);
    }
}
