//! Telling of outcomes: what a callout says, when it is sent, and when again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::sleep};
use uuid::Uuid;

use super::{
    UnderWay, calendar,
    options::{CalloutEvent, Definition, Mishap},
    sender::{self, Sent},
    told::{AsyncOutcome, CalloutAttempt, Reason},
    work::Accepted,
};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
    locks::lock,
    server::Inner,
};

/// More callouts than this cannot be sent again at once (Zuora: callout histories).
const MOST_AGAIN: usize = 1_000;

/// One notification: what it says and to whom.
#[derive(Debug)]
pub(super) struct Notification {
    /// The request it tells of, as the ledger counts them.
    serial: u64,
    pub(super) id: String,
    pub(super) event: CalloutEvent,
    /// Whom it is for, as it was when the event happened.
    pub(super) definition: Definition,
    pub(super) body: Bytes,
    attempts: AtomicU32,
}

/// What is told, whoever hears it.
struct Facts<'a> {
    accepted: &'a Accepted,
    completed: Duration,
}

/// Tells of an outcome, however that goes wrong.
pub(super) async fn of(tenant: &Arc<Inner>, mut accepted: Accepted, outcome: &AsyncOutcome) {
    let later = &tenant.later;
    let meets = |mishap| accepted.mishaps.contains(&mishap);
    if meets(Mishap::Vanished) {
        return;
    }
    let facts = Facts { accepted: &accepted, completed: later.calendar.now() };
    let told = facts.notifications(tenant, outcome);
    if meets(Mishap::Lost) {
        told.iter().for_each(|one| lose(tenant, one));
        return;
    }
    if meets(Mishap::Late) {
        sleep(later.options.late_by).await;
    }
    if meets(Mishap::Duplicated) {
        told.iter().for_each(|one| start(tenant, one, false, None));
    }
    let opposite = if meets(Mishap::Contradicted) {
        facts.notifications(tenant, &opposite_of(outcome))
    } else {
        Vec::new()
    };
    for one in told {
        deliver(tenant, &one, false, accepted.overtakes.take()).await;
    }
    for one in opposite {
        deliver(tenant, &one, false, None).await;
    }
}

impl Facts<'_> {
    /// One notification for each definition of the event.
    fn notifications(&self, tenant: &Inner, outcome: &AsyncOutcome) -> Vec<Arc<Notification>> {
        let event = outcome.event();
        let body = Bytes::from(self.body(outcome).to_string());
        let definitions = lock(&tenant.later.definitions).all();
        let concerned = definitions.into_iter().filter(|one| one.active && one.event == event);
        concerned
            .map(|definition| {
                Arc::new(Notification {
                    serial: self.accepted.serial,
                    id: Uuid::new_v4().simple().to_string(),
                    event,
                    definition,
                    body: body.clone(),
                    attempts: AtomicU32::new(0),
                })
            })
            .collect()
    }

    fn body(&self, outcome: &AsyncOutcome) -> Value {
        let call = &self.accepted.call;
        let mut body = json!({
            "createTime": calendar::text(self.accepted.created),
            "completeTime": calendar::text(self.completed),
            "request": {
                "id": self.accepted.id,
                "method": call.method.as_str(),
                "url": self.accepted.url,
                "trackId": call.header("zuora-track-id"),
            },
        });
        match outcome {
            AsyncOutcome::Succeeded { id, .. } => {
                body["state"] = "succeeded".into();
                body["data"] = json!({"id": id});
            }
            AsyncOutcome::Failed { reasons, process_id } => {
                body["state"] = "failed".into();
                body["reasons"] = json!(reasons);
                body["processId"] = json!(process_id);
            }
        }
        body
    }
}

fn opposite_of(outcome: &AsyncOutcome) -> AsyncOutcome {
    if outcome.succeeded() {
        let reason = Reason { code: "50000060".to_owned(), message: "It was not so.".to_owned() };
        let process_id = Uuid::new_v4().simple().to_string();
        AsyncOutcome::Failed { reasons: vec![reason], process_id }
    } else {
        let id = Uuid::new_v4().simple().to_string();
        AsyncOutcome::Succeeded { id, result: Value::Null }
    }
}

/// Answers `POST /notifications/callout-histories/resend`, whose body is a list of ids.
pub(super) fn again(tenant: &Arc<Inner>, call: &Call) -> Answer {
    let refuse = |message: &str| {
        answers::failure(call.operation.family, true, Category::InvalidValue, message)
    };
    let ids: Vec<&str> =
        call.json.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let listed = call.json.as_array().map_or(0, Vec::len);
    if ids.is_empty() || ids.len() != listed || listed > MOST_AGAIN {
        return refuse("A list of 1 to 1000 ids of callout histories is expected.");
    }
    let history = lock(&tenant.later.history);
    let found: Option<Vec<_>> = ids.iter().map(|id| history.find(id)).collect();
    drop(history);
    let Some(found) = found else { return refuse("There is no such callout history.") };
    found.iter().for_each(|one| start(tenant, one, true, None));
    Answer::json(StatusCode::ACCEPTED, &json!({"success": true}))
}

