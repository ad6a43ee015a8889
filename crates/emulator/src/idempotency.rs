//! Outcomes kept under an `Idempotency-Key`, for a day.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;

use crate::{answers::Answer, dress::REQUEST_ID, locks::lock};

/// How long Zuora keeps an outcome (Zuora: idempotent requests guide).
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longest key that Zuora takes.
pub(crate) const LONGEST_KEY: usize = 255;

/// More outcomes than this are not kept; the oldest go first.
const MOST_KEYS: usize = 50_000;

/// The outcomes kept so far.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Box<str>, Entry>,
    order: VecDeque<(Instant, Box<str>)>,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    /// Method and target: the key belongs to one call.
    call: Box<str>,
    /// `None` while the first call is being worked on.
    outcome: Option<Answer>,
}

/// What a key means for a call that carries it.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nobody used it: work, and then [`Claim::keep`] the outcome.
    New(Claim),
    /// The outcome of the first call.
    Outcome(Answer),
    /// The first call is still being worked on.
    InProgress,
    /// It belongs to another method or URL.
    Mismatch,
}

/// A key that is being worked on. Dropped without an outcome, it is free again.
#[derive(Debug)]
pub(crate) struct Claim {
    keys: Arc<Keys>,
    key: Option<Box<str>>,
}

impl Keys {
    /// Claims a key for a call, or tells what is known of it.
    pub(crate) fn claim(self: &Arc<Self>, key: &str, method: &str, target: &str) -> Known {
        let now = Instant::now();
        let call = format!("{method} {target}").into_boxed_str();
        let mut kept = lock(&self.kept);
        kept.forget(now);
        match kept.entries.get(key) {
            Some(entry) if entry.call != call => return Known::Mismatch,
            Some(Entry { outcome: Some(outcome), .. }) => return Known::Outcome(outcome.clone()),
            Some(_) => return Known::InProgress,
            None => {}
        }
        let key: Box<str> = key.into();
        kept.entries.insert(key.clone(), Entry { since: now, call, outcome: None });
        kept.order.push_back((now, key.clone()));
        Known::New(Claim { keys: Arc::clone(self), key: Some(key) })
    }

    pub(crate) fn reset(&self) {
        *lock(&self.kept) = Kept::default();
    }
}

impl Kept {
    fn forget(&mut self, now: Instant) {
        while let Some((since, _)) = self.order.front() {
            if self.order.len() < MOST_KEYS && now.duration_since(*since) < KEPT {
                break;
            }
            if let Some((since, key)) = self.order.pop_front()
                && self.entries.get(&key).is_some_and(|entry| entry.since == since)
            {
                self.entries.remove(&key);
            }
        }
    }
}

impl Claim {
    /// Keeps the outcome, success or failure, for everyone who comes with the
    /// key; its headers tell of the request that brought it about.
    pub(crate) fn keep(mut self, outcome: &Answer, request_id: &HeaderValue) {
        if let Some(key) = self.key.take()
            && let Some(entry) = lock(&self.keys.kept).entries.get_mut(&key)
        {
            entry.outcome = Some(outcome.clone().with(REQUEST_ID, request_id.clone()));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            lock(&self.keys.kept).entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outcome_is_kept_for_a_day_and_belongs_to_its_call() {
        let keys = Arc::new(Keys::default());

        let Known::New(claim) = keys.claim("k", "POST", "/v1/accounts") else { panic!("new") };
        assert!(matches!(keys.claim("k", "POST", "/v1/accounts"), Known::InProgress));
        let failure = Answer::json(StatusCode::CONFLICT, &json!({"success": false}));
        claim.keep(&failure, &HeaderValue::from_static("first"));

        let Known::Outcome(outcome) = keys.claim("k", "POST", "/v1/accounts") else {
            panic!("kept, though it is a failure")
        };
        assert_eq!(outcome.status, 409);
        assert_eq!(outcome.headers, [(REQUEST_ID, HeaderValue::from_static("first"))]);
        assert!(matches!(keys.claim("k", "POST", "/v1/orders"), Known::Mismatch));
        tokio::time::advance(KEPT).await;
        assert!(matches!(keys.claim("k", "POST", "/v1/accounts"), Known::New(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_comes_to_nothing_frees_its_key() {
        let keys = Arc::new(Keys::default());

        drop(keys.claim("k", "POST", "/v1/accounts"));

        assert!(matches!(keys.claim("k", "POST", "/v1/accounts"), Known::New(_)));
    }
}
