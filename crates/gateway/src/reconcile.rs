//! Looking after asynchronous requests whose outcome stays away: what no callout told is looked up, jobs are asked for
//! their state, and what nobody tells for too long is called unknown.

mod jobs;
mod look;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_requests::{Form, Key, Record, Registry, StoreError};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, MissedTickBehavior, interval, sleep};

use crate::works::Works;
use look::{Look, Seen};

pub(crate) use look::Settings;

/// How often it is seen which tenants there are.
const BEAT: Duration = Duration::from_secs(5);

/// The bounds of the rest between two looks at what is pending. Looking costs nothing at Zuora as long as nothing is overdue.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_FIRST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);

/// How many times as long as usual an outcome is waited for where Zuora cannot be asked.
const LONGEST_AWAY: u32 = 2;

/// Looks after the requests of all tenants, until the returned task is aborted.
pub(crate) fn start(works: Arc<Works>, registry: Arc<Registry>) -> JoinHandle<()> {
    let taken = registry.jobs();
    let (reconciler, found) = Reconciler::new(works, registry);
    tokio::spawn(reconciler.run(taken, found))
}

/// Everybody who looks. What it does ends with it.
struct Reconciler {
    works: Arc<Works>,
    registry: Arc<Registry>,
    watched: HashSet<Arc<str>>,
    watching: JoinSet<Arc<str>>,
    /// Jobs that are found among what is pending: those of an earlier life.
    found: mpsc::UnboundedSender<Record>,
    followed: HashSet<Key>,
    following: JoinSet<Key>,
    /// By tenant, how many jobs may be asked for at once.
    places: HashMap<Arc<str>, Arc<Semaphore>>,
}

impl Reconciler {
    /// It, and the jobs that it will find.
    fn new(works: Arc<Works>, registry: Arc<Registry>) -> (Self, mpsc::UnboundedReceiver<Record>) {
        let (found, to_follow) = mpsc::unbounded_channel();
        let (watched, watching) = (HashSet::new(), JoinSet::new());
        let (followed, following) = (HashSet::new(), JoinSet::new());
        let places = HashMap::new();
        let it = Self { works, registry, watched, watching, found, followed, following, places };
        (it, to_follow)
    }

    async fn run(
        mut self,
        mut taken: broadcast::Receiver<Record>,
        mut found: mpsc::UnboundedReceiver<Record>,
    ) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Ok(job) = taken.recv() => self.follow(job),
                Some(job) = found.recv() => self.follow(job),
                Some(ended) = self.following.join_next() => match ended {
                    Ok(key) => drop(self.followed.remove(&key)),
                    // Whoever it was that panicked, the next look hands all on again.
                    Err(_) => self.follow_nobody(),
                },
                Some(ended) = self.watching.join_next() => match ended {
                    Ok(tenant) => drop(self.watched.remove(&tenant)),
                    // Whoever it was that panicked, all begin anew.
                    Err(_) => self.watch_nobody(),
                },
                _ = beats.tick() => self.watch_all(),
            }
        }
    }

    fn watch_all(&mut self) {
        // What is pending is not forgotten with its tenant.
        let readings = self.registry.readings();
        let left = readings.apps.into_iter().filter(|app| app.pending > 0).map(|app| app.tenant);
        for tenant in self.works.reconciled().into_iter().chain(left) {
            if self.watched.insert(Arc::clone(&tenant)) {
                let (works, registry) = (Arc::clone(&self.works), Arc::clone(&self.registry));
                self.watching.spawn(watch(works, registry, tenant, self.found.clone()));
            }
        }
    }

    fn watch_nobody(&mut self) {
        self.watching = JoinSet::new();
        self.watched.clear();
    }

    fn follow_nobody(&mut self) {
        self.following = JoinSet::new();
        self.followed.clear();
    }

    fn follow(&mut self, job: Record) {
        if job.form != Form::OrderJob || !self.followed.insert(job.key.clone()) {
            return;
        }
        let places = self.places.entry(Arc::clone(&job.key.tenant));
        let places = places.or_insert_with(|| Arc::new(Semaphore::new(jobs::PLACES)));
        let (works, registry) = (Arc::clone(&self.works), Arc::clone(&self.registry));
        let (key, places) = (job.key.clone(), Arc::clone(places));
        self.following.spawn(async move {
            jobs::follow(works, registry, job, places).await;
            key
        });
    }
}

