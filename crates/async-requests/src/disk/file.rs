//! The file under the store: what goes wrong with it, and how its parts are replaced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// What is known of a file that is in use.
#[derive(Debug, Default)]
pub(super) struct Watch {
    bytes: AtomicU64,
    has_lost_a_sync: AtomicBool,
}

impl Watch {
    /// How long the file is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the system ever said that it could not bring the file to disk. What is in its cache since then may never
    /// get there, although it can be read and later calls succeed: the file is not to be written any more.
    pub(super) fn has_lost_a_sync(&self) -> bool {
        self.has_lost_a_sync.load(Ordering::Relaxed)
    }
}

/// Storage that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    storage: Box<dyn StorageBackend>,
    watch: Arc<Watch>,
}

impl Watched {
    pub(super) fn new(storage: Box<dyn StorageBackend>, watch: Arc<Watch>) -> io::Result<Self> {
        watch.bytes.store(storage.len()?, Ordering::Relaxed);
        Ok(Self { storage, watch })
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.set_len(len)?;
        self.watch.bytes.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.storage.sync_data();
        if synced.is_err() {
            self.watch.has_lost_a_sync.store(true, Ordering::Relaxed);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.storage.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.storage.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.storage.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.query_lock_range(start, end)
    }
}

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    directory: PathBuf,
}

impl Place {
    /// Makes the directory, for its owner alone, if it is absent.
    pub(super) fn in_directory(directory: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The store.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join("async-requests.redb")
    }

    /// What will be the store once it is complete.
    pub(super) fn successor(&self) -> PathBuf {
        self.directory.join("async-requests.redb.new")
    }

    /// Opens the store's file, or makes it; durably.
    pub(super) fn open(&self) -> io::Result<FileBackend> {
        let backend = open(&self.file())?;
        self.sync()?;
        Ok(backend)
    }

    /// Begins a file that is to succeed the store.
    pub(super) fn begin_successor(&self) -> io::Result<FileBackend> {
        self.drop_successor()?;
        open(&self.successor())
    }

    /// Removes what was begun and is not going to be complete.
    pub(super) fn drop_successor(&self) -> io::Result<()> {
        match fs::remove_file(self.successor()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Puts a complete successor in the place of the store, in one step.
    pub(super) fn succeed(&self) -> io::Result<()> {
        fs::rename(self.successor(), self.file())?;
        self.sync()
    }

    /// Gives the store's file another name, by which it stays when it is succeeded.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        for number in 1_u32.. {
            let aside = self.directory.join(format!("async-requests.redb.damaged-{number}"));
            match fs::hard_link(self.file(), &aside) {
                Ok(()) => return Ok(aside),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// A file's name is durable once its directory is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

fn open(path: &Path) -> io::Result<FileBackend> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    FileBackend::new(file).map_err(io::Error::other)
}
