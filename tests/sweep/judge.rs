//! The verdict on a case: by the ledger, by what passed the wire, and by what the caller received. By nothing else.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use testkit::Exchange;

use crate::family::{Family, Keys};
use crate::stage::{Before, Case, Outcome, Received};

/// How long the gateway waits for an answer, by the same.
const PATIENCE: Duration = Duration::from_secs(125);

/// How a request on the wire ended, as far as the gateway could see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No byte of it left the gateway.
    NotSent,
    /// Zuora said no, before any work, for a limit.
    Refused,
    /// Zuora said no, before any work, for the token.
    Unauthenticated,
    /// Zuora rolled it back.
    Contended,
    /// Zuora says that the first request with its key is still being worked on.
    InProgress,
    /// Nobody can know.
    Ambiguous,
    /// It failed, and Zuora knows.
    Failed,
    /// It succeeded.
    Good,
}

/// Everything that is wrong with how the case went.
pub(crate) fn judge(case: &Case, clean: Option<&Bytes>, outcome: &Outcome) -> Vec<String> {
    let mut judge = Judge { case, outcome, wrong: Vec::new() };
    judge.executed_once();
    judge.told_the_truth(clean);
    judge.sent_again_rightly();
    judge.carried_the_right_keys();
    judge.gave_up_rightly();
    judge.left_nothing_over();
    judge.wrong
}

struct Judge<'a> {
    case: &'a Case,
    outcome: &'a Outcome,
    wrong: Vec<String>,
}

