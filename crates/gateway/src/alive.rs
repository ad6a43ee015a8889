//! Whether an earlier life of the gateway ended without draining.
//!
//! A gateway that is killed leaves calls behind, which Zuora works on for up to two minutes. Its next life would use
//! permits that these calls still hold. So each process keeps a marker in the state directory that says when it was
//! last alive, and takes it away once all its calls have ended.
//!
//! A marker belongs to one process, and is locked by it: several gateways may have one state directory, and each can
//! tell those that live from those that died.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use admission::Start;
use proxy::LONGEST_WORK;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Duration, MissedTickBehavior, interval};

/// What the names of markers begin with.
const PREFIX: &str = "alive.";

/// How often a life is told of.
const BEAT: Duration = Duration::from_secs(5);

/// How long after the last sign of life calls may still be at Zuora: one may have been sent just before the next sign.
const WINDOW: Duration = LONGEST_WORK.saturating_add(BEAT);

/// This life, told of every few seconds. If it is dropped and not [ended](Alive::end), the marker stays.
#[derive(Debug)]
pub(crate) struct Alive {
    end: oneshot::Sender<()>,
    beating: JoinHandle<()>,
}

/// What is found of other lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// It goes on.
    Lives,
    /// It ended this long ago, and not well.
    Died(Duration),
}

/// Begins to tell of this life, and says how much may be used at first, given what earlier lives left behind.
///
/// A state directory that cannot be used is no reason not to serve: what is lost is told.
pub(crate) fn begin(state_dir: &Path) -> (Option<Alive>, Start) {
    // Ours is there before we look at others: of two that begin at once, one at least sees the other.
    let ours = mark(state_dir).map_err(|error| {
        tracing::warn!(
            %error,
            state_dir = %state_dir.display(),
            "cannot write in `state_dir`: should this gateway be killed, the next one will not know, and may pass \
             Zuora's limit by the calls that are left behind"
        );
    });
    let ours = ours.ok();
    let start = judge(&look(state_dir, ours.as_ref().map(|(marker, _)| marker.as_path())));
    let alive = ours.map(|(marker, file)| {
        let (end, ended) = oneshot::channel();
        Alive { end, beating: tokio::spawn(beat(marker, file, ended)) }
    });
    (alive, start)
}

impl Alive {
    /// Ends this life well: nothing of it is at Zuora any more.
    pub(crate) async fn end(self) {
        if self.end.send(()).is_ok() {
            let _ = self.beating.await;
        }
    }
}

/// How much may be used at first.
fn judge(traces: &[Trace]) -> Start {
    let lives = traces.contains(&Trace::Lives);
    let died = traces.iter().filter_map(|trace| match trace {
        Trace::Died(ago) if *ago < WINDOW => Some(*ago),
        Trace::Died(_) | Trace::Lives => None,
    });
    let last = died.min();
    if lives {
        tracing::warn!(
            "another gateway lives with the same `state_dir`. Each keeps the limits by itself: if they serve the same \
             tenants, together they may pass them. Capacity begins low"
        );
        return Start::Cautious(WINDOW);
    }
    match last {
        None => Start::Full,
        Some(ago) => {
            let left = WINDOW - ago;
            tracing::warn!(
                last_alive_s = ago.as_secs(),
                cautious_s = left.as_secs(),
                "an earlier life of this gateway ended without draining: calls of it may still be at Zuora. Capacity \
                 begins low, and grows as Zuora shows that there is room"
            );
            Start::Cautious(left)
        }
    }
}

/// What other lives have left in the directory. Traces that are too old to matter are removed.
fn look(state_dir: &Path, ours: Option<&Path>) -> Vec<Trace> {
    let Ok(entries) = fs::read_dir(state_dir) else { return Vec::new() };
    let markers = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(PREFIX.as_bytes()) && Some(path.as_path()) != ours
    });
    let read = |path: PathBuf| {
        let trace = trace(&path).ok()?;
        if matches!(trace, Trace::Died(ago) if ago >= WINDOW) {
            // Whoever else starts now may be doing the same.
            let _ = fs::remove_file(path);
        }
        Some(trace)
    };
    markers.filter_map(read).collect()
}

fn trace(path: &Path) -> io::Result<Trace> {
    let file = File::open(path)?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Ok(Trace::Lives);
    }
    // A moment in the future is no age: the clock was set back.
    let ago = SystemTime::now().duration_since(file.metadata()?.modified()?);
    Ok(Trace::Died(ago.unwrap_or_default()))
}

/// Makes a marker of our own.
fn mark(state_dir: &Path) -> io::Result<(PathBuf, File)> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    // Process ids are the same in every container.
    let marker = state_dir.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
    let file = create(&marker)?;
    Ok((marker, file))
}

fn create(marker: &Path) -> io::Result<File> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(marker)?;
    // Where there are no locks, the age has to do.
    let _ = file.try_lock();
    writeln!(file, "process {}", std::process::id())?;
    Ok(file)
}

