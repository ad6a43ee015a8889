//! Asking for the state of order jobs, of which no callout tells.

use std::sync::Arc;

use async_requests::{Key, Outcome, Record, Registry, Report, StoreError};
use http::uri::PathAndQuery;
use proxy::{Errand, Proxy};
use tokio::sync::Semaphore;
use tokio::time::{Duration, sleep};
use zuora::Job;
use zuora::job::job_path;

/// The first pause; each further one is half as long again, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How many jobs of one tenant are asked for at once.
pub(super) const PLACES: usize = 4;

/// Asks for the state of a job until it has ended, or nobody waits for its outcome any more. `places` bounds how many ask
/// at once.
pub(super) async fn follow(
    proxy: Arc<Proxy>,
    registry: Arc<Registry>,
    job: Record,
    places: Arc<Semaphore>,
) {
    let Some(target) = job.zuora_id.as_deref().map(job_path) else { return };
    let target = PathAndQuery::try_from(target).expect("an encoded id makes a path");
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause.mul_f64(1.0 + rand::random::<f64>() / 10.0)).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match is_waited_for(&registry, &job.key).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => continue,
        }
        let Ok(place) = places.acquire().await else { return };
        let errand = Errand::get(target.clone()).to_entity(job.entity.as_deref());
        let reply = proxy.run(&job.key.tenant, errand).await;
        drop(place);
        let state = reply.ok().filter(|reply| reply.status.is_success());
        let Some(outcome) = state.and_then(|reply| outcome(&reply.body)) else { continue };
        let report = Report {
            zuora_id: job.zuora_id.clone(),
            track_id: Some(Arc::clone(&job.key.track_id)),
            notification_id: None,
            outcome,
        };
        // What could not be written down is asked for again.
        if registry.take_in(&job.key.tenant, report).await.is_ok() {
            return;
        }
    }
}

async fn is_waited_for(registry: &Registry, key: &Key) -> Result<bool, StoreError> {
    Ok(registry.find(key).await?.is_some_and(|record| record.state.is_pending()))
}

/// How a job ended, if it has.
fn outcome(body: &[u8]) -> Option<Outcome> {
    match Job::read(body) {
        Ok(Job::Completed { result }) => Some(Outcome::Succeeded { data: result }),
        Ok(Job::Failed { reasons }) => Some(Outcome::Failed { reasons, process_id: None }),
        Ok(Job::Processing) => None,
        Err(error) => {
            tracing::debug!(%error, "Zuora does not say how far a job has come");
            None
        }
    }
}
