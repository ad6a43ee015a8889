//! The registry: what is remembered of each request, and who waits for its outcome.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use telemetry::Metrics;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use crate::counts::Counts;
use crate::delivery::{Delivery, Forwarding, Stage};
use crate::disk::{Disk, OpenError};
use crate::record::{Form, Key, Outcome, Record, State};
use crate::stall::Stall;
use crate::store::{Change, Changed, Limits, Store, StoreError, StoreReadings, Whose, Writing};
use crate::waiters::{News, Waiters};

/// How long the store may take. One that takes longer hangs: nothing more is asked of it until it goes on, as whoever asks
/// holds something up meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a store that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How many times as long it is until one that works is looked after.
const TEND_EVERY: u32 = 60;
/// How many new jobs may not have been received yet by whoever follows them.
const MOST_NEW_JOBS: usize = 1024;

/// So much of a path is remembered. It is told to people only.
const LONGEST_PATH: usize = 2 * 1024;
/// So much of what names a notification.
const LONGEST_NOTIFICATION_ID: usize = 256;

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// What names it.
    pub key: Key,
    /// The app that asks.
    pub app: Arc<str>,
    /// The entity that it is for, if the tenant has several.
    pub entity: Option<Arc<str>>,
    /// Zuora's id of the operation, if it is a known one.
    pub operation: Option<Arc<str>>,
    /// The method that it is sent with.
    pub method: Arc<str>,
    /// The path that the app called, without its query.
    pub path: Arc<str>,
    /// How it is carried out.
    pub form: Form,
}

/// Why a request must not be sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotBegun {
    /// Its track id names another asynchronous request of the tenant.
    #[error("this track id names another asynchronous request")]
    Taken {
        /// The app that made the other one.
        app: Arc<str>,
    },
    /// As many outcomes are waited for as may be, or as many requests remembered.
    #[error("{most} asynchronous requests are remembered or wait for their outcome already")]
    Full {
        /// How many that are.
        most: usize,
    },
    /// It could not be written down.
    #[error(transparent)]
    Unstorable(#[from] StoreError),
}

/// What Zuora tells of a request that ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What Zuora calls the request.
    pub zuora_id: Option<Arc<str>>,
    /// The track id that it was sent with.
    pub track_id: Option<Arc<str>>,
    /// The same for every attempt to tell this.
    pub notification_id: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// It was news, and is recorded.
    News(Box<Record>),
    /// The outcome was known.
    Duplicate,
    /// No request of ours is meant.
    Unknown,
}

/// Remembers asynchronous requests and their outcomes.
#[derive(Debug)]
pub struct Registry {
    store: Box<dyn Store>,
    calendar: Calendar,
    counts: Option<Counts>,
    stall: Stall,
    forwarding: RwLock<Forwarding>,
    waiters: Waiters,
    news: News,
    /// Jobs that Zuora took just now.
    jobs: broadcast::Sender<Record>,
}

/// A request that is on its way to Zuora. Dropped, it stays remembered as one of which nobody knows whether Zuora took it.
#[derive(Debug)]
#[must_use = "what became of it should be told"]
pub struct Submission {
    registry: Arc<Registry>,
    key: Key,
}

/// A request that was written down for somebody who may have left. Dropped, it is forgotten: nobody sends it.
#[derive(Debug)]
struct Unclaimed(Option<Submission>);

/// The calendar, read once: afterwards it goes with the one clock.
#[derive(Clone, Copy, Debug)]
struct Calendar {
    date: SystemTime,
    at: Instant,
}

impl Registry {
    /// A registry over `store`, which is not looked after in the background.
    #[must_use]
    pub fn new(store: impl Store) -> Arc<Self> {
        Self::over(store, None)
    }

    /// A registry over `store`, which is not looked after in the background, and which counts in `metrics`.
    #[must_use]
    pub fn counting(store: impl Store, metrics: &Arc<Metrics>) -> Arc<Self> {
        Self::over(store, Some(Counts::new(Arc::clone(metrics))))
    }

