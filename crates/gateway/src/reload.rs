//! Following the configuration file while the gateway serves.
//!
//! One task does it, so that one configuration is taken in at a time. It is told by the system when something happens
//! in the file's directory, which is quick, and looks at the file every few seconds by itself, which is certain: not
//! every file system tells, and Kubernetes changes a file by exchanging a link two steps away from it. SIGHUP and
//! `POST /api/reload` do the same at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use admin::{Configuration, Outcome, Problem, Request};
use config::{Config, Problems};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use telemetry::Reload;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep_until};

use crate::works::{Unusable, Works};
use fingerprint::Fingerprint;

mod fingerprint;

/// How often the file is looked at, whatever the system tells.
const POLL: Duration = Duration::from_secs(2);

/// How long a file must have stayed as it is before it is read without having been asked to: somebody may be writing.
const QUIET: Duration = Duration::from_millis(150);

/// A configuration as it was read from its file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    config: Config,
    /// Taken before the files were read: if they changed meanwhile, the next look tells.
    fingerprint: Fingerprint,
}

/// Follows one file.
pub(crate) struct Follower {
    works: Arc<Works>,
    path: PathBuf,
    in_use: Fingerprint,
    /// What is shown of it.
    known: Configuration,
    /// What was read last, whether or not it can be used; `None` if it could not be read to its end. Then it is not
    /// known which files it hangs on, and it is read again and again.
    seen: Option<Fingerprint>,
    /// What the files looked like when they were found changed.
    suspect: Option<Fingerprint>,
    requests: mpsc::Receiver<Request>,
    hangup: Signal,
    events: mpsc::Receiver<()>,
    /// Held for its events.
    _watcher: Option<RecommendedWatcher>,
}

/// Who wants the file to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It has changed.
    Change,
    Signal,
    Request,
}

/// What came of reading it.
enum Found {
    /// It is the one in use.
    Same,
    /// It is in use now, except for these keys, which need a restart.
    Taken(Vec<&'static str>),
    /// It cannot be used.
    Refused(Vec<Problem>),
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Signal => "signal",
            Self::Request => "request",
        }
    }
}

