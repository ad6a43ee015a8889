//! What goes wrong with files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use tokio::task::JoinSet;

use super::frame::Framed;
use crate::disk::OpenError;
use crate::testing::*;
use crate::{Disk, Limits, Memory, NotBegun, Outcome, Record, Registry, State, Taken};

const LIMITS: Limits =
    Limits { keep: Duration::from_secs(3600), max_records: 10_000, max_pending: 10_000 };

async fn open(directory: &Path) -> Arc<Registry> {
    Registry::new(Disk::open(directory, LIMITS).await.unwrap())
}

fn file(directory: &Path) -> PathBuf {
    directory.join("async-requests.redb")
}

/// What would be found after the process had been killed now.
fn copy(directory: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    fs::copy(file(directory), file(copied.path())).unwrap();
    copied
}

/// Everything that is known of an app's requests.
async fn all(registry: &Arc<Registry>) -> Vec<Record> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let listed = registry.list(&"batch".into(), None, before, 10_000).await.unwrap();
        let Some((last, _)) = listed.last() else { return all };
        before = Some(*last);
        all.extend(listed.into_iter().map(|(_, record)| record));
    }
}

/// Some requests of every state.
async fn fill(registry: &Arc<Registry>, prefix: &str, count: usize) {
    let mut begun = JoinSet::new();
    for number in 0..count {
        let (registry, track_id) = (Arc::clone(registry), format!("{prefix}{number}"));
        begun.spawn(async move {
            match number % 4 {
                0 => drop(registry.sent(named(&track_id)).await),
                1 => registry.taken("batch", &track_id).await,
                2 => drop(registry.done("batch", &track_id).await),
                _ => {
                    registry.taken("batch", &track_id).await;
                    registry.give_up(&key(&track_id)).await.unwrap();
                }
            }
        });
    }
    begun.join_all().await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    registry.forward_to(["batch".into()]);
    fill(&registry, "a", 40).await;
    let (before, readings) = (all(&registry).await, registry.readings());

    let killed = copy(directory.path());
    registry.close().await.unwrap();
    for directory in [killed.path(), directory.path()] {
        let again = open(directory).await;

        assert_eq!(all(&again).await, before);
        assert_eq!(again.readings().apps, readings.apps);
        assert_eq!(again.last_position(), readings.last_position);
        assert_eq!(again.undelivered(&"batch".into(), 99).await.unwrap().len(), 20);
        let taken = again.tell(told(Some("r-a1"), None, succeeded("1"))).await;
        assert!(matches!(taken, Taken::News(it) if it.position > Some(readings.last_position)));
    }
}

#[tokio::test]
async fn long_outcomes_are_read_a_few_at_a_time_and_all_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    let lengths = [60, 60, 60, 60, 60, 300, 60].map(|kilobytes| kilobytes * 1024);
    for (number, length) in lengths.into_iter().enumerate() {
        registry.taken("batch", &format!("a{number}")).await;
        let outcome = failed(&"x".repeat(length));
        registry.tell(told(Some(&format!("r-a{number}")), None, outcome)).await;
    }

    let (mut sizes, mut read, mut position) = (Vec::new(), Vec::new(), 0);
    loop {
        let some = registry.outcomes_after(&"batch".into(), position, 50).await.unwrap();
        let Some(last) = some.last() else { break };
        position = last.position.unwrap();
        sizes.push(some.len());
        read.extend(some);
    }
    let listed = registry.list(&"batch".into(), None, None, 50).await.unwrap();

    assert_eq!(track_ids(&read), ["a0", "a1", "a2", "a3", "a4", "a5", "a6"]);
    assert_eq!((sizes, listed.len()), (vec![4, 1, 1, 1], 1));
    assert_eq!(all(&registry).await.len(), 7);
}

#[tokio::test]
async fn nothing_can_be_asked_of_a_closed_one() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;

    registry.close().await.unwrap();

    assert!(registry.find(&key("a")).await.is_err());
    assert!(matches!(registry.begin(named("a")).await, Err(NotBegun::Unstorable(_))));
    assert!(!registry.readings().is_writable);
}

#[tokio::test]
async fn the_files_are_their_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path().join("new/state");

    let _registry = open(&state_dir).await;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state_dir), mode(&file(&state_dir))), (0o700, 0o600));
}

