//! A file that is open as a store: opening it, mending it, and changing it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, StorageBackend};

use super::file::{Place, Watch, Watched};
use super::frame::{Framed, Unfit};
use super::salvage::Salvage;
use super::tables::{Readable, Tables, Trouble};
use super::tally::Tally;
use crate::record::Key;
use crate::store::{Change, Changed, Limits, StoreReadings, Whose};

/// Of the file, in memory. The system keeps the rest as far as it has room.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Records that are written to a new file before it is asked to hold them.
const REBUILT_AT_ONCE: usize = 10_000;
/// Records of an app that are forgotten in one step, some milliseconds' work.
const FORGOTTEN_AT_ONCE: usize = 256;

/// What is put between the store and its file.
pub(super) type Under = Arc<dyn Fn(FileBackend) -> Box<dyn StorageBackend> + Send + Sync>;

/// Where a store is, and how it is opened.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) place: Place,
    pub(super) limits: Limits,
    pub(super) under: Under,
}

/// An open store.
#[derive(Debug)]
pub(super) struct Opened {
    database: Database,
    limits: Limits,
    watch: Arc<Watch>,
    tally: Mutex<Tally>,
}

/// The last numbers that were given out, also if what they were given to is forgotten.
#[derive(Clone, Copy, Debug)]
struct Last {
    begun: u64,
    ended: u64,
}

/// A change that was asked for, and what it came to.
pub(super) type Asked = (Whose, Change);

/// A record that was not there before.
pub(super) type New = (u64, Key);

impl Opening {
    /// Opens the store as it is; one that is damaged is rebuilt from what can be read of it.
    pub(super) fn open(&self) -> Result<Opened, Trouble> {
        match guarded(|| self.open_as_is()) {
            Err(Trouble::Damaged(what)) => self.salvage(&what, 0),
            opened => opened,
        }
    }

    fn open_as_is(&self) -> Result<Opened, Trouble> {
        let opened = self.opened(self.place.open().map_err(failed)?)?;
        // Whatever was begun there was not complete, or it would be what is open now.
        self.place.drop_successor().map_err(failed)?;
        opened.count()?;
        Ok(opened)
    }

    /// Replaces a store by what can be read of its file, which is kept aside. Positions up to `ended` are known to have
    /// been given out.
    pub(super) fn salvage(&self, what: &str, ended: u64) -> Result<Opened, Trouble> {
        let found = Salvage::of(&self.place.file()).map_err(failed)?;
        let last = Last { begun: 0, ended };
        let rebuilt = self.rebuild(last, |take| found.records().try_for_each(take))?;
        let aside = self.place.set_aside().map_err(failed)?;
        let opened = self.succeed(rebuilt)?;
        let records = opened.tally().records;
        let aside = aside.display();
        tracing::error!(
            %aside, records, trouble = what,
            "the registry of async requests was damaged: what could be read of it was taken over; requests that had been \
             forgotten may be among it, others may be missing"
        );
        Ok(opened)
    }

