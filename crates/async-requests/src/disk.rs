//! A store in one file.
//!
//! One thread writes: whatever was asked for while it wrote is written next, all of it with one sync. Another one reads,
//! and sees what is durable. Neither is a thread of the runtime, whose tasks they would hold up.

mod file;
mod frame;
#[cfg(test)]
mod killed;
mod opened;
mod salvage;
mod tables;
mod tally;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::SystemTime;

use tokio::sync::oneshot;

use self::file::Place;
use self::opened::{Asked, New, Opened, Opening, Under};
use self::tables::{Readable, Trouble};
use crate::record::{Key, Record, State};
use crate::store::{Change, Changed, Limits, Store, StoreError, StoreReadings, Whose, Writing};

/// Changes that share a sync. More would keep the first waiting for the work on the last.
const CHANGES_AT_ONCE: usize = 512;
/// How many times in a row opening is not tried again, at most, after it failed.
const MOST_PAUSES: u32 = 64;

/// Keeps records in the file `async-requests.redb`.
///
/// The file that cannot be written is tried again whenever the store is tended. One that could not be brought to disk is
/// not trusted any more: its records are written to a new one. One that is damaged is set aside as
/// `async-requests.redb.damaged-1`, and what can be read of it taken over.
pub struct Disk {
    work: Sender<Work>,
    questions: Sender<Question>,
    shared: Arc<Shared>,
}

/// The registry cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another gateway uses it.
    #[error(
        "another gateway uses the registry of async requests in `{directory}`: give each a `state_dir` of its own"
    )]
    InUse {
        /// The state directory.
        directory: String,
    },
    /// A newer gateway wrote it.
    #[error("the registry of async requests in `{directory}`: {trouble}")]
    Newer {
        /// The state directory.
        directory: String,
        /// What it says of itself.
        trouble: String,
    },
    /// Reading or writing failed.
    #[error("opening the registry of async requests in `{directory}`: {trouble}")]
    Failed {
        /// The state directory.
        directory: String,
        /// What went wrong.
        trouble: String,
    },
}

/// What both threads and those who ask know.
#[derive(Debug, Default)]
struct Shared {
    /// Absent while it is mended, and once it is closed.
    opened: RwLock<Option<Opened>>,
    /// What it held when it was last open.
    last_held: Mutex<StoreReadings>,
    is_writable: AtomicBool,
    /// Of those that have ended durably.
    last_position: AtomicU64,
    /// Something was read that was not what had been written.
    is_damaged: AtomicBool,
}

/// Something for the thread that writes.
enum Work {
    Change(Box<Asked>, Answer<Changed>),
    Tend(SystemTime, Answer<bool>),
    Close(Answer<()>),
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Something for the thread that reads.
type Question = Box<dyn FnOnce(&Shared) + Send>;

impl Disk {
    /// Opens the store in `directory`; makes both when they are absent.
    ///
    /// # Errors
    /// When the directory cannot be used, when another gateway uses it, or when a newer gateway wrote the store.
    pub async fn open(directory: &Path, limits: Limits) -> Result<Self, OpenError> {
        Self::open_over(directory, limits, Arc::new(|file| Box::new(file))).await
    }

    async fn open_over(directory: &Path, limits: Limits, under: Under) -> Result<Self, OpenError> {
        let at = directory.display().to_string();
        let directory = directory.to_owned();
        let (done, opened) = oneshot::channel();
        let opening = move || {
            let place = Place::in_directory(&directory).map_err(opened::failed)?;
            let opening = Opening { place, limits, under };
            let opened = opening.open()?;
            Ok((opening, opened))
        };
        spawn("registry-open", move || drop(done.send(opening())))
            .map_err(|error| OpenError::of(&at, &opened::failed(error)))?;
        let stopped = || OpenError::of(&at, &Trouble::Damaged("opening it made no sense".into()));
        let opened = opened.await.map_err(|_| stopped())?;
        let (opening, opened) = opened.map_err(|trouble| OpenError::of(&at, &trouble))?;
        Self::start(opening, opened).map_err(|error| OpenError::of(&at, &opened::failed(error)))
    }

    fn start(opening: Opening, opened: Opened) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.put(Some(opened));
        shared.is_writable.store(true, Ordering::Relaxed);
        let (work, to_do) = channel();
        let (questions, asked) = channel::<Question>();
        let reader = Arc::clone(&shared);
        spawn("registry-read", move || asked.iter().for_each(|question| question(&reader)))?;
        let mut writer = Writer {
            opening,
            shared: Arc::clone(&shared),
            is_distrusted: false,
            refused: Vec::new(),
            failures: 0,
            pauses: 0,
        };
        spawn("registry-write", move || writer.run(&to_do))?;
        Ok(Self { work, questions, shared })
    }