#[tokio::test]
async fn a_second_gateway_does_not_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;

    let second = Disk::open(directory.path(), LIMITS).await;

    let error = second.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
    registry.taken("batch", "a").await;
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await.unwrap();
    {
        let database = redb::Database::open(file(directory.path())).unwrap();
        let transaction = database.begin_write().unwrap();
        let about = redb::TableDefinition::<&str, u64>::new("about");
        transaction.open_table(about).unwrap().insert("format", 2).unwrap();
        transaction.commit().unwrap();
    }

    let error = Disk::open(directory.path(), LIMITS).await.unwrap_err();

    assert!(matches!(error, OpenError::Newer { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let again = Disk::open(directory.path(), LIMITS).await.unwrap_err();
    assert!(again.to_string().contains("its format is 2"), "{again}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();

    let error = Disk::open(&path, LIMITS).await.unwrap_err();

    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

/// Opens what is left of a registry with `before` in it, and checks that all that is found is as it was, or had been.
async fn check_salvage(
    directory: &Path,
    before: &BTreeMap<String, Record>,
    context: &str,
) -> usize {
    let registry = open(directory).await;
    let mut unchanged = 0;
    for record in &all(&registry).await {
        let was = before.get(&*record.key.track_id);
        let was = was.unwrap_or_else(|| panic!("{context}: {} was made up", record.key.track_id));
        // Steps back are possible, inventions are not.
        let is_earlier = record.state.is_pending() || record.state == State::Unknown;
        assert!(record == was || is_earlier, "{context}: {record:?} was {was:?}");
        unchanged += usize::from(record == was);
    }
    // It works.
    registry.done("batch", "afterwards").await;
    registry.close().await.unwrap();
    unchanged
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_set_aside_and_what_is_left_of_it_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    fill(&registry, "a", 200).await;
    let before = all(&registry).await.into_iter();
    let before: BTreeMap<_, _> = before.map(|it| (it.key.track_id.to_string(), it)).collect();
    registry.close().await.unwrap();
    let bytes = fs::read(file(directory.path())).unwrap();

    let mut left_of = Vec::new();
    for eighths in [0, 1, 3, 5, 7] {
        let cut = tempfile::tempdir().unwrap();
        let length = bytes.len() * eighths / 8;
        fs::write(file(cut.path()), &bytes[..length]).unwrap();

        left_of.push(check_salvage(cut.path(), &before, &format!("{eighths}/8")).await);

        let aside = cut.path().join("async-requests.redb.damaged-1");
        if eighths > 0 {
            assert_eq!(fs::read(aside).unwrap().len(), length);
        }
    }

    assert_eq!(left_of[0], 0);
    assert!(left_of.is_sorted(), "{left_of:?}");
    assert!(left_of[4] > 100, "{left_of:?}");
}

#[tokio::test]
async fn damage_anywhere_loses_no_more_than_what_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    fill(&registry, "a", 60).await;
    // Damage to what was written last looks like a kill amid writing it, where the file was not closed.
    registry.done("batch", "last").await;
    let before = all(&registry).await.into_iter();
    let before: BTreeMap<_, _> = before.map(|it| (it.key.track_id.to_string(), it)).collect();
    let killed = copy(directory.path());
    registry.close().await.unwrap();

    for (how, source) in [("closed", directory.path()), ("killed", killed.path())] {
        let bytes = fs::read(file(source)).unwrap();
        for page in (0..bytes.len()).step_by(4096 * 11) {
            let damaged = tempfile::tempdir().unwrap();
            let mut bytes = bytes.clone();
            let end = (page + 300).min(bytes.len());
            bytes[page..end].fill(0xA5);
            fs::write(file(damaged.path()), &bytes).unwrap();

            let unchanged = check_salvage(damaged.path(), &before, &format!("{how} {page}")).await;

            // 300 bytes are part of two records at most.
            let count = before.len();
            assert!(unchanged >= count - 3, "{how} {page}: {unchanged} of {count}");
        }
    }
}

#[tokio::test]
async fn damage_that_is_met_while_it_works_is_mended_when_the_store_is_tended() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    fill(&registry, "a", 40).await;
    let before = all(&registry).await;
    let done = registry.done("batch", "done").await;
    registry.close().await.unwrap();
    let path = file(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    // A byte in the middle of an ended record, in every copy of it that there may be.
    let text = b"\"data\":{\"id\":\"done\"}";
    let places = memchr::memmem::find_iter(&bytes, text).collect::<Vec<_>>();
    places.iter().for_each(|at| bytes[at + 15] ^= 1);
    fs::write(&path, bytes).unwrap();
    let registry = open(directory.path()).await;

    let read = registry.find(&done.key).await;
    let begun = registry.begin(named("b")).await;
    registry.tend(LIMITS.keep).await;

    assert!(read.is_err(), "{read:?}");
    assert!(matches!(begun, Err(NotBegun::Unstorable(_))), "{begun:?}");
    // What was written before the outcome may still have been there.
    assert!(registry.known("done").await.is_none_or(|it| it.state.is_pending()));
    let mut others = all(&registry).await;
    others.retain(|it| *it.key.track_id != *"done");
    assert_eq!(others, before);
    registry.done("batch", "b").await;
    assert!(directory.path().join("async-requests.redb.damaged-1").exists());
}

/// What a test does to a file.
#[derive(Debug)]
struct Faults {
    /// So long may the file be.
    quota: AtomicU64,
    no_sync: AtomicBool,
    syncs: AtomicU64,
    /// Closing it takes as long as this is held.
    closing: Mutex<()>,
}

impl Default for Faults {
    fn default() -> Self {
        let (no_sync, syncs) = (AtomicBool::default(), AtomicU64::default());
        Self { quota: AtomicU64::new(u64::MAX), no_sync, syncs, closing: Mutex::default() }
    }
}

#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl Faulty {
    fn room_for(&self, end: u64) -> io::Result<()> {
        let is_full = end > self.faults.quota.load(Ordering::SeqCst);
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.file.len()? {
            self.room_for(len)?;
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if self.faults.no_sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is on fire"));
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room_for(offset + data.len() as u64)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        drop(self.faults.closing.lock());
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

async fn open_over(directory: &Path, faults: &Arc<Faults>) -> Arc<Registry> {
    let faults = Arc::clone(faults);
    let under = Arc::new(move |file| -> Box<dyn StorageBackend> {
        Box::new(Faulty { file, faults: Arc::clone(&faults) })
    });
    Registry::new(Disk::open_over(directory, LIMITS, under).await.unwrap())
}

#[tokio::test]
async fn what_is_asked_for_at_once_shares_a_sync() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let registry = open_over(directory.path(), &faults).await;
    let before = faults.syncs.load(Ordering::SeqCst);

    let mut begun = JoinSet::new();
    for number in 0..300 {
        let registry = Arc::clone(&registry);
        begun.spawn(async move { drop(registry.sent(named(&format!("a{number}"))).await) });
    }
    begun.join_all().await;

    let syncs = faults.syncs.load(Ordering::SeqCst) - before;
    assert!((1..=20).contains(&syncs), "{syncs} syncs for 300 requests");
    let killed = copy(directory.path());
    assert_eq!(all(&open(killed.path()).await).await.len(), 300);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_forgets_nothing_and_recovers_by_itself() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let registry = open_over(directory.path(), &faults).await;
    registry.taken("batch", "early").await;
    faults.quota.store(fs::metadata(file(directory.path())).unwrap().len(), Ordering::SeqCst);

    let mut begun = vec!["early".to_owned()];
    let refused = loop {
        let track_id = format!("a{}", begun.len());
        match registry.begin(named(&track_id)).await {
            Ok(_) => begun.push(track_id),
            Err(refused) => break refused,
        }
        assert!(begun.len() < 100_000, "the disk is never full");
    };
    let report = || told(Some("r-early"), None, succeeded("1"));
    let told_then = registry.take_in(&TENANT.into(), report()).await;
    registry.tend(LIMITS.keep).await;
    faults.quota.store(u64::MAX, Ordering::SeqCst);
    registry.tend(LIMITS.keep).await;
    registry.tend(LIMITS.keep).await;

    assert!(matches!(refused, NotBegun::Unstorable(_)), "{refused}");
    assert!(told_then.is_err(), "{told_then:?}");
    let listed = all(&registry).await;
    begun.reverse();
    assert_eq!(track_ids(&listed), begun);
    assert!(matches!(registry.tell(report()).await, Taken::News(_)));
    registry.done("batch", "late").await;
}

#[tokio::test]
async fn a_file_that_did_not_get_to_disk_is_replaced_by_another() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let registry = open_over(directory.path(), &faults).await;
    fill(&registry, "a", 40).await;
    let before = all(&registry).await;
    let old = fs::metadata(file(directory.path())).unwrap().ino();

    faults.no_sync.store(true, Ordering::SeqCst);
    let refused = registry.begin(named("b")).await;
    let after = registry.begin(named("c")).await;
    registry.tend(LIMITS.keep).await;
    let still = registry.begin(named("d")).await;
    faults.no_sync.store(false, Ordering::SeqCst);
    registry.tend(LIMITS.keep).await;
    registry.tend(LIMITS.keep).await;

    for refused in [refused, after, still] {
        assert!(matches!(refused, Err(NotBegun::Unstorable(_))), "{refused:?}");
    }
    assert_ne!(fs::metadata(file(directory.path())).unwrap().ino(), old);
    assert!(!directory.path().join("async-requests.redb.new").exists());
    // What was refused had come to the file, if not to disk: nobody sends it, and its track id is free.
    assert_eq!(all(&registry).await, before);
    assert_eq!(registry.readings().records, before.len() as u64);
    registry.done("batch", "b").await;
    registry.done("batch", "e").await;
    registry.close().await.unwrap();
    assert_eq!(open(directory.path()).await.known("e").await.unwrap().state, State::Succeeded);
}

#[tokio::test]
async fn of_two_requests_with_one_track_id_salvage_finds_the_later() {
    let memory = Registry::new(Memory::default());
    drop(memory.sent(named("a")).await);
    let ghost = Framed { number: 1, revision: 1, record: memory.known("a").await.unwrap() };
    let real =
        Record { state: State::Accepted, zuora_id: Some("r".into()), ..ghost.record.clone() };
    let real = Framed { number: 2, revision: 2, record: real };
    for frames in [[&ghost, &real], [&real, &ghost]] {
        let directory = tempfile::tempdir().unwrap();
        let bytes = frames.map(|frame| frame.to_bytes().unwrap()).concat();
        fs::write(file(directory.path()), bytes).unwrap();

        let registry = open(directory.path()).await;

        assert_eq!(registry.known("a").await.unwrap(), real.record);
        assert_eq!(registry.readings().records, 1);
        let taken = registry.tell(told(None, Some("a"), succeeded("1"))).await;
        assert!(matches!(taken, Taken::News(it) if it.zuora_id.as_deref() == Some("r")));
    }
}

#[tokio::test]
async fn what_it_holds_is_told_also_while_it_is_mended() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let registry = open_over(directory.path(), &faults).await;
    registry.taken("batch", "a").await;
    let before = registry.readings();
    faults.no_sync.store(true, Ordering::SeqCst);
    assert!(registry.begin(named("b")).await.is_err());
    faults.no_sync.store(false, Ordering::SeqCst);

    let readings = {
        let closing = Arc::clone(&faults);
        let (held, is_held) = std::sync::mpsc::channel();
        let (free, is_free) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let _closing = closing.closing.lock();
            held.send(()).unwrap();
            let _ = is_free.recv_timeout(Duration::from_secs(60));
        });
        is_held.recv().unwrap();
        let tending = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.tend(LIMITS.keep).await }
        });
        // The old file is being closed by now, or will be soon.
        let mut readings = Vec::new();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let registry = Arc::clone(&registry);
            let reading = tokio::task::spawn_blocking(move || registry.readings());
            readings.push(tokio::time::timeout(Duration::from_secs(1), reading).await);
            if readings.last().is_some_and(Result::is_err) {
                break;
            }
        }
        drop(free);
        tending.await.unwrap();
        readings
    };

    for reading in readings {
        let reading = reading.expect("reading waits for the disk").unwrap();
        // The refused one may still count.
        assert!(matches!(&*reading.apps, [app] if app.pending >= 1), "{reading:?}");
        assert!(!reading.is_writable);
    }
    assert_eq!(registry.readings().apps, before.apps);
}

