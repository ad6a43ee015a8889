//! The timer of a tenant: a task that runs only while somebody waits for a moment.

use std::sync::{Arc, Weak};

use tokio::time;

use crate::Admission;
use crate::sync::Notify;

/// Wakes an admission at the moments when a waiting call may go with nothing else happening.
#[derive(Debug)]
pub(crate) struct Timer {
    admission: Weak<Admission>,
    nudge: Arc<Notify>,
    finished: bool,
}

impl Timer {
    pub(crate) fn new(admission: &Arc<Admission>, nudge: Arc<Notify>) -> Self {
        Self { admission: Arc::downgrade(admission), nudge, finished: false }
    }

    /// Runs until there is no such moment, or no [`Admission`] any more.
    pub(crate) async fn run(mut self) {
        while let Some(event) = self.admission.upgrade().and_then(|it| it.tend()) {
            tokio::select! {
                biased;
                () = self.nudge.notified() => {}
                () = time::sleep_until(event) => {}
            }
        }
        self.finished = true;
    }
}

impl Drop for Timer {
    /// The runtime may end before the admission does; then the next decision starts another timer.
    fn drop(&mut self) {
        if !self.finished
            && let Some(admission) = self.admission.upgrade()
        {
            admission.lose_timer();
        }
    }
}