    fn ask<T: Send + 'static>(&self, work: impl FnOnce(Answer<T>) -> Work) -> Writing<T> {
        let (done, answer) = oneshot::channel();
        // If nobody takes it, nobody answers.
        let _ = self.work.send(work(done));
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(StoreError::stopped())) })
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Readable<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Writing<T> {
        let (done, answer) = oneshot::channel();
        let question = move |shared: &Shared| drop(done.send(shared.read(read)));
        let _ = self.questions.send(Box::new(question));
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(StoreError::stopped())) })
    }
}

impl Store for Disk {
    fn change(&self, whose: Whose, change: Change) -> Writing<Changed> {
        self.ask(|done| Work::Change(Box::new((whose, change)), done))
    }

    fn find(&self, key: Key) -> Writing<Option<Record>> {
        self.read(move |readable| readable.find(&key))
    }

    fn list(
        &self,
        app: Arc<str>,
        state: Option<State>,
        before: Option<u64>,
        most: usize,
    ) -> Writing<Vec<(u64, Record)>> {
        self.read(move |readable| readable.list(&app, state, before, most))
    }

    fn pending(&self, tenant: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.read(move |readable| readable.pending(&tenant, most))
    }

    fn outcomes(&self, app: Arc<str>, after: u64, most: usize) -> Writing<Vec<Record>> {
        self.read(move |readable| readable.outcomes(&app, after, most))
    }

    fn undelivered(&self, app: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.read(move |readable| readable.undelivered(&app, most))
    }

    fn dead_letters(&self, after: Option<Key>, most: usize) -> Writing<Vec<Record>> {
        self.read(move |readable| readable.dead_letters(after.as_ref(), most))
    }

    fn tend(&self, ended_before: SystemTime) -> Writing<bool> {
        self.ask(|done| Work::Tend(ended_before, done))
    }

    fn readings(&self) -> StoreReadings {
        let is_writable = self.shared.is_writable.load(Ordering::Relaxed);
        let last_position = self.shared.last_position.load(Ordering::Acquire);
        let opened = self.shared.opened.read().unwrap_or_else(PoisonError::into_inner);
        let held = opened.as_ref().map_or_else(|| self.shared.last_held(), Opened::held);
        StoreReadings { is_writable, last_position, ..held }
    }