#[tokio::test]
async fn a_position_is_not_given_out_twice_though_all_that_ended_is_forgotten() {
    let (directory, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let registry = open_over(directory.path(), &faults).await;
    let first = registry.done("batch", "a").await.position;
    tokio::time::sleep(Duration::from_millis(5)).await;
    registry.tend(Duration::ZERO).await;
    assert_eq!(registry.known("a").await, None);
    faults.no_sync.store(true, Ordering::SeqCst);
    assert!(registry.begin(named("b")).await.is_err());
    faults.no_sync.store(false, Ordering::SeqCst);
    registry.tend(LIMITS.keep).await;

    let second = registry.done("batch", "c").await.position;

    assert!(second > first, "{second:?} after {first:?}");
    assert_eq!(registry.last_position(), second.unwrap());
}

#[tokio::test]
async fn where_nothing_is_to_be_forgotten_only_the_first_that_ended_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    registry.done("batch", "early").await;
    registry.done("batch", "done").await;
    registry.close().await.unwrap();
    let path = file(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    let text = b"\"data\":{\"id\":\"done\"}";
    let places = memchr::memmem::find_iter(&bytes, text).collect::<Vec<_>>();
    places.iter().for_each(|at| bytes[at + 15] ^= 1);
    fs::write(&path, bytes).unwrap();
    let registry = open(directory.path()).await;

    registry.tend(LIMITS.keep).await;

    assert!(registry.readings().is_writable, "it read what is damaged");
    tokio::time::sleep(Duration::from_millis(5)).await;
    registry.tend(Duration::ZERO).await;
    assert!(!registry.readings().is_writable);
}

#[tokio::test]
async fn how_many_ended_as_unknown_is_known_right_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    registry.forward_to(["batch".into()]);
    for track_id in ["a", "b", "c"] {
        registry.taken("batch", track_id).await;
        registry.give_up(&key(track_id)).await.unwrap();
    }
    registry.taken("batch", "d").await;
    // The outcome of one comes after all, and that of another cannot be forwarded.
    registry.tell(told(Some("r-a"), None, succeeded("1"))).await;
    loop {
        let unknown = registry.known("b").await.unwrap();
        if registry.not_delivered(&unknown, "no", 0.0).await.unwrap().is_dead() {
            break;
        }
    }

    let counts = |registry: &Arc<Registry>| {
        let apps = registry.readings().apps;
        apps.iter().map(|it| (it.pending, it.unknown, it.dead_letters)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&registry), [(1, 2, 1)]);
    let killed = copy(directory.path());
    let again = open(killed.path()).await;
    assert_eq!(counts(&again), [(1, 2, 1)]);
    again.tell(told(Some("r-b"), None, succeeded("1"))).await;
    again.tell(told(Some("r-c"), None, succeeded("1"))).await;
    assert_eq!(counts(&again), [(1, 0, 0)]);
}