    /// Opens the registry in `state_dir`; makes it, and the directory, when they are absent. It is kept within `limits`
    /// from now on, and what becomes of requests is counted in `metrics`.
    ///
    /// A file that is damaged is moved aside, and what can be read of it is taken over.
    ///
    /// # Errors
    /// When the directory cannot be used, when another gateway uses it, or when a newer gateway wrote the registry.
    pub async fn open(
        state_dir: &Path,
        limits: Limits,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, OpenError> {
        let disk = Disk::open(state_dir, limits).await?;
        let registry = Self::counting(disk, metrics);
        registry.tend_in_background(limits.keep);
        Ok(registry)
    }

    fn over(store: impl Store, counts: Option<Counts>) -> Arc<Self> {
        Arc::new(Self {
            store: Box::new(store),
            calendar: Calendar { date: SystemTime::now(), at: Instant::now() },
            counts,
            stall: Stall::default(),
            forwarding: RwLock::default(),
            waiters: Waiters::default(),
            news: News::default(),
            jobs: broadcast::channel(MOST_NEW_JOBS).0,
        })
    }

    /// Remembers a request. Once this returns it is durable, and may be sent. Dropping this forgets it again.
    ///
    /// # Errors
    /// Why it must not be sent; at once if the disk hangs, and within seconds if it begins to.
    pub async fn begin(self: &Arc<Self>, new: NewRequest) -> Result<Submission, NotBegun> {
        self.refuse_if_stalled()?;
        let key = new.key.clone();
        let record = Box::new(Record::begun(new, self.now()));
        let changing = self.store.change(Whose::Key(key.clone()), Change::Begin(record));
        let (claim, claimed) = oneshot::channel();
        let registry = Arc::clone(self);
        tokio::spawn(async move {
            let begun = registry.written(changing).await.map(|changed| match changed {
                Changed::Made(record) => {
                    record.iter().for_each(|record| registry.entered(record));
                    Ok(Unclaimed(Some(Submission { registry: Arc::clone(&registry), key })))
                }
                Changed::Not(other) => {
                    let app = other.map(|other| other.app).unwrap_or_default();
                    Err(NotBegun::Taken { app })
                }
                Changed::Full { most } => Err(NotBegun::Full { most }),
            });
            // Whoever asked may have left.
            let _ = claim.send(begun);
        });
        let begun = tokio::select! {
            biased;
            begun = claimed => begun.map_err(|_| StoreError::stopped())??,
            () = self.stall.begins() => return Err(StoreError::stalled().into()),
        };
        begun?.claim().ok_or_else(|| StoreError::stopped().into())
    }

    /// Takes in how a request of `tenant` ended. Once this returns it is durable; it goes on if this is dropped.
    ///
    /// # Errors
    /// If it could not be written down: it must be told again. At once if the disk hangs.
    pub async fn take_in(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        report: Report,
    ) -> Result<Taken, StoreError> {
        self.refuse_if_stalled()?;
        let Report { zuora_id, track_id, notification_id, outcome } = report;
        let notification_id = notification_id.map(|id| cut(id, LONGEST_NOTIFICATION_ID));
        let whose =
            Whose::Told { tenant: Arc::clone(tenant), zuora_id: zuora_id.clone(), track_id };
        let (at, forwarding) = (self.now(), self.forwarding());
        let end = Change::End { outcome, zuora_id, notification_id, at, forwarding };
        Ok(match self.change(whose, end).await? {
            Changed::Made(Some(record)) => Taken::News(record),
            Changed::Not(Some(_)) => Taken::Duplicate,
            Changed::Made(None) | Changed::Not(None) | Changed::Full { .. } => Taken::Unknown,
        })
    }

    /// What is known of a request now.
    ///
    /// # Errors
    /// If nothing can be read, or not within seconds.
    pub async fn find(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.read(self.store.find(key.clone())).await
    }

    /// What is known of a request once it has ended, or at `until`, whichever is first. Dropping this ends the waiting only.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn wait(&self, key: &Key, until: Instant) -> Result<Option<Record>, StoreError> {
        let waiter = self.waiters.enter(key);
        loop {
            // From here on no end is missed.
            let mut ended = std::pin::pin!(waiter.ended());
            ended.as_mut().enable();
            {
                let record = self.find(key).await?;
                if !record.as_ref().is_some_and(|record| record.state.is_pending()) {
                    return Ok(record);
                }
            }
            if timeout_at(until, ended).await.is_err() {
                return self.find(key).await;
            }
        }
    }

