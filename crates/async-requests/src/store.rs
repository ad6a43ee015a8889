//! Where records are kept: the small seam behind which there is a file, or memory in tests.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use crate::delivery::{Delivery, Forwarding};
use crate::record::{Key, Outcome, Record, State};

/// A change that is being made durable. It goes on if this is dropped.
pub type Writing<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Keeps records, durably or not at all.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Applies a change to the record of `key`, all of it or nothing, one change after another. Resolves once it is durable.
    fn change(&self, key: Key, change: Change) -> Writing<Changed>;

    /// The record of `key`.
    fn find(&self, key: Key) -> Writing<Option<Record>>;

    /// The records of an app, the newest first, from the one after `after` on.
    fn list(&self, app: Arc<str>, after: Option<Key>, most: usize) -> Writing<Vec<Record>>;

    /// Those of a tenant whose outcome is still waited for, the oldest first.
    fn pending(&self, tenant: Arc<str>, most: usize) -> Writing<Vec<Record>>;

    /// Those of an app whose outcome is still to be delivered, the one due first, first: also those due later.
    fn undelivered(&self, app: Arc<str>, most: usize) -> Writing<Vec<Record>>;

    /// Those whose delivery is given up, in the order of their keys, from the one after `after` on.
    fn dead_letters(&self, after: Option<Key>, most: usize) -> Writing<Vec<Record>>;
}

/// Why nothing could be written or read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the registry of asynchronous requests cannot be used: {0}")]
pub struct StoreError(pub Arc<str>);

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
}

impl Change {
    /// What becomes of `record` by this change. Pure, so that every store decides alike.
    #[must_use]
    pub fn apply(self, record: Option<Record>) -> Changed {
        let made = |record| Changed::Made(Some(Box::new(record)));
        match (self, record) {
            (Self::Begin(new), None) => Changed::Made(Some(new)),
            (Self::Accept { zuora_id, at }, Some(record)) if record.accepted.is_none() => {
                let state = match record.state {
                    State::Sending => State::Accepted,
                    // The callout was faster than the answer.
                    state => state,
                };
                let zuora_id = zuora_id.or(record.zuora_id);
                made(Record { zuora_id, state, accepted: Some(at), ..record })
            }
            (Self::Withdraw, Some(record)) if record.state == State::Sending => Changed::Made(None),
            (Self::End { outcome, zuora_id, at, forwarding }, Some(record))
                if record.outcome.is_none() && is_meant(&record, zuora_id.as_deref()) =>
            {
                let state = outcome.state();
                let zuora_id = record.zuora_id.or(zuora_id);
                let outcome = Some(outcome);
                let delivery = forwarding.delivery(&record.app, at);
                made(Record { zuora_id, state, outcome, ended: Some(at), delivery, ..record })
            }
            (Self::GiveUp { at, forwarding }, Some(record)) if record.state.is_pending() => {
                let delivery = forwarding.delivery(&record.app, at);
                made(Record { state: State::Unknown, ended: Some(at), delivery, ..record })
            }
            (Self::Deliver { told, delivery }, Some(record)) if record.state == told => {
                made(Record { delivery: Some(delivery), ..record })
            }
            (Self::Revive { at }, Some(record)) if is_dead_letter(&record) => {
                made(Record { delivery: Some(Delivery::due(at)), ..record })
            }
            (_, record) => Changed::Not(record.map(Box::new)),
        }
    }
}

/// Whether what Zuora calls `zuora_id` is this record's request: others may use the same track id.
fn is_meant(record: &Record, zuora_id: Option<&str>) -> bool {
    match (record.zuora_id.as_deref(), zuora_id) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    }
}

fn is_dead_letter(record: &Record) -> bool {
    record.delivery.as_ref().is_some_and(Delivery::is_dead)
}
