//! How an outcome gets to the address that its app named: when it is tried, and when it is given up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// The pauses after each attempt that fails, in seconds: a restart of the app is hardly noticed, and an outage of two
/// hours is outlasted.
const PAUSES: [u64; 9] = [1, 2, 4, 15, 60, 300, 900, 3600, 3600];

/// How often an outcome is tried before it is a dead letter.
pub const DELIVERY_ATTEMPTS: u32 = PAUSES.len() as u32 + 1;

/// How far an outcome has come on its way to its app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Where it stands.
    pub stage: Stage,
    /// Attempts that failed.
    pub failed: u32,
    /// What went wrong with the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Arc<str>>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is to be tried, not before this moment.
    Due(#[serde(with = "crate::record::millis")] SystemTime),
    /// The app took it.
    Delivered(#[serde(with = "crate::record::millis")] SystemTime),
    /// It was tried as often as it is, and is a dead letter since then.
    Dead(#[serde(with = "crate::record::millis")] SystemTime),
}

impl Delivery {
    /// One that is to be tried from `at` on, and was not yet.
    #[must_use]
    pub const fn due(at: SystemTime) -> Self {
        Self { stage: Stage::Due(at), failed: 0, trouble: None }
    }

    /// When it is to be tried next, if it is.
    #[must_use]
    pub const fn due_at(&self) -> Option<SystemTime> {
        match self.stage {
            Stage::Due(at) => Some(at),
            Stage::Delivered(_) | Stage::Dead(_) => None,
        }
    }

    /// Whether it is given up.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        matches!(self.stage, Stage::Dead(_))
    }

    /// What it is after an attempt that failed at `now`. `jitter`, from 0 to 1, makes the pause up to a quarter longer,
    /// so that those that failed together do not come back together.
    #[must_use]
    pub fn after_failure(&self, trouble: Arc<str>, now: SystemTime, jitter: f64) -> Self {
        let failed = self.failed.saturating_add(1);
        let stage = match PAUSES.get(self.failed as usize) {
            None => Stage::Dead(now),
            Some(pause) => {
                let stretch = 1.0 + jitter.clamp(0.0, 1.0) / 4.0;
                Stage::Due(now + Duration::from_secs(*pause).mul_f64(stretch))
            }
        };
        Self { stage, failed, trouble: Some(trouble) }
    }
}

/// The apps whose outcomes are forwarded, and how whoever forwards them is woken. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Forwarding(Arc<HashMap<Arc<str>, Arc<Notify>>>);

impl Forwarding {
    /// To these apps. Who forwards to one of `before` already is woken as it was.
    pub(crate) fn to(apps: impl IntoIterator<Item = Arc<str>>, before: &Self) -> Self {
        let woken = |app: &Arc<str>| before.0.get(app).map(Arc::clone).unwrap_or_default();
        Self(Arc::new(apps.into_iter().map(|app| (Arc::clone(&app), woken(&app))).collect()))
    }

    /// What there is to deliver of an outcome of `app` that is known since `now`.
    #[must_use]
    pub fn delivery(&self, app: &str, now: SystemTime) -> Option<Delivery> {
        self.0.contains_key(app).then(|| Delivery::due(now))
    }

    /// Wakes whoever forwards to `app`.
    pub(crate) fn wake(&self, app: &str) {
        if let Some(woken) = self.0.get(app) {
            woken.notify_one();
        }
    }

    pub(crate) fn woken(&self, app: &str) -> Option<Arc<Notify>> {
        self.0.get(app).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_second_to_an_hour_and_the_tenth_failure_is_the_last() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut delivery = Delivery::due(now);
        let mut pauses = Vec::new();

        while let Some(due) = delivery.due_at() {
            delivery = delivery.after_failure("answered 500".into(), due, 0.0);
            pauses.extend(delivery.due_at().map(|next| next.duration_since(due).unwrap()));
        }

        let seconds: Vec<_> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 15, 60, 300, 900, 3600, 3600]);
        assert_eq!((delivery.failed, delivery.is_dead()), (10, true));
        assert_eq!(delivery.trouble.as_deref(), Some("answered 500"));
    }

    #[test]
    fn jitter_only_adds_and_no_more_than_a_quarter() {
        let now = SystemTime::UNIX_EPOCH;
        let after = |jitter| {
            let delivery = Delivery::due(now).after_failure("".into(), now, jitter);
            delivery.due_at().unwrap().duration_since(now).unwrap()
        };

        assert_eq!(after(0.0), Duration::from_secs(1));
        assert_eq!(after(0.5), Duration::from_millis(1125));
        assert_eq!(after(1.0), Duration::from_millis(1250));
        assert_eq!(after(f64::from(9)), Duration::from_millis(1250));
    }
}
