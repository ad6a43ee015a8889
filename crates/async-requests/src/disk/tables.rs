//! What is in the file: records by number, and the ways to find them.
//!
//! Every way is derived from the record alone, so that it can be rebuilt from the records.

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::time::UNIX_EPOCH;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, StorageError, Table,
    TableDefinition, TableError, WriteTransaction,
};

use super::frame::{Framed, Unfit};
use crate::record::{Key, Record, State};
use crate::store::{Whose, is_meant};

/// How much is read at a time for those who read on from where they are: the reasons of one failure may be 256 KiB, and
/// many may read at the same time.
const GATHERED_BYTES: usize = 256 * 1024;

/// What this version reads and writes.
const FORMAT: u64 = 1;

type Bytes = &'static [u8];
const RECORDS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("records");
/// Its format, and the last numbers that were given out: none is given out twice.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const BY_TRACK_ID: Ways = TableDefinition::new("by-track-id");
const BY_ZUORA_ID: Ways = TableDefinition::new("by-zuora-id");
/// An app's in one state, in the order in which they began.
const BY_STATE: Ways = TableDefinition::new("by-state");
/// A tenant's that are waited for, in the order in which they began.
const PENDING: Ways = TableDefinition::new("pending");
/// An app's that have ended, in the order in which they did.
const ENDED: Ways = TableDefinition::new("ended");
/// An app's whose outcome is to be delivered, the one due first first.
const UNDELIVERED: Ways = TableDefinition::new("undelivered");
const DEAD_LETTERS: Ways = TableDefinition::new("dead-letters");

/// In the order of the bytes that stand for them.
const STATES: [State; 5] =
    [State::Sending, State::Accepted, State::Succeeded, State::Failed, State::Unknown];

/// A way from what is known of a record to its number.
type Ways = TableDefinition<'static, Bytes, u64>;
/// By what a record of this number is found, if it is.
type By = fn(u64, &Record) -> Option<Vec<u8>>;
/// All of them: which, and by what a record is found there.
const WAYS: [(Ways, By); 7] = [
    (BY_TRACK_ID, |_, it| Some(by_key(&it.key))),
    (BY_ZUORA_ID, |_, it| Some(joined(&it.key.tenant, it.zuora_id.as_ref()?.as_bytes()))),
    (BY_STATE, |number, it| Some(by_state(&it.app, it.state, number))),
    (PENDING, |number, it| {
        it.state.is_pending().then(|| joined(&it.key.tenant, &number.to_be_bytes()))
    }),
    (ENDED, |_, it| Some(joined(&it.app, &it.position?.to_be_bytes()))),
    (UNDELIVERED, |number, it| {
        let due = it.due_at()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        Some(joined(&it.app, &[due.to_be_bytes(), number.to_be_bytes()].concat()))
    }),
    (DEAD_LETTERS, |_, it| it.is_dead_letter().then(|| by_key(&it.key))),
];

/// Where those are that changes go along.
const THE_TRACK_IDS: usize = 0;
const THE_ZUORA_IDS: usize = 1;
const THE_ENDED: usize = 4;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// What is in it is not what was written.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// A newer gateway wrote it.
    #[error("a newer version wrote the file: its format is {0}, and this one knows {FORMAT}")]
    Newer(u64),
    /// What was to be written would not be read again: nothing was changed.
    #[error("the record is not kept: {0}")]
    Unfit(#[from] Unfit),
    /// Another gateway has it open.
    #[error("another gateway has the file open")]
    InUse,
    /// Reading or writing failed.
    #[error(transparent)]
    Failed(redb::Error),
}

/// The tables, while they are changed.
pub(super) struct Tables<'a> {
    records: Table<'a, u64, Bytes>,
    about: Table<'a, &'static str, u64>,
    ways: [Table<'a, Bytes, u64>; WAYS.len()],
}

impl<'a> Tables<'a> {
    /// Opens them; makes those that are absent.
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, Trouble> {
        let mut about = transaction.open_table(ABOUT)?;
        let format = about.get("format")?.map(|format| format.value());
        match format {
            None => drop(about.insert("format", FORMAT)?),
            Some(FORMAT) => {}
            Some(newer) => return Err(Trouble::Newer(newer)),
        }
        let way = |index: usize| transaction.open_table(WAYS[index].0);
        let ways = [way(0)?, way(1)?, way(2)?, way(3)?, way(4)?, way(5)?, way(6)?];
        Ok(Self { records: transaction.open_table(RECORDS)?, about, ways })
    }