    fn close(&self) -> Writing<()> {
        self.ask(Work::Close)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Shared {
    fn put(&self, opened: Option<Opened>) {
        if let Some(opened) = &opened {
            self.has_ended(opened.tally().last_position);
        }
        let mut place = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*place {
            *self.last_held.lock().unwrap_or_else(PoisonError::into_inner) = before.held();
        }
        let before = std::mem::replace(&mut *place, opened);
        drop(place);
        // It is closed only after nobody can see it, and before anything else is opened. Nobody waits for that.
        drop(before);
    }

    fn last_held(&self) -> StoreReadings {
        self.last_held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_ended(&self, position: u64) {
        self.last_position.fetch_max(position, Ordering::Release);
    }

    fn with<T>(&self, act: impl FnOnce(&Opened) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = &*opened else { return Err(StoreError::unusable()) };
        act(opened).map_err(|trouble| {
            if let Trouble::Damaged(_) = trouble {
                self.is_damaged.store(true, Ordering::Relaxed);
            }
            StoreError(trouble.to_string().into())
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Readable<'_>) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let read = self.with(|opened| opened.read(read));
        if self.is_damaged.load(Ordering::Relaxed) {
            // To be mended when the store is tended next.
            self.is_writable.store(false, Ordering::Relaxed);
        }
        read
    }
}

/// The thread that writes.
struct Writer {
    opening: Opening,
    shared: Arc<Shared>,
    /// The file could not be brought to disk once: only its records are of use.
    is_distrusted: bool,
    /// What was to begin when writing failed, and may be in the file nevertheless.
    refused: Vec<New>,
    /// How often in a row opening it again has failed.
    failures: u32,
    /// How often it is not tried before it is tried again.
    pauses: u32,
}

impl Writer {
    /// Works until it is told to close the store, or nobody is left to ask for anything.
    fn run(&mut self, work: &Receiver<Work>) {
        let mut next = work.recv().ok();
        while let Some(now) = next.take() {
            match now {
                Work::Change(asked, done) => {
                    let mut some = vec![(asked, done)];
                    while some.len() < CHANGES_AT_ONCE && next.is_none() {
                        match work.try_recv() {
                            Ok(Work::Change(asked, done)) => some.push((asked, done)),
                            Ok(other) => next = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.change(some);
                }
                Work::Tend(ended_before, done) => drop(done.send(self.tend(ended_before))),
                Work::Close(done) => {
                    drop(done.send(self.close()));
                    return;
                }
            }
            next = next.or_else(|| work.recv().ok());
        }
        // Whatever is wrong with it has no reader.
        let _ = self.close();
    }

    fn change(&mut self, some: Vec<(Box<Asked>, Answer<Changed>)>) {
        let (asked, done): (Vec<_>, Vec<_>) =
            some.into_iter().map(|(asked, done)| (*asked, done)).unzip();
        let mut new = Vec::new();
        let changed = self.writing(|opened| opened.change(asked, &mut new));
        match changed {
            Ok(changed) => {
                for changed in &changed {
                    if let Ok(Changed::Made(Some(record))) = changed {
                        self.shared.has_ended(record.position.unwrap_or(0));
                    }
                }
                for (changed, done) in changed.into_iter().zip(done) {
                    let refused = |why| StoreError(Trouble::Unfit(why).to_string().into());
                    let _ = done.send(changed.map_err(refused));
                }
            }
            Err(error) => {
                self.refused.append(&mut new);
                for done in done {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    fn tend(&mut self, ended_before: SystemTime) -> Result<bool, StoreError> {
        if !self.shared.is_writable.load(Ordering::Relaxed) {
            self.mend()?;
        }
        self.writing(|opened| opened.forget(ended_before))
    }

    /// Writes, unless writing has failed and the file was not opened again since.
    fn writing<T>(
        &self,
        write: impl FnOnce(&Opened) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        if !self.shared.is_writable.load(Ordering::Relaxed) {
            return Err(StoreError::unusable());
        }
        let written = self.shared.with(write);
        if let Err(trouble) = &written {
            self.shared.is_writable.store(false, Ordering::Relaxed);
            tracing::error!(%trouble, "async requests are not taken until the registry works again");
        }
        written
    }

    /// Opens the file again, or another one in its place.
    fn mend(&mut self) -> Result<(), StoreError> {
        if self.pauses > 0 {
            self.pauses -= 1;
            return Err(StoreError::unusable());
        }
        // It stays so until it is mended, however often that fails.
        let has_lost_a_sync = |opened: &Opened| Ok(opened.watch().has_lost_a_sync());
        self.is_distrusted |= self.shared.with(has_lost_a_sync).unwrap_or(false);
        self.shared.put(None);
        let ended = self.shared.last_position.load(Ordering::Acquire);
        let mended = if self.shared.is_damaged.load(Ordering::Relaxed) {
            self.opening.salvage("something else was read than was written", ended)
        } else if self.is_distrusted {
            self.opening.rewrite(ended)
        } else {
            self.opening.open()
        };
        // Nobody sends them, and their track ids are free.
        let mended = mended.and_then(|opened| opened.remove(&self.refused).map(|()| opened));
        match mended {
            Ok(opened) => {
                self.refused.clear();
                self.shared.put(Some(opened));
                self.shared.is_damaged.store(false, Ordering::Relaxed);
                self.shared.is_writable.store(true, Ordering::Relaxed);
                self.is_distrusted = false;
                self.failures = 0;
                tracing::warn!("the registry of async requests works again");
                Ok(())
            }
            Err(trouble) => {
                self.failures = self.failures.saturating_add(1);
                self.pauses = 2_u32.saturating_pow(self.failures - 1).min(MOST_PAUSES) - 1;
                tracing::error!(%trouble, "the registry of async requests cannot be opened again");
                Err(StoreError(trouble.to_string().into()))
            }
        }
    }

    fn close(&self) -> Result<(), StoreError> {
        self.shared.is_writable.store(false, Ordering::Relaxed);
        let opened = self.shared.opened.write().unwrap_or_else(PoisonError::into_inner).take();
        let closed = opened.map_or(Ok(()), Opened::close);
        closed.map_err(|trouble| StoreError(trouble.to_string().into()))
    }
}

impl StoreError {
    fn unusable() -> Self {
        Self("it could not be written, and is not open again yet".into())
    }
}

impl OpenError {
    fn of(directory: &str, trouble: &Trouble) -> Self {
        let (directory, told) = (directory.to_owned(), trouble.to_string());
        match trouble {
            Trouble::InUse => Self::InUse { directory },
            Trouble::Newer(_) => Self::Newer { directory, trouble: told },
            Trouble::Damaged(_) | Trouble::Unfit(_) | Trouble::Failed(_) => {
                Self::Failed { directory, trouble: told }
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}
