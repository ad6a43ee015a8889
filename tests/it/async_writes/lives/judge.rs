//! The gateway's records beside the tenant's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use emulator::{AsyncOutcome, AsyncRequest, Ledger, Mishap};
use serde_json::Value;
use testkit::SECRET;
use tokio::time::{Instant, sleep};

use super::cast::Fate;
use super::{Fates, Record, Verdict};
use crate::async_writes::outcomes;
use crate::async_writes::stage::{json_of, look, metric};
use crate::running::{Ended, Running};

/// Waits until no request is pending, by the operator's own view.
pub(super) async fn settled(running: &Running, most: Duration) {
    let end = Instant::now() + most;
    loop {
        let text = crate::caller::look(running.admin, "/metrics").await.text();
        let pending = metric(&text, "async_requests_pending", &[]);
        if pending == 0.0 {
            return;
        }
        if Instant::now() > end {
            let mut left = records(running.address).await;
            left.retain(|it| it["state"] == "accepted" || it["state"] == "sending");
            left.truncate(5);
            let counts =
                text.lines().filter(|it| it.contains("gateway_async") && !it.contains('#'));
            let counts = counts.collect::<Vec<_>>().join("\n");
            panic!("{pending} are pending after {most:?}, such as {left:#?}\n{counts}");
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Everything that the app is told of its requests, page by page.
pub(super) async fn records(address: SocketAddr) -> Vec<Record> {
    let (mut target, mut all) = ("/_gateway/async-requests?limit=500".to_owned(), Vec::new());
    loop {
        let answer = look(address, &target, SECRET).await;
        let page = outcomes::records(&answer);
        all.extend(page);
        let json = json_of(&answer);
        let Some(next) = outcomes::next_page(&json) else { return all };
        target = next;
    }
}

/// The track ids that warnings name.
pub(super) fn warned(lives: &[&Ended]) -> BTreeSet<String> {
    let lines = lives.iter().flat_map(|life| &life.lines);
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warnings = lines.filter(|line| line["level"] == "WARN");
    warnings
        .filter(|line| line["target"] != "access")
        .filter_map(|line| line["track_id"].as_str().map(str::to_owned))
        .collect()
}

pub(super) fn compare(
    ledger: &Ledger,
    records: &[Record],
    fates: &Fates,
    warned: &BTreeSet<String>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut known: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in records {
        let track_id = record["trackId"].as_str().unwrap_or_default();
        if known.insert(track_id, record).is_some() {
            verdict.fault(format!("two records: {record}"));
        }
        if !fates.contains_key(track_id) {
            verdict.fault(format!("a record of nobody: {record}"));
        }
    }
    let mut done: BTreeMap<&str, &AsyncRequest> = BTreeMap::new();
    for request in &ledger.async_requests {
        let track_id = request.track_id.as_deref().unwrap_or_default();
        if done.insert(track_id, request).is_some() {
            verdict.fault(format!("handed in twice: {request:?}"));
        }
        if request.idempotency_key.is_some() {
            verdict.fault(format!("a key that Zuora does not honour: {request:?}"));
        }
        match known.get(track_id) {
            None => verdict.fault(format!("forgotten: {request:?}")),
            Some(record) => compare_one(&mut verdict, request, record, warned),
        }
    }
    for twice in ledger.executed_twice() {
        verdict.fault(format!("done twice: {twice:?}"));
    }
    for call in ledger.effective().filter(|call| call.path == "/v1/accounts") {
        if call.track_id.as_deref().is_none_or(|track_id| !done.contains_key(track_id)) {
            verdict.fault(format!("done in the other form: {call:?}"));
        }
    }
    for (track_id, fate) in fates {
        let (request, record) = (done.get(&**track_id), known.get(&**track_id));
        compare_with_told(&mut verdict, track_id, fate, request.copied(), record.copied());
    }
    verdict
}

/// What the tenant did, and what the gateway says that it did.
fn compare_one(
    verdict: &mut Verdict,
    request: &AsyncRequest,
    record: &Record,
    warned: &BTreeSet<String>,
) {
    let attempts = &request.callouts;
    if attempts.iter().filter(|it| it.status == 200).count() > 1 {
        verdict.count("duplicated callouts");
    }
    if attempts.iter().any(|it| it.resent) {
        verdict.count("resent callouts");
    }
    if record["requestId"].as_str().is_some_and(|id| id != request.request_id) {
        verdict.fault(format!("of another request: {record} for {request:?}"));
    }
    match (record["state"].as_str(), &request.outcome) {
        (Some("succeeded"), Some(AsyncOutcome::Succeeded { id, .. })) => {
            verdict.count("succeeded");
            if record["data"]["id"] != **id {
                verdict.fault(format!("another id: {record} for {request:?}"));
            }
        }
        (Some("failed"), Some(AsyncOutcome::Failed { reasons, process_id })) => {
            verdict.count("failed");
            let told = &record["reasons"][0];
            let is_told = told["message"] == *reasons[0].message
                && told["code"].to_string().trim_matches('"') == reasons[0].code
                && record["processId"] == **process_id;
            if !is_told {
                verdict.fault(format!("other reasons: {record} for {request:?}"));
            }
        }
        (Some("unknown"), Some(_)) => {
            verdict.count("unknown");
            let track_id = request.track_id.as_deref().unwrap_or_default();
            if !request.mishaps.contains(&Mishap::Vanished) {
                verdict.fault(format!("Zuora could have told: {record} for {request:?}"));
            }
            if !warned.contains(track_id) {
                verdict.count("unknown without a word");
            }
        }
        _ => verdict.fault(format!("not what happened: {record} for {request:?}")),
    }
}

/// What the caller was told, and what it can find now.
fn compare_with_told(
    verdict: &mut Verdict,
    track_id: &str,
    fate: &Fate,
    request: Option<&AsyncRequest>,
    record: Option<&Record>,
) {
    let state = record.and_then(|it| it["state"].as_str());
    match fate {
        Fate::Promised => {
            verdict.count("promised");
            if request.is_none() {
                verdict.fault(format!("{track_id}: promised, and Zuora knows nothing of it"));
            }
            if record.is_none() {
                verdict.fault(format!("{track_id}: promised, and the gateway forgot it"));
            }
        }
        Fate::Ended(told) => {
            verdict.count("told the outcome");
            let is_so = match request.and_then(|it| it.outcome.as_ref()) {
                Some(AsyncOutcome::Succeeded { id, .. }) => {
                    told["success"] == true && told["id"] == **id
                }
                Some(AsyncOutcome::Failed { reasons, .. }) => {
                    told["success"] == false && told["reasons"][0]["message"] == *reasons[0].message
                }
                None => false,
            };
            if !is_so {
                verdict.fault(format!("{track_id}: was told {told}, of {request:?}"));
            }
        }
        Fate::Nothing | Fate::Maybe => {
            verdict.count(if *fate == Fate::Maybe { "told maybe" } else { "told nothing" });
            // What never arrived is honestly unknown, or was never begun.
            if request.is_none() && !matches!(state, None | Some("unknown")) {
                verdict.fault(format!("{track_id}: {fate:?}, and nobody did {record:?}"));
            }
            if *fate == Fate::Maybe && record.is_none() {
                verdict.fault(format!("{track_id}: it was told where, and nothing is there"));
            }
        }
        Fate::Refused(status) => {
            verdict.count("refused");
            if request.is_some() || record.is_some() {
                verdict.fault(format!("{track_id}: {status}, and still {request:?} {record:?}"));
            }
        }
        Fate::Odd(what) => verdict.fault(format!("{track_id}: was told {what}")),
    }
}
