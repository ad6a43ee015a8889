//! What the ledger tells of asynchronous writes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::options::{CalloutEvent, Mishap};

/// A write that was handed in under `/v1/async` and accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AsyncRequest {
    /// Counts from 1 since the start or the last reset, in order of acceptance.
    pub sequence: u64,
    /// The id that its 202 and its callouts name; of an order, that of its job.
    pub request_id: String,
    /// The `Zuora-Track-Id` it was handed in with.
    pub track_id: Option<String>,
    /// The method.
    pub method: String,
    /// The path it was handed in at, without the query.
    pub path: String,
    /// The `Idempotency-Key` it was handed in with.
    pub idempotency_key: Option<String>,
    /// Whether it is an order, whose job is to be polled: no callout tells of it.
    pub is_job: bool,
    /// When it was accepted, in milliseconds since the start.
    pub accepted_ms: u64,
    /// When its work was complete, in milliseconds since the start; `None`: not yet.
    pub ended_ms: Option<u64>,
    /// How often it met another write on its account and was tried again.
    pub lock_retries: u32,
    /// What it came to; `None`: not done yet.
    pub outcome: Option<AsyncOutcome>,
    /// What went wrong with it on purpose.
    pub mishaps: Vec<Mishap>,
    /// Every attempt to tell of it, oldest first.
    pub callouts: Vec<CalloutAttempt>,
}

/// What an asynchronous write came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AsyncOutcome {
    /// It was done.
    Succeeded {
        /// What it made or changed: `data.id` of the callout.
        id: String,
        /// The whole answer of its synchronous form.
        result: Value,
    },
    /// It was not.
    Failed {
        /// Why, as the callout says.
        reasons: Vec<Reason>,
        /// `processId` of the callout.
        process_id: String,
    },
}

impl AsyncOutcome {
    /// Whether it was done.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }

    /// The event that tells of it.
    #[must_use]
    pub fn event(&self) -> CalloutEvent {
        if self.succeeded() { CalloutEvent::Succeeded } else { CalloutEvent::Failed }
    }
}

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Zuora's code.
    pub code: String,
    /// In words.
    pub message: String,
}

/// One attempt to tell of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalloutAttempt {
    /// `Zuora-Notification-Id`: the same in all attempts.
    pub notification_id: String,
    /// `Zuora-Request-Id`: another one in each.
    pub zuora_request_id: String,
    /// The event told of: of a contradiction, the opposite of what happened.
    pub event: CalloutEvent,
    /// Counts from 1 per notification.
    pub attempt: u32,
    /// When it began, in milliseconds since the start.
    pub began_ms: u64,
    /// When it was answered or given up, in milliseconds since the start.
    pub ended_ms: u64,
    /// The HTTP status, or a negative number if there is none: see [`CalloutAttempt::NO_CONNECTION`]
    /// and its siblings.
    pub status: i32,
    /// Whether its first request was answered 401, and a second with credentials followed.
    pub challenged: bool,
    /// Whether somebody asked to have it sent again.
    pub resent: bool,
}

impl CalloutAttempt {
    /// The status of an attempt without a connection, [`Mishap::Lost`] included.
    pub const NO_CONNECTION: i32 = -1;
    /// The status of an attempt that was not answered in time.
    pub const TIMED_OUT: i32 = -2;
    /// The status of an attempt whose connection ended before an answer.
    pub const BROKEN: i32 = -3;
}