/// An object in an object, `levels` of them.
fn nested(levels: usize) -> Outcome {
    let text = [r#"{"a":"#.repeat(levels), "1".to_owned(), "}".repeat(levels)].concat();
    Outcome::Succeeded { data: serde_json::from_str(&text).unwrap() }
}

#[tokio::test]
async fn what_could_not_be_read_again_is_refused_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path()).await;
    for track_id in ["deep", "long", "other"] {
        registry.taken("batch", track_id).await;
    }
    let long = failed(&"x".repeat(17 * 1024 * 1024));
    let tell = |track_id: &str, outcome| {
        let (registry, report) = (Arc::clone(&registry), told(None, Some(track_id), outcome));
        async move { registry.take_in(&TENANT.into(), report).await }
    };

    let (deep, long, other) =
        tokio::join!(tell("deep", nested(126)), tell("long", long), tell("other", nested(60)));

    assert!(deep.unwrap_err().to_string().contains("could not be read again"));
    assert!(long.unwrap_err().to_string().contains("may have"));
    assert!(matches!(other, Ok(Taken::News(it)) if it.outcome == Some(nested(60))));
    assert!(registry.readings().is_writable);
    for track_id in ["deep", "long"] {
        assert_eq!(registry.known(track_id).await.unwrap().state, State::Accepted);
        let taken = registry.tell(told(None, Some(track_id), succeeded("1"))).await;
        assert!(matches!(taken, Taken::News(_)));
    }
    registry.close().await.unwrap();
    assert_eq!(all(&open(directory.path()).await).await.len(), 3);
    assert!(!directory.path().join("async-requests.redb.damaged-1").exists());
}