    /// The requests of an app, the newest first, each with its number; those that began before the one of this number only,
    /// and those in one state only, if that is given. Long ones may make them fewer than `most`: only where there is none,
    /// there is no more.
    ///
    /// # Errors
    /// If nothing can be read, or not within seconds.
    pub async fn list(
        &self,
        app: &Arc<str>,
        state: Option<State>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u64, Record)>, StoreError> {
        self.read(self.store.list(Arc::clone(app), state, before, most)).await
    }

    /// Those of a tenant whose outcome is waited for, the oldest first.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn pending(&self, tenant: &Arc<str>, most: usize) -> Result<Vec<Record>, StoreError> {
        self.counted(self.store.pending(Arc::clone(tenant), most).await)
    }

    /// Those of an app that have ended at a position after `after`, in the order in which they did. Each has its
    /// [`Record::position`]; positions only grow, but not by one. Long ones may make them fewer than `most`: only where
    /// there is none, there is no more.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn outcomes_after(
        &self,
        app: &Arc<str>,
        after: u64,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.counted(self.store.outcomes(Arc::clone(app), after, most).await)
    }

    /// Tells of outcomes of an app: the position of the last since this was called, or zero. Ask for it first and for
    /// [`Self::outcomes_after`] then, and none is missed.
    pub fn news(&self, app: &Arc<str>) -> watch::Receiver<u64> {
        self.news.of(app)
    }

    /// The jobs that Zuora takes from now on, of which it tells only when it is asked. Whoever receives them too late finds
    /// them among what is [pending](Self::pending).
    #[must_use]
    pub fn jobs(&self) -> broadcast::Receiver<Record> {
        self.jobs.subscribe()
    }

    /// Gives up waiting for an outcome: from now on it is unknown. Returns the record, if it was still waited for.
    ///
    /// # Errors
    /// If that could not be written down.
    pub async fn give_up(self: &Arc<Self>, key: &Key) -> Result<Option<Record>, StoreError> {
        let change = Change::GiveUp { at: self.now(), forwarding: self.forwarding() };
        self.made(Whose::Key(key.clone()), change).await
    }

    /// From now on the outcomes of these apps are to be delivered to them, and of no others. What is to be delivered to
    /// an app that is not among them any more stays so until it is again, or is forgotten.
    pub fn forward_to(&self, apps: impl IntoIterator<Item = Arc<str>>) {
        let mut forwarding = self.forwarding.write().unwrap_or_else(PoisonError::into_inner);
        *forwarding = Forwarding::to(apps, &forwarding);
    }

    /// Resolves once something more is to be delivered to `app`, which may have been since this was last awaited. Never,
    /// if its outcomes are not forwarded. One task at a time may wait for an app.
    pub async fn undelivered_grows(&self, app: &str) {
        match self.forwarding().woken(app) {
            Some(woken) => woken.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Those of an app whose outcome is still to be delivered, the one due first, first: also those due later.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn undelivered(
        &self,
        app: &Arc<str>,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.counted(self.store.undelivered(Arc::clone(app), most).await)
    }

    /// Notes that the app took the outcome of `told`, as it stands there.
    ///
    /// # Errors
    /// If that could not be written down: it will be delivered once more.
    pub async fn delivered(self: &Arc<Self>, told: &Record) -> Result<(), StoreError> {
        let failed = told.delivery.as_ref().map_or(0, |delivery| delivery.failed);
        let delivery = Delivery { stage: Stage::Delivered(self.now()), failed, trouble: None };
        let change = Change::Deliver { told: told.state, delivery };
        self.change(Whose::Key(told.key.clone()), change).await.map(drop)
    }

    /// Notes that the app did not take the outcome of `told`, and why. Returns what that makes of the delivery: it is
    /// due again later, or given up. `jitter`, from 0 to 1, spreads what failed together.
    ///
    /// # Errors
    /// If that could not be written down: it is due as it was.
    pub async fn not_delivered(
        self: &Arc<Self>,
        told: &Record,
        trouble: &str,
        jitter: f64,
    ) -> Result<Delivery, StoreError> {
        let now = self.now();
        let before = told.delivery.clone().unwrap_or_else(|| Delivery::due(now));
        let delivery = before.after_failure(trouble.into(), now, jitter);
        let change = Change::Deliver { told: told.state, delivery: delivery.clone() };
        self.change(Whose::Key(told.key.clone()), change).await?;
        Ok(delivery)
    }

    /// Those whose delivery is given up, in the order of their keys, from the one after `after` on.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn dead_letters(
        &self,
        after: Option<Key>,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.counted(self.store.dead_letters(after, most).await)
    }

    /// Has a dead letter tried again, as often as at first. Returns the record, if its delivery was given up.
    ///
    /// # Errors
    /// If that could not be written down.
    pub async fn revive(self: &Arc<Self>, key: &Key) -> Result<Option<Record>, StoreError> {
        self.made(Whose::Key(key.clone()), Change::Revive { at: self.now() }).await
    }

    /// The position of the last request that ended, whoever's it was: [`Self::outcomes_after`] it are those to come.
    pub fn last_position(&self) -> u64 {
        self.store.readings().last_position
    }

    /// What the registry holds, from memory.
    pub fn readings(&self) -> StoreReadings {
        self.store.readings()
    }

    /// The date and time by which records are dated, to the millisecond.
    pub fn now(&self) -> SystemTime {
        self.calendar.now()
    }

    /// Ends the registry once all that was asked for is written. Everything else is refused from then on.
    ///
    /// # Errors
    /// If the store did not end well. What was said to be durable is so nevertheless.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.counted(self.store.close().await)
    }

    /// Makes a change, and tells whom it concerns, also if this is dropped.
    fn change(self: &Arc<Self>, whose: Whose, change: Change) -> Writing<Changed> {
        let ends = matches!(change, Change::End { .. } | Change::GiveUp { .. });
        let accepts = matches!(change, Change::Accept { .. });
        let is_due = ends || matches!(change, Change::Revive { .. });
        // Whoever waits for the outcome of what is forgotten waits in vain.
        let forgets = match (&whose, &change) {
            (Whose::Key(key), Change::Withdraw) => Some(key.clone()),
            _ => None,
        };
        let changing = self.store.change(whose, change);
        let registry = Arc::clone(self);
        let told = tokio::spawn(async move {
            let changed = registry.written(changing).await?;
            if let (Changed::Made(None), Some(key)) = (&changed, &forgets) {
                registry.waiters.wake(key);
            }
            if let Changed::Made(Some(record)) = &changed {
                // A callout that was faster than the answer has counted already.
                if ends || accepts && record.state == State::Accepted {
                    registry.entered(record);
                }
                if ends {
                    registry.waiters.wake(&record.key);
                }
                if let Some(position) = record.position.filter(|_| ends) {
                    registry.news.tell(&record.app, position);
                }
                if is_due && record.delivery.is_some() {
                    registry.forwarding().wake(&record.app);
                }
            }
            Ok(changed)
        });
        Box::pin(async { told.await.unwrap_or_else(|_| Err(StoreError::stopped())) })
    }

    async fn made(
        self: &Arc<Self>,
        whose: Whose,
        change: Change,
    ) -> Result<Option<Record>, StoreError> {
        match self.change(whose, change).await? {
            Changed::Made(record) => Ok(record.map(|record| *record)),
            Changed::Not(_) | Changed::Full { .. } => Ok(None),
        }
    }

    fn forwarding(&self) -> Forwarding {
        self.forwarding.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a change came to, however long that takes.
    async fn written(&self, mut changing: Writing<Changed>) -> Result<Changed, StoreError> {
        let changed = match timeout(PATIENCE, &mut changing).await {
            Ok(changed) => changed,
            Err(_) => {
                let _overdue = self.stall.note();
                changing.await
            }
        };
        self.counted(changed)
    }

    /// What is read, if that does not take too long.
    async fn read<T>(&self, reading: Writing<T>) -> Result<T, StoreError> {
        let read = timeout(PATIENCE, reading).await;
        self.counted(read.unwrap_or_else(|_| Err(StoreError::stalled())))
    }

    fn refuse_if_stalled(&self) -> Result<(), StoreError> {
        match self.stall.is_there() {
            true => self.counted(Err(StoreError::stalled())),
            false => Ok(()),
        }
    }

    /// Counts what failed.
    fn counted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(_), Some(counts)) = (&result, &self.counts) {
            counts.failed();
        }
        result
    }

    /// Counts a state that a request has entered.
    fn entered(&self, record: &Record) {
        if let Some(counts) = &self.counts {
            counts.entered(record);
        }
    }

    /// Looks after the store until the registry is dropped.
    fn tend_in_background(self: &Arc<Self>, keep: Duration) {
        let registry = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut seconds = 0_u32;
            loop {
                sleep(TRY_AGAIN).await;
                seconds = (seconds + 1) % TEND_EVERY;
                let Some(registry) = registry.upgrade() else { return };
                if seconds == 0 || !registry.readings().is_writable {
                    registry.tend(keep).await;
                }
            }
        });
    }

    /// Forgets what has ended long ago, step by step, and gets a store that failed to work again.
    pub(crate) async fn tend(&self, keep: Duration) {
        let Some(ended_before) = self.now().checked_sub(keep) else { return };
        // What fails has been logged where it failed, and is tried again.
        while self.store.tend(ended_before).await.unwrap_or(false) {}
    }
}