    /// The last number that was given to `what`, or zero.
    pub(super) fn last(&self, what: &str) -> Result<u64, Trouble> {
        Ok(self.about.get(what)?.map_or(0, |last| last.value()))
    }

    /// Notes the last number that was given to `what`.
    pub(super) fn set_last(&mut self, what: &'static str, last: u64) -> Result<(), Trouble> {
        self.about.insert(what, last)?;
        Ok(())
    }

    /// The record that is meant.
    pub(super) fn meant(&self, whose: &Whose) -> Result<Option<Framed>, Trouble> {
        let (tenant, zuora_id, track_id) = match whose {
            Whose::Key(key) => return self.at(THE_TRACK_IDS, &by_key(key)),
            Whose::Told { tenant, zuora_id, track_id } => (tenant, zuora_id, track_id),
        };
        if let Some(zuora_id) = zuora_id
            && let Some(found) = self.at(THE_ZUORA_IDS, &joined(tenant, zuora_id.as_bytes()))?
        {
            return Ok(Some(found));
        }
        let Some(track_id) = track_id else { return Ok(None) };
        let found = self.at(THE_TRACK_IDS, &joined(tenant, track_id.as_bytes()))?;
        Ok(found.filter(|found| is_meant(&found.record, zuora_id.as_deref())))
    }

    fn at(&self, way: usize, by: &[u8]) -> Result<Option<Framed>, Trouble> {
        let number = self.ways[way].get(by)?.map(|number| number.value());
        number.map(|number| framed(&self.records, number)).transpose()
    }

    /// The record of this number, if it is there.
    pub(super) fn of_number(&self, number: u64) -> Result<Option<Framed>, Trouble> {
        let bytes = self.records.get(number)?;
        bytes.map(|bytes| unframed(number, bytes.value())).transpose()
    }

    /// Writes a record down, and how it is found from now on.
    pub(super) fn put(&mut self, before: Option<&Framed>, now: &Framed) -> Result<(), Trouble> {
        let bytes = now.to_bytes()?;
        self.records.insert(now.number, &*bytes)?;
        self.lead(now.number, before.map(|before| &before.record), Some(&now.record))
    }

    /// Forgets a record.
    pub(super) fn remove(&mut self, gone: &Framed) -> Result<(), Trouble> {
        self.records.remove(gone.number)?;
        self.lead(gone.number, Some(&gone.record), None)
    }

    /// Changes the ways to a record as far as it has changed.
    fn lead(
        &mut self,
        number: u64,
        before: Option<&Record>,
        now: Option<&Record>,
    ) -> Result<(), Trouble> {
        for ((_, by), way) in WAYS.iter().zip(&mut self.ways) {
            let before = before.and_then(|before| by(number, before));
            let now = now.and_then(|now| by(number, now));
            if before == now {
                continue;
            }
            // Two that Zuora calls the same are told apart by their track ids: the first keeps the way.
            let leads_to = |way: &Table<'_, Bytes, u64>, by: &[u8]| -> Result<_, Trouble> {
                Ok(way.get(by)?.map(|number| number.value()))
            };
            if let Some(before) = before
                && leads_to(way, &before)? == Some(number)
            {
                way.remove(&*before)?;
            }
            if let Some(now) = now
                && leads_to(way, &now)?.is_none()
            {
                way.insert(&*now, number)?;
            }
        }
        Ok(())
    }

    /// Of all that have ended, the one that did so first.
    pub(super) fn first_ended(&self) -> Result<Option<Framed>, Trouble> {
        let mut first: Option<Framed> = None;
        let way = &self.ways[THE_ENDED];
        for app in apps(way)? {
            for one in ended_of(way, &self.records, &app, 1)? {
                let is_earlier = |than: &Framed| one.record.position < than.record.position;
                if first.as_ref().is_none_or(is_earlier) {
                    first = Some(one);
                }
            }
        }
        Ok(first)
    }

    /// Calls `each` with every record, in the order in which they began.
    pub(super) fn each(
        &self,
        mut each: impl FnMut(Framed) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        for entry in self.records.iter()? {
            let (number, bytes) = entry?;
            each(unframed(number.value(), bytes.value())?)?;
        }
        Ok(())
    }
}

/// The tables, while they are read.
pub(super) struct Readable<'a>(pub(super) &'a ReadTransaction);