/// Tells of this life again and again, until it ends well or nobody can tell how it ends.
async fn beat(marker: PathBuf, file: File, mut ended: oneshot::Receiver<()>) {
    let mut file = Some(file);
    let mut is_told = false;
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            well = &mut ended => return if well.is_ok() { remove(marker).await },
            _ = beats.tick() => {}
        }
        let (held, ours) = (file.take(), marker.clone());
        let Ok((kept, told)) = spawn_blocking(move || touch(&ours, held)).await else { return };
        file = kept;
        if let Err(error) = &told
            && !is_told
        {
            tracing::warn!(
                %error,
                "cannot tell in `state_dir` any more that this gateway lives: should it be killed, the next one may \
                 pass Zuora's limit"
            );
        }
        is_told = told.is_err();
    }
}

async fn remove(marker: PathBuf) {
    if let Ok(Err(error)) = spawn_blocking(move || fs::remove_file(marker)).await {
        tracing::warn!(
            %error,
            "cannot tell in `state_dir` that all calls have ended: the next start will be cautious"
        );
    }
}

/// Says that we live now, with a new marker if somebody has taken ours away.
fn touch(marker: &Path, held: Option<File>) -> (Option<File>, io::Result<()>) {
    let held = held.filter(|_| marker.exists());
    match held.map_or_else(|| create(marker), Ok) {
        Err(error) => (None, Err(error)),
        Ok(file) => {
            let told = file.set_modified(SystemTime::now());
            (Some(file), told)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves a marker of a life that ended this long ago.
    fn died(directory: &Path, name: &str, ago: Duration) {
        let file = create(&directory.join(format!("{PREFIX}{name}"))).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    fn markers(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    /// Whether this is what is left of the window after `ago`, give or take what the test took.
    #[track_caller]
    fn check_cautious(start: Start, ago: Duration) {
        let Start::Cautious(left) = start else { panic!("{start:?}") };
        let expected = WINDOW - ago;
        assert!(
            left <= expected && left + Duration::from_secs(2) > expected,
            "{left:?} of {expected:?}"
        );
    }

    #[tokio::test]
    async fn the_first_life_begins_in_full_and_so_does_one_after_a_good_end() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");

        let (alive, start) = begin(&state_dir);
        assert_eq!((start, markers(&state_dir)), (Start::Full, 1));
        alive.unwrap().end().await;

        assert_eq!(markers(&state_dir), 0);
        assert_eq!(begin(&state_dir).1, Start::Full);
    }

    #[tokio::test]
    async fn a_life_that_ended_badly_makes_the_next_ones_cautious_for_the_rest_of_the_time() {
        let directory = tempfile::tempdir().unwrap();
        died(directory.path(), "long-ago", Duration::from_secs(100));
        died(directory.path(), "lately", Duration::from_secs(30));

        let (alive, start) = begin(directory.path());
        check_cautious(start, Duration::from_secs(30));
        // Its own good end says nothing about those before it.
        alive.unwrap().end().await;
        assert_eq!(markers(directory.path()), 2);

        check_cautious(begin(directory.path()).1, Duration::from_secs(30));
    }

    #[tokio::test]
    async fn what_ended_long_ago_is_over_and_cleared_away() {
        let directory = tempfile::tempdir().unwrap();
        died(directory.path(), "dead", WINDOW);
        fs::write(directory.path().join("signing.key"), "").unwrap();

        let (_alive, start) = begin(directory.path());

        assert_eq!((start, markers(directory.path())), (Start::Full, 2));
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_no_one_bold() {
        let directory = tempfile::tempdir().unwrap();
        let file = create(&directory.path().join("alive.future")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        drop(file);

        check_cautious(begin(directory.path()).1, Duration::ZERO);
    }

    #[tokio::test]
    async fn two_that_live_at_once_know_of_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let (first, start) = begin(directory.path());
        assert_eq!(start, Start::Full);

        let (second, start) = begin(directory.path());
        assert_eq!(start, Start::Cautious(WINDOW));

        // The end of one is not the end of the other.
        second.unwrap().end().await;
        assert_eq!(markers(directory.path()), 1);
        assert_eq!(begin(directory.path()).1, Start::Cautious(WINDOW));
        drop(first);
    }

    #[tokio::test]
    async fn a_life_that_goes_on_is_told_of_and_its_marker_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("alive.ours");
        let old = create(&marker).unwrap();
        old.set_modified(SystemTime::now() - WINDOW).unwrap();

        let (file, told) = touch(&marker, Some(old));
        told.unwrap();
        let age = fs::metadata(&marker).unwrap().modified().unwrap().elapsed().unwrap();
        assert!(age < Duration::from_secs(2), "{age:?}");

        fs::remove_file(&marker).unwrap();
        let (_file, told) = touch(&marker, file);
        told.unwrap();
        assert_eq!(trace(&marker).unwrap(), Trace::Lives);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_used_is_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();

        let (alive, start) = begin(&file);

        assert!(alive.is_none());
        assert_eq!(start, Start::Full);
    }
}
