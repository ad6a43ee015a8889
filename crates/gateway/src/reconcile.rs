//! Looking after asynchronous requests whose outcome stays away: what no callout told is looked up, jobs are asked for
//! their state, and what nobody tells for too long is called unknown.

mod jobs;
mod look;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_requests::{Form, Key, Record, Registry};
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

/// Looks after the requests of all tenants, until the returned task is aborted.
pub(crate) fn start(works: Arc<Works>, registry: Arc<Registry>) -> JoinHandle<()> {
    let taken = registry.jobs();
    let (found, to_follow) = mpsc::unbounded_channel();
    let reconciler = Reconciler {
        works,
        registry,
        watched: HashSet::new(),
        watching: JoinSet::new(),
        found,
        followed: HashSet::new(),
        following: JoinSet::new(),
        places: HashMap::new(),
    };
    tokio::spawn(reconciler.run(taken, to_follow))
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
                Some(Ok(ended)) = self.following.join_next() => drop(self.followed.remove(&ended)),
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
        for tenant in self.works.reconciled() {
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

    fn follow(&mut self, job: Record) {
        if job.form != Form::OrderJob || !self.followed.insert(job.key.clone()) {
            return;
        }
        let places = self.places.entry(Arc::clone(&job.key.tenant));
        let places = places.or_insert_with(|| Arc::new(Semaphore::new(jobs::PLACES)));
        let (proxy, registry) = (Arc::clone(&self.works.proxy), Arc::clone(&self.registry));
        let (key, places) = (job.key.clone(), Arc::clone(places));
        self.following.spawn(async move {
            jobs::follow(proxy, registry, job, places).await;
            key
        });
    }
}

/// Looks after the requests of one tenant, for as long as it is configured. Returns its name.
async fn watch(
    works: Arc<Works>,
    registry: Arc<Registry>,
    tenant: Arc<str>,
    found: mpsc::UnboundedSender<Record>,
) -> Arc<str> {
    let mut look = Look::new(Arc::clone(&works.proxy), registry, Arc::clone(&tenant));
    let mut pace = Pace::default();
    while let Some(settings) = works.reconciling(&tenant) {
        let seen = match look.run(&settings, &found).await {
            Ok((seen, trouble)) => {
                if let Some(trouble) = trouble {
                    let cause = std::error::Error::source(&trouble).map(ToString::to_string);
                    tracing::warn!(
                        tenant = &*tenant,
                        overdue = seen.overdue,
                        cause,
                        "{trouble}: outcomes that stayed away cannot be looked up"
                    );
                }
                seen
            }
            Err(error) => {
                tracing::warn!(tenant = &*tenant, "{error}: outcomes cannot be looked after");
                Seen::default()
            }
        };
        let rest = pace.rest(&settings, seen);
        sleep(rest.mul_f64(1.0 + rand::random::<f64>() / 10.0)).await;
    }
    tenant
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