impl Readable<'_> {
    /// Calls `each` with every record that is waited for, or ended as unknown, or is a dead letter, and returns how many
    /// records there are.
    pub(super) fn each_of_note(&self, mut each: impl FnMut(&Framed)) -> Result<u64, Trouble> {
        let records = self.records()?;
        for way in [PENDING, DEAD_LETTERS] {
            for entry in self.0.open_table(way)?.iter()? {
                let framed = framed(&records, entry?.1.value())?;
                // Those come below, dead letters or not.
                if framed.record.state != State::Unknown {
                    each(&framed);
                }
            }
        }
        let by_states = self.0.open_table(BY_STATE)?;
        for app in apps(&self.0.open_table(ENDED)?)? {
            let from = by_state(&app, State::Unknown, 0);
            let to = by_state(&app, State::Unknown, u64::MAX);
            for entry in by_states.range(&*from..=&*to)? {
                each(&framed(&records, entry?.1.value())?);
            }
        }
        Ok(records.len()?)
    }

    /// The last number that was given to `what`, or zero.
    pub(super) fn last(&self, what: &str) -> Result<u64, Trouble> {
        Ok(self.0.open_table(ABOUT)?.get(what)?.map_or(0, |last| last.value()))
    }

    /// Of each app's that have ended, the first ones that are wanted. No more than one is read of an app whose first is
    /// not.
    pub(super) fn first_ended(
        &self,
        most: usize,
        is_wanted: impl Fn(&Framed) -> bool,
    ) -> Result<Vec<Framed>, Trouble> {
        let (way, records) = (self.0.open_table(ENDED)?, self.records()?);
        let mut first = Vec::new();
        for app in apps(&way)? {
            if ended_of(&way, &records, &app, 1)?.iter().any(&is_wanted) {
                first.extend(ended_of(&way, &records, &app, most)?);
            }
        }
        first.retain(is_wanted);
        Ok(first)
    }

    pub(super) fn find(&self, key: &Key) -> Result<Option<Record>, Trouble> {
        let number = self.number(key)?;
        let records = self.records()?;
        number.map(|number| Ok(framed(&records, number)?.record)).transpose()
    }

    pub(super) fn list(
        &self,
        app: &str,
        state: Option<State>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u64, Record)>, Trouble> {
        let Some(last) = before.unwrap_or(u64::MAX).checked_sub(1) else { return Ok(Vec::new()) };
        let states = state.map_or(STATES.to_vec(), |state| vec![state]);
        let (way, records) = (self.0.open_table(BY_STATE)?, self.records()?);
        let mut numbers = Vec::new();
        for state in states {
            let (from, to) = (by_state(app, state, 0), by_state(app, state, last));
            for entry in way.range(&*from..=&*to)?.rev().take(most) {
                numbers.push(entry?.1.value());
            }
        }
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        gathered(&records, numbers.into_iter().take(most).map(Ok))
    }

    pub(super) fn pending(&self, tenant: &str, most: usize) -> Result<Vec<Record>, Trouble> {
        self.along(PENDING, all_of(tenant), most)
    }

    pub(super) fn outcomes(
        &self,
        app: &str,
        after: u64,
        most: usize,
    ) -> Result<Vec<Record>, Trouble> {
        let from = joined(app, &after.saturating_add(1).to_be_bytes());
        let (way, records) = (self.0.open_table(ENDED)?, self.records()?);
        let numbers = way.range(&*from..=&*all_of(app).into_inner().1)?.take(most);
        let ended = gathered(&records, numbers.map(|entry| Ok(entry?.1.value())))?;
        Ok(ended.into_iter().map(|(_, record)| record).collect())
    }

    pub(super) fn undelivered(&self, app: &str, most: usize) -> Result<Vec<Record>, Trouble> {
        self.along(UNDELIVERED, all_of(app), most)
    }

    pub(super) fn dead_letters(
        &self,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Record>, Trouble> {
        // The shortest that is longer is the next.
        let from = after.map_or_else(Vec::new, |after| [by_key(after), vec![0]].concat());
        self.along(DEAD_LETTERS, from..=vec![0xFF], most)
    }

    fn along(
        &self,
        way: Ways,
        by: RangeInclusive<Vec<u8>>,
        most: usize,
    ) -> Result<Vec<Record>, Trouble> {
        let (way, records) = (self.0.open_table(way)?, self.records()?);
        let (from, to) = by.into_inner();
        let numbers = way.range(&*from..=&*to)?.take(most);
        numbers.map(|entry| Ok(framed(&records, entry?.1.value())?.record)).collect()
    }

    fn number(&self, key: &Key) -> Result<Option<u64>, Trouble> {
        let way = self.0.open_table(BY_TRACK_ID)?;
        Ok(way.get(&*by_key(key))?.map(|number| number.value()))
    }

    fn records(&self) -> Result<ReadOnlyTable<u64, Bytes>, Trouble> {
        Ok(self.0.open_table(RECORDS)?)
    }
}