impl Judge<'_> {
    fn family(&self) -> &Family {
        &self.case.family
    }

    fn exchanges(&self) -> &[Exchange] {
        &self.outcome.exchanges
    }

    fn ends(&self) -> Vec<End> {
        self.exchanges().iter().map(end).collect()
    }

    /// How often Zuora did what the call asked for.
    fn effects(&self) -> usize {
        let executed = self.outcome.ledger.executed.iter();
        executed.filter(|one| one.took_effect).count()
    }

    /// Whether bytes may have left of which nothing was seen.
    fn is_unsure(&self) -> bool {
        self.outcome.is_over_sockets && matches!(self.case.before, Before::Ending(_))
    }

    fn is_wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// Never a write twice.
    fn executed_once(&mut self) {
        let effects = self.effects();
        if self.family().is_write && effects > 1 {
            self.is_wrong(format!("EXECUTED {effects} TIMES"));
        }
    }

    /// What the caller was told agrees with the ledger.
    fn told_the_truth(&mut self, clean: Option<&Bytes>) {
        let effects = self.effects();
        let (status, fields, body) = match &self.outcome.received {
            Received::Whole { status, fields, body } => (*status, fields, body),
            Received::Broken | Received::Left => return,
            Received::Nothing => return self.is_wrong("the caller was not answered"),
            Received::Never => return self.is_wrong("the call never ended"),
        };
        let says = |name: &str| fields.get(name).map(|value| value.to_str().unwrap_or("?"));
        match says("zuora-gateway-executed") {
            Some("no") if effects > 0 => self.is_wrong("TOLD AS NOT EXECUTED, AND IT WAS"),
            Some("yes") if effects == 0 => self.is_wrong("told as executed, and it was not"),
            Some("no" | "yes" | "maybe") => {}
            Some(other) => self.is_wrong(format!("`{other}` says nothing about the execution")),
            None if says("zuora-gateway-error").is_some() => {
                self.is_wrong("a failure made here does not say whether Zuora acted");
            }
            None => {}
        }
        let made_here = says("zuora-gateway-error").is_some();
        let meaning = read(status, fields, body);
        match meaning {
            End::Good if self.family().is_write && effects != 1 => {
                self.is_wrong(format!("TOLD AS SUCCEEDED, and it was executed {effects} times"));
            }
            End::Refused | End::Unauthenticated if effects > 0 && !made_here => {
                self.is_wrong("TOLD AS REFUSED, and it was executed");
            }
            End::Contended | End::Failed if effects > 0 && !made_here => {
                self.is_wrong("TOLD AS FAILED, and it was executed");
            }
            _ => {}
        }
        // Too many requests is never heard as "it may have been executed".
        if status == StatusCode::TOO_MANY_REQUESTS && effects > 0 {
            self.is_wrong("ANSWERED 429, and it was executed");
        }
        if let (End::Good, Some(clean)) = (meaning, clean)
            && body != clean
        {
            let body = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            self.is_wrong(format!("this is not the answer to the execution: {body}"));
        }
        let only_definite = !self.is_unsure()
            && self.ends().iter().all(|end| !matches!(end, End::Ambiguous | End::InProgress));
        if made_here && only_definite && says("zuora-gateway-executed") != Some("no") {
            self.is_wrong("it could know that Zuora did nothing, and does not say so");
        }
        self.counted_attempts(says("zuora-gateway-attempts"));
        self.marked_replays(meaning, says("idempotent-replayed"));
    }

    fn counted_attempts(&mut self, told: Option<&str>) {
        let seen = self.exchanges().len();
        // An attempt that finds no connection, or one that is ending, passes no wire.
        let unseen = match self.case.before {
            Before::Pooled | Before::Fresh => 0,
            Before::Ending(_) => 1,
            Before::Unreachable(times) => times as usize,
        };
        let told = told.and_then(|told| told.parse::<usize>().ok());
        if told.is_none_or(|told| told < seen || told > seen + unseen) {
            self.is_wrong(format!("told of {told:?} attempts, and {seen} were seen"));
        }
    }

    fn marked_replays(&mut self, meaning: End, told: Option<&str>) {
        if meaning != End::Good || self.family().keys == Keys::Absent {
            return;
        }
        match told {
            None if self.was_replayed() => {
                self.is_wrong("the answer comes from a replay, and is not marked");
            }
            Some(_) if self.exchanges().len() < 2 && !self.is_unsure() => {
                self.is_wrong("the answer to the only request is marked as a replay");
            }
            Some("true") | None => {}
            Some(other) => self.is_wrong(format!("`idempotent-replayed: {other}`")),
        }
    }

    /// Whether the work of the last request's key had begun before it came.
    fn was_replayed(&self) -> bool {
        let Some(last) = self.exchanges().last() else { return false };
        let keys = last.fields("idempotency-key");
        let came = last.at.duration_since(self.outcome.born).as_millis();
        self.outcome.ledger.executed.iter().any(|executed| {
            executed.idempotency_key.as_ref() == keys.first()
                && u128::from(executed.began_ms) < came
        })
    }

    /// No request followed another that it must not follow, and all were the same.
    fn sent_again_rightly(&mut self) {
        let ends = self.ends();
        let pairs = ends.iter().zip(ends.iter().skip(1)).enumerate();
        let rejected: Vec<String> = pairs
            .filter(|(at, _)| !may_follow(self.family(), &ends[..=*at]))
            .map(|(at, (one, next))| {
                format!("SENT AGAIN after request {} ended {one:?}; the next: {next:?}", at + 1)
            })
            .collect();
        for wrong in rejected {
            self.is_wrong(wrong);
        }

        let Some(first) = self.exchanges().iter().find(|exchange| exchange.sent.is_some()) else {
            return;
        };
        let (body, track_id) = (first.body(), first.fields("zuora-track-id"));
        let mut wrong = Vec::new();
        for (at, exchange) in self.exchanges().iter().enumerate() {
            let head = exchange.fields("zuora-track-id");
            let is_started = !exchange.body().is_empty();
            if is_started && !body.starts_with(exchange.body())
                || exchange.sent.is_some() && exchange.body().len() != body.len()
            {
                wrong.push(format!("request {} has another body", at + 1));
            }
            if (is_started || exchange.sent.is_some()) && head != track_id {
                wrong.push(format!("request {} has track id {head:?}, not {track_id:?}", at + 1));
            }
        }
        for wrong in wrong {
            self.is_wrong(wrong);
        }
    }

    fn carried_the_right_keys(&mut self) {
        // As far as the head of a request left, it can be read.
        let is_readable =
            |exchange: &&Exchange| exchange.request.windows(4).any(|four| four == b"\r\n\r\n");
        let readable: Vec<&Exchange> = self.exchanges().iter().filter(is_readable).collect();
        let given: Vec<Vec<String>> =
            readable.iter().map(|one| one.fields("idempotency-key")).collect();
        let own = self.family().fields.iter().find(|(name, _)| *name == "idempotency-key");
        let mut wrong = Vec::new();
        for (at, keys) in given.iter().enumerate() {
            let right = match (own, self.family().keys) {
                (Some((_, own)), _) => keys.len() == 1 && keys[0] == *own,
                (None, Keys::Absent) => keys.is_empty(),
                (None, _) => keys.len() == 1 && (1..=255).contains(&keys[0].len()),
            };
            if !right {
                wrong.push(format!("request {} has the keys {keys:?}", at + 1));
            }
        }
        if own.is_none() && self.family().keys == Keys::Minted && wrong.is_empty() {
            // Whether something may have come of a request with the key that is used now.
            let mut is_open = false;
            for (at, exchange) in readable.iter().enumerate() {
                let end = end(exchange);
                is_open = match end {
                    End::Ambiguous | End::InProgress => true,
                    // What Zuora says under a key is what became of it, once and for all.
                    End::Contended | End::Failed | End::Good => false,
                    End::NotSent | End::Refused | End::Unauthenticated => is_open,
                };
                let Some(next) = given.get(at + 1) else { break };
                if *next == given[at] && end == End::Contended {
                    wrong.push(format!("request {} repeats the key of a rolled back one", at + 2));
                }
                if *next != given[at] && is_open {
                    wrong.push(format!("request {} CHANGES THE KEY of an open question", at + 2));
                }
                if *next != given[at] {
                    is_open = false;
                }
            }
        }
        for wrong in wrong {
            self.is_wrong(wrong);
        }
    }

    /// It went on for as long as it may.
    fn gave_up_rightly(&mut self) {
        if matches!(self.outcome.received, Received::Left) {
            return;
        }
        if matches!(self.outcome.received, Received::Broken) {
            // Somebody read it already, so it cannot be asked for again. A short answer can be kept until it is whole.
            let longest = self.exchanges().iter().map(|one| one.answer.len()).max().unwrap_or(0);
            if longest < 60 * 1024 && self.family().name != "long file" {
                self.is_wrong("the caller received a short answer before it was whole");
            }
            return;
        }
        let ends = self.ends();
        if let Received::Whole { status, fields, body } = &self.outcome.received
            && ends.last() == Some(&End::Good)
            && read(*status, fields, body) != End::Good
        {
            self.is_wrong("Zuora's answer is good, and the caller did not receive it");
        }
        let Some(last) = ends.last() else {
            let reached = !matches!(self.case.before, Before::Unreachable(times) if times as usize >= self.family().attempts);
            // A body that flows may have begun to.
            if reached && self.family().is_kept && !self.is_unsure() {
                self.is_wrong("nothing was sent");
            }
            return;
        };
        if *last == End::Good {
            return;
        }
        let tries = match self.case.before {
            Before::Unreachable(times) => times as usize,
            Before::Ending(_) => 1,
            Before::Pooled | Before::Fresh => 0,
        };
        // Asking how it stands is no other attempt.
        let attempts = ends.iter().filter(|end| **end != End::InProgress).count();
        if attempts + tries >= self.family().attempts {
            return;
        }
        if !self.family().is_hurried && must_follow(self.family(), &ends) {
            self.is_wrong(format!("GAVE UP after {ends:?}, though it could be sent again"));
        }
    }

    fn left_nothing_over(&mut self) {
        let (permits, waiting) = self.outcome.left_over;
        if (permits, waiting) != (0, 0) {
            self.is_wrong(format!("{permits} permits and {waiting} waiting calls are left over"));
        }
        let busy: u32 = self.outcome.ledger.in_flight.values().sum();
        if busy > 0 {
            self.is_wrong(format!("{busy} calls are still at Zuora"));
        }
    }
}