/// Delivers on a task of its own.
fn start(
    tenant: &Arc<Inner>,
    notification: &Arc<Notification>,
    resent: bool,
    overtakes: Option<oneshot::Sender<()>>,
) {
    let (tenant_of_task, notification) = (Arc::clone(tenant), Arc::clone(notification));
    let under_way = UnderWay::new(tenant);
    tenant.carry_on(Box::pin(async move {
        deliver(&tenant_of_task, &notification, resent, overtakes).await;
        drop(under_way);
    }));
}

/// Tries until it arrives or need not be tried again.
async fn deliver(
    tenant: &Arc<Inner>,
    notification: &Arc<Notification>,
    resent: bool,
    mut overtakes: Option<oneshot::Sender<()>>,
) {
    let options = &tenant.later.options;
    for round in 1..=options.attempts.max(1) {
        let definition = current(tenant, notification);
        let sent = attempt(tenant, notification, &definition, resent).await;
        if let Some(overtakes) = overtakes.take() {
            // Nobody may wait for it any more.
            let _ = overtakes.send(());
        }
        if !definition.retries || !is_tried_again(sent.status) || round == options.attempts {
            return;
        }
        sleep(options.retry_interval).await;
    }
}

/// The definition as it is now: credentials may have changed since.
fn current(tenant: &Inner, notification: &Notification) -> Definition {
    let all = lock(&tenant.later.definitions).all();
    let same = all.into_iter().find(|one| one.name == notification.definition.name);
    same.unwrap_or_else(|| notification.definition.clone())
}

async fn attempt(
    tenant: &Inner,
    notification: &Arc<Notification>,
    definition: &Definition,
    resent: bool,
) -> Sent {
    let later = &tenant.later;
    let courier = later.couriers.acquire().await;
    let began_ms = tenant.book.now_ms();
    let zuora_request_id = Uuid::new_v4().simple().to_string();
    let headers = headers(notification, &zuora_request_id);
    let sent = sender::send(later, definition, &headers, &notification.body).await;
    drop(courier);
    let attempt = CalloutAttempt {
        zuora_request_id,
        began_ms,
        status: sent.status,
        challenged: sent.challenged,
        resent,
        ..first_half(tenant, notification, 1)
    };
    enter(tenant, notification, attempt, &sent.content);
    sent
}

/// Enters an attempt in the ledger and in the history.
fn enter(
    tenant: &Inner,
    notification: &Arc<Notification>,
    attempt: CalloutAttempt,
    content: &Bytes,
) {
    let later = &tenant.later;
    let (number, status) = (attempt.attempt, attempt.status);
    lock(&later.history).enter(notification, number, status, content, later.calendar.now());
    lock(&later.requests).enter_attempt(notification.serial, attempt);
}

/// A callout that is never sent, and counts as tried in vain.
fn lose(tenant: &Inner, notification: &Arc<Notification>) {
    let attempt = first_half(tenant, notification, tenant.later.options.attempts);
    enter(tenant, notification, attempt, &Bytes::new());
}

/// What is known of an attempt, `attempts` being made, before there is an answer.
fn first_half(tenant: &Inner, notification: &Notification, attempts: u32) -> CalloutAttempt {
    let now = tenant.book.now_ms();
    CalloutAttempt {
        notification_id: notification.id.clone(),
        zuora_request_id: Uuid::new_v4().simple().to_string(),
        event: notification.event,
        attempt: notification.attempts.fetch_add(attempts, Ordering::Relaxed) + attempts,
        began_ms: now,
        ended_ms: now,
        status: CalloutAttempt::NO_CONNECTION,
        challenged: false,
        resent: false,
    }
}

fn headers(notification: &Notification, zuora_request_id: &str) -> HeaderMap {
    let text = |text: &str| HeaderValue::try_from(text).expect("a UUID is plain text");
    let trace = format!("Root=1-{}-{}", &zuora_request_id[..8], &zuora_request_id[8..]);
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (HeaderName::from_static("zuora-request-id"), text(zuora_request_id)),
        (HeaderName::from_static("zuora-notification-id"), text(&notification.id)),
        (HeaderName::from_static("x-amzn-trace-id"), text(&trace)),
    ])
}

/// Whether Zuora tries again after this status (its page on callouts): not after redirections, nor
/// after other refusals.
fn is_tried_again(status: i32) -> bool {
    status < 200 || matches!(status, 403 | 408 | 429 | 500..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_zuora_lists_is_tried_again() {
        for again in [-1, -3, 100, 199, 403, 408, 429, 500, 503, 599] {
            assert!(is_tried_again(again), "{again}");
        }
        for never in [200, 204, 301, 308, 400, 401, 404, 413, 422] {
            assert!(!is_tried_again(never), "{never}");
        }
    }
}
