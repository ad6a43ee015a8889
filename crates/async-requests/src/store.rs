//! Where records are kept: the small seam behind which there is a file, or memory in tests.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::delivery::{Delivery, Forwarding};
use crate::record::{Key, Outcome, Record, State};

/// A change that is being made durable. It goes on if this is dropped.
pub type Writing<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Keeps records, durably or not at all.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Applies a change to the record that is meant, all of it or nothing, one change after another. Resolves once it is
    /// durable.
    fn change(&self, whose: Whose, change: Change) -> Writing<Changed>;

    /// The record of `key`.
    fn find(&self, key: Key) -> Writing<Option<Record>>;

    /// The records of an app, the newest first, each with its number; those that began before the one of this number only,
    /// and those in one state only, if that is given. Numbers grow as records begin, and none is given out twice. Long
    /// records may make them fewer than `most`: only where there is none, there is no more.
    fn list(
        &self,
        app: Arc<str>,
        state: Option<State>,
        before: Option<u64>,
        most: usize,
    ) -> Writing<Vec<(u64, Record)>>;

    /// Those of a tenant whose outcome is still waited for, the oldest first.
    fn pending(&self, tenant: Arc<str>, most: usize) -> Writing<Vec<Record>>;

    /// Those of an app that have ended at a position after `after`, in the order in which they did. Long records may make
    /// them fewer than `most`: only where there is none, there is no more.
    fn outcomes(&self, app: Arc<str>, after: u64, most: usize) -> Writing<Vec<Record>>;

    /// Those of an app whose outcome is still to be delivered, the one due first, first: also those due later.
    fn undelivered(&self, app: Arc<str>, most: usize) -> Writing<Vec<Record>>;

    /// Those whose delivery is given up, in the order of their keys, from the one after `after` on.
    fn dead_letters(&self, after: Option<Key>, most: usize) -> Writing<Vec<Record>>;

    /// Does what is due in the background, in a step that holds up nobody for long: forgets those that ended before
    /// `ended_before`, and gets a store that failed to work again. Returns whether there is more to do.
    fn tend(&self, ended_before: SystemTime) -> Writing<bool>;

    /// What the store holds, from memory.
    fn readings(&self) -> StoreReadings;

    /// Ends the store once all that was asked for is done. Nothing can be read or written afterwards.
    fn close(&self) -> Writing<()>;
}

/// Why nothing could be written or read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the registry of asynchronous requests cannot be used: {0}")]
pub struct StoreError(pub Arc<str>);

/// How much may be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For how long those that have ended are remembered.
    pub keep: Duration,
    /// How many are remembered. Those that ended first are forgotten first.
    pub max_records: usize,
    /// For how many an outcome may be waited for.
    pub max_pending: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(7 * 24 * 60 * 60),
            max_records: 1_000_000,
            max_pending: 100_000,
        }
    }
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreReadings {
    /// How many records.
    pub records: u64,
    /// What they take on disk.
    pub bytes: u64,
    /// Whether it can be written. If not, it will be tried again.
    pub is_writable: bool,
    /// The position of the last that ended, also if it is not remembered any more; zero if none has.
    pub last_position: u64,
    /// One per app with records that are waited for, or have ended as unknown, or with dead letters.
    pub apps: Vec<AppReadings>,
}

/// What a store holds of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppReadings {
    /// The tenant that its requests go to.
    pub tenant: Arc<str>,
    /// Its name.
    pub app: Arc<str>,
    /// How many of its requests an outcome is waited for.
    pub pending: u64,
    /// When the oldest of them was begun.
    pub oldest_pending: Option<SystemTime>,
    /// How many of its requests have ended as unknown, and are remembered.
    pub unknown: u64,
    /// How many of its outcomes are not tried to be delivered any more.
    pub dead_letters: u64,
}

/// Which record is meant.
#[derive(Clone, Debug)]
pub enum Whose {
    /// The one of this key.
    Key(Key),
    /// The one that Zuora calls so, else the one of this track id if Zuora has not told yet what it calls it, or does not
    /// say it here.
    Told {
        /// The tenant that was told.
        tenant: Arc<str>,
        /// What Zuora calls the request.
        zuora_id: Option<Arc<str>>,
        /// The track id that it was sent with.
        track_id: Option<Arc<str>>,
    },
}

