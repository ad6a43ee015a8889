//! The log of the process: one line per event, JSON or text, never in anybody's way.
//!
//! Lines are collected in memory and written by a thread of their own, many at a time. When
//! whoever reads them is slower than they come, they are dropped and counted
//! (`log_lines_dropped_total`): a full disk or a stuck pipe must not stop a request.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use tracing_subscriber::{filter::Targets, layer::SubscriberExt, registry};

pub use tracing::Level;

use lines::Lines;
use sink::Sink;

mod lines;
mod sink;

/// The sink of the process's log, for the count of dropped lines.
static INSTALLED: OnceLock<Arc<Sink>> = OnceLock::new();

/// The gateway's own crates, and the target of the access log. Everybody else is heard only
/// when something is wrong: HTTP and TLS libraries write headers into their debug lines.
const OURS: [&str; 14] = [
    "access",
    "admin",
    "admission",
    "async_requests",
    "config",
    "credentials",
    "emulator",
    "gateway",
    "panic",
    "proxy",
    "telemetry",
    "testkit",
    "zuora",
    "zuora_gateway",
];

/// What a line looks like, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One flat JSON object per line, on standard output.
    Json,
    /// Words and `key=value`, on standard error.
    Text,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// This process has a log already.
    #[error("the log is set up already")]
    AlreadyInstalled,
    /// The thread that writes the lines cannot be started.
    #[error("starting the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// Keeps the log running. Dropping it writes out what was logged so far, and waits at most a
/// second for that; what is logged later is dropped.
#[must_use = "lines are lost once it is dropped"]
pub struct LogGuard {
    sink: Arc<Sink>,
}

impl fmt::Debug for LogGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogGuard").finish_non_exhaustive()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.sink.close();
    }
}

/// Sets up the log of the process, once.
///
/// Our own crates are logged from `level` on, all others from `WARN` (or `level`, if that
/// says less).
///
/// # Errors
/// When the process has a log already, or no thread can be started.
pub fn init(format: Format, level: Level) -> Result<LogGuard, LogError> {
    let sink = match format {
        Format::Json => Sink::start(io::stdout()),
        Format::Text => Sink::start(io::stderr()),
    };
    let sink = sink.map_err(LogError::Thread)?;
    let lines = Lines::new(format, Arc::clone(&sink));
    let subscriber = registry().with(filter(level)).with(lines);
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        sink.close();
        return Err(LogError::AlreadyInstalled);
    }
    // Set only here, after the one call that can succeed only once.
    let _ = INSTALLED.set(Arc::clone(&sink));
    Ok(LogGuard { sink })
}

/// Returns a moment as RFC 3339 in UTC, to the microsecond: as log lines have it.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    let mut text = String::with_capacity("2026-11-21T09:50:08.123456Z".len());
    lines::timestamp(&mut text, moment);
    text
}

/// Returns how many lines the process's log has dropped.
pub(crate) fn lines_dropped() -> u64 {
    INSTALLED.get().map_or(0, |sink| sink.dropped())
}

fn filter(level: Level) -> Targets {
    let others = level.min(Level::WARN);
    Targets::new().with_default(others).with_targets(OURS.map(|target| (target, level)))
}

#[cfg(test)]
mod tests;
