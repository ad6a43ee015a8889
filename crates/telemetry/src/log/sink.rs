//! Where lines wait to be written, and the thread that writes them.
//!
//! A line is copied into a buffer under a lock. The first line of a batch wakes the thread,
//! which lets more lines gather for a few milliseconds and writes them all with one call: a
//! busy gateway spends one wake-up and one system call per batch, not per line.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Bytes that may wait to be written: some ten thousand lines.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// How long a batch gathers lines: long enough to save work, too short for anyone to notice.
const GATHER: Duration = Duration::from_millis(20);
/// A buffer larger than this is given back to the allocator after a burst.
const USUAL_BYTES: usize = 64 * 1024;
/// How long the end of the program waits for the last lines; a stuck pipe must not keep it.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Takes lines, never waits for them to be written.
#[derive(Debug)]
pub(super) struct Sink {
    state: Mutex<State>,
    /// Told when there is something to write, and when the log is closed.
    work: Condvar,
    /// Told when the thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    is_closed: bool,
    has_ended: bool,
}

impl Sink {
    /// Starts the thread that writes to `output`.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let sink =
            Arc::new(Self { state: Mutex::default(), work: Condvar::new(), ended: Condvar::new() });
        let writer = Arc::clone(&sink);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(output))?;
        Ok(sink)
    }

    /// Takes one line, with its line end, or drops and counts it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.is_closed || state.waiting.len() + line.len() > KEPT_BYTES {
            state.dropped += 1;
            return;
        }
        let is_first = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if is_first {
            self.work.notify_one();
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Has everything written that came before, for at most [`LAST_LINES`], and takes no more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.work.notify_all();
        let _ = self.ended.wait_timeout_while(state, LAST_LINES, |state| !state.has_ended);
    }

    fn run(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        while self.take(&mut batch) {
            // Lines that cannot be written are lost as lines, and counted as that.
            if output.write_all(&batch).and_then(|()| output.flush()).is_err() {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                self.lock().dropped += u64::try_from(lines).unwrap_or(u64::MAX);
            }
            batch.clear();
            batch.shrink_to(USUAL_BYTES);
        }
        self.lock().has_ended = true;
        self.ended.notify_all();
    }

    /// Waits for lines and swaps them into `batch`; returns false when there will be none.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let state = self.work.wait_while(self.lock(), idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let gathering = |state: &mut State| !state.is_closed;
        let mut state = match self.work.wait_timeout_while(state, GATHER, gathering) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
        mem::swap(&mut state.waiting, batch);
        !batch.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
