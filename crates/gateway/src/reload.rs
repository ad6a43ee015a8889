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
use config::{Loaded, Problems};
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

/// How often a file is read until it names the same files as before.
const ATTEMPTS: u32 = 3;

/// A configuration as it was read from its file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    loaded: Loaded,
    /// Taken before the files were read: if they changed meanwhile, the next look tells.
    fingerprint: Fingerprint,
}

/// Follows one file.
pub(crate) struct Follower {
    works: Arc<Works>,
    path: PathBuf,
    /// What the configuration in use was read from.
    files: BTreeSet<PathBuf>,
    in_use: Fingerprint,
    /// What is shown of it.
    known: Configuration,
    /// What the files looked like when they were last found changed.
    suspect: Option<Fingerprint>,
    /// Whether it is not known which files the configuration on disk hangs on: it could not be read to its end.
    is_blind: bool,
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
        for attempt in 1.. {
            let fingerprint = Fingerprint::of(&files);
            let loaded = config::load_with_files(path)?;
            // Of a file that does not stop naming others, the fingerprint never fits: it will be read again.
            if fingerprint.is_of(&loaded.files) || attempt == ATTEMPTS {
                return Ok(Self { path: path.to_owned(), loaded, fingerprint });
            }
            // It names other files than before, which were not looked at before it was read.
            files = loaded.files;
        }
        unreachable!("the last attempt returns")
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &config::Config {
        &self.loaded.config
    }
}

impl Follower {
    /// Follows the file of `source`, by which `works` serves.
    pub(crate) fn new(works: Arc<Works>, source: Source, hangup: Signal) -> Self {
        let Source { path, loaded, fingerprint } = source;
        let (requesting, requests) = mpsc::channel(1);
        let (telling, events) = mpsc::channel(1);
        works.admin.reload_through(requesting);
        let known = Configuration {
            file: path.display().to_string(),
            digest: fingerprint.short(&path),
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
            files: loaded.files,
            in_use: fingerprint,
            known,
            suspect: None,
            is_blind: false,
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
        let files = self.files.clone();
        let seen = spawn_blocking(move || Fingerprint::of(&files)).await.ok()?;
        let is_broken = !self.known.problems.is_empty();
        if seen == self.in_use && !is_broken {
            self.suspect = None;
            return None;
        }
        let is_settled = self.suspect.as_ref() == Some(&seen);
        let was_read = is_settled && is_broken && !self.is_blind;
        self.suspect = Some(seen);
        match (is_settled, was_read) {
            (false, _) => return Some(Instant::now() + QUIET),
            (true, true) => {}
            (true, false) => {
                self.read(Cause::Change).await;
            }
        }
        None
    }

    /// Reads the file, and serves by it if it can be used.
    async fn read(&mut self, cause: Cause) -> Reload {
        let (path, files, works) = (self.path.clone(), self.files.clone(), Arc::clone(&self.works));
        let in_use = self.in_use.clone();
        let reading = spawn_blocking(move || {
            let source = Source::read_again(&path, files).map_err(Refused::Broken)?;
            if source.fingerprint == in_use {
                return Ok((source, None));
            }
            let needs_restart = works.follow(source.config()).map_err(Refused::Unusable)?;
            Ok((source, Some(needs_restart)))
        });
        let read = reading.await.unwrap_or_else(|_| Err(Refused::Panicked));
        let result = match read {
            Ok((source, needs_restart)) => self.take(source, needs_restart, cause),
            Err(refused) => self.refuse(&refused, cause),
        };
        self.works.admin.configured(self.known.clone());
        result
    }

    /// Notes that the file on disk is in use, `needs_restart` excepted; `None` if it was before.
    fn take(
        &mut self,
        source: Source,
        needs_restart: Option<Vec<&'static str>>,
        cause: Cause,
    ) -> Reload {
        let was_broken = !std::mem::take(&mut self.known.problems).is_empty();
        self.is_blind = false;
        self.suspect = None;
        let Some(needs_restart) = needs_restart else {
            if was_broken || cause != Cause::Change {
                tracing::info!(
                    cause = cause.as_str(),
                    "the configuration on disk is the one in use"
                );
                self.works.metrics.config_reloaded(Reload::Unchanged);
            }
            return Reload::Unchanged;
        };
        self.in_use = source.fingerprint;
        self.files = source.loaded.files;
        self.known.digest = self.in_use.short(&self.path);
        self.known.loaded = SystemTime::now();
        self.known.needs_restart = needs_restart;
        tracing::info!(
            cause = cause.as_str(),
            digest = self.known.digest,
            "another configuration is in use"
        );
        if !self.known.needs_restart.is_empty() {
            let keys = self.known.needs_restart.join(", ");
            tracing::warn!(keys, "changes of these keys take effect at the next start only");
        }
        self.works.metrics.config_loaded(self.known.loaded);
        self.works.metrics.config_reloaded(Reload::Ok);
        Reload::Ok
    }

    /// Tells what is wrong with the file on disk, unless that was told already and nobody asks.
    fn refuse(&mut self, refused: &Refused, cause: Cause) -> Reload {
        let problems = refused.problems();
        self.is_blind = matches!(refused, Refused::Broken(_));
        if problems != self.known.problems || cause != Cause::Change {
            for problem in &problems {
                let problem = self.place(problem);
                tracing::error!(
                    cause = cause.as_str(),
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
    fn place(&self, problem: &Problem) -> String {
        match problem.place {
            Some((line, column)) => {
                format!("{}:{line}:{column}: {}", self.known.file, problem.message)
            }
            None => format!("{}: {}", self.known.file, problem.message),
        }
    }
}

/// Why a configuration is not taken in.
enum Refused {
    /// It is not one.
    Broken(Problems),
    /// It names what cannot be used.
    Unusable(Vec<Unusable>),
    /// This is a bug, which is logged as one.
    Panicked,
}

impl Refused {
    fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Broken(problems) => problems.iter().map(problem).collect(),
            Self::Unusable(unusable) => unusable
                .iter()
                .map(|it| Problem { place: None, message: it.with_causes() })
                .collect(),
            Self::Panicked => {
                vec![Problem {
                    place: None,
                    message: "reading it panicked, see the log".to_owned(),
                }]
            }
        }
    }
}

fn problem(told: &config::Problem) -> Problem {
    Problem {
        place: told.place().map(|place| (place.line, place.column)),
        message: told.message().to_owned(),
    }
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
