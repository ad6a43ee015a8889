//! The configuration in use, and how to have it read anew.

use std::time::SystemTime;

use serde_json::{Value, json};
use telemetry::Reload;
use tokio::sync::{mpsc, oneshot};

/// What is known of the configuration, in use and on disk.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The file.
    pub file: String,
    /// The first digits of the SHA-256 of the file as it is in use: who has the same has the same configuration. Too
    /// few to tell anything of a secret in it.
    pub digest: String,
    /// When it was taken in.
    pub loaded: SystemTime,
    /// Keys whose values on disk take effect at the next start only.
    pub needs_restart: Vec<&'static str>,
    /// What is wrong with the file on disk. The one in use is good.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with the file on disk. Tells no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, if it has a place in the file.
    pub place: Option<(usize, usize)>,
    /// What, and what to write instead.
    pub message: String,
}

/// Asks to have the configuration read anew, now. What came of it is told through the sender.
pub type Request = oneshot::Sender<Outcome>;

/// What came of reading it anew.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In a word.
    pub result: Reload,
    /// What is known since.
    pub configuration: Configuration,
}

/// The way to whoever follows the file.
#[derive(Clone, Debug)]
pub(crate) struct Follower(pub(crate) mpsc::Sender<Request>);

impl Follower {
    /// Has the file read anew; `None` if nobody follows it any more.
    pub(crate) async fn reload(&self) -> Option<Outcome> {
        let (request, outcome) = oneshot::channel();
        self.0.send(request).await.ok()?;
        outcome.await.ok()
    }
}

impl Configuration {
    /// Whether the file on disk is the one in use, all of it.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.problems.is_empty() && self.needs_restart.is_empty()
    }

    pub(crate) fn to_json(&self) -> Value {
        let problems: Vec<_> =
            self.problems.iter().map(|problem| problem.to_json(&self.file)).collect();
        let loaded = self.loaded.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        json!({
            "file": self.file,
            "digest": self.digest,
            "loaded_timestamp_seconds": loaded.as_secs(),
            "in_sync": self.is_in_sync(),
            "needs_restart": self.needs_restart,
            "problems": problems,
        })
    }
}

impl Problem {
    fn to_json(&self, file: &str) -> Value {
        let (line, column) = self.place.unzip();
        json!({"file": file, "line": line, "column": column, "message": self.message})
    }
}
