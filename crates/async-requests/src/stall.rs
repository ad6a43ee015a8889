//! Whether the store keeps everybody waiting.

use tokio::sync::watch;

/// How many changes are being written for too long. What writes them does so one after another, so as long as there is
/// one, a further one would wait as well.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    overdue: watch::Sender<usize>,
}

/// A change that is being written for too long. Dropping it says that it is not any more.
#[derive(Debug)]
pub(crate) struct Overdue<'s>(&'s Stall);

impl Stall {
    /// Notes that a change is being written for too long.
    pub(crate) fn note(&self) -> Overdue<'_> {
        let mut is_first = false;
        self.overdue.send_modify(|overdue| {
            is_first = *overdue == 0;
            *overdue += 1;
        });
        if is_first {
            tracing::error!("async requests are not taken until the disk of the registry answers");
        }
        Overdue(self)
    }

    /// Whether a change is being written for too long now.
    pub(crate) fn is_there(&self) -> bool {
        *self.overdue.borrow() > 0
    }

    /// Resolves once a change is being written for too long.
    pub(crate) async fn begins(&self) {
        // It cannot be closed: what sends is held here.
        let _ = self.overdue.subscribe().wait_for(|overdue| *overdue > 0).await;
    }
}

impl Drop for Overdue<'_> {
    fn drop(&mut self) {
        self.0.overdue.send_modify(|overdue| *overdue -= 1);
    }
}
