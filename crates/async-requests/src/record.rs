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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Arc<str>>,
    /// Zuora's id of the operation, if it is a known one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Arc<str>>,
    /// The method that it was sent with.
    pub method: Arc<str>,
    /// The path that the app called, without its query; of a very long one the beginning.
    pub path: Arc<str>,
    /// How it is carried out.
    pub form: Form,
    /// What Zuora calls it: the id of a request, or of a job. `None` until Zuora has told, and if it told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zuora_id: Option<Arc<str>>,
    /// Where it stands.
    pub state: State,
    /// When it was begun, by the calendar.
    #[serde(with = "millis")]
    pub begun: SystemTime,
    /// When Zuora took it.
    #[serde(with = "millis::option", default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<SystemTime>,
    /// When its outcome was recorded, or was given up.
    #[serde(with = "millis::option", default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<SystemTime>,
    /// Its place among all that ended, in the order in which they did. One that was given up and whose outcome comes
    /// after all gets another, later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// How it ended, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The notification that told the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_id: Option<Arc<str>>,
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

/// Moments as milliseconds since 1970: what is finer is cut off in a store.
pub(crate) mod millis {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serializer};

    fn since_1970(at: SystemTime) -> u64 {
        let elapsed = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(since_1970(*at))
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<SystemTime, D::Error> {
        let millis = Duration::from_millis(u64::deserialize(from)?);
        let at = UNIX_EPOCH.checked_add(millis);
        at.ok_or_else(|| serde::de::Error::custom("a moment that no clock shows"))
    }

    pub(crate) mod option {
        use super::{Deserialize, Deserializer, Serializer, SystemTime, since_1970};

        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "super")] SystemTime);

        #[expect(clippy::ref_option, reason = "serde asks for exactly this")]
        pub(crate) fn serialize<S: Serializer>(
            at: &Option<SystemTime>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => to.serialize_u64(since_1970(*at)),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'a, D: Deserializer<'a>>(
            from: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            Ok(Option::<Wrapped>::deserialize(from)?.map(|Wrapped(at)| at))
        }
    }
}