impl Calendar {
    fn now(self) -> SystemTime {
        let since_1970 = self.date.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = (since_1970 + self.at.elapsed()).as_millis();
        UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

impl Record {
    fn begun(new: NewRequest, begun: SystemTime) -> Self {
        Self {
            key: new.key,
            app: new.app,
            entity: new.entity,
            operation: new.operation,
            method: new.method,
            path: cut(new.path, LONGEST_PATH),
            form: new.form,
            zuora_id: None,
            state: State::Sending,
            begun,
            accepted: None,
            ended: None,
            position: None,
            outcome: None,
            notification_id: None,
            delivery: None,
        }
    }
}

/// A text's first bytes, as many as there may be, and as make whole characters.
fn cut(text: Arc<str>, most: usize) -> Arc<str> {
    if text.len() <= most { text } else { text[..text.floor_char_boundary(most)].into() }
}

impl Submission {
    /// What names the request.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Notes that Zuora took it, and what Zuora calls it. Returns the record once that is durable; it goes on if this is
    /// dropped.
    ///
    /// # Errors
    /// If that could not be written down. The request is remembered all the same, as one on its way.
    pub async fn accepted(self, zuora_id: Option<&str>) -> Result<Option<Record>, StoreError> {
        let (zuora_id, at) = (zuora_id.map(Arc::from), self.registry.now());
        let change = Change::Accept { zuora_id, at };
        let record = match self.registry.change(Whose::Key(self.key), change).await? {
            Changed::Made(record) | Changed::Not(record) => record.map(|record| *record),
            Changed::Full { .. } => None,
        };
        if let Some(job) = record.as_ref().filter(|record| record.form == Form::OrderJob) {
            // Nobody may follow jobs.
            let _ = self.registry.jobs.send(job.clone());
        }
        Ok(record)
    }

    /// Notes that Zuora certainly did not take it, where its app was told that it may have: it ends with these reasons of
    /// Zuora's. Returns once that is durable; it goes on if this is dropped.
    ///
    /// # Errors
    /// If that could not be written down: then it ends as unknown.
    pub async fn refused(
        self,
        reasons: Vec<Value>,
        process_id: Option<Arc<str>>,
    ) -> Result<(), StoreError> {
        let registry = &self.registry;
        let end = Change::End {
            outcome: Outcome::Failed { reasons, process_id },
            zuora_id: None,
            notification_id: None,
            at: registry.now(),
            forwarding: registry.forwarding(),
        };
        registry.change(Whose::Key(self.key), end).await.map(drop)
    }

    /// Notes that Zuora certainly did not take it. It is forgotten, also if this is dropped.
    ///
    /// # Errors
    /// If that could not be written down: then it ends as unknown.
    pub async fn withdrawn(self) -> Result<(), StoreError> {
        self.registry.change(Whose::Key(self.key), Change::Withdraw).await.map(drop)
    }
}

impl Unclaimed {
    fn claim(mut self) -> Option<Submission> {
        self.0.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(submission) = self.0.take() {
            // The change is on its way as soon as it is asked for.
            drop(submission.registry.store.change(Whose::Key(submission.key), Change::Withdraw));
        }
    }
}

impl StoreError {
    /// Whatever keeps records has gone.
    pub(crate) fn stopped() -> Self {
        Self("it was closed".into())
    }

    /// Whatever keeps records does not answer.
    fn stalled() -> Self {
        Self("its disk takes too long".into())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;
    use crate::memory::Memory;

    fn named(track_id: &str) -> NewRequest {
        NewRequest {
            key: Key { tenant: "production".into(), track_id: track_id.into() },
            app: "batch".into(),
            entity: None,
            operation: Some("POST_Account".into()),
            method: "POST".into(),
            path: "/v1/accounts".into(),
            form: Form::Async,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_by_the_outcome() {
        let registry = Registry::new(Memory::default());
        let submission = registry.begin(named("batch-1")).await.unwrap();
        let key = submission.key().clone();
        submission.accepted(Some("r1")).await.unwrap();

        let until = Instant::now() + Duration::from_secs(20);
        let waiting = registry.wait(&key, until);
        let told = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let outcome = Outcome::Succeeded { data: serde_json::Map::new() };
            let zuora_id = Some("r1".into());
            let track_id = Some("batch-1".into());
            let report = Report { zuora_id, track_id, notification_id: None, outcome };
            registry.take_in(&key.tenant, report).await.unwrap()
        };
        let (record, taken) = tokio::join!(waiting, told);

        assert!(matches!(taken, Taken::News(_)));
        assert_eq!(record.unwrap().unwrap().state, State::Succeeded);
        assert_eq!(until - Instant::now(), Duration::from_secs(17));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_what_is_forgotten_is_told_at_once() {
        let registry = Registry::new(Memory::default());
        let submission = registry.begin(named("batch-1")).await.unwrap();
        let (key, began) = (submission.key().clone(), Instant::now());

        let waiting = registry.wait(&key, began + Duration::from_secs(20));
        let (record, withdrawn) = tokio::join!(waiting, async {
            sleep(Duration::from_secs(3)).await;
            submission.withdrawn().await
        });

        assert!(record.unwrap().is_none() && withdrawn.is_ok());
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_track_id_names_one_request() {
        let registry = Registry::new(Memory::default());
        let first = registry.begin(named("batch-1")).await.unwrap();

        let second = registry.begin(named("batch-1")).await;

        assert!(matches!(second, Err(NotBegun::Taken { app }) if &*app == "batch"));
        first.withdrawn().await.unwrap();
        assert!(registry.begin(named("batch-1")).await.is_ok());
    }

    /// How `registry` is told that this request was done.
    async fn done(registry: &Arc<Registry>, key: &Key) {
        let (outcome, track_id) =
            (Outcome::Succeeded { data: serde_json::Map::new() }, Some(Arc::clone(&key.track_id)));
        let report = Report { zuora_id: None, track_id, notification_id: None, outcome };
        registry.take_in(&key.tenant, report).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_is_to_be_delivered_if_outcomes_of_its_app_are_forwarded() {
        let (registry, batch) = (Registry::new(Memory::default()), "batch".into());
        let mut keys = Vec::new();
        for track_id in ["batch-1", "batch-2"] {
            keys.push(registry.begin(named(track_id)).await.unwrap().key().clone());
        }

        done(&registry, &keys[0]).await;
        registry.forward_to([Arc::clone(&batch)]);
        done(&registry, &keys[1]).await;

        registry.undelivered_grows("batch").await;
        let [due] = &registry.undelivered(&batch, 9).await.unwrap()[..] else { panic!("not one") };
        assert_eq!(&*due.key.track_id, "batch-2");
        registry.delivered(due).await.unwrap();
        assert_eq!(registry.undelivered(&batch, 9).await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_can_be_tried_again() {
        let (registry, batch) = (Registry::new(Memory::default()), "batch".into());
        registry.forward_to([Arc::clone(&batch)]);
        let key = registry.begin(named("batch-1")).await.unwrap().key().clone();
        done(&registry, &key).await;

        for failed in 1..=crate::DELIVERY_ATTEMPTS {
            let due = registry.undelivered(&batch, 9).await.unwrap().remove(0);
            let delivery = registry.not_delivered(&due, "answered 500", 0.0).await.unwrap();
            assert_eq!((delivery.failed, delivery.is_dead()), (failed, failed == 10));
        }

        assert_eq!(registry.undelivered(&batch, 9).await.unwrap(), []);
        let [dead] = &registry.dead_letters(None, 9).await.unwrap()[..] else { panic!("not one") };
        assert_eq!(dead.delivery.as_ref().unwrap().trouble.as_deref(), Some("answered 500"));
        assert_eq!(registry.dead_letters(Some(key.clone()), 9).await.unwrap(), []);
        assert!(registry.revive(&key).await.unwrap().is_some());
        assert!(registry.revive(&key).await.unwrap().is_none());
        assert_eq!(registry.undelivered(&batch, 9).await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_that_comes_while_unknown_is_delivered_is_delivered_as_well() {
        let (registry, batch) = (Registry::new(Memory::default()), "batch".into());
        registry.forward_to([Arc::clone(&batch)]);
        let key = registry.begin(named("batch-1")).await.unwrap().key().clone();
        registry.give_up(&key).await.unwrap();
        let unknown = registry.undelivered(&batch, 9).await.unwrap().remove(0);

        done(&registry, &key).await;
        registry.delivered(&unknown).await.unwrap();

        let [due] = &registry.undelivered(&batch, 9).await.unwrap()[..] else { panic!("not one") };
        assert_eq!((unknown.state, due.state), (State::Unknown, State::Succeeded));
    }

    #[tokio::test]
    async fn what_others_may_make_long_is_not_remembered_whole() {
        let registry = Registry::new(Memory::default());
        let path = format!("/v1/accounts/{}", "é".repeat(4096));
        let submission = registry.begin(NewRequest { path: path.as_str().into(), ..named("a") });
        drop(submission.await.unwrap());
        let report = Report {
            zuora_id: None,
            track_id: Some("a".into()),
            notification_id: Some("n".repeat(4096).into()),
            outcome: Outcome::Succeeded { data: serde_json::Map::new() },
        };

        let taken = registry.take_in(&"production".into(), report).await.unwrap();

        let Taken::News(record) = taken else { panic!("{taken:?}") };
        assert_eq!(*record.path, path[..2047]);
        assert_eq!(record.notification_id.as_deref(), Some(&*"n".repeat(256)));
    }
}