/// What is to become of a record.
#[derive(Clone, Debug)]
pub enum Change {
    /// It begins; it must not be there yet.
    Begin(Box<Record>),
    /// Zuora took it, and calls it so.
    Accept {
        /// What Zuora calls it.
        zuora_id: Option<Arc<str>>,
        /// When that was.
        at: SystemTime,
    },
    /// Zuora certainly did not take it: there is nothing to remember.
    Withdraw,
    /// It ended. The first outcome stays.
    End {
        /// How it ended.
        outcome: Outcome,
        /// What Zuora calls the request that ended, if it says.
        zuora_id: Option<Arc<str>>,
        /// The notification that told.
        notification_id: Option<Arc<str>>,
        /// When that was recorded.
        at: SystemTime,
        /// To which apps it is forwarded.
        forwarding: Forwarding,
    },
    /// Nobody waits for its outcome any more.
    GiveUp {
        /// When that was.
        at: SystemTime,
        /// To which apps that is forwarded.
        forwarding: Forwarding,
    },
    /// An attempt to deliver it came to this, if it is still in the state that was delivered: what is known may have
    /// changed meanwhile, and is to be delivered anew.
    Deliver {
        /// The state that was delivered.
        told: State,
        /// What became of it.
        delivery: Delivery,
    },
    /// A dead letter is to be tried again.
    Revive {
        /// From when on.
        at: SystemTime,
    },
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// It was made: the record as it is now, `None` if it is gone.
    Made(Option<Box<Record>>),
    /// It does not apply to the record as it is, which has stayed so.
    Not(Option<Box<Record>>),
    /// So many are waited for or remembered already that no other can begin.
    Full {
        /// How many that are.
        most: usize,
    },
}

impl Change {
    /// What becomes of `record` by this change; what ends gets `position`. Pure, so that every store decides alike.
    #[must_use]
    pub fn apply(self, record: Option<Record>, position: u64) -> Changed {
        let made = |record| Changed::Made(Some(Box::new(record)));
        match (self, record) {
            (Self::Begin(new), None) => Changed::Made(Some(new)),
            (Self::Accept { zuora_id, at }, Some(record)) if record.accepted.is_none() => {
                let state = match record.state {
                    State::Sending => State::Accepted,
                    // The callout was faster than the answer.
                    state => state,
                };
                // What told the outcome has told what the request is called, too.
                let zuora_id = record.zuora_id.or(zuora_id);
                made(Record { zuora_id, state, accepted: Some(at), ..record })
            }
            (Self::Withdraw, Some(record)) if record.state == State::Sending => Changed::Made(None),
            (
                Self::End { outcome, zuora_id, notification_id, at, forwarding },
                Some(mut record),
            ) if record.outcome.is_none() && is_meant(&record, zuora_id.as_deref()) => {
                record.end(outcome.state(), at, position, &forwarding);
                record.zuora_id = record.zuora_id.or(zuora_id);
                made(Record { outcome: Some(outcome), notification_id, ..record })
            }
            (Self::GiveUp { at, forwarding }, Some(mut record)) if record.state.is_pending() => {
                record.end(State::Unknown, at, position, &forwarding);
                made(record)
            }
            (Self::Deliver { told, delivery }, Some(record)) if record.state == told => {
                made(Record { delivery: Some(delivery), ..record })
            }
            (Self::Revive { at }, Some(record)) if record.is_dead_letter() => {
                made(Record { delivery: Some(Delivery::due(at)), ..record })
            }
            (_, record) => Changed::Not(record.map(Box::new)),
        }
    }
}

impl Record {
    fn end(&mut self, state: State, at: SystemTime, position: u64, forwarding: &Forwarding) {
        self.state = state;
        self.ended = Some(at);
        self.position = Some(position);
        self.delivery = forwarding.delivery(&self.app, at);
    }

    /// When its outcome is to be delivered next, if it is.
    pub(crate) fn due_at(&self) -> Option<SystemTime> {
        self.delivery.as_ref().and_then(Delivery::due_at)
    }

    /// Whether the delivery of its outcome is given up.
    pub(crate) fn is_dead_letter(&self) -> bool {
        self.delivery.as_ref().is_some_and(Delivery::is_dead)
    }
}

/// Whether what Zuora calls `zuora_id` is this record's request: others may use the same track id.
pub(crate) fn is_meant(record: &Record, zuora_id: Option<&str>) -> bool {
    match (record.zuora_id.as_deref(), zuora_id) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    }
}
