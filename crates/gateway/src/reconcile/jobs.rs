//! Asking for the state of order jobs, of which no callout tells.

use std::sync::Arc;

use async_requests::{Key, Outcome, Record, Registry, Report, StoreError};
use http::StatusCode;
use http::uri::PathAndQuery;
use proxy::{Errand, ErrandFailed, Reply};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, sleep};
use zuora::Job;
use zuora::job::job_path;

use super::{LONGEST_AWAY, Settings, Why, age, give_up};
use crate::works::Works;

/// The first pause; each further one is half as long again, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How many jobs of one tenant are asked for at once.
pub(super) const PLACES: usize = 4;

/// Asks for the state of a job until it has ended, nobody waits for its outcome any more, or its tenant is not configured.
/// A job that has not ended in time is given up, once Zuora said so. `places` bounds how many ask at once.
pub(super) async fn follow(
    works: Arc<Works>,
    registry: Arc<Registry>,
    job: Record,
    places: Arc<Semaphore>,
) {
    let Some(target) = job.zuora_id.as_deref().map(job_path) else { return };
    let Ok(target) = PathAndQuery::try_from(target) else {
        tracing::warn!(track_id = &*job.key.track_id, "the id of a job makes no path");
        return;
    };
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause.mul_f64(1.0 + rand::random::<f64>() / 10.0)).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match is_waited_for(&registry, &job.key).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => continue,
        }
        let Some(settings) = works.reconciling(&job.key.tenant) else { return };
        let Ok(place) = places.acquire().await else { return };
        let errand = Errand::get(target.clone()).to_entity(job.entity.as_deref());
        let reply = works.proxy.run(&job.key.tenant, errand).await;
        drop(place);
        // What could not be written down is asked for again.
        let is_over = match (ended(&reply), why_given_up(&registry, &job, &settings, begun, &reply))
        {
            (Some(outcome), _) => {
                let report = Report {
                    zuora_id: job.zuora_id.clone(),
                    track_id: Some(Arc::clone(&job.key.track_id)),
                    notification_id: None,
                    outcome,
                };
                registry.take_in(&job.key.tenant, report).await.is_ok()
            }
            (None, Some(why)) => give_up(&registry, &job, why).await.is_ok(),
            (None, None) => false,
        };
        if is_over {
            return;
        }
    }
}

/// Why nobody need wait any longer for a job that has not ended as far as this reply tells, if so.
fn why_given_up(
    registry: &Registry,
    job: &Record,
    settings: &Settings,
    begun: Instant,
    reply: &Result<Reply, ErrandFailed>,
) -> Option<Why> {
    let age = age(registry, job);
    let has_told = reply.as_ref().is_ok_and(|Reply { status, .. }| {
        !status.is_server_error() && *status != StatusCode::TOO_MANY_REQUESTS
    });
    if has_told {
        return (age >= settings.unknown_after).then_some(Why::StillAtWork);
    }
    let is_hopeless = age >= settings.unknown_after.saturating_mul(LONGEST_AWAY)
        && begun.elapsed() >= settings.reconcile_after;
    is_hopeless.then_some(Why::NotAsked)
}

async fn is_waited_for(registry: &Registry, key: &Key) -> Result<bool, StoreError> {
    Ok(registry.find(key).await?.is_some_and(|record| record.state.is_pending()))
}

/// How a job ended, if it has.
fn ended(reply: &Result<Reply, ErrandFailed>) -> Option<Outcome> {
    let reply = reply.as_ref().ok().filter(|reply| reply.status.is_success())?;
    match Job::read(&reply.body) {
        Ok(Job::Completed { result }) => Some(Outcome::Succeeded { data: result }),
        Ok(Job::Failed { reasons }) => Some(Outcome::Failed { reasons, process_id: None }),
        Ok(Job::Processing) => None,
        Err(error) => {
            tracing::debug!(%error, "Zuora does not say how far a job has come");
            None
        }
    }
}
