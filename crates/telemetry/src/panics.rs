//! Panics become log lines and a counter.

use std::{
    panic::{self, PanicHookInfo},
    sync::atomic::{AtomicU64, Ordering},
};

/// A panic hook belongs to the process, and so does its counter.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Replaces the process's panic hook by one that logs the panic as one error line and counts
/// it (`panics_total`). Call it once, after the log is set up.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::current();
        tracing::error!(
            target: "panic",
            thread = thread.name().unwrap_or("unnamed"),
            location = info.location().map(tracing::field::display),
            panic = message(info),
            "a bug: this task ends, the others go on"
        );
    }));
}

/// Returns how many panics the hook has seen.
pub(crate) fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    info.payload_as_str().unwrap_or("a value that is not a string")
}