/// Whether another request may follow those that ended so.
fn may_follow(family: &Family, ends: &[End]) -> bool {
    let Some(last) = ends.last() else { return true };
    match last {
        End::NotSent | End::Refused => family.is_kept || *last == End::NotSent,
        End::Unauthenticated => {
            let times = ends.iter().filter(|end| **end == End::Unauthenticated).count();
            family.is_kept && times == 1
        }
        // Who is unread cannot say no twice: a key that Zuora honours, or nothing to change.
        End::Ambiguous => family.repeats(),
        End::InProgress => family.repeats() && family.keys != Keys::Absent,
        End::Contended => family.is_kept && !matches!(family.keys, Keys::Own(_)),
        End::Failed => !family.is_write,
        End::Good => false,
    }
}

/// Whether another request must follow, as nothing speaks against it.
fn must_follow(family: &Family, ends: &[End]) -> bool {
    let Some(last) = ends.last() else { return true };
    match last {
        // A body that flows has perhaps begun to.
        End::NotSent => family.is_kept,
        // What an operation without a key does about contention, policy says.
        End::Contended => family.is_kept && (family.keys == Keys::Minted || !family.is_write),
        End::Failed | End::Good => false,
        End::Refused | End::Unauthenticated | End::InProgress | End::Ambiguous => {
            may_follow(family, ends)
        }
    }
}