    /// Replaces a store whose file could not be brought to disk by a new file with the same records. Positions up to
    /// `ended` are known to have been given out.
    pub(super) fn rewrite(&self, ended: u64) -> Result<Opened, Trouble> {
        let rebuilt = guarded(|| {
            let old = self.opened(self.place.open().map_err(failed)?)?;
            let transaction = old.database.begin_write()?;
            let tables = Tables::open(&transaction)?;
            let last =
                Last { begun: tables.last("begun")?, ended: tables.last("ended")?.max(ended) };
            let rebuilt = self.rebuild(last, |take| tables.each(take))?;
            drop(tables);
            transaction.abort()?;
            Ok(rebuilt)
        });
        match rebuilt {
            Ok(rebuilt) => self.succeed(rebuilt),
            Err(Trouble::Damaged(what)) => self.salvage(&what, ended),
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes records to a new file beside the store's. It is durable, but not in its place yet.
    fn rebuild(
        &self,
        last: Last,
        records: impl FnOnce(&mut dyn FnMut(Framed) -> Result<(), Trouble>) -> Result<(), Trouble>,
    ) -> Result<Opened, Trouble> {
        let new = self.opened(self.place.begin_successor().map_err(failed)?)?;
        let mut some = Vec::new();
        records(&mut |framed| {
            some.push(framed);
            if some.len() == REBUILT_AT_ONCE {
                new.put_all(&mut some, last)?;
            }
            Ok(())
        })?;
        new.put_all(&mut some, last)?;
        Ok(new)
    }

    fn succeed(&self, rebuilt: Opened) -> Result<Opened, Trouble> {
        self.place.succeed().map_err(failed)?;
        rebuilt.count()?;
        Ok(rebuilt)
    }

    fn opened(&self, file: FileBackend) -> Result<Opened, Trouble> {
        let watch = Arc::new(Watch::default());
        let watched = Watched::new((self.under)(file), Arc::clone(&watch)).map_err(failed)?;
        let mut builder = Database::builder();
        let database = builder.set_cache_size(CACHE_BYTES).create_with_backend(watched)?;
        let (limits, tally) = (self.limits, Mutex::default());
        let opened = Opened { database, limits, watch, tally };
        opened.write(|_| Ok(()))?;
        Ok(opened)
    }
}

impl Opened {
    /// Makes changes, one after the other, and all of them durable at once. What cannot be kept is refused by itself.
    /// Those that begin are noted in `new`, also if all of it fails.
    pub(super) fn change(
        &self,
        asked: Vec<Asked>,
        new: &mut Vec<New>,
    ) -> Result<Vec<Result<Changed, Unfit>>, Trouble> {
        self.write(|tables| {
            let (begun, ended) = (tables.last("begun")?, tables.last("ended")?);
            let mut step = Step { opened: self, tables, begun, ended, new };
            let made = asked.into_iter().map(|(whose, change)| match step.change(&whose, change) {
                Err(Trouble::Unfit(why)) => Ok(Err(why)),
                changed => changed.map(Ok),
            });
            let made = made.collect::<Result<_, _>>()?;
            if step.begun != begun {
                step.tables.set_last("begun", step.begun)?;
            }
            if step.ended != ended {
                step.tables.set_last("ended", step.ended)?;
            }
            Ok(made)
        })
    }

    /// Removes those of `new` that are there: whoever began them was told that they are not.
    pub(super) fn remove(&self, new: &[New]) -> Result<(), Trouble> {
        if new.is_empty() {
            return Ok(());
        }
        self.write(|tables| {
            for (number, key) in new {
                let there = tables.of_number(*number)?;
                if let Some(there) = there.filter(|there| there.record.key == *key) {
                    tables.remove(&there)?;
                    self.tally().change(Some(&there), None);
                }
            }
            Ok(())
        })
    }

    /// Forgets some of those that ended before `moment`. Returns whether there may be more.
    pub(super) fn forget(&self, moment: SystemTime) -> Result<bool, Trouble> {
        let gone = self.ended_before(moment)?;
        if gone.is_empty() {
            return Ok(false);
        }
        self.write(|tables| {
            for gone in &gone {
                tables.remove(gone)?;
                self.tally().change(Some(gone), None);
            }
            Ok(gone.len() >= FORGOTTEN_AT_ONCE)
        })
    }

    /// Records that ended before `moment`: not all, but some if there are any.
    fn ended_before(&self, moment: SystemTime) -> Result<Vec<Framed>, Trouble> {
        let is_gone = |it: &Framed| it.record.ended.is_some_and(|ended| ended < moment);
        self.read(|readable| readable.first_ended(FORGOTTEN_AT_ONCE, is_gone))
    }

    /// Reads what was durable when this was called.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Readable<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        guarded(|| read(&Readable(&self.database.begin_read()?)))
    }

    /// Changes tables, durably or not at all.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            let mut tables = Tables::open(&transaction)?;
            let changed = change(&mut tables)?;
            drop(tables);
            transaction.commit()?;
            Ok(changed)
        })
    }

    fn put_all(&self, some: &mut Vec<Framed>, last: Last) -> Result<(), Trouble> {
        self.write(|tables| {
            let mut begun = tables.last("begun")?.max(last.begun);
            let mut ended = tables.last("ended")?.max(last.ended);
            for framed in some.drain(..) {
                tables.put(None, &framed)?;
                begun = begun.max(framed.number);
                ended = ended.max(framed.record.position.unwrap_or(0));
            }
            tables.set_last("begun", begun)?;
            tables.set_last("ended", ended)
        })
    }

    /// Counts what is there.
    fn count(&self) -> Result<(), Trouble> {
        let mut tally = Tally::default();
        self.read(|readable| {
            let records = readable.each_of_note(|framed| tally.note(framed))?;
            tally.last_position = readable.last("ended")?;
            tally.records = usize::try_from(records).unwrap_or(usize::MAX);
            Ok(())
        })?;
        *self.tally() = tally;
        Ok(())
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much it holds, and of whom.
    pub(super) fn held(&self) -> StoreReadings {
        let tally = self.tally();
        let (records, apps) = (tally.records as u64, tally.apps());
        StoreReadings { records, apps, bytes: self.watch.bytes(), ..StoreReadings::default() }
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Ends the store, so that the next opening need not look through it.
    pub(super) fn close(self) -> Result<(), Trouble> {
        guarded(|| Ok(self.database.close()?))
    }
}

/// Changes that are made in one go.
struct Step<'a, 'b> {
    opened: &'a Opened,
    tables: &'a mut Tables<'b>,
    begun: u64,
    ended: u64,
    new: &'a mut Vec<New>,
}

impl Step<'_, '_> {
    fn change(&mut self, whose: &Whose, change: Change) -> Result<Changed, Trouble> {
        let before = self.tables.meant(whose)?;
        let is_new = before.is_none() && matches!(change, Change::Begin(_));
        if is_new && let Err(most) = self.make_room()? {
            return Ok(Changed::Full { most });
        }
        let record = before.as_ref().map(|before| before.record.clone());
        let changed = change.apply(record, self.ended + 1);
        let Changed::Made(made) = &changed else { return Ok(changed) };
        let now = made.as_ref().map(|record| {
            let record = (**record).clone();
            match &before {
                Some(Framed { number, revision, .. }) => {
                    Framed { number: *number, revision: revision.saturating_add(1), record }
                }
                None => Framed { number: self.begun + 1, revision: 1, record },
            }
        });
        match (&before, &now) {
            (before, Some(now)) => {
                self.tables.put(before.as_ref(), now)?;
                if before.is_none() {
                    self.new.push((now.number, now.record.key.clone()));
                }
                self.begun = self.begun.max(now.number);
                self.ended = self.ended.max(now.record.position.unwrap_or(0));
            }
            (Some(before), None) => self.tables.remove(before)?,
            (None, None) => {}
        }
        self.opened.tally().change(before.as_ref(), now.as_ref());
        Ok(changed)
    }

    /// Makes room for another record, if that is possible.
    fn make_room(&mut self) -> Result<Result<(), usize>, Trouble> {
        let Limits { max_pending, max_records, .. } = self.opened.limits;
        if self.opened.tally().pending >= max_pending {
            return Ok(Err(max_pending));
        }
        while self.opened.tally().records >= max_records {
            let Some(gone) = self.tables.first_ended()? else { return Ok(Err(max_records)) };
            self.tables.remove(&gone)?;
            self.opened.tally().change(Some(&gone), None);
        }
        Ok(Ok(()))
    }
}

/// Runs what may come upon a file in which nothing is as it should be: the library panics there now and then.
fn guarded<T>(act: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let done = catch_unwind(AssertUnwindSafe(act));
    done.unwrap_or_else(|_| Err(Trouble::Damaged("reading it made no sense".to_owned())))
}

pub(super) fn failed(error: io::Error) -> Trouble {
    Trouble::Failed(redb::Error::Io(error))
}
