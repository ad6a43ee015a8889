//! How far an attempt has come, so that patience with Zuora begins when Zuora has the request.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant, timeout_at};

/// The answer has begun.
const ANSWERED: u64 = u64::MAX;

/// The last moment at which an attempt made progress towards Zuora.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    /// Microseconds from `began` to the last byte that left, or [`ANSWERED`].
    last: AtomicU64,
}

impl Progress {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Another piece of the request has left.
    pub(crate) fn sent(&self) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(ANSWERED - 1);
        // An answer may begin before the request has ended, and then counts.
        self.last.fetch_max(micros, Ordering::Relaxed);
    }

    /// How long the attempt has lasted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The answer has begun, so nobody waits for its beginning any more.
    pub(crate) fn answered(&self) {
        self.last.store(ANSWERED, Ordering::Relaxed);
    }

    fn last(&self) -> Option<Instant> {
        let micros =
            Some(self.last.load(Ordering::Relaxed)).filter(|micros| *micros != ANSWERED)?;
        Some(self.began + Duration::from_micros(micros))
    }

    /// What `exchange` comes to; `None` if the answer does not begin within `patience` of the last progress.
    pub(crate) async fn within<T>(
        &self,
        patience: Duration,
        mut exchange: impl Future<Output = T> + Unpin,
    ) -> Option<T> {
        while let Some(last) = self.last() {
            match timeout_at(last + patience, &mut exchange).await {
                Ok(outcome) => return Some(outcome),
                Err(_) if self.last() == Some(last) => return None,
                Err(_) => {}
            }
        }
        Some(exchange.await)
    }
}
