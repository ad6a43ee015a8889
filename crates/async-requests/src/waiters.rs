//! Whoever waits for an outcome, and how they are woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, futures::Notified, watch};

use crate::record::Key;

/// Who waits for the outcome of which request. An outcome wakes those alone that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    of: Mutex<HashMap<Key, Arc<Notify>>>,
}

/// Somebody who waits. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Waiter<'a> {
    all: &'a Waiters,
    key: Key,
    ended: Arc<Notify>,
}

impl Waiters {
    /// Waits from now on.
    pub(crate) fn enter(&self, key: &Key) -> Waiter<'_> {
        let ended = Arc::clone(self.locked().entry(key.clone()).or_default());
        Waiter { all: self, key: key.clone(), ended }
    }

    /// Wakes everybody who waits for this request.
    pub(crate) fn wake(&self, key: &Key) {
        if let Some(ended) = self.locked().get(key) {
            ended.notify_waiters();
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Arc<Notify>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Resolves when the request ends. It must be enabled before one looks whether that has happened.
    pub(crate) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut of = self.all.locked();
        // The map's and ours: nobody else waits.
        if Arc::strong_count(&self.ended) == 2 {
            of.remove(&self.key);
        }
    }
}

/// Tells apps of their outcomes.
#[derive(Debug, Default)]
pub(crate) struct News {
    of: Mutex<HashMap<Arc<str>, watch::Sender<u64>>>,
}

impl News {
    /// The position of the last outcome of `app`, from now on.
    pub(crate) fn of(&self, app: &Arc<str>) -> watch::Receiver<u64> {
        self.locked().entry(Arc::clone(app)).or_default().subscribe()
    }

    /// Tells of an outcome at `position`.
    pub(crate) fn tell(&self, app: &str, position: u64) {
        if let Some(news) = self.locked().get(app) {
            news.send_replace(position);
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Arc<str>, watch::Sender<u64>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