/// How a request ended, by what of it and of its answer passed the wire.
pub(crate) fn end(exchange: &Exchange) -> End {
    if exchange.request.is_empty() {
        return End::NotSent;
    }
    let in_time =
        exchange.answered.zip(exchange.sent).is_some_and(|(at, sent)| at < sent + PATIENCE);
    if !in_time {
        return End::Ambiguous;
    }
    let end = exchange.answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 4;
    let head = String::from_utf8_lossy(&exchange.answer[..end]).to_lowercase();
    let status = exchange.status().and_then(|status| StatusCode::from_u16(status).ok());
    let mut fields = HeaderMap::new();
    for (name, value) in head.split("\r\n").filter_map(|line| line.split_once(": ")) {
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
            fields.append(name, value);
        }
    }
    let body = Bytes::copy_from_slice(&exchange.answer[end..]);
    read(status.unwrap_or(StatusCode::OK), &fields, &body)
}

/// What an answer says, in a reading of its own.
fn read(status: StatusCode, fields: &HeaderMap, body: &Bytes) -> End {
    let is_gzip = fields.get("content-encoding").is_some();
    let is_chunked = fields.get("transfer-encoding").is_some();
    let text = String::from_utf8_lossy(body);
    let json: Option<Value> = match is_gzip || is_chunked {
        true => None,
        false => serde_json::from_str(&text).ok(),
    };
    match status.as_u16() {
        401 => return End::Unauthenticated,
        429 => return End::Refused,
        409 if text.contains("in progress") => return End::InProgress,
        409 => return End::Contended,
        502..=504 => return End::Ambiguous,
        400.. => return if has_code(json.as_ref(), "50") { End::Contended } else { End::Failed },
        _ => {}
    }
    // Rows of an Action: the call did something if one of them did.
    if let Some(rows) = json.as_ref().and_then(Value::as_array) {
        return match rows.iter().any(|row| row["Success"] == true) {
            true => End::Good,
            false => End::Failed,
        };
    }
    let says_no = json.as_ref().is_some_and(|json| {
        json["success"] == false || json["Success"] == false || json.get("FaultCode").is_some()
    });
    match says_no {
        false => End::Good,
        true if has_code(json.as_ref(), "70") || text.contains("REQUEST_EXCEEDED") => End::Refused,
        true if has_code(json.as_ref(), "50") || text.contains("LOCK_COMPETITION") => {
            End::Contended
        }
        true if has_code(json.as_ref(), "11") => End::Unauthenticated,
        true => End::Failed,
    }
}

/// Whether a reason has a code of eight digits that ends in this category.
fn has_code(json: Option<&Value>, category: &str) -> bool {
    let reasons = json.and_then(|json| json["reasons"].as_array());
    reasons.into_iter().flatten().any(|reason| {
        let code = reason["code"].to_string();
        let digits = code.trim_matches('"');
        digits.len() == 8 && digits.ends_with(category)
    })
}
