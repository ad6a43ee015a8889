//! How often this process logs in at Zuora, all tenants and entities together.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{self, Instant};

/// Zuora allows 100 logins a minute for each IP address (Zuora: rate limits guide), which this process may share with
/// others. In no minute are there more than 80 of ours.
const EVERY: Duration = Duration::from_secs(1);
/// So many may follow each other at once: the first of each tenant, when the gateway starts.
const AT_ONCE: u32 = 20;

/// Keeps the logins of one process apart. Each takes its turn before it begins.
#[derive(Debug, Default)]
pub struct Logins {
    /// When the last login would have begun, had there never been two within a second. Far behind after a quiet time.
    last: Mutex<Option<Instant>>,
}

impl Logins {
    /// Returns when a login may begin, at once after a quiet time. Dropping the future does not give the turn back.
    pub(crate) async fn turn(&self) {
        let begins = self.take(Instant::now());
        time::sleep_until(begins).await;
    }

    fn take(&self, now: Instant) -> Instant {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let paced = last.map_or(now, |last| last + EVERY).max(now);
        *last = Some(paced);
        let ahead = EVERY * (AT_ONCE - 1);
        now.max(now + (paced - now).saturating_sub(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_go_at_once_and_the_rest_a_second_apart() {
        let logins = Logins::default();
        let began = Instant::now();

        let mut turns = Vec::new();
        for _ in 0..25 {
            logins.turn().await;
            turns.push((Instant::now() - began).as_secs());
        }

        assert_eq!(turns[..20], [0; 20]);
        assert_eq!(turns[20..], [1, 2, 3, 4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_sees_more_than_eighty() {
        let logins = Logins::default();
        time::sleep(Duration::from_secs(600)).await;
        let began = Instant::now();

        let mut turns = 0;
        while Instant::now() - began < Duration::from_secs(60) {
            logins.turn().await;
            turns += 1;
        }

        assert!((70..=80).contains(&turns), "{turns}");
    }
}