/// The apps of which something has ended.
fn apps(ended: &impl ReadableTable<Bytes, u64>) -> Result<Vec<String>, Trouble> {
    let (mut apps, mut from) = (Vec::new(), Vec::new());
    loop {
        let Some(entry) = ended.range(&*from..)?.next() else { return Ok(apps) };
        let by = entry?.0.value().to_vec();
        let app = by.split(|byte| *byte == 0).next().unwrap_or_default();
        let app = String::from_utf8(app.to_vec());
        let app = app.map_err(|_| Trouble::Damaged("an app's name is no text".to_owned()))?;
        from = [&all_of(&app).into_inner().1[..], &[0]].concat();
        apps.push(app);
    }
}

/// Of those of an app that have ended, the first.
fn ended_of(
    ended: &impl ReadableTable<Bytes, u64>,
    records: &impl ReadableTable<u64, Bytes>,
    app: &str,
    most: usize,
) -> Result<Vec<Framed>, Trouble> {
    let (from, to) = all_of(app).into_inner();
    let numbers = ended.range(&*from..=&*to)?.take(most);
    numbers.map(|entry| framed(records, entry?.1.value())).collect()
}

/// The records of these numbers, as far as they are no longer than [`GATHERED_BYTES`] together; one of them however long.
fn gathered(
    records: &impl ReadableTable<u64, Bytes>,
    numbers: impl Iterator<Item = Result<u64, Trouble>>,
) -> Result<Vec<(u64, Record)>, Trouble> {
    let (mut gathered, mut room) = (Vec::new(), GATHERED_BYTES);
    for number in numbers {
        let number = number?;
        let length = records.get(number)?.map_or(0, |bytes| bytes.value().len());
        if length > room && !gathered.is_empty() {
            break;
        }
        room = room.saturating_sub(length);
        gathered.push((number, framed(records, number)?.record));
    }
    Ok(gathered)
}

/// The record of a number that leads to one.
fn framed(records: &impl ReadableTable<u64, Bytes>, number: u64) -> Result<Framed, Trouble> {
    match records.get(number)? {
        Some(bytes) => unframed(number, bytes.value()),
        None => Err(Trouble::Damaged(format!("record {number} is missing"))),
    }
}

fn unframed(number: u64, bytes: &[u8]) -> Result<Framed, Trouble> {
    let framed = Framed::from_bytes(bytes).filter(|framed| framed.number == number);
    framed.ok_or_else(|| Trouble::Damaged(format!("record {number} is not what was written")))
}

fn by_key(key: &Key) -> Vec<u8> {
    joined(&key.tenant, key.track_id.as_bytes())
}

fn by_state(app: &str, state: State, number: u64) -> Vec<u8> {
    let state = STATES.iter().position(|one| *one == state).unwrap_or_default() as u8;
    joined(app, &[&[state], &number.to_be_bytes()[..]].concat())
}

/// A name, and what is told apart within it. The order is that of the names first.
fn joined(name: &str, within: &[u8]) -> Vec<u8> {
    [name.as_bytes(), &[0], within].concat()
}

/// Everything that is joined to a name.
fn all_of(name: &str) -> RangeInclusive<Vec<u8>> {
    let name = name.as_bytes();
    // Longer than anything that is joined in order, and than any text: 0xFF is in none.
    [name, &[0]].concat()..=[name, &[0], &[0xFF; 17]].concat()
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(what) => Self::Damaged(what),
            redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::UpgradeRequired(_) => Self::Damaged(error.to_string()),
            // How the library says that this is no file of its own, or not all of it.
            redb::Error::Io(error)
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(error.to_string())
            }
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            error => Self::Failed(error),
        }
    }
}

macro_rules! troubles {
    ($($error:ty),*) => {$(
        impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
troubles!(StorageError, TableError, redb::TransactionError, redb::CommitError, redb::DatabaseError);
