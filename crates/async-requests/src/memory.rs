//! A store that forgets everything with the process, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::delivery::Delivery;
use crate::record::{Key, Record};
use crate::store::{Change, Changed, Store, Writing};

/// Keeps records in memory.
#[derive(Debug, Default)]
pub struct Memory {
    records: Mutex<BTreeMap<Key, Record>>,
}

impl Memory {
    fn select<T>(&self, read: impl FnOnce(&mut BTreeMap<Key, Record>) -> T) -> Writing<T>
    where
        T: Send + 'static,
    {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(std::future::ready(Ok(read(&mut records))))
    }
}

impl Store for Memory {
    fn change(&self, key: Key, change: Change) -> Writing<Changed> {
        self.select(|records| {
            let changed = change.apply(records.get(&key).cloned());
            match &changed {
                Changed::Made(Some(record)) => drop(records.insert(key, (**record).clone())),
                Changed::Made(None) => drop(records.remove(&key)),
                Changed::Not(_) => {}
            }
            changed
        })
    }

    fn find(&self, key: Key) -> Writing<Option<Record>> {
        self.select(|records| records.get(&key).cloned())
    }

    fn list(&self, app: Arc<str>, after: Option<Key>, most: usize) -> Writing<Vec<Record>> {
        self.select(|records| {
            let mut all: Vec<_> = records.values().filter(|it| it.app == app).cloned().collect();
            all.sort_by_key(|record| std::cmp::Reverse(record.begun));
            let from = after.and_then(|after| all.iter().position(|it| it.key == after));
            all.into_iter().skip(from.map_or(0, |from| from + 1)).take(most).collect()
        })
    }

    fn pending(&self, tenant: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.select(|records| {
            let of_tenant = records.values().filter(|it| it.key.tenant == tenant);
            let mut all: Vec<_> = of_tenant.filter(|it| it.state.is_pending()).cloned().collect();
            all.sort_by_key(|record| record.begun);
            all.truncate(most);
            all
        })
    }

    fn undelivered(&self, app: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.select(|records| {
            let due = |record: &Record| record.delivery.as_ref().and_then(Delivery::due_at);
            let of_app = records.values().filter(|it| it.app == app);
            let mut all: Vec<_> = of_app.filter(|it| due(it).is_some()).cloned().collect();
            all.sort_by_key(due);
            all.truncate(most);
            all
        })
    }

    fn dead_letters(&self, after: Option<Key>, most: usize) -> Writing<Vec<Record>> {
        self.select(|records| {
            let is_dead = |it: &&Record| it.delivery.as_ref().is_some_and(Delivery::is_dead);
            let all = records.values().filter(is_dead);
            let rest = all.filter(|it| after.as_ref().is_none_or(|after| it.key > *after));
            rest.take(most).cloned().collect()
        })
    }
}
