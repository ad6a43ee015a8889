//! What is known of one asynchronous request.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::delivery::Delivery;

/// What names a request: its track id, which is unique within its tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant's name in the configuration.
    pub tenant: Arc<str>,
    /// The `Zuora-Track-Id` that the request was sent with.
    pub track_id: Arc<str>,
}

/// An asynchronous request, and what has become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What names it.
    pub key: Key,
    /// The app that asked.
    pub app: Arc<str>,
    /// The entity that it is for, if the tenant has several.
    pub entity: Option<Arc<str>>,
    /// Zuora's id of the operation, if it is a known one.
    pub operation: Option<Arc<str>>,
    /// The method that it was sent with.
    pub method: Arc<str>,
    /// The path that the app called, without its query.
    pub path: Arc<str>,
    /// How it is carried out.
    pub form: Form,
    /// What Zuora calls it: the id of a request, or of a job. `None` until Zuora has told, and if it told none.
    pub zuora_id: Option<Arc<str>>,
    /// Where it stands.
    pub state: State,
    /// When it was begun, by the calendar.
    pub begun: SystemTime,
    /// When Zuora took it.
    pub accepted: Option<SystemTime>,
    /// When its outcome was recorded, or was given up.
    pub ended: Option<SystemTime>,
    /// How it ended, once that is known.
    pub outcome: Option<Outcome>,
    /// How far that has come on its way to the app, if its outcomes are forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// How a request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// At `/v1/async/…`: a callout tells how it ended.
    Async,
    /// As a job of the older API for orders, which is asked for its state.
    OrderJob,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// On its way: nobody knows yet whether Zuora took it.
    Sending,
    /// Zuora took it, and has not told how it ended.
    Accepted,
    /// It was done.
    Succeeded,
    /// It was not done.
    Failed,
    /// Zuora did not tell, for so long that nobody waits for it any more. What is told later still counts.
    Unknown,
}

impl State {
    /// The word for it in answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Accepted => "accepted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether an outcome is still waited for.
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::Sending | Self::Accepted)
    }
}

/// How a request ended, in Zuora's own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What Zuora tells of what it did: the id of the object, or the result of a job.
    Succeeded {
        /// The members of Zuora's object.
        data: Map<String, Value>,
    },
    /// Why it was not done.
    Failed {
        /// Zuora's reasons, each with `code` and `message`.
        reasons: Vec<Value>,
        /// Zuora's `processId`, if it told one.
        process_id: Option<Arc<str>>,
    },
}

impl Outcome {
    /// The state of a request that ended like this.
    pub const fn state(&self) -> State {
        match self {
            Self::Succeeded { .. } => State::Succeeded,
            Self::Failed { .. } => State::Failed,
        }
    }
}