/// Looks after the requests of one tenant, for as long as it is configured or an outcome is waited for. Returns its name.
async fn watch(
    works: Arc<Works>,
    registry: Arc<Registry>,
    tenant: Arc<str>,
    found: mpsc::UnboundedSender<Record>,
) -> Arc<str> {
    let (proxy, of) = (Arc::clone(&works.proxy), Arc::clone(&registry));
    let mut look = Look::new(proxy, of, Arc::clone(&tenant));
    let mut pace = Pace::default();
    loop {
        let rest = match works.reconciling(&tenant) {
            Some(settings) => {
                let seen = look_once(&mut look, &settings, &tenant, &found).await;
                pace.rest(&settings, seen)
            }
            None if is_waited_for(&registry, &tenant) => {
                let looked = look.run_alone().await;
                looked.unwrap_or_else(|error| cannot_be_looked_after(&tenant, &error));
                LONGEST_FIRST_REST
            }
            None => return tenant,
        };
        sleep(rest.mul_f64(1.0 + rand::random::<f64>() / 10.0)).await;
    }
}

async fn look_once(
    look: &mut Look,
    settings: &Settings,
    tenant: &str,
    found: &mpsc::UnboundedSender<Record>,
) -> Seen {
    match look.run(settings, found).await {
        Ok((seen, trouble)) => {
            if let Some(trouble) = trouble {
                let cause = std::error::Error::source(&trouble).map(ToString::to_string);
                tracing::warn!(
                    tenant,
                    overdue = seen.overdue,
                    cause,
                    "{trouble}: outcomes that stayed away cannot be looked up"
                );
            }
            seen
        }
        Err(error) => {
            cannot_be_looked_after(tenant, &error);
            Seen::default()
        }
    }
}

fn cannot_be_looked_after(tenant: &str, error: &StoreError) {
    tracing::warn!(tenant, "{error}: outcomes cannot be looked after");
}

/// Whether any outcome of a tenant's is waited for.
fn is_waited_for(registry: &Registry, tenant: &str) -> bool {
    registry.readings().apps.iter().any(|app| *app.tenant == *tenant && app.pending > 0)
}

/// How long ago a request was begun.
fn age(registry: &Registry, record: &Record) -> Duration {
    registry.now().duration_since(record.begun).unwrap_or_default()
}

/// Why a request is given up.
#[derive(Clone, Copy, Debug)]
enum Why {
    Searched,
    NotSearched,
    StillAtWork,
    NotAsked,
    Nameless,
    NotConfigured,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Searched => "Zuora told no outcome, neither by callout nor in its history",
            Self::NotSearched => {
                "Zuora told no outcome by callout, and its history could not be looked through"
            }
            Self::StillAtWork => "Zuora does not say that the job has ended",
            Self::NotAsked => "Zuora could not be asked whether the job has ended",
            Self::Nameless => "Zuora did not say what it calls the job, so that it cannot be asked",
            Self::NotConfigured => "its tenant is not configured any more",
        }
    }
}

/// Says that nobody knows how a request ended. Returns whether that was news.
async fn give_up(registry: &Arc<Registry>, record: &Record, why: Why) -> Result<bool, StoreError> {
    let Some(record) = registry.give_up(&record.key).await? else { return Ok(false) };
    tracing::warn!(
        tenant = &*record.key.tenant,
        app = &*record.app,
        track_id = &*record.key.track_id,
        zuora_id = record.zuora_id.as_deref(),
        operation = record.operation.as_deref(),
        waited_s = age(registry, &record).as_secs(),
        "nobody knows how an asynchronous request ended: {}. See at Zuora whether it was done, before it is done again",
        why.as_str()
    );
    Ok(true)
}

/// How long to rest between looks: longer and longer as long as they bring nothing.
#[derive(Debug, Default)]
struct Pace {
    fruitless: u32,
    overdue: usize,
}

impl Pace {
    fn rest(&mut self, settings: &Settings, seen: Seen) -> Duration {
        let is_fruitless =
            seen.overdue > 0 && (seen.found, seen.resent) == (0, 0) && seen.overdue <= self.overdue;
        self.fruitless = if is_fruitless { self.fruitless.saturating_add(1) } else { 0 };
        self.overdue = seen.overdue;
        let first = (settings.reconcile_after / 4).clamp(SHORTEST_REST, LONGEST_FIRST_REST);
        let longest = settings.reconcile_after.clamp(SHORTEST_REST, LONGEST_REST);
        first.saturating_mul(2_u32.saturating_pow(self.fruitless)).min(longest)
    }
}

#[cfg(test)]
mod tests;