impl Source {
    /// Reads the configuration file `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        Self::read_again(path, BTreeSet::from([path.to_owned()]))
    }

    /// Reads `path`, which was read from `files` the last time.
    fn read_again(path: &Path, mut files: BTreeSet<PathBuf>) -> Result<Self, Problems> {
        loop {
            let fingerprint = Fingerprint::of(&files);
            let loaded = config::load_with_files(path)?;
            if fingerprint.is_of(&loaded.files) {
                return Ok(Self { path: path.to_owned(), config: loaded.config, fingerprint });
            }
            // It names other files than before, which were not looked at before it was read.
            files = loaded.files;
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Follower {
    /// Follows the file of `source`, by which `works` serves.
    pub(crate) fn new(works: Arc<Works>, source: Source, hangup: Signal) -> Self {
        let Source { path, fingerprint, .. } = source;
        let (requesting, requests) = mpsc::channel(1);
        let (telling, events) = mpsc::channel(1);
        works.admin.reload_through(requesting);
        let known = Configuration {
            file: path.display().to_string(),
            digest: fingerprint.short(),
            loaded: SystemTime::now(),
            needs_restart: Vec::new(),
            problems: Vec::new(),
        };
        works.admin.configured(known.clone());
        let watcher = watch(&path, telling).map_err(|error| {
            let every_s = POLL.as_secs();
            tracing::info!(%error, every_s, "the system does not tell of changes of the configuration: looking by itself");
        });
        Self {
            works,
            seen: Some(fingerprint.clone()),
            in_use: fingerprint,
            known,
            suspect: None,
            requests,
            hangup,
            events,
            _watcher: watcher.ok(),
            path,
        }
    }

    /// Follows it for ever.
    pub(crate) async fn run(mut self) {
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                Some(request) = self.requests.recv() => {
                    let result = self.read(Cause::Request).await;
                    // Who asked may have left.
                    let _ = request.send(Outcome { result, configuration: self.known.clone() });
                }
                Some(()) = self.hangup.recv() => {
                    self.read(Cause::Signal).await;
                }
                Some(()) = self.events.recv() => {
                    due.get_or_insert_with(|| Instant::now() + QUIET);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = self.look().await;
                }
                _ = poll.tick() => due = self.look().await,
            }
        }
    }

    /// Looks whether the files have changed, and reads them if they have and then stayed as they are for a moment.
    /// Returns when to look again, if that is soon.
    async fn look(&mut self) -> Option<Instant> {
        let files = self.files();
        let now = spawn_blocking(move || Fingerprint::of(&files)).await.ok()?;
        if self.seen.as_ref() == Some(&now) {
            self.suspect = None;
            return None;
        }
        if self.suspect.as_ref() != Some(&now) {
            self.suspect = Some(now);
            return Some(Instant::now() + QUIET);
        }
        self.read(Cause::Change).await;
        None
    }

    /// What to look at: the files of what was read last, as far as that is known.
    fn files(&self) -> BTreeSet<PathBuf> {
        self.seen.as_ref().unwrap_or(&self.in_use).files().cloned().collect()
    }

    /// Reads the file, and serves by it if it can be used.
    async fn read(&mut self, cause: Cause) -> Reload {
        let (path, files, works) = (self.path.clone(), self.files(), Arc::clone(&self.works));
        let in_use = self.in_use.clone();
        let reading = spawn_blocking(move || read(&path, files, &works, &in_use));
        let (source, found) = reading.await.unwrap_or_else(|_| {
            let message = "reading it panicked: this is a bug, see the log".to_owned();
            (None, Found::Refused(vec![Problem { place: None, message }]))
        });
        let seen = source.map(|source| source.fingerprint);
        self.seen.clone_from(&seen);
        let result = match found {
            Found::Taken(needs_restart) => {
                let fingerprint = seen.expect("what is in use was read to its end");
                self.take(fingerprint, needs_restart, cause)
            }
            Found::Same => self.keep(cause),
            Found::Refused(problems) => self.refuse(problems, cause),
        };
        self.works.admin.configured(self.known.clone());
        result
    }

    /// Notes that the file on disk is in use now, except for the keys that need a restart.
    fn take(
        &mut self,
        fingerprint: Fingerprint,
        needs_restart: Vec<&'static str>,
        cause: Cause,
    ) -> Reload {
        self.in_use = fingerprint;
        self.known = Configuration {
            file: std::mem::take(&mut self.known.file),
            digest: self.in_use.short(),
            loaded: SystemTime::now(),
            needs_restart,
            problems: Vec::new(),
        };
        let (cause, digest) = (cause.as_str(), &self.known.digest);
        tracing::info!(cause, digest, "another configuration is in use");
        if !self.known.needs_restart.is_empty() {
            let keys = self.known.needs_restart.join(", ");
            tracing::warn!(keys, "changes of these keys take effect at the next start only");
        }
        self.works.metrics.config_loaded(self.known.loaded);
        self.works.metrics.config_reloaded(Reload::Ok);
        Reload::Ok
    }

    /// Notes that the file on disk is the one in use, which is worth telling if it was not, or if somebody asked.
    fn keep(&mut self, cause: Cause) -> Reload {
        let was_broken = !std::mem::take(&mut self.known.problems).is_empty();
        if was_broken || cause != Cause::Change {
            let cause = cause.as_str();
            tracing::info!(cause, "the configuration on disk is the one in use");
            self.works.metrics.config_reloaded(Reload::Unchanged);
        }
        Reload::Unchanged
    }

    /// Tells what is wrong with the file on disk, unless that was told already and nobody asked.
    fn refuse(&mut self, problems: Vec<Problem>, cause: Cause) -> Reload {
        if problems != self.known.problems || cause != Cause::Change {
            for problem in &problems {
                let (cause, problem) = (cause.as_str(), self.place(problem));
                tracing::error!(
                    cause,
                    problem,
                    "the configuration on disk cannot be used, the one before stays in use"
                );
            }
            self.works.metrics.config_reloaded(Reload::Error);
        }
        self.known.problems = problems;
        Reload::Error
    }

    /// `FILE:LINE:COLUMN: what is wrong`.
    fn place(&self, Problem { place, message }: &Problem) -> String {
        let file = &self.known.file;
        match place {
            Some((line, column)) => format!("{file}:{line}:{column}: {message}"),
            None => format!("{file}: {message}"),
        }
    }
}

/// Reads the file, and serves by it if it is another one and can be used. Returns it, too, if it could be read to its
/// end.
fn read(
    path: &Path,
    files: BTreeSet<PathBuf>,
    works: &Works,
    in_use: &Fingerprint,
) -> (Option<Source>, Found) {
    let source = match Source::read_again(path, files) {
        Ok(source) => source,
        Err(problems) => return (None, Found::Refused(problems.iter().map(problem).collect())),
    };
    let found = if source.fingerprint == *in_use {
        Found::Same
    } else {
        match works.follow(source.config()) {
            Ok(needs_restart) => Found::Taken(needs_restart),
            Err(unusable) => Found::Refused(unusable.iter().map(unusable_problem).collect()),
        }
    };
    (Some(source), found)
}

fn problem(told: &config::Problem) -> Problem {
    Problem {
        place: told.place().map(|place| (place.line, place.column)),
        message: told.message().to_owned(),
    }
}

fn unusable_problem(unusable: &Unusable) -> Problem {
    Problem { place: None, message: unusable.with_causes() }
}

/// Has the system tell of what happens in the directory of the file. The directory, because whoever changes a file may
/// put another one in its place.
fn watch(path: &Path, tell: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // That somebody reads is no news, least of all when it is we.
        let is_read = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
        if !is_read {
            // If there is one in it already, a look is due anyway.
            let _ = tell.try_send(());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
