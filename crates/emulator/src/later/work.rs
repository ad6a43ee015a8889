//! One accepted write from its acceptance to its last callout.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{UnderWay, options::Mishap, outcome, tell, told::AsyncOutcome};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
    contention::Hold,
    faults::FaultKind,
    ledger::{Entry, Event},
    locks::lock,
    server::Inner,
    shapes::ErrorShape,
};

/// How long the reasons of [`Mishap::LongReasons`] are.
const LONG: usize = 60_000;

/// A write that was accepted.
pub(super) struct Accepted {
    pub(super) serial: u64,
    pub(super) id: String,
    /// The call in its synchronous form.
    pub(super) call: Call,
    /// What was called, as callouts tell it.
    pub(super) url: String,
    pub(super) created: Duration,
    /// The type of its job, if it is an order.
    pub(super) job: Option<&'static str>,
    /// Whether a callout tells of it.
    pub(super) is_told: bool,
    pub(super) mishaps: Vec<Mishap>,
    /// Told of the first attempt of its callout.
    pub(super) overtakes: Option<oneshot::Sender<()>>,
}

/// Does it when a worker is free, and tells of it.
pub(super) async fn run(tenant: Arc<Inner>, accepted: Accepted, _under_way: UnderWay) {
    let later = &tenant.later;
    sleep(later.options.delay).await;
    let worker = later.workers.acquire().await;
    // The sender lives as long as the tenant.
    let _ = later.paused.subscribe().wait_for(|paused| !paused).await;
    let outcome = work(&tenant, &accepted).await;
    drop(worker);
    if let Some(kind) = accepted.job {
        lock(&later.jobs).end(&accepted.id, kind, &outcome);
    }
    lock(&later.requests).end(accepted.serial, tenant.book.now_ms(), outcome.clone());
    if accepted.is_told && accepted.job.is_none() {
        tell::of(&tenant, accepted, &outcome).await;
    }
    lock(&later.requests).trim();
}

/// Tries until no other write is on its accounts: Zuora tries again on its own.
async fn work(tenant: &Inner, accepted: &Accepted) -> AsyncOutcome {
    loop {
        let fault = tenant.faults.take_later(accepted.call.method.as_str(), &accepted.call.path);
        if fault.is_some() {
            tenant.book.count(Event::Faulted);
        }
        let began = Instant::now();
        let hold = match fault {
            Some(FaultKind::Contended) => None,
            _ => tenant.hold_accounts(&accepted.call),
        };
        let delay = fault.as_ref().map(FaultKind::delay).unwrap_or_default();
        sleep(tenant.draw_async_work_time() + delay).await;
        if let Some(hold) = hold {
            return execute(tenant, accepted, fault.as_ref(), hold, began);
        }
        tenant.book.count(Event::Contended);
        let again = |request: &mut super::AsyncRequest| request.lock_retries += 1;
        lock(&tenant.later.requests).change(accepted.serial, again);
        sleep(tenant.later.options.lock_backoff).await;
    }
}

fn execute(
    tenant: &Inner,
    accepted: &Accepted,
    fault: Option<&FaultKind>,
    hold: Hold,
    began: Instant,
) -> AsyncOutcome {
    let call = &accepted.call;
    let answer = failure(accepted, fault).unwrap_or_else(|| tenant.execute(call));
    drop(hold);
    tenant.book.enter(&Entry {
        began,
        busy_seconds: 0.0,
        method: &call.method,
        path: &call.path,
        kind: call.operation.kind,
        soap_call: None,
        caller: call.caller.as_ref(),
        entity: call.entity.as_deref(),
        // Its own work takes no permit from anybody.
        limit_type: "",
        in_flight: 0,
        track_id: call.header("zuora-track-id"),
        idempotency_key: call.header("idempotency-key"),
        body_bytes: call.body_bytes,
        status: answer.status.as_u16(),
        took_effect: call.operation.kind.is_write() && answer.succeeded(),
    });
    outcome::of(call, &answer)
}

/// The failure that a fault or a mishap makes of it.
fn failure(accepted: &Accepted, fault: Option<&FaultKind>) -> Option<Answer> {
    let call = &accepted.call;
    let family = call.operation.family;
    if let Some(FaultKind::Fail { category, shape, message_bytes }) = fault {
        let shape = shape.unwrap_or(ErrorShape::of(family));
        return Some(shape.failure(*category, call.is_modern(), *message_bytes, &call.path));
    }
    if accepted.mishaps.contains(&Mishap::LongReasons) {
        let shape = ErrorShape::of(family);
        return Some(shape.failure(Category::Rule, call.is_modern(), LONG, &call.path));
    }
    let fails = accepted.mishaps.contains(&Mishap::Fails);
    fails.then(|| {
        answers::failure(family, call.is_modern(), Category::Rule, Category::Rule.message())
    })
}
