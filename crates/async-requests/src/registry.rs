//! The registry: what is remembered of each request, and who waits for its outcome.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use crate::delivery::{Delivery, Forwarding, Stage};
use crate::record::{Form, Key, Outcome, Record, State};
use crate::store::{Change, Changed, Store, StoreError};

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
    /// As many outcomes are waited for as may be.
    #[error("{most} asynchronous requests wait for their outcome already")]
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
    /// Keys whose record has ended.
    ended: broadcast::Sender<Key>,
    forwarding: RwLock<Forwarding>,
}

/// A request that is on its way to Zuora. Dropped, it stays remembered as one of which nobody knows whether Zuora took it.
#[derive(Debug)]
#[must_use = "what became of it should be told"]
pub struct Submission {
    registry: Arc<Registry>,
    key: Key,
}

impl Registry {
    /// A registry over `store`.
    #[must_use]
    pub fn new(store: impl Store) -> Arc<Self> {
        let (ended, forwarding) = (broadcast::channel(1024).0, RwLock::default());
        Arc::new(Self { store: Box::new(store), ended, forwarding })
    }

    /// The calendar, as far as this registry goes by it.
    pub fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Remembers a request. Once this returns it is durable, and may be sent.
    ///
    /// # Errors
    /// Why it must not be sent.
    pub async fn begin(self: &Arc<Self>, new: NewRequest) -> Result<Submission, NotBegun> {
        let key = new.key.clone();
        let record = Record {
            key: new.key,
            app: new.app,
            entity: new.entity,
            operation: new.operation,
            method: new.method,
            path: new.path,
            form: new.form,
            zuora_id: None,
            state: State::Sending,
            begun: self.now(),
            accepted: None,
            ended: None,
            outcome: None,
            delivery: None,
        };
        match self.store.change(key.clone(), Change::Begin(Box::new(record))).await? {
            Changed::Made(_) => Ok(Submission { registry: Arc::clone(self), key }),
            Changed::Not(other) => {
                let app = other.map(|other| other.app).unwrap_or_default();
                Err(NotBegun::Taken { app })
            }
        }
    }

    /// Takes in how a request of `tenant` ended. Once this returns it is durable.
    ///
    /// # Errors
    /// If it could not be written down: it must be told again.
    pub async fn take_in(&self, tenant: &Arc<str>, report: Report) -> Result<Taken, StoreError> {
        let Some(track_id) = report.track_id else { return Ok(Taken::Unknown) };
        let key = Key { tenant: Arc::clone(tenant), track_id };
        let (outcome, zuora_id) = (report.outcome, report.zuora_id);
        let (at, forwarding) = (self.now(), self.forwarding());
        let end = Change::End { outcome, zuora_id: zuora_id.clone(), at, forwarding };
        match self.store.change(key.clone(), end).await? {
            Changed::Made(Some(record)) => {
                // Nobody may be waiting.
                let _ = self.ended.send(key);
                self.wake(&record);
                Ok(Taken::News(record))
            }
            Changed::Not(Some(known)) if known.zuora_id == zuora_id || zuora_id.is_none() => {
                Ok(Taken::Duplicate)
            }
            Changed::Made(None) | Changed::Not(_) => Ok(Taken::Unknown),
        }
    }

