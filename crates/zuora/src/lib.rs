//! What Zuora's API promises, as plain values and pure functions.
//!
//! | module | question it answers |
//! |---|---|
//! | [`operation`] | Which operation is this call, which limit does it count against, may it be repeated under a key or go to `/v1/async`? |
//! | [`track_id`] | Is this `Zuora-Track-Id` one that Zuora takes, and what does ours look like? |
//! | [`answer`] | What became of the call: done, refused, rolled back, unknown, failed? |
//! | [`asynchronous`] | Where is a write's `/v1/async` form, and did Zuora take what was sent there? |
//! | [`callout`] | Which async request does this callout tell of, and how did it end? |
//! | [`callout_history`] | Which callouts did Zuora make, what did they say, and which can be asked for once more? |
//! | [`concurrency`] | How large is a limit, in Zuora's own words? |
//! | [`data_centre`] | Where is each of Zuora's environments? |
//! | [`job`] | How far has this order job come? |
//! | [`links`] | Where in this answer stands an address of Zuora's by which the caller would go past the gateway? |
//! | [`subject`] | Which accounts, subscriptions and orders is this write about? |
//! | [`target`] | How could this path be read, and does the operator's policy permit every reading? |
//! | [`soap`] | What does this envelope ask for, whose session does it carry, and where does another one go? |
//!
//! Nothing here does I/O, sleeps, or knows a runtime or an HTTP server. The calendar enters as an
//! argument ([`judge`]'s `today`), so everything can be tested with tables.
//!
//! The facts come from Zuora's public documents: the rate limits, error handling, error codes,
//! asynchronous and idempotent requests guides, and the OpenAPI description.

pub mod answer;
pub mod asynchronous;
pub mod callout;
pub mod callout_history;
pub mod concurrency;
pub mod data_centre;
pub mod job;
pub mod links;
mod media;
pub mod operation;
pub mod soap;
pub mod subject;
pub mod target;
pub mod track_id;

pub use answer::{
    ANSWER_LOOK, Refusal, RefusalKind, Verdict, begins_with_success, judge, judge_needs_body,
    tells_outcome,
};
pub use asynchronous::{Rejected, Submitted, async_path, sync_path};
pub use callout::{BadCallout, Callout};
pub use callout_history::{BadHistory, HistoryEntry, HistoryPage};
pub use concurrency::Concurrency;
pub use data_centre::{DATA_CENTRES, DataCentre};
pub use job::{BadJob, Job};
pub use operation::{AsyncForm, IdempotencyKeys, LimitType, Operation, classify, operations};
pub use subject::{Subject, SubjectKind, subjects};
pub use target::{
    BadTarget, METHODS, NotPermitted, OperationRule, Pattern, PatternError, Policy, Rule,
    RuleError, SOAP_CALLS, SoapRule, Target,
};
pub use track_id::{TrackId, TrackIdError};
