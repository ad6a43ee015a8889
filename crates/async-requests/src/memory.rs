//! A store that forgets everything with the process, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::record::{Key, Record, State};
use crate::store::{
    AppReadings, Change, Changed, Limits, Store, StoreReadings, Whose, Writing, is_meant,
};

/// Keeps records in memory, and looks through all of them for each answer.
#[derive(Debug, Default)]
pub struct Memory {
    limits: Limits,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// In the order in which they began.
    records: BTreeMap<u64, Record>,
    begun: u64,
    ended: u64,
}

impl Memory {
    /// An empty store that holds no more than `limits` say.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, held: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn done<T: Send + 'static>(&self, act: impl FnOnce(&mut Held) -> T) -> Writing<T> {
        Box::pin(std::future::ready(Ok(self.with(act))))
    }

    /// Those that `is_wanted`, in the order of `by`.
    fn select<By: Ord>(
        &self,
        most: usize,
        is_wanted: impl Fn(&Record) -> bool,
        by: impl Fn(u64, &Record) -> By,
    ) -> Writing<Vec<Record>> {
        self.done(|held| {
            let mut all: Vec<_> = held.records.iter().filter(|(_, it)| is_wanted(it)).collect();
            all.sort_by_key(|(number, record)| by(**number, record));
            all.into_iter().take(most).map(|(_, record)| record.clone()).collect()
        })
    }
}

impl Held {
    fn number(&self, key: &Key) -> Option<u64> {
        self.records.iter().find(|(_, record)| record.key == *key).map(|(number, _)| *number)
    }

    fn meant(&self, whose: &Whose) -> Option<u64> {
        let (tenant, zuora_id, track_id) = match whose {
            Whose::Key(key) => return self.number(key),
            Whose::Told { tenant, zuora_id, track_id } => (tenant, zuora_id, track_id),
        };
        let is_called = |it: &Record| {
            it.key.tenant == *tenant && it.zuora_id.is_some() && it.zuora_id == *zuora_id
        };
        let by_id = self.records.iter().find(|(_, record)| is_called(record));
        by_id.map(|(number, _)| *number).or_else(|| {
            let key = Key { tenant: Arc::clone(tenant), track_id: Arc::clone(track_id.as_ref()?) };
            let number = self.number(&key)?;
            is_meant(&self.records[&number], zuora_id.as_deref()).then_some(number)
        })
    }

    fn pending(&self) -> usize {
        self.records.values().filter(|record| record.state.is_pending()).count()
    }

    /// Makes room for another record, if that is possible.
    fn make_room(&mut self, limits: Limits) -> Result<(), usize> {
        if self.pending() >= limits.max_pending {
            return Err(limits.max_pending);
        }
        while self.records.len() >= limits.max_records {
            let ended = self.records.iter().filter(|(_, record)| record.position.is_some());
            let first = ended.min_by_key(|(_, record)| record.position).map(|(number, _)| *number);
            self.records.remove(&first.ok_or(limits.max_records)?);
        }
        Ok(())
    }

    fn change(&mut self, limits: Limits, whose: &Whose, change: Change) -> Changed {
        let number = self.meant(whose);
        let is_new = number.is_none() && matches!(change, Change::Begin(_));
        if is_new && let Err(most) = self.make_room(limits) {
            return Changed::Full { most };
        }
        let record = number.and_then(|number| self.records.get(&number).cloned());
        let changed = change.apply(record, self.ended + 1);
        let Changed::Made(made) = &changed else { return changed };
        let number = number.unwrap_or_else(|| {
            self.begun += 1;
            self.begun
        });
        match made {
            Some(record) => {
                self.ended = self.ended.max(record.position.unwrap_or(0));
                self.records.insert(number, (**record).clone());
            }
            None => drop(self.records.remove(&number)),
        }
        changed
    }
}

impl Store for Memory {
    fn change(&self, whose: Whose, change: Change) -> Writing<Changed> {
        self.done(|held| held.change(self.limits, &whose, change))
    }

    fn find(&self, key: Key) -> Writing<Option<Record>> {
        self.done(|held| held.number(&key).map(|number| held.records[&number].clone()))
    }

    fn list(
        &self,
        app: Arc<str>,
        state: Option<State>,
        before: Option<u64>,
        most: usize,
    ) -> Writing<Vec<(u64, Record)>> {
        self.done(|held| {
            let newest_first = held.records.range(..before.unwrap_or(u64::MAX)).rev();
            let is_wanted = |(_, it): &(&u64, &Record)| {
                it.app == app && state.is_none_or(|state| it.state == state)
            };
            let wanted = newest_first.filter(is_wanted).take(most);
            wanted.map(|(number, record)| (*number, record.clone())).collect()
        })
    }

    fn pending(&self, tenant: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        let is_wanted = |it: &Record| it.key.tenant == tenant && it.state.is_pending();
        self.select(most, is_wanted, |number, _| number)
    }

    fn outcomes(&self, app: Arc<str>, after: u64, most: usize) -> Writing<Vec<Record>> {
        let is_wanted = |it: &Record| it.app == app && it.position.is_some_and(|it| it > after);
        self.select(most, is_wanted, |_, record| record.position)
    }

    fn undelivered(&self, app: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        let is_wanted = |it: &Record| it.app == app && it.due_at().is_some();
        self.select(most, is_wanted, |number, record| (record.due_at(), number))
    }

    fn dead_letters(&self, after: Option<Key>, most: usize) -> Writing<Vec<Record>> {
        let is_after = |it: &Record| after.as_ref().is_none_or(|after| it.key > *after);
        let is_wanted = |it: &Record| it.is_dead_letter() && is_after(it);
        self.select(most, is_wanted, |_, record| record.key.clone())
    }

    fn tend(&self, ended_before: SystemTime) -> Writing<bool> {
        self.done(|held| {
            held.records.retain(|_, record| record.ended.is_none_or(|ended| ended >= ended_before));
            false
        })
    }

    fn readings(&self) -> StoreReadings {
        self.with(|held| {
            let mut apps: BTreeMap<_, AppReadings> = BTreeMap::new();
            for record in held.records.values() {
                let (tenant, app) = (Arc::clone(&record.key.tenant), Arc::clone(&record.app));
                let is_dead = record.is_dead_letter();
                let is_unknown = record.state == State::Unknown;
                if !record.state.is_pending() && !is_dead && !is_unknown {
                    continue;
                }
                let readings = apps.entry((Arc::clone(&tenant), Arc::clone(&app)));
                let readings = readings.or_insert_with(|| AppReadings::of(tenant, app));
                readings.dead_letters += u64::from(is_dead);
                readings.unknown += u64::from(is_unknown);
                if record.state.is_pending() {
                    readings.pending += 1;
                    readings.oldest_pending = readings.oldest_pending.or(Some(record.begun));
                }
            }
            let records = held.records.len() as u64;
            let apps = apps.into_values().collect();
            let last_position = held.ended;
            StoreReadings { records, bytes: 0, is_writable: true, last_position, apps }
        })
    }

    fn close(&self) -> Writing<()> {
        self.done(|_| ())
    }
}

impl AppReadings {
    pub(crate) fn of(tenant: Arc<str>, app: Arc<str>) -> Self {
        Self { tenant, app, pending: 0, oldest_pending: None, unknown: 0, dead_letters: 0 }
    }
}