    /// What is known of a request now.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn find(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.store.find(key.clone()).await
    }

    /// What is known of a request once it has ended, or at `until`, whichever is first. Dropping this ends the waiting only.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn wait(&self, key: &Key, until: Instant) -> Result<Option<Record>, StoreError> {
        let mut ended = self.ended.subscribe();
        loop {
            let record = self.find(key).await?;
            let is_pending = record.as_ref().is_some_and(|record| record.state.is_pending());
            if !is_pending || timeout_at(until, ended.recv()).await.is_err() {
                return Ok(record);
            }
        }
    }

    /// The requests of an app, the newest first, from the one after `after` on.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn list(
        &self,
        app: &Arc<str>,
        after: Option<Key>,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.store.list(Arc::clone(app), after, most).await
    }

    /// Those of a tenant whose outcome is waited for, the oldest first.
    ///
    /// # Errors
    /// If nothing can be read.
    pub async fn pending(&self, tenant: &Arc<str>, most: usize) -> Result<Vec<Record>, StoreError> {
        self.store.pending(Arc::clone(tenant), most).await
    }

    /// Gives up waiting for an outcome: from now on it is unknown. Returns the record, if it was still waited for.
    ///
    /// # Errors
    /// If that could not be written down.
    pub async fn give_up(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let change = Change::GiveUp { at: self.now(), forwarding: self.forwarding() };
        match self.store.change(key.clone(), change).await? {
            Changed::Made(record) => {
                let _ = self.ended.send(key.clone());
                record.iter().for_each(|record| self.wake(record));
                Ok(record.map(|record| *record))
            }
            Changed::Not(_) => Ok(None),
        }
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
        self.store.undelivered(Arc::clone(app), most).await
    }

    /// Notes that the app took the outcome of `told`, as it stands there.
    ///
    /// # Errors
    /// If that could not be written down: it will be delivered once more.
    pub async fn delivered(&self, told: &Record) -> Result<(), StoreError> {
        let failed = told.delivery.as_ref().map_or(0, |delivery| delivery.failed);
        let delivery = Delivery { stage: Stage::Delivered(self.now()), failed, trouble: None };
        let change = Change::Deliver { told: told.state, delivery };
        self.store.change(told.key.clone(), change).await.map(drop)
    }

    /// Notes that the app did not take the outcome of `told`, and why. Returns what that makes of the delivery: it is
    /// due again later, or given up. `jitter`, from 0 to 1, spreads what failed together.
    ///
    /// # Errors
    /// If that could not be written down: it is due as it was.
    pub async fn not_delivered(
        &self,
        told: &Record,
        trouble: &str,
        jitter: f64,
    ) -> Result<Delivery, StoreError> {
        let now = self.now();
        let before = told.delivery.clone().unwrap_or_else(|| Delivery::due(now));
        let delivery = before.after_failure(trouble.into(), now, jitter);
        let change = Change::Deliver { told: told.state, delivery: delivery.clone() };
        self.store.change(told.key.clone(), change).await?;
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
        self.store.dead_letters(after, most).await
    }

    /// Has a dead letter tried again, as often as at first. Returns the record, if its delivery was given up.
    ///
    /// # Errors
    /// If that could not be written down.
    pub async fn revive(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        match self.store.change(key.clone(), Change::Revive { at: self.now() }).await? {
            Changed::Made(record) => {
                record.iter().for_each(|record| self.wake(record));
                Ok(record.map(|record| *record))
            }
            Changed::Not(_) => Ok(None),
        }
    }

    fn forwarding(&self) -> Forwarding {
        self.forwarding.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Wakes whoever forwards to the app of `record`, if there is something to deliver.
    fn wake(&self, record: &Record) {
        if record.delivery.is_some() {
            self.forwarding().wake(&record.app);
        }
    }
}

impl Submission {
    /// What names the request.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Notes that Zuora took it, and what Zuora calls it. Returns the record once that is durable.
    ///
    /// # Errors
    /// If that could not be written down. The request is remembered all the same, as one on its way.
    pub async fn accepted(self, zuora_id: Option<&str>) -> Result<Option<Record>, StoreError> {
        let zuora_id = zuora_id.map(Arc::from);
        let change = Change::Accept { zuora_id, at: self.registry.now() };
        match self.registry.store.change(self.key, change).await? {
            Changed::Made(record) | Changed::Not(record) => Ok(record.map(|record| *record)),
        }
    }

    /// Notes that Zuora certainly did not take it. It is forgotten.
    ///
    /// # Errors
    /// If that could not be written down: then it ends as unknown.
    pub async fn withdrawn(self) -> Result<(), StoreError> {
        self.registry.store.change(self.key, Change::Withdraw).await.map(drop)
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
    async fn a_track_id_names_one_request() {
        let registry = Registry::new(Memory::default());
        let first = registry.begin(named("batch-1")).await.unwrap();

        let second = registry.begin(named("batch-1")).await;

        assert!(matches!(second, Err(NotBegun::Taken { app }) if &*app == "batch"));
        first.withdrawn().await.unwrap();
        assert!(registry.begin(named("batch-1")).await.is_ok());
    }

    /// How `registry` is told that this request was done.
    async fn done(registry: &Registry, key: &Key) {
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
}
