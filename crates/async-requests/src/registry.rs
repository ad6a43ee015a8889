//! The registry: what is remembered of each request, and who waits for its outcome.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

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
        Arc::new(Self { store: Box::new(store), ended: broadcast::channel(1024).0 })
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
            begun: SystemTime::now(),
            accepted: None,
            ended: None,
            outcome: None,
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
        let end = Change::End { outcome, zuora_id: zuora_id.clone(), at: SystemTime::now() };
        match self.store.change(key.clone(), end).await? {
            Changed::Made(Some(record)) => {
                // Nobody may be waiting.
                let _ = self.ended.send(key);
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
        let change = Change::GiveUp { at: SystemTime::now() };
        match self.store.change(key.clone(), change).await? {
            Changed::Made(record) => {
                let _ = self.ended.send(key.clone());
                Ok(record.map(|record| *record))
            }
            Changed::Not(_) => Ok(None),
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
        let change = Change::Accept { zuora_id, at: SystemTime::now() };
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
}
